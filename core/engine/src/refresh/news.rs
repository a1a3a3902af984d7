//! News: which of the records that hold are other than before this refresh, and of which subjects. What an earlier input
//! said again is none.

use crate::{
    error::EngineError,
    fold::{Folded, Id},
    graph::record_at,
};
use clinmill_catalog::rowhash::row_hashes;
use clinmill_model::Ids;
use std::collections::HashMap;

/// A record that holds: its relation, its subject, and what identifies it.
type Named<'a> = (&'a str, &'a [u8], (Id, u32));

/// What is new of the records of some relations.
#[derive(Default)]
pub struct News {
    /// Of each relation, and each of its records.
    records: Vec<Vec<bool>>,
    /// Subjects of whom a record is new, changed or gone.
    subjects: Ids,
}

impl News {
    /// Compares the records that hold now with those that held before.
    ///
    /// # Errors
    /// Never for records.
    pub fn between(before: &[(String, Folded)], now: &[(String, Folded)]) -> Result<Self, EngineError> {
        let mut was: HashMap<Named<'_>, u128> = HashMap::new();
        for (relation, folded) in before {
            was.extend(contents(relation, folded)?);
        }
        let mut news = Self::default();
        for (relation, folded) in now {
            let mut records = Vec::with_capacity(folded.entity.len());
            for (named, content) in contents(relation, folded)? {
                let is_new = was.remove(&named) != Some(content);
                records.push(is_new);
                if is_new {
                    news.subjects.extend(Id::try_from(named.1));
                }
            }
            news.records.push(records);
        }
        news.subjects
            .extend(was.keys().filter_map(|gone| Id::try_from(gone.1).ok()));
        Ok(news)
    }

    /// True of a record that is new or says something else.
    pub fn has_record(&self, record: u64) -> bool {
        let (kind, index) = record_at(record);
        self.records.get(kind).and_then(|records| records.get(index)) == Some(&true)
    }

    /// True when anything of a subject is new, changed or gone.
    pub fn has_subject(&self, subject: &Id) -> bool {
        self.subjects.contains(subject)
    }

    /// True when nothing is.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }
}

fn contents<'a>(relation: &'a str, folded: &'a Folded) -> Result<Vec<(Named<'a>, u128)>, EngineError> {
    let hashes = row_hashes(&folded.rows)?;
    let named = |i: usize| (relation, folded.subject.value(i), folded.entity[i]);
    Ok(hashes
        .into_iter()
        .enumerate()
        .map(|(i, hash)| (named(i), hash))
        .collect())
}
