//! Parquet files, one row group at a time. Foreign files may make the decoder panic: it is caught.

use crate::{
    config::Config,
    core::{Core, RowAt},
    error,
    header::Header,
    layout,
    plan::{self, RecordPlan},
    rows::Rows,
};
use ::parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    errors::{ParquetError, Result as ParquetResult},
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader},
        reader::{ChunkReader, Length},
    },
};
use bytes::{Buf, Bytes, buf::Reader};
use clinmill_sdk::{
    Input, PluginError, RecordSink, TaskContext,
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch, StringArray},
        compute::cast,
        datatypes::{DataType, Float32Type, Float64Type},
    },
};
use std::{
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// The longest footer.
const MOST_FOOTER: u64 = 256 << 20;
/// The largest row group as stored.
const MOST_GROUP: u64 = 1 << 30;
/// Bytes of fields at which rows are pushed whatever their number.
const HEAVY: usize = 16 << 20;

/// Reads a whole file.
///
/// # Errors
/// When it is no Parquet file, is damaged, or lacks the columns.
pub fn read(
    config: &Config,
    plans: &[RecordPlan],
    input: &dyn Input,
    task: &TaskContext<'_>,
    out: &mut dyn RecordSink,
) -> Result<(), PluginError> {
    let metadata = caught(input.size(), || metadata(input))?;
    let names: Vec<String> = metadata
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let header = Header {
        names: &names,
        offset: input.size(),
    };
    let mut core = Core::new(
        plan::resolve(config, plans, header, input.captures())?,
        task.batch_rows,
        true,
    );
    let mut rows = Rows::new(names.len(), 0);
    let mut number = 0;
    for group in 0..metadata.metadata().num_row_groups() {
        task.check()?;
        let start = metadata
            .metadata()
            .row_group(group)
            .file_offset()
            .and_then(|o| u64::try_from(o).ok())
            .unwrap_or(0);
        let chunks = group_bytes(input, metadata.metadata(), group)?;
        let mut reader = caught(start, || {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata.clone());
            let batch_rows = task.batch_rows.clamp(1, 65_536);
            builder
                .with_row_groups(vec![group])
                .with_batch_size(batch_rows)
                .build()
                .map_err(|_| damaged(start))
        })?;
        while let Some(batch) = caught(start, || reader.next().transpose().map_err(|_| damaged(start)))? {
            let columns = caught(start, || texts(&batch, start))?;
            for row in 0..batch.num_rows() {
                number += 1;
                for column in &columns {
                    rows.written(|into| column.write(row, into));
                }
                rows.end_row(RowAt {
                    offset: 0,
                    length: input.size(),
                    row: number,
                });
                if rows.weight() > HEAVY {
                    core.push("", &mut rows, out)?;
                }
            }
            core.push("", &mut rows, out)?;
        }
    }
    out.progress(input.size());
    Ok(())
}

fn damaged(offset: u64) -> PluginError {
    PluginError::data(offset, error::PARQUET_DAMAGED, "the Parquet file is cut off or damaged")
}

fn caught<T>(offset: u64, run: impl FnOnce() -> Result<T, PluginError>) -> Result<T, PluginError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(damaged(offset)))
}

/// The footer (Parquet format, "File format": 4 bytes of length and `PAR1` at the end).
fn metadata(input: &dyn Input) -> Result<ArrowReaderMetadata, PluginError> {
    let size = input.size();
    let tail_at = size.checked_sub(8).ok_or_else(|| damaged(size))?;
    let tail = layout::read(input, tail_at, 8)?;
    let length = tail.first_chunk::<4>().map_or(0, |b| u64::from(u32::from_le_bytes(*b)));
    if tail.get(4..) != Some(b"PAR1") || length > tail_at || length > MOST_FOOTER {
        return Err(damaged(size));
    }
    let start = tail_at - length;
    let footer = layout::read(input, start, length as usize)?;
    let metadata = ParquetMetaDataReader::decode_metadata(&footer).map_err(|_| damaged(start))?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ArrowReaderMetadata::try_new(Arc::new(metadata), options).map_err(|_| damaged(start))
}

/// The stored columns of one row group.
fn group_bytes(input: &dyn Input, metadata: &ParquetMetaData, group: usize) -> Result<Chunks, PluginError> {
    let mut chunks = Vec::new();
    let mut total = 0u64;
    for column in metadata.row_group(group).columns() {
        let range = catch_unwind(|| column.byte_range());
        let (start, length) = range.map_err(|_| damaged(input.size()))?;
        total = total.saturating_add(length);
        if total > MOST_GROUP || start.saturating_add(length) > input.size() {
            return Err(damaged(start.min(input.size())));
        }
        chunks.push((start, Bytes::from(layout::read(input, start, length as usize)?)));
    }
    Ok(Chunks {
        size: input.size(),
        chunks,
    })
}

/// The parts of a file that are in memory.
struct Chunks {
    size: u64,
    chunks: Vec<(u64, Bytes)>,
}

impl Chunks {
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let found = self.chunks.iter().find_map(|(at, bytes)| {
            let skip = usize::try_from(start.checked_sub(*at)?).ok()?;
            (skip < bytes.len() || (skip == 0 && bytes.is_empty())).then(|| bytes.slice(skip..))
        });
        found.ok_or_else(|| ParquetError::EOF("outside the row group".to_owned()))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Chunks {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.from(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF("outside the row group".to_owned()));
        }
        Ok(bytes.slice(..length))
    }
}

/// A column whose values can be written as text.
enum Texts {
    Strings(StringArray),
    Doubles(ArrayRef),
    Singles(ArrayRef),
}

impl Texts {
    fn write(&self, row: usize, into: &mut String) {
        // Writing to a string does not fail.
        let _ = match self {
            Self::Strings(array) if array.is_valid(row) => into.write_str(array.value(row)),
            Self::Doubles(array) if array.is_valid(row) => {
                write!(into, "{}", array.as_primitive::<Float64Type>().value(row))
            }
            Self::Singles(array) if array.is_valid(row) => {
                write!(into, "{}", array.as_primitive::<Float32Type>().value(row))
            }
            _ => Ok(()),
        };
    }
}

fn texts(batch: &RecordBatch, offset: u64) -> Result<Vec<Texts>, PluginError> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (array, field) in batch.columns().iter().zip(batch.schema().fields()) {
        columns.push(match array.data_type() {
            DataType::Float64 => Texts::Doubles(array.clone()),
            DataType::Float32 => Texts::Singles(array.clone()),
            kind if kind.is_nested() => {
                let message = format!(
                    "the column {:?} is nested: only plain columns are table cells",
                    field.name()
                );
                return Err(PluginError::data(offset, error::PARQUET_TYPE, message));
            }
            kind => {
                // An instant is shown in UTC: tables hold no time zones.
                let plain = match kind {
                    DataType::Timestamp(unit, Some(_)) => cast(array, &DataType::Timestamp(*unit, None))?,
                    _ => array.clone(),
                };
                let strings = cast(&plain, &DataType::Utf8).map_err(|_| {
                    let message = format!("the column {:?} cannot be shown as text", field.name());
                    PluginError::data(offset, error::PARQUET_TYPE, message)
                })?;
                Texts::Strings(strings.as_string::<i32>().clone())
            }
        });
    }
    Ok(columns)
}
