//! What time an input speaks of, read from its path, never from the file's own times.

use super::{
    error::{Result, VaultError},
    glob::Pattern,
};
use jiff::civil::DateTime;

/// A pattern on the file's name (on its relative path where the pattern holds a `/`) with one `{capture}` of a date or
/// time, or with several of which one is called `date`: `lis_{date}.csv`, `{site}_{date}.csv`.
#[derive(Clone, Debug)]
pub struct AsOfPattern {
    pattern: Pattern,
    /// The capture that is the time.
    time: String,
    on_path: bool,
}

impl AsOfPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`VaultError::Pattern`] when it is not a pattern, has no capture, or several of which none is called `date`.
    pub fn parse(text: &str) -> Result<Self> {
        let pattern = Pattern::parse(text)?;
        let names: Vec<&str> = pattern.names().collect();
        let time = match names.as_slice() {
            [one] => Some(*one),
            several => several.iter().copied().find(|name| *name == "date"),
        };
        let Some(time) = time.map(str::to_owned) else {
            return Err(VaultError::Pattern {
                pattern: text.to_owned(),
                reason: "needs one {capture} of a date or time; of several, one called {date}",
            });
        };
        Ok(Self {
            pattern,
            time,
            on_path: text.contains('/'),
        })
    }

    /// The time in a relative path with `/` between its parts, as [`normalize`] writes it; none when the pattern does
    /// not match or what it captures is not a time or number.
    pub fn read(&self, relative: &str) -> Option<String> {
        let text = if self.on_path {
            relative
        } else {
            relative.rsplit('/').next()?
        };
        self.pattern
            .matches(text)?
            .get(&self.time)
            .and_then(|found| normalize(found))
    }
}

/// What a time is measured in. Times of two kinds do not compare: which of `20261231` and `202613` is later, nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeKind {
    /// A day, with or without a time of it.
    Day,
    /// A week of a year.
    Week,
    /// A number: a counter, or a month.
    Number,
}

impl TimeKind {
    /// The kind of a time as [`normalize`] writes it.
    pub fn of(time: &str) -> Self {
        match time.as_bytes().get(4..6) {
            Some(b"-W") => Self::Week,
            Some([b'-', _]) => Self::Day,
            _ => Self::Number,
        }
    }

    /// What the names of files hold.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Day => "days",
            Self::Week => "weeks",
            Self::Number => "months or numbers",
        }
    }
}

/// What a name holds, written so that it sorts as time does within its kind:
///
/// - days as `YYYY-MM-DDTHH:MM:SS`: YYYYMMDD, YYYYMMDDHHMM, YYYYMMDDHHMMSS (also with `T`, `_`, `-` or a space before the
///   time), and with `-`, `_` or `.` between the parts or as `2026年4月20日` (then also `2026-4-2 8:05`, `… 8时5分`);
/// - weeks (`2026-W09`, ISO 8601, 5.2.3) as `YYYY-Www`;
/// - months (YYYYMM, `2026-04`, `2026.4`, `2026年4月`) as the number YYYYMM, and any other number, a counter, as its digits:
///   both padded to twenty. A counter may say what it counts: `w7`, `week07`, `v3`, `no12`, `第7周`.
///
/// None for anything else, as its order is not known: the day or the month first (`01-03-2026`, `01032026`), names of
/// months, a copy (`20260301 (1)`), a range, a date that does not exist or lies outside of 1900 to 2099.
pub fn normalize(text: &str) -> Option<String> {
    if let Some(counter) = counter(text.trim()) {
        return number(counter);
    }
    let mut rest = Rest(text.trim());
    let first = rest.run();
    if rest.0.is_empty() {
        return number(first);
    }
    if first.len() == 8 {
        let clock = rest.clock(false)?;
        return day_text([first.get(..4)?, first.get(4..6)?, first.get(6..)?], &clock);
    }
    let year = Some(first).filter(|year| year.len() == 4)?;
    if let Some(week) = rest.0.strip_prefix("-W").or_else(|| rest.0.strip_prefix('W')) {
        let week = week
            .parse::<u8>()
            .ok()
            .filter(|n| (1..=53).contains(n) && week.len() < 3);
        return in_years(year)
            .then_some(())
            .and(week)
            .map(|n| format!("{year}-W{n:02}"));
    }
    let chinese = rest.one(&['年', '-', '_', '.'])? == '年';
    let month = rest.part()?;
    if chinese {
        rest.one(&['月'])?;
    }
    if rest.0.is_empty() {
        day_text([year, month, "1"], &[])?;
        return number(&format!("{year}{month:0>2}"));
    }
    if !chinese {
        rest.one(&['-', '_', '.'])?;
    }
    let day = rest.part()?;
    let after_day = chinese && rest.one(&['日', '号']).is_some();
    let clock = rest.clock(after_day)?;
    day_text([year, month, day], &clock)
}

/// The number of a counter that says what it counts, too short for a date.
fn counter(text: &str) -> Option<&str> {
    const NAMES: [&str; 5] = ["week", "wk", "w", "v", "no"];
    let chinese = || text.strip_prefix('第')?.strip_suffix(['周', '期', '次', '批', '版']);
    let named = NAMES.iter().find_map(|name| {
        let (found, digits) = text.split_at_checked(name.len())?;
        found.eq_ignore_ascii_case(name).then_some(digits)
    });
    let digits = named.or_else(chinese)?;
    let is_number = matches!(digits.len(), 1..=5) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some(digits)
}

/// A number by itself. Eight, twelve and fourteen digits are a date, or one in an order that nobody knows; only a counter
/// begins with two zeros.
fn number(digits: &str) -> Option<String> {
    if matches!(digits.len(), 8 | 12 | 14) && !digits.starts_with("00") {
        let (day, time) = digits.split_at(8);
        let clock: Vec<&str> = (0..time.len()).step_by(2).filter_map(|i| time.get(i..i + 2)).collect();
        return day_text([day.get(..4)?, day.get(4..6)?, day.get(6..)?], &clock);
    }
    let digits = digits.trim_start_matches('0');
    let some = !digits.is_empty() && digits.len() <= 20;
    some.then(|| format!("{digits:0>20}"))
}

fn in_years(year: &str) -> bool {
    year.starts_with("19") || year.starts_with("20")
}

fn day_text([year, month, day]: [&str; 3], clock: &[&str]) -> Option<String> {
    in_years(year).then_some(())?;
    let mut rest = [0i8; 3];
    for (slot, part) in rest.iter_mut().zip(clock) {
        *slot = part.parse().ok()?;
    }
    let [hour, minute, second] = rest;
    let (year, month, day) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

/// What is still to be read.
struct Rest<'t>(&'t str);

impl<'t> Rest<'t> {
    /// The digits that it begins with.
    fn run(&mut self) -> &'t str {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (run, rest) = self.0.split_at(end);
        self.0 = rest;
        run
    }

    /// One or two digits.
    fn part(&mut self) -> Option<&'t str> {
        Some(self.run()).filter(|run| matches!(run.len(), 1 | 2))
    }

    fn one(&mut self, of: &[char]) -> Option<char> {
        let first = self.0.chars().next().filter(|c| of.contains(c))?;
        self.0 = self.0.get(first.len_utf8()..).unwrap_or_default();
        Some(first)
    }

    /// The time of a day up to the end, as hour, minute and second, as many as there are. `touching`: it may follow without
    /// a mark.
    fn clock(&mut self, touching: bool) -> Option<Vec<&'t str>> {
        if self.0.is_empty() {
            return Some(Vec::new());
        }
        if self.one(&['T', ' ', '_', '-']).is_none() && !touching {
            return None;
        }
        let hour = self.run();
        if matches!(hour.len(), 4 | 6) && self.0.is_empty() {
            return Some((0..hour.len()).step_by(2).filter_map(|i| hour.get(i..i + 2)).collect());
        }
        let mut clock = vec![Some(hour).filter(|hour| matches!(hour.len(), 1 | 2))?];
        let chinese = matches!(self.one(&[':', '-', '_', '.', '时', '点'])?, '时' | '点');
        if chinese && self.0.is_empty() {
            return Some(clock);
        }
        clock.push(self.part()?);
        let more = self
            .one(if chinese { &['分'] } else { &[':', '-', '_', '.'] })
            .is_some();
        if more && !(chinese && self.0.is_empty()) {
            clock.push(self.part()?);
            let _ = chinese && self.one(&['秒']).is_some();
        }
        self.0.is_empty().then_some(clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_forms_hospitals_use() {
        for (text, expected) in [
            ("20260420", "2026-04-20T00:00:00"),
            ("2026-04-20", "2026-04-20T00:00:00"),
            ("2026_04_20", "2026-04-20T00:00:00"),
            ("2026.4.2", "2026-04-02T00:00:00"),
            ("2026年4月20日", "2026-04-20T00:00:00"),
            ("2026年4月20日8时", "2026-04-20T08:00:00"),
            ("2026年4月20日 8时30分", "2026-04-20T08:30:00"),
            ("2026年4月20日083059", "2026-04-20T08:30:59"),
            ("202604200830", "2026-04-20T08:30:00"),
            ("20260420083059", "2026-04-20T08:30:59"),
            ("20260420_083059", "2026-04-20T08:30:59"),
            ("20260420T0830", "2026-04-20T08:30:00"),
            ("2026-04-20T08:30:59", "2026-04-20T08:30:59"),
            ("2026-04-20T08-30-59", "2026-04-20T08:30:59"),
            ("2026-04-20 8:30", "2026-04-20T08:30:00"),
            ("7", "00000000000000000007"),
            ("00000012", "00000000000000000012"),
            ("202612", "00000000000000202612"),
            ("2026-12", "00000000000000202612"),
            ("2027-1", "00000000000000202701"),
            ("2027年1月", "00000000000000202701"),
            ("2026-W9", "2026-W09"),
            ("2026W17", "2026-W17"),
            ("w7", "00000000000000000007"),
            ("Week07", "00000000000000000007"),
            ("第7周", "00000000000000000007"),
        ] {
            assert_eq!(normalize(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_has_no_known_order_is_no_time() {
        for text in [
            "",
            "final",
            "w",
            "Mar7",
            "w20260301",
            "-5",
            "1.5",
            "20261340",
            "2026-02-30",
            "2026-17",
            "2026-W54",
            "2026Q1",
            "20260420_250000",
            "123456789012345678901",
            "28-02-2026",
            "28.02.2026",
            "1.3.26",
            "12312025",
            "01072026",
            "010720260830",
            "28Feb2026",
            "20260301 (1)",
            "20260301(1)",
            "20260301_v2",
            "20260301_2",
            "20260301-20260331",
            "2026-03-01-2026-03-31",
            "2026-03-01-2",
            "2026年3-1",
            "2026-3月",
        ] {
            assert_eq!(normalize(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_says_its_kind() {
        for (text, kind) in [
            ("20260420", TimeKind::Day),
            ("2026-04-20 08:30", TimeKind::Day),
            ("2026-W09", TimeKind::Week),
            ("2026-09", TimeKind::Number),
            ("17", TimeKind::Number),
        ] {
            assert_eq!(normalize(text).as_deref().map(TimeKind::of), Some(kind), "{text}");
        }
    }

    #[test]
    fn looks_at_the_name_or_at_the_path() {
        let name = AsOfPattern::parse("lis_{date}.csv").unwrap();
        assert_eq!(
            name.read("inbox/2025/lis_20260420.csv").as_deref(),
            Some("2026-04-20T00:00:00")
        );
        assert_eq!(name.read("inbox/adt_20260420.csv"), None);
        let path = AsOfPattern::parse("**/{week}/*.csv").unwrap();
        assert_eq!(
            path.read("inbox/2026-04-20/lis.csv").as_deref(),
            Some("2026-04-20T00:00:00")
        );
        let several = AsOfPattern::parse("{site}_{date}_*.csv").unwrap();
        assert_eq!(
            several.read("in/north2_20260420_full.csv").as_deref(),
            Some("2026-04-20T00:00:00")
        );
        assert!(AsOfPattern::parse("lis.csv").is_err());
        assert!(AsOfPattern::parse("{a}_{b}.csv").is_err());
    }

    proptest! {
        #[test]
        fn numbers_keep_their_order(a in 0u32..9_999_999, b in 0u32..9_999_999) {
            let (x, y) = (normalize(&(a + 1).to_string()), normalize(&(b + 1).to_string()));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }

        #[test]
        fn no_text_is_read_in_another_order(text in "[0-9 ()_.:TW年月日-]{0,20}", more in "\\PC{0,8}") {
            let _ = (normalize(&text), normalize(&more));
            // The day first, whatever stands between.
            for mark in ["-", ".", "_", ""] {
                for (day, month) in [(1, 3), (28, 2), (19, 12), (20, 1)] {
                    prop_assert_eq!(normalize(&format!("{day:02}{mark}{month:02}{mark}2026")), None);
                }
            }
        }
    }
}
