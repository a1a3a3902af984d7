//! The formats and their parsers: fixed layouts read byte by byte, no allocation for ASCII texts.

use crate::Format;
use clinmill_sdk::calendar;
use std::borrow::Cow;

/// How much a text says, from coarse to fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// The year.
    Year,
    /// Year and month.
    Month,
    /// The day.
    Day,
    /// The hour.
    Hour,
    /// The minute.
    Minute,
    /// The second, or finer.
    Second,
}

impl Precision {
    /// The name in the precision column.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
        }
    }
}

/// A date and time as written: valid, local to its offset or, without one, to the pipeline's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Days since 1970-01-01.
    pub days: i32,
    /// Microseconds since midnight.
    pub micros: i64,
    /// How much was given; what was not given is the least.
    pub precision: Precision,
    /// Minutes east of UTC, where the text says so.
    pub offset: Option<i32>,
}

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;

/// Why a text is no date or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It fits no format.
    Format,
    /// It fits a format, and there is no such day or time.
    Range,
}

/// Reads a text by the first format that fits all of it.
///
/// # Errors
/// When none fits, or the one that fits gives a day or time that does not exist.
pub fn parse(text: &str, formats: &[Format]) -> Result<Parsed, Unfit> {
    let text = narrow(text.trim());
    let mut unfit = Unfit::Format;
    for format in formats {
        let mut fields = Fields::default();
        let mut cursor = Cursor(&text);
        if read(*format, &mut cursor, &mut fields).is_none() || !cursor.0.is_empty() {
            continue;
        }
        match fields.check() {
            Some(parsed) => return Ok(parsed),
            None => unfit = Unfit::Range,
        }
    }
    Err(unfit)
}

/// Full-width ASCII (U+FF01 to U+FF5E) and the ideographic space as their ASCII twins.
fn narrow(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let twin = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        c => c,
    };
    Cow::Owned(text.chars().map(twin).collect())
}

#[derive(Default)]
struct Fields {
    year: u32,
    month: Option<u32>,
    day: Option<u32>,
    hour: Option<u32>,
    minute: Option<u32>,
    second: Option<u32>,
    micros: u32,
    /// Sign, hours and minutes of the offset.
    offset: Option<(i32, u32, u32)>,
}

impl Fields {
    fn check(&self) -> Option<Parsed> {
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        let (hour, minute, second) = (
            self.hour.unwrap_or(0),
            self.minute.unwrap_or(0),
            self.second.unwrap_or(0),
        );
        let fits = (1..=9999).contains(&self.year) && hour < 24 && minute < 60 && second < 60;
        let offset = match self.offset {
            Some((_, hours, minutes)) if hours > 18 || minutes > 59 => return None,
            Some((sign, hours, minutes)) => Some(sign * i32::try_from(hours * 60 + minutes).ok()?),
            None => None,
        };
        let precision = match (self.month, self.day, self.hour, self.minute, self.second) {
            (None, ..) => Precision::Year,
            (_, None, ..) => Precision::Month,
            (_, _, None, ..) => Precision::Day,
            (_, _, _, None, _) => Precision::Hour,
            (_, _, _, _, None) => Precision::Minute,
            _ => Precision::Second,
        };
        let seconds = i64::from(hour * 3600 + minute * 60 + second);
        let days = calendar::day(self.year, month, day).filter(|_| fits)?;
        Some(Parsed {
            days,
            micros: seconds * 1_000_000 + i64::from(self.micros),
            precision,
            offset,
        })
    }
}

fn read(format: Format, c: &mut Cursor<'_>, f: &mut Fields) -> Option<()> {
    match format {
        Format::Iso => iso(c, f),
        Format::Hl7 => hl7(c, f),
        Format::CompactDate => {
            f.year = c.digits(4, 4)?;
            f.month = Some(c.digits(2, 2)?);
            f.day = Some(c.digits(2, 2)?);
            Some(())
        }
        Format::CompactTime => {
            read(Format::CompactDate, c, f)?;
            f.hour = Some(c.digits(2, 2)?);
            f.minute = Some(c.digits(2, 2)?);
            f.second = Some(c.digits(2, 2)?);
            Some(())
        }
        Format::DashTime => {
            separated(c, f, '-')?;
            c.spaces()?;
            clock(c, f)
        }
        Format::Slash => {
            separated(c, f, '/')?;
            match c.spaces() {
                Some(()) => clock(c, f),
                None => Some(()),
            }
        }
        Format::ChineseDate => chinese_date(c, f),
        Format::ChineseTime => {
            chinese_date(c, f)?;
            let _ = c.spaces();
            if c.0.contains(':') {
                clock(c, f)
            } else {
                chinese_clock(c, f)
            }
        }
    }
}

/// ISO 8601-1, 5.2.2 and 5.4.2, extended format; RFC 3339's space for the `T`.
fn iso(c: &mut Cursor<'_>, f: &mut Fields) -> Option<()> {
    f.year = c.digits(4, 4)?;
    if !c.eat('-') {
        return Some(());
    }
    f.month = Some(c.digits(2, 2)?);
    if !c.eat('-') {
        return Some(());
    }
    f.day = Some(c.digits(2, 2)?);
    if !(c.eat('T') || c.eat('t') || c.eat(' ')) {
        return Some(());
    }
    f.hour = Some(c.digits(2, 2)?);
    if c.eat(':') {
        f.minute = Some(c.digits(2, 2)?);
        if c.eat(':') {
            f.second = Some(c.digits(2, 2)?);
            f.micros = c.fraction()?;
        }
    }
    if c.eat('Z') || c.eat('z') {
        f.offset = Some((1, 0, 0));
        return Some(());
    }
    c.offset(f, true)
}

/// HL7 v2.5, section 2.A.77 (TS) and 2.A.22 (DTM).
fn hl7(c: &mut Cursor<'_>, f: &mut Fields) -> Option<()> {
    f.year = c.digits(4, 4)?;
    for field in [&mut f.month, &mut f.day, &mut f.hour, &mut f.minute, &mut f.second] {
        if !c.at_digit() {
            break;
        }
        *field = Some(c.digits(2, 2)?);
    }
    if f.second.is_some() {
        f.micros = c.fraction()?;
    }
    c.offset(f, false)
}

fn separated(c: &mut Cursor<'_>, f: &mut Fields, separator: char) -> Option<()> {
    f.year = c.digits(4, 4)?;
    f.month = c.after(separator)?.digits(1, 2);
    f.day = c.after(separator)?.digits(1, 2);
    f.month.and(f.day).map(|_| ())
}

/// `h:mm[:ss[.f]]`.
fn clock(c: &mut Cursor<'_>, f: &mut Fields) -> Option<()> {
    f.hour = Some(c.digits(1, 2)?);
    f.minute = Some(c.after(':')?.digits(2, 2)?);
    if c.eat(':') {
        f.second = Some(c.digits(2, 2)?);
        f.micros = c.fraction()?;
    }
    Some(())
}

fn chinese_date(c: &mut Cursor<'_>, f: &mut Fields) -> Option<()> {
    f.year = match c.at_digit() {
        true => c.digits(4, 4)?,
        false => c.chinese_year()?,
    };
    f.month = Some(c.after('年')?.number()?);
    f.day = Some(c.after('月')?.number()?);
    (c.eat('日') || c.eat('号')).then_some(())
}

fn chinese_clock(c: &mut Cursor<'_>, f: &mut Fields) -> Option<()> {
    f.hour = Some(c.number()?);
    if !(c.eat('时') || c.eat('点')) {
        return None;
    }
    if c.0.is_empty() {
        return Some(());
    }
    f.minute = Some(c.number()?);
    if !c.eat('分') {
        return None;
    }
    if c.0.is_empty() {
        return Some(());
    }
    f.second = Some(c.number()?);
    c.eat('秒').then_some(())
}

/// What is left of a text.
struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn at_digit(&self) -> bool {
        self.0.as_bytes().first().is_some_and(u8::is_ascii_digit)
    }

    fn eat(&mut self, c: char) -> bool {
        match self.0.strip_prefix(c) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn after(&mut self, c: char) -> Option<&mut Self> {
        self.eat(c).then_some(self)
    }

    fn spaces(&mut self) -> Option<()> {
        let rest = self.0.trim_start();
        let some = rest.len() < self.0.len();
        self.0 = rest;
        some.then_some(())
    }

    /// A number of at least `least` and at most `most` (9) ASCII digits.
    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let mut value = 0;
        let mut count = 0;
        for byte in self.0.bytes().take(most).take_while(u8::is_ascii_digit) {
            value = value * 10 + u32::from(byte - b'0');
            count += 1;
        }
        if count < least {
            return None;
        }
        self.0 = self.0.get(count..)?;
        Some(value)
    }

    /// Microseconds after a `.` or `,`; 0 where there is none. Finer digits are cut off.
    fn fraction(&mut self) -> Option<u32> {
        if !(self.eat('.') || self.eat(',')) {
            return Some(0);
        }
        let length = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let digits = self.0.get(..length.min(6))?;
        let micros = digits.parse::<u32>().ok()? * 10u32.pow(6 - u32::try_from(digits.len()).ok()?);
        self.0 = self.0.get(length..)?;
        Some(micros)
    }

    /// `+hhmm`, and with a colon `+hh[:mm]`; nothing where there is no sign.
    fn offset(&mut self, fields: &mut Fields, colon: bool) -> Option<()> {
        let sign = match (self.eat('+'), self.0.starts_with('-')) {
            (true, _) => 1,
            (_, true) => -1,
            _ => return Some(()),
        };
        let _ = self.eat('-');
        let hours = self.digits(2, 2)?;
        let minutes = match colon && !self.at_digit() && !self.eat(':') {
            true => 0,
            false => self.digits(2, 2)?,
        };
        fields.offset = Some((sign, hours, minutes));
        Some(())
    }

    /// Digits, or Chinese numerals up to 99: 四, 十, 十二, 二十, 二十三.
    fn number(&mut self) -> Option<u32> {
        if self.at_digit() {
            return self.digits(1, 2);
        }
        let tens = self.numeral();
        if !self.eat('十') {
            return tens;
        }
        let ones = self.numeral().unwrap_or(0);
        Some(tens.unwrap_or(1) * 10 + ones)
    }

    fn chinese_year(&mut self) -> Option<u32> {
        let mut year = 0;
        for _ in 0..4 {
            year = year * 10 + self.numeral()?;
        }
        Some(year)
    }

    fn numeral(&mut self) -> Option<u32> {
        let first = self.0.chars().next()?;
        let value = match first {
            '〇' | '零' | '○' => 0,
            c => u32::try_from("一二三四五六七八九".chars().position(|n| n == c)?).ok()? + 1,
        };
        self.0 = self.0.get(first.len_utf8()..)?;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_a_timestamp_is_an_hl7_time_or_nothing() {
        let whole = "20260420083005.1234+0800";
        let fits: Vec<usize> = (0..=whole.len())
            .filter(|n| parse(&whole[..*n], &[Format::Hl7]).is_ok())
            .collect();
        assert_eq!(fits, [4, 6, 8, 10, 12, 14, 16, 17, 18, 19, 24]);
    }

    #[test]
    fn numerals() {
        let number = |text: &str| Cursor(text).number();
        assert_eq!(
            ["四", "十", "十二", "二十", "三十一"].map(number),
            [4, 10, 12, 20, 31].map(Some)
        );
        assert_eq!(number("日"), None);
    }
}
