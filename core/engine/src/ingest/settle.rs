//! Settling one bucket range: the new events of one kind, by subject and input, without those that are known already, as one
//! file. Within one input they stand in its order as far as the same reader read them; whoever folds them sorts them anew.

use super::{
    dictionary::Dictionaries,
    file::ToWrite,
    runs::{HeadedRun, Part, Run, ascending, runs_of_parts},
    shuffle::KindOf,
    staged::{Staged, Stamp, Times, head, stamps_of},
};
use crate::{error::EngineError, fold::Id};
use arrow::{
    array::{Array, AsArray},
    datatypes::{UInt8Type, UInt32Type, UInt64Type},
};
use clinmill_catalog::{
    events::{self, EventFile},
    shards::ShardFilter,
};
use clinmill_model::{Digest, Ids, Prehashed};
use clinmill_sdk::RecordKind;
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
    /// The scope of each input of a complete source: each scope asserts its records for itself.
    pub scopes: &'a HashMap<u32, String>,
    /// The new events.
    pub events: Vec<Part>,
    /// The dictionaries that their columns have.
    pub dictionaries: &'a Dictionaries,
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
    pub subjects: Vec<Id>,
}

/// Settles one task.
///
/// # Errors
/// When a known file cannot be read or the new one not be written.
pub fn settle(task: SettleTask<'_>) -> Result<Settled, EngineError> {
    let mut out = Settled::default();
    let mut new = New::of(&task);
    if new.runs.is_empty() {
        return Ok(out);
    }
    let known = known_events(&task, &new)?;
    let mut kept = Kept::default();
    let mut heads = Vec::new();
    for subject in new.subjects() {
        match known
            .is_empty()
            .then(|| repeated(subject.stamps, &mut heads))
            .as_deref()
        {
            Some([]) => kept.ordinals.resize(kept.ordinals.len() + subject.stamps.len(), 0),
            repeated => new.choose(&subject, &known, repeated, &mut kept),
        }
    }
    let Kept {
        ordinals,
        dropped,
        duplicates,
    } = kept;
    out.duplicates.extend(duplicates);
    new.drop_events(&dropped);
    let stamps = new.stamps.as_slice();
    let same_subject = stamps.chunk_by(|a, b| a.subject == b.subject);
    out.subjects
        .extend(same_subject.filter_map(|same| Some(same.first()?.subject)));
    let mut written: HashMap<u32, u64> = HashMap::new();
    for same in stamps.chunk_by(|a, b| a.input == b.input) {
        *written.entry(same[0].input).or_default() += same.len() as u64;
    }
    out.written.extend(written);
    if stamps.is_empty() {
        return Ok(out);
    }

    let runs: Vec<Run> = new.runs.iter().map(|run| run.run).collect();
    let events = ToWrite {
        runs: &runs,
        stamps,
        ordinals: &ordinals,
        written: &out.written,
        are_all: dropped.is_empty() && task.failed.is_empty(),
    };
    out.file = Some(events.write(&task)?);
    Ok(out)
}

/// The new events, by subject and input.
struct New<'a> {
    parts: Vec<&'a Staged>,
    times: &'a Times,
    scopes: &'a HashMap<u32, String>,
    runs: Vec<HeadedRun>,
    /// Of the runs' events, one after another.
    stamps: Vec<Stamp>,
}

/// The new events of one subject.
struct OfSubject<'a> {
    /// Its place among all events.
    first: usize,
    runs: &'a [HeadedRun],
    stamps: &'a [Stamp],
}

/// Which events are written.
#[derive(Default)]
struct Kept {
    /// Of each event that is.
    ordinals: Vec<u32>,
    /// Those that are not, in ascending order.
    dropped: Vec<usize>,
    /// How many those are, by number of input.
    duplicates: HashMap<u32, u64>,
}

/// One event among those of its record.
struct Version {
    event: u128,
    input: u32,
    offset: u64,
    /// Its place among the events of its subject.
    place: usize,
    /// See [`Stamp::nameless`].
    nameless: bool,
}

impl<'a> New<'a> {
    fn of(task: &'a SettleTask<'_>) -> Self {
        let parts: Vec<&Staged> = task.events.iter().map(|part| part.events.as_ref()).collect();
        let ranges = task.events.iter().map(|part| part.rows.clone());
        let mut runs = runs_of_parts(parts.iter().copied().zip(ranges));
        if !task.failed.is_empty() {
            runs.retain(|run| !task.failed.contains(&run.input));
        }
        let mut runs = ascending(runs);
        let order = |run: &HeadedRun| {
            let first = run.run.first(&parts);
            let within = (first.row, first.part, first.cell);
            (first.subject, first.input, first.offset, within)
        };
        let place = |run: &HeadedRun| (run.head, run.input, run.offset);
        for same in runs.chunk_by_mut(|a, b| place(a) == place(b)) {
            if same.len() > 1 {
                same.sort_by_key(order);
            }
        }
        let mut stamps = stamps_of(&parts, runs.iter().map(|run| &run.run));
        let is_mixed = |near: &[Stamp]| near[0].head() == near[1].head() && near[0].subject != near[1].subject;
        if stamps.windows(2).any(is_mixed) {
            runs.sort_by_key(order);
            stamps = stamps_of(&parts, runs.iter().map(|run| &run.run));
        }
        Self {
            parts,
            times: task.times,
            scopes: task.scopes,
            runs,
            stamps,
        }
    }

    fn subjects(&self) -> impl Iterator<Item = OfSubject<'_>> {
        let (mut first, mut runs) = (0, self.runs.as_slice());
        let same = self.stamps.chunk_by(|a, b| a.subject == b.subject);
        same.map(move |stamps| {
            let mut events = 0;
            let own = runs.iter().take_while(|run| {
                let is_own = events < stamps.len();
                events += run.run.len as usize;
                is_own
            });
            let (own, rest) = runs.split_at(own.count());
            let subject = OfSubject {
                first,
                runs: own,
                stamps,
            };
            (first, runs) = (first + stamps.len(), rest);
            subject
        })
    }

    /// Goes on without these events. What runs are sorted by is not looked at any more.
    fn drop_events(&mut self, dropped: &[usize]) {
        if dropped.is_empty() {
            return;
        }
        let (mut at, mut next) = (0, dropped.iter().copied().peekable());
        let mut keeps = || {
            at += 1;
            next.next_if_eq(&(at - 1)).is_none()
        };
        let mut runs: Vec<HeadedRun> = Vec::new();
        for run in &self.runs {
            let mut last: Option<Run> = None;
            for row in run.run.rows() {
                let row = row as u32;
                match (keeps(), &mut last) {
                    (true, Some(last)) => last.len += 1,
                    (true, None) => last = Some(Run { row, len: 1, ..run.run }),
                    (false, _) => runs.extend(last.take().map(|own| HeadedRun { run: own, ..*run })),
                }
            }
            runs.extend(last.map(|own| HeadedRun { run: own, ..*run }));
        }
        self.runs = runs;
        let (mut at, mut next) = (0, dropped.iter().copied().peekable());
        self.stamps.retain(|_| {
            at += 1;
            next.next_if_eq(&(at - 1)).is_none()
        });
    }

    /// Keeps the events of one subject that are not known already. `repeated` is there when none is known.
    fn choose(
        &self,
        subject: &OfSubject<'_>,
        known: &HashMap<u128, u32, Prehashed>,
        repeated: Option<&[u64]>,
        kept: &mut Kept,
    ) {
        let runs = subject.runs.iter().map(|run| run.run);
        let places: Vec<(u32, usize)> = runs
            .flat_map(|run| run.rows().map(move |row| (run.part, row)))
            .collect();
        let key = |place: usize| subject.stamps.get(place).map(|stamp| &stamp.key);
        // Nearly all records come once.
        let once =
            |place: usize, repeated: &[u64]| key(place).is_none_or(|key| repeated.binary_search(&head(key)).is_err());
        let alone = |place: usize| repeated.is_some_and(|repeated| once(place, repeated));
        // The ordinal of each event that is kept.
        let mut chosen: Vec<Option<u32>> = vec![Some(0); places.len()];
        let mut order: Vec<usize> = (0..places.len()).filter(|place| !alone(*place)).collect();
        order.sort_unstable_by_key(|place| (key(*place), *place));
        for record in order.chunk_by(|a, b| key(*a) == key(*b)) {
            record.iter().for_each(|place| chosen[*place] = None);
            // Equal events stand together, those of one input in the order they have there: the rank of an event among
            // its equals in its input tells whether so many are known already.
            for equal in self
                .versions(record, subject.stamps, &places)
                .chunk_by(|a, b| a.event == b.event)
            {
                let mut held = equal.first().and_then(|v| known.get(&v.event)).copied().unwrap_or(0);
                let mut rank = 0;
                let mut input = None;
                for version in equal {
                    let by_content = version.nameless;
                    rank = if input == Some(version.input) { rank + 1 } else { 0 };
                    input = Some(version.input);
                    if if by_content { rank >= held } else { held == 0 } {
                        chosen[version.place] = Some(if by_content { held } else { 0 });
                        held += 1;
                    } else {
                        *kept.duplicates.entry(version.input).or_default() += 1;
                    }
                }
            }
        }
        for (place, ordinal) in chosen.into_iter().enumerate() {
            match ordinal {
                Some(ordinal) => kept.ordinals.push(ordinal),
                None => kept.dropped.push(subject.first + place),
            }
        }
    }

    /// The events of one record: equal ones together, those of one input in the order they have there.
    fn versions(&self, record: &[usize], stamps: &[Stamp], places: &[(u32, usize)]) -> Vec<Version> {
        let mut versions: Vec<Version> = record
            .iter()
            .map(|&place| {
                let (stamp, (part, row)) = (&stamps[place], places[place]);
                let identity = Identity {
                    subject: &stamp.subject,
                    key: &stamp.key,
                    as_of: self.times.get(&stamp.input).and_then(Option::as_deref),
                    scope: self.scopes.get(&stamp.input).map(String::as_str),
                    version: self.parts[part as usize].version(row),
                    void: stamp.void,
                    content: stamp.content,
                };
                Version {
                    event: identity.hash(),
                    input: stamp.input,
                    offset: stamp.offset,
                    place,
                    nameless: stamp.nameless,
                }
            })
            .collect();
        versions.sort_by_key(|v| (v.event, v.input, v.offset));
        versions
    }
}

/// The first bits of the keys of one subject's records that have more than one event, and maybe of a few others, in
/// ascending order. `heads` is room for them.
fn repeated(subject: &[Stamp], heads: &mut Vec<u64>) -> Vec<u64> {
    heads.clear();
    heads.extend(subject.iter().map(|stamp| head(&stamp.key)));
    heads.sort_unstable();
    let equal = heads.chunk_by(|a, b| a == b).filter(|equal| equal.len() > 1);
    equal.filter_map(|equal| equal.first().copied()).collect()
}

/// What makes two events the same.
struct Identity<'a> {
    subject: &'a [u8],
    key: &'a [u8],
    as_of: Option<&'a str>,
    scope: Option<&'a str>,
    version: Option<&'a str>,
    void: u8,
    content: u64,
}

impl Identity<'_> {
    fn hash(&self) -> u128 {
        let mut hash = Xxh3::new();
        hash.update(self.subject);
        hash.update(self.key);
        for text in [self.as_of, self.scope, self.version] {
            hash.update(&text.map_or(u64::MAX, |t| t.len() as u64).to_le_bytes());
            hash.update(text.unwrap_or_default().as_bytes());
        }
        hash.update(&[self.void]);
        hash.update(&self.content.to_le_bytes());
        hash.digest128()
    }
}

/// How often each event of the subjects in question is known already.
fn known_events(task: &SettleTask<'_>, new: &New<'_>) -> Result<HashMap<u128, u32, Prehashed>, EngineError> {
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
    let subjects: Ids = new.subjects().map(|subject| subject.stamps[0].subject).collect();
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
        events::INPUT,
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
            let inputs = batch.column(6).as_primitive::<UInt32Type>();
            for i in 0..batch.num_rows() {
                let identity = Identity {
                    subject: subjects.value(i),
                    key: keys.value(i),
                    as_of: times.is_valid(i).then(|| times.value(i)),
                    scope: task.scopes.get(&inputs.value(i)).map(String::as_str),
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
