//! Columns of numbers as they come: decimals and integers as they are, floating-point numbers by the digits they print.

use crate::core::{Conversion, Lost};
use clinmill_sdk::{
    PluginError,
    arrow::{
        array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array},
        compute::cast,
        datatypes::{DataType, Decimal128Type, Float64Type},
    },
};

/// A column of numbers.
pub enum Numbers {
    /// Of so many digits after the point.
    Decimals(Decimal128Array, u16),
    /// Of any size.
    Doubles(Float64Array),
}

impl Numbers {
    /// A column, with the digits after the point that it has where it is one of decimals.
    ///
    /// # Errors
    /// A type that is none of numbers.
    pub fn of(column: &ArrayRef, scale: u8) -> Result<Self, PluginError> {
        if column.data_type().is_floating() {
            let doubles = cast(column, &DataType::Float64)?;
            return Ok(Self::Doubles(doubles.as_primitive::<Float64Type>().clone()));
        }
        let decimals = cast(column, &DataType::Decimal128(38, scale.cast_signed()))?;
        let decimals = decimals.as_primitive::<Decimal128Type>().clone();
        Ok(Self::Decimals(decimals, scale.into()))
    }

    /// Whether a row has a number.
    #[inline]
    pub fn is_valid(&self, row: usize) -> bool {
        match self {
            Self::Decimals(column, _) => column.is_valid(row),
            Self::Doubles(column) => column.is_valid(row),
        }
    }

    /// The number of a row that has one, converted, with so many digits after the point.
    ///
    /// # Errors
    /// As [`Conversion::apply`]; a double that is no number has no result.
    #[inline]
    pub fn convert(&self, row: usize, conversion: &Conversion, to_scale: u8) -> Result<i128, Lost> {
        match self {
            Self::Decimals(column, scale) => conversion.apply(column.value(row), *scale, to_scale),
            Self::Doubles(column) => {
                let (value, scale) = digits(column.value(row)).ok_or(Lost::NoResult)?;
                conversion.apply(value, scale, to_scale)
            }
        }
    }
}

/// A double by the shortest digits that read back as it: a number without its point, and how many digits stand behind that.
fn digits(double: f64) -> Option<(i128, u16)> {
    let text = format!("{double:e}");
    let (mantissa, exponent) = text.split_once('e')?;
    let behind = mantissa.split_once('.').map_or(0, |(_, behind)| behind.len());
    let value: i128 = mantissa.replace('.', "").parse().ok()?;
    let exponent = exponent.parse::<i32>().ok()? - i32::try_from(behind).ok()?;
    match u32::try_from(exponent) {
        Ok(zeros) => Some((value.checked_mul(10i128.checked_pow(zeros)?)?, 0)),
        Err(_) => Some((value, u16::try_from(exponent.unsigned_abs()).ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_what_they_print() {
        for (double, want) in [
            (0.1, Some((1, 1))),
            (-0.0, Some((0, 0))),
            (-37.25, Some((-3725, 2))),
            (5e-12, Some((5, 12))),
            (5e-324, Some((5, 324))),
            (1e35, Some((10i128.pow(35), 0))),
            (1e300, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(digits(double), want, "{double}");
        }
    }
}
