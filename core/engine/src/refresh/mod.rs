//! One refresh: discover, ingest, dirty, transform, (de-identify,) diff, (risk,) audit, commit.
//!
//! The places of de-identification and risk are marked; releases are `"deidentified": false` until they are filled.

mod absent;
mod discover;
mod identity;
mod publish;
mod range;
mod report;
mod session;
mod stage;

pub use absent::{Covered, scope_label};
pub use discover::{SourcePlan, Warning, discover, input_folder};
pub use identity::{Identity, Link, read_links};
pub use range::{Dirty, RangeContext};
pub use report::{Outcome, Progress, RunReport, SourceReport, TableReport, TotalCounts};
pub use session::{Access, Session, folder};

use crate::{
    bound::Bound,
    error::EngineError,
    fold::Id,
    ingest::{
        Counts, IngestInput, IngestProgress, IngestSource, InputReport, Ranges, SettleTask, Settled, Shuffle,
        read_inputs, settle, subject_id,
    },
};
use clinmill_catalog::{
    dataset::{CommitOutcome, Draft, GateResult, MappingRef, PluginRef, ReleaseKind, VaultRef},
    env::Env,
    events::EventFile,
    steps::step,
    vault::{
        ArchiveKind, Coverage, LedgerEntry, LedgerLine, Pending, PipelineUse, QuarantineRecord, RecordCounts, VaultState,
    },
};
use clinmill_model::{Digest, Sensitive};
use clinmill_sdk::Input;
use clinmill_spec::pipeline::{AsOf, Mode};
use serde::{Deserialize, Serialize};
use stage::{StageContext, StagedRange, StagedTable};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

/// What a refresh is asked to do.
pub struct RefreshOptions {
    /// Recompute every table for all subjects, from the events.
    pub full: bool,
    /// Let complete exports delete more than their guard allows.
    pub approve_deletes: bool,
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
            replay: false,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory: 256 << 20,
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
}

impl EngineState {
    /// What a state holds.
    pub fn of(state: &VaultState) -> Self {
        serde_json::from_value(state.extra.clone()).unwrap_or_default()
    }
}

/// Secrets by name.
pub type Secrets<'a> = &'a (dyn Fn(&str) -> Option<Vec<u8>> + Sync);

/// Target size of the events of one bucket range, in bytes of input.
const RANGE_BYTES: u64 = 48 << 20;

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
        if let Some(report) = refresh.run().await? {
            return Ok(report);
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

/// What ingest left.
#[derive(Default)]
struct Ingested {
    lines: Vec<LedgerLine>,
    reports: Vec<InputReport>,
    events: Vec<EventFile>,
    subjects: HashSet<Id>,
    sources: BTreeMap<String, SourceReport>,
}

impl Refresh<'_> {
    /// `None`: another writer committed first.
    async fn run(&self) -> Result<Option<RunReport>, EngineError> {
        let mut warnings = Vec::new();
        if self.session.key_is_new {
            let message = "a new key was made for this vault: keep a copy of its file `key` in a safe place";
            warnings.push(Warning::new("KEY_MADE", message.to_owned()));
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
        let removed = engine_state.tables.keys().any(|name| !self.bound.tables.iter().any(|t| t.name == *name));
        let pending: usize = plans.iter().map(|p| p.pending.len()).sum();
        let first = self.session.last.is_none();
        if pending == 0 && (first || changed_tables.is_empty()) && !removed && !self.options.full {
            if plans.iter().all(|p| p.files == 0) && first {
                let message = "no input was found; nothing was done".to_owned();
                warnings.push(Warning::new("NO_INPUT", message));
            }
            return Ok(Some(self.no_op(&plans, warnings)));
        }

        self.progress.stage("ingest");
        let mut ingested = self.ingest(&plans, &staging)?;
        step("refresh.ingested");
        self.check_cancelled()?;

        self.progress.stage("dirty");
        let (links, identity, former) = self.identity(&ingested)?;
        let events = self.current_events(&ingested);
        let coverage = self.coverage(&plans, &ingested);
        let scopes = self.scopes(&ingested);
        let mut dirty: HashSet<Id> = ingested.subjects.iter().map(|id| identity.canonical(id)).collect();
        let covered = self.deletions(&events, &coverage, &scopes, &mut ingested, &mut dirty, &identity)?;
        for (canonical, before) in &former {
            dirty.insert(*canonical);
            dirty.extend(before.iter().copied());
        }
        dirty.extend(self.identity_changes(&identity)?);
        let dirty = self.dirty_tables(dirty, &changed_tables);
        let unmet = self.check_expectations(&plans, &ingested)?;

        self.progress.stage("transform");
        let context = RangeContext {
            bound: self.bound,
            session: &self.session,
            events: &events,
            identity: &identity,
            former: &former,
            covered: &covered,
            dirty: &dirty,
            lineage: false,
            cancelled: self.cancelled,
        };
        let stage = StageContext {
            ranges: &context,
            staging: &staging,
            run_id: &self.run_id,
            release: self.release,
            changed_tables: &changed_tables,
            latest_as_of: &engine_state.latest_as_of,
            pipeline: self.bound.digest,
        };
        let ranges = self.run_ranges(&stage, &events).await?;
        step("refresh.transformed");
        self.check_cancelled()?;
        // De-identification (policy), then risk (hold-back, cumulative k), stand here before anything is published.

        self.progress.stage("publish");
        let subjects = match dirty.values().any(|d| matches!(d, Dirty::All)) {
            true => None,
            false => dirty.values().next().map(|d| match d {
                Dirty::Some(set) => set.len() as u64,
                Dirty::All => 0,
            }),
        };
        let parts = Publishing {
            links,
            events,
            coverage,
            dirty,
            ranges,
            ingested,
            engine_state,
            plans,
            warnings,
            unmet,
            subjects,
        };
        self.publish(parts, &staging).await
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

    fn check_cancelled(&self) -> Result<(), EngineError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(EngineError::Cancelled);
        }
        Ok(())
    }

    /// An empty staging folder of this run; leftovers of runs that died are removed, this process alone may be here.
    fn clean_staging(&self) -> Result<std::path::PathBuf, EngineError> {
        let root = self.session.vault.staging();
        for entry in std::fs::read_dir(&root).map_err(|e| EngineError::io("read", &root, e))?.flatten() {
            let path = entry.path();
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.map_err(|e| EngineError::io("delete", &path, e))?;
        }
        let staging = root.join(&self.run_id);
        std::fs::create_dir_all(&staging).map_err(|e| EngineError::io("create", &staging, e))?;
        Ok(staging)
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
            unmet: Vec::new(),
            seconds: self.seconds(),
        }
    }

    fn seconds(&self) -> f64 {
        self.env.clock.now().duration_since(self.began).as_secs_f64()
    }

    /// Reads the pending inputs and settles every bucket range.
    fn ingest(&self, plans: &[SourcePlan], staging: &Path) -> Result<Ingested, EngineError> {
        let sources: Vec<IngestSource> = self
            .bound
            .sources
            .iter()
            .map(|s| IngestSource {
                name: s.name().to_owned(),
                bound: s.bound.clone(),
                parse_id: s.parse_id,
            })
            .collect();
        let kept = self.session.vault.inputs();
        let mut number = self.session.ledger.next_number();
        let mut out = Ingested::default();
        let mut inputs = Vec::new();
        let mut entries: Vec<LedgerEntry> = Vec::new();
        for (i, (source, plan)) in self.bound.sources.iter().zip(plans).enumerate() {
            out.sources.entry(source.name().to_owned()).or_default().files = plan.files as u64;
            for pending in &plan.pending {
                let entry = self.ledger_entry(source.name(), source.parse_id, pending, number);
                let open = kept.open(&pending.sha256)?;
                inputs.push(IngestInput {
                    source: i,
                    number,
                    as_of: entry.as_of.clone().or_else(|| pending.arrival.map(|n| format!("{n:020}"))),
                    input: Arc::new(VaultInput {
                        name: pending.path.expose().clone(),
                        captures: pending.captures.expose().clone(),
                        kept: open,
                    }),
                });
                entries.push(entry);
                number += 1;
            }
            out.lines.extend(plan.sightings.iter().cloned().map(LedgerLine::Sighting));
        }
        let bytes: u64 = entries.iter().map(|e| e.size).sum();
        self.progress.plan(entries.len() as u64, bytes);
        let shuffle = Shuffle::new(Ranges::for_bytes(bytes, RANGE_BYTES), self.options.memory, staging);
        let follow = Follow(self.progress);
        let mut reports = read_inputs(
            &sources,
            &inputs,
            &shuffle,
            &self.session.key,
            self.options.threads,
            self.cancelled,
            &follow,
        )?;
        // An input that was given up counts as one rejected record, and none of its rows count.
        let failed: HashSet<u32> =
            inputs.iter().zip(&reports).filter(|(_, r)| r.failed.is_some()).map(|(i, _)| i.number).collect();
        let settled = self.settle_all(&sources, &shuffle, staging, &failed)?;
        let mut tally: HashMap<u32, (u64, u64)> = HashMap::new();
        for part in settled {
            out.events.extend(part.file);
            out.subjects.extend(part.subjects);
            part.written.into_iter().for_each(|(n, count)| tally.entry(n).or_default().0 += count);
            part.duplicates.into_iter().for_each(|(n, count)| tally.entry(n).or_default().1 += count);
        }
        for ((input, entry), report) in inputs.iter().zip(&mut entries).zip(&mut reports) {
            if let Some(error) = &report.failed {
                report.counts = Counts {
                    read: 1,
                    rejected: 1,
                    ..Counts::default()
                };
                report.rejections.clear();
                report.more_rejections.clear();
                report.filtered.clear();
                report.links.clear();
                entry.error = Some(error.code.clone());
            } else {
                let (written, duplicates) = tally.get(&input.number).copied().unwrap_or_default();
                report.counts.written += written + report.links.len() as u64;
                report.counts.duplicates += duplicates;
            }
            if !report.counts.balance() {
                return Err(EngineError::Unbalanced {
                    stage: format!("ingest of source {}", entry.source),
                });
            }
            entry.counts = RecordCounts {
                read: report.counts.read,
                written: report.counts.written,
                duplicates: report.counts.duplicates,
                rejected: report.counts.rejected,
                filtered: report.counts.filtered,
            };
            let of_source = out.sources.entry(entry.source.clone()).or_default();
            of_source.add(&report.counts);
            for (rule, n) in &report.filtered {
                *of_source.filtered_by.entry(rule.clone()).or_default() += n;
            }
            for rejection in &report.rejections {
                *of_source.rejected_by.entry(rejection.code.clone()).or_default() += 1;
            }
            for (code, n) in &report.more_rejections {
                *of_source.rejected_by.entry(code.clone()).or_default() += n;
            }
            if let Some(error) = &report.failed {
                *of_source.rejected_by.entry(error.code.clone()).or_default() += 1;
            }
        }
        out.lines.extend(entries.into_iter().map(LedgerLine::Input));
        out.reports = reports;
        Ok(out)
    }

    fn ledger_entry(&self, source: &str, parse_id: Digest, pending: &Pending, number: u32) -> LedgerEntry {
        LedgerEntry {
            number,
            source: source.to_owned(),
            parse_id,
            sha256: pending.sha256,
            path: pending.path.clone(),
            captures: pending.captures.clone(),
            as_of: pending.as_of.clone(),
            arrival: pending.arrival,
            size: pending.size,
            referenced: pending.referenced,
            counts: RecordCounts::default(),
            error: None,
        }
    }

    fn settle_all(
        &self,
        sources: &[IngestSource],
        shuffle: &Shuffle,
        staging: &Path,
        failed: &HashSet<u32>,
    ) -> Result<Vec<Settled>, EngineError> {
        let ranges = shuffle.ranges();
        let vault = self.session.vault.root();
        let known = &self.session.state.events;
        in_parallel(ranges.len(), self.options.threads, |range| {
            self.check_cancelled()?;
            let mut out = Vec::new();
            for (of, batches) in shuffle.take(range)? {
                let source = &sources[of.0];
                let kind = &source.kinds()[of.1];
                let known: Vec<EventFile> = known
                    .iter()
                    .filter(|f| f.source == source.name && f.kind == kind.name && f.parse_id == source.parse_id)
                    .cloned()
                    .collect();
                out.push(settle(SettleTask {
                    vault,
                    staging,
                    source: &source.name,
                    of,
                    kind,
                    parse_id: source.parse_id,
                    bounds: ranges.bounds(range),
                    known: &known,
                    failed,
                    batches,
                })?);
            }
            Ok(out)
        })
        .map(|parts| parts.into_iter().flatten().collect())
    }

    /// The event files that count now: of the present generation of each source.
    fn current_events(&self, ingested: &Ingested) -> Vec<EventFile> {
        let present: HashSet<(&str, Digest)> = self.bound.sources.iter().map(|s| (s.name(), s.parse_id)).collect();
        let old = self.session.state.events.iter().filter(|f| present.contains(&(f.source.as_str(), f.parse_id)));
        old.chain(&ingested.events).cloned().collect()
    }

    /// All identity links, who is who now, and for each canonical subject the subjects its rows stood under before.
    #[allow(clippy::type_complexity)]
    fn identity(&self, ingested: &Ingested) -> Result<(Vec<Link>, Identity, HashMap<Id, Vec<Id>>), EngineError> {
        let before = read_links(&self.session.vault, &self.session.state.identity)?;
        let present: HashSet<(&str, Digest)> = self.bound.sources.iter().map(|s| (s.name(), s.parse_id)).collect();
        let mut links: Vec<Link> =
            before.iter().filter(|l| present.contains(&(l.source.as_str(), l.parse_id))).cloned().collect();
        let entries = ingested.lines.iter().filter_map(|line| match line {
            LedgerLine::Input(entry) => Some(entry),
            LedgerLine::Sighting(_) => None,
        });
        for (entry, report) in entries.zip(&ingested.reports) {
            links.extend(report.links.iter().map(|link| Link {
                version: link.version.clone(),
                retired: subject_id(&self.session.key, &link.retired.issuer, &link.retired.id),
                survivor: subject_id(&self.session.key, &link.survivor.issuer, &link.survivor.id),
                source: entry.source.clone(),
                parse_id: entry.parse_id,
            }));
        }
        links.sort();
        links.dedup();
        let was = Identity::new(&before);
        let is = Identity::new(&links);
        let mut former: HashMap<Id, Vec<Id>> = HashMap::new();
        for (_, old, new) in was.difference(&is) {
            // A subject that is still one of its own keeps its rows; only one that went away hands them over.
            if is.canonical(&old) == new {
                former.entry(new).or_default().push(old);
            }
        }
        for list in former.values_mut() {
            list.sort_unstable();
            list.dedup();
        }
        Ok((links, is, former))
    }

    /// Subjects before and after of every identifier that now names another one.
    fn identity_changes(&self, now: &Identity) -> Result<Vec<Id>, EngineError> {
        let before = Identity::new(&read_links(&self.session.vault, &self.session.state.identity)?);
        Ok(before.difference(now).into_iter().flat_map(|(_, old, new)| [old, new]).collect())
    }

    /// The coverage events of complete sources, old and new. An export with rejected records asserts nothing about
    /// what it lacks: the record may be among the rejected.
    fn coverage(&self, plans: &[SourcePlan], ingested: &Ingested) -> Vec<Coverage> {
        let present: HashSet<(&str, Digest)> = self.bound.sources.iter().map(|s| (s.name(), s.parse_id)).collect();
        let old = &self.session.state.coverage;
        let mut coverage: Vec<Coverage> =
            old.iter().filter(|c| present.contains(&(c.source.as_str(), c.parse_id))).cloned().collect();
        let _ = plans;
        let entries = ingested.lines.iter().filter_map(|line| match line {
            LedgerLine::Input(entry) => Some(entry),
            LedgerLine::Sighting(_) => None,
        });
        for (entry, report) in entries.zip(&ingested.reports) {
            let Some(source) = self.bound.sources.iter().find(|s| s.name() == entry.source) else { continue };
            let Mode::Complete { scope, as_of, .. } = &source.spec.mode else { continue };
            if report.failed.is_some() || report.counts.rejected > 0 {
                continue;
            }
            let as_of = match (&as_of.value, &entry.as_of, entry.arrival) {
                (AsOf::Arrival, _, Some(n)) => format!("{n:020}"),
                (_, Some(as_of), _) => as_of.clone(),
                _ => continue,
            };
            coverage.push(Coverage {
                source: entry.source.clone(),
                parse_id: entry.parse_id,
                scope: scope_of(scope, entry.captures.expose()),
                as_of,
                input: entry.number,
            });
        }
        coverage
    }

    /// The scope of every input of the complete sources.
    fn scopes(&self, ingested: &Ingested) -> HashMap<u32, String> {
        let new = ingested.lines.iter().filter_map(|line| match line {
            LedgerLine::Input(entry) => Some(entry),
            LedgerLine::Sighting(_) => None,
        });
        scopes_of(self.bound, self.session.ledger.entries().iter().chain(new))
    }

    /// What complete exports cover now; deletions are counted, guarded and made dirty.
    fn deletions(
        &self,
        events: &[EventFile],
        coverage: &[Coverage],
        scopes: &HashMap<u32, String>,
        ingested: &mut Ingested,
        dirty: &mut HashSet<Id>,
        identity: &Identity,
    ) -> Result<BTreeMap<String, Covered>, EngineError> {
        let mut covered = BTreeMap::new();
        let mut too_many = Vec::new();
        for source in self.bound.sources.iter().filter(|s| s.is_complete()) {
            let of = |all: &[Coverage]| {
                let mine: Vec<Coverage> = all.iter().filter(|c| c.source == source.name()).cloned().collect();
                Covered::new(&mine, scopes)
            };
            let now = of(coverage);
            let news = coverage.len() > self.session.state.coverage.len()
                || ingested.events.iter().any(|e| e.source == source.name());
            if news {
                let before = of(&self.session.state.coverage);
                let found =
                    absent::absent(&self.session, source, (&self.session.state.events, &before), (events, &now))?;
                dirty.extend(found.subjects.iter().map(|id| identity.canonical(id)));
                if let Some(report) = ingested.sources.get_mut(source.name()) {
                    report.deleted = found.deleted;
                }
                let Mode::Complete { max_deletes, .. } = &source.spec.mode else { continue };
                let share = found.deleted as f64 / (found.live.max(1)) as f64;
                if share > *max_deletes && !self.options.approve_deletes {
                    too_many.push(format!(
                        "source {}: the complete export lacks {} of {} records ({:.1} %, allowed are {:.1} %)",
                        source.name(),
                        found.deleted,
                        found.live,
                        share * 100.0,
                        max_deletes * 100.0
                    ));
                }
            }
            covered.insert(source.name().to_owned(), now);
        }
        if too_many.is_empty() {
            return Ok(covered);
        }
        Err(EngineError::QualityGate(format!(
            "{}. Nothing was published. If the records are really gone, run again with --approve-deletes",
            too_many.join("; ")
        )))
    }

    fn dirty_tables(&self, subjects: HashSet<Id>, changed: &[String]) -> BTreeMap<String, Dirty> {
        let some = Dirty::Some(Arc::new(subjects));
        let any = |name: &str| self.options.full || changed.iter().any(|c| c == name);
        self.bound
            .tables
            .iter()
            .map(|t| {
                // A table without subjects is small: it is made whole when anything is new.
                let all = any(&t.name) || (!t.subject && !some.is_empty());
                (t.name.clone(), if all { Dirty::All } else { some.clone() })
            })
            .collect()
    }

    /// The `expect` of every source that had inputs.
    fn check_expectations(&self, plans: &[SourcePlan], ingested: &Ingested) -> Result<Vec<String>, EngineError> {
        let mut broken = Vec::new();
        for (source, plan) in self.bound.sources.iter().zip(plans) {
            let (Some(expect), Some(report)) = (&source.spec.expect, ingested.sources.get(source.name())) else { continue };
            if plan.pending.is_empty() {
                continue;
            }
            let name = source.name();
            if expect.rows.0.is_some_and(|least| report.read < least) || expect.rows.1.is_some_and(|most| report.read > most) {
                broken.push(format!("source {name}: {} records were read, outside of `expect.rows`", report.read));
            }
            if let Some(most) = expect.rejected {
                let share = report.rejected as f64 / report.read.max(1) as f64;
                if share > most {
                    broken.push(format!(
                        "source {name}: {:.2} % of the records were rejected, `expect.rejected` allows {:.2} %",
                        share * 100.0,
                        most * 100.0
                    ));
                }
            }
        }
        if broken.is_empty() {
            return Ok(Vec::new());
        }
        Err(EngineError::QualityGate(format!("{}. Nothing was published", broken.join("; "))))
    }

    async fn run_ranges(&self, stage: &StageContext<'_>, events: &[EventFile]) -> Result<Vec<StagedRange>, EngineError> {
        let bytes: u64 = events.iter().map(|f| f.shard.bytes).sum();
        // Event files are compressed about four times.
        let ranges = Ranges::for_bytes(bytes * 4, RANGE_BYTES * 2);
        let done = AtomicU64::new(0);
        let total = ranges.len() as u64;
        self.progress.ranges(0, total);
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            in_parallel(ranges.len(), self.options.threads, |range| {
                self.check_cancelled()?;
                let staged = runtime.block_on(stage.run(range, ranges.bounds(range)))?;
                self.progress.ranges(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                self.progress.rows(staged.tables.values().map(|t| t.upserts + t.deletes).sum());
                Ok(staged)
            })
        })
    }

    async fn publish(&self, parts: Publishing, staging: &Path) -> Result<Option<RunReport>, EngineError> {
        let Publishing { links, events, coverage, dirty, ranges, ingested, engine_state, plans, warnings, unmet, subjects } =
            parts;
        let vault = &self.session.vault;
        let mut staged: BTreeMap<String, Vec<StagedTable>> = BTreeMap::new();
        for (name, dirty) in &dirty {
            if !dirty.is_empty() {
                staged.insert(name.clone(), Vec::new());
            }
        }
        let mut steps: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        let mut quarantine = vault.quarantine().create()?;
        let inputs = self.input_digests(&ingested);
        for (name, report) in ingested.lines.iter().filter_map(as_entry).zip(&ingested.reports) {
            for record in self.quarantined(name, report) {
                quarantine.push(&record)?;
            }
        }
        for range in ranges {
            for rejected in &range.rejections {
                quarantine.push(&self.rejected_row(rejected, &inputs))?;
                *steps.entry(rejected.step.clone()).or_default().entry(format!("rejected {}", rejected.code)).or_default() += 1;
            }
            for (step, counts) in range.counts {
                let known = steps.entry(step).or_default();
                counts.into_iter().for_each(|(name, n)| *known.entry(name).or_default() += n);
            }
            for (name, table) in range.tables {
                staged.entry(name).or_default().push(table);
            }
        }
        let index = self.next_index(&staged);
        let tables =
            publish::put_tables(self.bound, &self.session, staged, staging, &self.run_id, self.release).await?;
        step("refresh.staged");

        let mut ledger = vault.ledger().create()?;
        for line in &ingested.lines {
            ledger.push(line)?;
        }
        let mut state = self.session.state.clone();
        state.release = self.release;
        state.parent = self.session.state_digest;
        state.ledger.extend(ledger.finish()?);
        state.quarantine.extend(quarantine.finish()?);
        state.events = events;
        state.index = index;
        state.coverage = coverage;
        state.identity = identity::write_links(vault, &links)?;
        let pipeline = self.archive()?;
        if !state.pipelines.iter().any(|p| p.sha256 == pipeline) {
            state.pipelines.push(PipelineUse {
                sha256: pipeline,
                release: self.release,
            });
        }
        state.extra = serde_json::to_value(self.next_engine_state(engine_state, &ingested))
            .map_err(|e| EngineError::internal(e.to_string()))?;
        vault.inputs().sync()?;
        let state_digest = vault.states().store(&state)?;
        step("refresh.state-stored");

        let counts = total(&ingested.sources);
        let draft = Draft {
            dataset: self.bound.pipeline.name.value.clone(),
            run_id: self.run_id.clone(),
            parent: self.session.last.as_ref().map(|r| r.as_parent()),
            kind: if self.session.last.is_some() { ReleaseKind::Delta } else { ReleaseKind::Full },
            deidentified: false,
            vault: VaultRef {
                id: vault.id().to_owned(),
                state: state_digest.to_string(),
                key_check: self.session.key.key_check(),
            },
            pipeline_sha256: pipeline,
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
            plugins: self.plugins(),
            mappings: self.mappings(),
            tables: tables.iter().map(|(name, t)| (name.clone(), t.entry.clone())).collect(),
            counts: clinmill_catalog::dataset::Counts {
                inputs: counts.inputs,
                read: counts.read,
                written: counts.written,
                duplicates: counts.duplicates,
                rejected: counts.rejected,
                filtered: counts.filtered,
            },
            gates: gates(),
        };
        if self.session.last.is_none() {
            self.session.dataset.probe().await?;
        }
        self.check_cancelled()?;
        self.progress.stage("commit");
        let CommitOutcome::Committed(_) = self.session.dataset.commit(draft).await? else {
            return Ok(None);
        };
        step("refresh.committed");
        let report = RunReport {
            outcome: Outcome::Released,
            release: self.release,
            run_id: self.run_id.clone(),
            pipeline: self.bound.pipeline.name.value.clone(),
            counts,
            sources: ingested.sources,
            tables: tables
                .iter()
                .map(|(name, t)| {
                    let report = TableReport {
                        rows: t.entry.row_count,
                        upserts: t.upserts,
                        deletes: t.deletes,
                    };
                    (name.clone(), report)
                })
                .collect(),
            steps,
            written_bytes: tables.values().map(|t| t.written).sum(),
            subjects,
            warnings,
            unmet,
            seconds: self.seconds(),
        };
        let _ = plans;
        // The release is made; what follows is housekeeping and must not turn it into a failure.
        let _ = vault.runs().write(&self.run_id, &report);
        let _ = std::fs::remove_dir_all(staging);
        if let Some(lease) = &self.session.lease {
            let keep: Vec<Digest> = std::iter::once(state_digest).chain(self.session.state_digest).collect();
            let _ = vault.gc(lease, &keep);
        }
        Ok(Some(report))
    }

    /// The index after this refresh: new shards for the tables that were made, the old ones for the rest.
    fn next_index(&self, staged: &BTreeMap<String, Vec<StagedTable>>) -> Vec<clinmill_catalog::index::IndexFile> {
        let old = self.session.state.index.iter();
        let kept = old.filter(|f| {
            self.bound.tables.iter().any(|t| t.name == f.table) && !staged.contains_key(&f.table)
        });
        let new = staged.values().flatten().filter_map(|t| t.index.as_ref());
        kept.chain(new).cloned().collect()
    }

    fn next_engine_state(&self, before: EngineState, ingested: &Ingested) -> EngineState {
        let mut latest_as_of = before.latest_as_of;
        for entry in ingested.lines.iter().filter_map(as_entry) {
            if let Some(as_of) = &entry.as_of {
                let known = latest_as_of.entry(entry.source.clone()).or_default();
                if as_of > known {
                    known.clone_from(as_of);
                }
            }
        }
        EngineState {
            tables: self.bound.tables.iter().map(|t| (t.name.clone(), t.digest)).collect(),
            latest_as_of,
        }
    }

    /// Keeps the text of the pipeline, its mappings and the description of its plugins for good.
    fn archive(&self) -> Result<Digest, EngineError> {
        let archive = self.session.vault.archive();
        for mapping in self.bound.mappings.values() {
            for bytes in mapping.resource.files.values() {
                archive.put(ArchiveKind::Mapping, bytes)?;
            }
        }
        for plugin in self.plugins() {
            let text = serde_json::to_vec(&plugin).map_err(|e| EngineError::internal(e.to_string()))?;
            archive.put(ArchiveKind::Plugin, &text)?;
        }
        Ok(archive.put(ArchiveKind::Pipeline, self.bound.text.as_bytes())?)
    }

    /// The plugins that take part. A built-in is what the engine's version says it is.
    fn plugins(&self) -> Vec<PluginRef> {
        let engine = env!("CARGO_PKG_VERSION");
        let sources = self.bound.sources.iter().map(|s| (s.spec.plugin.value.as_str(), s.plugin_version));
        let steps = self.bound.pipeline.transforms.iter().flat_map(|t| &t.steps).map(|s| (s.plugin.value.as_str(), engine));
        let mut plugins: BTreeMap<&str, &str> = BTreeMap::new();
        plugins.extend(steps);
        plugins.extend(sources);
        plugins
            .into_iter()
            .map(|(name, version)| PluginRef {
                name: name.to_owned(),
                version: version.to_owned(),
                sha256: Digest::of_parts(["built-in", name, version, engine]),
            })
            .collect()
    }

    fn mappings(&self) -> Vec<MappingRef> {
        self.bound
            .mappings
            .iter()
            .map(|(name, m)| MappingRef {
                name: name.clone(),
                sha256: m.sha256,
            })
            .collect()
    }

    /// Source, content digest and path of every input, by number.
    fn input_digests(&self, ingested: &Ingested) -> HashMap<u32, LedgerEntry> {
        let old = self.session.ledger.entries().iter();
        old.chain(ingested.lines.iter().filter_map(as_entry)).map(|e| (e.number, e.clone())).collect()
    }

    fn quarantined<'r>(
        &'r self,
        entry: &'r LedgerEntry,
        report: &'r InputReport,
    ) -> impl Iterator<Item = QuarantineRecord> + 'r {
        let source = self.bound.sources.iter().find(|s| s.name() == entry.source);
        let base = move |code: &str, message: &str, at: clinmill_sdk::Locator, kind: Option<String>| {
            QuarantineRecord {
                id: String::new(),
                run_id: self.run_id.clone(),
                release: self.release,
                source: entry.source.clone(),
                stage: "ingest".to_owned(),
                code: code.to_owned(),
                message: message.to_owned(),
                input: entry.sha256,
                path: Some(entry.path.clone()),
                offset: at.offset,
                length: at.length,
                row: (at.row > 0).then_some(at.row),
                part: (at.part > 0).then_some(at.part),
                cell: at.cell,
                kind,
            }
            .identified()
        };
        let failed = report.failed.iter().map(move |error| {
            let offset = error.offset.unwrap_or(0);
            let at = clinmill_sdk::Locator {
                offset,
                length: entry.size.saturating_sub(offset),
                ..Default::default()
            };
            base(&error.code, &error.message, at, None)
        });
        let rejected = report.rejections.iter().map(move |r| {
            let kind = r.kind.and_then(|k| Some(source?.bound.records().get(k)?.name.clone()));
            base(&r.code, &r.message, r.at, kind)
        });
        let more = report.more_rejections.iter().map(move |(code, n)| {
            base(code, &format!("{n} more records with this code are not listed one by one"), Default::default(), None)
        });
        failed.chain(rejected).chain(more)
    }

    fn rejected_row(&self, rejected: &stage::Rejected, inputs: &HashMap<u32, LedgerEntry>) -> QuarantineRecord {
        let entry = inputs.get(&rejected.input);
        let (source, kind) = rejected.relation.split_once('.').unwrap_or((&rejected.relation, ""));
        QuarantineRecord {
            id: String::new(),
            run_id: self.run_id.clone(),
            release: self.release,
            source: source.to_owned(),
            stage: rejected.step.clone(),
            code: rejected.code.clone(),
            message: rejected.message.clone(),
            input: entry.map_or_else(|| Digest::of(b""), |e| e.sha256),
            path: entry.map(|e| Sensitive::new(e.path.expose().clone())),
            offset: rejected.at.offset,
            length: rejected.at.length,
            row: (rejected.at.row > 0).then_some(rejected.at.row),
            part: (rejected.at.part > 0).then_some(rejected.at.part),
            cell: rejected.at.cell,
            kind: (!kind.is_empty()).then(|| kind.to_owned()),
        }
        .identified()
    }
}

/// All that is ready when nothing can fail any more but writing.
struct Publishing {
    links: Vec<Link>,
    events: Vec<EventFile>,
    coverage: Vec<Coverage>,
    dirty: BTreeMap<String, Dirty>,
    ranges: Vec<StagedRange>,
    ingested: Ingested,
    engine_state: EngineState,
    plans: Vec<SourcePlan>,
    warnings: Vec<Warning>,
    unmet: Vec<String>,
    subjects: Option<u64>,
}

fn as_entry(line: &LedgerLine) -> Option<&LedgerEntry> {
    match line {
        LedgerLine::Input(entry) => Some(entry),
        LedgerLine::Sighting(_) => None,
    }
}

/// The gates that a refresh without declared ones passes; a refresh that does not pass them publishes nothing.
fn gates() -> Vec<GateResult> {
    let held = |(name, detail): (&str, &str)| GateResult {
        name: name.to_owned(),
        passed: true,
        detail: detail.to_owned(),
    };
    [
        ("counts_balance", "every record read is written, a duplicate, rejected or filtered"),
        ("row_ids_unique", "no two rows of a table have the same identity"),
        ("deletions_guard", "no complete export deletes more than its source allows"),
        ("expectations", "what the sources promise to send was sent"),
    ]
    .into_iter()
    .map(held)
    .collect()
}

fn total(sources: &BTreeMap<String, SourceReport>) -> TotalCounts {
    let mut counts = TotalCounts::default();
    for source in sources.values() {
        counts.inputs += source.inputs;
        counts.read += source.read;
        counts.written += source.written;
        counts.duplicates += source.duplicates;
        counts.rejected += source.rejected;
        counts.filtered += source.filtered;
    }
    counts
}

/// A scope with the captures of an input's path put in.
fn scope_of(scope: &BTreeMap<String, String>, captures: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let fill = |text: &String| {
        captures.iter().fold(text.clone(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    };
    scope.iter().map(|(k, v)| (k.clone(), fill(v))).collect()
}

/// The scope label of every input of the complete sources.
pub fn scopes_of<'a>(bound: &Bound, entries: impl Iterator<Item = &'a LedgerEntry>) -> HashMap<u32, String> {
    entries
        .filter_map(|entry| {
            let source = bound.sources.iter().find(|s| s.name() == entry.source)?;
            let Mode::Complete { scope, .. } = &source.spec.mode else { return None };
            Some((entry.number, scope_label(&scope_of(scope, entry.captures.expose()))))
        })
        .collect()
}

/// Runs `0..n` on several threads; results in order, the first error wins and stops the rest.
fn in_parallel<T: Send>(
    n: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T, EngineError> + Sync,
) -> Result<Vec<T>, EngineError> {
    let results: Vec<Mutex<Option<T>>> = (0..n).map(|_| Mutex::new(None)).collect();
    let failure: Mutex<Option<EngineError>> = Mutex::new(None);
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let run = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n || failed.load(Ordering::Relaxed) {
                return;
            }
            match work(i) {
                Ok(result) => *unpoisoned(&results[i]) = Some(result),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    unpoisoned(&failure).get_or_insert(error);
                    return;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(n) {
            scope.spawn(run);
        }
        run();
    });
    if let Some(error) = unpoisoned(&failure).take() {
        return Err(error);
    }
    results
        .iter()
        .map(|r| unpoisoned(r).take().ok_or_else(|| EngineError::internal("a task gave no result".to_owned())))
        .collect()
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A kept input, as sources read it.
pub struct VaultInput {
    /// Its path as the pipeline sees it.
    pub name: String,
    /// What the source's pattern captured.
    pub captures: BTreeMap<String, String>,
    /// Its bytes.
    pub kept: clinmill_catalog::vault::KeptInput,
}

impl Input for VaultInput {
    fn name(&self) -> &str {
        &self.name
    }
    fn captures(&self) -> &BTreeMap<String, String> {
        &self.captures
    }
    fn size(&self) -> u64 {
        self.kept.size()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        self.kept.read_at(offset, buf)
    }
}

struct Follow<'a>(&'a dyn Progress);

impl IngestProgress for Follow<'_> {
    fn bytes(&self, n: u64) {
        self.0.bytes(n);
    }
    fn records(&self, n: u64) {
        self.0.records(n);
    }
    fn input_done(&self) {
        self.0.input();
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
        u128::from_str_radix(&text, 16).map(u128::to_be_bytes).map_err(D::Error::custom)
    }
}
