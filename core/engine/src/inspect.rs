//! Looking without publishing: what a refresh would do, and the first rows of a source or transform.

use crate::{
    bound::Bound,
    error::EngineError,
    fold::{FoldRule, Folded, fold},
    graph::{StepReport, TaskInput, as_table},
    ingest::{EventBuilder, EventSink},
    refresh::{Access, EngineState, Secrets, Session, Warning, discover, folder, input_folder},
};
use arrow::array::RecordBatch;
use clinmill_catalog::{
    env::Env,
    events,
    vault::{Vault, VaultError, VaultKey, glob},
};
use clinmill_sdk::{Input, Status, TaskContext};
use serde::Serialize;
use std::{collections::BTreeMap, fs::File, os::unix::fs::FileExt, sync::atomic::AtomicBool};

/// What a refresh would read, recompute and write.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// The last release; 0 before the first.
    pub release: u64,
    /// True when a refresh would do nothing.
    pub no_op: bool,
    /// By source.
    pub sources: BTreeMap<String, PlannedSource>,
    /// Tables that would be made for all subjects, with the reason.
    pub tables: BTreeMap<String, PlannedTable>,
    /// What somebody should look at.
    pub warnings: Vec<Warning>,
}

/// What would be read of one source.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PlannedSource {
    /// Files that match.
    pub files: u64,
    /// Inputs to read.
    pub pending: u64,
    /// Of these, inputs that were read before and are read again because the source changed.
    pub again: u64,
    /// Bytes to read.
    pub bytes: u64,
}

/// What would become of one table.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedTable {
    /// `new`, `changed` (all subjects), `subjects with news`, `unchanged` or `removed`.
    pub scope: &'static str,
    /// Rows now.
    pub rows: u64,
}

/// Plans a refresh. Nothing is made or changed.
///
/// # Errors
/// When the vault or dataset cannot be read or do not belong together.
pub async fn plan(bound: &Bound, env: &Env, secrets: Secrets<'_>) -> Result<PlanReport, EngineError> {
    let root = folder(&bound.pipeline.vault.url.value, &bound.dir);
    let mut warnings = Vec::new();
    if let Err(VaultError::NoVault) = Vault::open(&root) {
        // A new vault: everything is pending.
        let mut sources = BTreeMap::new();
        for source in &bound.sources {
            let (base, pattern) = input_folder(bound, source);
            let found = glob(&base, &pattern)?;
            let n = found.files.len() as u64;
            let planned = PlannedSource {
                files: n,
                pending: n,
                again: 0,
                bytes: found.files.iter().map(|f| f.stamp.size).sum(),
            };
            sources.insert(source.name().to_owned(), planned);
        }
        let new = PlannedTable { scope: "new", rows: 0 };
        return Ok(PlanReport {
            pipeline: bound.pipeline.name.value.clone(),
            release: 0,
            no_op: sources.values().all(|s| s.pending == 0),
            sources,
            tables: bound.tables.iter().map(|t| (t.name.clone(), new.clone())).collect(),
            warnings,
        });
    }
    let session = Session::open(bound, env, secrets, Access::Read).await?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let plans = discover(bound, &session, false, threads, &mut warnings)?;
    let mut sources = BTreeMap::new();
    for (source, plan) in bound.sources.iter().zip(&plans) {
        let planned = PlannedSource {
            files: plan.files as u64,
            pending: plan.pending.len() as u64,
            again: plan.pending.iter().filter(|p| p.again).count() as u64,
            bytes: plan.pending.iter().map(|p| p.size).sum(),
        };
        sources.insert(source.name().to_owned(), planned);
    }
    let state = EngineState::of(&session.state);
    let pending = sources.values().any(|s| s.pending > 0);
    let rows = |name: &str| {
        session
            .last
            .as_ref()
            .and_then(|r| r.manifest.tables.get(name))
            .map_or(0, |t| t.row_count)
    };
    let mut tables = BTreeMap::new();
    for table in &bound.tables {
        let scope = match state.tables.get(&table.name) {
            None => "new",
            Some(digest) if *digest != table.digest => "changed",
            Some(_) if pending => "subjects with news",
            Some(_) => "unchanged",
        };
        let rows = rows(&table.name);
        tables.insert(table.name.clone(), PlannedTable { scope, rows });
    }
    for name in state
        .tables
        .keys()
        .filter(|n| !bound.tables.iter().any(|t| t.name == **n))
    {
        let rows = rows(name);
        tables.insert(name.clone(), PlannedTable { scope: "removed", rows });
    }
    Ok(PlanReport {
        pipeline: bound.pipeline.name.value.clone(),
        release: session.release(),
        no_op: !pending && tables.values().all(|t| t.scope == "unchanged"),
        sources,
        tables,
        warnings,
    })
}

/// Records of one kind that a preview reads at most; a source stops there.
const PREVIEW_RECORDS: usize = 20_000;

/// The first rows of a source, record kind or transform, read straight from the inbox: no vault is needed, and the
/// subject ids are those of a key that is thrown away.
///
/// # Errors
/// When the name is unknown, or a step fails.
pub async fn preview(bound: &Bound, env: &Env, name: &str, limit: usize) -> Result<RecordBatch, EngineError> {
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
        return Err(EngineError::NotFound(format!(
            "there is no {name:?}; there are: {}",
            known.join(", ")
        )));
    }
    let mut secret = [0u8; 32];
    env.random.fill(&mut secret);
    let key = VaultKey::from_secret(&secret).map_err(VaultError::from)?;
    let wanted = [name.clone()];
    let needed = bound.graph.needed(&wanted);
    let cancelled = AtomicBool::new(false);
    let mut folded: Vec<(String, Folded)> = Vec::new();
    for source in &bound.sources {
        let kinds = source.bound.records();
        if !(0..kinds.len()).any(|k| needed.contains(&source.relation(k))) {
            continue;
        }
        let (base, pattern) = input_folder(bound, source);
        let mut sink = EventSink::new(kinds.len(), PREVIEW_RECORDS);
        for (number, file) in glob(&base, &pattern)?.files.iter().enumerate() {
            if sink.is_full() {
                break;
            }
            let Some(input) = FileInput::open(file) else { continue };
            let task = TaskContext {
                cancelled: &cancelled,
                batch_rows: 4096,
            };
            sink.begin(EventBuilder::new(kinds, &key, number as u32));
            for split in source.bound.splits(&input).unwrap_or_default() {
                match source.bound.read(&input, &split, &task, &mut sink) {
                    Ok(()) => {}
                    Err(error) if error.status == Status::Cancelled => break,
                    Err(error) => {
                        return Err(EngineError::NotFound(format!("source {}: {error}", source.name())));
                    }
                }
            }
        }
        for (k, kind) in kinds.iter().enumerate() {
            let rule = FoldRule {
                fold: kind.fold,
                as_of_first: source.is_complete(),
                canonical: &|id| Some(*id),
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
    let relations = bound
        .graph
        .run(&inputs, &wanted, false, &cancelled, &mut StepReport::default())
        .await?;
    let relation = relations
        .get(&name)
        .ok_or_else(|| EngineError::internal(format!("{name} was not made")))?;
    let table = as_table(relation, false)?;
    Ok(table.slice(0, limit.min(table.num_rows())))
}

/// A file of the inbox, as a preview reads it.
struct FileInput {
    file: File,
    size: u64,
    name: String,
    captures: BTreeMap<String, String>,
}

impl FileInput {
    fn open(found: &clinmill_catalog::vault::FoundFile) -> Option<Self> {
        Some(Self {
            file: File::open(found.path.expose()).ok()?,
            size: found.stamp.size,
            name: found.relative.expose().clone(),
            captures: found.captures.expose().clone(),
        })
    }
}

impl Input for FileInput {
    fn name(&self) -> &str {
        &self.name
    }
    fn captures(&self) -> &BTreeMap<String, String> {
        &self.captures
    }
    fn size(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        self.file.read_at(buf, offset)
    }
}
