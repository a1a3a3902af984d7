//! Rows that leave a subject which stays one of its own: a merge that was taken back, or that was meant for another
//! subject. Each is one change under the subject where it stands now, and no deletion where it stood.

use super::{identity::Identity, range::RangeContext};
use crate::{error::EngineError, fold::Id, graph::StepReport, tables::TableSpec};
use clinmill_model::bucket_of;
use clinmill_spec::pipeline::Scope;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Rows that stand under another subject now.
#[derive(Debug, Default)]
pub struct Moved {
    /// The subjects they left, by the subject where they stand now.
    from: BTreeMap<Id, BTreeSet<Id>>,
    /// The subject where a row stands now, by table and row id.
    rows: HashMap<String, HashMap<Id, Id>>,
}

impl Moved {
    /// The subjects that lost identifiers to others and stay, with who has the identifiers now.
    pub fn between(was: &Identity, is: &Identity) -> Self {
        let mut moved = Self::default();
        for (_, old, new) in was.difference(is) {
            if is.canonical(&old) != new {
                moved.from.entry(new).or_default().insert(old);
            }
        }
        moved
    }

    /// Finds the rows of those who have the identifiers now; rows that are new count too, and were nowhere before.
    ///
    /// # Errors
    /// When an event file cannot be read or a step fails.
    pub async fn find(&mut self, context: &RangeContext<'_>) -> Result<(), EngineError> {
        let mut by_bucket: BTreeMap<u16, HashSet<Id>> = BTreeMap::new();
        for id in self.from.keys() {
            by_bucket.entry(bucket_of(id)).or_default().insert(*id);
        }
        let is_here = |t: &&TableSpec| t.scope == Scope::Subject && t.subject;
        let tables: Vec<&TableSpec> = context.bound.tables.iter().filter(is_here).collect();
        let relations: Vec<String> = tables.iter().map(|t| t.from.clone()).collect();
        for (bucket, subjects) in by_bucket {
            let inputs = context.records_behind((bucket, bucket), Some(subjects), &relations)?;
            let mut report = StepReport::default();
            let made = context.relations(&inputs, &tables, &mut report).await?;
            for table in &tables {
                let Some(relation) = made.get(&table.from) else {
                    continue;
                };
                let rows = context.rows(table, relation, &inputs, &mut report)?;
                let known = self.rows.entry(table.name.clone()).or_default();
                known.extend(rows.entries.iter().map(|e| (e.row_id, e.subject)));
            }
        }
        Ok(())
    }

    /// The subjects that lost rows to subjects of this range.
    pub fn losers(&self, (lo, hi): (u16, u16)) -> HashSet<Id> {
        let here = self.from.iter().filter(|(id, _)| (lo..=hi).contains(&bucket_of(id)));
        here.flat_map(|(_, old)| old.iter().copied()).collect()
    }

    /// The subject where a row stands now, if it is none of a subject that nothing came to.
    pub fn stands_under(&self, table: &str, row_id: &Id) -> Option<Id> {
        self.rows.get(table)?.get(row_id).copied()
    }

    /// True when nothing moved so.
    pub fn is_empty(&self) -> bool {
        self.from.is_empty()
    }
}
