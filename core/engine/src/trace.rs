//! Trace: a row of the dataset back to the bytes of its inputs, by running its subject's graph again with lineage on.

use crate::{
    bound::Bound,
    error::EngineError,
    fold::Id,
    graph::{StepApplied, StepReport, record_at},
    refresh::{Dirty, EngineState, RangeContext, Secrets},
    tables::TableSpec,
    view::View,
};
use arrow::{
    array::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clinmill_catalog::{
    env::Env,
    index,
    vault::{RESTORE, base32, base32_decode},
};
use clinmill_model::{Digest, Ids, columns::SUBJECT_ID};
use clinmill_provenance::{Applied, Chain, Made, MappingRow, Origin};
use clinmill_sdk::{Locator, MappingTable};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, atomic::AtomicBool},
};

/// A row and everything it was made of. It holds values: for use inside the hospital only.
#[derive(Clone, Debug, Serialize)]
pub struct TraceReport {
    /// The table.
    pub table: String,
    /// The row.
    pub row_id: String,
    /// The release it was looked up in.
    pub release: u64,
    /// The row's columns as text.
    pub row: BTreeMap<String, Option<String>>,
    /// What made it: relations, steps, mappings, plugins, pipeline.
    pub chain: Chain,
    /// What was looked up and converted on the way, with the rows of the mapping tables that decided.
    pub applied: Vec<Applied>,
    /// Steps of its making that look mappings up and do not tell which rows they took.
    pub silent: Vec<String>,
    /// The records it was made of, and where their bytes are; the first thousand of them.
    pub origins: Vec<Origin>,
    /// How many more records it was made of.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_origins: u64,
}

/// More records of one row than this are counted and not shown.
const SHOWN_ORIGINS: usize = 1000;

// serde's `skip_serializing_if` takes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// More bytes of one record than this are cut off in a report.
const SHOWN_BYTES: u64 = 64 << 10;

/// The text of the pipeline that made the last release, where it is another one than this.
///
/// # Errors
/// When the vault or dataset cannot be read.
pub async fn text_of_release(bound: &Bound, env: &Env, secrets: Secrets<'_>) -> Result<Option<String>, EngineError> {
    let view = View::open(bound, env, secrets).await?;
    let Some(made_by) = view.session.last.as_ref().map(|r| r.manifest.pipeline_sha256) else {
        return Ok(None);
    };
    if made_by == Digest::of(bound.text.as_bytes()) {
        return Ok(None);
    }
    let (_, text) = view.session.vault.archive().get(&made_by)?;
    Ok(String::from_utf8(text).ok())
}

/// Traces one row.
///
/// # Errors
/// When the row does not exist at the last release, or the pipeline is no longer the one that made it.
pub async fn trace(
    bound: &Bound,
    env: &Env,
    secrets: Secrets<'_>,
    table: &str,
    row_id: &str,
) -> Result<TraceReport, EngineError> {
    let tracer = Tracer::open(bound, env, secrets).await?;
    let spec = tracer.table(table)?;
    let is_row_id = row_id.len() == 26 && row_id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'v'));
    if !is_row_id {
        return Err(EngineError::Argument(format!(
            "{row_id:?} is not a row id: it has 26 digits and letters from a to v, as `_row_id` shows it"
        )));
    }
    let files = tracer.view.session.state.index.iter().filter(|f| f.table == table);
    let found = match base32_decode(row_id) {
        Some(id) => index::find(tracer.view.session.vault.root(), files, &id)
            .map_err(|error| tracer.damaged().unwrap_or(error.into()))?
            .map(|entry| (id, entry)),
        None => None,
    };
    let Some((id, entry)) = found else {
        return Err(EngineError::NotFound(format!(
            "table {table} has no row {row_id} at release {}",
            tracer.view.session.release()
        )));
    };
    let subjects = spec.subject.then_some(entry.subject);
    let mut reports = tracer
        .rows(spec, subjects.map(|s| Ids::from_iter([s])), Some(id))
        .await?;
    reports
        .pop()
        .ok_or_else(|| EngineError::internal(format!("running the graph again did not give the row {row_id}")))
}

/// Traces every row of a table at the last release, subject by subject.
///
/// # Errors
/// As [`trace`].
pub async fn trace_all(
    bound: &Bound,
    env: &Env,
    secrets: Secrets<'_>,
    table: &str,
) -> Result<Vec<TraceReport>, EngineError> {
    let tracer = Tracer::open(bound, env, secrets).await?;
    let spec = tracer.table(table)?;
    tracer.rows(spec, None, None).await
}

struct Tracer<'a> {
    bound: &'a Bound,
    view: View,
}

impl<'a> Tracer<'a> {
    /// The first file of the vault's events and indexes that is not what it was.
    fn damaged(&self) -> Option<EngineError> {
        let (root, state) = (self.view.session.vault.root(), &self.view.session.state);
        let index = state.index.iter().map(|file| &file.shard);
        let mut shards = state.events.iter().map(|file| &file.shard).chain(index);
        shards
            .find_map(|shard| shard.check(root).err())
            .map(EngineError::Catalog)
    }

    async fn open(bound: &'a Bound, env: &Env, secrets: Secrets<'_>) -> Result<Self, EngineError> {
        let view = View::open(bound, env, secrets).await?;
        if view.session.last.is_none() {
            return Err(EngineError::NotFound(
                "there is no release yet: run the pipeline first".to_owned(),
            ));
        }
        Ok(Self { bound, view })
    }

    fn table(&self, name: &str) -> Result<&'a TableSpec, EngineError> {
        let spec =
            self.bound.tables.iter().find(|t| t.name == name).ok_or_else(|| {
                EngineError::unknown("table", name, self.bound.tables.iter().map(|t| t.name.as_str()))
            })?;
        let made_by = EngineState::of(&self.view.session.state).tables.get(name).copied();
        if made_by != Some(spec.digest) {
            return Err(EngineError::Refused {
                reason: format!(
                    "a mapping, a plugin or a variable behind table {name} is another than when release {} was made, and \
                     the row cannot be made again as it was",
                    self.view.session.release()
                ),
                advice:
                    "`clinmill plan` says what changed: run the pipeline once and trace the row of the new release, or \
                         put back what changed and trace again"
                        .to_owned(),
            });
        }
        Ok(spec)
    }

    async fn rows(
        &self,
        table: &TableSpec,
        subjects: Option<Ids>,
        row_id: Option<Id>,
    ) -> Result<Vec<TraceReport>, EngineError> {
        let dirty = match subjects {
            Some(set) => Dirty::Some(Arc::new(set)),
            None => Dirty::All,
        };
        let cancelled = AtomicBool::new(false);
        let context = RangeContext {
            bound: self.bound,
            session: &self.view.session,
            events: &self.view.session.state.events,
            identity: &self.view.identity,
            covered: &self.view.covered,
            dirty: &BTreeMap::from([(table.name.clone(), dirty)]),
            left_out: None,
            lineage: true,
            cancelled: &cancelled,
        };
        let inputs = context.records((0, clinmill_model::BUCKETS - 1), &[table]);
        // A damaged file is told by its name and digest, not by what stumbled over it.
        let inputs = inputs.map_err(|error| self.damaged().unwrap_or(error))?;
        let mut report = StepReport {
            applied: Some(Vec::new()),
            ..StepReport::default()
        };
        let relations = context.relations(&inputs, &[table], &mut report).await?;
        let relation = relations
            .get(&table.from)
            .ok_or_else(|| EngineError::internal(format!("the relation {} was not made", table.from)))?;
        let rows = context.rows(table, relation, &inputs, &mut StepReport::default())?;
        let chain = self.chain(table);
        let applied = AppliedRows::new(self.bound, report.applied.unwrap_or_default())?;
        let silent: Vec<String> = report.silent.into_iter().collect();
        let mut reports = Vec::new();
        for (i, entry) in rows.entries.iter().enumerate() {
            if row_id.is_some_and(|wanted| wanted != entry.row_id) {
                continue;
            }
            let mut origins = Vec::new();
            let mut more_origins = 0;
            let records = rows.records.at(i);
            let applied = applied.of(&records);
            for record in records {
                let (kind, index) = record_at(record);
                let Some((relation, folded)) = inputs.get(kind) else {
                    continue;
                };
                if row_id.is_some() && origins.len() >= SHOWN_ORIGINS {
                    more_origins += folded.made_of.get(index).map_or(0, |events| events.len() as u64);
                    continue;
                }
                let said = folded.own_columns()?;
                for &event in folded.made_of.get(index).map_or(&[][..], Vec::as_slice) {
                    let (number, at) = folded.locate(event);
                    let values = as_text(&said, event as usize)?;
                    origins.push(self.origin(relation, number, at, values, row_id.is_some())?);
                }
            }
            let mut row = as_text(&rows.rows, i)?;
            if let Some(subject) = row.remove(SUBJECT_ID) {
                row.insert(SUBJECT_ID.to_owned(), subject);
            }
            reports.push(TraceReport {
                table: table.name.clone(),
                row_id: base32(&entry.row_id),
                release: self.view.session.release(),
                row,
                chain: chain.clone(),
                applied,
                silent: silent.clone(),
                origins,
                more_origins,
            });
        }
        Ok(reports)
    }

    /// From the sources to the table, in the order in which rows pass.
    fn chain(&self, table: &TableSpec) -> Chain {
        let needed = self.bound.graph.needed(std::slice::from_ref(&table.from));
        let mut made = Vec::new();
        for source in &self.bound.sources {
            for k in 0..source.bound.records().len() {
                let relation = source.relation(k);
                if needed.contains(&relation) {
                    made.push(Made {
                        relation,
                        by: format!("source {} {}", source.spec.plugin.value, source.plugin_version),
                        reads: vec![],
                        mappings: vec![],
                    });
                }
            }
        }
        for transform in self
            .bound
            .pipeline
            .transforms
            .iter()
            .filter(|t| needed.contains(&t.name.value))
        {
            let Some(node) = self.bound.graph.node(&transform.name.value) else {
                continue;
            };
            let mut by = vec![node.kind().to_owned()];
            by.extend(node.steps().iter().map(|s| s.plugin.to_owned()));
            let references = node.steps().iter().flat_map(|s| &s.mappings);
            made.push(Made {
                relation: transform.name.value.clone(),
                by: by.join(", "),
                reads: node.reads().into_iter().map(str::to_owned).collect(),
                mappings: references
                    .filter_map(|r| Some((r.clone(), self.bound.mappings.get(r)?.sha256)))
                    .collect(),
            });
        }
        made.push(Made {
            relation: table.name.clone(),
            by: "table".to_owned(),
            reads: vec![table.from.clone()],
            mappings: vec![],
        });
        let manifest = self.view.session.last.as_ref().map(|r| &r.manifest);
        Chain {
            made,
            pipeline: manifest.map_or_else(|| Digest::of(b""), |m| m.pipeline_sha256),
            engine: manifest.map_or_else(String::new, |m| m.engine_version.clone()),
        }
    }

    fn origin(
        &self,
        relation: &str,
        number: u32,
        at: Locator,
        record: BTreeMap<String, Option<String>>,
        with_bytes: bool,
    ) -> Result<Origin, EngineError> {
        let entry = self
            .view
            .session
            .ledger
            .by_number(number)
            .ok_or_else(|| EngineError::internal(format!("the ledger does not know input {number}")))?;
        let mut origin = Origin {
            relation: relation.to_owned(),
            input: entry.sha256,
            path: entry.path.expose().clone(),
            as_of: entry.as_of.clone(),
            size: entry.size,
            offset: at.offset,
            length: at.length,
            row: at.row,
            part: at.part,
            cell: at.cell,
            record,
            bytes: None,
            cut: at.length > SHOWN_BYTES,
        };
        if with_bytes {
            let kept = self.view.session.vault.inputs().open(&entry.sha256)?;
            let length = at.length.min(SHOWN_BYTES).min(kept.size().saturating_sub(at.offset));
            let mut bytes = vec![0; length as usize];
            let mut filled = 0;
            while filled < bytes.len() {
                let n = kept
                    .read_at(at.offset + filled as u64, &mut bytes[filled..])
                    .map_err(|_| EngineError::Refused {
                        reason: format!("what the vault keeps of input {} is damaged", entry.sha256),
                        advice: RESTORE.to_owned(),
                    })?;
                if n == 0 {
                    break;
                }
                filled += n;
            }
            bytes.truncate(filled);
            origin.bytes = Some(STANDARD.encode(&bytes));
        }
        Ok(origin)
    }
}

/// What the steps of a graph told, by record, and the mapping tables they told of.
struct AppliedRows {
    told: Vec<StepApplied>,
    by_record: HashMap<u64, Vec<usize>>,
    /// By reference: the digest, and the cells of each line.
    tables: BTreeMap<String, (Digest, HashMap<u32, Cells>)>,
}

/// A row's cells by column.
type Cells = BTreeMap<String, String>;

impl AppliedRows {
    fn new(bound: &Bound, told: Vec<StepApplied>) -> Result<Self, EngineError> {
        let mut by_record: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut tables = BTreeMap::new();
        for (index, one) in told.iter().enumerate() {
            for record in &one.records {
                by_record.entry(*record).or_default().push(index);
            }
            for (reference, _) in &one.applied.lines {
                if let (false, Some(mapping)) = (tables.contains_key(reference), bound.mappings.get(reference)) {
                    let table = MappingTable::read(reference, &mapping.resource)
                        .map_err(|error| EngineError::step(&one.step, error))?;
                    let cells = |row| {
                        let said = table.named(row).filter(|(_, cell)| !cell.is_empty());
                        said.map(|(column, cell)| (column.to_owned(), cell.to_owned()))
                            .collect()
                    };
                    let rows = table.rows.iter().map(|row| (row.line, cells(row))).collect();
                    tables.insert(reference.clone(), (mapping.sha256, rows));
                }
            }
        }
        Ok(Self {
            told,
            by_record,
            tables,
        })
    }

    /// What was done to rows that were made of nothing but these records.
    fn of(&self, records: &[u64]) -> Vec<Applied> {
        let mut known = HashSet::new();
        let mut indices: Vec<usize> = records
            .iter()
            .filter_map(|record| self.by_record.get(record))
            .flatten()
            .copied()
            .filter(|index| known.insert(*index))
            .collect();
        indices.sort_unstable();
        let mut all: Vec<Applied> = Vec::new();
        for one in indices.into_iter().filter_map(|index| self.told.get(index)) {
            if one.records.iter().all(|record| records.contains(record)) {
                let applied = self.shown(one);
                if !all.contains(&applied) {
                    all.push(applied);
                }
            }
        }
        all
    }

    fn shown(&self, one: &StepApplied) -> Applied {
        let told = &one.applied;
        let row = |(reference, line): &(String, u32)| {
            let (sha256, rows) = self.tables.get(reference)?;
            Some(MappingRow {
                mapping: reference.clone(),
                sha256: *sha256,
                line: *line,
                cells: rows.get(line).cloned().unwrap_or_default(),
            })
        };
        Applied {
            step: one.step.clone(),
            column: told.column.clone(),
            from: told.from.clone(),
            to: told.to.clone(),
            status: told.status.clone(),
            factor: told.factor.clone(),
            by: told.by.clone(),
            rows: told.lines.iter().filter_map(row).collect(),
        }
    }
}

/// One row as text, by column.
///
/// # Errors
/// When a value cannot be shown.
pub fn as_text(batch: &RecordBatch, row: usize) -> Result<BTreeMap<String, Option<String>>, EngineError> {
    let options = FormatOptions::default();
    let schema = batch.schema();
    let mut out = BTreeMap::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let text = match column.is_valid(row) {
            true => Some(
                ArrayFormatter::try_new(column.as_ref(), &options)?
                    .value(row)
                    .to_string(),
            ),
            false => None,
        };
        out.insert(field.name().clone(), text);
    }
    Ok(out)
}
