//! Events on their way to their files: what the engine knows of each in one packed stamp, the texts beside it.
//!
//! Moving one stamp costs less than moving ten columns, and most of what it holds says the same for a whole file.

use super::{gather::gather, runs::Run};
use crate::{
    error::EngineError,
    fold::{Id, ids},
};
use arrow::{
    array::{
        Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, RecordBatchOptions, StringArray, UInt8Array,
        UInt32Array, UInt64Array,
    },
    buffer::Buffer,
    compute::take_record_batch,
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    error::ArrowError,
};
use clinmill_catalog::events;
use std::{collections::HashMap, ops::Range, sync::Arc};

/// What the engine knows of one event, but for its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The keyed id of the subject identifier.
    pub subject: Id,
    /// See [`events::KEY`].
    pub key: Id,
    /// See [`events::CONTENT`].
    pub content: u64,
    /// See [`events::OFFSET`].
    pub offset: u64,
    /// See [`events::LENGTH`].
    pub length: u64,
    /// See [`events::ROW`].
    pub row: u64,
    /// See [`events::PART`].
    pub part: u32,
    /// See [`events::CELL`]; 0: none.
    pub cell: u32,
    /// See [`events::INPUT`].
    pub input: u32,
    /// See [`events::VOID`].
    pub void: u8,
    /// Known by its content: equal ones of one input are records of their own.
    pub nameless: bool,
}

/// Bytes of a stamp in a staging file.
const STAMP_BYTES: usize = 16 + 16 + 4 * 8 + 3 * 4 + 2;
const STAMP: &str = "_stamp";

/// Events of one record kind: stamps, and a batch of issuer, identifier, version and the record's own columns.
#[derive(Clone, Debug)]
pub struct Staged {
    /// One for each event.
    pub stamps: Vec<Stamp>,
    /// One row for each event.
    pub texts: RecordBatch,
}

/// The time that each input speaks of.
pub type Times = HashMap<u32, Option<String>>;

/// The schema of [`Staged::texts`].
pub fn texts_schema(record: &Schema) -> SchemaRef {
    let all = events::schema(record);
    let texts = all.fields().iter().enumerate().filter(|(i, f)| {
        *i >= events::SYSTEM_COLUMNS || [events::ISSUER, events::ID, events::VERSION].contains(&f.name().as_str())
    });
    Arc::new(Schema::new(texts.map(|(_, f)| f.clone()).collect::<Vec<_>>()))
}

impl Staged {
    /// How many events.
    pub fn len(&self) -> usize {
        self.stamps.len()
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        self.texts.get_array_memory_size() + self.stamps.len() * size_of::<Stamp>()
    }

    /// The version of an event.
    pub fn version(&self, row: usize) -> Option<&str> {
        let versions = self.texts.column(2).as_string::<i32>();
        versions.is_valid(row).then(|| versions.value(row))
    }

    /// These events.
    ///
    /// # Errors
    /// Never for rows that exist.
    pub fn take(&self, rows: Vec<u32>) -> Result<Self, ArrowError> {
        let stamps = rows.iter().map(|&i| self.stamps[i as usize]).collect();
        let texts = take_record_batch(&self.texts, &UInt32Array::from(rows))?;
        Ok(Self { stamps, texts })
    }

    /// The events of these rows, not copied but for their stamps.
    pub fn slice(&self, rows: Range<usize>) -> Self {
        Self {
            texts: self.texts.slice(rows.start, rows.len()),
            stamps: self.stamps.get(rows).unwrap_or_default().to_vec(),
        }
    }

    /// The events of these runs, as one, with the columns of `texts`: those of the parts, or some of them.
    ///
    /// # Errors
    /// Never for runs of these parts.
    pub fn gather(parts: &[&Self], texts: &[&RecordBatch], runs: &[Run]) -> Result<Self, ArrowError> {
        Ok(Self {
            stamps: stamps_of(parts, runs.iter()),
            texts: gather(texts, runs)?,
        })
    }

    /// As a batch for a staging file.
    ///
    /// # Errors
    /// Never.
    pub fn pack(&self) -> Result<RecordBatch, ArrowError> {
        let mut bytes = Vec::with_capacity(self.len() * STAMP_BYTES);
        for s in &self.stamps {
            bytes.extend_from_slice(&s.subject);
            bytes.extend_from_slice(&s.key);
            for n in [s.content, s.offset, s.length, s.row] {
                bytes.extend_from_slice(&n.to_le_bytes());
            }
            for n in [s.part, s.cell, s.input] {
                bytes.extend_from_slice(&n.to_le_bytes());
            }
            bytes.extend_from_slice(&[s.void, u8::from(s.nameless)]);
        }
        let stamps = FixedSizeBinaryArray::try_new(STAMP_BYTES as i32, Buffer::from_vec(bytes), None)?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(stamps)];
        columns.extend(self.texts.columns().iter().cloned());
        RecordBatch::try_new(packed_schema(&self.texts.schema()), columns)
    }

    /// Back from a staging file.
    ///
    /// # Errors
    /// When the batch is no packed one.
    pub fn unpack(batch: &RecordBatch) -> Result<Self, EngineError> {
        let damaged = || EngineError::internal("a staging file holds something else".to_owned());
        let packed = batch.column(0).as_fixed_size_binary_opt().ok_or_else(damaged)?;
        let stamps = (0..packed.len())
            .map(|i| Stamp::read(packed.value(i)).ok_or_else(damaged))
            .collect::<Result<Vec<_>, _>>()?;
        let own: Vec<usize> = (1..batch.num_columns()).collect();
        Ok(Self {
            stamps,
            texts: batch.project(&own)?,
        })
    }
}

/// The schema of a staging file.
pub fn packed_schema(texts: &Schema) -> SchemaRef {
    let stamp = Field::new(STAMP, DataType::FixedSizeBinary(STAMP_BYTES as i32), false);
    let fields = std::iter::once(Arc::new(stamp)).chain(texts.fields().iter().cloned());
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl Stamp {
    /// The first half of the subject's id.
    pub fn head(&self) -> u64 {
        head(&self.subject)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (subject, rest) = bytes.split_first_chunk()?;
        let (key, mut rest) = rest.split_first_chunk()?;
        let mut longs = [0; 4];
        for long in &mut longs {
            let (n, after) = rest.split_first_chunk()?;
            (*long, rest) = (u64::from_le_bytes(*n), after);
        }
        let mut ints = [0; 3];
        for int in &mut ints {
            let (n, after) = rest.split_first_chunk()?;
            (*int, rest) = (u32::from_le_bytes(*n), after);
        }
        let [content, offset, length, row] = longs;
        let [part, cell, input] = ints;
        Some(Self {
            subject: *subject,
            key: *key,
            content,
            offset,
            length,
            row,
            part,
            cell,
            input,
            void: *rest.first()?,
            nameless: *rest.get(1)? != 0,
        })
    }
}

/// The first half of an id.
pub fn head(id: &Id) -> u64 {
    id.first_chunk().map_or(0, |head| u64::from_be_bytes(*head))
}

/// The stamps of the events of these runs.
pub fn stamps_of<'a>(parts: &[&Staged], runs: impl Iterator<Item = &'a Run> + Clone) -> Vec<Stamp> {
    let mut out = Vec::with_capacity(runs.clone().map(|run| run.len as usize).sum());
    for run in runs {
        match &parts[run.part as usize].stamps[run.rows()] {
            [stamp] => out.push(*stamp),
            stamps => out.extend_from_slice(stamps),
        }
    }
    out
}

/// As whole events: these stamps, beside texts of as many events.
///
/// # Errors
/// Never for a batch of this record.
pub fn widen(
    stamps: &[Stamp],
    texts: &RecordBatch,
    schema: &SchemaRef,
    ordinals: &[u32],
    times: &Times,
) -> Result<RecordBatch, ArrowError> {
    let column = |field: &FieldRef| match texts.column_by_name(field.name()) {
        Some(column) => Ok(column.clone()),
        None => engine_column(field.name(), stamps, ordinals, times),
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(stamps.len()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

fn engine_column(name: &str, stamps: &[Stamp], ordinals: &[u32], times: &Times) -> Result<ArrayRef, ArrowError> {
    let longs = |of: fn(&Stamp) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(stamps.iter().map(of))) };
    let ints = |of: fn(&Stamp) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(stamps.iter().map(of))) };
    Ok(match name {
        events::SUBJECT => Arc::new(ids(stamps.iter().map(|s| s.subject))?),
        events::KEY => Arc::new(ids(stamps.iter().map(|s| s.key))?),
        events::ORDINAL => Arc::new(UInt32Array::from(ordinals.to_vec())),
        events::AS_OF => {
            let of = |s: &Stamp| times.get(&s.input).and_then(Option::as_deref);
            Arc::new(stamps.iter().map(of).collect::<StringArray>())
        }
        events::VOID => Arc::new(UInt8Array::from_iter_values(stamps.iter().map(|s| s.void))),
        events::CONTENT => longs(|s| s.content),
        events::INPUT => ints(|s| s.input),
        events::OFFSET => longs(|s| s.offset),
        events::LENGTH => longs(|s| s.length),
        events::ROW => longs(|s| s.row),
        events::PART => ints(|s| s.part),
        events::CELL => {
            let cells = stamps.iter().map(|s| (s.cell != 0).then_some(s.cell));
            Arc::new(cells.collect::<UInt32Array>())
        }
        other => return Err(ArrowError::SchemaError(format!("no engine column is called {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staged_batch_survives_its_file() {
        let stamp = |n: u64| Stamp {
            subject: [n as u8; 16],
            key: [n as u8 + 1; 16],
            content: n << 40,
            offset: n,
            length: n + 2,
            row: u64::MAX - n,
            part: 7,
            cell: n as u32,
            input: 9,
            void: 1,
            nameless: n > 0,
        };
        let own = Schema::new(vec![Field::new("value", DataType::Utf8, true)]);
        let text = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let texts = RecordBatch::try_new(
            texts_schema(&own),
            vec![
                text(vec![Some("MRN"), Some("")]),
                text(vec![Some("1"), None]),
                text(vec![None, Some("2026")]),
                text(vec![Some("5.6"), None]),
            ],
        )
        .unwrap();
        let staged = Staged {
            stamps: vec![stamp(0), stamp(200)],
            texts,
        };
        let back = Staged::unpack(&staged.pack().unwrap()).unwrap();
        assert_eq!((&back.stamps, &back.texts), (&staged.stamps, &staged.texts));
        let times = Times::from([(9, Some("2026-01-01".to_owned()))]);
        let wide = widen(&back.stamps, &back.texts, &events::schema(&own), &[0, 1], &times).unwrap();
        assert_eq!(wide.schema(), events::schema(&own));
        assert!(wide.column_by_name(events::CELL).unwrap().is_null(0));
    }
}
