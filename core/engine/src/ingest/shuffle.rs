//! The shuffle: events cut by bucket range, held in memory up to a budget, then in staging files of the vault.

use super::{
    dictionary::{Dictionaries, Encoder, alike, without_full},
    runs::{Part, Run, ascending, runs_of_parts},
    staged::{Staged, Stamp},
};
use crate::error::EngineError;
use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use clinmill_model::{BUCKETS, bucket_of};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A partition of all buckets into contiguous ranges of equal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    count: u16,
}

impl Ranges {
    /// Ranges such that each holds about `target` of `total`: a power of two, at most `most`.
    pub fn new(total: u64, target: u64, most: u16) -> Self {
        let most = most.clamp(1, BUCKETS);
        let count = total
            .div_ceil(target.max(1))
            .clamp(1, u64::from(most))
            .next_power_of_two();
        Self {
            count: count.min(u64::from(BUCKETS)) as u16,
        }
    }

    /// How many.
    pub fn count(self) -> usize {
        usize::from(self.count)
    }

    /// Lowest and highest bucket of range `i`.
    pub fn bounds(self, i: usize) -> (u16, u16) {
        let width = BUCKETS / self.count;
        let lo = i as u16 * width;
        (lo, lo + width - 1)
    }

    /// The range of a bucket.
    pub fn of(self, bucket: u16) -> usize {
        usize::from(bucket / (BUCKETS / self.count))
    }
}

/// Source and record kind.
pub type KindOf = (usize, usize);

/// Takes events from all readers at once.
pub struct Shuffle {
    ranges: Ranges,
    held: Mutex<Held>,
    /// Bytes of events that are held or on their way into staging files.
    bytes: AtomicUsize,
    budget: usize,
    staging: PathBuf,
    /// By range.
    spills: Vec<Mutex<BTreeMap<KindOf, Spills>>>,
    dictionaries: Dictionaries,
}

#[derive(Default)]
struct Held {
    ranges: Vec<BTreeMap<KindOf, Vec<Part>>>,
    bytes: usize,
}

/// Collects the events of many small inputs on their way into the shuffle; one for each reading thread.
pub struct Collector<'a> {
    shuffle: &'a Shuffle,
    encoder: Encoder<'a>,
    held: BTreeMap<KindOf, Together>,
}

/// Events that go into the shuffle together, at least; fewer where they have so many bytes.
const TOGETHER: usize = 16_384;
const TOGETHER_BYTES: usize = 8 << 20;

#[derive(Default)]
struct Together {
    rows: usize,
    bytes: usize,
    parts: Vec<Staged>,
}

impl<'a> Collector<'a> {
    /// An empty one.
    pub fn new(shuffle: &'a Shuffle) -> Self {
        Self {
            shuffle,
            encoder: Encoder::new(&shuffle.dictionaries),
            held: BTreeMap::new(),
        }
    }

    /// Takes the events of one kind.
    ///
    /// # Errors
    /// As [`Shuffle::push`].
    pub fn push(&mut self, of: KindOf, events: Staged) -> Result<(), EngineError> {
        let events = Staged {
            texts: self.encoder.encode(of, &events.texts)?,
            ..events
        };
        let bytes = events.bytes();
        let held = self.held.entry(of).or_default();
        if bytes >= TOGETHER_BYTES {
            // Together they might be more than a column can hold.
            self.shuffle.push(of, std::mem::take(held).parts)?;
        }
        held.rows += events.len();
        held.bytes += bytes;
        held.parts.push(events);
        if held.rows >= TOGETHER || held.bytes >= TOGETHER_BYTES {
            self.shuffle.push(of, std::mem::take(held).parts)?;
        }
        Ok(())
    }

    /// Passes on what is left.
    ///
    /// # Errors
    /// As [`Shuffle::push`].
    pub fn finish(mut self) -> Result<(), EngineError> {
        for (of, held) in std::mem::take(&mut self.held) {
            self.shuffle.push(of, held.parts)?;
        }
        Ok(())
    }
}

/// The staging files of one kind's events in one range. Columns that were numbers of texts may be texts later: each form has
/// a file of its own, of which that of the form that came last is open, so that a wide table does not open one for each.
#[derive(Default)]
struct Spills {
    open: Option<Spill>,
    closed: Vec<PathBuf>,
}

/// Events of one form in a staging file.
struct Spill {
    path: PathBuf,
    schema: SchemaRef,
    writer: StreamWriter<BufWriter<File>>,
}

impl Spills {
    fn write(&mut self, events: &RecordBatch, file: impl FnOnce(usize) -> PathBuf) -> Result<(), EngineError> {
        if self.open.as_ref().is_some_and(|open| open.schema != events.schema()) {
            self.close()?;
        }
        let spill = match &mut self.open {
            Some(open) => open,
            none => none.insert(Spill::create(file(self.closed.len()), events.schema())?),
        };
        spill.writer.write(events).map_err(unwritten(&spill.path))
    }

    fn close(&mut self) -> Result<(), EngineError> {
        if let Some(mut spill) = self.open.take() {
            spill.writer.finish().map_err(unwritten(&spill.path))?;
            self.closed.push(spill.path);
        }
        Ok(())
    }

    fn read_back(mut self, parts: &mut Vec<Part>) -> Result<(), EngineError> {
        self.close()?;
        for path in &self.closed {
            let file = File::open(path).map_err(|e| EngineError::io("read", path, e))?;
            for batch in StreamReader::try_new(BufReader::with_capacity(1 << 16, file), None)? {
                let events = Arc::new(Staged::unpack(&batch?)?);
                let rows = 0..events.len();
                parts.push(Part { events, rows });
            }
            std::fs::remove_file(path).map_err(|e| EngineError::io("delete", path, e))?;
        }
        Ok(())
    }
}

impl Spill {
    fn create(path: PathBuf, schema: SchemaRef) -> Result<Self, EngineError> {
        let file = File::create(&path).map_err(|e| EngineError::io("write", &path, e))?;
        let out = BufWriter::with_capacity(1 << 16, file);
        let writer = StreamWriter::try_new(out, &schema).map_err(unwritten(&path))?;
        Ok(Self { path, schema, writer })
    }
}

impl Shuffle {
    /// A shuffle that holds at most `budget` bytes and puts the rest into files under `staging`.
    pub fn new(ranges: Ranges, budget: usize, staging: &Path) -> Self {
        Self {
            ranges,
            held: Mutex::new(Held::of(ranges)),
            bytes: AtomicUsize::new(0),
            budget,
            staging: staging.to_path_buf(),
            spills: (0..ranges.count()).map(|_| Mutex::default()).collect(),
            dictionaries: Dictionaries::default(),
        }
    }

    /// The ranges.
    pub fn ranges(&self) -> Ranges {
        self.ranges
    }

    /// The dictionaries that columns of events have.
    pub fn dictionaries(&self) -> &Dictionaries {
        &self.dictionaries
    }

    /// Takes events of one kind.
    ///
    /// # Errors
    /// When the staging folder cannot be written.
    pub fn push(&self, of: KindOf, parts: Vec<Staged>) -> Result<(), EngineError> {
        let Some(events) = self.sorted(of, parts)? else {
            return Ok(());
        };
        let events = Arc::new(events);
        let bytes = events.bytes();
        let range = |stamp: &Stamp| self.ranges.of(bucket_of(&stamp.subject));
        let mut start = 0;
        let mut held = lock(&self.held);
        for stamps in events.stamps.chunk_by(|a, b| range(a) == range(b)) {
            let rows = start..start + stamps.len();
            start = rows.end;
            if let Some(first) = stamps.first() {
                let parts = held.ranges[range(first)].entry(of).or_default();
                let events = events.clone();
                parts.push(Part { events, rows });
            }
        }
        held.bytes += bytes;
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.budget {
            return Ok(());
        }
        let all = std::mem::replace(&mut *held, Held::of(self.ranges));
        drop(held);
        self.spill(all)
    }

    /// The events in the order of their subjects' ids, and so of ranges, while they are near: what is read from several such
    /// parts later is read from the front of each to its end. `None` of nothing.
    fn sorted(&self, of: KindOf, mut parts: Vec<Staged>) -> Result<Option<Staged>, EngineError> {
        parts.retain(|part| part.len() > 0);
        let runs = runs_of_parts(parts.iter().map(|part| (part, 0..part.len())));
        if parts.len() < 2 && runs.is_sorted() {
            return Ok(parts.pop());
        }
        let runs: Vec<Run> = ascending(runs).into_iter().map(|(_, run)| run).collect();
        let texts = alike(
            &self.dictionaries,
            of,
            parts.iter().map(|part| part.texts.clone()).collect(),
        )?;
        let texts: Vec<&RecordBatch> = texts.iter().collect();
        Ok(Some(Staged::gather(&parts.iter().collect::<Vec<_>>(), &texts, &runs)?))
    }

    fn spill(&self, all: Held) -> Result<(), EngineError> {
        let mut dictionaries = BTreeMap::new();
        for (range, kinds) in all.ranges.into_iter().enumerate() {
            for (of, parts) in kinds {
                let texts = dictionaries.entry(of).or_insert_with(|| self.dictionaries.texts(of));
                let mut spills = lock(&self.spills[range]);
                let spills = spills.entry(of).or_default();
                for Part { events, rows } in parts {
                    let mut events = events.slice(rows);
                    events.texts = without_full(&events.texts, 0..events.len(), texts)?;
                    let file = |n| {
                        self.staging
                            .join(format!("shuffle-{range}-{}-{}-{n}.arrows", of.0, of.1))
                    };
                    spills.write(&events.pack()?, file)?;
                }
            }
        }
        self.bytes.fetch_sub(all.bytes, Ordering::Relaxed);
        Ok(())
    }

    /// All events of one range, by kind. To be called once for each range, when all readers are done.
    ///
    /// # Errors
    /// When a staging file cannot be read back.
    pub fn take(&self, range: usize) -> Result<BTreeMap<KindOf, Vec<Part>>, EngineError> {
        let mut out: BTreeMap<KindOf, Vec<Part>> = BTreeMap::new();
        for (of, spills) in std::mem::take(&mut *lock(&self.spills[range])) {
            let parts = out.entry(of).or_default();
            spills.read_back(parts)?;
        }
        for (of, parts) in std::mem::take(&mut lock(&self.held).ranges[range]) {
            out.entry(of).or_default().extend(parts);
        }
        Ok(out)
    }
}

impl Held {
    fn of(ranges: Ranges) -> Self {
        Self {
            ranges: (0..ranges.count()).map(|_| BTreeMap::new()).collect(),
            bytes: 0,
        }
    }
}

/// A staging file that cannot be written: a full disk is told as one.
fn unwritten(path: &Path) -> impl FnOnce(ArrowError) -> EngineError {
    move |error| match error {
        ArrowError::IoError(_, source) => EngineError::io("write", path, source),
        error => error.into(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
