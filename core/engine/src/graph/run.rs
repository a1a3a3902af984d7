//! Running a graph: every relation once, in dependency order.

use super::{Graph, Node, bind::BoundStep, unlike::unlike};
use crate::{
    columns::fit,
    error::EngineError,
    fold::{Folded, Id, id_at, ids},
    sql::SqlStep,
};
use arrow::{
    array::{
        Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, RecordBatchOptions, StringArray, StringBuilder,
        UInt32Array, UInt64Array,
    },
    compute::{concat, concat_batches, take},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use clinmill_catalog::vault::{base32, base32_decode};
use clinmill_model::{
    Ids,
    columns::{INPUTS, SUBJECT_ID},
};
use clinmill_sdk::{Applied, BoundTransform, Caps, Emit, Origin, PluginError, RejectedRow, Status, TaskContext};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The records of one kind, as the graph takes them in.
pub struct TaskInput<'a> {
    /// `source` or `source.kind`.
    pub name: &'a str,
    /// The records.
    pub folded: &'a Folded,
}

/// Rows of a named relation.
#[derive(Clone)]
pub struct Relation {
    /// Its own columns.
    pub rows: RecordBatch,
    /// The canonical subject of each row; `None` for relations without subjects.
    pub subject: Option<FixedSizeBinaryArray>,
    /// Which records each row was made of.
    pub from: Lineage,
}

/// Which records the rows of a relation were made of. A record is named by the number of its kind (upper bits) and
/// its index among that kind's records.
#[derive(Clone)]
pub enum Lineage {
    /// One record each.
    One(UInt64Array),
    /// Several each.
    Many(Vec<Vec<u64>>),
    /// Not kept: behind a query, with lineage off.
    Unknown,
}

const INDEX_BITS: u32 = 40;

/// The name of a record: its kind's number and its index.
pub fn record_name(kind: usize, index: usize) -> u64 {
    ((kind as u64) << INDEX_BITS) | index as u64
}

/// Kind number and index of a record.
pub fn record_at(name: u64) -> (usize, usize) {
    ((name >> INDEX_BITS) as usize, (name & ((1 << INDEX_BITS) - 1)) as usize)
}

/// A row that a step rejected.
#[derive(Clone, Debug)]
pub struct StepRejection {
    /// `transform/step`.
    pub step: String,
    /// The plugin's code.
    pub code: String,
    /// The plugin's message.
    pub message: String,
    /// The records the row was made of.
    pub records: Vec<u64>,
}

/// The step name under which a table's contract rejects.
pub fn contract_of(table: &str) -> String {
    format!("table {table}")
}

/// The transform of a step, or what [`contract_of`] made.
pub fn transform_of(step: &str) -> &str {
    step.split_once('/').map_or(step, |(transform, _)| transform)
}

/// What a step did to a row by a mapping table or a conversion.
#[derive(Clone, Debug)]
pub struct StepApplied {
    /// `transform/step`.
    pub step: String,
    /// What it did.
    pub applied: Applied,
    /// The records the row was made of.
    pub records: Vec<u64>,
}

/// What the steps did.
#[derive(Clone, Debug, Default)]
pub struct StepReport {
    /// What steps did by mapping tables, where that is asked for.
    pub applied: Option<Vec<StepApplied>>,
    /// Steps that look mappings up and do not tell which rows of them they took.
    pub silent: BTreeSet<String>,
    /// Rejected rows.
    pub rejections: Vec<StepRejection>,
    /// Named counts by step.
    pub counts: BTreeMap<String, BTreeMap<String, u64>>,
    /// Subjects with a row that a step makes otherwise than its former self: see [`Graph::beside`].
    pub concerned: Ids,
}

impl Graph {
    /// Runs the relations that `wanted` names, and what they read.
    ///
    /// # Errors
    /// When a step fails as a whole.
    pub async fn run(
        &self,
        inputs: &[TaskInput<'_>],
        wanted: &[String],
        lineage: bool,
        cancelled: &AtomicBool,
        report: &mut StepReport,
    ) -> Result<BTreeMap<String, Relation>, EngineError> {
        let mut relations: BTreeMap<String, Relation> = BTreeMap::new();
        for (kind, input) in inputs.iter().enumerate() {
            let names = (0..input.folded.rows.num_rows()).map(|i| record_name(kind, i));
            relations.insert(
                input.name.to_owned(),
                Relation {
                    rows: input.folded.rows.clone(),
                    subject: self.is_about_subjects(input.name).then(|| input.folded.subject.clone()),
                    from: Lineage::One(names.collect::<Vec<_>>().into()),
                },
            );
        }
        let needed = self.needed(wanted);
        for node in self.nodes.iter().filter(|n| needed.contains(n.name())) {
            let relation = self.run_node(node, &relations, lineage, cancelled, report).await?;
            relations.insert(node.name().to_owned(), relation);
        }
        Ok(relations)
    }

    async fn run_node(
        &self,
        node: &Node,
        relations: &BTreeMap<String, Relation>,
        lineage: bool,
        cancelled: &AtomicBool,
        report: &mut StepReport,
    ) -> Result<Relation, EngineError> {
        let get = |name: &str| {
            relations
                .get(name)
                .ok_or_else(|| EngineError::internal(format!("the relation {name} was not made")))
        };
        let mut relation = match node {
            Node::Union { inputs, schema, .. } => {
                let parts = inputs.iter().map(|n| get(n)).collect::<Result<Vec<_>, _>>()?;
                union(&parts, schema)?
            }
            Node::Sql { step, name, .. } => {
                let made = until_cancelled(run_sql(step, relations, lineage), cancelled).await;
                made.map_err(|e| e.of_transform(name))?
            }
        };
        for step in node.steps() {
            if let Some(applied) = &mut report.applied
                && !step.mappings.is_empty()
            {
                match explain(step, &relation)? {
                    Some(told) => applied.extend(told),
                    None => drop(report.silent.insert(step.name.clone())),
                }
            }
            let made = collect(step, &step.bound, &relation, cancelled)?;
            if let Some(former) = &step.former {
                let was = match collect(step, former, &relation, cancelled) {
                    Err(EngineError::Cancelled) => return Err(EngineError::Cancelled),
                    was => was.ok(),
                };
                report.concerned.extend(unlike(was.as_ref(), &made, &relation));
            }
            relation = take_over(step, made, &relation, report)?;
        }
        Ok(relation)
    }
}

/// Work that is given up when the task is cancelled: a query may take hours.
async fn until_cancelled<T>(
    work: impl Future<Output = Result<T, EngineError>>,
    cancelled: &AtomicBool,
) -> Result<T, EngineError> {
    let told = async {
        while !cancelled.load(Ordering::Relaxed) {
            // Not the runtime's clock: it stands where all of its threads are in queries.
            let _ = tokio::task::spawn_blocking(|| std::thread::sleep(LOOK)).await;
        }
    };
    tokio::select! {
        biased;
        made = work => made,
        () = told => Err(EngineError::Cancelled),
    }
}

/// How often that is looked for.
const LOOK: Duration = Duration::from_millis(50);

fn union(parts: &[&Relation], schema: &SchemaRef) -> Result<Relation, EngineError> {
    let batches = parts
        .iter()
        .map(|p| fit(&p.rows, schema))
        .collect::<Result<Vec<_>, _>>()?;
    let subjects: Option<Vec<&dyn Array>> = parts
        .iter()
        .map(|p| p.subject.as_ref().map(|s| s as &dyn Array))
        .collect();
    let subject = match subjects {
        Some(subjects) if !subjects.is_empty() => Some(concat(&subjects)?.as_fixed_size_binary().clone()),
        _ => None,
    };
    let ones: Option<Vec<&dyn Array>> = parts
        .iter()
        .map(|p| match &p.from {
            Lineage::One(names) => Some(names as &dyn Array),
            _ => None,
        })
        .collect();
    let from = match ones {
        Some(ones) if !ones.is_empty() => Lineage::One(concat(&ones)?.as_primitive().clone()),
        _ if parts.iter().any(|p| matches!(p.from, Lineage::Unknown)) => Lineage::Unknown,
        _ => Lineage::Many(
            parts
                .iter()
                .flat_map(|p| (0..p.rows.num_rows()).map(|i| p.from.at(i)))
                .collect(),
        ),
    };
    Ok(Relation {
        rows: concat_batches(schema, &batches)?,
        subject,
        from,
    })
}

impl Lineage {
    /// The records that row `i` was made of.
    pub fn at(&self, i: usize) -> Vec<u64> {
        match self {
            Self::One(names) => vec![names.value(i)],
            Self::Many(lists) => lists[i].clone(),
            Self::Unknown => Vec::new(),
        }
    }

    /// The lineage of these rows.
    ///
    /// # Errors
    /// Never for rows that exist.
    pub fn take(&self, rows: &UInt32Array) -> Result<Self, EngineError> {
        Ok(match self {
            Self::One(names) => Self::One(take(names, rows, None)?.as_primitive().clone()),
            Self::Many(lists) => Self::Many(rows.values().iter().map(|&i| lists[i as usize].clone()).collect()),
            Self::Unknown => Self::Unknown,
        })
    }
}

/// Rows that a plugin handles at a time.
const BATCH_ROWS: usize = 65_536;

/// Runs a step, or what it was before, over all rows of its input.
fn collect(
    step: &BoundStep,
    bound: &Arc<dyn BoundTransform>,
    input: &Relation,
    cancelled: &AtomicBool,
) -> Result<Collected, EngineError> {
    let task = TaskContext {
        cancelled,
        batch_rows: BATCH_ROWS,
    };
    let failed = |error: PluginError| EngineError::step(&step.name, error);
    let mut run = bound.open(&task).map_err(failed)?;
    let mut out = Collected {
        plugin: step.plugin.clone(),
        is_over: false,
        base: 0,
        size: 0,
        rows: Vec::new(),
        origins: Vec::new(),
        rejected: Vec::new(),
        counts: BTreeMap::new(),
    };
    let total = input.rows.num_rows();
    let mut start = 0;
    while start < total {
        task.check().map_err(failed)?;
        let batch = input.rows.slice(start, BATCH_ROWS.min(total - start));
        out.base = start as u32;
        out.size = batch.num_rows() as u32;
        run.process(&batch, &mut out).map_err(failed)?;
        start += batch.num_rows();
    }
    // No batch is in process: rows would have nothing to come from.
    (out.base, out.size, out.is_over) = (total as u32, 0, true);
    run.finish(&mut out).map_err(failed)?;
    match step.caps.has(Caps::ROW_WISE) {
        true => check_conserved(&out, total, step)?,
        false => check_rejected(&out, step)?,
    }
    Ok(out)
}

/// What a step gave, as a relation and in the report.
fn take_over(
    step: &BoundStep,
    out: Collected,
    input: &Relation,
    report: &mut StepReport,
) -> Result<Relation, EngineError> {
    let rows = concat_batches(&step.bound.output(), &out.rows)?;
    let origins = UInt32Array::from(out.origins);
    for rejected in out.rejected {
        report.rejections.push(StepRejection {
            step: step.name.clone(),
            code: rejected.code,
            message: rejected.message,
            records: input.from.at(rejected.row as usize),
        });
    }
    let counts = report.counts.entry(step.name.clone()).or_default();
    for (key, n) in out.counts {
        let count = counts.entry(key).or_default();
        *count = count.saturating_add(n);
    }
    let subject = match &input.subject {
        Some(subject) => Some(take(subject, &origins, None)?.as_fixed_size_binary().clone()),
        None => None,
    };
    Ok(Relation {
        rows,
        subject,
        from: input.from.take(&origins)?,
    })
}

/// What a step says it does to the rows of its input.
fn explain(step: &BoundStep, input: &Relation) -> Result<Option<Vec<StepApplied>>, EngineError> {
    let told = step.bound.explain(&input.rows);
    let of_rows = |all: Vec<Applied>| {
        all.into_iter().map(|applied| StepApplied {
            step: step.name.clone(),
            records: input.from.at(applied.row as usize),
            applied,
        })
    };
    let told = told.map_err(|error| EngineError::step(&step.name, error))?;
    Ok(told.map(|all| of_rows(all).collect()))
}

/// A row-wise step yields or rejects every row exactly once.
fn check_conserved(out: &Collected, total: usize, step: &BoundStep) -> Result<(), EngineError> {
    let mut seen = vec![false; total];
    let mut again = 0_usize;
    for &row in out.origins.iter().chain(out.rejected.iter().map(|r| &r.row)) {
        match seen.get_mut(row as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => again += 1,
        }
    }
    let missing = seen.iter().filter(|seen| !**seen).count();
    if missing == 0 && again == 0 {
        return Ok(());
    }
    let what = format!(
        "of {total} rows it handed on {} and rejected {}; {missing} are missing, {again} are there again, and a row-wise step does \
         one of the two with each row, once",
        out.origins.len(),
        out.rejected.len()
    );
    Err(wrong_rows(step, &what))
}

/// What any step rejects, it does not hand on.
fn check_rejected(out: &Collected, step: &BoundStep) -> Result<(), EngineError> {
    match in_both(&out.origins, &out.rejected) {
        0 => Ok(()),
        n => Err(wrong_rows(
            step,
            &format!("it rejected {n} rows that it also handed on"),
        )),
    }
}

fn in_both(origins: &[u32], rejected: &[RejectedRow]) -> usize {
    let rejected: HashSet<u32> = rejected.iter().map(|r| r.row).collect();
    let both: HashSet<&u32> = origins.iter().filter(|row| rejected.contains(row)).collect();
    both.len()
}

fn wrong_rows(step: &BoundStep, what: &str) -> EngineError {
    let message = format!("the plugin {:?} in process: {what}", step.plugin);
    EngineError::step(&step.name, PluginError::new(Status::Internal, "PLUGIN_ROWS", message))
}

/// All that a step gave.
pub(super) struct Collected {
    plugin: String,
    /// *finish* is under way.
    is_over: bool,
    base: u32,
    size: u32,
    pub(super) rows: Vec<RecordBatch>,
    /// Of each of these rows, the row of the input that it was made of.
    pub(super) origins: Vec<u32>,
    pub(super) rejected: Vec<RejectedRow>,
    counts: BTreeMap<String, u64>,
}

impl Emit for Collected {
    fn rows(&mut self, batch: RecordBatch, origin: Origin) -> Result<(), PluginError> {
        let wrong = || {
            let (phase, what) = match self.is_over {
                true => (
                    "finish",
                    "it yields rows, and there is no batch that they could come from",
                ),
                false => ("process", "it names input rows that do not fit its output"),
            };
            let message = format!("the plugin {:?} in {phase}: {what}", self.plugin);
            PluginError::new(clinmill_sdk::Status::Internal, "ORIGIN", message)
        };
        match origin {
            Origin::Same if batch.num_rows() == self.size as usize => {
                self.origins.extend(self.base..self.base + self.size);
            }
            Origin::Rows(rows) if rows.len() == batch.num_rows() && rows.iter().all(|&r| r < self.size) => {
                self.origins.extend(rows.iter().map(|r| r + self.base));
            }
            _ => return Err(wrong()),
        }
        self.rows.push(batch);
        Ok(())
    }
    fn reject(&mut self, mut row: RejectedRow) -> Result<(), PluginError> {
        row.row += self.base;
        self.rejected.push(row);
        Ok(())
    }
    fn count(&mut self, name: &str, n: u64) {
        let count = self.counts.entry(name.to_owned()).or_default();
        *count = count.saturating_add(n);
    }
}

async fn run_sql(
    step: &SqlStep,
    relations: &BTreeMap<String, Relation>,
    lineage: bool,
) -> Result<Relation, EngineError> {
    let mut tables = BTreeMap::new();
    for name in step.reads() {
        let Some(relation) = relations.get(name) else {
            return Err(EngineError::internal(format!("the relation {name} was not made")));
        };
        tables.insert(name.to_owned(), vec![as_table(relation, lineage)?]);
    }
    let result = step.run(&tables, lineage).await.map_err(|e| EngineError::sql(&e))?;
    let subjects = result.column_by_name(SUBJECT_ID).and_then(|c| c.as_string_opt::<i32>());
    let subject = match subjects {
        Some(subjects) => {
            let decoded: Option<Vec<Id>> = subjects.iter().map(|s| base32_decode(s?)).collect();
            let decoded = decoded.ok_or_else(|| EngineError::internal("a query changed subject_id".to_owned()))?;
            Some(ids(decoded.into_iter())?)
        }
        None => None,
    };
    let from = match result.column_by_name(INPUTS).and_then(|c| c.as_string_opt::<i32>()) {
        Some(lists) => Lineage::Many(
            lists
                .iter()
                .map(|list| parse_lineage(list.unwrap_or_default()))
                .collect(),
        ),
        None => Lineage::Unknown,
    };
    Ok(Relation {
        rows: fit(&result, step.output())?,
        subject,
        from,
    })
}

/// A relation as a query sees it: its own columns, `subject_id`, with lineage `_in`.
pub fn as_table(relation: &Relation, lineage: bool) -> Result<RecordBatch, EngineError> {
    let mut fields: Vec<Arc<Field>> = relation.rows.schema().fields().iter().cloned().collect();
    let mut columns: Vec<ArrayRef> = relation.rows.columns().to_vec();
    if let Some(subject) = &relation.subject {
        fields.push(Arc::new(Field::new(SUBJECT_ID, DataType::Utf8, true)));
        columns.push(Arc::new(subject_column(subject)));
    }
    if lineage {
        let lists = (0..relation.rows.num_rows()).map(|i| {
            let names: Vec<String> = relation.from.at(i).iter().map(u64::to_string).collect();
            Some(names.join(","))
        });
        fields.push(Arc::new(Field::new(INPUTS, DataType::Utf8, true)));
        columns.push(Arc::new(lists.collect::<StringArray>()));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(relation.rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        columns,
        &options,
    )?)
}

/// Subject ids as they are published: 26 letters and digits.
pub fn subject_column(subjects: &FixedSizeBinaryArray) -> StringArray {
    let mut builder = StringBuilder::with_capacity(subjects.len(), subjects.len() * 26);
    let mut last: Option<(Id, String)> = None;
    for i in 0..subjects.len() {
        let id = id_at(subjects, i);
        match &last {
            Some((seen, text)) if *seen == id => builder.append_value(text),
            _ => {
                let text = base32(&id);
                builder.append_value(&text);
                last = Some((id, text));
            }
        }
    }
    builder.finish()
}

fn parse_lineage(list: &str) -> Vec<u64> {
    let mut names: Vec<u64> = list.split(',').filter_map(|n| n.parse().ok()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_rejected_and_handed_on_are_found() {
        let rejected = [1, 3].map(|row| RejectedRow {
            row,
            code: "CODE".to_owned(),
            message: String::new(),
        });
        assert_eq!(in_both(&[0, 2, 4], &rejected), 0);
        assert_eq!(in_both(&[0, 1, 1, 3], &rejected), 2);
    }
}
