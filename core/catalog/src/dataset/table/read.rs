//! Reads Parquet files of a table one batch at a time.

use crate::{CatalogError, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, SchemaRef};
use clinmill_model::columns;
use clinmill_sdk::regular;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;
use std::collections::VecDeque;
use std::path::PathBuf;

/// Rows of a batch.
pub(super) const BATCH: usize = 8192;
/// About how many bytes a batch may have: rows that carry whole documents come in smaller ones.
pub(super) const BATCH_BYTES: usize = 16 << 20;

/// The rows of several files, one after the other.
pub struct BatchReader {
    files: VecDeque<PathBuf>,
    columns: Option<Vec<String>>,
    open: Option<(String, ParquetRecordBatchReader)>,
}

/// Reads files in order. Nothing is opened before the first batch is asked for.
pub fn read_files(files: impl IntoIterator<Item = PathBuf>) -> BatchReader {
    BatchReader {
        files: files.into_iter().collect(),
        columns: None,
        open: None,
    }
}

impl BatchReader {
    /// Reads these columns only; one that a file lacks is left out.
    pub(crate) fn only(mut self, columns: &[&str]) -> Self {
        self.columns = Some(columns.iter().map(|c| (*c).to_owned()).collect());
        self
    }

    fn open(&self, path: PathBuf) -> Result<(String, ParquetRecordBatchReader)> {
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let file = regular::open(&path).map_err(CatalogError::io("read", &path))?;
        let bad = || CatalogError::parquet(name.clone());
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(bad())?;
        let rows = rows_of_a_batch(builder.metadata().row_groups());
        let mut builder = builder.with_batch_size(rows);
        if let Some(columns) = &self.columns {
            // By the names at the root: a name may hold a dot.
            let fields = builder.parquet_schema().root_schema().get_fields();
            let wanted = fields
                .iter()
                .enumerate()
                .filter(|(_, f)| columns.iter().any(|c| c == f.name()));
            let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.map(|(i, _)| i).collect::<Vec<_>>());
            builder = builder.with_projection(mask);
        }
        let reader = builder.build().map_err(bad())?;
        Ok((name, reader))
    }
}

/// As many rows as [`BATCH_BYTES`] hold in the row group with the longest rows.
fn rows_of_a_batch(groups: &[RowGroupMetaData]) -> usize {
    let row_bytes = groups.iter().map(|g| g.total_byte_size() / g.num_rows().max(1)).max();
    let row_bytes = usize::try_from(row_bytes.unwrap_or(0)).unwrap_or(0).max(1);
    (BATCH_BYTES / row_bytes).clamp(1, BATCH)
}

impl Iterator for BatchReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((name, reader)) = &mut self.open {
                match reader.next() {
                    Some(Ok(batch)) if batch.num_rows() == 0 => continue,
                    Some(Ok(batch)) => return Some(Ok(batch)),
                    Some(Err(e)) => {
                        // The rest of a damaged file is not read.
                        let file = std::mem::take(name);
                        self.open = None;
                        self.files.clear();
                        return Some(Err(CatalogError::Parquet {
                            file,
                            reason: e.to_string(),
                        }));
                    }
                    None => self.open = None,
                }
            }
            let path = self.files.pop_front()?;
            match self.open(path) {
                Ok(open) => self.open = Some(open),
                Err(e) => {
                    self.files.clear();
                    return Some(Err(e));
                }
            }
        }
    }
}

/// A batch with the columns of `schema`: by name, missing ones null, others left out, types cast where no value is
/// lost. An error for a value that does not fit or a null where none may be.
pub fn adapt(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let columns: Result<Vec<ArrayRef>> = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            Some(array) if array.data_type() == field.data_type() => Ok(array.clone()),
            // Of no value, every type is told.
            Some(array) if array.null_count() == array.len() => Ok(new_null_array(field.data_type(), array.len())),
            Some(array) => cast_with_options(array, field.data_type(), &strict).map_err(|_| {
                CatalogError::invalid(
                    format!("column {}", field.name()),
                    format!("cannot become {} from {}", field.data_type(), array.data_type()),
                )
            }),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns?, &options)?)
}

/// The sort key of a batch's rows.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    subject: Option<StringArray>,
    id: StringArray,
}

impl Keys {
    pub(super) fn of(batch: &RecordBatch) -> Result<Self> {
        Ok(Self {
            subject: text(batch, columns::SUBJECT_ID)?,
            id: text(batch, columns::ROW_ID)?
                .ok_or_else(|| CatalogError::invalid("a table's file", "has no column _row_id"))?,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.id.len()
    }

    /// (subject, row id); the subject is empty in tables without.
    pub(super) fn get(&self, row: usize) -> (&str, &str) {
        (self.subject.as_ref().map_or("", |s| s.value(row)), self.id.value(row))
    }
}

/// A column as plain strings; none when the batch lacks it.
pub(crate) fn text(batch: &RecordBatch, name: &str) -> Result<Option<StringArray>> {
    let Some(array) = batch.column_by_name(name) else {
        return Ok(None);
    };
    if let Some(plain) = array.as_string_opt::<i32>() {
        return Ok(Some(plain.clone()));
    }
    let plain = arrow::compute::cast(array, &DataType::Utf8)?;
    Ok(Some(plain.as_string::<i32>().clone()))
}
