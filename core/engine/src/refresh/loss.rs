//! What a changed pipeline would take away from what was read and published. More than a little of it is a mistake in the
//! pipeline, until somebody says that it is none.

use super::{EngineState, Refresh, read::Ingested, stage::StagedTable};
use crate::{
    bound::SourceSpec,
    changes::{Impact, schema_changes},
    error::EngineError,
    tables::{Identity, TableSpec},
};
use clinmill_sdk::RecordKey;
use std::collections::BTreeMap;

/// The share of what was there that a changed pipeline may take away.
const MOST_LOST: f64 = 0.05;

impl Refresh<'_> {
    /// A changed source reads its past again. What it read then and does not take now would be deleted from the dataset.
    pub(super) fn check_reread(&self, ingested: &Ingested) -> Result<(), EngineError> {
        let mut sources: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (now, _) in ingested.inputs() {
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
            *sum = (sum.0 + accepted, sum.1 + lost);
        }
        let told = |(source, (accepted, lost)): (&str, (u64, u64))| {
            let reasons = ingested
                .sources
                .get(source)
                .into_iter()
                .flat_map(|s| s.rejected_by.keys());
            let reasons: Vec<&str> = reasons.map(String::as_str).collect();
            let reasons = match reasons.is_empty() {
                true => String::new(),
                false => format!(" ({})", reasons.join(", ")),
            };
            let is_too_much = lost as f64 > accepted as f64 * MOST_LOST;
            is_too_much.then(|| {
                format!(
                    "source {source}: its options changed, and of {accepted} records that it read before {lost} are rejected \
                     or left out now{}",
                    reasons
                )
            })
        };
        let told: Vec<String> = sources.into_iter().filter_map(told).collect();
        match told.is_empty() || self.options.approve_deletes {
            true => Ok(()),
            false => Err(EngineError::QualityGate(format!(
                "{}. Nothing was published. If their rows are to be deleted, run again with --approve-deletes",
                told.join("; ")
            ))),
        }
    }

    /// A table whose sources changed keeps its rows: another key, name or issuer of a source gives all of them new identities.
    /// Who edits a transform or a mapping means what becomes of the rows.
    pub(super) fn check_lost(
        &self,
        staged: &BTreeMap<String, Vec<StagedTable>>,
        before: &EngineState,
    ) -> Result<(), EngineError> {
        let Some(last) = self.session.last.as_ref().filter(|_| !self.options.approve_deletes) else {
            return Ok(());
        };
        // Those who allowed another key know that it is another identity.
        let mut rekeyed = schema_changes(self.bound, &self.session.vault, &last.manifest)?;
        rekeyed.retain(|change| change.column.is_none() && change.impact == Impact::Breaking);
        let told = |table: &TableSpec| {
            let (was, ranges) = (
                last.manifest.tables.get(&table.name)?.row_count,
                staged.get(&table.name)?,
            );
            let is_made_so = before.tables.get(&table.name) == Some(&table.digest);
            if is_made_so
                || !self.behind(table).any(|s| self.is_read_anew(s))
                || rekeyed.iter().any(|change| change.table == table.name)
            {
                return None;
            }
            let is = ranges.iter().map(|range| range.fingerprint.count).sum();
            let lost = match self.is_known_by_content(table) {
                // A field more is another content: what came in place of what went counts.
                true => was.saturating_sub(is),
                false => ranges.iter().map(|range| range.deletes).sum(),
            };
            (lost as f64 > was as f64 * MOST_LOST).then(|| {
                format!(
                    "table {}: its sources changed since release {}, and of its {was} rows {lost} would be deleted; it would \
                     have {is}. A row keeps its identity where its source keeps its name, its `key` and the issuer of \
                     its subject",
                    table.name, last.manifest.release
                )
            })
        };
        let told: Vec<String> = self.bound.tables.iter().filter_map(told).collect();
        match told.is_empty() {
            true => Ok(()),
            false => Err(EngineError::QualityGate(format!(
                "{}. Nothing was published. If they are to be deleted, run again with --approve-deletes",
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

    /// True for a source that is new, or has other options than at the last release.
    fn is_read_anew(&self, source: &SourceSpec) -> bool {
        let mut events = self.session.state.events.iter();
        !events.any(|file| file.source == source.name() && file.parse_id == source.parse_id)
    }
}
