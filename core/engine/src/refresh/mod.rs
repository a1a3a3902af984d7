//! One refresh: discover, ingest, dirty, transform, (de-identify,) diff, (risk,) audit, commit.
//!
//! The audit runs the gates over what would be published. The places of de-identification and risk are marked; releases
//! are `"deidentified": false` until they are filled.

mod absent;
mod audit;
mod concerned;
mod dirty;
mod discover;
mod identity;
mod loss;
mod moved;
mod news;
mod parallel;
mod publish;
mod range;
mod read;
mod release;
mod report;
mod session;
mod stage;
mod stopped;
mod versions;

pub use absent::Covered;
pub use audit::{Found, look_at};
pub use concerned::{Former, Reach};
pub use dirty::scope_of_captures;
pub use dirty::scopes_of;
pub use discover::{Seen, SourcePlan, Warning, discover, never_came, seen};
pub use identity::{Identity, Link, read_links};
pub use loss::{MOST_LOST, foreseen};
pub use range::{Dirty, RangeContext};
pub use release::{civil_now, plugins_of};
pub use report::{Outcome, Progress, RunReport, Silent, SourceReport, TableReport, TotalCounts};
pub use session::{Access, Session, folder};
pub use versions::SeenVersions;

use crate::{
    bound::Bound,
    changes::{refuse_breaking, schema_changes},
    error::EngineError,
    ingest::Ranges,
};
use clinmill_catalog::{
    env::Env,
    events::EventFile,
    shards::Shard,
    steps::step,
    vault::{LedgerEntry, LedgerLine, Pending, RESTORE, VaultState},
};
use clinmill_model::{BUCKETS, Digest, Ids};
use clinmill_spec::pipeline::Scope;
use parallel::in_parallel;
use read::Ingested;
use release::Publishing;
use serde::{Deserialize, Serialize};
use stage::{Before, StageContext, StagedRange};
use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// What a refresh is asked to do.
pub struct RefreshOptions {
    /// Recompute every table for all subjects, from the events, and write every base anew, from the changes.
    pub full: bool,
    /// Let complete exports delete more than their guard allows.
    pub approve_deletes: bool,
    /// Publish tables although what their readers rely on is gone or another.
    pub allow_breaking: bool,
    /// Read the inputs again that have records in quarantine.
    pub replay: bool,
    /// Threads for reading and transforming.
    pub threads: usize,
    /// Bytes of events held in memory while reading; the rest goes to staging files.
    pub memory: usize,
}

impl Default for RefreshOptions {
    fn default() -> Self {
        Self {
            full: false,
            approve_deletes: false,
            allow_breaking: false,
            replay: false,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory: 448 << 20,
        }
    }
}

/// What the engine keeps in the vault's state beside what the catalog knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EngineState {
    /// Digest of what made each table.
    #[serde(default)]
    pub tables: BTreeMap<String, Digest>,
    /// The latest `as_of` of each source.
    #[serde(default)]
    pub latest_as_of: BTreeMap<String, String>,
    /// The same as `tables` without the content of mappings.
    #[serde(default)]
    pub makings: BTreeMap<String, Digest>,
    /// The mappings behind the tables: their files by digest, which the vault's archive has.
    #[serde(default)]
    pub mappings: BTreeMap<String, BTreeMap<String, Digest>>,
    /// The sources behind the tables, each with its parse generation.
    #[serde(default)]
    pub sources: BTreeMap<String, BTreeMap<String, Digest>>,
    /// What the versions of each source's records looked like.
    #[serde(default)]
    pub versions: BTreeMap<String, SeenVersions>,
    /// The last release for which a transform or a table's contract went through everything: what it rejected before is
    /// solved, or was rejected again.
    #[serde(default)]
    pub judged: BTreeMap<String, u64>,
    /// Rows that the tables' contracts keep out: by table and subject, since a refresh makes the rows of some subjects anew.
    #[serde(default)]
    pub broken: BTreeMap<String, BTreeMap<String, u64>>,
}

impl EngineState {
    /// What a state holds.
    pub fn of(state: &VaultState) -> Self {
        serde_json::from_value(state.extra.clone()).unwrap_or_default()
    }
}

/// Secrets by name.
pub type Secrets<'a> = &'a (dyn Fn(&str) -> Option<Vec<u8>> + Sync);

/// Bytes of inputs whose events one bucket range should hold, about: a range is held in memory, several times over.
const RANGE_BYTES: u64 = 24 << 20;
/// What an event is worth at least.
const EVENT_BYTES: u64 = 300;
/// Each range has a price of its own: plans, files to open.
const MOST_RANGES: u16 = 1024;
/// Subjects to recompute that are worth a range.
const RANGE_SUBJECTS: usize = 16;

/// Runs one refresh.
///
/// # Errors
/// When nothing was published; the error's exit code says which kind.
pub async fn refresh(
    bound: &Bound,
    env: &Env,
    secrets: Secrets<'_>,
    options: &RefreshOptions,
    cancelled: &AtomicBool,
    progress: &dyn Progress,
) -> Result<RunReport, EngineError> {
    // After a lost race: again from discover.
    for _ in 0..5 {
        let session = Session::open(bound, env, secrets, Access::Refresh).await?;
        let refresh = Refresh {
            bound,
            env,
            options,
            cancelled,
            progress,
            run_id: env.uuid(),
            began: env.clock.now(),
            release: session.release() + 1,
            session,
        };
        match refresh.run().await {
            Ok(None) => {}
            Ok(Some(report)) => return Ok(report),
            // What a gate stopped is looked at.
            Err(error @ EngineError::QualityGate(_)) => return Err(error),
            Err(error) => {
                stopped::clear(&refresh.staging());
                return Err(error);
            }
        }
    }
    Err(EngineError::Refused {
        reason: "other writers were faster five times".to_owned(),
        advice: "let one process write to this dataset, then run again".to_owned(),
    })
}

struct Refresh<'a> {
    bound: &'a Bound,
    env: &'a Env,
    options: &'a RefreshOptions,
    cancelled: &'a AtomicBool,
    progress: &'a dyn Progress,
    run_id: String,
    began: jiff::Timestamp,
    release: u64,
    session: Session,
}

impl Refresh<'_> {
    /// `None`: another writer committed first.
    async fn run(&self) -> Result<Option<RunReport>, EngineError> {
        let mut warnings = Vec::new();
        if self.session.key_is_new {
            let message = "a new key was made for this vault: keep a copy of its file `key` in a safe place";
            warnings.push(Warning::new("KEY_MADE", message.to_owned()));
        }
        if let Some(last) = self.session.last.as_ref().filter(|_| !self.options.allow_breaking) {
            refuse_breaking(schema_changes(self.bound, &self.session.vault, &last.manifest)?)?;
        }
        let staging = self.clean_staging()?;
        self.progress.stage("discover");
        let mut plans = discover(self.bound, &self.session, true, self.options.threads, &mut warnings)?;
        if self.options.replay {
            self.add_rejected(&mut plans);
        }
        step("refresh.discovered");
        self.check_cancelled()?;
        let engine_state = EngineState::of(&self.session.state);
        let changed_tables: Vec<String> = self
            .bound
            .tables
            .iter()
            .filter(|t| engine_state.tables.get(&t.name) != Some(&t.digest))
            .map(|t| t.name.clone())
            .collect();
        let removed = engine_state
            .tables
            .keys()
            .any(|name| !self.bound.tables.iter().any(|t| t.name == *name));
        let pending: usize = plans.iter().map(|p| p.pending.len()).sum();
        let first = self.session.last.is_none();
        if pending == 0 && (first || changed_tables.is_empty()) && !removed && !self.options.full {
            if plans.iter().all(|p| p.files == 0) && first {
                let message = "no input was found; nothing was done".to_owned();
                warnings.push(Warning::new("NO_INPUT", message));
            }
            return Ok(Some(self.no_op(&plans, warnings)));
        }

        self.check_shards()?;
        self.progress.stage("ingest");
        let mut ingested = self.ingest(&plans, &staging)?;
        warnings.extend(ingested.given_up());
        warnings.extend(ingested.uncomparable(self.bound, &engine_state));
        step("refresh.ingested");
        self.check_cancelled()?;
        let only_again = plans.iter().flat_map(|p| &p.pending).all(|p| p.again);
        let is_replay = self.options.replay && only_again && changed_tables.is_empty();
        if is_replay && !removed && !self.options.full && self.gave_the_same(&ingested) {
            let message = format!("{pending} inputs were read again, and the same records are rejected");
            warnings.push(Warning::new("NOTHING_SOLVED", message));
            return Ok(Some(self.no_op(&plans, warnings)));
        }
        let rejected = self.keep_rejected(&ingested, &staging)?;
        self.check_reread(&ingested)?;

        self.progress.stage("dirty");
        let (links, identity) = self.identity(&ingested)?;
        let events = self.current_events(&ingested);
        self.check_subjects(&events)?;
        let coverage = self.coverage(&ingested, &mut warnings);
        let scopes = self.scopes(&ingested);
        let mut dirty: Ids = ingested.subjects.iter().map(|id| identity.canonical(id)).collect();
        let covered = self.deletions(&events, &coverage, &scopes, &mut ingested, &mut dirty, &identity)?;
        dirty.extend(self.identity_changes(&identity)?);
        self.check_expectations(&plans, &ingested)?;
        let dirty = {
            let no_dirty = BTreeMap::new();
            let ranges = RangeContext {
                bound: self.bound,
                session: &self.session,
                events: &events,
                identity: &identity,
                covered: &covered,
                dirty: &no_dirty,
                left_out: None,
                lineage: false,
                cancelled: self.cancelled,
            };
            self.dirty_tables(dirty, &changed_tables, &engine_state, &ranges)?
        };

        self.progress.stage("transform");
        let context = RangeContext {
            bound: self.bound,
            session: &self.session,
            events: &events,
            identity: &identity,
            covered: &covered,
            dirty: &dirty,
            left_out: None,
            lineage: false,
            cancelled: self.cancelled,
        };
        let pending = plans.iter().flat_map(|p| &p.pending);
        let fresh = ingested.inputs().zip(pending).filter(|(_, pending)| !pending.again);
        let fresh: HashSet<u32> = fresh.map(|((entry, _), _)| entry.number).collect();
        let stage = StageContext {
            ranges: &context,
            staging: &staging,
            run_id: &self.run_id,
            release: self.release,
            changed_tables: &changed_tables,
            before: Before {
                fresh: &fresh,
                identity: &Identity::new(&read_links(&self.session.vault, &self.session.state.identity)?),
                covered: &self.covered(coverage.iter().filter(|c| !fresh.contains(&c.input)), &scopes),
            },
            latest_as_of: &engine_state.latest_as_of,
            pipeline: self.bound.digest,
        };
        let bytes = self.session.ledger.entries().iter().map(|e| e.size).sum::<u64>()
            + ingested.inputs().map(|(entry, _)| entry.size).sum::<u64>();
        let ranges = self.run_ranges(&stage, &events, bytes).await?;
        step("refresh.transformed");
        self.check_cancelled()?;
        self.bound.settle()?;
        // De-identification (policy), then risk (hold-back, cumulative k), stand here before anything is published.

        self.progress.stage("publish");
        let subjects = match dirty.values().any(|d| matches!(d, Dirty::All)) {
            true => None,
            false => dirty.values().filter_map(Dirty::len).max().map(|n| n as u64),
        };
        let parts = Publishing {
            links,
            events,
            coverage,
            dirty,
            ranges,
            ingested,
            rejected,
            engine_state,
            warnings,
            subjects,
        };
        self.publish(parts, &staging).await
    }

    /// What the vault made earlier is what it was: a damaged shard would be published as new rows.
    fn check_shards(&self) -> Result<(), EngineError> {
        let (vault, state) = (self.session.vault.root(), &self.session.state);
        let index = state.index.iter().map(|file| &file.shard);
        let shards: Vec<&Shard> = state.events.iter().map(|file| &file.shard).chain(index).collect();
        in_parallel(shards.len(), self.options.threads, |i| {
            self.check_cancelled()?;
            shards[i].check(vault).map_err(|error| EngineError::Refused {
                reason: format!("in the vault, {error}"),
                advice: RESTORE.to_owned(),
            })
        })
        .map(drop)
    }

    /// Inputs of the present generation with records in quarantine, once each.
    fn add_rejected(&self, plans: &mut [SourcePlan]) {
        for (source, plan) in self.bound.sources.iter().zip(plans) {
            let mut taken: HashSet<(Digest, Option<&str>, Option<u64>)> = HashSet::new();
            let entries = self.session.ledger.entries().iter();
            for entry in entries.filter(|e| e.source == source.name() && e.parse_id == source.parse_id) {
                let rejected = entry.counts.rejected > 0 || entry.error.is_some();
                if rejected && taken.insert((entry.sha256, entry.as_of.as_deref(), entry.arrival)) {
                    plan.pending.push(Pending {
                        sha256: entry.sha256,
                        path: entry.path.clone(),
                        captures: entry.captures.clone(),
                        as_of: entry.as_of.clone(),
                        arrival: entry.arrival,
                        size: entry.size,
                        referenced: entry.referenced,
                        again: true,
                    });
                }
            }
        }
    }

    /// True when reading these inputs again gave what their last reading gave.
    fn gave_the_same(&self, ingested: &Ingested) -> bool {
        ingested.lines.iter().filter_map(as_entry).all(|now| {
            let before = self.session.ledger.last_reading_of(now);
            let told = |e: &LedgerEntry| (e.parse_id, e.counts.rejected, e.error.clone());
            now.counts.written == 0 && before.map(told) == Some(told(now))
        })
    }

    fn check_cancelled(&self) -> Result<(), EngineError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(EngineError::Cancelled);
        }
        Ok(())
    }

    /// An empty staging folder of this run; leftovers of runs that died are removed, this process alone may be here.
    fn clean_staging(&self) -> Result<std::path::PathBuf, EngineError> {
        let root = self.session.vault.staging();
        for entry in std::fs::read_dir(&root)
            .map_err(|e| EngineError::io("read", &root, e))?
            .flatten()
        {
            let path = entry.path();
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            removed.map_err(|e| EngineError::io("delete", &path, e))?;
        }
        let staging = self.staging();
        std::fs::create_dir_all(&staging).map_err(|e| EngineError::io("create", &staging, e))?;
        Ok(staging)
    }

    /// What this refresh makes on its way.
    fn staging(&self) -> std::path::PathBuf {
        self.session.vault.staging().join(&self.run_id)
    }

    fn no_op(&self, plans: &[SourcePlan], warnings: Vec<Warning>) -> RunReport {
        let tables = self.session.last.as_ref().map(|r| &r.manifest.tables);
        let sources = self.bound.sources.iter().zip(plans).map(|(s, p)| {
            let report = SourceReport {
                files: p.files as u64,
                ..SourceReport::default()
            };
            (s.name().to_owned(), report)
        });
        RunReport {
            outcome: Outcome::NoOp,
            release: self.session.release(),
            run_id: self.run_id.clone(),
            pipeline: self.bound.pipeline.name.value.clone(),
            counts: TotalCounts::default(),
            sources: sources.collect(),
            tables: tables
                .into_iter()
                .flatten()
                .map(|(name, t)| {
                    let report = TableReport {
                        rows: t.row_count,
                        ..TableReport::default()
                    };
                    (name.clone(), report)
                })
                .collect(),
            steps: BTreeMap::new(),
            written_bytes: 0,
            subjects: Some(0),
            warnings,
            unmet: self.overdue(&BTreeMap::new()),
            gates: Vec::new(),
            scores: BTreeMap::new(),
            seconds: self.seconds(),
        }
    }

    fn seconds(&self) -> f64 {
        self.env.clock.now().duration_since(self.began).as_secs_f64()
    }

    /// `bytes`: of all inputs that the events came from.
    async fn run_ranges(
        &self,
        stage: &StageContext<'_>,
        events: &[EventFile],
        bytes: u64,
    ) -> Result<Vec<StagedRange>, EngineError> {
        let rows: u64 = events.iter().map(|f| f.shard.rows).sum();
        // All of one table are all, however few of the others.
        let mut subjects = stage.ranges.dirty.values().map(Dirty::len);
        let subjects = subjects.try_fold(0, |most, n| Some(most.max(n?)));
        let ranges = ranges_for(bytes.max(rows * EVENT_BYTES), subjects);
        let done = AtomicU64::new(0);
        let total = ranges.count() as u64;
        self.progress.ranges(0, total);
        let runtime = tokio::runtime::Handle::current();
        let mut staged = tokio::task::block_in_place(|| {
            in_parallel(ranges.count(), self.options.threads, |range| {
                self.check_cancelled()?;
                let staged = runtime.block_on(stage.run(range, ranges.bounds(range), Scope::Subject))?;
                self.progress.ranges(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                self.progress
                    .rows(staged.tables.values().map(|t| t.upserts + t.deletes).sum());
                Ok(staged)
            })
        })?;
        // Dataset-scope tables come last, over all subjects at once.
        staged.push(stage.run(ranges.count(), (0, BUCKETS - 1), Scope::Dataset).await?);
        Ok(staged)
    }
}

/// The ranges for these subjects (`None`: all) of a history that came from so many bytes. How much of it is theirs is not
/// known, and may be nearly all.
fn ranges_for(bytes: u64, subjects: Option<usize>) -> Ranges {
    let most = subjects.map_or(MOST_RANGES, |n| {
        u16::try_from(n / RANGE_SUBJECTS).map_or(MOST_RANGES, |n| n.clamp(1, MOST_RANGES))
    });
    Ranges::new(bytes, RANGE_BYTES, most)
}

fn as_entry(line: &LedgerLine) -> Option<&LedgerEntry> {
    match line {
        LedgerLine::Input(entry) => Some(entry),
        LedgerLine::Sighting(_) => None,
    }
}

/// Ids as hexadecimal text in JSON.
pub(crate) mod hex {
    use crate::fold::Id;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(id: &Id, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{:032x}", u128::from_be_bytes(*id)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Id, D::Error> {
        let text = String::deserialize(from)?;
        u128::from_str_radix(&text, 16)
            .map(u128::to_be_bytes)
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_bytes_and_subjects() {
        let count = |bytes, subjects| ranges_for(bytes, subjects).count();
        assert_eq!(count(10 << 20, None), 1);
        assert_eq!(count(2 << 30, None), 128);
        // A small delta over long histories: as many ranges as could be needed, but no more than its subjects are worth.
        assert_eq!(count(2 << 30, Some(20_000)), 128);
        assert_eq!(count(2 << 30, Some(100)), 8);
        assert_eq!(count(2 << 30, Some(3)), 1);
    }
}
