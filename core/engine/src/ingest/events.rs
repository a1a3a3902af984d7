//! From a source's batch to events: keyed subject, record key, content hash and the time of the input beside the
//! record's own columns.

use super::{
    staged::{Staged, Stamp, Times, texts_schema, widen},
    subjects::Subjects,
};
use crate::fold::Id;
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringArray},
    datatypes::{
        ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, SchemaRef, TimeUnit,
        TimestampMicrosecondType,
    },
};
use clinmill_catalog::{events, rowhash::row_hashes, vault::VaultKey};
use clinmill_sdk::{IdentityLink, Locator, PluginError, RecordBatchOf, RecordKey, RecordKind, RecordSink, Rejection};
use std::{collections::BTreeMap, sync::Arc};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

/// Builds the events of one input.
pub struct EventBuilder<'a> {
    kinds: &'a [RecordKind],
    schemas: Vec<SchemaRef>,
    number: u32,
}

/// Events, and the places of records that name no subject.
pub struct Built {
    /// The events.
    pub events: Staged,
    /// Where records without a subject stand.
    pub without_subject: Vec<Locator>,
}

impl<'a> EventBuilder<'a> {
    /// Events of the input with this number in the ledger.
    pub fn new(kinds: &'a [RecordKind], number: u32) -> Self {
        Self {
            kinds,
            schemas: kinds.iter().map(|k| texts_schema(&k.schema)).collect(),
            number,
        }
    }

    /// The events of one batch.
    ///
    /// # Errors
    /// When the batch does not fit its kind.
    pub fn build(&self, batch: RecordBatchOf, subjects: &mut Subjects<'_>) -> Result<Built, PluginError> {
        let kind = self.kinds.get(batch.kind).ok_or_else(|| PluginError {
            pointer: None,
            ..PluginError::config("", "KIND", "the source yields a record kind that it did not declare")
        })?;
        let (rows, meta) = (batch.rows, batch.meta);
        let n = rows.num_rows();
        let subjects = match kind.subject {
            true => subjects.ids(&meta.issuer, &meta.subject),
            false => vec![[0; 16]; n],
        };
        let content = contents(kind, &rows)?;
        let keys = record_keys(kind, &rows, &subjects, &content)?;
        let names = names(kind, &rows)?;
        let by_content = kind.key == RecordKey::Content;
        let at = |i: usize| Locator {
            offset: meta.offset.value(i),
            length: meta.length.value(i),
            row: meta.row.value(i),
            part: meta.part.value(i),
            cell: meta.cell.is_valid(i).then(|| meta.cell.value(i)),
        };
        let places = meta
            .offset
            .values()
            .iter()
            .zip(meta.length.values())
            .zip(meta.row.values());
        let marks = meta.part.values().iter().zip(meta.void.values());
        let no_cells = meta.cell.null_count() == n;
        let stamps = places
            .zip(marks)
            .zip(subjects.iter().zip(&keys))
            .zip(&content)
            .enumerate()
            .map(
                |(i, (((((&offset, &length), &row), (&part, &void)), (&subject, &key)), &content))| Stamp {
                    subject,
                    key,
                    content: content as u64,
                    offset,
                    length,
                    row,
                    part,
                    cell: if no_cells || meta.cell.is_null(i) {
                        0
                    } else {
                        meta.cell.value(i)
                    },
                    input: self.number,
                    void,
                    nameless: by_content || names.is_some_and(|names| names.is_null(i)),
                },
            )
            .collect();
        let missing = |i: usize| kind.subject && (meta.subject.is_null(i) || meta.subject.value(i).is_empty());
        let without: Vec<usize> = (0..n).filter(|&i| missing(i)).collect();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(meta.issuer),
            Arc::new(meta.subject.clone()),
            Arc::new(meta.version),
        ];
        columns.extend(rows.columns().iter().cloned());
        let texts = RecordBatch::try_new(self.schemas[batch.kind].clone(), columns)?;
        let all = Staged { stamps, texts };
        if without.is_empty() {
            return Ok(Built {
                events: all,
                without_subject: Vec::new(),
            });
        }
        Ok(Built {
            events: all.take((0..n as u32).filter(|&i| !missing(i as usize)).collect())?,
            without_subject: without.into_iter().map(at).collect(),
        })
    }
}

/// The first part of the records' key: one that lacks it is known by its content.
fn names<'r>(kind: &RecordKind, rows: &'r RecordBatch) -> Result<Option<&'r ArrayRef>, PluginError> {
    match &kind.key {
        RecordKey::Columns(names) => match names.first() {
            Some(name) => Ok(Some(rows.column(rows.schema_ref().index_of(name)?))),
            None => Ok(None),
        },
        RecordKey::Content => Ok(None),
    }
}

/// What makes each record the same record when it comes again: its key columns; or its content under its subject
/// identifier, also where the first part of the key is missing. A kind with an empty key has one record per subject, whatever
/// its identifiers.
fn record_keys(
    kind: &RecordKind,
    rows: &RecordBatch,
    subjects: &[Id],
    content: &[u128],
) -> Result<Vec<Id>, PluginError> {
    let by_content = |i: usize, content: u128| {
        let mut bytes = [0u8; 32];
        bytes[..16].copy_from_slice(&subjects[i]);
        bytes[16..].copy_from_slice(&content.to_be_bytes());
        xxh3_128(&bytes).to_be_bytes()
    };
    match &kind.key {
        RecordKey::Content => Ok(content.iter().enumerate().map(|(i, c)| by_content(i, *c)).collect()),
        RecordKey::Columns(names) if names.is_empty() => Ok(vec![[0; 16]; rows.num_rows()]),
        RecordKey::Columns(names) => {
            let schema = rows.schema();
            let indices = names
                .iter()
                .map(|n| schema.index_of(n))
                .collect::<Result<Vec<_>, _>>()?;
            let parts = rows.project(&indices)?;
            let mut keys: Vec<Id> = key_hashes(&parts)?.into_iter().map(u128::to_be_bytes).collect();
            // Without its first part a key would make one record of many: such a record is known by its content. Later
            // parts may be absent (a sub-id, a kind).
            let first = parts.column(0);
            if first.null_count() > 0 {
                let content = hashes_of(rows)?;
                let nameless = (0..keys.len()).filter(|&i| first.is_null(i));
                nameless.for_each(|i| keys[i] = by_content(i, content[i]));
            }
            Ok(keys)
        }
    }
}

/// The hash of each record's content. Only a kind without key columns, whose records are known by it, needs all 128 bits;
/// others get 64, chained from value to value, where their values are of the common types.
fn contents(kind: &RecordKind, rows: &RecordBatch) -> Result<Vec<u128>, PluginError> {
    let by_columns = matches!(&kind.key, RecordKey::Columns(_));
    let mut hashes = vec![0u64; rows.num_rows()];
    for column in rows.columns() {
        if !(by_columns && chain(column, &mut hashes)) {
            return hashes_of(rows);
        }
    }
    Ok(hashes.into_iter().map(u128::from).collect())
}

/// Goes on with each row's hash; false for a column of a less common type.
fn chain(column: &ArrayRef, hashes: &mut [u64]) -> bool {
    const NULL: u64 = 0x9e37_79b9_7f4a_7c15;
    fn values<T: ArrowPrimitiveType>(column: &ArrayRef, hashes: &mut [u64], bits: impl Fn(T::Native) -> u128) {
        let values = column.as_primitive::<T>();
        // Two loops: the common one has no branch, so that a value goes from register to register.
        if values.null_count() == 0 {
            for (hash, value) in hashes.iter_mut().zip(values.values()) {
                *hash = xxh3_64_with_seed(&bits(*value).to_le_bytes(), *hash);
            }
            return;
        }
        for (i, (hash, value)) in hashes.iter_mut().zip(values.values()).enumerate() {
            *hash = match values.is_null(i) {
                true => xxh3_64_with_seed(&u128::from(NULL).to_le_bytes(), *hash ^ 1),
                false => xxh3_64_with_seed(&bits(*value).to_le_bytes(), *hash),
            };
        }
    }
    match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            for (i, hash) in hashes.iter_mut().enumerate() {
                *hash = match texts.is_null(i) {
                    true => hash.rotate_left(1) ^ NULL,
                    false => xxh3_64_with_seed(texts.value(i).as_bytes(), *hash),
                };
            }
        }
        DataType::Int64 => values::<Int64Type>(column, hashes, |v| i128::from(v) as u128),
        DataType::Float64 => values::<Float64Type>(column, hashes, |v| u128::from(v.to_bits())),
        DataType::Decimal128(..) => values::<Decimal128Type>(column, hashes, |v| v as u128),
        DataType::Date32 => values::<Date32Type>(column, hashes, |v| i128::from(v) as u128),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            values::<TimestampMicrosecondType>(column, hashes, |v| i128::from(v) as u128);
        }
        _ => return false,
    }
    true
}

/// The hash of each row of key columns. Keys are texts nearly always: these are hashed without canonical bytes.
fn key_hashes(parts: &RecordBatch) -> Result<Vec<u128>, PluginError> {
    let texts: Option<Vec<&StringArray>> = parts.columns().iter().map(|c| c.as_string_opt()).collect();
    let Some(texts) = texts else { return hashes_of(parts) };
    let mut bytes = Vec::new();
    let hash = |i: usize| {
        bytes.clear();
        for text in &texts {
            let value = text.is_valid(i).then(|| text.value(i).as_bytes());
            bytes.extend_from_slice(&value.map_or(u32::MAX, |v| v.len() as u32).to_le_bytes());
            bytes.extend_from_slice(value.unwrap_or_default());
        }
        xxh3_128(&bytes)
    };
    Ok((0..parts.num_rows()).map(hash).collect())
}

fn hashes_of(rows: &RecordBatch) -> Result<Vec<u128>, PluginError> {
    row_hashes(rows).map_err(|error| PluginError::new(clinmill_sdk::Status::Internal, "ROW_HASH", error.to_string()))
}

/// Collects events in memory, up to a number of records per kind: for previews.
pub struct EventSink<'a> {
    builder: Option<EventBuilder<'a>>,
    subjects: Subjects<'a>,
    events: Vec<Vec<RecordBatch>>,
    limit: usize,
    full: bool,
    links: Vec<IdentityLink>,
    /// Batches of each kind, and links, when the input began.
    before: (Vec<usize>, usize),
    /// Rejected records by code.
    rejected: BTreeMap<String, u64>,
    times: Times,
}

impl<'a> EventSink<'a> {
    /// A sink for so many kinds.
    pub fn new(kinds: usize, limit: usize, key: &'a VaultKey) -> Self {
        Self {
            builder: None,
            subjects: Subjects::new(key),
            events: vec![Vec::new(); kinds],
            limit,
            full: false,
            links: Vec::new(),
            before: (vec![0; kinds], 0),
            rejected: BTreeMap::new(),
            times: Times::new(),
        }
    }

    /// The next input begins, which speaks of this time.
    pub fn begin(&mut self, builder: EventBuilder<'a>, as_of: Option<String>) {
        self.times.insert(builder.number, as_of);
        self.builder = Some(builder);
        self.before = (self.events.iter().map(Vec::len).collect(), self.links.len());
    }

    /// The input is given up: what it gave goes.
    pub fn give_up(&mut self) {
        let (events, links) = &self.before;
        for (events, before) in self.events.iter_mut().zip(events) {
            events.truncate(*before);
        }
        self.links.truncate(*links);
    }

    /// True when one kind has all records it may have.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Rejected records by code.
    pub fn rejected(&self) -> &BTreeMap<String, u64> {
        &self.rejected
    }

    /// Which identifiers name the same subject.
    pub fn links(&self) -> &[IdentityLink] {
        &self.links
    }

    /// The events of a kind.
    pub fn events(&self, kind: usize) -> &[RecordBatch] {
        &self.events[kind]
    }
}

impl RecordSink for EventSink<'_> {
    fn rows(&mut self, batch: RecordBatchOf) -> Result<(), PluginError> {
        let kind = batch.kind;
        if let Some(builder) = &self.builder {
            let schema = events::schema(&builder.kinds[kind].schema);
            let events = builder.build(batch, &mut self.subjects)?.events;
            let ordinals = vec![0; events.len()];
            let whole = widen(&events.stamps, &events.texts, &schema, &ordinals, &self.times)?;
            self.events[kind].push(whole);
        }
        self.full |= self.events[kind].iter().map(RecordBatch::num_rows).sum::<usize>() >= self.limit;
        if self.full {
            Err(PluginError::cancelled())
        } else {
            Ok(())
        }
    }
    fn reject(&mut self, rejection: Rejection) -> Result<(), PluginError> {
        *self.rejected.entry(rejection.code).or_default() += 1;
        Ok(())
    }
    fn filtered(&mut self, _: &str, _: u64) {}
    fn link(&mut self, link: IdentityLink) -> Result<(), PluginError> {
        if !link.survivor.id.is_empty() && !link.retired.id.is_empty() {
            self.links.push(link);
        }
        Ok(())
    }
    fn progress(&mut self, _: u64) {}
}
