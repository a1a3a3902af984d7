//! Complete exports: what an export of a scope does not hold any more is deleted, unless that is too much at once.

use super::{identity::Identity, session::Session};
use crate::{
    bound::SourceSpec,
    error::EngineError,
    fold::{Id, id_at},
};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::UInt32Type,
};
use clinmill_catalog::{
    events::{self, EventFile},
    shards::ShardFilter,
    vault::Coverage,
};
use clinmill_model::Ids;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The scope of an input, as one comparable text.
pub fn scope_label(scope: &BTreeMap<String, String>) -> String {
    scope
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect::<Vec<_>>()
        .join(";")
}

/// The latest complete export of each scope of one source: by the number of an input, the `as_of` that covers it.
#[derive(Clone, Debug, Default)]
pub struct Covered {
    latest: BTreeMap<String, String>,
    scope_of: HashMap<u32, String>,
}

impl Covered {
    /// What the coverage events say about one source. `scopes` gives the scope of each of its inputs.
    pub fn new<'a>(coverage: impl IntoIterator<Item = &'a Coverage>, scopes: &HashMap<u32, String>) -> Self {
        let mut latest: BTreeMap<String, String> = BTreeMap::new();
        for event in coverage {
            let known = latest.entry(scope_label(&event.scope)).or_default();
            if event.as_of > *known {
                known.clone_from(&event.as_of);
            }
        }
        Self {
            latest,
            scope_of: scopes.clone(),
        }
    }

    /// The same without the last export of each scope that has two or more later than `since`; none where no scope has.
    pub fn but_last<'a>(&self, coverage: impl IntoIterator<Item = &'a Coverage>, since: &Self) -> Option<Self> {
        let mut news: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for event in coverage {
            let scope = scope_label(&event.scope);
            if since.latest.get(&scope).is_none_or(|as_of| event.as_of > *as_of) {
                news.entry(scope).or_default().insert(&event.as_of);
            }
        }
        let mut earlier = self.clone();
        let mut any = false;
        for (scope, as_of) in news {
            if let Some(before) = as_of.iter().rev().nth(1) {
                earlier.latest.insert(scope, (*before).to_owned());
                any = true;
            }
        }
        any.then_some(earlier)
    }

    /// The scope of an input.
    pub fn scope(&self, input: u32) -> &str {
        self.scope_of.get(&input).map_or("", String::as_str)
    }

    /// The `as_of` of the latest complete export of this input's scope.
    pub fn of(&self, input: u32) -> Option<&str> {
        self.latest.get(self.scope_of.get(&input)?).map(String::as_str)
    }
}

/// What a refresh's complete exports delete.
#[derive(Debug, Default)]
pub struct Absent {
    /// By scope.
    pub scopes: BTreeMap<String, ScopeCounts>,
    /// The subjects of the deleted records, and of records that hold again.
    pub subjects: Ids,
}

/// The records of one scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScopeCounts {
    /// Records that held before.
    pub live: u64,
    /// Of these, records that no longer hold because they are absent.
    pub deleted: u64,
}

/// Compares what held before this refresh with what holds now. `before` are the event files and coverage of the last
/// release, `now` of this refresh.
///
/// # Errors
/// When an event file cannot be read.
pub fn absent(
    session: &Session,
    source: &SourceSpec,
    before: (&[EventFile], &Covered),
    now: (&[EventFile], &Covered),
    identity: &Identity,
) -> Result<Absent, EngineError> {
    let mut out = Absent::default();
    for kind in source.bound.records() {
        let of_kind =
            |f: &&EventFile| f.source == source.name() && f.kind == kind.name && f.parse_id == source.parse_id;
        let old: HashSet<&str> = before.0.iter().filter(of_kind).map(|f| f.shard.path.as_str()).collect();
        let mut records: HashMap<(Id, Id, u32), Asserted> = HashMap::new();
        for file in now.0.iter().filter(of_kind) {
            let is_old = old.contains(file.shard.path.as_str());
            for batch in read(session, file)? {
                let columns = Columns::of(&batch)?;
                for i in 0..batch.num_rows() {
                    let (own, key, ordinal) = columns.record(i);
                    let (as_of, input) = (columns.as_of(i), columns.input.value(i));
                    let record = records.entry((identity.canonical(&own), key, ordinal)).or_default();
                    if is_old && holds(as_of, input, before.1) {
                        record.before = Some(input);
                    }
                    record.now |= holds(as_of, input, now.1);
                }
            }
        }
        for ((subject, _, _), record) in &records {
            if let Some(input) = record.before {
                let scope = out.scopes.entry(before.1.scope(input).to_owned()).or_default();
                scope.live += 1;
                scope.deleted += u64::from(!record.now);
            }
            if record.before.is_some() != record.now {
                out.subjects.insert(*subject);
            }
        }
    }
    Ok(out)
}

/// How many records of these event files hold.
///
/// # Errors
/// When an event file cannot be read.
pub fn live<'a>(
    session: &Session,
    files: impl Iterator<Item = &'a EventFile>,
    covered: &Covered,
    identity: &Identity,
) -> Result<u64, EngineError> {
    let mut held: HashSet<(&str, Id, Id, u32)> = HashSet::new();
    for file in files {
        for batch in read(session, file)? {
            let columns = Columns::of(&batch)?;
            for i in (0..batch.num_rows()).filter(|&i| holds(columns.as_of(i), columns.input.value(i), covered)) {
                let (own, key, ordinal) = columns.record(i);
                held.insert((&file.kind, identity.canonical(&own), key, ordinal));
            }
        }
    }
    Ok(held.len() as u64)
}

/// An assertion holds until a complete export of its scope speaks of a later time.
fn holds(as_of: &str, input: u32, covered: &Covered) -> bool {
    covered.of(input).is_none_or(|latest| as_of >= latest)
}

/// Whether an assertion of a record holds: before this refresh (by which input), and with it.
#[derive(Default)]
struct Asserted {
    before: Option<u32>,
    now: bool,
}

fn read(session: &Session, file: &EventFile) -> Result<Vec<RecordBatch>, EngineError> {
    let filter = ShardFilter {
        lo: 0,
        hi: u16::MAX,
        subjects: None,
    };
    let needed = events::engine_columns(&[
        events::SUBJECT,
        events::KEY,
        events::ORDINAL,
        events::AS_OF,
        events::INPUT,
    ]);
    Ok(file.read(session.vault.root(), &needed, &filter)?)
}

struct Columns<'a> {
    subject: &'a arrow::array::FixedSizeBinaryArray,
    key: &'a arrow::array::FixedSizeBinaryArray,
    ordinal: &'a arrow::array::UInt32Array,
    as_of: &'a arrow::array::StringArray,
    input: &'a arrow::array::UInt32Array,
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
            ordinal: column(events::ORDINAL)?.as_primitive::<UInt32Type>(),
            as_of: column(events::AS_OF)?.as_string(),
            input: column(events::INPUT)?.as_primitive::<UInt32Type>(),
        })
    }

    fn record(&self, i: usize) -> (Id, Id, u32) {
        (id_at(self.subject, i), id_at(self.key, i), self.ordinal.value(i))
    }

    fn as_of(&self, i: usize) -> &str {
        if self.as_of.is_valid(i) {
            self.as_of.value(i)
        } else {
            ""
        }
    }
}
