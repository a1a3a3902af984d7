//! Merges: which identifier of `MRG-1` is replaced by which of `PID-3`.

use super::{Found, Reader, identifier, reject};
use crate::{
    context::Message,
    error,
    path::Path,
    plan::{Issuer, Per, Place},
};
use clinmill_sdk::{IdentityLink, Locator, PluginError, RecordSink, SubjectId};
use std::collections::{HashMap, HashSet};

pub(super) const LACKS: &str = "a merge needs the identifiers in PID-3 and MRG-1";

/// One repetition of a list of identifiers (HL7 v2.5, section 2.A.14: CX).
struct Identifier {
    id: String,
    /// CX.4, the assigning authority.
    authority: String,
    /// CX.5, such as `MR`.
    code: String,
}

/// The identifiers that stay, by authority and code, and the first of each authority.
#[derive(Default)]
struct Kept {
    exact: HashMap<(String, String), String>,
    first: HashMap<String, String>,
}

impl Kept {
    fn add(&mut self, id: &str, authority: &str, code: &str) {
        let id = || id.to_owned();
        self.exact
            .entry((authority.to_owned(), code.to_owned()))
            .or_insert_with(id);
        self.first.entry(authority.to_owned()).or_insert_with(id);
    }

    /// What replaces an identifier: one of its authority and, where both say it, its code. None where its authority
    /// has only identifiers of another code.
    fn of<'a>(&'a self, retired: &Identifier, subject: &'a SubjectId) -> Option<(&'a str, &'a str)> {
        let Some((authority, first)) = self.first.get_key_value(&retired.authority) else {
            return Some((&subject.issuer, &subject.id));
        };
        if retired.code.is_empty() {
            return Some((authority, first));
        }
        let of_code = |code: &str| self.exact.get(&(retired.authority.clone(), code.to_owned()));
        Some((authority, of_code(&retired.code).or_else(|| of_code(""))?))
    }
}

impl Reader<'_> {
    /// Links each identifier of an `MRG` with the one of the `PID` before it that replaces it.
    pub(super) fn merge<'t>(
        &mut self,
        message: &Message<'t>,
        found: &mut Found<'t>,
        at: Locator,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        self.write_version(message, found, Per::Other, "");
        let version = Some(self.version.clone()).filter(|text| !text.is_empty());
        let subject = self.subject(message, found).map(|(id, issuer)| SubjectId {
            issuer: issuer.to_owned(),
            id: id.to_owned(),
        });
        let retired = self.identifiers(message, &self.plan.known.retired);
        let Some(subject) = subject.filter(|_| !retired.is_empty()) else {
            return reject(out, None, error::MERGE, LACKS, at);
        };
        let pairs = self.pairs(message, &subject, retired);
        if pairs.is_empty() {
            self.counts.same_identifier += 1;
        }
        for (retired, survivor) in pairs {
            out.link(IdentityLink {
                survivor,
                retired,
                version: version.clone(),
                at,
            })?;
        }
        Ok(())
    }

    /// The identifiers that are replaced, each with what replaces it.
    fn pairs(
        &self,
        message: &Message<'_>,
        subject: &SubjectId,
        retired: Vec<Identifier>,
    ) -> Vec<(SubjectId, SubjectId)> {
        let place = &self.plan.subject;
        let own = self.identifiers(message, place);
        let of_subject = own.iter().find(|identifier| identifier.id == subject.id);
        let code = of_subject.map_or("", |identifier| identifier.code.as_str());
        let mut pairs = Vec::new();
        if !self.is_own_issuer() {
            // One issuer for all: only identifiers of one authority can be told apart by it.
            let authority = of_subject.map(|identifier| identifier.authority.clone());
            let authority = authority.filter(|authority| !authority.is_empty());
            let authority =
                authority.unwrap_or_else(|| retired.first().map_or_else(String::new, |r| r.authority.clone()));
            let alike = |r: &&Identifier| {
                (r.authority.is_empty() || r.authority == authority)
                    && (r.code.is_empty() || code.is_empty() || r.code == code)
            };
            let mut alike: Vec<&Identifier> = retired.iter().filter(alike).collect();
            if alike.is_empty() {
                alike.extend(retired.first());
            }
            let retired = alike.into_iter().map(|r| SubjectId {
                issuer: subject.issuer.clone(),
                id: r.id.clone(),
            });
            pairs.extend(retired.filter(|r| r != subject).map(|r| (r, subject.clone())));
            return pairs;
        }
        let mut kept = Kept::default();
        kept.add(&subject.id, &subject.issuer, code);
        for identifier in own.iter().filter(|identifier| !identifier.authority.is_empty()) {
            kept.add(&identifier.id, &identifier.authority, &identifier.code);
        }
        let mut joined = HashSet::new();
        let mut retired = retired;
        for identifier in retired.iter_mut().filter(|identifier| identifier.authority.is_empty()) {
            // An identifier without issuer is one of the same issuer.
            identifier.authority.clone_from(&subject.issuer);
        }
        if !retired.iter().any(|identifier| kept.of(identifier, subject).is_some()) {
            // Nothing fits: the code of the first is not what the sender means.
            retired.truncate(1);
            retired.iter_mut().for_each(|identifier| identifier.code.clear());
        }
        for identifier in retired {
            let Some((issuer, id)) = kept.of(&identifier, subject) else {
                continue;
            };
            let survivor = SubjectId {
                issuer: issuer.to_owned(),
                id: id.to_owned(),
            };
            let retired = SubjectId {
                issuer: identifier.authority,
                id: identifier.id,
            };
            if retired == survivor {
                continue;
            }
            // All that stay are one person's, whose records are the subject's.
            if survivor != *subject && joined.insert(survivor.clone()) {
                pairs.push((survivor.clone(), subject.clone()));
            }
            pairs.push((retired, survivor));
        }
        pairs
    }

    /// True where the issuer is a part of the identifier and so differs between those of one list.
    fn is_own_issuer(&self) -> bool {
        let id = &self.plan.subject.path;
        matches!(&self.plan.issuer, Issuer::At(place)
            if (place.path.segment, place.path.field) == (id.segment, id.field))
    }

    /// The repetitions of the field at a place that hold an identifier.
    fn identifiers(&self, message: &Message<'_>, place: &Place) -> Vec<Identifier> {
        let authority = match &self.plan.issuer {
            Issuer::At(issuer) if self.is_own_issuer() => issuer.path,
            _ => Path::of_component(place.path.segment, place.path.field, 4),
        };
        let field = Place {
            slot: place.slot,
            path: Path::of_field(place.path.segment, place.path.field),
        };
        let delimiters = &message.delimiters;
        let part = |repetition: &str, path: &Path| {
            let component = delimiters.component(repetition, path.component.max(1));
            let raw = match path.subcomponent {
                0 => component,
                n => delimiters.subcomponent(component, n),
            };
            identifier(message, raw).into_owned()
        };
        let code = Path::of_component(place.path.segment, place.path.field, 5);
        self.context
            .raw(message, &field)
            .split(char::from(delimiters.repetition))
            .map(|repetition| Identifier {
                id: part(repetition, &place.path),
                authority: part(repetition, &authority),
                code: part(repetition, &code),
            })
            .filter(|identifier| !identifier.id.is_empty())
            .collect()
    }
}
