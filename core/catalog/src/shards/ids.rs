//! Columns of 16-byte ids in shards: as variable binary, which the writer encodes without an object for each value.

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, RecordBatch, RecordBatchOptions},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};
use std::{iter::repeat_n, sync::Arc};

const WIDTH: i32 = 16;
/// Tells such a field of a file from one that is binary by itself.
const MARK: &str = "clinmill.id";

/// A schema as a shard has it.
pub fn unfixed_schema(schema: &SchemaRef) -> SchemaRef {
    let field = |field: &Arc<Field>| match is_id(field) {
        true => {
            let marked = Field::new(field.name(), DataType::Binary, false);
            Arc::new(marked.with_metadata([(MARK.to_owned(), WIDTH.to_string())].into()))
        }
        false => field.clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn is_id(field: &Field) -> bool {
    *field.data_type() == DataType::FixedSizeBinary(WIDTH) && !field.is_nullable()
}

/// Rows as a shard has them; nothing is copied but the offsets.
///
/// # Errors
/// Never for rows that fit in memory.
pub fn unfixed(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |(field, column): (&Arc<Field>, &ArrayRef)| -> Result<ArrayRef, ArrowError> {
        let Some(ids) = column.as_fixed_size_binary_opt().filter(|_| is_id(field)) else {
            return Ok(column.clone());
        };
        let offsets = OffsetBuffer::from_lengths(repeat_n(WIDTH as usize, ids.len()));
        let values = ids.values().slice_with_length(0, ids.len() * WIDTH as usize);
        Ok(Arc::new(BinaryArray::try_new(offsets, values, None)?))
    };
    let fields = batch.schema_ref().fields().iter();
    let columns = fields.zip(batch.columns()).map(column).collect::<Result<_, _>>()?;
    with_rows(unfixed_schema(batch.schema_ref()), columns, batch.num_rows())
}

/// Rows of a shard with its ids as they were.
///
/// # Errors
/// When an id has another length.
pub fn fixed_all(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        match field.metadata().contains_key(MARK) {
            true => {
                let kind = DataType::FixedSizeBinary(WIDTH);
                fields.push(Arc::new(Field::new(field.name(), kind, false)));
                columns.push(Arc::new(fixed(column)?) as ArrayRef);
            }
            false => {
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
/// When it is none.
pub fn fixed(column: &ArrayRef) -> Result<FixedSizeBinaryArray, ArrowError> {
    let damaged = || ArrowError::InvalidArgumentError("an id is not 16 bytes long".to_owned());
    let ids = column.as_binary_opt::<i32>().ok_or_else(damaged)?;
    let offsets = ids.value_offsets();
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else {
        return Err(damaged());
    };
    if offsets.windows(2).any(|w| w[1] - w[0] != WIDTH) || ids.null_count() > 0 {
        return Err(damaged());
    }
    let values = ids.values().slice_with_length(*first as usize, (last - first) as usize);
    FixedSizeBinaryArray::try_new(WIDTH, values, None)
}

fn with_rows(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(rows)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringArray;

    #[test]
    fn ids_come_back_and_nothing_else_changes() {
        let ids = |n: u8| (0..n).map(|i| [i; 16]).collect::<Vec<_>>();
        let fixed = FixedSizeBinaryArray::try_from_iter(ids(9).into_iter()).unwrap();
        let own = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
            [Some([1u8; 16]), None].into_iter().cycle().take(9),
            16,
        );
        let fields = vec![
            Field::new("id", DataType::FixedSizeBinary(16), false),
            Field::new("own", DataType::FixedSizeBinary(16), true),
            Field::new("raw", DataType::Binary, true),
            Field::new("text", DataType::Utf8, true),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(fixed),
            Arc::new(own.unwrap()),
            Arc::new(BinaryArray::from_iter_values(ids(9))),
            Arc::new(StringArray::from(vec!["a"; 9])),
        ];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        for part in [batch.clone(), batch.slice(3, 4), batch.slice(9, 0)] {
            let kept = unfixed(&part).unwrap();
            assert_eq!(kept.schema().field(0).data_type(), &DataType::Binary);
            assert_eq!(fixed_all(kept.clone()).unwrap(), part);
            assert_eq!(
                fixed_all(kept.slice(0, part.num_rows() / 2)).unwrap(),
                part.slice(0, part.num_rows() / 2)
            );
        }
        let short: ArrayRef = Arc::new(BinaryArray::from_iter_values([[1u8; 15]]));
        assert!(super::fixed(&short).is_err());
    }
}
