//! Ingest within a refresh: the pending inputs become event files, and every record is accounted for.

use super::{
    Refresh, SourcePlan, Warning, as_entry,
    parallel::in_parallel,
    report::{Progress, SourceReport},
    scopes_of,
};
use crate::{
    error::EngineError,
    ingest::{
        Counts, IngestInput, IngestProgress, IngestSource, InputReport, Ranges, SettleTask, Settled, Shuffle, Times,
        read_inputs, settle,
    },
};
use clinmill_catalog::{
    events::EventFile,
    vault::{KeptInput, LedgerEntry, LedgerLine, PUT_BACK, Pending, RecordCounts, VaultError},
};
use clinmill_model::{Digest, Ids};
use clinmill_sdk::{Input, PluginError, Status};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::{Arc, OnceLock},
};

/// Bytes of input whose events one bucket range should hold, about.
const RANGE_BYTES: u64 = 24 << 20;
/// Each range has a staging file for each record kind that spills.
const MOST_RANGES: u16 = 64;

/// What ingest left.
#[derive(Default)]
pub(super) struct Ingested {
    /// The refresh's lines of the ledger.
    pub lines: Vec<LedgerLine>,
    /// What reading each input gave, in the order of the ledger's inputs.
    pub reports: Vec<InputReport>,
    /// New event files.
    pub events: Vec<EventFile>,
    /// Subject identifiers with new events.
    pub subjects: Ids,
    /// What became of each source's records.
    pub sources: BTreeMap<String, SourceReport>,
}

impl Ingested {
    /// The inputs, each with what reading it gave.
    pub fn inputs(&self) -> impl Iterator<Item = (&LedgerEntry, &InputReport)> {
        self.lines.iter().filter_map(as_entry).zip(&self.reports)
    }
}

impl Ingested {
    /// Says which inputs gave nothing at all, by source and reason: a column that was renamed takes a whole source away.
    pub(super) fn given_up(&self) -> Vec<Warning> {
        let mut reasons: BTreeMap<(&str, &str), (u64, &PluginError)> = BTreeMap::new();
        for (entry, report) in self.inputs() {
            if let Some(error) = &report.failed {
                reasons.entry((&entry.source, &error.code)).or_insert((0, error)).0 += 1;
            }
        }
        let told = |((source, code), (inputs, error)): ((&str, &str), (u64, &PluginError))| {
            let were = if inputs == 1 { "input was" } else { "inputs were" };
            let message = format!("source {source}: {inputs} {were} given up ({code}): {}", error.message);
            Warning::new("INPUT_GIVEN_UP", message)
        };
        reasons.into_iter().map(told).collect()
    }
}

impl Refresh<'_> {
    /// Reads the pending inputs and settles every bucket range.
    pub(super) fn ingest(&self, plans: &[SourcePlan], staging: &Path) -> Result<Ingested, EngineError> {
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
        let mut bytes_of: Vec<&Pending> = Vec::new();
        for (i, (source, plan)) in self.bound.sources.iter().zip(plans).enumerate() {
            out.sources.entry(source.name().to_owned()).or_default().files = plan.files as u64;
            for pending in &plan.pending {
                let entry = self.ledger_entry(source.name(), source.parse_id, pending, number);
                inputs.push(IngestInput {
                    source: i,
                    number,
                    as_of: entry
                        .as_of
                        .clone()
                        .or_else(|| pending.arrival.map(|n| format!("{n:020}"))),
                    size: pending.size,
                });
                entries.push(entry);
                bytes_of.push(pending);
                number += 1;
            }
            out.lines
                .extend(plan.sightings.iter().cloned().map(LedgerLine::Sighting));
        }
        let bytes: u64 = entries.iter().map(|e| e.size).sum();
        self.progress.plan(entries.len() as u64, bytes);
        let shuffle = Shuffle::new(
            Ranges::new(bytes, RANGE_BYTES, MOST_RANGES),
            self.options.memory,
            staging,
        );
        let follow = Follow(self.progress);
        let unreadable: Arc<OnceLock<Digest>> = Arc::default();
        let open = |i: usize| -> Result<Arc<dyn Input>, EngineError> {
            let pending: &Pending = bytes_of[i];
            Ok(Arc::new(VaultInput {
                name: pending.path.expose().clone(),
                captures: pending.captures.expose().clone(),
                kept: kept.open(&pending.sha256).map_err(unreadable_input)?,
                unreadable: unreadable.clone(),
            }))
        };
        let reports = read_inputs(
            &sources,
            &inputs,
            &open,
            &shuffle,
            &self.session.key,
            self.options.threads,
            self.cancelled,
            &follow,
        );
        // Whatever its source made of it: the records were there before.
        if let Some(digest) = unreadable.get() {
            return Err(unreadable_input(VaultError::Corrupt {
                kind: "input",
                digest: *digest,
                reason: "it cannot be read".to_owned(),
            }));
        }
        let mut reports = reports?;
        let lost = |(report, entry): (&InputReport, &LedgerEntry)| {
            let error = report.failed.clone().filter(PluginError::is_of_boundary)?;
            Some(EngineError::Source {
                source_name: entry.source.clone(),
                input: entry.sha256.short(),
                error: Box::new(error),
            })
        };
        if let Some(error) = reports.iter().zip(&entries).find_map(lost) {
            return Err(error);
        }
        // An input that was given up counts as one rejected record, and none of its rows count.
        let failed: HashSet<u32> = inputs
            .iter()
            .zip(&reports)
            .filter(|(_, r)| r.failed.is_some())
            .map(|(i, _)| i.number)
            .collect();
        let times: Times = inputs.iter().map(|i| (i.number, i.as_of.clone())).collect();
        let scopes = scopes_of(self.bound, self.session.ledger.entries().iter().chain(&entries));
        let settled = self.settle_all(&sources, &shuffle, staging, &failed, (&times, &scopes))?;
        let mut tally: HashMap<u32, (u64, u64)> = HashMap::new();
        for part in settled {
            out.events.extend(part.file);
            out.subjects.extend(part.subjects);
            part.written
                .into_iter()
                .for_each(|(n, count)| tally.entry(n).or_default().0 += count);
            part.duplicates
                .into_iter()
                .for_each(|(n, count)| tally.entry(n).or_default().1 += count);
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
                let source = self.bound.sources.iter().find(|s| s.name() == entry.source);
                let plugin = source.map_or("", |s| s.spec.plugin.value.as_str());
                let what = "the counts of what it read, rejected and filtered do not balance";
                let message = format!("the plugin {plugin:?} in read: {what}");
                return Err(EngineError::Source {
                    source_name: entry.source.clone(),
                    input: entry.sha256.short(),
                    error: Box::new(PluginError::new(Status::Internal, "PLUGIN_COUNTS", message)),
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
                let count = of_source.filtered_by.entry(rule.clone()).or_default();
                *count = count.saturating_add(*n);
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
        (times, scopes): (&Times, &HashMap<u32, String>),
    ) -> Result<Vec<Settled>, EngineError> {
        let ranges = shuffle.ranges();
        let vault = self.session.vault.root();
        let known = &self.session.state.events;
        in_parallel(ranges.count(), self.options.threads, |range| {
            self.check_cancelled()?;
            let mut out = Vec::new();
            for (of, events) in shuffle.take(range)? {
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
                    times,
                    scopes,
                    events,
                    dictionaries: shuffle.dictionaries(),
                })?);
            }
            Ok(out)
        })
        .map(|parts| parts.into_iter().flatten().collect())
    }
}

/// An input that was read before, and must be read again, is not what it was.
fn unreadable_input(error: VaultError) -> EngineError {
    EngineError::Refused {
        reason: match &error {
            VaultError::Original { .. } => error.to_string(),
            _ => format!("what the vault keeps of the inputs is damaged: {error}"),
        },
        advice: match &error {
            VaultError::Original { .. } => PUT_BACK,
            _ => "restore the folder `inputs` of the vault from a backup, then run again",
        }
        .to_owned(),
    }
}

/// A kept input, as sources read it.
pub struct VaultInput {
    /// Its path as the pipeline sees it.
    pub name: String,
    /// What the source's pattern captured.
    pub captures: BTreeMap<String, String>,
    /// Its bytes.
    pub kept: KeptInput,
    /// Which input could not be read, where it was one.
    pub unreadable: Arc<OnceLock<Digest>>,
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
        let read = self.kept.read_at(offset, buf);
        if read.is_err() {
            self.unreadable.get_or_init(|| self.kept.sha256());
        }
        read
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
