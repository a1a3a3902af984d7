//! Folds a sorted base and sorted changes of several releases into the state after them, in one streaming merge.

use super::read::{BATCH, BATCH_BYTES, BatchReader, Keys, adapt, read_files, text};
use crate::dataset::MOVED_FROM;
use crate::{CatalogError, Result};
use arrow::array::{Array, RecordBatch, StringArray, UInt64Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use clinmill_model::columns::{OP, ROW_ID, SUBJECT_ID};
use std::collections::HashMap;
use std::path::PathBuf;
use xxhash_rust::xxh3::Xxh3;

/// Rows of a state, sorted, in batches.
pub struct Fold {
    schema: SchemaRef,
    /// Level 0 is the base, then the changes from the oldest to the newest.
    levels: Vec<Level>,
    /// Places that rows moved away from, with the newest level at which one did.
    moved: HashMap<u128, usize>,
    /// Batches that the picked rows point into, and the picked rows.
    held: Vec<RecordBatch>,
    picked: Vec<(usize, usize)>,
    /// About how many bytes the picked rows have.
    bytes: usize,
    failed: bool,
}

/// The state of a table: base files, then the change files of each release from the oldest to the newest, as rows of
/// `schema` ([`base_schema`](crate::dataset::base_schema)). A merged base is this, written again.
///
/// The lists of one release are one level; `overlay` of a manifest may be given one file per level, because a row id
/// occurs once in a release.
pub fn fold(base: Vec<PathBuf>, changes: Vec<Vec<PathBuf>>, schema: SchemaRef) -> Result<Fold> {
    let mut moved = HashMap::new();
    for (level, files) in changes.iter().enumerate() {
        for batch in read_files(files.clone()).only(&[ROW_ID, MOVED_FROM]) {
            let batch = batch?;
            let (Some(from), Some(id)) = (text(&batch, MOVED_FROM)?, text(&batch, ROW_ID)?) else {
                continue;
            };
            for row in (0..from.len()).filter(|row| from.is_valid(*row)) {
                moved.insert(place((from.value(row), id.value(row))), level + 1);
            }
        }
    }
    let mut needed: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    needed.extend([SUBJECT_ID, ROW_ID, OP]);
    let readers = std::iter::once(base)
        .chain(changes)
        .map(|files| read_files(files).only(&needed));
    let levels: Result<Vec<_>> = readers.map(Level::new).collect();
    Ok(Fold {
        schema,
        levels: levels?,
        moved,
        held: Vec::new(),
        picked: Vec::new(),
        bytes: 0,
        failed: false,
    })
}

/// A row's place in the sort order, as 128 bits: no two places of a real table share them.
fn place((subject, id): (&str, &str)) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&(subject.len() as u64).to_le_bytes());
    hasher.update(subject.as_bytes());
    hasher.update(id.as_bytes());
    hasher.digest128()
}

/// One sorted input.
struct Level {
    reader: BatchReader,
    /// Distinguishes the batches of all levels, to find one again in `held`.
    now: Option<Current>,
}

struct Current {
    batch: RecordBatch,
    keys: Keys,
    deletes: Option<StringArray>,
    row: usize,
    /// Bytes of a row, in the mean.
    row_bytes: usize,
    /// Where this batch stands in `held`, once a row of it was picked.
    slot: Option<usize>,
}

impl Level {
    fn new(reader: BatchReader) -> Result<Self> {
        let mut level = Self { reader, now: None };
        level.load()?;
        Ok(level)
    }

    fn load(&mut self) -> Result<()> {
        let before = self.now.take();
        self.now = match self.reader.next() {
            None => None,
            Some(batch) => {
                let batch = batch?;
                let keys = Keys::of(&batch)?;
                let last = before.as_ref().map(|b| b.keys.get(b.keys.len() - 1));
                if last.is_some_and(|last| last >= keys.get(0)) {
                    return Err(CatalogError::invalid(
                        "a table's file",
                        "is not sorted by subject_id and _row_id",
                    ));
                }
                Some(Current {
                    keys,
                    deletes: text(&batch, OP)?,
                    row_bytes: batch.get_array_memory_size() / batch.num_rows().max(1),
                    batch,
                    row: 0,
                    slot: None,
                })
            }
        };
        Ok(())
    }

    fn key(&self) -> Option<(&str, &str)> {
        self.now.as_ref().map(|now| now.keys.get(now.row))
    }

    fn is_delete(&self) -> bool {
        self.now
            .as_ref()
            .is_some_and(|now| now.deletes.as_ref().is_some_and(|d| d.value(now.row) == "D"))
    }

    fn skip(&mut self) -> Result<()> {
        match &mut self.now {
            Some(now) if now.row + 1 < now.keys.len() => {
                let (before, after) = (now.keys.get(now.row), now.keys.get(now.row + 1));
                if before >= after {
                    return Err(CatalogError::invalid(
                        "a table's file",
                        "is not sorted by subject_id and _row_id",
                    ));
                }
                now.row += 1;
                Ok(())
            }
            _ => self.load(),
        }
    }
}

impl Fold {
    /// Picks the current row of a level for the output.
    fn pick(&mut self, level: usize) -> Result<()> {
        let Some(now) = self.levels.get_mut(level).and_then(|l| l.now.as_mut()) else {
            return Ok(());
        };
        let slot = match now.slot {
            Some(slot) => slot,
            None => {
                self.held.push(now.batch.clone());
                *now.slot.insert(self.held.len() - 1)
            }
        };
        self.picked.push((slot, now.row));
        self.bytes += now.row_bytes;
        Ok(())
    }

    /// Decides about the least key of all levels.
    fn advance(&mut self) -> Result<bool> {
        let least = self.levels.iter().filter_map(Level::key).min();
        let Some(key) = least else {
            return Ok(false);
        };
        let newest = self.levels.iter().rposition(|l| l.key() == Some(key)).unwrap_or(0);
        let left_at = if self.moved.is_empty() {
            None
        } else {
            self.moved.get(&place(key)).copied()
        };
        // Levels above zero that stand at this key are few; mostly it is the base alone.
        let here: Vec<usize> = match newest {
            0 => vec![0],
            _ => (0..=newest)
                .filter(|l| self.levels.get(*l).is_some_and(|l| l.key() == Some(key)))
                .collect(),
        };
        let gone = left_at.is_some_and(|at| at > newest) || self.levels.get(newest).is_some_and(Level::is_delete);
        if !gone {
            self.pick(newest)?;
        }
        for level in here {
            if let Some(level) = self.levels.get_mut(level) {
                level.skip()?;
            }
        }
        Ok(true)
    }

    /// Picks the base's rows up to the next change at once: most of a table in a weekly refresh.
    fn run_of_base(&mut self) -> Result<()> {
        if !self.moved.is_empty() {
            return Ok(());
        }
        let Some((base, changes)) = self.levels.split_first_mut() else {
            return Ok(());
        };
        let stop = changes.iter().filter_map(Level::key).min();
        let Some(now) = &mut base.now else {
            return Ok(());
        };
        let bytes_left = BATCH_BYTES.saturating_sub(self.bytes) / now.row_bytes.max(1);
        let room = BATCH.saturating_sub(self.picked.len()).min(bytes_left);
        let limit = now.keys.len().min(now.row + room);
        // The last row of a batch is left to `advance`, which loads the next one.
        let mut to = now.row;
        while to + 1 < limit && stop.is_none_or(|stop| now.keys.get(to) < stop) {
            if now.keys.get(to) >= now.keys.get(to + 1) {
                return Err(CatalogError::invalid(
                    "a table's file",
                    "is not sorted by subject_id and _row_id",
                ));
            }
            to += 1;
        }
        if to > now.row {
            let slot = match now.slot {
                Some(slot) => slot,
                None => {
                    self.held.push(now.batch.clone());
                    *now.slot.insert(self.held.len() - 1)
                }
            };
            self.picked.extend((now.row..to).map(|row| (slot, row)));
            self.bytes += (to - now.row) * now.row_bytes;
            now.row = to;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.picked.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    /// Gives the held batches the output's columns. Where one has values that do not fit, they may be those of rows that a
    /// change replaced or deleted: then its picked rows alone are held and fitted.
    fn fit(&mut self) -> Result<()> {
        for (slot, batch) in self.held.iter_mut().enumerate() {
            if let Ok(fitting) = adapt(batch, &self.schema) {
                *batch = fitting;
                continue;
            }
            let picked = self.picked.iter_mut().filter(|(of, _)| *of == slot);
            let rows = picked
                .zip(0..)
                .map(|((_, row), place)| std::mem::replace(row, place) as u64);
            let rows = UInt64Array::from_iter_values(rows);
            *batch = adapt(&take_record_batch(batch, &rows)?, &self.schema)?;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Option<RecordBatch>> {
        while !self.is_full() {
            self.run_of_base()?;
            if self.is_full() || !self.advance()? {
                break;
            }
        }
        if self.picked.is_empty() {
            return Ok(None);
        }
        self.fit()?;
        let held: Vec<&RecordBatch> = self.held.iter().collect();
        let rows = match (held.as_slice(), self.picked.as_slice()) {
            // One run of one batch needs no copy.
            ([only], [(_, first), .., (_, last)]) if last - first + 1 == self.picked.len() => {
                only.slice(*first, self.picked.len())
            }
            _ => interleave_record_batch(&held, &self.picked)?,
        };
        self.held.clear();
        self.picked.clear();
        self.bytes = 0;
        for now in self.levels.iter_mut().filter_map(|l| l.now.as_mut()) {
            now.slot = None;
        }
        Ok(Some(rows))
    }
}

impl Iterator for Fold {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let rows = self.take().transpose();
        self.failed = matches!(rows, Some(Err(_)));
        rows
    }
}
