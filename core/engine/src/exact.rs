//! Casts to the type that a table promises. None loses: what has no counterpart there is null, and its row rejected.
//!
//! Three things are no loss, since they are what the other type is: a number (IEEE 754, binary64) is the double nearest
//! to a decimal or a text; a decimal made of a number is rounded to its digits after the point, where that changes it by
//! no more than a hundredth (a computed ratio has sixteen digits, and none of them was written by anybody); a date is
//! the day of a time, and a time has microseconds.
//!
//! Tables hold what the clocks of the pipeline's zone show: a column of times with a zone becomes that. A text with an
//! offset is rejected, since the step `datetime` reads it; both would be another day in UTC.

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray, TimestampMicrosecondArray},
    compute::{can_cast_types, cast, kernels::cmp::distinct, nullif},
    datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType},
    error::ArrowError,
};
use clinmill_sdk::{number, zone};
use jiff::{civil, tz::TimeZone};
use std::sync::Arc;

/// Up to here every whole number is a double (IEEE 754, binary64).
const WHOLE: f64 = 9_007_199_254_740_992.0;
/// The share of a number by which a decimal may be another one.
const ROUNDED: f64 = 0.01;

/// True where a column of one type may be made one of another: numbers are no times, nor times numbers.
pub fn is_castable(from: &DataType, to: &DataType) -> bool {
    let count = |t: &DataType| t.is_numeric() || *t == DataType::Boolean;
    let mixed = (count(from) && to.is_temporal()) || (from.is_temporal() && count(to));
    from == to || (can_cast_types(from, to) && !mixed)
}

/// True where times with a zone become days or times of a clock: which clock must be known.
pub fn needs_clock(from: &DataType, to: &DataType) -> bool {
    matches!(from, DataType::Timestamp(_, Some(_))) && matches!(to, DataType::Timestamp(_, None) | DataType::Date32)
}

/// The column as another type; null where a value has no counterpart there. `clock` is the pipeline's zone.
///
/// # Errors
/// Where the types are not [castable](is_castable), or a clock is [needed](needs_clock) and there is none.
pub fn exactly(column: &ArrayRef, to: &DataType, clock: Option<&TimeZone>) -> Result<ArrayRef, ArrowError> {
    let from = column.data_type();
    if from == to {
        return finite(column);
    }
    if !is_castable(from, to) {
        return Err(ArrowError::CastError(format!("{from} is no {to}")));
    }
    match (from, to) {
        (DataType::Dictionary(_, values), _) => exactly(&cast(column, values)?, to, clock),
        (DataType::LargeUtf8 | DataType::Utf8View, _) => exactly(&cast(column, &DataType::Utf8)?, to, clock),
        (DataType::Utf8, _) => of_texts(column.as_string(), column, to),
        (_, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => cast(column, to),
        _ if needs_clock(from, to) => cast(&local(column, clock)?, to),
        // Of both, the finer one: the day of a time, a time in microseconds.
        (DataType::Timestamp(..), DataType::Timestamp(..) | DataType::Date32) => cast(column, to),
        _ if from.is_floating() && to.is_numeric() => of_doubles(column, to),
        _ if is_decimal(from) && to.is_floating() => of_decimals(column, to),
        _ => {
            let fitted = cast(column, to)?;
            // Where there is no way back, nothing is known of a loss.
            if !can_cast_types(to, from) {
                return Ok(fitted);
            }
            let lost = distinct(&cast(&fitted, from)?, column)?;
            without(fitted, &lost)
        }
    }
}

/// What the clock shows at times with a zone.
fn local(column: &ArrayRef, clock: Option<&TimeZone>) -> Result<ArrayRef, ArrowError> {
    let clock = clock.ok_or_else(|| ArrowError::CastError("a time with a zone, and no clock to show it".to_owned()))?;
    // Without its zone, a time is that of UTC.
    let utc = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let utc = utc.as_primitive::<TimestampMicrosecondType>().iter();
    let shown = utc.map(|micros| micros.and_then(|micros| zone::local(clock, micros)));
    Ok(Arc::new(shown.collect::<TimestampMicrosecondArray>()))
}

fn of_texts(texts: &StringArray, column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let lost = |is_lost: &dyn Fn(&str) -> bool| -> BooleanArray {
        texts.iter().map(|text| Some(text.is_some_and(is_lost))).collect()
    };
    match to {
        DataType::Float64 => {
            let numbers = texts.iter().map(|text| text.and_then(number::double));
            Ok(Arc::new(numbers.collect::<Float64Array>()))
        }
        DataType::Decimal128(_, scale) => {
            let scale = usize::try_from(*scale).unwrap_or(0);
            without(cast(column, to)?, &lost(&|text| places(text) > scale))
        }
        _ if to.is_temporal() => {
            let times = texts.iter().map(|text| text.and_then(written));
            let times: ArrayRef = Arc::new(times.collect::<TimestampMicrosecondArray>());
            cast(&times, to)
        }
        _ => cast(column, to),
    }
}

/// Microseconds since 1970 of a day, or a day with a time, in ISO 8601 (`2026-03-01`, `20260301`, `2026-03-01 08:00`). With an
/// offset or a zone it is another local time, and maybe another day.
fn written(text: &str) -> Option<i64> {
    let text = text.trim();
    let (day, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, ""));
    let of_day = |c: char| c.is_ascii_digit() || c == '-';
    let of_time = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.');
    let is_local = matches!(day.len(), 8 | 10) && day.chars().all(of_day) && time.chars().all(of_time);
    let time: civil::DateTime = is_local.then(|| text.parse().ok()).flatten()?;
    let since = time.duration_since(civil::date(1970, 1, 1).into());
    i64::try_from(since.as_nanos().div_euclid(1_000)).ok()
}

/// Doubles that are numbers: what a query divides by zero is none.
fn finite(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let Some(doubles) = column.as_primitive_opt::<Float64Type>() else {
        return Ok(column.clone());
    };
    let is_none = |value: Option<f64>| Some(value.is_some_and(|value| !value.is_finite()));
    without(column.clone(), &doubles.iter().map(is_none).collect())
}

/// How many digits behind the point a decimal text has, zeros at its end aside; one with an exponent is none.
fn places(text: &str) -> usize {
    let fraction = text.trim().split_once('.').map_or("", |(_, fraction)| fraction);
    fraction.trim_end_matches('0').len()
}

fn of_doubles(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let fitted = cast(column, to)?;
    let (column, back) = (cast(column, &DataType::Float64)?, cast(&fitted, &DataType::Float64)?);
    let pairs = column.as_primitive::<Float64Type>().iter();
    let pairs = pairs.zip(back.as_primitive::<Float64Type>().iter());
    let most = if is_decimal(to) { ROUNDED } else { 0.0 };
    let lost: BooleanArray = pairs
        .map(|pair| match pair {
            (Some(value), Some(back)) => Some(!back.is_finite() || (value - back).abs() > most * value.abs()),
            _ => Some(false),
        })
        .collect();
    without(fitted, &lost)
}

fn of_decimals(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let fitted = cast(column, to)?;
    let doubles = cast(&fitted, &DataType::Float64)?;
    let doubles = doubles.as_primitive::<Float64Type>();
    if doubles.iter().flatten().all(|value| value.abs() < WHOLE) {
        return Ok(fitted);
    }
    let texts = cast(column, &DataType::Utf8)?;
    let pairs = doubles.iter().zip(texts.as_string::<i32>());
    let lost: BooleanArray = pairs
        .map(|(double, text)| Some(double.is_some() && text.is_some_and(|text| number::double(text).is_none())))
        .collect();
    without(fitted, &lost)
}

fn is_decimal(data_type: &DataType) -> bool {
    data_type.is_numeric() && !data_type.is_integer() && !data_type.is_floating()
}

/// Null where something was lost.
fn without(fitted: ArrayRef, lost: &BooleanArray) -> Result<ArrayRef, ArrowError> {
    match lost.true_count() {
        0 => Ok(fitted),
        _ => nullif(&fitted, lost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{Date32Array, Decimal128Array, Int64Array, NullArray, TimestampMicrosecondArray, UInt64Array},
        datatypes::TimeUnit,
    };

    const DECIMAL: DataType = DataType::Decimal128(38, 6);
    const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

    fn texts(texts: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(texts))
    }

    fn doubles(values: &[f64]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    fn decimals(values: &[i128], scale: i8) -> ArrayRef {
        let values = Decimal128Array::from(values.to_vec());
        Arc::new(values.with_precision_and_scale(38, scale).unwrap())
    }

    /// What comes, as texts; `-` where nothing does.
    fn of(column: &ArrayRef, to: &DataType) -> Vec<String> {
        let fitted = exactly(column, to, None).unwrap();
        assert_eq!(fitted.data_type(), to);
        let shown = cast(&fitted, &DataType::Utf8).unwrap();
        let shown = shown.as_string::<i32>().iter();
        shown.map(|text| text.unwrap_or("-").to_owned()).collect()
    }

    #[test]
    fn integers_are_whole() {
        let column = doubles(&[69.9, 100.9, -0.9, 3.0, -0.0, 1e10, 1e19, f64::NAN, f64::INFINITY]);
        let whole = ["-", "-", "-", "3", "0", "10000000000", "-", "-", "-"];
        assert_eq!(of(&column, &DataType::Int64), whole);
        assert_eq!(
            of(&decimals(&[1999, -1500, 2000], 3), &DataType::Int64),
            ["-", "-", "2"]
        );
        let column: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, 7]));
        assert_eq!(of(&column, &DataType::Int64), ["-", "7"]);
        let column = texts(&["5", "2.9", "9223372036854775808", "", "1e3"]);
        assert_eq!(of(&column, &DataType::Int64), ["5", "-", "-", "-", "-"]);
        let column: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2]));
        assert_eq!(of(&column, &DataType::Boolean), ["false", "true", "-"]);
        assert_eq!(of(&doubles(&[1.0, 1.9]), &DataType::Boolean), ["true", "-"]);
    }

    #[test]
    fn numbers_are_those_that_are_written() {
        let column = texts(&[
            "1e400",
            "9007199254740993",
            "nan",
            "inf",
            "5.6",
            "3.14159265358979323846",
        ]);
        let numbers = ["-", "-", "-", "-", "5.6", "3.141592653589793"];
        assert_eq!(of(&column, &DataType::Float64), numbers);
        let column: ArrayRef = Arc::new(Int64Array::from(vec![(1 << 53) + 1, 1 << 53, i64::MAX, -5]));
        let numbers = ["-", "9007199254740992.0", "-", "-5.0"];
        assert_eq!(of(&column, &DataType::Float64), numbers);
        let third = 333_333_333_333_333_333;
        assert_eq!(of(&decimals(&[third], 18), &DataType::Float64), ["0.3333333333333333"]);
        let computed = doubles(&[1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
        assert_eq!(of(&computed, &DataType::Float64), ["1.5", "-", "-", "-"]);
        let single = cast(&computed, &DataType::Float32).unwrap();
        assert_eq!(of(&single, &DataType::Float64), ["1.5", "-", "-", "-"]);
        assert_eq!(
            of(&decimals(&[9_007_199_254_740_993, 5], 0), &DataType::Float64),
            ["-", "5.0"]
        );
    }

    #[test]
    fn decimals_keep_what_was_written_and_round_what_was_computed() {
        let column = texts(&[
            "0.0000004",
            "0.0123456789",
            "5.60000000",
            "12.345678",
            "1e3",
            "1e-7",
            "0.1e400",
        ]);
        let written = ["-", "-", "5.600000", "12.345678", "-", "-", "-"];
        assert_eq!(of(&column, &DECIMAL), written);
        let column = doubles(&[5.6, 1.0 / 3.0, 0.0000004, 0.0, -0.00012345, f64::NAN, 1e35]);
        let rounded = ["5.600000", "0.333333", "-", "0.000000", "-0.000123", "-", "-"];
        assert_eq!(of(&column, &DECIMAL), rounded);
        let column = decimals(&[1_999, 1, 10, 123_456_789], 7);
        assert_eq!(of(&column, &DECIMAL), ["-", "-", "0.000001", "-"]);
    }

    #[test]
    fn times_are_no_numbers() {
        for (number, time) in [
            (DataType::Int64, DataType::Date32),
            (DataType::Int32, DataType::Date32),
            (DataType::Int64, TIMESTAMP),
            (DataType::Date32, DataType::Float64),
            (TIMESTAMP, DataType::Int64),
            (TIMESTAMP, DECIMAL),
        ] {
            assert!(!is_castable(&number, &time) && !is_castable(&time, &number));
        }
        let days: ArrayRef = Arc::new(Int64Array::from(vec![20_260_301]));
        assert!(exactly(&days, &DataType::Date32, None).is_err());
        let zones = ["Z", "+08:00", "-0500", " +0800", " Asia/Shanghai", " Europe/Berlin"];
        let zoned: Vec<String> = zones.iter().map(|zone| format!("2026-03-01 07:00:00{zone}")).collect();
        let zoned = texts(&zoned.iter().map(String::as_str).collect::<Vec<_>>());
        for to in [DataType::Date32, TIMESTAMP] {
            assert_eq!(of(&zoned, &to), ["-"; 6], "{to}");
        }
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![-1, 86_399_999_999]));
        assert_eq!(of(&column, &DataType::Date32), ["1969-12-31", "1970-01-01"]);
        let far: ArrayRef = Arc::new(Date32Array::from(vec![i32::MAX, 0, 2_932_896, -719_162]));
        let times = exactly(&far, &TIMESTAMP, None).unwrap();
        assert_eq!(times.null_count(), 1, "days that no time in microseconds reaches");
    }

    #[test]
    fn a_day_is_written_alike_for_dates_and_times() {
        for (text, day, time) in [
            ("2026-03-01", "2026-03-01", "2026-03-01T00:00:00"),
            ("20260301", "2026-03-01", "2026-03-01T00:00:00"),
            (" 0001-01-01 ", "0001-01-01", "0001-01-01T00:00:00"),
            ("9999-12-31", "9999-12-31", "9999-12-31T00:00:00"),
            ("2026-03-01T08:00:00", "2026-03-01", "2026-03-01T08:00:00"),
            ("2026-03-01 08:00", "2026-03-01", "2026-03-01T08:00:00"),
            ("20260301T080000", "2026-03-01", "2026-03-01T08:00:00"),
            ("1969-12-31 23:59:59.25", "1969-12-31", "1969-12-31T23:59:59.250"),
            ("2026-02-30", "-", "-"),
            ("2026-3-1", "-", "-"),
            ("2026-03", "-", "-"),
            ("20260301080000", "-", "-"),
            ("20260301T080000-0500", "-", "-"),
            ("20260301+08", "-", "-"),
            ("2026-03-01T08:00:00[Asia/Shanghai]", "-", "-"),
            ("", "-", "-"),
        ] {
            let column = texts(&[text]);
            assert_eq!(of(&column, &DataType::Date32), [day], "{text}");
            assert_eq!(of(&column, &TIMESTAMP), [time], "{text}");
        }
    }

    /// 07:30 and 16:00 in UTC: in Shanghai the second is the next day.
    #[test]
    fn times_with_a_zone_are_what_the_clock_shows() {
        let utc = [1_772_350_200_000_000, 1_772_380_800_000_000];
        let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
        for zone in ["UTC", "+08:00", "Europe/Berlin"] {
            let column = TimestampMicrosecondArray::from(vec![Some(utc[0]), Some(utc[1]), None]).with_timezone(zone);
            let column: ArrayRef = Arc::new(column);
            for unit in [TimeUnit::Second, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
                let column = cast(&column, &DataType::Timestamp(unit, Some(zone.into()))).unwrap();
                let shown = |to: &DataType| {
                    let shown = exactly(&column, to, Some(&shanghai)).unwrap();
                    let shown = cast(&shown, &DataType::Utf8).unwrap();
                    let texts = shown.as_string::<i32>().iter();
                    texts.map(|t| t.unwrap_or("-").to_owned()).collect::<Vec<_>>()
                };
                assert_eq!(
                    shown(&TIMESTAMP),
                    ["2026-03-01T15:30:00", "2026-03-02T00:00:00", "-"],
                    "{zone}"
                );
                assert_eq!(shown(&DataType::Date32), ["2026-03-01", "2026-03-02", "-"], "{zone}");
                assert!(
                    exactly(&column, &TIMESTAMP, None).is_err(),
                    "never UTC's time in silence"
                );
            }
        }
    }

    #[test]
    fn nulls_stay_nulls() {
        let column: ArrayRef = Arc::new(NullArray::new(2));
        assert_eq!(exactly(&column, &DataType::Int64, None).unwrap().null_count(), 2);
        let column: ArrayRef = Arc::new(Float64Array::from(vec![None, Some(1.5)]));
        assert_eq!(of(&column, &DataType::Int64), ["-", "-"]);
        assert_eq!(of(&column, &DECIMAL), ["-", "1.500000"]);
    }
}
