//! What a changed pipeline would take away from what was read and published. More than a little of it is a mistake in the
//! pipeline, until somebody says that it is none.

use super::{EngineState, Refresh, read::Ingested, stage::StagedTable};
use crate::{
    bound::SourceSpec,
    changes::{Impact, schema_changes},
    error::EngineError,
    tables::{Identity, TableSpec},
};
use clinmill_model::Digest;
use clinmill_sdk::RecordKey;
use std::collections::{BTreeMap, BTreeSet};

/// The share of what was there that a changed pipeline may take away.
const MOST_LOST: f64 = 0.05;

/// What reading a source again gave, beside what it gave before.
#[derive(Default)]
struct Reread<'a> {
    accepted: u64,
    lost: u64,
    reasons: BTreeSet<&'a str>,
}

impl Refresh<'_> {
    /// A changed source reads its past again. What it read then and does not take now would be deleted from the dataset.
    pub(super) fn check_reread(&self, ingested: &Ingested) -> Result<(), EngineError> {
        let mut sources: BTreeMap<&str, Reread<'_>> = BTreeMap::new();
        for (now, report) in ingested.inputs() {
            let Some(before) = self.session.ledger.last_reading_of(now) else {
                continue;
            };
            let accepted = before.counts.written + before.counts.duplicates;
            // Of a row with many records one rejection is told.
            let fewer = accepted.saturating_sub(now.counts.written + now.counts.duplicates);
            let rejected = now.counts.rejected.saturating_sub(before.counts.rejected).min(accepted);
            let lost = match now.error {
                Some(_) => accepted,
                None => fewer.max(rejected),
            };
            let sum = sources.entry(&now.source).or_default();
            sum.accepted += accepted;
            sum.lost += lost;
            sum.reasons.extend(now.error.as_deref());
            sum.reasons.extend(report.rejections.iter().map(|r| r.code.as_str()));
        }
        let told = sources.into_iter().filter(|(_, sum)| is_much(sum.lost, sum.accepted));
        self.ask(told.map(|(source, Reread { accepted, lost, reasons })| {
            let reasons: Vec<&str> = reasons.into_iter().collect();
            let reasons = match reasons.is_empty() {
                true => String::new(),
                false => format!(" ({})", reasons.join(", ")),
            };
            format!(
                "source {source}: its options changed, and of {accepted} records that it read before {lost} are rejected or \
                 left out now{reasons}"
            )
        }))
    }

    /// A table whose sources changed keeps its rows: another key, name or issuer of a source gives all of them new identities.
    /// Who edits a transform or a mapping means what becomes of the rows.
    pub(super) fn check_lost(
        &self,
        staged: &BTreeMap<String, Vec<StagedTable>>,
        before: &EngineState,
    ) -> Result<(), EngineError> {
        let Some(last) = &self.session.last else {
            return Ok(());
        };
        // Those who allowed another key know that it is another identity.
        let mut rekeyed = schema_changes(self.bound, &self.session.vault, &last.manifest)?;
        rekeyed.retain(|change| change.column.is_none() && change.impact == Impact::Breaking);
        self.ask(self.bound.tables.iter().filter_map(|table| {
            let (was, ranges) = (last.manifest.tables.get(&table.name)?.row_count, staged.get(&table.name)?);
            let former = before.sources.get(&table.name)?;
            let read_anew = |s: &&SourceSpec| former.get(s.name()) != Some(&s.parse_id);
            let mut anew = self.behind(table).filter(read_anew).peekable();
            if anew.peek().is_none() || rekeyed.iter().any(|change| change.table == table.name) {
                return None;
            }
            let is: u64 = ranges.iter().map(|range| range.fingerprint.count).sum();
            let lost = match anew.all(|s| former.contains_key(s.name())) && self.is_known_by_content(table) {
                // A field more is another content: what came in place of what went counts.
                true => was.saturating_sub(is),
                false => ranges.iter().map(|range| range.deletes).sum(),
            };
            is_much(lost, was).then(|| {
                format!(
                    "table {}: its sources changed since release {}, and of its {was} rows {lost} would be deleted; it would \
                     have {is}. A row keeps its identity where its source keeps its name, its `key` and the issuer of its \
                     subject",
                    table.name, last.manifest.release
                )
            })
        }))
    }

    /// Refuses what is told, unless it is approved.
    fn ask(&self, told: impl Iterator<Item = String>) -> Result<(), EngineError> {
        if self.options.approve_deletes {
            return Ok(());
        }
        let told: Vec<String> = told.collect();
        match told.is_empty() {
            true => Ok(()),
            false => Err(EngineError::QualityGate(format!(
                "{}. Nothing was published. If their rows are to be deleted, run again with --approve-deletes",
                told.join("; ")
            ))),
        }
    }

    fn is_known_by_content(&self, table: &TableSpec) -> bool {
        let by_content = |s: &SourceSpec| s.bound.records().iter().any(|kind| kind.key == RecordKey::Content);
        table.identity == Identity::Record && self.behind(table).any(by_content)
    }

    fn behind(&self, table: &TableSpec) -> impl Iterator<Item = &SourceSpec> {
        let is_behind = |source: &&SourceSpec| table.prov.sources.iter().any(|name| name == source.name());
        self.bound.sources.iter().filter(is_behind)
    }

    /// The sources behind each table, with the generation that each is read in.
    pub(super) fn generations(&self) -> BTreeMap<String, BTreeMap<String, Digest>> {
        let of = |table| self.behind(table).map(|s| (s.name().to_owned(), s.parse_id)).collect();
        let tables = self.bound.tables.iter();
        tables.map(|table| (table.name.clone(), of(table))).collect()
    }
}

fn is_much(lost: u64, of: u64) -> bool {
    lost as f64 > of as f64 * MOST_LOST
}
