//! Time zones: tables hold what the clocks of the pipeline's zone show.

use crate::PluginError;
use jiff::{Timestamp, tz::TimeZone};

/// The zone of this IANA name, where there is one. `pointer` leads to the option that holds it, `code` is the plugin's.
///
/// # Errors
/// When the time-zone database does not have it.
pub fn named(name: Option<&str>, pointer: &str, code: &'static str) -> Result<Option<TimeZone>, PluginError> {
    let unknown = |name| PluginError::config(pointer, code, format!("the time zone {name:?} is unknown"));
    name.map(|name| TimeZone::get(name).map_err(|_| unknown(name)))
        .transpose()
}

/// Seconds that the clocks of a zone are ahead of UTC at a time in seconds since 1970.
pub fn ahead(zone: &TimeZone, utc: i64) -> Option<i64> {
    let offset = zone.to_offset(Timestamp::from_second(utc).ok()?);
    Some(offset.seconds().into())
}

/// What the clocks of a zone show at a time of UTC; both in microseconds since 1970.
pub fn local(zone: &TimeZone, utc: i64) -> Option<i64> {
    utc.checked_add(ahead(zone, utc.div_euclid(1_000_000))? * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_ahead_and_behind() {
        let zone = |name| named(Some(name), "", "ZONE").unwrap().unwrap();
        assert_eq!(local(&zone("Asia/Shanghai"), 0), Some(8 * 3_600_000_000));
        assert_eq!(local(&zone("America/New_York"), 0), Some(-5 * 3_600_000_000));
        assert_eq!(ahead(&zone("Asia/Shanghai"), -1), Some(8 * 3_600));
        // Summer time of 1988 ended at 2:00 of 1988-09-11 (tzdata), and a microsecond before it was still there.
        let end = 589_914_000_000_000;
        let summer = |utc| local(&zone("Asia/Shanghai"), utc).map(|local| local - utc);
        assert_eq!(summer(end - 1), Some(9 * 3_600_000_000));
        assert_eq!(summer(end), Some(8 * 3_600_000_000));
        assert_eq!(local(&zone("UTC"), i64::MAX), None);
        assert_eq!(named(None, "", "ZONE").unwrap(), None);
        let error = named(Some("Mars/Base"), "/timezone", "ZONE").unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.pointer.as_deref()),
            ("ZONE", Some("/timezone"))
        );
    }
}
