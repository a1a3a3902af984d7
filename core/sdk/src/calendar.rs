//! Days of the proleptic Gregorian calendar, for plugins that read many: no more than whole-number arithmetic, after
//! Howard Hinnant's "chrono-compatible low-level date algorithms".

/// 0000-03-01 lies as many days before 1970-01-01. Years are counted from March, so that the leap day is their last.
const EPOCH: i64 = 719_468;
/// Days of 400 years.
const ERA: i64 = 146_097;

/// Days since 1970-01-01. `None`: there is no such day, or its year has more than four digits.
#[inline]
pub fn day(year: u32, month: u32, day: u32) -> Option<i32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => return None,
    };
    // Four digits fit.
    (year <= 9999 && (1..=last).contains(&day)).then(|| days_from_civil(year, month, day) as i32)
}

/// Days since 1970-01-01, unchecked: a day after the last of its month is one of the next month, so that 2026-02-31 is
/// 2026-03-03.
#[inline]
pub fn days_from_civil(year: u32, month: u32, day: u32) -> i64 {
    let [year, month, day] = [year, month, day].map(u64::from);
    // Of the era before, so that nothing is below zero.
    let year = year + 400 - u64::from(month <= 2);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year;
    days.cast_signed() - 1 - ERA - EPOCH
}

/// Year, month and day of a number of days since 1970-01-01.
#[inline]
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    let era = days.div_euclid(ERA);
    let of_era = days.rem_euclid(ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{Date, date};

    #[test]
    fn days_are_those_of_another_calendar() {
        let epoch = date(1970, 1, 1);
        let of = |days| epoch.checked_add(jiff::Span::new().days(days)).unwrap();
        let first = (date(0, 1, 1) - epoch).get_days();
        let last = (Date::MAX - epoch).get_days();
        for days in first..=last {
            let of_jiff = of(days);
            let [y, m, d] = [of_jiff.year(), of_jiff.month().into(), of_jiff.day().into()].map(|n| n as u32);
            assert_eq!(day(y, m, d), Some(days), "{of_jiff}");
            let civil = (i64::from(y), i64::from(m), i64::from(d));
            assert_eq!(civil_from_days(days.into()), civil, "{of_jiff}");
        }
        assert_eq!(civil_from_days(i64::from(first) - 1), (-1, 12, 31));
    }

    #[test]
    fn days_that_there_are_not() {
        for (y, m, d) in [
            (2023, 2, 29),
            (1900, 2, 29),
            (2026, 4, 31),
            (2026, 13, 1),
            (2026, 0, 1),
            (2026, 1, 0),
            (10_000, 1, 1),
            (u32::MAX, 1, 1),
        ] {
            assert_eq!(day(y, m, d), None, "{y}-{m}-{d}");
        }
        assert_eq!(days_from_civil(2026, 2, 31), days_from_civil(2026, 3, 3));
    }
}
