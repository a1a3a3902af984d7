//! Looking without publishing: what a refresh would do, and the first rows of a source or transform.

mod file;
mod preview;

use file::FileInput;
pub use preview::{Extent, LeftOut, PREVIEW_RECORDS, Preview, preview};

use crate::{
    bound::{Bound, SourceSpec},
    changes::{self, Change, SchemaChange},
    error::EngineError,
    ingest::{self, subject_id},
    refresh::{
        EngineState, Former, RangeContext, Reach, Secrets, Warning, discover, folder, foreseen, never_came, seen,
    },
    tables::TableSpec,
    view::View,
};
use arrow::array::Array;
use clinmill_catalog::{
    env::Env,
    shards::ShardFilter,
    vault::{Vault, VaultError, VaultKey},
};
use clinmill_model::Ids;
use clinmill_sdk::{IdentityLink, PluginError, RecordBatchOf, RecordSink, Registry, Rejection, TaskContext};
use clinmill_spec::pipeline::Mode;
use serde::Serialize;
use std::{collections::BTreeMap, sync::atomic::AtomicBool};

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
    /// What made the last release and is another now.
    pub changes: Vec<Change>,
    /// What becomes other in the schemas of published tables.
    pub schemas: Vec<SchemaChange>,
    /// Subjects that the pending inputs speak of; none where they were not read.
    pub news: Option<u64>,
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
    /// Of a source of complete exports: the share of a scope's records that its guard lets a refresh delete. How many
    /// there are to delete is known when the exports were read, and is not planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_deletes: Option<f64>,
}

/// The guard of a source of complete exports.
fn max_deletes(source: &SourceSpec) -> Option<f64> {
    match source.spec.mode {
        Mode::Complete { max_deletes, .. } => Some(max_deletes),
        Mode::Partial => None,
    }
}

/// What would become of one table.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedTable {
    /// `new`, `changed` (all subjects), `mapping` (subjects that a changed mapping concerns, and those with news),
    /// `subjects with news`, `unchanged` or `removed`.
    pub scope: &'static str,
    /// Of `changed`: why all subjects are concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Rows now.
    pub rows: u64,
    /// Subjects for which it would be made, as far as that is known without a refresh: merges of identities and complete
    /// exports add to it. None where the inputs were not read.
    pub subjects: Option<u64>,
}

/// Inputs of more bytes than this are read for a plan only when asked for, and so are events behind changed mappings.
pub const PLAN_READS: u64 = 256 << 20;

/// Plans a refresh. Nothing is made or changed. With `count`, all pending inputs are read to count the subjects that
/// they speak of; without, only up to [`PLAN_READS`].
///
/// # Errors
/// When the vault or dataset cannot be read or do not belong together.
pub async fn plan(
    bound: &Bound,
    env: &Env,
    secrets: Secrets<'_>,
    registry: &Registry,
    variables: &(dyn Fn(&str) -> Option<String> + Sync),
    count: bool,
) -> Result<PlanReport, EngineError> {
    let root = folder(&bound.pipeline.vault.url.value, &bound.dir);
    let is_new = matches!(Vault::open(&root), Err(VaultError::NoVault));
    let view = match View::open(bound, env, secrets).await {
        // A dataset that has releases is refused without its vault, as a refresh refuses it.
        Err(EngineError::NotFound(_)) if is_new => return plan_of_new(bound, env, count),
        view => view?,
    };
    let mut warnings = Vec::new();
    let session = &view.session;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let plans = discover(bound, session, false, threads, &mut warnings)?;
    let mut sources = BTreeMap::new();
    for (source, plan) in bound.sources.iter().zip(&plans) {
        let planned = PlannedSource {
            files: plan.files as u64,
            pending: plan.pending.len() as u64,
            again: plan.pending.iter().filter(|p| p.again).count() as u64,
            bytes: plan.pending.iter().map(|p| p.size).sum(),
            max_deletes: max_deletes(source),
        };
        sources.insert(source.name().to_owned(), planned);
    }
    let is_read = count || sources.values().map(|s| s.bytes).sum::<u64>() <= PLAN_READS;
    let news = match is_read {
        true => Some(subjects_in(
            bound,
            &session.key,
            |source| {
                let plan = bound
                    .sources
                    .iter()
                    .position(|s| s.name() == source.name())
                    .and_then(|i| plans.get(i));
                let pending = plan
                    .into_iter()
                    .flat_map(|p| p.pending.iter().map(move |x| (x, p.paths.get(&x.sha256))));
                pending
                    .filter_map(|(x, path)| FileInput::at(path?, x.path.expose(), x.captures.expose()))
                    .collect()
            },
            &mut warnings,
        )),
        false => None,
    };
    let news: Option<Ids> = news.map(|ids| ids.iter().map(|id| view.identity.canonical(id)).collect());
    let state = EngineState::of(&session.state);
    let pending = sources.values().any(|s| s.pending > 0);
    let last = session.last.as_ref().map(|r| &r.manifest);
    let rows = |name: &str| last.and_then(|m| m.tables.get(name)).map_or(0, |t| t.row_count);
    let with_rows = |name: &str| -> Result<Ids, EngineError> {
        let files = session.state.index.iter().filter(|f| f.table == name);
        let everything = ShardFilter {
            lo: 0,
            hi: u16::MAX,
            subjects: None,
        };
        let entries = clinmill_catalog::index::read(session.vault.root(), files, &everything)?;
        Ok(entries.into_iter().map(|e| e.subject).collect())
    };
    let number = |set: &Ids| Some(set.len() as u64);
    let is_changed = |t: &TableSpec| state.tables.get(&t.name).is_some_and(|digest| *digest != t.digest);
    let changed = bound.tables.iter().filter(|t| is_changed(t));
    let changed: Vec<String> = changed.map(|t| t.name.clone()).collect();
    let former = Former::new(bound, &session.vault, &state, &changed);
    let events: u64 = session.state.events.iter().map(|f| f.shard.bytes).sum();
    let concerned = match count || events <= PLAN_READS {
        true => Some(concerned(bound, &view, &former, threads)?),
        false => None,
    };
    if let Some(last) = last {
        warnings.extend(foreseen(bound, last, &state));
    }
    let mut tables = BTreeMap::new();
    for table in &bound.tables {
        let (scope, why) = match (state.tables.get(&table.name), former.reach.get(&table.name)) {
            (None, _) => ("new", None),
            (_, Some(Reach::Concerned)) => ("mapping", None),
            (_, Some(Reach::All(why))) => ("changed", Some(why.clone())),
            (Some(_), None) if pending => ("subjects with news", None),
            (Some(_), None) => ("unchanged", None),
        };
        let subjects = match (scope, &news) {
            ("unchanged", _) => Some(0),
            ("mapping", Some(news)) => concerned
                .as_ref()
                .and_then(|found| number(&found.union(news).copied().collect())),
            ("mapping", None) => None,
            ("subjects with news", news) => news.as_ref().and_then(number),
            (_, Some(news)) if table.subject => {
                let known = view.subjects()?;
                number(&known.union(news).copied().collect())
            }
            _ => None,
        };
        let rows = rows(&table.name);
        let planned = PlannedTable {
            scope,
            why,
            rows,
            subjects,
        };
        tables.insert(table.name.clone(), planned);
    }
    for name in state
        .tables
        .keys()
        .filter(|n| !bound.tables.iter().any(|t| t.name == **n))
    {
        let rows = rows(name);
        let subjects = number(&with_rows(name)?);
        let planned = PlannedTable {
            scope: "removed",
            why: None,
            rows,
            subjects,
        };
        tables.insert(name.clone(), planned);
    }
    let (changes, schemas) = match last {
        Some(manifest) => (
            changes::since(bound, &session.vault, manifest, registry, variables),
            changes::schema_changes(bound, &session.vault, manifest)?,
        ),
        None => Default::default(),
    };
    Ok(PlanReport {
        pipeline: bound.pipeline.name.value.clone(),
        release: session.release(),
        no_op: !pending && tables.values().all(|t| t.scope == "unchanged"),
        sources,
        tables,
        changes,
        schemas,
        news: news.as_ref().and_then(number),
        warnings,
    })
}

/// The subjects that changed mappings concern, by the records of the last release.
fn concerned(bound: &Bound, view: &View, former: &Former, threads: usize) -> Result<Ids, EngineError> {
    let ranges = RangeContext {
        bound,
        session: &view.session,
        events: &view.session.state.events,
        identity: &view.identity,
        covered: &view.covered,
        dirty: &BTreeMap::new(),
        left_out: None,
        lineage: false,
        cancelled: &AtomicBool::new(false),
    };
    former.find(&ranges, threads)
}

/// The plan of a pipeline without a vault: everything is pending.
fn plan_of_new(bound: &Bound, env: &Env, count: bool) -> Result<PlanReport, EngineError> {
    let vault = folder(&bound.pipeline.vault.url.value, &bound.dir);
    let (mut sources, mut files, mut warnings) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for source in &bound.sources {
        let found = seen(bound, source, &vault, None, &mut warnings)?;
        let planned = PlannedSource {
            files: found.matched as u64,
            pending: found.files.len() as u64,
            again: 0,
            bytes: found.files.iter().map(|(file, _)| file.stamp.size).sum(),
            max_deletes: max_deletes(source),
        };
        if found.matched == 0 {
            warnings.extend(never_came(bound, source, &[]));
        }
        sources.insert(source.name().to_owned(), planned);
        files.insert(source.name().to_owned(), found.files);
    }
    let is_read = count || sources.values().map(|s| s.bytes).sum::<u64>() <= PLAN_READS;
    let news = match is_read {
        true => {
            let key = throwaway_key(env)?;
            let inputs = |source: &SourceSpec| {
                let files = files.get(source.name()).into_iter().flatten();
                files.filter_map(|(file, _)| FileInput::open(file)).collect()
            };
            Some(subjects_in(bound, &key, inputs, &mut warnings).len() as u64)
        }
        false => None,
    };
    let planned = |t: &TableSpec| {
        let new = PlannedTable {
            scope: "new",
            why: None,
            rows: 0,
            subjects: news.filter(|_| t.subject),
        };
        (t.name.clone(), new)
    };
    Ok(PlanReport {
        pipeline: bound.pipeline.name.value.clone(),
        release: 0,
        no_op: sources.values().all(|s| s.pending == 0),
        sources,
        tables: bound.tables.iter().map(planned).collect(),
        changes: Vec::new(),
        schemas: Vec::new(),
        news,
        warnings,
    })
}

/// The subjects that inputs speak of. An input that cannot be read speaks of nobody, and is warned of.
fn subjects_in(
    bound: &Bound,
    key: &VaultKey,
    inputs: impl Fn(&SourceSpec) -> Vec<FileInput>,
    warnings: &mut Vec<Warning>,
) -> Ids {
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 16_384,
    };
    let mut subjects = SubjectSink {
        key,
        kinds: Vec::new(),
        found: Ids::default(),
    };
    for source in &bound.sources {
        subjects.kinds = source.bound.records().iter().map(|k| k.subject).collect();
        let mut failed: BTreeMap<String, (usize, PluginError)> = BTreeMap::new();
        for input in inputs(source) {
            let read = ingest::splits(source.bound.as_ref(), &input).and_then(|splits| {
                splits
                    .iter()
                    .try_for_each(|split| source.bound.read(&input, split, &task, &mut subjects))
            });
            if let Err(error) = read {
                failed.entry(error.code.clone()).or_insert((0, error)).0 += 1;
            }
        }
        warnings.extend(failed.into_iter().map(|(code, (n, error))| {
            let name = source.name();
            let message = format!(
                "source {name}: {n} inputs would be given up ({code}): {}",
                error.message
            );
            Warning::new("INPUT_GIVEN_UP", message)
        }));
    }
    subjects.found
}

/// Takes in who records are about, and nothing else of them.
struct SubjectSink<'a> {
    key: &'a VaultKey,
    kinds: Vec<bool>,
    found: Ids,
}

impl RecordSink for SubjectSink<'_> {
    fn rows(&mut self, batch: RecordBatchOf) -> Result<(), PluginError> {
        if self.kinds.get(batch.kind) != Some(&true) {
            return Ok(());
        }
        let (issuers, ids) = (&batch.meta.issuer, &batch.meta.subject);
        for i in (0..ids.len()).filter(|&i| ids.is_valid(i) && !ids.value(i).is_empty()) {
            let is_same = i > 0 && ids.is_valid(i - 1) && ids.value(i) == ids.value(i - 1);
            if !is_same || issuers.value(i) != issuers.value(i - 1) {
                self.found.insert(subject_id(self.key, issuers.value(i), ids.value(i)));
            }
        }
        Ok(())
    }
    fn reject(&mut self, _: Rejection) -> Result<(), PluginError> {
        Ok(())
    }
    fn filtered(&mut self, _: &str, _: u64) {}
    fn link(&mut self, link: IdentityLink) -> Result<(), PluginError> {
        for subject in [&link.survivor, &link.retired] {
            self.found.insert(subject_id(self.key, &subject.issuer, &subject.id));
        }
        Ok(())
    }
    fn progress(&mut self, _: u64) {}
}

fn throwaway_key(env: &Env) -> Result<VaultKey, EngineError> {
    let mut secret = [0u8; 32];
    env.random.fill(&mut secret);
    Ok(VaultKey::from_secret(&secret).map_err(VaultError::from)?)
}
