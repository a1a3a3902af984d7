//! Times of messages as text that sorts by time.

use clinmill_sdk::calendar::{civil_from_days, days_from_civil};
use jiff::{
    Timestamp,
    tz::{AmbiguousOffset, TimeZone},
};

/// How many days of a zone are kept: more than a year.
const DAYS: usize = 512;

/// Makes times comparable: those with an offset become UTC, and with a zone so do those without. One per split.
#[derive(Default)]
pub struct Clock {
    zone: Option<TimeZone>,
    /// The days last asked for, each at its number: a zone is asked once per day.
    days: Vec<Day>,
}

/// A day of a zone.
#[derive(Clone, Copy, Default)]
struct Day {
    /// `YYYYMMDD` as it is written; 0: none.
    written: u32,
    /// Days since 1970-01-01.
    number: i64,
    /// The day before, the day itself and the day after, as `YYYYMMDD`.
    around: [u32; 3],
    /// Seconds that local time is ahead of UTC, where that holds all day.
    ahead: Option<i64>,
}

impl Clock {
    /// A clock for times of this zone; without one, times without an offset stay local.
    pub fn new(zone: Option<TimeZone>) -> Self {
        let days = if zone.is_some() {
            vec![Day::default(); DAYS]
        } else {
            Vec::new()
        };
        Self { zone, days }
    }

    /// Appends an HL7 time (v2.5, section 2.A.89: `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`) as
    /// `YYYYMMDDHHMMSS.ffff`. What is left out is the earliest. False, and nothing appended, where the text is no such
    /// time.
    pub fn comparable(&mut self, text: &str, out: &mut String) -> bool {
        let (digits, fraction) = if is_plain(text.as_bytes()) {
            if self.zone.is_none() {
                out.push_str(text);
                out.push_str(".0000");
                return true;
            }
            let number = text.bytes().fold(0, |n, b| n * 10 + u64::from(b - b'0'));
            (self.utc(number), 0)
        } else {
            match parse(text) {
                Some((number, fraction, false)) => (self.utc(number), fraction),
                Some((number, fraction, true)) => (number, fraction),
                None => return false,
            }
        };
        push_digits(digits, 14, out);
        out.push('.');
        push_digits(u64::from(fraction), 4, out);
        true
    }

    /// A local time `YYYYMMDDHHMMSS` as UTC. An hour that comes twice is the earlier, one that is skipped is counted on
    /// from before it. A time whose UTC has no year of four digits stays as it is.
    fn utc(&mut self, local: u64) -> u64 {
        let Some(zone) = &self.zone else { return local };
        let (date, time) = ((local / 1_000_000) as u32, (local % 1_000_000) as i64);
        let number = date / 10_000 * 372 + date / 100 % 100 * 31 + date % 100;
        let Some(day) = self.days.get_mut(number as usize % DAYS) else {
            return local;
        };
        if day.written != date {
            *day = Day::of(date, zone);
        }
        let seconds = time / 10_000 * 3600 + time / 100 % 100 * 60 + time % 100;
        let Some(ahead) = day.ahead.or_else(|| ahead_of_utc(zone, day.number, seconds)) else {
            return local;
        };
        let utc = seconds - ahead;
        let (shift, rest) = (utc.div_euclid(86_400), utc.rem_euclid(86_400));
        let found = usize::try_from(shift + 1).ok().and_then(|i| day.around.get(i).copied());
        match found.or_else(|| date_of(day.number + shift)) {
            Some(date) if date > 0 => join_time(u64::from(date), rest as u64),
            _ => local,
        }
    }
}

impl Day {
    fn of(written: u32, zone: &TimeZone) -> Self {
        let number = days_from_civil(written / 10_000, written / 100 % 100, written % 100);
        let first = ahead_of_utc(zone, number, 0);
        Self {
            written,
            number,
            around: [-1, 0, 1].map(|shift| date_of(number + shift).unwrap_or(0)),
            ahead: first.filter(|_| first == ahead_of_utc(zone, number, 86_399)),
        }
    }
}

/// Seconds that a local time is ahead of UTC.
fn ahead_of_utc(zone: &TimeZone, day: i64, seconds: i64) -> Option<i64> {
    let local = Timestamp::from_second(day * 86_400 + seconds).ok()?;
    let offset = match zone.to_ambiguous_timestamp(TimeZone::UTC.to_datetime(local)).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset,
        AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => before,
    };
    Some(i64::from(offset.seconds()))
}

/// True for `YYYYMMDDHHMMSS`, which most times are.
fn is_plain(text: &[u8]) -> bool {
    let two = |tens: u8, ones: u8| (tens - b'0') * 10 + (ones - b'0');
    match text {
        [_, _, _, _, a, b, c, d, e, f, g, h, i, j] if text.iter().all(u8::is_ascii_digit) => {
            (1..=12).contains(&two(*a, *b))
                && (1..=31).contains(&two(*c, *d))
                && two(*e, *f) <= 24
                && two(*g, *h) <= 59
                && two(*i, *j) <= 60
        }
        _ => false,
    }
}

/// Appends a number with leading zeros. `width` is 20 at most.
pub fn push_digits(mut number: u64, width: usize, out: &mut String) {
    let mut digits = [b'0'; 20];
    for digit in digits.iter_mut().take(width) {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    let digits = digits.get_mut(..width).unwrap_or_default();
    digits.reverse();
    out.push_str(std::str::from_utf8(digits).unwrap_or_default());
}

/// The time as the number `YYYYMMDDHHMMSS`, ten-thousandths of a second, and whether it is UTC.
fn parse(text: &str) -> Option<(u64, u32, bool)> {
    let text = text.trim_ascii();
    let (local, offset) = match text.find(['+', '-']) {
        Some(at) => (text.get(..at)?, Some(text.get(at..)?)),
        None => match text.strip_suffix('Z') {
            Some(local) => (local, Some("+0000")),
            None => (text, None),
        },
    };
    let (whole, fraction) = match local.split_once('.') {
        Some((whole, fraction)) => (whole, ten_thousandths(fraction)?),
        None => (local, 0),
    };
    if !matches!(whole.len(), 4 | 6 | 8 | 10 | 12 | 14) || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize, least: u64| match whole.get(from..to) {
        Some(digits) => digits.parse::<u64>().ok(),
        None => Some(least),
    };
    let (year, month, day) = (part(0, 4, 0)?, part(4, 6, 1)?, part(6, 8, 1)?);
    let (hour, minute, second) = (part(8, 10, 0)?, part(10, 12, 0)?, part(12, 14, 0)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let local = join(year, month, day) * 1_000_000 + hour * 10_000 + minute * 100 + second;
    let Some(offset) = offset else {
        return Some((local, fraction, false));
    };
    let minutes = days_from_civil(year as u32, month as u32, day as u32) * 1440 + (hour * 60 + minute) as i64
        - offset_minutes(offset)?;
    let utc = date_of(minutes.div_euclid(1440))
        .map(|date| join_time(u64::from(date), minutes.rem_euclid(1440) as u64 * 60) + second);
    Some((utc.unwrap_or(local), fraction, true))
}

/// A date `YYYYMMDD` and the seconds since its midnight as `YYYYMMDDHHMMSS`.
fn join_time(date: u64, seconds: u64) -> u64 {
    date * 1_000_000 + seconds / 3600 * 10_000 + seconds / 60 % 60 * 100 + seconds % 60
}

/// A day since 1970-01-01 as `YYYYMMDD`; none where its year has not four digits.
fn date_of(days: i64) -> Option<u32> {
    let (year, month, day) = civil_from_days(days);
    let date = (0..=9999).contains(&year).then(|| year * 10_000 + month * 100 + day);
    date.and_then(|date| u32::try_from(date).ok())
}

fn join(year: u64, month: u64, day: u64) -> u64 {
    year * 10_000 + month * 100 + day
}

fn ten_thousandths(digits: &str) -> Option<u32> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(4)
        .try_fold(0, |n, b| Some(n * 10 + u32::from(b - b'0')))
}

fn offset_minutes(text: &str) -> Option<i64> {
    let digits = text.get(1..)?;
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: i64 = digits.parse().ok()?;
    let minutes = n / 100 * 60 + n % 100;
    (n / 100 <= 14 && n % 100 < 60).then_some(if text.starts_with('-') { -minutes } else { minutes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(zone: &str, text: &str) -> Option<String> {
        let zone = (!zone.is_empty()).then(|| TimeZone::get(zone).unwrap());
        let mut out = String::new();
        Clock::new(zone).comparable(text, &mut out).then_some(out)
    }

    fn of(text: &str) -> Option<String> {
        at("", text)
    }

    #[test]
    fn local_times_become_utc() {
        let shanghai = |text: &str| at("Asia/Shanghai", text).unwrap();
        assert_eq!(shanghai("20260301070000"), "20260228230000.0000");
        assert_eq!(shanghai("20260301080000.25"), "20260301000000.2500");
        assert_eq!(shanghai("20260301080000+0800"), "20260301000000.0000");
        assert_eq!(shanghai("20260301080000Z"), "20260301080000.0000");
        assert_eq!(shanghai("202603012400"), "20260301160000.0000");
        assert_eq!(shanghai("20260301"), "20260228160000.0000");
        assert_eq!(shanghai("202603"), "20260228160000.0000");
        assert_eq!(shanghai("20260231070000"), "20260302230000.0000");
        // Summer time began at 2:00 of 1986-05-04 and ended at 2:00 of 1986-09-14.
        assert_eq!(shanghai("19860504015900"), "19860503175900.0000");
        assert_eq!(shanghai("19860504030000"), "19860503180000.0000");
        assert_eq!(shanghai("19860914003000"), "19860913153000.0000");
        assert_eq!(shanghai("19860914013000"), "19860913163000.0000");
        assert_eq!(shanghai("19860914023000"), "19860913183000.0000");
        assert_eq!(at("America/New_York", "20261101013000").unwrap(), "20261101053000.0000");
        assert_eq!(at("America/New_York", "20260308023000").unwrap(), "20260308073000.0000");
        assert_eq!(at("America/New_York", "99991231230000").unwrap(), "99991231230000.0000");
        assert_eq!(shanghai("00000101000000"), "00000101000000.0000");
    }

    #[test]
    fn a_clock_gives_the_same_whatever_it_was_asked_before() {
        let zone = || Some(TimeZone::get("America/New_York").unwrap());
        let mut clock = Clock::new(zone());
        for i in 0..4000u32 {
            let (year, month, day) = (2024 + i % 3, 1 + i * 7 % 12, 1 + i * 13 % 31);
            let text = format!("{year}{month:02}{day:02}{:02}{:02}00", i * 5 % 24, i % 60);
            let (mut kept, mut fresh) = (String::new(), String::new());
            assert!(clock.comparable(&text, &mut kept) && Clock::new(zone()).comparable(&text, &mut fresh));
            assert_eq!(kept, fresh, "{text}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(of("20240229081500").unwrap(), "20240229081500.0000");
        assert_eq!(of("20241301000000"), None);
        assert_eq!(of("20240229081500.12").unwrap(), "20240229081500.1200");
        assert_eq!(of("202402").unwrap(), "20240201000000.0000");
        assert_eq!(of("202403010130+0800").unwrap(), "20240229173000.0000");
        assert_eq!(of("20231231230000.5-0500").unwrap(), "20240101040000.5000");
        for wrong in [
            "",
            "2024-01-01",
            "202413",
            "20240100",
            "2024010125",
            "abcd",
            "20240101+1",
            "202401011",
            "2024.",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
