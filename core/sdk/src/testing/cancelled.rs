//! Calls that are cancelled while they last: they end in time, and what they pushed before is where the whole begins.

use super::{CollectedRecords, CollectedRows};
use crate::{
    BoundSource, BoundTransform, IdentityLink, Input, PluginError, RecordBatchOf, RecordSink, Rejection, Split, Status,
    TaskContext,
};
use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
};
use std::{
    collections::BTreeMap,
    io,
    sync::OnceLock,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How soon a cancelled call ends. The header asks plugins to look every 100 ms.
pub const SOON: Duration = Duration::from_secs(1);
/// How long a call lasts before it is cancelled.
pub const MIDWAY: Duration = Duration::from_millis(100);
/// Rows of a batch that a transform is not done with at once.
const MANY: usize = 500_000;
/// Rows of a batch of a refresh.
const OF_A_REFRESH: usize = 65_536;

/// What a call did that was cancelled midway: `None` when it had ended before.
pub type Midway = Option<Vec<String>>;

/// Runs a call, and cancels it midway. It says when it begins: what comes before, such as the start of a process, is no part of
/// it.
fn midway(call: impl FnOnce(&AtomicBool, &dyn Fn()) -> Result<(), PluginError>) -> Midway {
    let cancelled = AtomicBool::new(false);
    let ended = AtomicBool::new(false);
    let began: OnceLock<Instant> = OnceLock::new();
    let lasted = || began.get().map_or(Duration::ZERO, Instant::elapsed);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            while lasted() < MIDWAY && !ended.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
            cancelled.store(true, Ordering::Relaxed);
        });
        let outcome = call(&cancelled, &|| {
            began.get_or_init(Instant::now);
        });
        ended.store(true, Ordering::Relaxed);
        outcome
    });
    let took = lasted();
    let mut wrong = Vec::new();
    if took > MIDWAY + SOON {
        let late = (took - MIDWAY).as_millis();
        wrong.push(format!("a call went on for {late} ms after it was cancelled"));
    }
    if let Err(error) = outcome
        && is_lost(&error)
    {
        wrong.push(error.message);
    }
    // One that was lost before is told; one that ended well before was not cancelled.
    (took >= MIDWAY || !wrong.is_empty()).then_some(wrong)
}

/// Whether a failure is the plugin's own, whatever it was given.
pub fn is_lost(error: &PluginError) -> bool {
    matches!(error.status, Status::Panic | Status::Timeout)
        || (error.status != Status::Cancelled && error.is_of_boundary())
}

/// An input that has no end, or a far one: the same bytes over and over.
struct Endless<'a> {
    of: &'a dyn Input,
    bytes: Vec<u8>,
    size: u64,
}

impl<'a> Endless<'a> {
    fn of(input: &'a dyn Input, size: u64) -> Option<Self> {
        let mut bytes = vec![0; usize::try_from(input.size()).ok()?];
        let read = input.read_at(0, &mut bytes).ok()?;
        bytes.truncate(read);
        (!bytes.is_empty()).then_some(Self { of: input, bytes, size })
    }
}

impl Input for Endless<'_> {
    fn name(&self) -> &str {
        self.of.name()
    }
    fn captures(&self) -> &BTreeMap<String, String> {
        self.of.captures()
    }
    fn size(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let most = left.min(buf.len());
        let mut at = usize::try_from(offset % self.bytes.len() as u64).unwrap_or(0);
        let mut filled = 0;
        while filled < most {
            let n = (self.bytes.len() - at).min(most - filled);
            buf[filled..filled + n].copy_from_slice(&self.bytes[at..at + n]);
            (filled, at) = (filled + n, 0);
        }
        Ok(most)
    }
}

/// Forgets what is pushed.
struct Nothing;

impl RecordSink for Nothing {
    fn rows(&mut self, _: RecordBatchOf) -> Result<(), PluginError> {
        Ok(())
    }
    fn reject(&mut self, _: Rejection) -> Result<(), PluginError> {
        Ok(())
    }
    fn filtered(&mut self, _: &str, _: u64) {}
    fn link(&mut self, _: IdentityLink) -> Result<(), PluginError> {
        Ok(())
    }
    fn progress(&mut self, _: u64) {}
}

/// Cancels a source in the midst of an input that has no end.
pub fn source(source: &dyn BoundSource, input: &dyn Input) -> Midway {
    let endless = Endless::of(input, 1 << 33)?;
    midway(|cancelled, begins| {
        begins();
        let task = TaskContext {
            cancelled,
            batch_rows: 1024,
        };
        source.read(&endless, &Split::whole(&endless), &task, &mut Nothing)
    })
}

/// Bytes of an input that is worth cutting.
const LARGE: u64 = 1 << 27;

/// How a source cuts a large input: all of it, in order. `None` when it says that the input is none of its kind.
pub fn cuts(source: &dyn BoundSource, input: &dyn Input) -> Midway {
    let large = Endless::of(input, LARGE)?;
    match source.splits(&large) {
        Ok(splits) if Split::cover(&splits, LARGE) => Some(Vec::new()),
        Ok(_) => {
            let what = "its splits are not all of the input: each is to begin where the one before it ends, from 0 to its size";
            Some(vec![what.to_owned()])
        }
        Err(error) if error.is_of_boundary() => Some(vec![error.message]),
        Err(_) => None,
    }
}

/// Gives a transform a batch as large as in a refresh, and cancels it in the midst of a larger one.
pub fn transform(step: &dyn BoundTransform, batch: &RecordBatch) -> Midway {
    let rows = u32::try_from(batch.num_rows()).ok().filter(|rows| *rows > 0)?;
    let of = |many: usize| {
        let many: UInt32Array = (0..rows).cycle().take(many).collect::<Vec<u32>>().into();
        take_record_batch(batch, &many).ok()
    };
    let run = |large: &RecordBatch, cancelled: &AtomicBool, begins: &dyn Fn()| {
        let task = TaskContext {
            cancelled,
            batch_rows: large.num_rows(),
        };
        let mut run = step.open(&task)?;
        begins();
        run.process(large, &mut CollectedRows::default())
    };
    let whole = run(&of(OF_A_REFRESH)?, &AtomicBool::new(false), &|| {});
    if let Err(error) = whole
        && is_lost(&error)
    {
        return Some(vec![format!("a batch of {OF_A_REFRESH} rows: {}", error.message)]);
    }
    let large = of(MANY)?;
    midway(|cancelled, begins| run(&large, cancelled, begins))
}

/// Keeps what is pushed, and cancels at the first batch.
struct Stops<'a> {
    kept: CollectedRecords,
    cancelled: &'a AtomicBool,
}

impl RecordSink for Stops<'_> {
    fn rows(&mut self, batch: RecordBatchOf) -> Result<(), PluginError> {
        self.cancelled.store(true, Ordering::Relaxed);
        self.kept.rows(batch)
    }
    fn reject(&mut self, rejection: Rejection) -> Result<(), PluginError> {
        self.kept.reject(rejection)
    }
    fn filtered(&mut self, rule: &str, count: u64) {
        self.kept.filtered(rule, count);
    }
    fn link(&mut self, link: IdentityLink) -> Result<(), PluginError> {
        self.kept.link(link)
    }
    fn progress(&mut self, bytes: u64) {
        self.kept.progress(bytes);
    }
}

/// Whether a source goes forward: what it has pushed when it is cancelled is where the whole begins, and it does not say
/// that more of the input is done than there is. `None` when it pushes no rows.
pub fn goes_forward(source: &dyn BoundSource, input: &dyn Input) -> Midway {
    let read = |cancelled: &AtomicBool, sink: &mut dyn RecordSink| {
        let task = TaskContext {
            cancelled,
            batch_rows: 1,
        };
        source.read(input, &Split::whole(input), &task, sink)
    };
    let mut whole = CollectedRecords::default();
    read(&AtomicBool::new(false), &mut whole).ok()?;
    let cancelled = AtomicBool::new(false);
    let mut begin = Stops {
        kept: CollectedRecords::default(),
        cancelled: &cancelled,
    };
    let _ = read(&cancelled, &mut begin);
    let begin = begin.kept;
    if whole.batches.is_empty() {
        return None;
    }
    let mut wrong = Vec::new();
    if whole.bytes > input.size() || begin.bytes > whole.bytes {
        wrong.push("it says that more of the input is done than there is".into());
    }
    for (kind, record) in source.records().iter().enumerate() {
        let rows = |of: &CollectedRecords| {
            let batches: Vec<&RecordBatch> = of.batches.iter().filter(|b| b.kind == kind).map(|b| &b.rows).collect();
            concat_batches(&record.schema, batches).ok()
        };
        let (Some(all), Some(first)) = (rows(&whole), rows(&begin)) else {
            continue;
        };
        if first.num_rows() > all.num_rows() || all.slice(0, first.num_rows()) != first {
            wrong.push("what it pushes before it is cancelled is not where the whole begins".into());
        }
    }
    Some(wrong)
}
