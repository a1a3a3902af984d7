//! The shuffle: events cut by bucket range, held in memory up to a budget, then in staging files of the vault.

use super::{
    dictionary::{Dictionaries, Encoder, Texts, alike, without_full},
    runs::{Part, Run, ascending, runs_of_parts},
    staged::{Staged, Stamp},
};
use crate::error::EngineError;
use arrow::{
    array::RecordBatch,
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use clinmill_model::{BUCKETS, bucket_of};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
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
    /// By range, the kinds that have a staging file.
    spills: Vec<Mutex<BTreeSet<KindOf>>>,
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
        let runs: Vec<Run> = ascending(runs).into_iter().map(|run| run.run).collect();
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
                spills.insert(of);
                append(&self.spilled(range, of), parts, texts)?;
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
        for of in std::mem::take(&mut *lock(&self.spills[range])) {
            read_back(&self.spilled(range, of), out.entry(of).or_default())?;
        }
        for (of, parts) in std::mem::take(&mut lock(&self.held).ranges[range]) {
            out.entry(of).or_default().extend(parts);
        }
        Ok(out)
    }

    fn spilled(&self, range: usize, of: KindOf) -> PathBuf {
        self.staging.join(format!("shuffle-{range}-{}-{}.arrows", of.0, of.1))
    }
}

/// Appends events to a staging file, as streams of one form each: columns that were numbers of texts may be texts by now. No
/// file stays open: there are as many as ranges times kinds.
fn append(path: &Path, parts: Vec<Part>, texts: &BTreeMap<usize, Texts>) -> Result<(), EngineError> {
    let file = File::options().append(true).create(true).open(path);
    let mut out = BufWriter::with_capacity(1 << 16, file.map_err(|e| EngineError::io("write", path, e))?);
    let mut parts = parts.into_iter();
    let mut packed = || {
        let Part { events, rows } = parts.next()?;
        let mut events = events.slice(rows);
        Some(without_full(&events.texts, texts).and_then(|plain| {
            events.texts = plain;
            events.pack()
        }))
    };
    let mut next = packed().transpose()?;
    while let Some(first) = next {
        let mut stream = StreamWriter::try_new(&mut out, first.schema_ref()).map_err(unwritten(path))?;
        stream.write(&first).map_err(unwritten(path))?;
        next = packed().transpose()?;
        while let Some(more) = next.take_if(|more| more.schema_ref() == first.schema_ref()) {
            stream.write(&more).map_err(unwritten(path))?;
            next = packed().transpose()?;
        }
        stream.finish().map_err(unwritten(path))?;
    }
    out.flush().map_err(|e| EngineError::io("write", path, e))
}

fn read_back(path: &Path, parts: &mut Vec<Part>) -> Result<(), EngineError> {
    let unread = |e| EngineError::io("read", path, e);
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(unread)?);
    while !file.fill_buf().map_err(unread)?.is_empty() {
        for batch in StreamReader::try_new(&mut file, None)? {
            let events = Arc::new(Staged::unpack(&batch?)?);
            let rows = 0..events.len();
            parts.push(Part { events, rows });
        }
    }
    std::fs::remove_file(path).map_err(|e| EngineError::io("delete", path, e))
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
