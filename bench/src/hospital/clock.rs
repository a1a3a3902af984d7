//! Times of the sample hospital: minutes since Monday, 2 March 2026, 00:00 local time, in the notations its systems
//! write.

use clinmill_sdk::calendar;

/// Days from 1970-01-01 to the first day of week 1.
const FIRST_DAY: i64 = 20_514;

/// Minutes in a day.
const DAY: i64 = 1_440;

/// A local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(i64);

impl Minute {
    /// A time of day on a day counted from the first day of week 1.
    pub const fn at(day: i64, hour: i64, minute: i64) -> Self {
        Self(day * DAY + hour * 60 + minute)
    }

    /// So many minutes later.
    pub const fn plus(self, minutes: i64) -> Self {
        Self(self.0 + minutes)
    }

    /// The day, counted from the first day of week 1.
    pub const fn day(self) -> i64 {
        self.0.div_euclid(DAY)
    }

    const fn clock(self) -> (i64, i64) {
        let minutes = self.0.rem_euclid(DAY);
        (minutes / 60, minutes % 60)
    }

    /// HL7 TS to the second: `20260304080500`.
    pub fn hl7(self) -> String {
        let ((y, m, d), (hour, minute)) = (civil(self.day()), self.clock());
        format!("{y:04}{m:02}{d:02}{hour:02}{minute:02}00")
    }

    /// `2026-03-04 08:05`.
    pub fn iso(self) -> String {
        let ((y, m, d), (hour, minute)) = (civil(self.day()), self.clock());
        format!("{y:04}-{m:02}-{d:02} {hour:02}:{minute:02}")
    }

    /// `2026/3/4 8:05`, as spreadsheets show it.
    pub fn slashes(self) -> String {
        let ((y, m, d), (hour, minute)) = (civil(self.day()), self.clock());
        format!("{y}/{m}/{d} {hour}:{minute:02}")
    }

    /// `2026年3月4日 8时5分`, as notes write it.
    pub fn chinese(self) -> String {
        let ((y, m, d), (hour, minute)) = (civil(self.day()), self.clock());
        format!("{y}年{m}月{d}日 {hour}时{minute}分")
    }
}

/// `20260304`: a day as file names hold it.
pub fn compact(day: i64) -> String {
    let (y, m, d) = civil(day);
    format!("{y:04}{m:02}{d:02}")
}

/// `2026-03-04`.
pub fn dashed(day: i64) -> String {
    let (y, m, d) = civil(day);
    format!("{y:04}-{m:02}-{d:02}")
}

/// Year, month and day.
pub fn civil(day: i64) -> (i64, i64, i64) {
    calendar::civil_from_days(day + FIRST_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_notations() {
        let t = Minute::at(2, 8, 5);
        assert_eq!(t.hl7(), "20260304080500");
        assert_eq!(t.iso(), "2026-03-04 08:05");
        assert_eq!(t.slashes(), "2026/3/4 8:05");
        assert_eq!(t.chinese(), "2026年3月4日 8时5分");
        assert_eq!(compact(20), "20260322");
        assert_eq!(dashed(-60), "2026-01-01");
    }
}
