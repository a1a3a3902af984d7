//! Writes a table's rows to Parquet files in a staging folder.

use super::read::{Keys, adapt};
use crate::dataset::StagedFile;
use crate::hashed::Hashed;
use crate::{CatalogError, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use clinmill_model::columns;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;

/// Limits of the files written.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// Rows of a row group.
    pub group_rows: usize,
    /// Encoded bytes of a row group, whichever comes first.
    pub group_bytes: usize,
    /// A base file is closed after the row group in which it passes this many bytes.
    pub file_bytes: u64,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            group_rows: 128 << 10,
            group_bytes: 32 << 20,
            file_bytes: 192 << 20,
        }
    }
}

/// Where files go and whose they are.
#[derive(Clone, Debug)]
pub struct FileTarget {
    /// A folder of the vault's staging area; it is made if it is missing.
    pub dir: PathBuf,
    /// The refresh. It is written into each file, so that no two refreshes make files of the same name, and an
    /// orphan of one is never the file of another.
    pub run_id: String,
}

/// Writes rows that arrive in the order of the table's sort key, and checks that order.
#[derive(Debug)]
pub struct TableWriter {
    target: FileTarget,
    schema: SchemaRef,
    options: WriterOptions,
    open: Option<Open>,
    done: Vec<StagedFile>,
    last: Option<(String, String)>,
    number: usize,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    writer: ArrowWriter<Hashed<BufWriter<File>>>,
    rows: u64,
}

impl TableWriter {
    /// A writer of files with this schema: [`base_schema`](crate::dataset::base_schema) or
    /// [`change_schema`](crate::dataset::change_schema) of a table.
    pub fn new(target: FileTarget, schema: SchemaRef, options: WriterOptions) -> Result<Self> {
        fs::create_dir_all(&target.dir).map_err(CatalogError::io("create", &target.dir))?;
        Ok(Self {
            target,
            schema,
            options,
            open: None,
            done: Vec::new(),
            last: None,
            number: 0,
        })
    }

    /// Writes rows. Columns are matched by name; missing ones are null. An error when the rows are not in the order
    /// of the sort key, or a row comes twice.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = adapt(batch, &self.schema)?;
        self.check_order(&batch)?;
        CatalogError::unless_decimals_fit(&batch)?;
        let open = match &mut self.open {
            Some(open) => open,
            closed => closed.insert(start(&self.target, &batch, &self.options, self.number)?),
        };
        open.writer
            .write(&batch)
            .map_err(|e| CatalogError::writing(&open.path)(e))?;
        open.rows += batch.num_rows() as u64;
        if open.writer.bytes_written() as u64 >= self.options.file_bytes {
            self.close()?;
        }
        Ok(())
    }

    /// Closes the last file. The files are synced and in the order of the sort key; none when there were no rows.
    pub fn finish(mut self) -> Result<Vec<StagedFile>> {
        self.close()?;
        Ok(self.done)
    }

    /// Closes the only file, which is there also without rows. For options that never split.
    pub(in crate::dataset) fn finish_one(mut self) -> Result<StagedFile> {
        if self.open.is_none() && self.done.is_empty() {
            let none = RecordBatch::new_empty(self.schema.clone());
            self.open = Some(start(&self.target, &none, &self.options, self.number)?);
        }
        self.close()?;
        self.done
            .pop()
            .ok_or_else(|| CatalogError::invalid("a table's file", "was not written"))
    }

    fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        self.number += 1;
        let hashed = open.writer.into_inner().map_err(CatalogError::writing(&open.path))?;
        let (file, size, sha256) = hashed.finish();
        let file = file
            .into_inner()
            .map_err(|e| CatalogError::io("write", &open.path)(e.into_error()))?;
        file.sync_all().map_err(CatalogError::io("sync", &open.path))?;
        self.done.push(StagedFile {
            path: open.path,
            size,
            sha256,
            rows: open.rows,
        });
        Ok(())
    }

    fn check_order(&mut self, batch: &RecordBatch) -> Result<()> {
        let keys = Keys::of(batch)?;
        let unordered = || {
            CatalogError::invalid(
                "rows of a table",
                "not sorted by subject_id and _row_id, or the same row twice",
            )
        };
        for row in 1..keys.len() {
            if keys.get(row - 1) >= keys.get(row) {
                return Err(unordered());
            }
        }
        if let Some((subject, id)) = &self.last
            && (subject.as_str(), id.as_str()) >= keys.get(0)
        {
            return Err(unordered());
        }
        let (subject, id) = keys.get(keys.len() - 1);
        self.last = Some((subject.to_owned(), id.to_owned()));
        Ok(())
    }
}

/// Begins a file whose first rows are these.
fn start(target: &FileTarget, rows: &RecordBatch, options: &WriterOptions, number: usize) -> Result<Open> {
    let path = target.dir.join(format!("part-{number:05}.parquet"));
    let file = File::create(&path).map_err(CatalogError::io("create", &path))?;
    let properties = properties(rows, options, &target.run_id);
    let out = Hashed::new(BufWriter::with_capacity(1 << 18, file));
    let writer = ArrowWriter::try_new(out, rows.schema(), Some(properties)).map_err(CatalogError::writing(&path))?;
    Ok(Open { path, writer, rows: 0 })
}

/// Mean bytes from which a text is a document: a dictionary of documents is built for nothing, and rows that share one
/// would be far longer in memory than the file tells.
const DOCUMENT: usize = 256;

fn properties(rows: &RecordBatch, options: &WriterOptions, run_id: &str) -> WriterProperties {
    let schema = rows.schema_ref();
    // Statistics of other columns would spread exact extremes of rare values into file footers.
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(options.group_rows))
        .set_max_row_group_bytes(Some(options.group_bytes))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by("clinmill".into())
        .set_key_value_metadata(Some(vec![KeyValue::new("clinmill.run".into(), run_id.to_owned())]));
    for name in [columns::ROW_ID, columns::SUBJECT_ID] {
        if schema.field_with_name(name).is_ok() {
            let column = ColumnPath::from(name);
            properties = properties.set_column_statistics_enabled(column, EnabledStatistics::Page);
        }
    }
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        let ends = column.as_string_opt::<i32>().map(|texts| texts.value_offsets());
        let bytes = ends.and_then(|ends| Some(ends.last()? - ends.first()?)).unwrap_or(0);
        if bytes as usize > DOCUMENT * rows.num_rows() {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(field.name().clone()), false);
        }
    }
    // Row ids are all different: a dictionary of them is built for nothing.
    properties
        .set_column_dictionary_enabled(ColumnPath::from(columns::ROW_ID), false)
        .build()
}
