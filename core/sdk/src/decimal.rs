//! Decimals that are no larger than their type says. Arrow takes what its integers hold, and Parquet cuts what does not
//! fit the bytes of its column: another number would stand in the file.

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, RecordBatch},
    datatypes::{DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType},
};

/// Whether every decimal of a column, at every level of it, has no more digits than its type says.
pub fn fits(column: &dyn Array) -> bool {
    fn all<T: DecimalType + ArrowPrimitiveType>(column: &dyn Array, precision: u8) -> bool {
        let values = column.as_primitive::<T>();
        values
            .iter()
            .flatten()
            .all(|value| T::is_valid_decimal_precision(value, precision))
    }
    let each = |columns: &[ArrayRef]| columns.iter().all(|column| fits(column.as_ref()));
    match column.data_type() {
        DataType::Decimal32(precision, _) => all::<Decimal32Type>(column, *precision),
        DataType::Decimal64(precision, _) => all::<Decimal64Type>(column, *precision),
        DataType::Decimal128(precision, _) => all::<Decimal128Type>(column, *precision),
        DataType::Decimal256(precision, _) => all::<Decimal256Type>(column, *precision),
        DataType::List(_) => fits(column.as_list::<i32>().values().as_ref()),
        DataType::LargeList(_) => fits(column.as_list::<i64>().values().as_ref()),
        DataType::FixedSizeList(_, _) => fits(column.as_fixed_size_list().values().as_ref()),
        DataType::Struct(_) => each(column.as_struct().columns()),
        DataType::Map(_, _) => each(column.as_map().entries().columns()),
        _ => true,
    }
}

/// The first column of a batch that holds a decimal of more digits than its type says.
pub fn beyond(batch: &RecordBatch) -> Option<String> {
    let at = batch.columns().iter().position(|column| !fits(column.as_ref()))?;
    Some(batch.schema_ref().field(at).name().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{Decimal128Array, Decimal256Array, ListArray, StructArray},
        buffer::OffsetBuffer,
        datatypes::{Field, i256},
    };
    use std::sync::Arc;

    #[test]
    fn more_digits_than_the_type_has_are_seen_at_every_level() {
        let of = |value: i128| -> ArrayRef {
            let values = Decimal128Array::from(vec![None, Some(value), Some(-999_999_999)]);
            Arc::new(values.with_precision_and_scale(9, 2).unwrap())
        };
        for (value, expected) in [(999_999_999, true), (1_000_000_000, false), (-1_000_000_000, false)] {
            let plain = of(value);
            assert_eq!(fits(plain.as_ref()), expected, "{value}");
            let field = Arc::new(Field::new("item", plain.data_type().clone(), true));
            let offsets = OffsetBuffer::from_lengths([1, 2]);
            let list: ArrayRef = Arc::new(ListArray::new(field, offsets, plain, None));
            assert_eq!(fits(list.as_ref()), expected, "a list: {value}");
            let field = Field::new("a", list.data_type().clone(), true);
            let nested = StructArray::new(vec![field].into(), vec![list], None);
            assert_eq!(fits(&nested), expected, "a struct of lists: {value}");
        }
        let wide = Decimal256Array::from(vec![i256::MAX])
            .with_precision_and_scale(76, 0)
            .unwrap();
        assert!(!fits(&wide));
    }
}
