//! Ingest: from the bytes of the pending inputs to event files in the vault.
//!
//! Inputs are read in parallel; what comes out is cut by bucket range ([`shuffle`]), and each range is then sorted,
//! freed of duplicates and written once ([`settle`]).

mod dictionary;
mod events;
mod file;
mod gather;
mod runs;
mod settle;
mod shuffle;
mod staged;
mod subjects;
mod versions;

pub use events::{EventBuilder, EventSink};
pub use settle::{SettleTask, Settled, settle};
use shuffle::Collector;
pub use shuffle::{Ranges, Shuffle};
pub use staged::Times;
pub use subjects::{Subjects, subject_id};
pub use versions::{Disorder, Versions};

use crate::error::EngineError;
use clinmill_catalog::vault::VaultKey;
use clinmill_model::Digest;
use clinmill_sdk::{
    BoundSource, IdentityLink, Input, PluginError, RecordBatchOf, RecordKind, RecordSink, Rejection, Split, TaskContext,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// A source as ingest sees it.
pub struct IngestSource {
    /// Its name in the pipeline.
    pub name: String,
    /// The plugin with its options.
    pub bound: Arc<dyn BoundSource>,
    /// The parse generation.
    pub parse_id: Digest,
}

impl IngestSource {
    /// The record kinds it yields.
    pub fn kinds(&self) -> &[RecordKind] {
        self.bound.records()
    }
}

/// An input to read.
pub struct IngestInput {
    /// Index of its source.
    pub source: usize,
    /// Its number in the ledger.
    pub number: u32,
    /// The time it speaks of.
    pub as_of: Option<String>,
    /// Its size in bytes.
    pub size: u64,
}

/// Opens the input of this index. There may be more inputs than files that a process may have open.
pub type Open<'a> = dyn Fn(usize) -> Result<Arc<dyn Input>, EngineError> + Sync + 'a;

/// Only inputs of more bytes are worth cutting.
const CUT_ABOVE: u64 = 4 << 20;

/// What came of the records of one input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read.
    pub read: u64,
    /// Events written.
    pub written: u64,
    /// Records that were known already.
    pub duplicates: u64,
    /// Records in quarantine.
    pub rejected: u64,
    /// Records left out by a named rule.
    pub filtered: u64,
}

impl Counts {
    /// Adds another input's counts. A plugin says what it filtered, and may say anything: sums stop at the largest number.
    pub fn add(&mut self, other: &Self) {
        self.read = self.read.saturating_add(other.read);
        self.written = self.written.saturating_add(other.written);
        self.duplicates = self.duplicates.saturating_add(other.duplicates);
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.filtered = self.filtered.saturating_add(other.filtered);
    }

    /// True when every record read is accounted for.
    pub fn balance(&self) -> bool {
        let told = [self.written, self.duplicates, self.rejected, self.filtered];
        self.read == told.into_iter().fold(0, u64::saturating_add)
    }
}

/// What reading one input gave, before duplicates are known.
#[derive(Default)]
pub struct InputReport {
    /// The counts; `written` and `duplicates` are filled by [`settle`].
    pub counts: Counts,
    /// Rejected records.
    pub rejections: Vec<Rejection>,
    /// Rejections beyond [`KEPT_REJECTIONS`], by code: counted, not kept one by one.
    pub more_rejections: BTreeMap<String, u64>,
    /// Filtered records by rule.
    pub filtered: BTreeMap<String, u64>,
    /// Identity links.
    pub links: Vec<IdentityLink>,
    /// What the versions of its records look like.
    pub versions: Versions,
    /// Why the input was given up.
    pub failed: Option<PluginError>,
}

/// How many rejections of one input are kept one by one.
pub const KEPT_REJECTIONS: usize = 100_000;

/// What a refresh tells of its progress while it reads.
pub trait IngestProgress: Sync {
    /// Bytes read since the last call.
    fn bytes(&self, n: u64);
    /// Records read since the last call.
    fn records(&self, n: u64);
    /// One more input is done.
    fn input_done(&self);
}

/// Reads all inputs, on `threads` threads, into the shuffle. The reports are in the order of the inputs.
///
/// # Errors
/// When the task was cancelled, an input cannot be opened or the staging area cannot be written. A bad input is no
/// error: its report says so.
#[allow(clippy::too_many_arguments)]
pub fn read_inputs(
    sources: &[IngestSource],
    inputs: &[IngestInput],
    open: &Open<'_>,
    shuffle: &Shuffle,
    key: &VaultKey,
    threads: usize,
    cancelled: &AtomicBool,
    progress: &dyn IngestProgress,
) -> Result<Vec<InputReport>, EngineError> {
    let reports: Vec<Mutex<InputReport>> = inputs.iter().map(|_| Mutex::default()).collect();
    let mut tasks: Vec<(usize, Split)> = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        if input.size <= CUT_ABOVE {
            let whole = Split {
                start: 0,
                end: input.size,
            };
            tasks.push((i, whole));
            continue;
        }
        match splits(sources[input.source].bound.as_ref(), open(i)?.as_ref()) {
            Ok(splits) => tasks.extend(splits.into_iter().map(|split| (i, split))),
            Err(error) => lock(&reports[i]).failed = Some(error),
        }
    }
    let mut left = vec![0; inputs.len()];
    tasks.iter().for_each(|(i, _)| left[*i] += 1);
    let left: Vec<AtomicUsize> = left.into_iter().map(AtomicUsize::new).collect();
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<EngineError>> = Mutex::new(None);
    let work = || {
        let mut collector = Collector::new(shuffle);
        let mut subjects = Subjects::new(key);
        let fail = |error| {
            lock(&failure).get_or_insert(error);
        };
        while let Some(&(i, split)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            if lock(&failure).is_some() {
                return;
            }
            let result = read_split(
                sources,
                &inputs[i],
                &|| open(i),
                &split,
                &mut collector,
                &mut subjects,
                cancelled,
                progress,
                &reports[i],
            );
            if let Err(error) = result {
                return fail(error);
            }
            if left[i].fetch_sub(1, Ordering::Relaxed) == 1 {
                progress.input_done();
            }
        }
        if let Err(error) = collector.finish() {
            fail(error);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(tasks.len()) {
            scope.spawn(work);
        }
        work();
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        return Err(error);
    }
    Ok(reports
        .into_iter()
        .map(|r| r.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
        .collect())
}

/// The parts of an input, as its source cuts it. A byte that is in none of them, or in two, would be rows that are missing or
/// there twice.
///
/// # Errors
/// `PLUGIN_SPLITS` when they are not all of it; what the source says when it cannot cut it.
pub fn splits(source: &dyn BoundSource, input: &dyn Input) -> Result<Vec<Split>, PluginError> {
    let splits = source.splits(input)?;
    match Split::cover(&splits, input.size()) {
        true => Ok(splits),
        false => Err(PluginError::new(
            clinmill_sdk::Status::Internal,
            "PLUGIN_SPLITS",
            "the plugin's splits are not all of the input: each is to begin where the one before it ends, from 0 to its size",
        )),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[allow(clippy::too_many_arguments)]
fn read_split<'c>(
    sources: &[IngestSource],
    input: &IngestInput,
    open: &dyn Fn() -> Result<Arc<dyn Input>, EngineError>,
    split: &Split,
    collector: &mut Collector<'c>,
    subjects: &mut Subjects<'c>,
    cancelled: &AtomicBool,
    progress: &dyn IngestProgress,
    report: &Mutex<InputReport>,
) -> Result<(), EngineError> {
    let source = &sources[input.source];
    let bytes = open()?;
    let mut sink = SplitSink {
        builder: EventBuilder::new(source.kinds(), input.number),
        subjects,
        source: input.source,
        collector,
        progress,
        report: InputReport::default(),
        staging: None,
    };
    let task = TaskContext {
        cancelled,
        batch_rows: 16_384,
    };
    // A panic of a parser that is linked in costs its input, not the refresh.
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        source.bound.read(bytes.as_ref(), split, &task, &mut sink)
    }));
    let outcome = read.unwrap_or_else(|_| {
        let status = clinmill_sdk::Status::Panic;
        Err(PluginError::new(
            status,
            "PLUGIN_PANIC",
            "the source plugin panicked on this input",
        ))
    });
    if let Some(error) = sink.staging.take() {
        return Err(error);
    }
    match outcome {
        Ok(()) => {}
        Err(error) if error.status == clinmill_sdk::Status::Cancelled => return Err(EngineError::Cancelled),
        Err(error) => sink.report.failed = Some(error),
    }
    lock(report).merge(sink.report);
    Ok(())
}

impl InputReport {
    fn merge(&mut self, other: Self) {
        self.counts.add(&other.counts);
        for rejection in other.rejections {
            self.reject(rejection);
        }
        for (code, n) in other.more_rejections {
            *self.more_rejections.entry(code).or_default() += n;
        }
        for (rule, n) in other.filtered {
            self.count_filtered(rule, n);
        }
        self.links.extend(other.links);
        self.versions.merge(&other.versions);
        self.failed = self.failed.take().or(other.failed);
    }

    fn count_filtered(&mut self, rule: String, n: u64) {
        let count = self.filtered.entry(rule).or_default();
        *count = count.saturating_add(n);
    }

    fn reject(&mut self, rejection: Rejection) {
        if self.rejections.len() < KEPT_REJECTIONS {
            self.rejections.push(rejection);
        } else {
            *self.more_rejections.entry(rejection.code).or_default() += 1;
        }
    }
}

struct SplitSink<'a, 'c> {
    builder: EventBuilder<'a>,
    subjects: &'a mut Subjects<'c>,
    source: usize,
    collector: &'a mut Collector<'c>,
    progress: &'a dyn IngestProgress,
    report: InputReport,
    /// Why staging failed: not the plugin's fault.
    staging: Option<EngineError>,
}

impl SplitSink<'_, '_> {
    fn fail(&mut self, error: EngineError) -> PluginError {
        self.staging = Some(error);
        PluginError::new(
            clinmill_sdk::Status::ResourceExhausted,
            "STAGING",
            "the host cannot take more rows",
        )
    }
}

impl RecordSink for SplitSink<'_, '_> {
    fn rows(&mut self, batch: RecordBatchOf) -> Result<(), PluginError> {
        let n = batch.rows.num_rows() as u64;
        if n == 0 {
            return Ok(());
        }
        self.report.counts.read = self.report.counts.read.saturating_add(n);
        self.progress.records(n);
        let kind = batch.kind;
        self.report.versions.add(&batch.meta.version);
        let built = self.builder.build(batch, self.subjects)?;
        for at in built.without_subject {
            self.report.counts.rejected += 1;
            self.report.reject(Rejection {
                kind: Some(kind),
                code: "NO_SUBJECT".to_owned(),
                message: "the record names no subject".to_owned(),
                at,
            });
        }
        self.collector
            .push((self.source, kind), built.events)
            .map_err(|e| self.fail(e))
    }

    fn reject(&mut self, rejection: Rejection) -> Result<(), PluginError> {
        self.report.counts.read = self.report.counts.read.saturating_add(1);
        self.report.counts.rejected += 1;
        self.report.reject(rejection);
        Ok(())
    }

    fn filtered(&mut self, rule: &str, count: u64) {
        self.report.counts.add(&Counts {
            read: count,
            filtered: count,
            ..Counts::default()
        });
        self.report.count_filtered(rule.to_owned(), count);
    }

    fn link(&mut self, link: IdentityLink) -> Result<(), PluginError> {
        if link.survivor.id.is_empty() || link.retired.id.is_empty() {
            return self.reject(Rejection {
                kind: None,
                code: "NO_SUBJECT".to_owned(),
                message: "the merge does not name both identifiers".to_owned(),
                at: link.at,
            });
        }
        self.report.counts.read = self.report.counts.read.saturating_add(1);
        self.report.links.push(link);
        Ok(())
    }

    fn progress(&mut self, bytes: u64) {
        self.progress.bytes(bytes);
    }
}

#[cfg(test)]
mod tests;
