//! What a changed pipeline would take away from what was read and published. More than a little of it is a mistake in the
//! pipeline, until somebody says that it is none.

use super::{EngineState, Refresh, Warning, read::Ingested, stage::StagedTable};
use crate::{
    bound::{Bound, SourceSpec},
    changes::{Impact, schema_changes},
    error::EngineError,
    fold::Id,
    graph::transform_of,
    tables::{Identity, TableSpec},
};
use arrow::array::AsArray;
use clinmill_catalog::{
    dataset::Manifest,
    events::{self, EventFile},
    shards::ShardFilter,
};
use clinmill_model::{BUCKETS, Digest, Ids};
use clinmill_sdk::RecordKey;
use std::collections::{BTreeMap, BTreeSet};

/// The share of what was there that a changed pipeline may take away unasked.
pub const MOST_LOST: f64 = 0.05;

/// Fewer rows than these may be lost to mistakes of single records, whatever share they are of a small table.
const FEW: u64 = 10;

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

    /// A changed source is about those whom it was about: another issuer or identifier makes somebody else of everybody.
    pub(super) fn check_subjects(&self, events: &[EventFile]) -> Result<(), EngineError> {
        let former = &self.session.state.events;
        let mut told = Vec::new();
        for source in &self.bound.sources {
            let is_of = |file: &&EventFile| file.source == source.name();
            let is_former = |file: &&EventFile| is_of(file) && file.parse_id != source.parse_id;
            if !former.iter().any(|file| is_former(&file)) {
                continue;
            }
            let mut named: Ids = Ids::default();
            self.each_subject(events.iter().filter(is_of), |id| {
                named.insert(id);
            })?;
            let (mut all, mut lost) = (0, 0);
            self.each_subject(former.iter().filter(is_former), |id| {
                all += 1;
                lost += u64::from(!named.contains(&id));
            })?;
            if is_much(lost, all) {
                told.push(format!(
                    "source {}: its options changed, and of {all} records that it gave before {lost} are about subjects whom it \
                     no longer names: their identifier or its issuer is another",
                    source.name()
                ));
            }
        }
        self.ask(told.into_iter())
    }

    fn each_subject<'f>(
        &self,
        files: impl Iterator<Item = &'f EventFile>,
        mut each: impl FnMut(Id),
    ) -> Result<(), EngineError> {
        let column = events::engine_columns(&[events::SUBJECT]);
        let whole = ShardFilter {
            lo: 0,
            hi: BUCKETS - 1,
            subjects: None,
        };
        for file in files {
            self.check_cancelled()?;
            for batch in file.read(self.session.vault.root(), &column, &whole)? {
                let ids = batch.column(0).as_fixed_size_binary();
                ids.iter()
                    .flatten()
                    .filter_map(|id| id.try_into().ok())
                    .for_each(&mut each);
            }
        }
        Ok(())
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

    /// A published row is not to vanish because what it is made of now does not fit: a source that writes a column
    /// otherwise from today on would empty its tables. Single rows may.
    pub(super) fn check_refused(
        &self,
        staged: &BTreeMap<String, Vec<StagedTable>>,
        steps: &BTreeMap<String, BTreeMap<String, u64>>,
    ) -> Result<(), EngineError> {
        let Some(last) = &self.session.last else {
            return Ok(());
        };
        self.ask(staged.iter().filter_map(|(table, ranges)| {
            let was = last.manifest.tables.get(table)?.row_count;
            let refused: u64 = ranges.iter().map(|range| range.refused).sum();
            (is_much(refused, was) && refused >= FEW).then(|| {
                let spec = self.bound.tables.iter().find(|spec| spec.name == *table);
                let judges = spec.map(|spec| spec.judges(&self.bound.graph)).unwrap_or_default();
                let reasons: Vec<String> = steps
                    .iter()
                    .filter(|(step, _)| judges.contains(transform_of(step)))
                    .flat_map(|(step, counts)| {
                        let codes = counts.keys().filter_map(|count| count.strip_prefix("rejected "));
                        codes.map(move |code| format!("{step}: {code}"))
                    })
                    .collect();
                format!(
                    "table {table}: of its {was} rows {refused} would be deleted, because what they are made of now is rejected \
                     ({}): see `clinmill quarantine list`",
                    reasons.join(", ")
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
        behind(self.bound, table)
    }

    /// The sources behind each table, with the generation that each is read in.
    pub(super) fn generations(&self) -> BTreeMap<String, BTreeMap<String, Digest>> {
        let of = |table| self.behind(table).map(|s| (s.name().to_owned(), s.parse_id)).collect();
        let tables = self.bound.tables.iter();
        tables.map(|table| (table.name.clone(), of(table))).collect()
    }
}

fn behind<'b>(bound: &'b Bound, table: &TableSpec) -> impl Iterator<Item = &'b SourceSpec> {
    let is_behind = |source: &&SourceSpec| table.prov.sources.iter().any(|name| name == source.name());
    bound.sources.iter().filter(is_behind)
}

/// Tables of which more than a little was rejected by the steps behind them and their contracts, or all: the `expect` of a
/// source knows of the records alone that its own plugin rejects.
pub fn rejected_rows(staged: &BTreeMap<String, Vec<StagedTable>>) -> impl Iterator<Item = Warning> + '_ {
    staged.iter().filter_map(|(table, ranges)| {
        let rows: u64 = ranges.iter().map(|range| range.fingerprint.count).sum();
        let rejected: u64 = ranges.iter().map(|range| range.rejected).sum();
        let see = "see `clinmill quarantine list`";
        match rows {
            0 if rejected > 0 => {
                let message = format!("table {table} has no row: {rejected} were rejected, {see}");
                Some(Warning::new("TABLE_EMPTY", message))
            }
            _ if is_much(rejected, rows + rejected) => {
                let message = format!("table {table} has {rows} rows, and {rejected} were rejected: {see}");
                Some(Warning::new("ROWS_REJECTED", message))
            }
            _ => None,
        }
    })
}

fn is_much(lost: u64, of: u64) -> bool {
    lost as f64 > of as f64 * MOST_LOST
}

/// What a refresh will ask about as far as it is seen without one: tables that lose a source and get another, whose rows
/// [`check_lost`](Refresh::check_lost) finds under new identities.
pub fn foreseen(bound: &Bound, last: &Manifest, before: &EngineState) -> Vec<Warning> {
    let named = |names: &[&str]| {
        names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let tables = bound.tables.iter().filter(|table| table.identity == Identity::Record);
    let told = tables.filter_map(|table| {
        let rows = last.tables.get(&table.name)?.row_count;
        let former = before.sources.get(&table.name)?;
        let now: Vec<&str> = behind(bound, table).map(SourceSpec::name).collect();
        let gone: Vec<&str> = former.keys().map(String::as_str).filter(|name| !now.contains(name)).collect();
        let new: Vec<&str> = now.iter().copied().filter(|name| !former.contains_key(*name)).collect();
        (rows > 0 && !gone.is_empty() && !new.is_empty()).then(|| {
            let message = format!(
                "table {}: {} is no source of it any more, and {} is one: rows of a source that was given another name are \
                 deleted, and come again with other identities; `run` refuses to lose more than {:.0} % of {rows} rows without \
                 --approve-deletes",
                table.name,
                named(&gone),
                named(&new),
                MOST_LOST * 100.0
            );
            Warning::new("QUALITY_GATE", message)
        })
    });
    told.collect()
}
