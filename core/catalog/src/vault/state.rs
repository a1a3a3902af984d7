//! The state of a vault at a release: which of its immutable files count. A release's manifest names the state's
//! digest, so the commit of the release is what makes the state current; a state nobody names never happened.

use super::{
    error::{Context, Result, VaultError},
    fs::{atomic_write, sync_dir},
    inputs::Inputs,
};
use crate::{events::EventFile, index::IndexFile};
use clinmill_model::Digest;
use clinmill_sdk::regular;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

const KIND: &str = "state";
/// The newest format of a state that this clinmill reads and the one it writes.
const FORMAT_VERSION: u32 = 1;

/// What counts in the vault at one release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VaultState {
    /// Format of this document.
    pub format_version: u32,
    /// The release it belongs to.
    pub release: u64,
    /// The state before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Digest>,
    /// Key check value of the vault's key.
    pub key_check: String,
    /// Ledger segments, oldest first.
    #[serde(default)]
    pub ledger: Vec<Digest>,
    /// Event files that count.
    #[serde(default)]
    pub events: Vec<EventFile>,
    /// Row index of each table.
    #[serde(default)]
    pub index: Vec<IndexFile>,
    /// What complete inputs asserted.
    #[serde(default)]
    pub coverage: Vec<Coverage>,
    /// Files of the identity map, paths below the vault.
    #[serde(default)]
    pub identity: Vec<String>,
    /// Quarantine segments, oldest first.
    #[serde(default)]
    pub quarantine: Vec<Digest>,
    /// Every pipeline that ever made a release here, with the first release it made.
    #[serde(default)]
    pub pipelines: Vec<PipelineUse>,
    /// What else the engine keeps from one refresh to the next.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub extra: Value,
}

/// A complete input said: at `as_of`, in this scope of this source, there were these keys and no others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The source.
    pub source: String,
    /// The parse generation that made it.
    pub parse_id: Digest,
    /// What it is complete for.
    pub scope: BTreeMap<String, String>,
    /// When, comparable as text.
    pub as_of: String,
    /// The input's number in the ledger.
    pub input: u32,
}

/// A pipeline and the first release it made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineUse {
    /// Digest of its text, kept in the archive.
    pub sha256: Digest,
    /// The release.
    pub release: u64,
}

impl VaultState {
    /// The state of a vault before its first release.
    pub fn new(key_check: impl Into<String>) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            release: 0,
            parent: None,
            key_check: key_check.into(),
            ledger: Vec::new(),
            events: Vec::new(),
            index: Vec::new(),
            coverage: Vec::new(),
            identity: Vec::new(),
            quarantine: Vec::new(),
            pipelines: Vec::new(),
            extra: Value::Null,
        }
    }

    /// Every file this state names, as paths below the vault.
    pub fn files(&self) -> impl Iterator<Item = String> {
        let events = self.events.iter().map(|f| f.shard.path.clone());
        let index = self.index.iter().map(|f| f.shard.path.clone());
        let ledger = self.ledger.iter().map(|d| format!("ledger/{d}.jsonl.zst"));
        let quarantine = self.quarantine.iter().map(|d| format!("quarantine/{d}.jsonl.zst"));
        events
            .chain(index)
            .chain(self.identity.iter().cloned())
            .chain(ledger)
            .chain(quarantine)
    }
}

/// `<vault>/state`.
#[derive(Clone, Debug)]
pub struct States {
    folder: PathBuf,
    inputs: Inputs,
}

impl States {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            folder: root.join("state"),
            inputs: Inputs::new(root),
        }
    }

    /// Writes a state, durable, after the inputs it may speak of; its digest is its name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn store(&self, state: &VaultState) -> Result<Digest> {
        self.inputs.sync()?;
        let text = serde_json::to_vec(state)
            .map_err(io::Error::from)
            .vault("write", "state")?;
        let digest = Digest::of(&text);
        let path = self.path(&digest);
        if std::fs::read(&path).is_ok_and(|there| there == text) {
            sync_dir(&self.folder).vault("synchronize", "state")?;
        } else {
            atomic_write(&path, &text).vault("write", format!("state/{digest}.json"))?;
        }
        Ok(digest)
    }

    /// Reads a state.
    ///
    /// # Errors
    /// [`VaultError::Missing`] when the vault does not have it (another vault, or a backup that is behind);
    /// [`VaultError::Corrupt`] when it is damaged; [`VaultError::Version`] when it is of a newer clinmill.
    pub fn load(&self, digest: &Digest) -> Result<VaultState> {
        let name = format!("state/{digest}.json");
        let text = match regular::read(&self.path(digest)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(VaultError::Missing {
                    kind: KIND,
                    digest: *digest,
                });
            }
            other => other.vault("read", &name)?,
        };
        let corrupt = |reason: String| VaultError::Corrupt {
            kind: KIND,
            digest: *digest,
            reason,
        };
        if Digest::of(&text) != *digest {
            return Err(corrupt("its content has another digest".into()));
        }
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let unreadable = |e: serde_json::Error| corrupt(format!("line {}, column {}", e.line(), e.column()));
        let Version { format_version } = serde_json::from_slice(&text).map_err(unreadable)?;
        if format_version > FORMAT_VERSION {
            return Err(VaultError::Version {
                what: name,
                found: format_version,
                known: FORMAT_VERSION,
            });
        }
        serde_json::from_slice(&text).map_err(unreadable)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::testing::{flip, vault};

    #[test]
    fn states_are_immutable_and_named_by_content() {
        let (_dir, vault) = vault();
        let mut state = VaultState::new("9f3a1c22");
        state.extra = serde_json::json!({ "identity": 3 });
        let digest = vault.states().store(&state).unwrap();
        assert_eq!(vault.states().store(&state).unwrap(), digest);
        assert_eq!(vault.states().load(&digest).unwrap(), state);
        state.release = 1;
        state.parent = Some(digest);
        assert_ne!(vault.states().store(&state).unwrap(), digest);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let (_dir, vault) = vault();
        let digest = vault.states().store(&VaultState::new("9f3a1c22")).unwrap();
        let path = vault.root().join(format!("state/{digest}.json"));
        flip(&path, 3);
        assert!(matches!(vault.states().load(&digest), Err(VaultError::Corrupt { digest: d, .. }) if d == digest));
        std::fs::remove_file(path).unwrap();
        assert!(matches!(vault.states().load(&digest), Err(VaultError::Missing { digest: d, .. }) if d == digest));
        let newer = VaultState {
            format_version: 2,
            ..VaultState::new("")
        };
        let digest = vault.states().store(&newer).unwrap();
        assert!(matches!(
            vault.states().load(&digest),
            Err(VaultError::Version { found: 2, .. })
        ));
    }
}
