//! Which identifiers name the same subject: merges as the sources report them, followed to the identifier that stays.

use crate::{error::EngineError, fold::Id, ingest::subject_id, refresh::hex};
use clinmill_catalog::vault::{Vault, VaultKey, atomic_write};
use clinmill_model::Digest;
use clinmill_sdk::{IdentityLink, SubjectId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, HashSet};

/// One report that an identifier is replaced by another, as the vault keeps it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Link {
    /// When it was said, comparable as text.
    pub version: Option<String>,
    /// Keyed id of the identifier that is no longer used.
    #[serde(with = "hex")]
    pub retired: Id,
    /// Keyed id of the identifier that stays.
    #[serde(with = "hex")]
    pub survivor: Id,
    /// The source.
    pub source: String,
    /// Its parse generation.
    pub parse_id: Digest,
}

impl Link {
    /// What a source with this parse generation said.
    pub fn of(link: &IdentityLink, key: &VaultKey, source: &str, parse_id: Digest) -> Self {
        let id = |subject: &SubjectId| subject_id(key, &subject.issuer, &subject.id);
        Self {
            version: link.version.clone(),
            retired: id(&link.retired),
            survivor: id(&link.survivor),
            source: source.to_owned(),
            parse_id,
        }
    }
}

/// The canonical subject of every identifier.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    replaced_by: HashMap<Id, Id>,
    members: HashMap<Id, Vec<Id>>,
}

impl Identity {
    /// Follows the links in version order: a later link wins over an earlier one about the same identifier, and a
    /// link back undoes the one before.
    pub fn new<'a>(links: impl IntoIterator<Item = &'a Link>) -> Self {
        let ordered: BTreeSet<&Link> = links.into_iter().collect();
        let mut replaced_by: HashMap<Id, Id> = HashMap::new();
        for link in ordered {
            if link.retired == link.survivor {
                continue;
            }
            // The survivor stays: whatever it was replaced by before, it no longer is.
            let mut at = link.survivor;
            let mut seen = HashSet::new();
            while let Some(next) = replaced_by.get(&at).copied().filter(|_| seen.insert(at)) {
                if next == link.retired {
                    replaced_by.remove(&at);
                    break;
                }
                at = next;
            }
            replaced_by.insert(link.retired, link.survivor);
        }
        let mut identity = Self {
            replaced_by,
            members: HashMap::new(),
        };
        let mut members: HashMap<Id, Vec<Id>> = HashMap::new();
        for id in identity.replaced_by.keys() {
            members.entry(identity.canonical(id)).or_default().push(*id);
        }
        for list in members.values_mut() {
            list.sort_unstable();
        }
        identity.members = members;
        identity
    }

    /// The subject that an identifier names.
    pub fn canonical(&self, id: &Id) -> Id {
        let mut at = *id;
        for _ in 0..=self.replaced_by.len() {
            match self.replaced_by.get(&at) {
                Some(next) => at = *next,
                None => break,
            }
        }
        at
    }

    /// The other identifiers of a canonical subject.
    pub fn members(&self, canonical: &Id) -> &[Id] {
        self.members.get(canonical).map_or(&[], Vec::as_slice)
    }

    /// Canonical subjects with other identifiers, and these.
    pub fn merged(&self) -> impl Iterator<Item = (&Id, &[Id])> {
        self.members
            .iter()
            .map(|(canonical, members)| (canonical, members.as_slice()))
    }

    /// True when no identifier was ever replaced.
    pub fn is_trivial(&self) -> bool {
        self.replaced_by.is_empty()
    }

    /// The identifiers whose canonical subject differs between two maps, with the subject before and after.
    pub fn difference(&self, now: &Self) -> Vec<(Id, Id, Id)> {
        let mut ids: Vec<Id> = self.replaced_by.keys().chain(now.replaced_by.keys()).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter()
            .map(|id| (id, self.canonical(&id), now.canonical(&id)))
            .filter(|(_, before, after)| before != after)
            .collect()
    }
}

/// Reads the links that a state names.
///
/// # Errors
/// When a file is missing or damaged.
pub fn read_links(vault: &Vault, files: &[String]) -> Result<Vec<Link>, EngineError> {
    let mut links = Vec::new();
    for file in files {
        let path = vault.root().join(file);
        let bytes = std::fs::read(&path).map_err(|e| EngineError::io("read", &path, e))?;
        let read: Vec<Link> = serde_json::from_slice(&bytes)
            .map_err(|_| EngineError::internal(format!("{file} is damaged: restore the vault from a backup")))?;
        links.extend(read);
    }
    Ok(links)
}

/// Writes all links as one file under its digest; returns its path below the vault.
///
/// # Errors
/// When it cannot be written.
pub fn write_links(vault: &Vault, links: &[Link]) -> Result<Vec<String>, EngineError> {
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = serde_json::to_vec(links).map_err(|e| EngineError::internal(e.to_string()))?;
    let name = format!("identity/{}.json", Digest::of(&bytes));
    let path = vault.root().join(&name);
    atomic_write(&path, &bytes).map_err(|e| EngineError::io("write", &path, e))?;
    Ok(vec![name])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(version: &str, retired: u8, survivor: u8) -> Link {
        Link {
            version: Some(version.to_owned()),
            retired: [retired; 16],
            survivor: [survivor; 16],
            source: "adt".to_owned(),
            parse_id: Digest::of(b""),
        }
    }

    #[test]
    fn chains_end_at_the_survivor_in_any_order() {
        let links = [link("1", 1, 2), link("2", 2, 3), link("3", 4, 2)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let identity = Identity::new(order.iter().map(|&i| &links[i]));
            for id in 1..=4 {
                assert_eq!(identity.canonical(&[id; 16]), [3; 16]);
            }
            assert_eq!(identity.members(&[3; 16]), &[[1; 16], [2; 16], [4; 16]]);
        }
    }

    #[test]
    fn a_link_back_undoes_a_merge() {
        let identity = Identity::new(&[link("1", 1, 2), link("2", 2, 1)]);
        assert_eq!(identity.canonical(&[2; 16]), [1; 16]);
        assert_eq!(identity.canonical(&[1; 16]), [1; 16]);
    }

    #[test]
    fn the_difference_names_who_moved() {
        let before = Identity::default();
        let after = Identity::new(&[link("1", 1, 2)]);
        assert_eq!(before.difference(&after), vec![([1; 16], [1; 16], [2; 16])]);
    }
}
