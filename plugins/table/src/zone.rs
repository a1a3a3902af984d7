//! Times that carry their offset from UTC, as times of the pipeline's zone: tables hold local timestamps.

use crate::date::DateFormat;
use clinmill_sdk::{PluginError, zone};
use jiff::tz::TimeZone;

/// The pipeline's zone, if it has one.
#[derive(Clone, Debug, Default)]
pub struct Zone(Option<TimeZone>);

impl Zone {
    /// By its IANA name.
    ///
    /// # Errors
    /// When there is no such zone.
    pub fn named(name: Option<&str>) -> Result<Self, PluginError> {
        zone::named(name, "", "TABLE_ZONE").map(Self)
    }

    /// True when there is one.
    pub const fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Seconds that the local clock is ahead of UTC at a time in seconds since 1970-01-01T00:00:00Z.
    pub fn ahead(&self, seconds: i64) -> Option<i64> {
        zone::ahead(self.0.as_ref()?, seconds)
    }

    /// Local microseconds of an ISO 8601 time with its offset: `2026-04-20T08:30:00Z`, `2026-04-20 08:30+09:00`. `None`
    /// for every other text, and where no zone is known.
    pub fn read(&self, text: &str) -> Option<i64> {
        let text = text.trim_ascii();
        let (time, offset) = match text.strip_suffix(['Z', 'z']) {
            Some(time) => (time, 0),
            None => {
                let sign = text.get(11..)?.rfind(['+', '-'])? + 11;
                let (time, offset) = text.split_at(sign);
                (time, offset_of(offset)?)
            }
        };
        // A day alone has no offset.
        let written = DateFormat::Iso.timestamp(time).filter(|_| time.len() > 10)?;
        zone::local(self.0.as_ref()?, written.checked_sub(offset * 1_000_000)?)
    }
}

/// Seconds of `+09:00`, `-0530` or `+08`.
fn offset_of(text: &str) -> Option<i64> {
    let (sign, digits) = text.split_at_checked(1)?;
    let (hours, minutes) = match digits.len() {
        2 => (digits, "00"),
        4 => digits.split_at_checked(2)?,
        _ => digits.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2)?,
    };
    if !hours.bytes().chain(minutes.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = (hours * 60 + minutes) * 60;
    Some(if sign == "-" { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets() {
        let zone = Zone::named(Some("Asia/Shanghai")).unwrap();
        for (text, want) in [
            ("2024-03-01T00:30:00Z", Some("2024-03-01T08:30:00")),
            (" 2024-03-01 00:30z ", Some("2024-03-01T08:30:00")),
            ("2024-03-01T00:30:00.25+09:00", Some("2024-02-29T23:30:00.25")),
            ("2024-03-01T00:30:00-0530", Some("2024-03-01T14:00:00")),
            ("2024-03-01T00:30:00+08", Some("2024-03-01T00:30:00")),
            // Summer time of 1988.
            ("1988-07-01T00:00:00Z", Some("1988-07-01T09:00:00")),
            ("2024-03-01", None),
            ("2024-03-01Z", None),
            ("2024-03-01+08:00", None),
            ("2024-03-01T00:30:00", None),
            ("2024-03-01T00:30:00+24:00", None),
            ("2024-03-01T00:30:00+8", None),
            ("2024-03-01T00:30:00+é:00", None),
        ] {
            let shown = zone.read(text).map(|micros| {
                let mut shown = String::new();
                crate::date::iso_text(micros, &mut shown);
                shown
            });
            assert_eq!(shown.as_deref(), want, "{text}");
        }
        assert_eq!(Zone::default().read("2024-03-01T00:30:00Z"), None);
        assert!(Zone::named(Some("Mars/Base")).is_err());
    }
}
