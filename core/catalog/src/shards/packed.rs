//! Columns that 32 bits can tell apart: in a shard numbers are counted from the least one, times in whole seconds, decimal
//! fractions in their last digit, texts of digits as numbers.

use super::Digits;
use crate::CatalogError;
use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, RecordBatchOptions, UInt32Array,
    },
    datatypes::{
        DataType, FieldRef, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, UInt32Type,
        UInt64Type,
    },
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// Where a file keeps them: a JSON object of column name to form.
pub const METADATA_KEY: &str = "clinmill.packed";

/// Column name to its form.
pub type PackedColumns = BTreeMap<String, Packed>;

/// In microseconds.
const SECOND: i64 = 1_000_000;
/// Powers of ten, each the exact double.
const SCALES: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
/// Larger numbers of last digits are not looked at: of smaller ones, products and quotients with a scale are told apart.
const MOST_DIGITS: f64 = (1u64 << 40) as f64;

/// How a column is packed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packed {
    /// Integers, and times in microseconds.
    Steps {
        /// What 0 stands for.
        least: i64,
        /// How much more than 0 is what 1 stands for.
        step: i64,
    },
    /// Doubles, each the nearest one to a decimal fraction.
    Decimals {
        /// What 0 stands for, in the last digit.
        least: i64,
        /// Digits after the point: a place in [`SCALES`].
        digits: u8,
    },
    /// Texts of one form. What comes to be packed are their numbers.
    Texts {
        /// What 0 stands for.
        least: u32,
        /// The form.
        form: Digits,
    },
}

impl Packed {
    /// How columns of one type can be packed that are one column of a shard; `None` where they cannot.
    pub fn of(columns: &[ArrayRef]) -> Option<Self> {
        match columns.first()?.data_type() {
            DataType::Int64 => Self::steps(&all_said::<Int64Type>(columns), 1),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::steps(&all_said::<TimestampMicrosecondType>(columns), SECOND)
            }
            DataType::Float64 => Self::decimals(&all_said::<Float64Type>(columns)),
            _ => None,
        }
    }

    /// How numbers from `least` to `most` are packed.
    pub fn between(least: u64, most: u64) -> Option<Self> {
        u32::try_from(most.checked_sub(least)?).ok()?;
        let least = i64::try_from(least).ok()?;
        Some(Self::Steps { least, step: 1 })
    }

    /// How texts of one form are packed, by columns of their numbers; `None` where there is none.
    pub fn texts(columns: &[ArrayRef], form: &Digits) -> Option<Self> {
        let least = all_said::<UInt32Type>(columns).into_iter().flatten().min();
        least.map(|least| Self::Texts {
            least: *least,
            form: form.clone(),
        })
    }

    fn steps(numbers: &[&[i64]], step: i64) -> Option<Self> {
        let (mut least, mut most) = (i64::MAX, i64::MIN);
        for number in numbers.iter().copied().flatten() {
            least = least.min(*number);
            most = most.max(*number);
        }
        let is_whole = |number: &i64| number.wrapping_sub(least) % step == 0;
        let step = match step == 1 || numbers.iter().all(|numbers| numbers.iter().all(is_whole)) {
            true => step,
            false => 1,
        };
        u32::try_from(most.checked_sub(least)? / step).ok()?;
        Some(Self::Steps { least, step })
    }

    fn decimals(numbers: &[&[f64]]) -> Option<Self> {
        let (mut least, mut most, mut digits) = (i64::MAX, i64::MIN, 0);
        for number in numbers.iter().copied().flatten() {
            let last = loop {
                let scale = *SCALES.get(digits)?;
                let last = nearest(number * scale);
                if (last as f64 / scale).to_bits() == number.to_bits() {
                    break last;
                }
                digits += 1;
                least = least.saturating_mul(10);
                most = most.saturating_mul(10);
            };
            if last as f64 > MOST_DIGITS || (last as f64) < -MOST_DIGITS {
                return None;
            }
            least = least.min(last);
            most = most.max(last);
        }
        u32::try_from(most.checked_sub(least)?).ok()?;
        Some(Self::Decimals {
            least,
            digits: digits as u8,
        })
    }

    /// The numbers of a column, packed.
    ///
    /// # Errors
    /// When the column is of a type that is not packed.
    pub fn pack(&self, column: &ArrayRef) -> Result<ArrayRef, CatalogError> {
        let numbers: UInt32Array = match (self, column.data_type()) {
            (&Self::Steps { least, .. }, DataType::UInt64) => {
                let numbers = column.as_primitive::<UInt64Type>();
                numbers.unary(|number| number.wrapping_sub(least as u64) as u32)
            }
            (&Self::Steps { least, .. }, DataType::Int64) => {
                let numbers = column.as_primitive::<Int64Type>();
                numbers.unary(|number| number.wrapping_sub(least) as u32)
            }
            (&Self::Steps { least, step }, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
                let times = column.as_primitive::<TimestampMicrosecondType>();
                match step {
                    SECOND => times.unary(|time| (time.wrapping_sub(least) / SECOND) as u32),
                    _ => times.unary(|time| time.wrapping_sub(least) as u32),
                }
            }
            (&Self::Decimals { least, digits }, DataType::Float64) => {
                let scale = scale(digits)?;
                let numbers = column.as_primitive::<Float64Type>();
                numbers.unary(|number| nearest(number * scale).wrapping_sub(least) as u32)
            }
            (&Self::Texts { least, .. }, DataType::UInt32) => {
                let numbers = column.as_primitive::<UInt32Type>();
                numbers.unary(|number| number.wrapping_sub(least))
            }
            _ => return Err(damaged()),
        };
        Ok(Arc::new(numbers))
    }

    /// True where most neighbours in a column say the same.
    pub fn repeats(&self, column: &ArrayRef) -> bool {
        let Ok(packed) = self.pack(column) else { return false };
        let numbers = packed.as_primitive::<UInt32Type>().values();
        2 * numbers.windows(2).filter(|near| near[0] == near[1]).count() > numbers.len()
    }

    /// The numbers of a packed column.
    ///
    /// # Errors
    /// When the column is no packed one, or not of this type.
    pub fn unpack(&self, column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, CatalogError> {
        let packed = column.as_primitive_opt::<UInt32Type>().ok_or_else(damaged)?;
        let step = |least: i64, step: i64| move |number| least.wrapping_add(i64::from(number).wrapping_mul(step));
        Ok(match (self, data_type) {
            (&Self::Steps { least, step: s }, DataType::UInt64) => {
                let of = step(least, s);
                Arc::new(packed.unary::<_, UInt64Type>(|number| of(number) as u64))
            }
            (&Self::Steps { least, step: s }, DataType::Int64) => {
                Arc::new(packed.unary::<_, Int64Type>(step(least, s)))
            }
            (&Self::Steps { least, step: s }, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
                let times: PrimitiveArray<TimestampMicrosecondType> = packed.unary(step(least, s));
                Arc::new(times.with_data_type(data_type.clone()))
            }
            (&Self::Decimals { least, digits }, DataType::Float64) => {
                let (of, scale) = (step(least, 1), scale(digits)?);
                Arc::new(packed.unary::<_, Float64Type>(|number| of(number) as f64 / scale))
            }
            (&Self::Texts { least, ref form }, DataType::Utf8) => {
                let numbers: UInt32Array = packed.unary(|number| least.wrapping_add(number));
                Arc::new(form.texts(&numbers).map_err(|_| damaged())?)
            }
            _ => return Err(damaged()),
        })
    }
}

/// A schema as a shard has it.
pub fn packed_schema(schema: &SchemaRef, forms: &PackedColumns) -> SchemaRef {
    let field = |field: &FieldRef| match forms.contains_key(field.name()) {
        true => Arc::new(field.as_ref().clone().with_data_type(DataType::UInt32)),
        false => field.clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

/// Rows as a shard has them.
///
/// # Errors
/// When a column is of a type that is not packed.
pub fn packed(batch: &RecordBatch, forms: &PackedColumns) -> Result<RecordBatch, CatalogError> {
    let column = |(field, column): (&FieldRef, &ArrayRef)| match forms.get(field.name()) {
        Some(form) => form.pack(column),
        None => Ok(column.clone()),
    };
    let fields = batch.schema_ref().fields().iter();
    let columns = fields.zip(batch.columns()).map(column).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let schema = packed_schema(batch.schema_ref(), forms);
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// What columns say, without the places where they say nothing.
fn all_said<T: ArrowPrimitiveType>(columns: &[ArrayRef]) -> Vec<&[T::Native]> {
    let mut out = Vec::new();
    for column in columns.iter().filter_map(|column| column.as_primitive_opt::<T>()) {
        let numbers: &[T::Native] = column.values();
        match column.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => out.push(numbers),
            Some(nulls) => out.extend(nulls.valid_slices().filter_map(|(start, end)| numbers.get(start..end))),
        }
    }
    out
}

/// The nearest integer; 0 for what is no number.
fn nearest(number: f64) -> i64 {
    (number + 0.5f64.copysign(number)) as i64
}

fn scale(digits: u8) -> Result<f64, CatalogError> {
    SCALES.get(usize::from(digits)).copied().ok_or_else(damaged)
}

fn damaged() -> CatalogError {
    CatalogError::damaged("a shard's packed columns", "a column does not fit its form")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use proptest::prelude::*;

    fn form_of(columns: &[ArrayRef]) -> Option<Packed> {
        let form = Packed::of(columns)?;
        for column in columns {
            let packed = form.pack(column).unwrap();
            assert_eq!(&form.unpack(&packed, column.data_type()).unwrap(), column);
        }
        Some(form)
    }

    #[test]
    fn columns_are_packed_where_that_loses_nothing() {
        let doubles = |numbers: &[f64]| form_of(&[Arc::new(Float64Array::from(numbers.to_vec()))]);
        let decimals = |least, digits| Some(Packed::Decimals { least, digits });
        assert_eq!(doubles(&[3.5, 7.25, 12.0]), decimals(350, 2));
        assert_eq!(doubles(&[12.0, -0.1]), decimals(-1, 1));
        assert_eq!(doubles(&[0.000_001, 4e3]), decimals(1, 6));
        for odd in [f64::NAN, f64::INFINITY, -0.0, 1e-7, 0.1 + 0.2, 1e300, 4e4] {
            assert_eq!(doubles(&[0.000_001, odd]), None, "{odd}");
        }
        assert_eq!(doubles(&[]), None);
        let times = |times: &[i64]| {
            form_of(&[Arc::new(
                TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"),
            )])
        };
        let steps = |least, step| Some(Packed::Steps { least, step });
        assert_eq!(
            times(&[-62_135_596_800_000_000, -62_135_596_799_000_000]),
            steps(-62_135_596_800_000_000, SECOND)
        );
        assert_eq!(times(&[5, 5 + 3 * SECOND]), steps(5, SECOND));
        assert_eq!(times(&[5, 6]), steps(5, 1));
        assert_eq!(times(&[5, 6 + 5000 * SECOND]), None);
        assert_eq!(times(&[i64::MIN, i64::MAX]), None);
        assert_eq!(Packed::between(7, 7 + u64::from(u32::MAX)), steps(7, 1));
        assert_eq!(Packed::between(7, 8 + u64::from(u32::MAX)), None);
        assert_eq!(Packed::between(u64::MAX, u64::MAX), None);
        let with_nulls: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(900), None, Some(901)]));
        let nothing: ArrayRef = Arc::new(Int64Array::new_null(3));
        assert_eq!(
            form_of(&[nothing.clone(), with_nulls.slice(1, 3), with_nulls]),
            steps(900, 1)
        );
        assert_eq!(form_of(&[nothing]), None);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("P0017"), None, Some("P0009")]));
        let numbers: ArrayRef = Arc::new(UInt32Array::from(vec![Some(17), None, Some(9)]));
        let form = Packed::texts(std::slice::from_ref(&numbers), &Digits::of("P0017").unwrap()).unwrap();
        let packed = form.pack(&numbers).unwrap();
        assert_eq!(packed.as_primitive::<UInt32Type>().value(0), 8);
        assert_eq!(&form.unpack(&packed, &DataType::Utf8).unwrap(), &texts);
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            digits in 0u8..9,
            numbers in prop::collection::vec(prop::option::of(-5_000_000i64..5_000_000), 0..40),
            any in prop::option::of(any::<f64>()),
            cut in 0usize..40,
        ) {
            let double = |number: &Option<i64>| number.map(|n| format!("{n}e-{digits}").parse::<f64>().unwrap());
            let doubles: Float64Array = numbers.iter().map(double).chain([any]).collect();
            let cut = cut.min(numbers.len());
            form_of(&[Arc::new(doubles.slice(0, cut)), Arc::new(doubles.slice(cut, doubles.len() - cut))]);
            let fits = doubles.slice(0, numbers.len());
            let is_plain = numbers.iter().any(Option::is_some) && !numbers.contains(&Some(0)) && digits < 7;
            let form = form_of(&[Arc::new(fits)]);
            prop_assert!(!is_plain || form.is_some());
            form_of(&[Arc::new(Int64Array::from(numbers))]);
        }
    }
}
