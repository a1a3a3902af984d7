//! From events to records: of all versions of a record, in version order, the one that holds.
//!
//! A pure function of a set of events: the order in which they arrived cannot show.

use arrow::{
    array::{
        Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, RecordBatchOptions, StringArray, UInt8Array,
        UInt32Array, UInt64Array,
    },
    buffer::Buffer,
    compute::{concat_batches, take},
    datatypes::{SchemaRef, UInt8Type, UInt32Type, UInt64Type},
    error::ArrowError,
};
use clinmill_catalog::events::{self, SYSTEM_COLUMNS};
use clinmill_sdk::{Fold, Locator};
use std::{cmp::Ordering, collections::HashMap, sync::Arc};
use xxhash_rust::xxh3::xxh3_128;

/// A keyed 128-bit id.
pub type Id = [u8; 16];

/// How the records of one kind fold.
pub struct FoldRule<'a> {
    /// Latest replaces, or patches.
    pub fold: Fold,
    /// The time of the input comes before the record's own version (complete exports), or after it.
    pub as_of_first: bool,
    /// The canonical subject of an identifier; `None` where it is not among the subjects in question.
    pub canonical: &'a dyn Fn(&Id) -> Option<Id>,
    /// The latest complete export of the scope that this input belongs to, as its `as_of`; `None`: not complete.
    pub covered: &'a dyn Fn(u32) -> Option<&'a str>,
    /// Keep the events that each record was made of.
    pub lineage: bool,
}

/// The records of one kind that hold, sorted by subject, then version.
pub struct Folded {
    /// The records' own columns.
    pub rows: RecordBatch,
    /// The canonical subject of each.
    pub subject: FixedSizeBinaryArray,
    /// What identifies each within its source and kind: entity and ordinal.
    pub entity: Vec<(Id, u32)>,
    /// The event that gave each its latest form: an index into `events`.
    pub event: Vec<u32>,
    /// With lineage: all events each was made of.
    pub made_of: Vec<Vec<u32>>,
    /// All events that were looked at.
    pub events: RecordBatch,
    /// Records whose latest form was chosen among several of the same version: nothing says which is the newest.
    pub unordered: u64,
}

impl Folded {
    /// The own columns of all events, as their source read them.
    ///
    /// # Errors
    /// Never for event batches.
    pub fn own_columns(&self) -> Result<RecordBatch, ArrowError> {
        let own: Vec<usize> = (SYSTEM_COLUMNS..self.events.num_columns()).collect();
        self.events.project(&own)
    }

    /// The number of the input and the place in it of an event.
    pub fn locate(&self, event: u32) -> (u32, Locator) {
        let i = event as usize;
        let column = |name: &str| self.events.column_by_name(name);
        let u64_at = |name| column(name).map_or(0, |c| c.as_primitive::<UInt64Type>().value(i));
        let u32_at = |name| column(name).map_or(0, |c| c.as_primitive::<UInt32Type>().value(i));
        let cell = column(events::CELL)
            .filter(|c| c.is_valid(i))
            .map(|_| u32_at(events::CELL));
        let at = Locator {
            offset: u64_at(events::OFFSET),
            length: u64_at(events::LENGTH),
            row: u64_at(events::ROW),
            part: u32_at(events::PART),
            cell,
        };
        (u32_at(events::INPUT), at)
    }
}

#[derive(Clone, Copy)]
struct Sorted {
    canonical: Id,
    /// The identifier that the event came under.
    subject: Id,
    key: Id,
    ordinal: u32,
    event: u32,
}

impl Sorted {
    fn entity(&self) -> (&Id, &Id, u32) {
        (&self.canonical, &self.key, self.ordinal)
    }
}

/// A record that holds, as indices into the sorted events.
struct Held {
    /// Its oldest version, also one that no longer counts.
    first: usize,
    /// The oldest version that counts.
    from: usize,
    /// Behind the latest.
    end: usize,
}

/// The version columns of a set of events.
struct Versions<'a> {
    as_of: &'a StringArray,
    version: &'a StringArray,
    void: &'a UInt8Array,
    content: &'a UInt64Array,
    as_of_first: bool,
}

impl Versions<'_> {
    /// True for two contents that no version tells apart.
    fn is_tie(&self, a: u32, b: u32) -> bool {
        let same = |column: &StringArray| {
            let at = |i: u32| column.is_valid(i as usize).then(|| column.value(i as usize));
            at(a) == at(b)
        };
        same(self.as_of) && same(self.version) && self.content.value(a as usize) != self.content.value(b as usize)
    }

    fn compare(&self, a: u32, b: u32) -> Ordering {
        let text = |column: &StringArray| {
            let at = |i: u32| column.is_valid(i as usize).then(|| column.value(i as usize));
            at(a).cmp(&at(b))
        };
        let (first, second) = if self.as_of_first {
            (self.as_of, self.version)
        } else {
            (self.version, self.as_of)
        };
        // A deletion is of what has the same version.
        text(first)
            .then_with(|| text(second))
            .then_with(|| self.void.value(a as usize).cmp(&self.void.value(b as usize)))
            .then_with(|| self.content.value(a as usize).cmp(&self.content.value(b as usize)))
    }
}

/// Folds the events of one kind.
///
/// # Errors
/// When the batches are not event batches.
pub fn fold(batches: &[RecordBatch], schema: &SchemaRef, rule: &FoldRule<'_>) -> Result<Folded, ArrowError> {
    let events = concat_batches(schema, batches)?;
    let by_name = |name: &str| {
        events
            .column_by_name(name)
            .ok_or_else(|| ArrowError::SchemaError(format!("events without {name}")))
    };
    let subjects = by_name(events::SUBJECT)?.as_fixed_size_binary();
    let keys = by_name(events::KEY)?.as_fixed_size_binary();
    let ordinals = by_name(events::ORDINAL)?.as_primitive::<UInt32Type>();
    let void = by_name(events::VOID)?.as_primitive::<UInt8Type>();
    let inputs = by_name(events::INPUT)?.as_primitive::<UInt32Type>();
    let versions = Versions {
        as_of: by_name(events::AS_OF)?.as_string(),
        version: by_name(events::VERSION)?.as_string(),
        void,
        content: by_name(events::CONTENT)?.as_primitive::<UInt64Type>(),
        as_of_first: rule.as_of_first,
    };

    let mut sorted = Vec::with_capacity(events.num_rows());
    let mut last: Option<(Id, Option<Id>)> = None;
    for i in 0..events.num_rows() {
        let own = id_at(subjects, i);
        let canonical = match last {
            Some((seen, canonical)) if seen == own => canonical,
            _ => (rule.canonical)(&own),
        };
        last = Some((own, canonical));
        let Some(canonical) = canonical else { continue };
        sorted.push(Sorted {
            canonical,
            subject: own,
            key: id_at(keys, i),
            ordinal: ordinals.value(i),
            event: i as u32,
        });
    }
    // Event files are sorted by subject: a merge, then few records at a time.
    sorted.sort_by_key(|event| event.canonical);
    for subject in sorted.chunk_by_mut(|a, b| a.canonical == b.canonical) {
        subject.sort_unstable_by(|a, b| {
            a.entity()
                .cmp(&b.entity())
                .then_with(|| versions.compare(a.event, b.event))
                .then_with(|| a.subject.cmp(&b.subject))
        });
    }

    // Each record that holds: its versions that count, the latest last, and the first that ever was.
    let mut held: Vec<Held> = Vec::new();
    let mut unordered = 0;
    for (first, end) in groups(&sorted) {
        let (aside, oldest) = set_aside(&mut sorted[first..end], void);
        let start = first + aside;
        let group = &sorted[start..end];
        let Some(latest) = group.last() else { continue };
        if void.value(latest.event as usize) != 0 || is_absent(group, &versions, inputs, rule) {
            continue;
        }
        let from = match rule.fold {
            Fold::Replace => end - 1,
            Fold::Patch => {
                start
                    + group
                        .iter()
                        .rposition(|e| void.value(e.event as usize) != 0)
                        .map_or(0, |last_void| last_void + 1)
            }
        };
        let before = group.len().checked_sub(2).and_then(|i| group.get(i));
        if rule.fold == Fold::Replace && before.is_some_and(|b| versions.is_tie(b.event, latest.event)) {
            unordered += 1;
        }
        held.push(Held {
            first: first + oldest,
            from,
            end,
        });
    }
    held.sort_by(|a, b| {
        let (a, b) = (&sorted[a.end - 1], &sorted[b.end - 1]);
        a.canonical
            .cmp(&b.canonical)
            .then_with(|| versions.compare(a.event, b.event))
            .then_with(|| a.entity().cmp(&b.entity()))
    });

    let columns = events.columns()[SYSTEM_COLUMNS..]
        .iter()
        .map(|column| match rule.fold {
            Fold::Replace => {
                let rows: UInt32Array = held.iter().map(|h| Some(sorted[h.end - 1].event)).collect();
                take(column, &rows, None)
            }
            Fold::Patch => patched(column, &held, &sorted),
        })
        .collect::<Result<Vec<ArrayRef>, _>>()?;
    let own_schema = Arc::new(arrow::datatypes::Schema::new(
        schema.fields()[SYSTEM_COLUMNS..].to_vec(),
    ));
    let options = RecordBatchOptions::new().with_row_count(Some(held.len()));
    let rows = RecordBatch::try_new_with_options(own_schema, columns, &options)?;
    let winners = || held.iter().map(|h| &sorted[h.end - 1]);
    Ok(Folded {
        rows,
        subject: ids(winners().map(|w| w.canonical))?,
        // Named by the identifier it first came with: a merge leaves it its name, and two subjects that share a key
        // stay two records.
        entity: held
            .iter()
            .map(|h| {
                let first = &sorted[h.first];
                (entity_of(&first.subject, &first.key), first.ordinal)
            })
            .collect(),
        event: winners().map(|w| w.event).collect(),
        made_of: if rule.lineage {
            held.iter()
                .map(|h| sorted[h.from..h.end].iter().map(|e| e.event).collect())
                .collect()
        } else {
            Vec::new()
        },
        events: events.clone(),
        unordered,
    })
}

/// The id in a column of 16-byte values.
pub fn id_at(column: &FixedSizeBinaryArray, row: usize) -> Id {
    let mut id = [0; 16];
    let value = column.value(row);
    let n = value.len().min(16);
    id[..n].copy_from_slice(&value[..n]);
    id
}

/// A column of ids.
///
/// # Errors
/// Never for ids of 16 bytes.
pub fn ids(values: impl ExactSizeIterator<Item = Id>) -> Result<FixedSizeBinaryArray, ArrowError> {
    let bytes = values.collect::<Vec<Id>>().into_flattened();
    FixedSizeBinaryArray::try_new(16, Buffer::from_vec(bytes), None)
}

/// What identifies a record within its source and kind.
fn entity_of(subject: &Id, key: &Id) -> Id {
    let mut bytes = [0u8; 32];
    bytes[..16].copy_from_slice(subject);
    bytes[16..].copy_from_slice(key);
    xxh3_128(&bytes).to_be_bytes()
}

fn groups(sorted: &[Sorted]) -> Vec<(usize, usize)> {
    let mut groups = Vec::new();
    let mut start = 0;
    for i in 1..=sorted.len() {
        if i == sorted.len() || sorted[i].entity() != sorted[start].entity() {
            groups.push((start, i));
            start = i;
        }
    }
    groups
}

/// Under an identifier that another has replaced, a deletion is of what came under it, and not of what its survivor has
/// (HL7 A29 of a number that A40 retired). Such events go to the front of the group: how many there are, and where the
/// oldest event of all is then.
fn set_aside(group: &mut [Sorted], void: &UInt8Array) -> (usize, usize) {
    let is_of_retired = |e: &Sorted| e.subject != e.canonical && void.value(e.event as usize) != 0;
    let mut last: HashMap<Id, usize> = HashMap::new();
    for (i, event) in group.iter().enumerate().filter(|(_, event)| is_of_retired(event)) {
        last.insert(event.subject, i);
    }
    if last.is_empty() {
        return (0, 0);
    }
    let each = group.iter().copied().enumerate();
    let (aside, kept): (Vec<_>, Vec<_>) = each.partition(|(i, e)| last.get(&e.subject).is_some_and(|last| i <= last));
    let oldest = if aside.first().is_some_and(|(i, _)| *i == 0) {
        0
    } else {
        aside.len()
    };
    for (place, (_, event)) in group.iter_mut().zip(aside.iter().chain(&kept)) {
        *place = *event;
    }
    (aside.len(), oldest)
}

/// True for a record that complete exports do not hold any more: in every scope that asserted it, a later one lacks it.
fn is_absent(group: &[Sorted], versions: &Versions<'_>, inputs: &UInt32Array, rule: &FoldRule<'_>) -> bool {
    group.iter().all(|e| {
        let i = e.event as usize;
        let as_of = versions.as_of.is_valid(i).then(|| versions.as_of.value(i));
        (rule.covered)(inputs.value(i)).is_some_and(|latest| as_of.is_some_and(|as_of| as_of < latest))
    })
}

/// Column by column the latest value that was sent: null leaves the earlier one, `""` clears it.
fn patched(column: &ArrayRef, held: &[Held], sorted: &[Sorted]) -> Result<ArrayRef, ArrowError> {
    let text = column.as_string_opt::<i32>();
    let rows: UInt32Array = held
        .iter()
        .map(|h| {
            let latest = sorted[h.from..h.end]
                .iter()
                .rev()
                .map(|e| e.event)
                .find(|&e| column.is_valid(e as usize))?;
            let cleared = text.is_some_and(|t| t.value(latest as usize) == "\"\"");
            (!cleared).then_some(latest)
        })
        .collect();
    take(column, &rows, None)
}
