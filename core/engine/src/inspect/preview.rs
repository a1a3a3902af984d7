//! The first rows of a source or transform.

use super::file::FileInput;
use crate::{
    bound::{Bound, SourceSpec},
    error::EngineError,
    fold::{FoldRule, Folded, fold},
    graph::{StepReport, TaskInput, as_table},
    ingest::{self, EventBuilder, EventSink},
    refresh::{Identity, Link, Warning, folder, never_came, scope_of_captures, seen},
    sql,
};
use arrow::array::{AsArray, RecordBatch, StringArray};
use clinmill_catalog::{
    events,
    vault::{FoundFile, VaultError, VaultKey},
};
use clinmill_model::{Digest, columns::SUBJECT_ID};
use clinmill_sdk::{PluginError, Status, TaskContext};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::AtomicBool},
};
/// Records of one kind that a preview reads at most; a source stops there.
pub const PREVIEW_RECORDS: usize = 20_000;

/// How much a preview looks at.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Rows that are shown.
    pub rows: usize,
    /// Records of one kind that are read.
    pub records: usize,
}

/// The first rows of something, and what they lack.
#[derive(Debug)]
pub struct Preview {
    /// The rows. Their subjects are numbered in the order of the rows.
    pub rows: RecordBatch,
    /// Inputs that could not be read, in the order of the inbox.
    pub left_out: Vec<LeftOut>,
    /// Rejected records and rows, by where and code: `lis TABLE_TYPE`.
    pub rejected: BTreeMap<String, u64>,
    /// True when there is more: no more than some 20,000 records of a source are looked at.
    pub is_cut: bool,
    /// What else somebody should look at.
    pub warnings: Vec<Warning>,
}

/// An input that a preview could not read.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// The source.
    pub source: String,
    /// The file, relative to the folder that is searched: for use inside the hospital.
    pub input: String,
    /// The plugin's code.
    pub code: String,
    /// Why.
    pub message: String,
}

/// The first rows of a source, record kind or transform, read straight from the inbox: no vault is needed. The same inbox
/// gives the same rows. The latest inputs come first; of complete exports only the latest of each scope is read. An input that
/// cannot be read is left out, as a refresh would leave it out. Merges are followed that the sources in question report. With `filter`, only rows for which this SQL expression is true.
///
/// # Errors
/// When the name is unknown, or a step fails.
pub async fn preview(bound: &Bound, name: &str, extent: Extent, filter: Option<&str>) -> Result<Preview, EngineError> {
    let name = bound
        .sources
        .iter()
        .find(|s| s.name() == name && s.bound.records().len() == 1)
        .map_or_else(|| name.to_owned(), |s| s.relation(0));
    if bound.graph.schema(&name).is_none() {
        let mut known: Vec<String> = bound
            .sources
            .iter()
            .flat_map(|s| (0..s.bound.records().len()).map(|k| s.relation(k)))
            .collect();
        known.extend(bound.pipeline.transforms.iter().map(|t| t.name.value.clone()));
        let known = known.iter().map(String::as_str);
        return Err(EngineError::unknown("source or transform", &name, known));
    }
    // Decides the order of subjects alone: their ids are replaced by numbers.
    let key = VaultKey::from_secret(Digest::of(b"preview").to_string().as_bytes()).map_err(VaultError::from)?;
    let vault = folder(&bound.pipeline.vault.url.value, &bound.dir);
    let (mut left_out, mut warnings) = (Vec::new(), Vec::new());
    let (mut rejected, mut is_cut) = (BTreeMap::new(), false);
    let wanted = [name.clone()];
    let needed = bound.graph.needed(&wanted);
    let cancelled = AtomicBool::new(false);
    let (mut read, mut links) = (Vec::new(), Vec::new());
    for source in &bound.sources {
        let kinds = source.bound.records();
        if !(0..kinds.len()).any(|k| needed.contains(&source.relation(k))) {
            continue;
        }
        let mut sink = EventSink::new(kinds.len(), extent.records, &key);
        let found = seen(bound, source, &vault, None, &mut warnings)?;
        if found.matched == 0 {
            warnings.extend(never_came(bound, source, &[]));
        }
        let files = latest_first(source, found.files);
        for (number, (file, as_of)) in files.iter().enumerate() {
            if sink.is_full() {
                break;
            }
            let mut leave_out = |error: PluginError| {
                left_out.push(LeftOut {
                    source: source.name().to_owned(),
                    input: file.relative.expose().clone(),
                    code: error.code,
                    message: error.message,
                });
            };
            let Some(input) = FileInput::open(file) else {
                leave_out(PluginError::new(Status::Io, "INPUT_UNREADABLE", "it cannot be opened"));
                continue;
            };
            let task = TaskContext {
                cancelled: &cancelled,
                batch_rows: 4096,
            };
            sink.begin(EventBuilder::new(kinds, number as u32), as_of.clone());
            let outcome = ingest::splits(source.bound.as_ref(), &input).and_then(|splits| {
                splits
                    .iter()
                    .try_for_each(|split| source.bound.read(&input, split, &task, &mut sink))
            });
            match outcome {
                Ok(()) => {}
                Err(error) if error.status == Status::Cancelled => break,
                Err(error) => {
                    sink.give_up();
                    leave_out(error);
                }
            }
        }
        is_cut |= sink.is_full();
        for (code, n) in sink.rejected() {
            rejected.insert(format!("{} {code}", source.name()), *n);
        }
        let said = sink.links().iter();
        links.extend(said.map(|link| Link::of(link, &key, source.name(), source.parse_id)));
        read.push((source, sink));
    }
    let identity = Identity::new(&links);
    let mut folded: Vec<(String, Folded)> = Vec::new();
    for (source, sink) in &read {
        for (k, kind) in source.bound.records().iter().enumerate() {
            let rule = FoldRule {
                fold: kind.fold,
                as_of_first: source.is_complete(),
                canonical: &|id| Some(identity.canonical(id)),
                covered: &|_| None,
                lineage: false,
            };
            folded.push((
                source.relation(k),
                fold(sink.events(k), &events::schema(&kind.schema), &rule)?,
            ));
        }
    }
    let inputs: Vec<TaskInput<'_>> = folded.iter().map(|(name, folded)| TaskInput { name, folded }).collect();
    let mut report = StepReport::default();
    let relations = bound
        .graph
        .run(&inputs, &wanted, false, &cancelled, &mut report)
        .await?;
    for rejection in &report.rejections {
        *rejected
            .entry(format!("{} {}", rejection.step, rejection.code))
            .or_default() += 1;
    }
    let relation = relations
        .get(&name)
        .ok_or_else(|| EngineError::internal(format!("{name} was not made")))?;
    let mut table = numbered(as_table(relation, false)?)?;
    if let Some(filter) = filter {
        table = sql::filter(table, filter).await?;
    }
    let rows = table.slice(0, extent.rows.min(table.num_rows()));
    Ok(Preview {
        rows,
        left_out,
        rejected,
        is_cut,
        warnings,
    })
}

/// The files of an inbox, those that speak of the latest time first. Of complete exports the latest of each scope holds, and no
/// other.
fn latest_first(source: &SourceSpec, mut files: Vec<(FoundFile, Option<String>)>) -> Vec<(FoundFile, Option<String>)> {
    files.sort_by(|(_, a), (_, b)| b.cmp(a));
    let mut latest: HashMap<String, Option<String>> = HashMap::new();
    files.retain(|(file, as_of)| {
        let scope = scope_of_captures(&source.spec.mode, file.captures.expose());
        scope.is_none_or(|scope| latest.entry(scope).or_insert_with(|| as_of.clone()) == as_of)
    });
    files
}

/// Rows with numbers in the place of their subjects' ids: the key of a preview is no secret, and ids under it would be
/// names that anybody can find again.
fn numbered(table: RecordBatch) -> Result<RecordBatch, EngineError> {
    let schema = table.schema();
    let Ok(at) = schema.index_of(SUBJECT_ID) else {
        return Ok(table);
    };
    let mut columns = table.columns().to_vec();
    if let Some(column) = columns.get_mut(at)
        && let Some(ids) = column.as_string_opt::<i32>()
    {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let of = ids.iter().map(|id| {
            let next = numbers.len() + 1;
            id.map(|id| format!("subject {}", numbers.entry(id).or_insert(next)))
        });
        *column = Arc::new(of.collect::<StringArray>());
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}
