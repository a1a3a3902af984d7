//! Rows that pass from one subject to another: two patients are merged, a merge is corrected, an export gives a row of its
//! own key to somebody else. The range of the subject that lost the row stages a deletion, that of the other one a new
//! row; here the two become one change, since a row id occurs once in a release.

use super::stage::StagedTable;
use crate::{error::EngineError, fold::Id};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray},
    compute::filter_record_batch,
};
use clinmill_catalog::{
    dataset::{
        MOVED_FROM, StagedFile, change_schema,
        table::{FileTarget, TableWriter, WriterOptions, read_files},
    },
    vault::base32,
};
use clinmill_model::columns::{CAUSE, OP, ROW_ID};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

/// Makes one change of a deletion and a new row of the same id, in the files that were staged for a table of subjects.
/// Such a row is corrected: whom it is about is known better.
///
/// # Errors
/// When a staged file cannot be read or written.
pub fn settle_moves(
    columns: &arrow::datatypes::Schema,
    ranges: &mut [StagedTable],
    (staging, run_id): (&Path, &str),
) -> Result<(), EngineError> {
    let gone: HashMap<String, Id> = ranges
        .iter()
        .flat_map(|range| &range.gone)
        .map(|entry| (base32(&entry.row_id), entry.subject))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    let mut from: BTreeMap<String, String> = BTreeMap::new();
    for file in ranges.iter().flat_map(|range| &range.changes) {
        for batch in read_files([file.path.clone()]) {
            let batch = batch?;
            let (ids, ops) = (text(&batch, ROW_ID)?, text(&batch, OP)?);
            for (id, _) in ids.iter().zip(&ops).filter(|(_, op)| *op == Some("U")) {
                if let Some((id, subject)) = id.and_then(|id| gone.get_key_value(id)) {
                    from.insert(id.clone(), base32(subject));
                }
            }
        }
    }
    if from.is_empty() {
        return Ok(());
    }
    for (number, range) in ranges.iter_mut().enumerate() {
        let mut changes = Vec::new();
        for (part, file) in std::mem::take(&mut range.changes).into_iter().enumerate() {
            let target = FileTarget {
                dir: staging.join(format!("moved-{}-{number:04}-{part}", file.sha256.short())),
                run_id: run_id.to_owned(),
            };
            let mut writer = TableWriter::new(target, change_schema(columns), WriterOptions::default())?;
            let (mut dropped, mut moved) = (0, 0);
            for batch in read_files([file.path.clone()]) {
                let (kept, drops, moves) = settled(&batch?, &from)?;
                writer.write(&kept)?;
                dropped += drops;
                moved += moves;
            }
            let written: Vec<StagedFile> = writer.finish()?;
            match dropped + moved {
                0 => changes.push(file),
                _ => changes.extend(written),
            }
            range.deletes -= dropped;
        }
        range.changes = changes;
    }
    Ok(())
}

/// Rows of a change file without the deletions of rows that moved, and where the others came from; how many of both.
fn settled(batch: &RecordBatch, from: &BTreeMap<String, String>) -> Result<(RecordBatch, u64, u64), EngineError> {
    let (ids, ops) = (text(batch, ROW_ID)?, text(batch, OP)?);
    let moved = |row: usize| from.get(ids.value(row));
    let is_dropped = |row: usize| moved(row).is_some() && ops.value(row) == "D";
    let rows = batch.num_rows();
    let dropped = (0..rows).filter(|row| is_dropped(*row)).count() as u64;
    let moves = (0..rows).filter(|row| moved(*row).is_some()).count() as u64 - dropped;
    let (origins, causes) = (text(batch, MOVED_FROM)?, text(batch, CAUSE)?);
    let of = |column: &StringArray, row: usize| column.is_valid(row).then(|| column.value(row).to_owned());
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| -> ArrayRef {
        let filled: StringArray = match field.name().as_str() {
            MOVED_FROM => (0..rows)
                .map(|row| moved(row).cloned().or_else(|| of(&origins, row)))
                .collect(),
            CAUSE => (0..rows)
                .map(|row| moved(row).map(|_| "corrected".to_owned()).or_else(|| of(&causes, row)))
                .collect(),
            _ => return column.clone(),
        };
        Arc::new(filled)
    });
    let all = RecordBatch::try_new(batch.schema(), columns.collect())?;
    let kept: BooleanArray = (0..rows).map(|row| Some(!is_dropped(row))).collect();
    Ok((filter_record_batch(&all, &kept)?, dropped, moves))
}

/// A column of plain text that every change file has.
fn text(batch: &RecordBatch, name: &str) -> Result<StringArray, EngineError> {
    let column = batch
        .column_by_name(name)
        .and_then(|column| column.as_string_opt::<i32>());
    column
        .cloned()
        .ok_or_else(|| EngineError::internal(format!("a change file without {name}")))
}
