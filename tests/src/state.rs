//! Reads a dataset as any buyer could: the manifest as JSON, the data files with the parquet crate, nothing of the
//! product's own reading.

use arrow::{
    array::{Array, RecordBatch},
    util::display::{ArrayFormatter, FormatOptions},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::{collections::BTreeMap, fs::File, path::Path};

/// A row's columns as text.
pub type Row = BTreeMap<String, Option<String>>;

/// Rows by `_row_id`.
pub type Rows = BTreeMap<String, Row>;

/// One row of a change file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `U` or `D`.
    pub op: String,
    /// Why, on `U`.
    pub cause: Option<String>,
    /// The row's identity.
    pub row_id: String,
    /// The columns that a base file has too.
    pub row: Row,
}

/// A row's value, `""` where there is none.
pub fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Option::as_deref).unwrap_or_default()
}

/// A measured gate of a manifest by its name; null where there is none.
pub fn gate(manifest: &Value, name: &str) -> Value {
    let mut gates = manifest["gates"].as_array().into_iter().flatten();
    gates.find(|g| g["name"] == name).cloned().unwrap_or_default()
}

/// The state of a table: base files, then the overlay's changes in order.
///
/// # Panics
/// When a file does not read, or a row id occurs twice.
pub fn rows_of(dataset: &Path, manifest: &Value, table: &str) -> Rows {
    let mut rows = Rows::new();
    for row in files(dataset, &manifest["tables"][table]["base"]) {
        let known = rows.insert(text(&row, "_row_id").to_owned(), row);
        assert!(known.is_none(), "{table}: a row id stands twice in the base");
    }
    for change in files(dataset, &manifest["tables"][table]["overlay"])
        .into_iter()
        .map(change)
    {
        apply(&mut rows, change);
    }
    rows
}

/// The changes of a release.
///
/// # Panics
/// When a file does not read.
pub fn changes_of(dataset: &Path, manifest: &Value, table: &str) -> Vec<Change> {
    files(dataset, &manifest["tables"][table]["changes"])
        .into_iter()
        .map(change)
        .collect()
}

/// Applies one change.
///
/// # Panics
/// When it is neither `U` nor `D`, or deletes what is not there.
pub fn apply(rows: &mut Rows, change: Change) {
    match change.op.as_str() {
        "U" => {
            rows.insert(change.row_id, change.row);
        }
        "D" => assert!(
            rows.remove(&change.row_id).is_some(),
            "a row is deleted that is not there"
        ),
        other => panic!("a change is {other:?}"),
    }
}

fn change(mut row: Row) -> Change {
    let mut take = |column: &str| row.remove(column).flatten();
    let (op, cause) = (take("_op").unwrap_or_default(), take("_cause"));
    take("_moved_from");
    Change {
        op,
        cause,
        row_id: text(&row, "_row_id").to_owned(),
        row,
    }
}

fn files(dataset: &Path, list: &Value) -> Vec<Row> {
    let paths = list.as_array().into_iter().flatten().filter_map(|f| f["path"].as_str());
    paths.flat_map(|path| parquet(&dataset.join(path))).collect()
}

/// All rows of a Parquet file.
///
/// # Panics
/// When it does not read.
pub fn parquet(path: &Path) -> Vec<Row> {
    let failed = |error: &dyn std::fmt::Display| -> ! { panic!("cannot read {}: {error}", path.display()) };
    let file = File::open(path).unwrap_or_else(|e| failed(&e));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build);
    let reader = reader.unwrap_or_else(|e| failed(&e));
    reader
        .flat_map(|batch| batch_rows(&batch.unwrap_or_else(|e| failed(&e))))
        .collect()
}

fn batch_rows(batch: &RecordBatch) -> Vec<Row> {
    let options = FormatOptions::default();
    let schema = batch.schema();
    let mut rows = vec![Row::new(); batch.num_rows()];
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let shown = match ArrayFormatter::try_new(column.as_ref(), &options) {
            Ok(shown) => shown,
            Err(error) => panic!("column {}: {error}", field.name()),
        };
        for (i, row) in rows.iter_mut().enumerate() {
            let value = column.is_valid(i).then(|| shown.value(i).to_string());
            row.insert(field.name().clone(), value);
        }
    }
    rows
}
