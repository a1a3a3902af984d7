//! One bucket range of a refresh: the records of its dirty subjects go through the graph, and every table's rows are
//! compared with the index.

use super::{absent::Covered, identity::Identity, session::Session};
use crate::{
    bound::Bound,
    error::EngineError,
    fold::{FoldRule, Folded, Id, fold},
    graph::{Relation, StepReport, TaskInput},
    rows::{RowContext, TableRows, table_rows},
    tables::TableSpec,
};
use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::{SchemaRef, UInt32Type},
};
use clinmill_catalog::{
    events::{self, EventFile},
    index::{self, IndexEntry},
    shards::ShardFilter,
};
use clinmill_model::{Ids, bucket_of};
use clinmill_spec::pipeline::Scope;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, atomic::AtomicBool},
};

/// The count of records that came in several forms of the same version.
pub const UNORDERED: &str = "unordered versions";

/// The subjects to recompute.
#[derive(Clone, Debug)]
pub enum Dirty {
    /// All of them.
    All,
    /// These canonical subjects.
    Some(Arc<Ids>),
}

impl Dirty {
    /// How many they are; `None`: all.
    pub fn len(&self) -> Option<usize> {
        match self {
            Self::All => None,
            Self::Some(set) => Some(set.len()),
        }
    }

    /// True when this subject is to be recomputed.
    pub fn has(&self, subject: &Id) -> bool {
        match self {
            Self::All => true,
            Self::Some(set) => set.contains(subject),
        }
    }

    /// True where both are all subjects, or one and the same set.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, Self::All) => true,
            (Self::Some(a), Self::Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// True when nothing is.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Some(set) if set.is_empty())
    }
}

/// What all ranges of a refresh share.
pub struct RangeContext<'a> {
    /// The pipeline.
    pub bound: &'a Bound,
    /// Vault and dataset.
    pub session: &'a Session,
    /// The event files that count now.
    pub events: &'a [EventFile],
    /// Who is who now.
    pub identity: &'a Identity,
    /// Complete exports by source.
    pub covered: &'a BTreeMap<String, Covered>,
    /// The subjects to recompute, by table.
    pub dirty: &'a BTreeMap<String, Dirty>,
    /// Inputs whose events do not count.
    pub left_out: Option<&'a HashSet<u32>>,
    /// Keep which events every record was made of, and see that their files are what they were.
    pub lineage: bool,
    /// Set to stop.
    pub cancelled: &'a AtomicBool,
}

/// What one range gave.
pub struct RangeResult {
    /// By table.
    pub tables: BTreeMap<String, TableResult>,
    /// What the steps rejected and counted.
    pub report: StepReport,
    /// The records of each kind, for locating rejections.
    pub inputs: Vec<(String, Folded)>,
}

/// One table's share of a range.
pub struct TableResult {
    /// The rows of the recomputed subjects, sorted by subject and row id.
    pub rows: TableRows,
    /// Which of them are upserts, in their order.
    pub upserts: Vec<Upsert>,
    /// Rows that are no more.
    pub deletes: Vec<IndexEntry>,
    /// The index of the range after this refresh, sorted.
    pub index: Vec<IndexEntry>,
}

/// A row that is new or other than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upsert {
    /// Its place among the rows.
    pub row: u32,
    /// True when the row was there before, under this subject.
    pub known: bool,
}

impl RangeContext<'_> {
    /// The subjects of a range to recompute for these tables; `None`: all.
    fn wanted(&self, (lo, hi): (u16, u16), tables: &[&TableSpec]) -> Option<Ids> {
        let mut all = Ids::default();
        for dirty in tables.iter().filter_map(|t| self.dirty.get(&t.name)) {
            match dirty {
                Dirty::All => return None,
                Dirty::Some(set) => all.extend(set.iter().filter(|id| (lo..=hi).contains(&bucket_of(id))).copied()),
            }
        }
        Some(all)
    }

    /// The tables to recompute in this scope, those for the same subjects together: those for the most come first.
    pub fn groups(&self, scope: Scope) -> Vec<Vec<&TableSpec>> {
        let mut groups: Vec<(&Dirty, Vec<&TableSpec>)> = Vec::new();
        for table in self.bound.tables.iter().filter(|t| t.scope == scope) {
            let Some(dirty) = self.dirty.get(&table.name).filter(|d| !d.is_empty()) else {
                continue;
            };
            match groups.iter_mut().find(|(known, _)| known.is_same(dirty)) {
                Some((_, tables)) => tables.push(table),
                None => groups.push((dirty, vec![table])),
            }
        }
        groups.sort_by_key(|(dirty, _)| Reverse(dirty.len().unwrap_or(usize::MAX)));
        groups.into_iter().map(|(_, tables)| tables).collect()
    }

    /// Reads and folds the records of a range, for the tables that are to be recomputed.
    ///
    /// # Errors
    /// When an event file cannot be read.
    pub fn records(&self, bounds: (u16, u16), tables: &[&TableSpec]) -> Result<Vec<(String, Folded)>, EngineError> {
        let wanted = self.wanted(bounds, tables);
        let from: Vec<String> = tables.iter().map(|t| t.from.clone()).collect();
        self.records_behind(bounds, wanted, &from)
    }

    /// Reads and folds the records of a range that these relations are made of, of these subjects (`None`: all).
    ///
    /// # Errors
    /// When an event file cannot be read.
    pub fn records_behind(
        &self,
        bounds: (u16, u16),
        wanted: Option<Ids>,
        relations: &[String],
    ) -> Result<Vec<(String, Folded)>, EngineError> {
        let needed = self.bound.graph.needed(relations);
        let mut inputs = Vec::new();
        for source in &self.bound.sources {
            for (k, kind) in source.bound.records().iter().enumerate() {
                let relation = source.relation(k);
                if !needed.contains(&relation) {
                    continue;
                }
                let files: Vec<&EventFile> = self
                    .events
                    .iter()
                    .filter(|f| f.source == source.name() && f.kind == kind.name && f.parse_id == source.parse_id)
                    .collect();
                let schema = events::schema(&kind.schema);
                let mut batches = self.read(&files, &schema, bounds, wanted.as_ref())?;
                if let Some(left_out) = self.left_out {
                    batches = batches
                        .iter()
                        .map(|batch| without(batch, left_out))
                        .collect::<Result<_, _>>()?;
                }
                let covered = self.covered.get(source.name());
                let in_range = |own: &Id| {
                    let canonical = self.identity.canonical(own);
                    let mine = (bounds.0..=bounds.1).contains(&bucket_of(&canonical));
                    let dirty = wanted.as_ref().is_none_or(|w| w.contains(&canonical));
                    (mine && dirty).then_some(canonical)
                };
                let rule = FoldRule {
                    fold: kind.fold,
                    as_of_first: source.is_complete(),
                    canonical: &in_range,
                    covered: &|input| covered.and_then(|c| c.of(input)),
                    lineage: self.lineage,
                };
                inputs.push((relation, fold(&batches, &schema, &rule)?));
            }
        }
        Ok(inputs)
    }

    fn read(
        &self,
        files: &[&EventFile],
        schema: &SchemaRef,
        (lo, hi): (u16, u16),
        wanted: Option<&Ids>,
    ) -> Result<Vec<RecordBatch>, EngineError> {
        let root = self.session.vault.root();
        let mut batches = Vec::new();
        // Every identifier of the wanted subjects; those in other ranges apart, because few files hold them.
        let mut near: Option<Ids> = wanted.cloned();
        let mut far: Ids = Ids::default();
        let mut add = |id: &Id| {
            if (lo..=hi).contains(&bucket_of(id)) {
                if let Some(near) = &mut near {
                    near.insert(*id);
                }
            } else {
                far.insert(*id);
            }
        };
        match wanted {
            Some(wanted) => wanted
                .iter()
                .for_each(|id| self.identity.members(id).iter().for_each(&mut add)),
            None => self
                .identity
                .merged()
                .filter(|(canonical, _)| (lo..=hi).contains(&bucket_of(canonical)))
                .for_each(|(_, members)| members.iter().for_each(&mut add)),
        }
        let filters = [
            (!near.as_ref().is_some_and(Ids::is_empty)).then(|| ShardFilter {
                lo,
                hi,
                subjects: near.map(Arc::new),
            }),
            (!far.is_empty()).then(|| ShardFilter {
                lo: far.iter().map(bucket_of).min().unwrap_or(0),
                hi: far.iter().map(bucket_of).max().unwrap_or(0),
                subjects: Some(Arc::new(far)),
            }),
        ];
        for filter in filters.into_iter().flatten() {
            for file in files
                .iter()
                .filter(|f| f.shard.lo <= filter.hi && f.shard.hi >= filter.lo)
            {
                let read = file.read(root, schema, &filter)?;
                // A refresh has looked at all of them before.
                if self.lineage && read.iter().any(|batch| batch.num_rows() > 0) {
                    file.shard.check(root)?;
                }
                batches.extend(read);
            }
        }
        Ok(batches)
    }

    /// Runs one range for tables that recompute the same subjects: records, graph, rows, comparison.
    ///
    /// # Errors
    /// When a file cannot be read, a step fails, or row ids are not unique.
    pub async fn run(&self, bounds: (u16, u16), tables: &[&TableSpec]) -> Result<RangeResult, EngineError> {
        let inputs = self.records(bounds, tables)?;
        let mut report = StepReport::default();
        for (relation, folded) in inputs.iter().filter(|(_, f)| f.unordered > 0) {
            let counts = report.counts.entry(relation.clone()).or_default();
            *counts.entry(UNORDERED.to_owned()).or_default() += folded.unordered;
        }
        let relations = self.relations(&inputs, tables, &mut report).await?;
        let mut results = BTreeMap::new();
        for table in tables {
            let relation = relations
                .get(&table.from)
                .ok_or_else(|| EngineError::internal(format!("the relation {} was not made", table.from)))?;
            results.insert(
                table.name.clone(),
                self.compare(table, relation, &inputs, bounds, &mut report)?,
            );
        }
        Ok(RangeResult {
            tables: results,
            report,
            inputs,
        })
    }

    /// The relations that tables are made of.
    ///
    /// # Errors
    /// When a step fails.
    pub async fn relations(
        &self,
        inputs: &[(String, Folded)],
        tables: &[&TableSpec],
        report: &mut StepReport,
    ) -> Result<BTreeMap<String, Relation>, EngineError> {
        let wanted: Vec<String> = tables.iter().map(|t| t.from.clone()).collect();
        let task_inputs: Vec<TaskInput<'_>> = inputs.iter().map(|(name, folded)| TaskInput { name, folded }).collect();
        self.bound
            .graph
            .run(&task_inputs, &wanted, self.lineage, self.cancelled, report)
            .await
    }

    /// The rows of one table from its relation.
    ///
    /// # Errors
    /// When columns do not fit or row ids are not unique.
    pub fn rows(
        &self,
        table: &TableSpec,
        relation: &Relation,
        inputs: &[(String, Folded)],
        report: &mut StepReport,
    ) -> Result<TableRows, EngineError> {
        let context = RowContext {
            key: &self.session.key,
            inputs,
        };
        table_rows(table, relation, &context, report)
    }

    fn compare(
        &self,
        table: &TableSpec,
        relation: &Relation,
        inputs: &[(String, Folded)],
        (lo, hi): (u16, u16),
        report: &mut StepReport,
    ) -> Result<TableResult, EngineError> {
        let rows = self.rows(table, relation, inputs, report)?;
        let dirty = self.dirty.get(&table.name).cloned().unwrap_or(Dirty::All);
        let root = self.session.vault.root();
        let of_table = || self.session.state.index.iter().filter(|f| f.table == table.name);
        let everything = ShardFilter { lo, hi, subjects: None };
        let near = of_table().filter(|f| f.shard.lo <= hi && f.shard.hi >= lo);
        let before = index::read(root, near, &everything)?;

        let mut known: HashMap<Id, IndexEntry> = HashMap::new();
        let mut index: Vec<IndexEntry> = Vec::with_capacity(before.len());
        for entry in before {
            if dirty.has(&entry.subject) || !table.subject {
                known.insert(entry.row_id, entry);
            } else {
                index.push(entry);
            }
        }
        let mut upserts = Vec::new();
        for (i, entry) in rows.entries.iter().enumerate() {
            let old = match known.get(&entry.row_id) {
                Some(old) if old.subject == entry.subject => known.remove(&entry.row_id),
                _ => None,
            };
            if old.is_none_or(|old| old.hash != entry.hash) {
                upserts.push(Upsert {
                    row: i as u32,
                    known: old.is_some(),
                });
            }
        }
        let mut deletes: Vec<IndexEntry> = known.into_values().collect();
        deletes.sort_unstable();
        index.extend(rows.entries.iter().copied());
        index.sort_unstable();
        Ok(TableResult {
            rows,
            upserts,
            deletes,
            index,
        })
    }
}

/// Events that are not of these inputs.
fn without(batch: &RecordBatch, inputs: &HashSet<u32>) -> Result<RecordBatch, EngineError> {
    let of = batch
        .column_by_name(events::INPUT)
        .and_then(|c| c.as_primitive_opt::<UInt32Type>());
    let of = of.ok_or_else(|| EngineError::internal("events without their input".to_owned()))?;
    let kept: BooleanArray = of.values().iter().map(|input| Some(!inputs.contains(input))).collect();
    Ok(filter_record_batch(batch, &kept)?)
}
