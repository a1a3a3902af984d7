//! The shuffle: events cut by bucket range, held in memory up to a budget, then in staging files of the vault.

use crate::{error::EngineError, fold::id_at};
use arrow::{
    array::{AsArray, RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    ipc::{reader::StreamReader, writer::StreamWriter},
};
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

#[derive(Default)]
struct Slot {
    held: BTreeMap<KindOf, Vec<RecordBatch>>,
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
    pub fn push(&self, source: usize, kind: usize, events: RecordBatch) -> Result<(), EngineError> {
        if events.num_rows() == 0 {
            return Ok(());
        }
        if self.ranges.count() == 1 {
            return self.put(0, (source, kind), events);
        }
        let subjects = events.column(0).as_fixed_size_binary();
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.ranges.count()];
        for i in 0..events.num_rows() {
            rows[self.ranges.of(bucket_of(&id_at(subjects, i)))].push(i as u32);
        }
        for (range, rows) in rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let part = take_record_batch(&events, &UInt32Array::from(rows))?;
            self.put(range, (source, kind), part)?;
        }
        Ok(())
    }

    fn put(&self, range: usize, of: KindOf, events: RecordBatch) -> Result<(), EngineError> {
        let mut slot = self.slots[range]
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        slot.bytes += events.get_array_memory_size();
        slot.held.entry(of).or_default().push(events);
        if slot.bytes <= self.budget_per_slot {
            return Ok(());
        }
        let held = std::mem::take(&mut slot.held);
        slot.bytes = 0;
        for (of, batches) in held {
            let Some(first) = batches.first() else { continue };
            let all = concat_batches(&first.schema(), &batches)?;
            let spill = match slot.spilled.entry(of) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let path = self.staging.join(format!("shuffle-{range}-{}-{}.arrows", of.0, of.1));
                    let file = File::create(&path).map_err(|e| EngineError::io("write", &path, e))?;
                    let writer = StreamWriter::try_new(BufWriter::new(file), &all.schema())?;
                    entry.insert(Spill { path, writer })
                }
            };
            spill.writer.write(&all)?;
        }
        Ok(())
    }

    /// All events of one range, by kind. To be called once for each range, when all readers are done.
    ///
    /// # Errors
    /// When a staging file cannot be read back.
    pub fn take(&self, range: usize) -> Result<BTreeMap<KindOf, Vec<RecordBatch>>, EngineError> {
        let slot = std::mem::take(
            &mut *self.slots[range]
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        let mut out: BTreeMap<KindOf, Vec<RecordBatch>> = BTreeMap::new();
        for (of, mut spill) in slot.spilled {
            spill.writer.finish()?;
            drop(spill.writer);
            let file = File::open(&spill.path).map_err(|e| EngineError::io("read", &spill.path, e))?;
            let batches = StreamReader::try_new(BufReader::new(file), None)?.collect::<Result<Vec<_>, _>>()?;
            out.entry(of).or_default().extend(batches);
            std::fs::remove_file(&spill.path).map_err(|e| EngineError::io("delete", &spill.path, e))?;
        }
        for (of, batches) in slot.held {
            out.entry(of).or_default().extend(batches);
        }
        Ok(out)
    }
}
