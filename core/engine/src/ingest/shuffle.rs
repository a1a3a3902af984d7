//! The shuffle: events cut by bucket range, held in memory up to a budget, then in staging files of the vault.

use super::staged::{Staged, packed_schema};
use crate::error::EngineError;
use arrow::ipc::{reader::StreamReader, writer::StreamWriter};
use clinmill_model::{BUCKETS, bucket_of};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
    sync::Mutex,
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
    slots: Vec<Mutex<Slot>>,
    budget_per_slot: usize,
    staging: PathBuf,
}

/// Collects the events of many small inputs on their way into the shuffle; one for each reading thread.
pub struct Collector<'a> {
    shuffle: &'a Shuffle,
    held: BTreeMap<KindOf, (usize, Vec<Staged>)>,
}

/// Events that go into the shuffle together, at least.
const TOGETHER: usize = 16_384;

impl<'a> Collector<'a> {
    /// An empty one.
    pub fn new(shuffle: &'a Shuffle) -> Self {
        Self {
            shuffle,
            held: BTreeMap::new(),
        }
    }

    /// Takes the events of one kind.
    ///
    /// # Errors
    /// As [`Shuffle::push`].
    pub fn push(&mut self, of: KindOf, events: Staged) -> Result<(), EngineError> {
        let (rows, parts) = self.held.entry(of).or_default();
        *rows += events.len();
        parts.push(events);
        if *rows >= TOGETHER {
            let (_, parts) = self.held.remove(&of).unwrap_or_default();
            self.pass(of, parts)?;
        }
        Ok(())
    }

    /// Passes on what is left.
    ///
    /// # Errors
    /// As [`Shuffle::push`].
    pub fn finish(mut self) -> Result<(), EngineError> {
        for (of, (_, parts)) in std::mem::take(&mut self.held) {
            self.pass(of, parts)?;
        }
        Ok(())
    }

    fn pass(&self, of: KindOf, mut parts: Vec<Staged>) -> Result<(), EngineError> {
        let all = match parts.len() {
            1 => parts.pop(),
            _ => Staged::concat(&parts)?,
        };
        all.map_or(Ok(()), |all| self.shuffle.push(of.0, of.1, all))
    }
}

#[derive(Default)]
struct Slot {
    held: BTreeMap<KindOf, Vec<Staged>>,
    bytes: usize,
    spilled: BTreeMap<KindOf, Spill>,
}

struct Spill {
    path: PathBuf,
    writer: StreamWriter<BufWriter<File>>,
}

impl Shuffle {
    /// A shuffle that holds at most `budget` bytes and puts the rest into files under `staging`.
    pub fn new(ranges: Ranges, budget: usize, staging: &Path) -> Self {
        Self {
            ranges,
            slots: (0..ranges.count()).map(|_| Mutex::default()).collect(),
            budget_per_slot: budget / ranges.count(),
            staging: staging.to_path_buf(),
        }
    }

    /// The ranges.
    pub fn ranges(&self) -> Ranges {
        self.ranges
    }

    /// Takes the events of one kind.
    ///
    /// # Errors
    /// When the staging folder cannot be written.
    pub fn push(&self, source: usize, kind: usize, events: Staged) -> Result<(), EngineError> {
        if events.len() == 0 {
            return Ok(());
        }
        if self.ranges.count() == 1 {
            return self.put(0, (source, kind), events);
        }
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.ranges.count()];
        for (i, stamp) in events.stamps.iter().enumerate() {
            rows[self.ranges.of(bucket_of(&stamp.subject))].push(i as u32);
        }
        for (range, rows) in rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            self.put(range, (source, kind), events.take(rows)?)?;
        }
        Ok(())
    }

    fn put(&self, range: usize, of: KindOf, events: Staged) -> Result<(), EngineError> {
        let mut slot = self.slots[range]
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        slot.bytes += events.bytes();
        slot.held.entry(of).or_default().push(events);
        if slot.bytes <= self.budget_per_slot {
            return Ok(());
        }
        let held = std::mem::take(&mut slot.held);
        slot.bytes = 0;
        for (of, staged) in held {
            let Some(first) = staged.first() else { continue };
            let spill = match slot.spilled.entry(of) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let path = self.staging.join(format!("shuffle-{range}-{}-{}.arrows", of.0, of.1));
                    let file = File::create(&path).map_err(|e| EngineError::io("write", &path, e))?;
                    let out = BufWriter::with_capacity(1 << 16, file);
                    let writer = StreamWriter::try_new(out, &packed_schema(&first.texts.schema()))?;
                    entry.insert(Spill { path, writer })
                }
            };
            for part in &staged {
                spill.writer.write(&part.pack()?)?;
            }
        }
        Ok(())
    }

    /// All events of one range, by kind. To be called once for each range, when all readers are done.
    ///
    /// # Errors
    /// When a staging file cannot be read back.
    pub fn take(&self, range: usize) -> Result<BTreeMap<KindOf, Vec<Staged>>, EngineError> {
        let slot = std::mem::take(
            &mut *self.slots[range]
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        let mut out: BTreeMap<KindOf, Vec<Staged>> = BTreeMap::new();
        for (of, mut spill) in slot.spilled {
            spill.writer.finish()?;
            drop(spill.writer);
            let file = File::open(&spill.path).map_err(|e| EngineError::io("read", &spill.path, e))?;
            let held = out.entry(of).or_default();
            for batch in StreamReader::try_new(BufReader::with_capacity(1 << 16, file), None)? {
                held.push(Staged::unpack(&batch?)?);
            }
            std::fs::remove_file(&spill.path).map_err(|e| EngineError::io("delete", &spill.path, e))?;
        }
        for (of, staged) in slot.held {
            out.entry(of).or_default().extend(staged);
        }
        Ok(out)
    }
}
