//! Values, their types, and casts between them. A cast never loses: what does not fit exactly is an error.

use crate::config::{Scalar, TypeName};
use clinmill_sdk::number;
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use std::borrow::Cow;

/// The type of a column or expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Of the literal `null` alone.
    Null,
    /// True or false.
    Bool,
    /// 64 bits, signed.
    Int,
    /// With this many digits after the point.
    Dec(i8),
    /// Floating point.
    Num,
    /// Text.
    Str,
    /// Days since 1970-01-01.
    Date,
    /// Local microseconds since 1970-01-01T00:00.
    Ts,
}

/// A value of one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Absent.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Unscaled value and scale.
    Dec(i128, i8),
    /// A floating-point number.
    Num(f64),
    /// Text.
    Str(Cow<'a, str>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Local microseconds since 1970-01-01T00:00.
    Ts(i64),
}

/// A value that does not fit; says nothing of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

impl Type {
    /// The type behind a name in the options.
    pub fn named(name: TypeName, scale: i8) -> Self {
        match name {
            TypeName::String => Self::Str,
            TypeName::Integer => Self::Int,
            TypeName::Decimal => Self::Dec(scale),
            TypeName::Number => Self::Num,
            TypeName::Boolean => Self::Bool,
            TypeName::Date => Self::Date,
            TypeName::Timestamp => Self::Ts,
        }
    }

    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "boolean",
            Self::Int => "integer",
            Self::Dec(_) => "decimal",
            Self::Num => "number",
            Self::Str => "string",
            Self::Date => "date",
            Self::Ts => "timestamp",
        }
    }

    /// True for integers, decimals and floating point.
    pub const fn is_numeric(self) -> bool {
        matches!(self, Self::Int | Self::Dec(_) | Self::Num)
    }

    /// The type that holds values of both, if there is one.
    pub fn with(self, other: Self) -> Option<Self> {
        Some(match (self, other) {
            (a, b) if a == b => a,
            (Self::Null, a) | (a, Self::Null) => a,
            (Self::Dec(a), Self::Dec(b)) => Self::Dec(a.max(b)),
            (Self::Dec(scale), Self::Int) | (Self::Int, Self::Dec(scale)) => Self::Dec(scale),
            (Self::Num, b) if b.is_numeric() => Self::Num,
            (a, Self::Num) if a.is_numeric() => Self::Num,
            _ => return None,
        })
    }

    /// True when values of this type may be cast to `to` at all.
    pub fn casts_to(self, to: Self) -> bool {
        match (self, to) {
            (a, b) if a == b => true,
            (Self::Null, _) | (Self::Str, _) | (_, Self::Str) => true,
            (a, b) if a.is_numeric() && b.is_numeric() => true,
            (Self::Int, Self::Bool) | (Self::Bool, Self::Int) => true,
            (Self::Date, Self::Ts) | (Self::Ts, Self::Date) => true,
            _ => false,
        }
    }
}

impl<'a> Value<'a> {
    /// The constant of an option.
    pub fn constant(scalar: &Scalar) -> Value<'static> {
        match scalar {
            Scalar::Boolean(value) => Value::Bool(*value),
            Scalar::Integer(value) => Value::Int(*value),
            Scalar::Number(value) => Value::Num(*value),
            Scalar::String(value) => Value::Str(Cow::Owned(value.clone())),
        }
    }

    /// The type of this value.
    pub fn data_type(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Dec(_, scale) => Type::Dec(*scale),
            Self::Num(_) => Type::Num,
            Self::Str(_) => Type::Str,
            Self::Date(_) => Type::Date,
            Self::Ts(_) => Type::Ts,
        }
    }

    /// The same value as another type. Empty text is null in every other type.
    ///
    /// # Errors
    /// When it has no exact counterpart there.
    pub fn cast(self, to: Type) -> Result<Self, Unfit> {
        Ok(match (self, to) {
            (value, to) if value.data_type() == to => value,
            (Self::Null, _) => Self::Null,
            (Self::Str(text), to) => {
                let text = text.trim();
                if text.is_empty() { Self::Null } else { read(text, to)? }
            }
            (value, Type::Str) => Self::Str(Cow::Owned(value.write()?)),
            (Self::Int(value), Type::Dec(scale)) => Self::Dec(rescale(value.into(), 0, scale)?, scale),
            (Self::Int(value), Type::Num) => Self::Num(number::whole_double(value).ok_or(Unfit)?),
            (Self::Int(value @ (0 | 1)), Type::Bool) => Self::Bool(value == 1),
            (Self::Bool(value), Type::Int) => Self::Int(value.into()),
            (Self::Dec(value, scale), Type::Dec(to)) => Self::Dec(rescale(value, scale, to)?, to),
            (Self::Dec(value, scale), Type::Int) => Self::Int(rescale(value, scale, 0)?.try_into().map_err(|_| Unfit)?),
            (Self::Dec(value, scale), Type::Num) => {
                let text = write_decimal(value, scale);
                Self::Num(number::double(&text).ok_or(Unfit)?)
            }
            (Self::Num(value), Type::Int) if value.fract() == 0.0 && value.abs() < 9.0e15 => Self::Int(value as i64),
            // The shortest decimal text of a floating-point number is what was meant by it.
            (Self::Num(value), to @ Type::Dec(_)) => read(&value.to_string(), to)?,
            (Self::Date(days), Type::Ts) => Self::Ts(i64::from(days) * DAY),
            (Self::Ts(micros), Type::Date) => Self::Date(micros.div_euclid(DAY).try_into().map_err(|_| Unfit)?),
            _ => return Err(Unfit),
        })
    }

    /// Canonical text.
    fn write(&self) -> Result<String, Unfit> {
        Ok(match self {
            Self::Null => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Dec(value, scale) => write_decimal(*value, *scale),
            Self::Num(value) => value.to_string(),
            Self::Str(value) => value.to_string(),
            Self::Date(days) => civil_at(i64::from(*days) * DAY)?.date().to_string(),
            Self::Ts(micros) => civil_at(*micros)?.to_string(),
        })
    }
}

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;
const EPOCH: civil::DateTime = civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

fn civil_at(micros: i64) -> Result<civil::DateTime, Unfit> {
    EPOCH
        .checked_add(SignedDuration::from_micros(micros))
        .map_err(|_| Unfit)
}

/// Years are those of the calendar, which has no year 0.
fn micros_of(time: civil::DateTime) -> Result<i64, Unfit> {
    if time.year() < 1 {
        return Err(Unfit);
    }
    time.duration_since(EPOCH).as_micros().try_into().map_err(|_| Unfit)
}

fn read(text: &str, to: Type) -> Result<Value<'static>, Unfit> {
    Ok(match to {
        Type::Null => Value::Null,
        Type::Str => Value::Str(Cow::Owned(text.to_owned())),
        Type::Int => Value::Int(text.parse().map_err(|_| Unfit)?),
        Type::Dec(scale) => Value::Dec(read_decimal(text, scale)?, scale),
        Type::Num => Value::Num(number::double(text).ok_or(Unfit)?),
        Type::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" => Value::Bool(true),
            "false" | "f" | "no" | "n" | "0" => Value::Bool(false),
            _ => return Err(Unfit),
        },
        // What carries an offset means another time here, if it means one: `local` reads it.
        Type::Date | Type::Ts if instant(text).is_some() => return Err(Unfit),
        Type::Date => {
            let date: civil::Date = text.parse().map_err(|_| Unfit)?;
            Value::Date((micros_of(date.into())? / DAY).try_into().map_err(|_| Unfit)?)
        }
        Type::Ts => Value::Ts(micros_of(text.parse().map_err(|_| Unfit)?)?),
    })
}

/// A text that carries its offset from UTC (`2026-04-20T08:30:00Z`, `…+09:00`) as local time of a zone; every other value
/// as it is.
///
/// # Errors
/// Where it carries one and no zone is known.
pub fn local<'a>(value: Value<'a>, zone: Option<&TimeZone>) -> Result<Value<'a>, Unfit> {
    let Value::Str(text) = &value else { return Ok(value) };
    let Some(instant) = instant(text.trim()) else {
        return Ok(value);
    };
    Ok(Value::Ts(micros_of(zone.ok_or(Unfit)?.to_datetime(instant))?))
}

/// The instant that a text with an offset means.
fn instant(text: &str) -> Option<Timestamp> {
    let time = text.get(11..)?;
    time.contains(['+', '-', 'Z', 'z']).then(|| text.parse().ok()).flatten()
}

/// Reads `[+-]digits[.digits]` with at most `scale` digits after the point, zeros aside.
pub fn read_decimal(text: &str, scale: i8) -> Result<i128, Unfit> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let scale = usize::try_from(scale).map_err(|_| Unfit)?;
    if digits.is_empty() || digits == "." || fraction.len() > scale || digits.len() > 60 {
        return Err(Unfit);
    }
    let zeros = std::iter::repeat_n(b'0', scale - fraction.len());
    let mut value: i128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()).chain(zeros) {
        if !byte.is_ascii_digit() {
            return Err(Unfit);
        }
        value = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(i128::from(byte - b'0')))
            .ok_or(Unfit)?;
    }
    within(if negative { -value } else { value })
}

fn write_decimal(value: i128, scale: i8) -> String {
    let scale = usize::try_from(scale).unwrap_or(0);
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    let point = if scale == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

/// The same decimal with another number of digits after the point, if that is exact.
pub fn rescale(value: i128, from: i8, to: i8) -> Result<i128, Unfit> {
    if to >= from {
        return within(value.checked_mul(power(to - from)?).ok_or(Unfit)?);
    }
    let divisor = power(from - to)?;
    if value % divisor == 0 {
        Ok(value / divisor)
    } else {
        Err(Unfit)
    }
}

/// A power of ten.
pub fn power(exponent: i8) -> Result<i128, Unfit> {
    10i128.checked_pow(exponent.try_into().map_err(|_| Unfit)?).ok_or(Unfit)
}

/// 38 digits at most, as Arrow's Decimal128.
pub fn within(value: i128) -> Result<i128, Unfit> {
    if value.unsigned_abs() < 10u128.pow(38) {
        Ok(value)
    } else {
        Err(Unfit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_exact_or_nothing() {
        assert_eq!(read_decimal("-12.340", 2), Ok(-1234));
        for wrong in ["12.345", "1e5", "", ".", "-", "--1", "1.2.3", "１", "1_0"] {
            assert_eq!(read_decimal(wrong, 2), Err(Unfit), "{wrong}");
        }
        assert_eq!(read_decimal(&"9".repeat(39), 0), Err(Unfit));
        assert_eq!(write_decimal(-5, 2), "-0.05");
    }

    #[test]
    fn times_before_1970() {
        let text = |value: Value<'static>| value.cast(Type::Str).unwrap();
        assert_eq!(text(Value::Ts(-1)), Value::Str("1969-12-31T23:59:59.999999".into()));
        assert_eq!(Value::Ts(-1).cast(Type::Date), Ok(Value::Date(-1)));
    }

    proptest! {
        #[test]
        fn decimal_text_comes_back(value in -10i128.pow(30)..10i128.pow(30), scale in 0i8..12) {
            prop_assert_eq!(read_decimal(&write_decimal(value, scale), scale), Ok(value));
        }

        #[test]
        fn reading_any_text_never_panics(text in ".{0,20}", scale in 0i8..18) {
            for to in [Type::Int, Type::Dec(scale), Type::Num, Type::Bool, Type::Date, Type::Ts] {
                let _ = Value::Str(Cow::Borrowed(&text)).cast(to);
            }
        }
    }
}
