//! Settling one bucket range: the new events of one kind, sorted, without those that are known already, as one file.

use super::{
    shuffle::KindOf,
    staged::{Staged, Stamp, Times},
};
use crate::{error::EngineError, fold::Id, prehashed::Prehashed};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::interleave_record_batch,
    datatypes::{Schema, UInt8Type, UInt64Type},
};
use clinmill_catalog::{
    events::{self, EventFile},
    shards::{Constants, ShardFilter, ShardPlace, ShardWriter},
};
use clinmill_model::Digest;
use clinmill_sdk::{RecordKey, RecordKind};
use serde_json::Value;
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
    /// The time each input speaks of.
    pub times: &'a Times,
    /// The new events.
    pub events: Vec<Staged>,
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
    let events = New::of(&task);
    if events.order.is_empty() {
        return Ok(out);
    }
    let known = known_events(&task)?;
    let by_content = task.kind.key == RecordKey::Content;
    let mut kept: Vec<Place> = Vec::with_capacity(events.order.len());
    let mut ordinals: Vec<u32> = Vec::with_capacity(events.order.len());
    let mut written: HashMap<u32, u64> = HashMap::new();
    let mut keep = |place: &Place, ordinal: u32| {
        let stamp = events.stamp(place);
        if kept
            .last()
            .is_none_or(|last| events.stamp(last).subject != stamp.subject)
        {
            out.subjects.insert(stamp.subject);
        }
        kept.push(*place);
        ordinals.push(ordinal);
        *written.entry(stamp.input).or_default() += 1;
    };
    let mut duplicates: HashMap<u32, u64> = HashMap::new();
    for record in events.order.chunk_by(|a, b| events.record(a) == events.record(b)) {
        if let ([only], true) = (record, known.is_empty()) {
            keep(only, 0);
            continue;
        }
        // Equal events stand together, those of one input in the order they have there: the rank of an event among
        // its equals in its input tells whether so many are known already.
        for equal in events.versions(record).chunk_by(|a, b| a.event == b.event) {
            let mut held = equal.first().and_then(|v| known.get(&v.event)).copied().unwrap_or(0);
            let mut rank = 0;
            let mut input = None;
            for version in equal {
                rank = if input == Some(version.input) { rank + 1 } else { 0 };
                input = Some(version.input);
                if if by_content { rank >= held } else { held == 0 } {
                    keep(&version.place, if by_content { held } else { 0 });
                    held += 1;
                } else {
                    *duplicates.entry(version.input).or_default() += 1;
                }
            }
        }
    }
    out.written.extend(written);
    out.duplicates.extend(duplicates);
    if kept.is_empty() {
        return Ok(out);
    }

    let whole = events::schema(&task.kind.schema);
    let constants = constants(&task, &ordinals);
    let varying: Vec<_> = whole
        .fields()
        .iter()
        .filter(|f| !constants.contains_key(f.name()))
        .cloned()
        .collect();
    let schema = Arc::new(Schema::new(varying));
    let name = format!("settle-{:03x}-{}-{}.parquet", task.bounds.0, task.of.0, task.of.1);
    let mut writer = ShardWriter::create(task.staging, &name, schema.clone(), constants);
    let texts: Vec<&RecordBatch> = task.events.iter().map(|e| &e.texts).collect();
    for (places, ordinals) in kept.chunks(CHUNK).zip(ordinals.chunks(CHUNK)) {
        let rows: Vec<(usize, usize)> = places.iter().map(|p| (p.part as usize, p.row as usize)).collect();
        let chunk = Staged {
            stamps: places.iter().map(|p| *events.stamp(p)).collect(),
            texts: interleave_record_batch(&texts, &rows)?,
        };
        writer.write(&chunk.widen(&schema, ordinals, task.times)?)?;
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

/// Where a new event stands among the parts of its task.
#[derive(Clone, Copy)]
struct Place {
    /// The first bytes of its subject and key: most comparisons need no more.
    prefix: (u64, u64),
    part: u32,
    row: u32,
}

/// The new events in the order of their records.
struct New<'a> {
    parts: &'a [Staged],
    times: &'a Times,
    order: Vec<Place>,
}

/// One event among those of its record.
struct Version {
    event: u128,
    input: u32,
    offset: u64,
    place: Place,
}

impl<'a> New<'a> {
    fn of(task: &'a SettleTask<'_>) -> Self {
        let mut order = Vec::with_capacity(task.events.iter().map(Staged::len).sum());
        let head = |id: &Id| id.first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
        for (part, staged) in task.events.iter().enumerate() {
            for (row, stamp) in staged.stamps.iter().enumerate() {
                if !task.failed.contains(&stamp.input) {
                    order.push(Place {
                        prefix: (head(&stamp.subject), head(&stamp.key)),
                        part: part as u32,
                        row: row as u32,
                    });
                }
            }
        }
        let mut new = Self {
            parts: &task.events,
            times: task.times,
            order: Vec::new(),
        };
        order.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| new.record(a).cmp(&new.record(b))));
        new.order = order;
        new
    }

    fn stamp(&self, place: &Place) -> &'a Stamp {
        &self.parts[place.part as usize].stamps[place.row as usize]
    }

    fn record(&self, place: &Place) -> (&'a Id, &'a Id) {
        let stamp = self.stamp(place);
        (&stamp.subject, &stamp.key)
    }

    /// The events of one record: equal ones together, those of one input in the order they have there.
    fn versions(&self, record: &[Place]) -> Vec<Version> {
        let mut versions: Vec<Version> = record
            .iter()
            .map(|place| {
                let stamp = self.stamp(place);
                let identity = Identity {
                    subject: &stamp.subject,
                    key: &stamp.key,
                    as_of: self.times.get(&stamp.input).and_then(Option::as_deref),
                    version: self.parts[place.part as usize].version(place.row as usize),
                    void: stamp.void,
                    content: stamp.content,
                };
                Version {
                    event: identity.hash(),
                    input: stamp.input,
                    offset: stamp.offset,
                    place: *place,
                }
            })
            .collect();
        versions.sort_by_key(|v| (v.event, v.input, v.offset));
        versions
    }
}

/// The columns that say the same in every event of a file.
fn constants(task: &SettleTask<'_>, ordinals: &[u32]) -> Constants {
    let mut constants = Constants::new();
    let Some(part) = task.events.first() else {
        return constants;
    };
    let numbers = |s: &Stamp| [s.input, s.part, u32::from(s.void), s.cell];
    let mut stamps = task.events.iter().flat_map(|e| &e.stamps);
    let first = stamps.next().map(numbers).unwrap_or_default();
    let mut same = [true; 4];
    let mut time = true;
    let time_of = |input: u32| task.times.get(&input).and_then(Option::as_deref);
    let mut input = first[0];
    for stamp in stamps {
        for ((same, first), now) in same.iter_mut().zip(first).zip(numbers(stamp)) {
            *same &= first == now;
        }
        if stamp.input != input {
            input = stamp.input;
            time &= time_of(input) == time_of(first[0]);
        }
    }
    for (i, name) in [events::INPUT, events::PART, events::VOID].into_iter().enumerate() {
        if same[i] {
            constants.insert(name.to_owned(), first[i].into());
        }
    }
    if same[3] && first[3] == 0 {
        constants.insert(events::CELL.to_owned(), Value::Null);
    }
    if time {
        constants.insert(events::AS_OF.to_owned(), time_of(first[0]).into());
    }
    if ordinals.iter().all(|o| *o == 0) {
        constants.insert(events::ORDINAL.to_owned(), 0.into());
    }
    let issuers = || task.events.iter().map(|e| e.text(0));
    let first = issuers().find_map(|part| part.iter().next().flatten());
    if let Some(first) = first.filter(|first| issuers().all(|part| part.iter().all(|v| v == Some(first)))) {
        constants.insert(events::ISSUER.to_owned(), first.into());
    }
    for (i, field) in part.texts.schema_ref().fields().iter().enumerate() {
        if task.events.iter().all(|e| e.texts.column(i).null_count() == e.len()) {
            constants.insert(field.name().clone(), Value::Null);
        }
    }
    constants
}

/// What makes two events the same.
struct Identity<'a> {
    subject: &'a [u8],
    key: &'a [u8],
    as_of: Option<&'a str>,
    version: Option<&'a str>,
    void: u8,
    content: u64,
}

impl Identity<'_> {
    fn hash(&self) -> u128 {
        let mut hash = Xxh3::new();
        hash.update(self.subject);
        hash.update(self.key);
        for text in [self.as_of, self.version] {
            hash.update(&text.map_or(u64::MAX, |t| t.len() as u64).to_le_bytes());
            hash.update(text.unwrap_or_default().as_bytes());
        }
        hash.update(&[self.void]);
        hash.update(&self.content.to_le_bytes());
        hash.digest128()
    }
}

/// How often each event of the subjects in question is known already.
fn known_events(task: &SettleTask<'_>) -> Result<HashMap<u128, u32, Prehashed>, EngineError> {
    let mut known = HashMap::default();
    let (lo, hi) = task.bounds;
    let files: Vec<&EventFile> = task
        .known
        .iter()
        .filter(|f| f.shard.lo <= hi && f.shard.hi >= lo)
        .collect();
    if files.is_empty() {
        return Ok(known);
    }
    let subjects: HashSet<Id> = task.events.iter().flat_map(|e| &e.stamps).map(|s| s.subject).collect();
    let filter = ShardFilter {
        lo,
        hi,
        subjects: Some(Arc::new(subjects)),
    };
    let needed = events::engine_columns(&[
        events::SUBJECT,
        events::KEY,
        events::AS_OF,
        events::VERSION,
        events::VOID,
        events::CONTENT,
    ]);
    for file in files {
        for batch in file.read(task.vault, &needed, &filter)? {
            let (subjects, keys) = (
                batch.column(0).as_fixed_size_binary(),
                batch.column(1).as_fixed_size_binary(),
            );
            let (times, versions) = (batch.column(2).as_string::<i32>(), batch.column(3).as_string::<i32>());
            let voids = batch.column(4).as_primitive::<UInt8Type>();
            let contents = batch.column(5).as_primitive::<UInt64Type>();
            for i in 0..batch.num_rows() {
                let identity = Identity {
                    subject: subjects.value(i),
                    key: keys.value(i),
                    as_of: times.is_valid(i).then(|| times.value(i)),
                    version: versions.is_valid(i).then(|| versions.value(i)),
                    void: voids.value(i),
                    content: contents.value(i),
                };
                *known.entry(identity.hash()).or_default() += 1;
            }
        }
    }
    Ok(known)
}
