//! Parquet files, one row group at a time. Foreign files may make the decoder panic: it is caught.

use crate::{
    config::Config,
    core::{Core, RowAt},
    error,
    header::Header,
    layout,
    plan::{self, RecordPlan},
    rows::Rows,
    value,
    zone::Zone,
};
use ::parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    basic::Compression,
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
        array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray},
        compute::cast,
        datatypes::{DataType, Float32Type, Float64Type, Int64Type, TimeUnit},
        error::ArrowError,
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
    zone: &Zone,
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
    let resolved = plan::resolve(config, plans, header, input.captures())?;
    // What no option names is neither read nor looked at.
    let fields: Vec<usize> = resolved.fields().into_iter().collect();
    let mask = ProjectionMask::roots(metadata.parquet_schema(), fields.iter().copied());
    let mut core = Core::new(resolved, zone, task.batch_rows, true);
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
        let failed = |error: String| unread(&error, metadata.metadata(), group, start);
        let chunks = group_bytes(input, metadata.metadata(), group)?;
        let mut reader = caught(start, || {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata.clone());
            let batch_rows = task.batch_rows.clamp(1, 65_536);
            builder
                .with_row_groups(vec![group])
                .with_projection(mask.clone())
                .with_batch_size(batch_rows)
                .build()
                .map_err(|e| failed(e.to_string()))
        })?;
        while let Some(batch) = caught(start, || {
            let batch = reader.next().transpose();
            batch.map_err(|e| failed(e.to_string()))
        })? {
            let columns = caught(start, || texts(&batch, &fields, config, zone, start))?;
            for row in 0..batch.num_rows() {
                number += 1;
                let at = RowAt {
                    offset: 0,
                    length: input.size(),
                    row: number,
                };
                if let Some((field, _)) = columns.iter().find(|(_, column)| column.is_lost(row)) {
                    let name = names.get(*field).map_or("", String::as_str);
                    let message = format!("the value of column {name:?} cannot be shown as text");
                    core.reject(&mut rows, at, error::ENCODING, message);
                    continue;
                }
                let mut columns = columns.iter().peekable();
                for field in 0..names.len() {
                    let column = columns.next_if(|(of, _)| *of == field);
                    rows.written(|into| {
                        if let Some((_, column)) = column {
                            column.write(row, into);
                        }
                    });
                }
                rows.end_row(at);
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

/// Why a row group cannot be read: a codec that is not built in, or else damage.
fn unread(error: &str, metadata: &ParquetMetaData, group: usize, offset: u64) -> PluginError {
    let mut codecs = metadata.row_group(group).columns().iter().map(|c| c.compression());
    let is_foreign = |codec: &Compression| {
        !matches!(
            codec,
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_)
        )
    };
    match codecs.find(is_foreign) {
        Some(codec) if error.contains("Disabled feature") => {
            let codec = codec.to_string();
            let codec = codec.split('(').next().unwrap_or_default();
            let message =
                format!("its columns are compressed with {codec}, which is not read: write them with snappy or zstd");
            PluginError::data(offset, error::PARQUET_TYPE, message)
        }
        _ => damaged(offset),
    }
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
    /// With the values as they were, where some of them have no text.
    Strings(StringArray, Option<ArrayRef>),
    Doubles(ArrayRef),
    Singles(ArrayRef),
    /// A column without a type: all of it is null.
    Nothing,
}

impl Texts {
    /// True for a value that is there and has no text.
    fn is_lost(&self, row: usize) -> bool {
        match self {
            Self::Strings(array, Some(values)) => array.is_null(row) && values.is_valid(row),
            _ => false,
        }
    }

    fn write(&self, row: usize, into: &mut String) {
        // Writing to a string does not fail.
        let _ = match self {
            Self::Strings(array, _) if array.is_valid(row) => into.write_str(array.value(row)),
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

/// The columns of these fields, each with its field.
fn texts(
    batch: &RecordBatch,
    fields: &[usize],
    config: &Config,
    zone: &Zone,
    offset: u64,
) -> Result<Vec<(usize, Texts)>, PluginError> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for ((array, column), field) in batch.columns().iter().zip(batch.schema().fields()).zip(fields) {
        let texts = match array.data_type() {
            DataType::Null => Texts::Nothing,
            DataType::Float64 => Texts::Doubles(array.clone()),
            DataType::Float32 => Texts::Singles(array.clone()),
            kind if kind.is_nested() => {
                let message = format!(
                    "the column {:?} is nested: only plain columns are table cells",
                    column.name()
                );
                return Err(PluginError::data(offset, error::PARQUET_TYPE, message));
            }
            kind => {
                let strings = match kind {
                    DataType::Timestamp(unit, Some(_)) => instants(array, *unit, zone),
                    DataType::Boolean => Ok(truths(array.as_boolean(), &config.null_values)),
                    _ => cast(array, &DataType::Utf8).map(|strings| strings.as_string().clone()),
                };
                let strings = strings.map_err(|_| {
                    let message = format!("the column {:?} cannot be shown as text", column.name());
                    PluginError::data(offset, error::PARQUET_TYPE, message)
                })?;
                let is_whole = strings.null_count() == array.null_count();
                Texts::Strings(strings, (!is_whole).then(|| array.clone()))
            }
        };
        columns.push((*field, texts));
    }
    Ok(columns)
}

/// Truth values as text; what means nothing is empty.
fn truths(flags: &BooleanArray, nulls: &[String]) -> StringArray {
    let text = |flag| match value::is_null_truth(flag, nulls) {
        true => "",
        false => value::truth(flag),
    };
    flags.iter().map(|flag| flag.map(text)).collect()
}

/// Instants as local times of the zone; where none is known, as times of UTC that say so.
fn instants(array: &ArrayRef, unit: TimeUnit, zone: &Zone) -> Result<StringArray, ArrowError> {
    let plain = DataType::Timestamp(unit, None);
    let utc = cast(array, &plain)?;
    if !zone.is_known() {
        let texts = cast(&utc, &DataType::Utf8)?;
        return Ok(texts
            .as_string::<i32>()
            .iter()
            .map(|text| Some(format!("{}Z", text?)))
            .collect());
    }
    let second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let counts = cast(&utc, &DataType::Int64)?;
    let local = |count: i64| count.checked_add(zone.ahead(count.div_euclid(second))?.checked_mul(second)?);
    let locals: Int64Array = counts
        .as_primitive::<Int64Type>()
        .iter()
        .map(|count| local(count?))
        .collect();
    let texts = cast(&cast(&locals, &plain)?, &DataType::Utf8)?;
    Ok(texts.as_string().clone())
}
