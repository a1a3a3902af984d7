//! Settling one bucket range: the new events of one kind, sorted, without those that are known already, as one file.

use super::shuffle::KindOf;
use crate::{
    error::EngineError,
    fold::{Id, id_at},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, StringArray, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::{UInt8Type, UInt32Type, UInt64Type},
};
use clinmill_catalog::{
    events::{self, EventFile},
    shards::{self, ShardFilter, ShardPlace, ShardWriter},
};
use clinmill_model::Digest;
use clinmill_sdk::{RecordKey, RecordKind};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
};
use xxhash_rust::xxh3::Xxh3;

/// The new events of one kind in one bucket range.
pub struct SettleTask<'a> {
    /// The vault's folder.
    pub vault: &'a Path,
    /// The staging folder of this refresh.
    pub staging: &'a Path,
    /// The source's name.
    pub source: &'a str,
    /// Source and kind by number, for names of staging files.
    pub of: KindOf,
    /// The kind.
    pub kind: &'a RecordKind,
    /// The parse generation.
    pub parse_id: Digest,
    /// The bucket range.
    pub bounds: (u16, u16),
    /// The event files of this generation so far.
    pub known: &'a [EventFile],
    /// Inputs that were given up: none of their events count.
    pub failed: &'a HashSet<u32>,
    /// The new events.
    pub batches: Vec<RecordBatch>,
}

/// What settling gave.
#[derive(Default)]
pub struct Settled {
    /// The file, if any event was new.
    pub file: Option<EventFile>,
    /// Events written, by number of input.
    pub written: BTreeMap<u32, u64>,
    /// Events that were known already, by number of input.
    pub duplicates: BTreeMap<u32, u64>,
    /// The subject identifiers with new events.
    pub subjects: HashSet<Id>,
}

/// Rows written at a time.
const CHUNK: usize = 65_536;

/// Settles one task.
///
/// # Errors
/// When a known file cannot be read or the new one not be written.
pub fn settle(task: SettleTask<'_>) -> Result<Settled, EngineError> {
    let mut out = Settled::default();
    if task.batches.iter().all(|b| b.num_rows() == 0) {
        return Ok(out);
    }
    let schema = events::schema(&task.kind.schema);
    let all = concat_batches(&schema, &task.batches)?;
    drop(task.batches);
    let columns = Columns::of(&all)?;
    let known = known_events(task.vault, task.known, task.bounds, &columns)?;

    let mut order: Vec<Row> = (0..all.num_rows())
        .map(|i| columns.row(i))
        .filter(|row| !task.failed.contains(&row.input))
        .collect();
    order.sort_unstable();
    let by_content = task.kind.key == RecordKey::Content;
    let mut kept: Vec<u32> = Vec::with_capacity(order.len());
    let mut ordinals: Vec<u32> = Vec::with_capacity(order.len());
    // Equal events stand together, those of one input in the order they have there: the rank of an event among its
    // equals in its input tells whether so many are known already.
    let mut rank: u32 = 0;
    let mut held: u32 = 0;
    let mut previous: Option<&Row> = None;
    let mut previous_subject: Option<Id> = None;
    for row in &order {
        if previous.is_none_or(|p| p.event != row.event) {
            held = known.get(&row.event).copied().unwrap_or_default();
            rank = 0;
        } else if previous.is_some_and(|p| p.input != row.input) {
            rank = 0;
        } else {
            rank += 1;
        }
        previous = Some(row);
        let is_new = if by_content { rank >= held } else { held == 0 };
        if is_new {
            kept.push(row.index);
            ordinals.push(if by_content { held } else { 0 });
            held += 1;
            *out.written.entry(row.input).or_default() += 1;
            if previous_subject != Some(row.subject) {
                out.subjects.insert(row.subject);
                previous_subject = Some(row.subject);
            }
        } else {
            *out.duplicates.entry(row.input).or_default() += 1;
        }
    }
    if kept.is_empty() {
        return Ok(out);
    }

    let ordinal_column = schema.index_of(events::ORDINAL)?;
    let name = format!("settle-{:03x}-{}-{}.parquet", task.bounds.0, task.of.0, task.of.1);
    let unique = [
        events::KEY,
        events::CONTENT,
        events::OFFSET,
        events::ROW,
        events::LENGTH,
    ];
    let mut writer = ShardWriter::create(task.staging, &name, schema.clone(), &unique)?;
    for (rows, ordinals) in kept.chunks(CHUNK).zip(ordinals.chunks(CHUNK)) {
        let chunk = take_record_batch(&all, &UInt32Array::from(rows.to_vec()))?;
        let mut columns: Vec<ArrayRef> = chunk.columns().to_vec();
        columns[ordinal_column] = Arc::new(UInt32Array::from(ordinals.to_vec()));
        writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
    }
    let (lo, hi) = task.bounds;
    let place = ShardPlace {
        folder: format!("events/{}", task.source),
        lo,
        hi,
    };
    out.file = Some(EventFile {
        source: task.source.to_owned(),
        kind: task.kind.name.clone(),
        parse_id: task.parse_id,
        shard: writer.finish(task.vault, &place)?,
    });
    Ok(out)
}

/// How often each of these events is known already.
fn known_events(
    vault: &Path,
    files: &[EventFile],
    (lo, hi): (u16, u16),
    new: &Columns<'_>,
) -> Result<HashMap<u128, u32>, EngineError> {
    let mut known = HashMap::new();
    let files: Vec<&EventFile> = files.iter().filter(|f| f.shard.lo <= hi && f.shard.hi >= lo).collect();
    if files.is_empty() {
        return Ok(known);
    }
    let subjects: HashSet<Id> = (0..new.subject.len()).map(|i| id_at(new.subject, i)).collect();
    let filter = ShardFilter {
        lo,
        hi,
        subjects: Some(Arc::new(subjects)),
    };
    let needed = [
        events::SUBJECT,
        events::KEY,
        events::AS_OF,
        events::VERSION,
        events::VOID,
        events::CONTENT,
        events::INPUT,
    ];
    for file in files {
        for batch in shards::read(&vault.join(&file.shard.path), Some(&needed), &filter)? {
            let columns = Columns::of(&batch)?;
            for i in 0..batch.num_rows() {
                *known.entry(columns.row(i).event).or_default() += 1;
            }
        }
    }
    Ok(known)
}

/// The columns that decide whether two events are the same.
struct Columns<'a> {
    subject: &'a FixedSizeBinaryArray,
    key: &'a FixedSizeBinaryArray,
    as_of: &'a StringArray,
    version: &'a StringArray,
    void: &'a arrow::array::UInt8Array,
    content: &'a arrow::array::UInt64Array,
    input: &'a UInt32Array,
    /// Where the event stands in its input: equals keep the order they have there.
    offset: Option<&'a arrow::array::UInt64Array>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    subject: Id,
    key: Id,
    event: u128,
    input: u32,
    offset: u64,
    index: u32,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, EngineError> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .ok_or_else(|| EngineError::internal(format!("events without the column {name}")))
        };
        Ok(Self {
            subject: column(events::SUBJECT)?.as_fixed_size_binary(),
            key: column(events::KEY)?.as_fixed_size_binary(),
            as_of: column(events::AS_OF)?.as_string(),
            version: column(events::VERSION)?.as_string(),
            void: column(events::VOID)?.as_primitive::<UInt8Type>(),
            content: column(events::CONTENT)?.as_primitive::<UInt64Type>(),
            input: column(events::INPUT)?.as_primitive::<UInt32Type>(),
            offset: batch
                .column_by_name(events::OFFSET)
                .map(|c| c.as_primitive::<UInt64Type>()),
        })
    }

    fn row(&self, i: usize) -> Row {
        let (subject, key) = (id_at(self.subject, i), id_at(self.key, i));
        let mut hash = Xxh3::new();
        hash.update(&subject);
        hash.update(&key);
        for text in [self.as_of, self.version] {
            if text.is_valid(i) {
                let value = text.value(i).as_bytes();
                hash.update(&(value.len() as u64).to_le_bytes());
                hash.update(value);
            } else {
                hash.update(&u64::MAX.to_le_bytes());
            }
        }
        hash.update(&[self.void.value(i)]);
        hash.update(&self.content.value(i).to_le_bytes());
        Row {
            subject,
            key,
            event: hash.digest128(),
            input: self.input.value(i),
            offset: self.offset.map_or(0, |o| o.value(i)),
            index: i as u32,
        }
    }
}
