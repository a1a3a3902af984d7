//! The end of a refresh: everything that is new is made durable, then one commit makes it count.

use super::{
    EngineState, Link, Outcome, Refresh, RunReport, SourceReport, TableReport, TotalCounts, Warning, as_entry,
    audit::{self, Broken},
    concerned::contents,
    identity,
    loss::rejected_rows,
    moved::settle_moves,
    publish,
    range::{Dirty, UNORDERED},
    read::Ingested,
    stage::{Rejected, RejectedRecord, StagedRange, StagedTable},
    stopped,
};
use crate::{
    bound::Bound, error::EngineError, gates::warnings as gates_that_warn, graph::Node, ingest::InputReport,
    rows::not_unique, tables::Identity,
};
use clinmill_catalog::{
    dataset::{CommitOutcome, Draft, GateResult, MappingRef, PluginRef, ReleaseKind, VaultRef},
    env::Env,
    events::EventFile,
    index::IndexFile,
    shards::ShardFilter,
    steps::step,
    vault::{ArchiveKind, Coverage, INGEST, LedgerEntry, PipelineUse, QuarantineRecord},
};
use clinmill_model::{Digest, Sensitive};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

/// All that is ready when nothing can fail any more but writing.
pub(super) struct Publishing {
    pub links: Vec<Link>,
    pub events: Vec<EventFile>,
    pub coverage: Vec<Coverage>,
    pub dirty: BTreeMap<String, Dirty>,
    pub ranges: Vec<StagedRange>,
    pub ingested: Ingested,
    /// The segments of what was rejected so far.
    pub rejected: Vec<Digest>,
    pub engine_state: EngineState,
    pub warnings: Vec<Warning>,
    pub subjects: Option<u64>,
}

impl Refresh<'_> {
    pub(super) async fn publish(&self, parts: Publishing, staging: &Path) -> Result<Option<RunReport>, EngineError> {
        let Publishing {
            links,
            events,
            coverage,
            dirty,
            ranges,
            ingested,
            mut rejected,
            engine_state,
            mut warnings,
            subjects,
        } = parts;
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
        // A row that two tables are made of is rejected once. Rows that have records in common are different ones.
        let mut rejected_ids = HashSet::new();
        // A step behind tables of both scopes runs twice, and is counted where it runs subject by subject. The last range
        // is the one of the dataset scope.
        let last = ranges.len().saturating_sub(1);
        let mut counted: HashSet<String> = HashSet::new();
        for (number, range) in ranges.into_iter().enumerate() {
            for rejected in &range.rejections {
                let mut is_new = false;
                for record in &rejected.records {
                    let record = self.rejected_record(rejected, record, &inputs);
                    if rejected_ids.insert(record.id.clone()) {
                        quarantine.push(&record)?;
                        is_new = true;
                    }
                }
                if !is_new {
                    continue;
                }
                *steps
                    .entry(rejected.step.clone())
                    .or_default()
                    .entry(format!("rejected {}", rejected.code))
                    .or_default() += 1;
            }
            for (step, counts) in range.counts {
                if number == last && counted.contains(&step) {
                    continue;
                }
                counted.insert(step.clone());
                let known = steps.entry(step).or_default();
                counts
                    .into_iter()
                    .for_each(|(name, n)| *known.entry(name).or_default() += n);
            }
            for (name, table) in range.tables {
                staged.entry(name).or_default().push(table);
            }
        }
        for table in self.bound.tables.iter().filter(|t| t.subject) {
            let Some(ranges) = staged.get_mut(&table.name) else {
                continue;
            };
            settle_moves(&table.schema, ranges, (staging, &self.run_id))?;
        }
        rejected.extend(quarantine.finish()?);
        stopped::tell(staging, &rejected)?;
        self.check_lost(&staged, &engine_state)?;
        self.check_refused(&staged, &steps)?;
        warnings.extend(rejected_rows(&staged));
        let index = self.next_index(&staged);
        self.check_unique(&index)?;
        for (relation, counts) in &steps {
            if let Some(n) = counts.get(UNORDERED) {
                warnings.push(Warning::new(
                    "UNORDERED_VERSIONS",
                    format!(
                        "{relation}: {n} records came in more than one form, and nothing says which form is the newer; \
                         one was taken by its content, the same in every run. Name the column that grows with each \
                         correction in the source (`version: reported_at`), or say what time a file speaks of under \
                         `inputs` (`as_of: \"lis_{{date}}.csv\"`, or `as_of: arrival`: the file that came later counts)"
                    ),
                ));
            }
        }
        let broken = audit::broken(engine_state.broken.clone(), &dirty, &staged);
        let audit = self.audit(&staged, &steps, &broken, staging).await?;
        for (name, detail) in gates_that_warn(&audit) {
            warnings.push(Warning::new("GATE", format!("gate {name}: {detail}")));
        }
        let making = publish::Making {
            session: &self.session,
            staging,
            run_id: &self.run_id,
            release: self.release,
            anew: self.options.full,
        };
        let tables = publish::put_tables(self.bound, staged, &making).await?;
        step("refresh.staged");

        let mut ledger = vault.ledger().create()?;
        for line in &ingested.lines {
            ledger.push(line)?;
        }
        let mut state = self.session.state.clone();
        state.release = self.release;
        state.parent = self.session.state_digest;
        state.ledger.extend(ledger.finish()?);
        state.quarantine.extend(rejected);
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
        let engine_state = self.next_engine_state(engine_state, &ingested, &dirty, broken);
        let latest_as_of = engine_state.latest_as_of.clone();
        state.extra = serde_json::to_value(engine_state).map_err(|e| EngineError::internal(e.to_string()))?;
        vault.inputs().sync()?;
        let state_digest = vault.states().store(&state)?;
        step("refresh.state-stored");

        let counts = total(&ingested.sources);
        let draft = Draft {
            dataset: self.bound.pipeline.name.value.clone(),
            run_id: self.run_id.clone(),
            parent: self.session.last.as_ref().map(|r| r.as_parent()),
            kind: if self.session.last.is_some() {
                ReleaseKind::Delta
            } else {
                ReleaseKind::Full
            },
            deidentified: false,
            vault: VaultRef {
                id: vault.id().to_owned(),
                state: state_digest.to_string(),
                key_check: self.session.key.key_check(),
            },
            pipeline_sha256: pipeline,
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
            plugins: plugins_of(self.bound),
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
            gates: gates().into_iter().chain(audit.gates.iter().cloned()).collect(),
            scores: audit.scores.clone(),
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
            unmet: self.overdue(&latest_as_of),
            gates: audit.gates,
            scores: audit.scores,
            seconds: self.seconds(),
        };
        // The release is made; what follows is housekeeping and must not turn it into a failure.
        let _ = vault.runs().write(&self.run_id, &report);
        let _ = std::fs::remove_dir_all(staging);
        if let Some(lease) = &self.session.lease {
            let keep: Vec<Digest> = std::iter::once(state_digest).chain(self.session.state_digest).collect();
            let _ = vault.gc(lease, &keep);
        }
        Ok(Some(report))
    }

    /// No two rows of a table may have the same identity, wherever in the table they stand. Rows that are identified by
    /// their record cannot; those with a key of the pipeline's can.
    fn check_unique(&self, index: &[IndexFile]) -> Result<(), EngineError> {
        let everything = ShardFilter {
            lo: 0,
            hi: u16::MAX,
            subjects: None,
        };
        for table in self.bound.tables.iter().filter(|t| t.identity != Identity::Record) {
            let files = index.iter().filter(|f| f.table == table.name);
            let entries = clinmill_catalog::index::read(self.session.vault.root(), files, &everything)?;
            let mut ids: Vec<_> = entries.into_iter().map(|e| e.row_id).collect();
            ids.sort_unstable();
            let twice = ids.windows(2).filter(|w| w[0] == w[1]).count();
            if twice > 0 {
                return Err(EngineError::QualityGate(not_unique(table, twice)));
            }
        }
        Ok(())
    }

    /// The index after this refresh: new shards for the tables that were made, the old ones for the rest.
    fn next_index(&self, staged: &BTreeMap<String, Vec<StagedTable>>) -> Vec<IndexFile> {
        let old = self.session.state.index.iter();
        let kept =
            old.filter(|f| self.bound.tables.iter().any(|t| t.name == f.table) && !staged.contains_key(&f.table));
        let new = staged.values().flatten().filter_map(|t| t.index.as_ref());
        kept.chain(new).cloned().collect()
    }

    fn next_engine_state(
        &self,
        before: EngineState,
        ingested: &Ingested,
        dirty: &BTreeMap<String, Dirty>,
        mut broken: Broken,
    ) -> EngineState {
        let versions = ingested.versions(self.bound, &before);
        let mut judged = before.judged;
        for table in &self.bound.tables {
            if matches!(dirty.get(&table.name), Some(Dirty::All)) {
                let judges = table.judges(&self.bound.graph).into_iter();
                judged.extend(judges.map(|name| (name, self.release)));
            }
        }
        broken.retain(|name, subjects| !subjects.is_empty() && self.bound.tables.iter().any(|t| t.name == *name));
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
            makings: self.bound.tables.iter().map(|t| (t.name.clone(), t.making)).collect(),
            mappings: contents(&self.bound.mappings),
            sources: self.generations(),
            versions,
            judged,
            broken,
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
        for plugin in plugins_of(self.bound) {
            let text = serde_json::to_vec(&plugin).map_err(|e| EngineError::internal(e.to_string()))?;
            archive.put(ArchiveKind::Plugin, &text)?;
        }
        Ok(archive.put(ArchiveKind::Pipeline, self.bound.text.as_bytes())?)
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
        old.chain(ingested.lines.iter().filter_map(as_entry))
            .map(|e| (e.number, e.clone()))
            .collect()
    }

    /// Makes what ingest rejected durable, and says so in the staging folder: it is to be looked at also where nothing is
    /// published in the end.
    pub(super) fn keep_rejected(&self, ingested: &Ingested, staging: &Path) -> Result<Vec<Digest>, EngineError> {
        let mut quarantine = self.session.vault.quarantine().create()?;
        for (entry, report) in ingested.inputs() {
            for record in self.quarantined(entry, report) {
                quarantine.push(&record)?;
            }
        }
        let segments: Vec<Digest> = quarantine.finish()?.into_iter().collect();
        stopped::tell(staging, &segments)?;
        Ok(segments)
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
                stage: INGEST.to_owned(),
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
                number: entry.number,
                records: 1,
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
            let message = format!("{n} more records with this code are not listed one by one");
            QuarantineRecord {
                records: *n,
                ..base(code, &message, Default::default(), None)
            }
        });
        failed.chain(rejected).chain(more)
    }

    fn rejected_record(
        &self,
        rejected: &Rejected,
        record: &RejectedRecord,
        inputs: &HashMap<u32, LedgerEntry>,
    ) -> QuarantineRecord {
        let entry = inputs.get(&record.input);
        let (source, kind) = record.relation.split_once('.').unwrap_or((&record.relation, ""));
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
            offset: record.at.offset,
            length: record.at.length,
            row: (record.at.row > 0).then_some(record.at.row),
            part: (record.at.part > 0).then_some(record.at.part),
            cell: record.at.cell,
            kind: (!kind.is_empty()).then(|| kind.to_owned()),
            number: record.input,
            records: 1,
        }
        .identified()
    }
}

/// The plugins that take part. A built-in is what the engine's version says it is.
pub fn plugins_of(bound: &Bound) -> Vec<PluginRef> {
    let engine = env!("CARGO_PKG_VERSION");
    let sources = bound.sources.iter().map(|s| {
        (
            s.spec.plugin.value.clone(),
            s.plugin_version.clone(),
            s.plugin_build.clone(),
        )
    });
    let transforms = bound.pipeline.transforms.iter();
    let steps = transforms
        .filter_map(|t| bound.graph.node(&t.name.value))
        .flat_map(Node::steps)
        .map(|s| (s.plugin.clone(), s.version.0.clone(), s.version.1.clone()));
    let mut plugins: BTreeMap<String, PluginRef> = BTreeMap::new();
    for (name, version, build) in steps.chain(sources) {
        let loaded = build.and_then(|digest| digest.parse().ok());
        let sha256 = loaded.unwrap_or_else(|| Digest::of_parts(["built-in", &name, &version, engine]));
        plugins.insert(name.clone(), PluginRef { name, version, sha256 });
    }
    plugins.into_values().collect()
}

/// The gates that a refresh without declared ones passes; a refresh that does not pass them publishes nothing.
fn gates() -> Vec<GateResult> {
    let held = |(name, detail): (&str, &str)| GateResult {
        name: name.to_owned(),
        passed: true,
        detail: detail.to_owned(),
        measured: None,
    };
    [
        (
            "counts_balance",
            "every record read is written, a duplicate, rejected or filtered",
        ),
        ("row_ids_unique", "no two rows of a table have the same identity"),
        (
            "deletions_guard",
            "no complete export deletes more than its source allows",
        ),
        ("expectations", "what the sources promise to send was sent"),
    ]
    .into_iter()
    .map(held)
    .collect()
}

/// The local time of the pipeline.
pub fn civil_now(bound: &Bound, env: &Env) -> jiff::civil::DateTime {
    let zone = bound.pipeline.timezone.as_ref().map_or("UTC", |t| t.value.as_str());
    let zone = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
    env.clock.now().to_zoned(zone).datetime()
}

fn total(sources: &BTreeMap<String, SourceReport>) -> TotalCounts {
    let mut counts = TotalCounts::default();
    for source in sources.values() {
        counts.inputs += source.inputs;
        counts.read = counts.read.saturating_add(source.read);
        counts.written = counts.written.saturating_add(source.written);
        counts.duplicates = counts.duplicates.saturating_add(source.duplicates);
        counts.rejected = counts.rejected.saturating_add(source.rejected);
        counts.filtered = counts.filtered.saturating_add(source.filtered);
    }
    counts
}
