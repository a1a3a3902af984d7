//! Staging: what the ranges of a refresh gave, written to the vault's staging area. Nothing here can be seen by a
//! buyer; [`super::publish`] puts it into the dataset once every gate has passed.

use super::{
    absent::Covered,
    identity::Identity,
    news::News,
    range::{RangeContext, RangeResult, TableResult},
};
use crate::{
    error::EngineError,
    fold::{Folded, Id, ids},
    graph::{StepRejection, contract_of, record_at, subject_column, transform_of},
    tables::TableSpec,
};
use arrow::{
    array::{
        Array, ArrayRef, AsArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray,
        UInt32Array,
    },
    compute::{concat_batches, take_record_batch},
    datatypes::{DataType, Field, Schema},
};
use clinmill_catalog::{
    dataset::{
        StagedFile, change_schema, prov_type,
        table::{FileTarget, TableWriter, WriterOptions},
    },
    events,
    index::{self, IndexEntry, IndexFile},
    rowhash::Fingerprint,
    vault::base32,
};
use clinmill_model::{
    Digest,
    columns::{CAUSE, OP, PROV, RELEASE, ROW_ID, SUBJECT_ID},
};
use clinmill_spec::pipeline::Scope;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

/// What a range left in staging.
#[derive(Default)]
pub struct StagedRange {
    /// By table.
    pub tables: BTreeMap<String, StagedTable>,
    /// Rejected rows: step, code, message, and the event behind each.
    pub rejections: Vec<Rejected>,
    /// Named counts by step.
    pub counts: BTreeMap<String, BTreeMap<String, u64>>,
}

/// A row that a step or a table's contract rejected.
pub struct Rejected {
    /// `transform/plugin`, or `table NAME`.
    pub step: String,
    /// The plugin's code.
    pub code: String,
    /// Its message.
    pub message: String,
    /// The records it was made of.
    pub records: Vec<RejectedRecord>,
}

/// A record behind a rejected row, located.
pub struct RejectedRecord {
    /// Its relation.
    pub relation: String,
    /// Number of the input.
    pub input: u32,
    /// Where in the input.
    pub at: clinmill_sdk::Locator,
}

/// One table's share.
#[derive(Default)]
pub struct StagedTable {
    /// Change files.
    pub changes: Vec<StagedFile>,
    /// The range's index.
    pub index: Option<IndexFile>,
    /// Rows of the range after this refresh, and the sum of their hashes.
    pub fingerprint: Fingerprint,
    /// Upserted rows.
    pub upserts: u64,
    /// Deleted rows.
    pub deletes: u64,
    /// Which they are.
    pub gone: Vec<IndexEntry>,
    /// Rows that the steps behind the table and its contract rejected.
    pub rejected: u64,
    /// Of these its contract, by subject.
    pub broken: HashMap<Option<Id>, u64>,
    /// Deleted rows of subjects of whom as many rows, or more, were rejected.
    pub refused: u64,
}

/// What staging needs to know.
pub struct StageContext<'a> {
    /// The refresh.
    pub ranges: &'a RangeContext<'a>,
    /// The staging folder.
    pub staging: &'a Path,
    /// The run.
    pub run_id: &'a str,
    /// The release to be.
    pub release: u64,
    /// Tables whose making changed: their rows are restandardized, where nothing new came of what they are made of.
    pub changed_tables: &'a [String],
    /// What was before this refresh.
    pub before: Before<'a>,
    /// The latest `as_of` of each source before this refresh: what is older and new is late.
    pub latest_as_of: &'a BTreeMap<String, String>,
    /// The pipeline's digest, as `_prov` shows it.
    pub pipeline: Digest,
}

/// What tells the records that held before a refresh from those that hold now.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// The numbers of the inputs that this refresh is the first to read.
    pub fresh: &'a HashSet<u32>,
    /// Who was who.
    pub identity: &'a Identity,
    /// What complete exports covered, by source.
    pub covered: &'a BTreeMap<String, Covered>,
}

impl StageContext<'_> {
    /// Runs one range and stages what it gave.
    ///
    /// # Errors
    /// When the range fails or staging cannot be written.
    pub async fn run(&self, number: usize, bounds: (u16, u16), scope: Scope) -> Result<StagedRange, EngineError> {
        let mut staged = StagedRange::default();
        for group in self.ranges.groups(scope) {
            let mut result = self.ranges.run(bounds, &group).await?;
            let news = self.news(bounds, &group, &result)?;
            for table in &group {
                if let Some(rows) = result.tables.remove(&table.name) {
                    let rows = self.stage(table, rows, (&result.inputs, &news), number, bounds)?;
                    staged.tables.insert(table.name.clone(), rows);
                }
            }
            // Behind a query a row knows its records only when lineage is kept: once more, for the rejected ones.
            let unknown = |r: &RangeResult| r.report.rejections.iter().any(|r| r.records.is_empty());
            let located = match unknown(&result) && !self.ranges.lineage {
                false => None,
                true => {
                    let traced = RangeContext {
                        lineage: true,
                        ..*self.ranges
                    };
                    Some(traced.run(bounds, &group).await?)
                }
            };
            let rejected = located.as_ref().unwrap_or(&result);
            for rejection in rejected.report.rejections.iter().filter(|r| r.records.is_empty()) {
                let counts = staged.counts.entry(rejection.step.clone()).or_default();
                *counts.entry(format!("rejected {}", rejection.code)).or_default() += 1;
            }
            for table in &group {
                if let Some(rows) = staged.tables.get_mut(&table.name) {
                    self.blame(table, rejected, rows);
                }
            }
            staged.rejections.extend(rejections(rejected));
            // A step that tables of several groups are made of is counted once: the first group has the most subjects.
            for (step, counts) in result.report.counts {
                let known = staged.counts.entry(step).or_default();
                for (name, n) in counts {
                    known.entry(name).or_insert(n);
                }
            }
        }
        Ok(staged)
    }

    /// Finds which of the deleted rows may be missing because something was rejected.
    fn blame(&self, table: &TableSpec, result: &RangeResult, staged: &mut StagedTable) {
        let judges = table.judges(&self.ranges.bound.graph);
        let contract = contract_of(&table.name);
        let mut rejected: HashMap<Option<Id>, u64> = HashMap::new();
        for rejection in &result.report.rejections {
            if judges.contains(transform_of(&rejection.step)) {
                let subject = rejection.records.first().and_then(|&record| {
                    let (kind, index) = record_at(record);
                    result.inputs.get(kind)?.1.subject.value(index).try_into().ok()
                });
                if rejection.step == contract {
                    *staged.broken.entry(subject).or_default() += 1;
                }
                *rejected.entry(subject).or_default() += 1;
                staged.rejected += 1;
            }
        }
        for row in &staged.gone {
            if let Some(left) = rejected.get_mut(&Some(row.subject)).filter(|left| **left > 0) {
                *left -= 1;
                staged.refused += 1;
            }
        }
    }

    fn stage(
        &self,
        table: &TableSpec,
        result: TableResult,
        (inputs, news): (&[(String, Folded)], &News),
        number: usize,
        bounds: (u16, u16),
    ) -> Result<StagedTable, EngineError> {
        let mut fingerprint = Fingerprint::default();
        for entry in &result.index {
            fingerprint.add(entry.hash);
        }
        let mut changes = Vec::new();
        if !result.upserts.is_empty() || !result.deletes.is_empty() {
            let target = FileTarget {
                dir: self.staging.join(format!("changes-{}-{number:04}", table.name)),
                run_id: self.run_id.to_owned(),
            };
            let mut writer = TableWriter::new(target, change_schema(&table.schema), WriterOptions::default())?;
            writer.write(&self.changes(table, &result, (inputs, news))?)?;
            changes = writer.finish()?;
        }
        let root = self.ranges.session.vault.root();
        let index = match result.index.is_empty() {
            true => None,
            false => Some(index::write(root, self.staging, &table.name, bounds, &result.index)?),
        };
        Ok(StagedTable {
            changes,
            index,
            fingerprint,
            upserts: result.upserts.len() as u64,
            deletes: result.deletes.len() as u64,
            gone: result.deletes,
            ..StagedTable::default()
        })
    }

    /// The changes of a range, sorted by subject and row id: upserts with all columns, deletes with their keys.
    fn changes(
        &self,
        table: &TableSpec,
        result: &TableResult,
        (inputs, news): (&[(String, Folded)], &News),
    ) -> Result<RecordBatch, EngineError> {
        let picked: UInt32Array = result.upserts.iter().map(|u| Some(u.row)).collect();
        let rows = take_record_batch(&result.rows.rows, &picked)?;
        let n = rows.num_rows();
        let entries: Vec<_> = result
            .upserts
            .iter()
            .map(|u| result.rows.entries[u.row as usize])
            .collect();
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            (OP, Arc::new(StringArray::from(vec!["U"; n]))),
            (
                ROW_ID,
                Arc::new(StringArray::from_iter_values(entries.iter().map(|e| base32(&e.row_id)))),
            ),
        ];
        let schema = rows.schema();
        for (field, column) in schema.fields().iter().zip(rows.columns()) {
            columns.push((field.name(), column.clone()));
        }
        columns.push((RELEASE, Arc::new(Int64Array::from(vec![self.release as i64; n]))));
        columns.push((PROV, self.prov(table, result, inputs)?));
        columns.push((CAUSE, self.causes(table, result, inputs, news)));
        let upserts = batch(columns)?;

        let d = result.deletes.len();
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            (OP, Arc::new(StringArray::from(vec!["D"; d]))),
            (
                ROW_ID,
                Arc::new(StringArray::from_iter_values(
                    result.deletes.iter().map(|e| base32(&e.row_id)),
                )),
            ),
            (RELEASE, Arc::new(Int64Array::from(vec![self.release as i64; d]))),
        ];
        if table.subject {
            let subjects = ids(result.deletes.iter().map(|e| e.subject))?;
            columns.push((SUBJECT_ID, Arc::new(subject_column(&subjects))));
        }
        let deletes = batch(columns)?;

        let schema = change_schema(&table.schema);
        let parts = [
            crate::columns::fit(&upserts, &schema)?,
            crate::columns::fit(&deletes, &schema)?,
        ];
        let all = concat_batches(&schema, &parts)?;
        let mut order: Vec<(Id, Id, u32)> = entries
            .iter()
            .chain(&result.deletes)
            .enumerate()
            .map(|(i, e)| (e.subject, e.row_id, i as u32))
            .collect();
        order.sort_unstable();
        let order: UInt32Array = order.into_iter().map(|o| Some(o.2)).collect();
        Ok(take_record_batch(&all, &order)?)
    }

    /// `new`, `late`, `corrected` or `restandardized`.
    fn causes(&self, table: &TableSpec, result: &TableResult, inputs: &[(String, Folded)], news: &News) -> ArrayRef {
        let is_changed = self.changed_tables.contains(&table.name);
        let record = |row: u32| -> Option<(&String, &Folded, usize)> {
            let (kind, index) = record_at(result.rows.record_of(row as usize)?);
            let (relation, folded) = inputs.get(kind)?;
            Some((relation, folded, *folded.event.get(index)? as usize))
        };
        let late = |row: u32| -> Option<bool> {
            let (relation, folded, event) = record(row)?;
            let source = relation.split('.').next()?;
            let latest = self.latest_as_of.get(source)?;
            let as_of = folded.events.column_by_name(events::AS_OF)?.as_string_opt::<i32>()?;
            Some(as_of.is_valid(event) && as_of.value(event) < latest.as_str())
        };
        let is_new = |row: u32| match result.rows.record_of(row as usize) {
            Some(record) => news.has_record(record),
            // Of a row that a query made nothing is known but its subject; of one made of all subjects, not even that.
            None if table.scope == Scope::Dataset => !news.is_empty(),
            None => {
                let entry = result.rows.entries.get(row as usize);
                entry.is_some_and(|entry| news.has_subject(&entry.subject))
            }
        };
        let restandardized = |row: u32| is_changed && !is_new(row);
        let causes = result
            .upserts
            .iter()
            .map(|u| match (u.known, u.known && restandardized(u.row)) {
                (true, true) => "restandardized",
                (true, false) => "corrected",
                (false, _) if late(u.row) == Some(true) => "late",
                (false, _) => "new",
            });
        Arc::new(StringArray::from_iter_values(causes))
    }

    /// What is new of the records behind some tables, where a changed row of a table that is made in another way now asks for
    /// it.
    fn news(&self, bounds: (u16, u16), tables: &[&TableSpec], result: &RangeResult) -> Result<News, EngineError> {
        let asks = |(name, table): (&String, &TableResult)| {
            self.changed_tables.contains(name) && table.upserts.iter().any(|upsert| upsert.known)
        };
        if self.before.fresh.is_empty() || !result.tables.iter().any(asks) {
            return Ok(News::default());
        }
        let before = RangeContext {
            identity: self.before.identity,
            covered: self.before.covered,
            left_out: Some(self.before.fresh),
            ..*self.ranges
        };
        News::between(&before.records(bounds, tables)?, &result.inputs)
    }

    /// Where each upserted row comes from, as a buyer may see it.
    fn prov(
        &self,
        table: &TableSpec,
        result: &TableResult,
        inputs: &[(String, Folded)],
    ) -> Result<ArrayRef, EngineError> {
        let n = result.upserts.len();
        // One dictionary entry per relation, and one for rows made of several.
        let all = table.prov.sources.join(",");
        let mut names: Vec<&str> = inputs.iter().map(|(r, _)| r.split('.').next().unwrap_or(r)).collect();
        names.push(&all);
        let keys: Int32Array = result
            .upserts
            .iter()
            .map(|u| {
                Some(
                    result
                        .rows
                        .record_of(u.row as usize)
                        .map_or(inputs.len(), |r| record_at(r).0) as i32,
                )
            })
            .collect();
        let constant = |text: Option<String>| -> Result<ArrayRef, EngineError> {
            let keys: Int32Array = (0..n).map(|_| text.is_some().then_some(0)).collect();
            let values = StringArray::from(vec![text.unwrap_or_default()]);
            Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(values))?))
        };
        let mappings = (!table.prov.mappings.is_empty()).then(|| table.prov.mappings.join(","));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(DictionaryArray::try_new(keys, Arc::new(StringArray::from(names)))?),
            constant(Some("structured".to_owned()))?,
            constant(mappings)?,
            constant(Some(self.pipeline.to_string()))?,
        ];
        let DataType::Struct(fields) = prov_type() else {
            return Err(EngineError::internal("_prov is not a struct".to_owned()));
        };
        Ok(Arc::new(StructArray::try_new(fields, columns, None)?))
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, EngineError> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(n, c)| Field::new(*n, c.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, c)| c).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn rejections(result: &RangeResult) -> Vec<Rejected> {
    let record = |&record: &u64| {
        let (kind, index) = record_at(record);
        let (relation, folded) = result.inputs.get(kind)?;
        let (input, at) = folded.locate(*folded.event.get(index)?);
        Some(RejectedRecord {
            relation: relation.clone(),
            input,
            at,
        })
    };
    let rejected = |rejection: &StepRejection| Rejected {
        step: rejection.step.clone(),
        code: rejection.code.clone(),
        message: rejection.message.clone(),
        records: rejection.records.iter().filter_map(record).collect(),
    };
    result.report.rejections.iter().map(rejected).collect()
}
