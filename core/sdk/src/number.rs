//! Text to floating point without silent loss.

/// 2 to the power of 53: up to here every whole number is a double (IEEE 754, binary64).
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// The double nearest to a number such as `-1.5` or `6.02e23`; neither `NaN` nor `inf`. `None` also where the nearest double
/// is another number in more than its last digits: a long whole number that is none (9007199254740993), one that
/// is too small (1e-999 would be 0) or too large.
pub fn double(text: &str) -> Option<f64> {
    let plain = |b: u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    if !text.bytes().all(plain) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    let is_ordinary = value.is_normal() && value.abs() < WHOLE;
    if is_ordinary || (value.is_finite() && figures(text) == figures(&format!("{value:e}"))) {
        Some(value)
    } else {
        None
    }
}

/// A whole number as a double, if it is one.
pub fn whole_double(value: i64) -> Option<f64> {
    let double = value as f64;
    (double as i128 == i128::from(value)).then_some(double)
}

/// The digits of a number without zeros at the ends, and the power of ten of the first.
fn figures(text: &str) -> (Vec<u8>, i64) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).collect::<Vec<u8>>();
    let (whole, fraction) = (digits(whole), digits(fraction));
    let point = whole.len() as i64;
    let all = [whole, fraction].concat();
    let zeros = all.iter().take_while(|b| **b == b'0').count();
    let end = all.len() - all.iter().rev().take_while(|b| **b == b'0').count();
    match all.get(zeros..end) {
        Some(figures) if !figures.is_empty() => {
            let exponent: i64 = exponent.parse().unwrap_or(i64::MAX / 2);
            (figures.to_vec(), exponent.saturating_add(point - zeros as i64))
        }
        _ => (Vec::new(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_double_holds() {
        for text in [
            "9007199254740993",
            "-9007199254740993",
            "123456789012345678",
            "9007199254740993.5",
            "1e-999",
            "0.000001e-400",
            "1e999",
            "1.2345e-320",
            "NaN",
            "",
            "0x10",
        ] {
            assert_eq!(double(text), None, "{text}");
        }
        for (text, value) in [
            ("0", 0.0),
            ("-0.00e-999", -0.0),
            ("9007199254740992", WHOLE),
            ("9007199254740994.0", WHOLE + 2.0),
            ("123456789012345680", 123_456_789_012_345_680.0),
            ("1e23", 1e23),
            ("6.02E+23", 6.02e23),
            ("5e-324", 5e-324),
            ("3.14159265358979323846", std::f64::consts::PI),
        ] {
            assert_eq!(double(text), Some(value), "{text}");
        }
        assert_eq!(whole_double(i64::MAX), None);
        assert_eq!(whole_double(i64::MIN), Some(i64::MIN as f64));
        assert_eq!(whole_double((1 << 53) + 1), None);
    }

    #[test]
    fn what_a_double_prints_reads_back() {
        let mut bits = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..20_000 {
            // xorshift64 (Marsaglia 2003).
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let value = f64::from_bits(bits);
            let wanted = value.is_finite().then_some(value);
            assert_eq!(double(&format!("{value:e}")), wanted);
            assert_eq!(double(&format!("{value}")), wanted);
        }
    }
}
