//! From a source's batch to events: keyed subject, record key, content hash and the time of the input beside the
//! record's own columns.

use crate::fold::Id;
use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, RecordBatch, RecordBatchOptions, StringArray, UInt32Array,
        UInt64Array,
    },
    buffer::Buffer,
    compute::filter_record_batch,
    datatypes::SchemaRef,
};
use clinmill_catalog::{events, rowhash::row_hashes, vault::VaultKey};
use clinmill_sdk::{IdentityLink, Locator, PluginError, RecordBatchOf, RecordKey, RecordKind, RecordSink, Rejection};
use std::{collections::HashMap, sync::Arc};
use xxhash_rust::xxh3::xxh3_128;

/// The keyed id of a subject identifier: event bucket and subject are derived from it.
pub fn subject_id(key: &VaultKey, issuer: &str, id: &str) -> Id {
    key.hmac128("subject", &[issuer.as_bytes(), id.as_bytes()])
}

/// Builds the events of one input.
pub struct EventBuilder<'a> {
    kinds: &'a [RecordKind],
    schemas: Vec<SchemaRef>,
    key: &'a VaultKey,
    number: u32,
    as_of: Option<&'a str>,
    seen: HashMap<(u128, u128), Id>,
}

/// Events, and the places of records that name no subject.
pub struct Built {
    /// The events.
    pub events: RecordBatch,
    /// Where records without a subject stand.
    pub without_subject: Vec<Locator>,
}

/// How many subjects' ids are remembered; a lookup is cheaper than an HMAC.
const REMEMBERED: usize = 1 << 16;

impl<'a> EventBuilder<'a> {
    /// Events of the input with this number in the ledger.
    pub fn new(kinds: &'a [RecordKind], key: &'a VaultKey, number: u32, as_of: Option<&'a str>) -> Self {
        Self {
            kinds,
            schemas: kinds.iter().map(|k| events::schema(&k.schema)).collect(),
            key,
            number,
            as_of,
            seen: HashMap::new(),
        }
    }

    /// The events of one batch.
    ///
    /// # Errors
    /// When the batch does not fit its kind.
    pub fn build(&mut self, batch: RecordBatchOf) -> Result<Built, PluginError> {
        let kind = self.kinds.get(batch.kind).ok_or_else(|| PluginError {
            pointer: None,
            ..PluginError::config("", "KIND", "the source yields a record kind that it did not declare")
        })?;
        let (rows, meta) = (batch.rows, batch.meta);
        let n = rows.num_rows();
        let subjects = self.subjects(kind, &meta.issuer, &meta.subject);
        let content = hashes_of(&rows)?;
        let keys = record_keys(kind, &rows, &subjects, &content)?;

        let mut columns: Vec<ArrayRef> = vec![
            id_column(subjects.iter().copied())?,
            Arc::new(meta.issuer),
            Arc::new(meta.subject.clone()),
            id_column(keys.into_iter())?,
            Arc::new(UInt32Array::from(vec![0; n])),
            Arc::new(repeated(self.as_of, n)),
            Arc::new(meta.version),
            Arc::new(meta.void),
            Arc::new(content.iter().map(|&h| h as u64).collect::<UInt64Array>()),
            Arc::new(UInt32Array::from(vec![self.number; n])),
            Arc::new(meta.offset.clone()),
            Arc::new(meta.length.clone()),
            Arc::new(meta.row.clone()),
            Arc::new(meta.part.clone()),
            Arc::new(meta.cell.clone()),
        ];
        columns.extend(rows.columns().iter().cloned());
        let schema = self.schemas[batch.kind].clone();
        let options = RecordBatchOptions::new().with_row_count(Some(n));
        let all = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let missing = |i: usize| kind.subject && (meta.subject.is_null(i) || meta.subject.value(i).is_empty());
        let without: Vec<usize> = (0..n).filter(|&i| missing(i)).collect();
        if without.is_empty() {
            return Ok(Built {
                events: all,
                without_subject: Vec::new(),
            });
        }
        let keep: BooleanArray = (0..n).map(|i| Some(!missing(i))).collect();
        let at = |i: usize| Locator {
            offset: meta.offset.value(i),
            length: meta.length.value(i),
            row: meta.row.value(i),
            part: meta.part.value(i),
            cell: meta.cell.is_valid(i).then(|| meta.cell.value(i)),
        };
        Ok(Built {
            events: filter_record_batch(&all, &keep)?,
            without_subject: without.into_iter().map(at).collect(),
        })
    }

    fn subjects(&mut self, kind: &RecordKind, issuers: &StringArray, subjects: &StringArray) -> Vec<Id> {
        if !kind.subject {
            return vec![[0; 16]; subjects.len()];
        }
        let mut out: Vec<Id> = Vec::with_capacity(subjects.len());
        for i in 0..subjects.len() {
            let (issuer, subject) = (issuers.value(i), subjects.value(i));
            if i > 0 && subject == subjects.value(i - 1) && issuer == issuers.value(i - 1) {
                out.push(out[i - 1]);
                continue;
            }
            out.push(self.subject(issuer, subject));
        }
        out
    }

    fn subject(&mut self, issuer: &str, subject: &str) -> Id {
        let name = (xxh3_128(issuer.as_bytes()), xxh3_128(subject.as_bytes()));
        if let Some(id) = self.seen.get(&name) {
            return *id;
        }
        let id = subject_id(self.key, issuer, subject);
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        self.seen.insert(name, id);
        id
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
    let by_content = |i: usize| {
        let mut bytes = [0u8; 32];
        bytes[..16].copy_from_slice(&subjects[i]);
        bytes[16..].copy_from_slice(&content[i].to_be_bytes());
        xxh3_128(&bytes).to_be_bytes()
    };
    match &kind.key {
        RecordKey::Content => Ok((0..rows.num_rows()).map(by_content).collect()),
        RecordKey::Columns(names) if names.is_empty() => Ok(vec![[0; 16]; rows.num_rows()]),
        RecordKey::Columns(names) => {
            let schema = rows.schema();
            let indices = names
                .iter()
                .map(|n| schema.index_of(n))
                .collect::<Result<Vec<_>, _>>()?;
            let parts = rows.project(&indices)?;
            // Without its first part a key would make one record of many: such a record is known by its content. Later
            // parts may be absent (a sub-id, a kind).
            let is_named = |i: usize| parts.column(0).is_valid(i);
            let hashes = hashes_of(&parts)?;
            let key = |(i, hash): (usize, u128)| if is_named(i) { hash.to_be_bytes() } else { by_content(i) };
            Ok(hashes.into_iter().enumerate().map(key).collect())
        }
    }
}

fn hashes_of(rows: &RecordBatch) -> Result<Vec<u128>, PluginError> {
    row_hashes(rows).map_err(|error| PluginError::new(clinmill_sdk::Status::Internal, "ROW_HASH", error.to_string()))
}

fn id_column(ids: impl Iterator<Item = Id>) -> Result<ArrayRef, PluginError> {
    let bytes: Vec<u8> = ids.flatten().collect();
    Ok(Arc::new(FixedSizeBinaryArray::try_new(
        16,
        Buffer::from_vec(bytes),
        None,
    )?))
}

fn repeated(value: Option<&str>, n: usize) -> StringArray {
    match value {
        None => StringArray::new_null(n),
        Some(value) => StringArray::from_iter_values(std::iter::repeat_n(value, n)),
    }
}

/// Collects events in memory, up to a number of records per kind: for previews.
pub struct EventSink<'a> {
    builder: Option<EventBuilder<'a>>,
    events: Vec<Vec<RecordBatch>>,
    limit: usize,
    full: bool,
}

impl<'a> EventSink<'a> {
    /// A sink for so many kinds.
    pub fn new(kinds: usize, limit: usize) -> Self {
        Self {
            builder: None,
            events: vec![Vec::new(); kinds],
            limit,
            full: false,
        }
    }

    /// The next input begins.
    pub fn begin(&mut self, builder: EventBuilder<'a>) {
        self.builder = Some(builder);
    }

    /// True when one kind has all records it may have.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The events of a kind.
    pub fn events(&self, kind: usize) -> &[RecordBatch] {
        &self.events[kind]
    }
}

impl RecordSink for EventSink<'_> {
    fn rows(&mut self, batch: RecordBatchOf) -> Result<(), PluginError> {
        let kind = batch.kind;
        if let Some(builder) = &mut self.builder {
            self.events[kind].push(builder.build(batch)?.events);
        }
        self.full |= self.events[kind].iter().map(RecordBatch::num_rows).sum::<usize>() >= self.limit;
        if self.full {
            Err(PluginError::cancelled())
        } else {
            Ok(())
        }
    }
    fn reject(&mut self, _: Rejection) -> Result<(), PluginError> {
        Ok(())
    }
    fn filtered(&mut self, _: &str, _: u64) {}
    fn link(&mut self, _: IdentityLink) -> Result<(), PluginError> {
        Ok(())
    }
    fn progress(&mut self, _: u64) {}
}
