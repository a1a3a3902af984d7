//! Dates and times from text by named formats, parsed by hand: a format is compiled once to a fixed list of fields.

use clinmill_sdk::calendar;

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;
/// 1899-12-30, day 0 of Excel's 1900 system from March 1900 on (ECMA-376 part 1, 18.17.4.1), in days from 1970-01-01.
const EXCEL_EPOCH: f64 = -25_569.0;

/// How a column writes dates or times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DateFormat {
    /// ISO 8601: `2026-04-20`, `2026-04-20T08:30`, `2026-04-20 08:30:00.25`.
    Iso,
    /// Days since 1899-12-30 as a number.
    Excel,
    /// A pattern such as `yyyy/m/d h:mm` or `yyyy年m月d日 h时`.
    Pattern(Vec<Part>),
}

/// One part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A number of so many digits, at least and at most.
    Field(Field, u8, u8),
    /// These bytes.
    Literal(String),
    /// Any number of spaces, or none.
    Space,
}

/// What a number of a pattern means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Four digits.
    Year,
    /// 1 to 12.
    Month,
    /// 1 to 31.
    Day,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
    /// 0 to 59.
    Second,
}

impl DateFormat {
    /// Reads a format's name. `yyyy` is the year; `m d h s` are numbers of one or two digits, `mm dd hh ss` of exactly
    /// two; an `m` after an `h` is the minute; everything else stands for itself. `None`: no such format.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "iso" => return Some(Self::Iso),
            "excel" => return Some(Self::Excel),
            _ => {}
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut seen: Vec<Field> = Vec::new();
        let mut chars = name.chars().peekable();
        while let Some(c) = chars.next() {
            if !matches!(c, 'y' | 'm' | 'd' | 'h' | 's' | 'M' | 'H') {
                match (c, parts.last_mut()) {
                    (' ', Some(Part::Space)) => {}
                    (' ', _) => parts.push(Part::Space),
                    (_, Some(Part::Literal(text))) => text.push(c),
                    (_, _) if c.is_ascii_alphanumeric() && c != 'T' && c != 'Z' => return None,
                    (_, _) => parts.push(Part::Literal(c.to_string())),
                }
                continue;
            }
            let mut count = 1u8;
            while chars.next_if_eq(&c).is_some() {
                count = count.checked_add(1)?;
            }
            let field = match c {
                'y' => Field::Year,
                'M' => Field::Month,
                'm' if seen.contains(&Field::Hour) => Field::Minute,
                'm' => Field::Month,
                'd' => Field::Day,
                'h' | 'H' => Field::Hour,
                _ => Field::Second,
            };
            if seen.contains(&field) {
                return None;
            }
            seen.push(field);
            parts.push(match (field, count) {
                (Field::Year, 4) => Part::Field(field, 4, 4),
                (Field::Year, _) => return None,
                (_, 1) => Part::Field(field, 1, 2),
                (_, 2) => Part::Field(field, 2, 2),
                _ => return None,
            });
        }
        let whole = [Field::Year, Field::Month, Field::Day].iter().all(|f| seen.contains(f));
        whole.then_some(Self::Pattern(parts))
    }

    /// Microseconds since 1970-01-01T00:00:00 on the local clock.
    pub fn timestamp(&self, text: &str) -> Option<i64> {
        let text = text.trim_ascii();
        match self {
            Self::Iso => iso(text.as_bytes()),
            Self::Excel => excel(super::value::number(text)?),
            Self::Pattern(parts) => pattern(parts, text.as_bytes()),
        }
    }

    /// Days since 1970-01-01. A time of day other than midnight is not a date.
    pub fn date(&self, text: &str) -> Option<i32> {
        let micros = self.timestamp(text)?;
        if micros.rem_euclid(DAY) != 0 {
            return None;
        }
        i32::try_from(micros.div_euclid(DAY)).ok()
    }
}

/// ISO text of a local timestamp: a date where the time is midnight, else to the second or, if needed, microsecond.
pub fn iso_text(micros: i64, into: &mut String) {
    use std::fmt::Write;
    let (year, month, day) = calendar::civil_from_days(micros.div_euclid(DAY));
    let time = micros.rem_euclid(DAY);
    // Writing to a string does not fail.
    let _ = write!(into, "{year:04}-{month:02}-{day:02}");
    if time != 0 {
        into.push('T');
        clock_text(time, into);
    }
}

/// Hours, minutes and seconds, and what is left of a second where anything is.
pub fn clock_text(micros: i64, into: &mut String) {
    use std::fmt::Write;
    let seconds = micros / 1_000_000;
    // Writing to a string does not fail.
    let _ = write!(
        into,
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    if micros % 1_000_000 != 0 {
        let fraction = format!(".{:06}", micros % 1_000_000);
        into.push_str(fraction.trim_end_matches('0'));
    }
}

/// Exactly two digits.
#[inline]
fn two(bytes: &[u8], at: usize) -> Option<u32> {
    let (tens, ones) = (bytes.get(at)?.wrapping_sub(b'0'), bytes.get(at + 1)?.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| u32::from(tens) * 10 + u32::from(ones))
}

#[inline]
fn iso(bytes: &[u8]) -> Option<i64> {
    if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = two(bytes, 0)? * 100 + two(bytes, 2)?;
    let date = micros(year, two(bytes, 5)?, two(bytes, 8)?, 0, 0, 0)?;
    if bytes.len() == 10 {
        return Some(date);
    }
    if !matches!(bytes[10], b'T' | b' ') || bytes.get(13) != Some(&b':') {
        return None;
    }
    let (hour, minute) = (two(bytes, 11)?, two(bytes, 14)?);
    let (second, fraction) = match bytes.len() {
        16 => (0, 0),
        _ if bytes.get(16) != Some(&b':') => return None,
        19 => (two(bytes, 17)?, 0),
        21..=29 if bytes[19] == b'.' => (two(bytes, 17)?, fraction(&bytes[20..])?),
        _ => return None,
    };
    time(date, hour, minute, second).map(|t| t + fraction)
}

/// Up to nine digits after the point, cut to microseconds.
fn fraction(digits: &[u8]) -> Option<i64> {
    let mut value = 0;
    for i in 0..6 {
        let digit = digits.get(i).map_or(0, |b| b.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    digits.iter().all(u8::is_ascii_digit).then_some(value)
}

fn excel(serial: f64) -> Option<i64> {
    // 61 is 1900-03-01: before it the serial numbers count a day that never was; 2958466 is 10000-01-01.
    if !(61.0..2_958_466.0).contains(&serial) {
        return None;
    }
    let millis = ((serial + EXCEL_EPOCH) * 86_400_000.0).round();
    Some(millis as i64 * 1000)
}

fn pattern(parts: &[Part], bytes: &[u8]) -> Option<i64> {
    let mut rest = bytes;
    let mut values = [0u32; 6];
    for part in parts {
        match part {
            Part::Field(field, least, most) => {
                let mut value = 0u32;
                let mut taken = 0;
                while taken < *most
                    && let Some(digit) = rest.first().map(|b| b.wrapping_sub(b'0')).filter(|d| *d <= 9)
                {
                    value = value * 10 + u32::from(digit);
                    rest = &rest[1..];
                    taken += 1;
                }
                if taken < *least {
                    return None;
                }
                values[*field as usize] = value;
            }
            Part::Literal(text) => rest = rest.strip_prefix(text.as_bytes())?,
            Part::Space => rest = rest.trim_ascii_start(),
        }
    }
    let [year, month, day, hour, minute, second] = values;
    if !rest.is_empty() {
        return None;
    }
    micros(year, month, day, hour, minute, second)
}

#[inline]
fn micros(year: u32, month: u32, day: u32, hour: u32, minute: u32, second: u32) -> Option<i64> {
    let days = calendar::day(year, month, day).filter(|_| year > 0)?;
    time(i64::from(days) * DAY, hour, minute, second)
}

#[inline]
fn time(date: i64, hour: u32, minute: u32, second: u32) -> Option<i64> {
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(date + i64::from(hour * 3600 + minute * 60 + second) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(format: &str, text: &str) -> Option<String> {
        let micros = DateFormat::parse(format).expect(format).timestamp(text)?;
        let mut shown = String::new();
        iso_text(micros, &mut shown);
        Some(shown)
    }

    #[test]
    fn named_formats() {
        for (format, text, want) in [
            ("iso", "2026-04-20", "2026-04-20"),
            ("iso", " 2026-04-20 08:30 ", "2026-04-20T08:30:00"),
            ("iso", "2026-04-20T08:30:01.25", "2026-04-20T08:30:01.25"),
            ("iso", "1969-12-31T23:59:59", "1969-12-31T23:59:59"),
            ("yyyymmdd", "20240229", "2024-02-29"),
            ("yyyymmddhhmmss", "20260420083001", "2026-04-20T08:30:01"),
            ("yyyymmddhhmm", "202604200830", "2026-04-20T08:30:00"),
            ("yyyy/m/d", "2026/4/20", "2026-04-20"),
            ("yyyy/m/d h:mm", "2026/4/20 8:05", "2026-04-20T08:05:00"),
            ("yyyy年m月d日", "2026年4月20日", "2026-04-20"),
            ("yyyy年m月d日 h时", "2026年4月20日8时", "2026-04-20T08:00:00"),
            ("yyyy年m月d日 h时m分", "2026年4月20日 8时5分", "2026-04-20T08:05:00"),
            ("d.m.yyyy", "1.12.1999", "1999-12-01"),
            ("excel", "43861.0479166667", "2020-01-31T01:09:00"),
            ("excel", "43861", "2020-01-31"),
        ] {
            assert_eq!(shown(format, text).as_deref(), Some(want), "{format} {text}");
        }
    }

    #[test]
    fn what_is_no_date() {
        for (format, text) in [
            ("iso", "2026-02-29"),
            ("iso", "2026-4-20"),
            ("iso", "0000-01-01"),
            ("iso", "2026-04-20T24:00:00"),
            ("iso", "2026-04-20T08:30:01."),
            ("iso", "2026-04-20T08:30:01x5"),
            ("iso", "2026-04-20Z"),
            ("iso", "2026年4月"),
            ("yyyymmdd", "2026042"),
            ("yyyymmdd", "202604201"),
            ("yyyy/m/d", "2026/13/1"),
            ("excel", "1e999"),
            ("excel", "-1"),
            ("yyyy年m月d日", "2026年"),
        ] {
            assert_eq!(shown(format, text), None, "{format} {text}");
        }
        for format in [
            "",
            "yy-mm-dd",
            "dd.mm",
            "iso8601",
            "yyyy-mm-dd-dd",
            "yyy-m-d",
            "%Y-%m-%d",
        ] {
            assert_eq!(DateFormat::parse(format), None, "{format}");
        }
        assert_eq!(DateFormat::Iso.date("2026-04-20T00:00:00"), Some(20_563));
        assert_eq!(DateFormat::Iso.date("2026-04-20T00:00:01"), None);
    }

    proptest! {
        #[test]
        fn text_of_a_time_reads_back(micros in -62_135_596_800_000_000i64..253_402_300_800_000_000) {
            let mut text = String::new();
            iso_text(micros, &mut text);
            prop_assert_eq!(DateFormat::Iso.timestamp(&text), Some(micros), "{}", text);
        }

        #[test]
        fn never_panics(format in "[ymdhs年/ :-]{0,12}", text in "\\PC{0,24}") {
            let _ = DateFormat::Iso.timestamp(&text);
            if let Some(format) = DateFormat::parse(&format) {
                let _ = format.timestamp(&text);
            }
        }
    }
}
