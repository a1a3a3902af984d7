//! Times of messages as text that sorts by time.

/// Appends an HL7 time (v2.5, section 2.A.89: `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`) as
/// `YYYYMMDDHHMMSS.ffff`. What is left out is the earliest; an offset is applied, so the result is UTC where there is
/// one and local time where there is none. False, and nothing appended, where the text is no such time.
pub fn comparable(text: &str, out: &mut String) -> bool {
    if is_plain(text.as_bytes()) {
        out.push_str(text);
        out.push_str(".0000");
        return true;
    }
    match parse(text) {
        Some((digits, fraction)) => {
            push_digits(digits, 14, out);
            out.push('.');
            push_digits(u64::from(fraction), 4, out);
            true
        }
        None => false,
    }
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
    out.extend(digits.iter().take(width).rev().map(|&digit| char::from(digit)));
}

/// The time as the number `YYYYMMDDHHMMSS`, and ten-thousandths of a second.
fn parse(text: &str) -> Option<(u64, u32)> {
    let text = text.trim_ascii();
    let (local, offset) = match text.find(['+', '-']) {
        Some(at) => (text.get(..at)?, Some(text.get(at..)?)),
        None => (text.strip_suffix('Z').unwrap_or(text), None),
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
    let Some(offset) = offset else {
        return Some((
            join(year, month, day) * 1_000_000 + hour * 10_000 + minute * 100 + second,
            fraction,
        ));
    };
    let minutes = days_from_civil(year as i64, month as i64, day as i64) * 1440 + (hour * 60 + minute) as i64
        - offset_minutes(offset)?;
    let (year, month, day) = civil_from_days(minutes.div_euclid(1440));
    let rest = minutes.rem_euclid(1440) as u64;
    let date = join(u64::try_from(year).ok()?, month as u64, day as u64);
    Some((
        date * 1_000_000 + rest / 60 * 10_000 + rest % 60 * 100 + second,
        fraction,
    ))
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

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
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

    fn of(text: &str) -> Option<String> {
        let mut out = String::new();
        comparable(text, &mut out).then_some(out)
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

    #[test]
    fn days_and_dates_agree() {
        for days in (-800_000..800_000).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(19_782), (2024, 2, 29));
    }
}
