//! Small operations on record batches.

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    compute::cast,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
};
use std::collections::HashSet;

/// What is wrong with the names that a plugin gives its columns.
pub fn misnamed(schema: &Schema) -> Option<String> {
    let mut seen = HashSet::new();
    schema.fields().iter().map(|field| field.name()).find_map(|name| {
        if name == "subject_id" || name.starts_with('_') {
            Some(format!("the column name {name:?} is the engine's"))
        } else if name.is_empty() {
            Some("a column has no name".to_owned())
        } else if name.chars().any(char::is_control) {
            Some(format!("the column name {name:?} holds a control character"))
        } else if !seen.insert(name) {
            Some(format!("two columns have the name {name:?}"))
        } else {
            None
        }
    })
}

/// The batch with exactly the columns of a schema: by name, cast where the type differs, null where missing.
///
/// # Errors
/// When a column cannot be cast.
pub fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
            Some(column) => cast(column, field.data_type()),
        })
        .collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field};

    #[test]
    fn names_that_no_table_can_have_are_told() {
        let told = |names: &[&str]| {
            let fields: Vec<Field> = names.iter().map(|n| Field::new(*n, DataType::Utf8, true)).collect();
            misnamed(&Schema::new(fields)).unwrap_or_default()
        };
        assert_eq!(told(&["name", "Name"]), "");
        assert!(told(&["name", "subject_id"]).contains("the engine's"));
        assert!(told(&["_row_id"]).contains("the engine's"));
        assert!(told(&["a", "b", "a"]).contains("two columns have the name \"a\""));
        assert!(told(&["a", ""]).contains("no name"));
        assert!(told(&["a\u{1b}[31m"]).contains("\\u{1b}"));
    }
}
