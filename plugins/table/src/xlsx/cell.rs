//! One cell: what it holds, and how that is written as text.

use crate::{config::Config, date, value, xml::Tags};
use calamine::{DataRef, ExcelDateTime, Style};
use std::{borrow::Cow, io::Read};

/// What a cell holds.
pub(super) enum Content<'c> {
    Nothing,
    /// Something of which no value can be had.
    Unfit,
    /// This text.
    Text(Cow<'c, str>),
    /// What the reader of workbooks says.
    Value,
}

/// What a cell holds; `None` where its value is another cell's.
pub(super) fn content<'c, R: Read>(
    config: &Config,
    value: &'c DataRef<'_>,
    style: Option<&Style>,
    tags: &'c Tags<R>,
) -> Option<Content<'c>> {
    let as_written = |number| {
        let written = as_written(number, tags.value())?;
        Some(written.map_or(Content::Value, |text| Content::Text(text.into())))
    };
    Some(match value {
        _ if tags.is_wrong() => Content::Unfit,
        DataRef::Empty if !tags.holds_more() => Content::Nothing,
        DataRef::Error(error) if config.null_values.contains(&error.to_string()) => Content::Nothing,
        DataRef::Bool(flag) if value::is_null_truth(*flag, &config.null_values) => Content::Nothing,
        DataRef::Empty | DataRef::Error(_) => Content::Unfit,
        // The reader of workbooks takes a number with white space round it for a text.
        DataRef::String(text) if tags.is_number() => match text.trim_ascii() {
            "" if !tags.holds_more() => Content::Nothing,
            "" => Content::Unfit,
            text if text.parse::<f64>().is_ok() && style.is_some_and(may_show_a_time) => Content::Unfit,
            text => Content::Text(text.into()),
        },
        DataRef::Float(number) => as_written(*number)?,
        DataRef::DateTime(time) if !time.as_f64().is_finite() => as_written(time.as_f64())?,
        _ => Content::Value,
    })
}

/// The text of a number that a double does not keep, as it stands in the file: a whole one of more than 15 digits (IEEE
/// 754, 5.12.2), and one that is not finite; of every other number `Some(None)`. `None` where the text is not the
/// number's: another cell's.
fn as_written(number: f64, raw: &[u8]) -> Option<Option<&str>> {
    let text = std::str::from_utf8(raw).ok()?;
    let read = text.parse::<f64>().ok()?;
    if read != number && !(read.is_nan() && number.is_nan()) {
        return None;
    }
    if !number.is_finite() {
        return Some(Some(text));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let figures = whole.strip_prefix('-').unwrap_or(whole);
    let is_long = figures.len() > 15 && figures.bytes().all(|b| b.is_ascii_digit());
    Some((is_long && fraction.bytes().all(|b| b == b'0')).then_some(whole))
}

/// A cell as text: numbers in their shortest form, dates in ISO 8601. `first_day`: 0 is a day here.
pub(super) fn render(value: &DataRef<'_>, first_day: bool, into: &mut String) {
    use std::fmt::Write;
    // Writing to a string does not fail.
    let _ = match value {
        DataRef::Int(number) => write!(into, "{number}"),
        DataRef::Float(number) => write!(into, "{number}"),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => into.write_str(text),
        DataRef::SharedString(text) => into.write_str(text),
        DataRef::Bool(flag) => into.write_str(value::truth(*flag)),
        DataRef::DateTime(time) => {
            render_time(time, first_day, into);
            Ok(())
        }
        DataRef::Error(error) => write!(into, "{error}"),
        DataRef::Empty => Ok(()),
    };
}

/// The day after the last of Excel's calendar, 9999-12-31.
const LAST_DAY: f64 = 2_958_466.0;

fn render_time(time: &ExcelDateTime, first_day: bool, into: &mut String) {
    use std::fmt::Write;
    let serial = time.as_f64();
    // A number below 1 is a time of a day that is not told (ECMA-376 part 1, 18.17.4.2).
    if (0.0..1.0).contains(&serial) && !first_day || time.is_duration() && serial.abs() < LAST_DAY {
        return render_clock(serial, !time.is_duration(), into);
    }
    if !(0.0..LAST_DAY).contains(&serial) {
        let _ = write!(into, "{serial}");
        return;
    }
    let (year, month, day, hour, minute, second, milli) = time.to_ymd_hms_milli();
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}");
    match date::DateFormat::Iso.timestamp(&text) {
        Some(micros) => date::iso_text(micros, into),
        // 1900-02-29, a day that never was.
        None => {
            let _ = write!(into, "{serial}");
        }
    }
}

/// True for a format that is not plainly one of numbers: its number may be a date or a time. Those of some languages
/// have no text (ECMA-376 part 1, 18.8.30).
fn may_show_a_time(style: &Style) -> bool {
    style.number_format.as_ref().is_some_and(|format| {
        matches!(format.format_id, Some(27..=36 | 50..=58))
            || format
                .format_code
                .to_ascii_lowercase()
                .contains(['y', 'm', 'd', 'h', 's'])
    })
}

/// True for a format with a year or a day, besides what it quotes (ECMA-376 part 1, 18.8.31).
pub(super) fn shows_a_day(style: &Style) -> bool {
    let Some(format) = &style.number_format else {
        return false;
    };
    let mut ends = None;
    format.format_code.chars().any(|c| {
        match (ends, c) {
            (Some(end), _) if c == end => ends = None,
            (None, '"') => ends = Some('"'),
            (None, '[') => ends = Some(']'),
            (None, 'y' | 'Y' | 'd' | 'D') => return true,
            _ => {}
        }
        false
    })
}

/// Hours, minutes and seconds, as the sheet shows them: `08:30:00` of a day, `36:00:00` of a duration.
fn render_clock(days: f64, of_a_day: bool, into: &mut String) {
    let micros = (days.abs() * date::DAY as f64 / 1000.0).round() as i64 * 1000;
    let micros = if of_a_day { micros.min(date::DAY - 1000) } else { micros };
    if days < 0.0 {
        into.push('-');
    }
    date::clock_text(micros, into);
}

#[cfg(test)]
mod tests {
    use super::*;
    use calamine::ExcelDateTimeType::{DateTime, TimeDelta};

    #[test]
    fn times() {
        for (serial, kind, text) in [
            (0.354_166_666_666_666_7, DateTime, "08:30:00"),
            (0.0, DateTime, "00:00:00"),
            (0.999_999_999_9, DateTime, "23:59:59.999"),
            (45_000.5, DateTime, "2023-03-15T12:00:00"),
            (45_000.0, DateTime, "2023-03-15"),
            (60.0, DateTime, "60"),
            (61.0, DateTime, "1900-03-01"),
            (-1.0, DateTime, "-1"),
            (1.5, TimeDelta, "36:00:00"),
            (-0.25, TimeDelta, "-06:00:00"),
            (0.000_017_361_111_111, TimeDelta, "00:00:01.5"),
            (1e300, TimeDelta, &format!("{}", 1e300)),
        ] {
            let mut out = String::new();
            render_time(&ExcelDateTime::new(serial, kind, false), false, &mut out);
            assert_eq!(out, text, "{serial} {kind:?}");
        }
    }
}
