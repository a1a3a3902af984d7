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

/// Dates and times as `YYYY-MM-DDTHH:MM:SS`, which sorts as time does. Read are YYYYMMDD, YYYYMMDDHHMM and
/// YYYYMMDDHHMMSS (also with one separator between date and time) and the same with separators of any kind between the
/// parts (`2026-04-20`, `2026.4.20 08:00`, `2026年4月20日`). Any other number (a week, a counter) becomes its digits
/// padded to twenty, which sorts as the number does. None for anything else, and for a date of 1900 to 2099 that does
/// not exist.
pub fn normalize(text: &str) -> Option<String> {
    let groups: Vec<&str> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|g| !g.is_empty())
        .collect();
    let digits = groups.concat();
    let lengths: Vec<usize> = groups.iter().map(|g| g.len()).collect();
    let fields = match lengths.as_slice() {
        [8 | 12 | 14] | [8, 4 | 6] => {
            let mut cuts = vec![digits.get(..4)?];
            cuts.extend((4..digits.len()).step_by(2).filter_map(|i| digits.get(i..i + 2)));
            Some(cuts)
        }
        [4, 1 | 2, 1 | 2] | [4, 1 | 2, 1 | 2, 1 | 2, 1 | 2] | [4, 1 | 2, 1 | 2, 1 | 2, 1 | 2, 1 | 2] => Some(groups),
        _ => None,
    };
    match fields {
        Some(fields) => match date_time(&fields) {
            Some(time) => Some(time.strftime("%Y-%m-%dT%H:%M:%S").to_string()),
            None if lengths.len() > 1 || digits.starts_with("19") || digits.starts_with("20") => None,
            None => padded(&digits),
        },
        None => padded(&digits),
    }
}

fn date_time(fields: &[&str]) -> Option<DateTime> {
    let mut numbers = fields.iter().map(|f| f.parse::<i16>().ok());
    let year = numbers.next()??;
    let mut rest = [1i8, 1, 0, 0, 0];
    for (slot, number) in rest.iter_mut().zip(numbers) {
        *slot = i8::try_from(number?).ok()?;
    }
    let [month, day, hour, minute, second] = rest;
    (1000..=9999).contains(&year).then_some(())?;
    DateTime::new(year, month, day, hour, minute, second, 0).ok()
}

fn padded(digits: &str) -> Option<String> {
    let digits = digits.trim_start_matches('0');
    let some = !digits.is_empty() && digits.len() <= 20;
    some.then(|| format!("{digits:0>20}"))
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
            ("2026.4.2", "2026-04-02T00:00:00"),
            ("2026年4月20日", "2026-04-20T00:00:00"),
            ("202604200830", "2026-04-20T08:30:00"),
            ("20260420083059", "2026-04-20T08:30:59"),
            ("20260420_083059", "2026-04-20T08:30:59"),
            ("2026-04-20T08:30:59", "2026-04-20T08:30:59"),
            ("2026-04-20 8:30", "2026-04-20T08:30:00"),
            ("w7", "00000000000000000007"),
            ("2026-17", "00000000000000202617"),
            ("00000012", "00000000000000000012"),
        ] {
            assert_eq!(normalize(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "final",
            "20261340",
            "2026-02-30",
            "20260420_250000",
            "123456789012345678901",
        ] {
            assert_eq!(normalize(text), None, "{text}");
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
    }
}
