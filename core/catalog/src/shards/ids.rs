//! Columns of 16-byte ids in shards: as two columns of numbers each, which the writer copies as they lie, where it makes an
//! object or a length for each value of bytes.

use arrow::{
    array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, RecordBatchOptions, UInt64Array},
    buffer::Buffer,
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, UInt64Type},
    error::ArrowError,
};
use clinmill_model::columns::is_reserved;
use std::sync::Arc;

const WIDTH: i32 = 16;
/// Tells the two columns of a file that are one of ids from others; says which half a column has.
const MARK: &str = "clinmill.id";
const HIGH: &str = "high";
const LOW: &str = "low";

/// What the column of the second halves is called.
pub fn low(name: &str) -> String {
    format!("{name}_low")
}

/// A schema as a shard has it.
pub fn halved_schema(schema: &SchemaRef) -> SchemaRef {
    let half = |name: String, half: &str| {
        let field = Field::new(name, DataType::UInt64, false);
        Arc::new(field.with_metadata([(MARK.to_owned(), half.to_owned())].into()))
    };
    let fields = schema.fields().iter().flat_map(|field| match is_id(field) {
        true => vec![half(field.name().clone(), HIGH), half(low(field.name()), LOW)],
        false => vec![field.clone()],
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The engine's own columns alone: no other is called like the second half of one.
fn is_id(field: &Field) -> bool {
    let is_own = is_reserved(field.name());
    is_own && *field.data_type() == DataType::FixedSizeBinary(WIDTH) && !field.is_nullable()
}

/// Rows as a shard has them.
///
/// # Errors
/// Never for rows that fit in memory.
pub fn halved(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        match column.as_fixed_size_binary_opt().filter(|_| is_id(field)) {
            Some(ids) => {
                let (ids, _) = ids.value_data().as_chunks::<8>();
                let half = |first: usize| {
                    let halves = ids.iter().skip(first).step_by(2);
                    Arc::new(UInt64Array::from_iter_values(
                        halves.map(|half| u64::from_be_bytes(*half)),
                    ))
                };
                columns.extend([half(0) as ArrayRef, half(1)]);
            }
            None => columns.push(column.clone()),
        }
    }
    with_rows(halved_schema(batch.schema_ref()), columns, batch.num_rows())
}

/// Rows of a shard with its ids as they were.
///
/// # Errors
/// When half of a column of ids is missing.
pub fn whole(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns): (Vec<FieldRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        match field.metadata().get(MARK).map(String::as_str) {
            Some(HIGH) => {
                let kind = DataType::FixedSizeBinary(WIDTH);
                fields.push(Arc::new(Field::new(field.name(), kind, false)));
                columns.push(Arc::new(ids(&batch, field.name())?));
            }
            Some(LOW) => {}
            Some(_) => return Err(unmatched()),
            None => {
                fields.push(field.clone());
                columns.push(column.clone());
            }
        }
    }
    with_rows(Arc::new(Schema::new(fields)), columns, batch.num_rows())
}

/// A column of ids of a shard.
///
/// # Errors
/// When half of it is missing.
pub fn ids(batch: &RecordBatch, name: &str) -> Result<FixedSizeBinaryArray, ArrowError> {
    let half = |name: &str| {
        let column = batch.column_by_name(name).filter(|column| column.null_count() == 0);
        let half = column.and_then(|column| column.as_primitive_opt::<UInt64Type>());
        half.ok_or_else(unmatched)
    };
    let (high, low) = (half(name)?, half(&low(name))?);
    let halves = high.values().iter().zip(low.values());
    let ids: Vec<[[u8; 8]; 2]> = halves
        .map(|(high, low)| [high.to_be_bytes(), low.to_be_bytes()])
        .collect();
    let bytes = Buffer::from_vec(ids.into_flattened().into_flattened());
    FixedSizeBinaryArray::try_new(WIDTH, bytes, None)
}

fn unmatched() -> ArrowError {
    ArrowError::InvalidArgumentError("a column is not one half of ids".to_owned())
}

fn with_rows(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(rows)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, StringArray};

    #[test]
    fn ids_come_back_and_nothing_else_changes() {
        let ids = |n: u8| (0..n).map(|i| [[200 + i; 8], [i; 8]].concat()).collect::<Vec<_>>();
        let fixed = || FixedSizeBinaryArray::try_from_iter(ids(9).into_iter()).unwrap();
        let own = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
            [Some([1u8; 16]), None].into_iter().cycle().take(9),
            16,
        );
        let fields = vec![
            Field::new("_id", DataType::FixedSizeBinary(16), false),
            Field::new("_nullable", DataType::FixedSizeBinary(16), true),
            Field::new("own", DataType::FixedSizeBinary(16), false),
            Field::new("own_low", DataType::Binary, true),
            Field::new("text", DataType::Utf8, true),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(fixed()),
            Arc::new(own.unwrap()),
            Arc::new(fixed()),
            Arc::new(BinaryArray::from_iter_values(ids(9))),
            Arc::new(StringArray::from(vec!["a"; 9])),
        ];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        for part in [batch.clone(), batch.slice(3, 4), batch.slice(9, 0)] {
            let kept = halved(&part).unwrap();
            assert_eq!(kept.schema(), halved_schema(&part.schema()));
            assert_eq!(kept.schema().field(0).data_type(), &DataType::UInt64);
            assert_eq!(kept.num_columns(), part.num_columns() + 1);
            assert_eq!(whole(kept.clone()).unwrap(), part);
            let rows = part.num_rows() / 2;
            assert_eq!(whole(kept.slice(0, rows)).unwrap(), part.slice(0, rows));
        }
        let lame = halved(&batch).unwrap().project(&[0, 2, 3, 4]).unwrap();
        assert!(whole(lame).is_err());
    }
}
