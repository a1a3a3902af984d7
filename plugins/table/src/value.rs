//! Numbers and booleans from text, exactly or not at all: nothing is rounded, nothing overflows in silence.

/// A whole number with optional sign.
pub fn integer(text: &str) -> Option<i64> {
    let bytes = text.trim_ascii().as_bytes();
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return None;
    }
    // 18 digits cannot overflow; longer numbers go the checked way.
    if digits.len() <= 18 {
        let mut n = 0i64;
        for &byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            n = n * 10 + i64::from(digit);
        }
        return Some(if negative { -n } else { n });
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    text.trim_ascii().parse().ok()
}

/// Sign, digits without the point, and how many of them follow the point.
struct Digits {
    negative: bool,
    mantissa: i128,
    fraction: u32,
}

/// A number in positional notation; at most 38 significant digits.
fn digits(bytes: &[u8]) -> Option<Digits> {
    let (negative, rest) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (mut short, mut long, mut fraction, mut seen, mut any) = (0u64, 0i128, 0u32, 0u32, false);
    let mut point = false;
    for &byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            any = true;
            if seen < 18 {
                short = short * 10 + u64::from(digit);
            } else {
                if seen == 18 {
                    long = i128::from(short);
                }
                long = long.checked_mul(10)?.checked_add(i128::from(digit))?;
            }
            seen += u32::from(seen > 0 || digit > 0);
            fraction += u32::from(point);
        } else if byte == b'.' && !point {
            point = true;
        } else {
            return None;
        }
    }
    let mantissa = if seen <= 18 { i128::from(short) } else { long };
    any.then_some(Digits {
        negative,
        mantissa,
        fraction,
    })
}

/// A decimal as its value times 10^`scale`. Digits beyond the scale must be zeros.
pub fn decimal(text: &str, scale: u8) -> Option<i128> {
    let Digits {
        negative,
        mut mantissa,
        fraction,
    } = digits(text.trim_ascii().as_bytes())?;
    let scale = u32::from(scale);
    if fraction <= scale {
        mantissa = mantissa.checked_mul(10i128.checked_pow(scale - fraction)?)?;
    } else {
        let unit = 10i128.checked_pow(fraction - scale)?;
        if mantissa % unit != 0 {
            return None;
        }
        mantissa /= unit;
    }
    // Decimal128 of precision 38.
    if mantissa >= 10i128.pow(38) {
        return None;
    }
    Some(if negative { -mantissa } else { mantissa })
}

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// A finite double, correctly rounded; exponents are allowed, `NaN` and `inf` are not, nor what a double loses.
pub fn number(text: &str) -> Option<f64> {
    let text = text.trim_ascii();
    if let Some(Digits {
        negative,
        mantissa,
        fraction,
    }) = digits(text.as_bytes())
    {
        // Both numbers are exact doubles, so their quotient is rounded once (Clinger 1990).
        if mantissa < 1 << 53
            && let Some(power) = POWERS.get(fraction as usize)
        {
            let value = mantissa as u64 as f64 / power;
            return Some(if negative { -value } else { value });
        }
    }
    clinmill_sdk::number::double(text)
}

/// `true`, `yes`, `y`, `t`, `1`, `是` and their opposites, in any case.
pub fn boolean(text: &str) -> Option<bool> {
    let text = text.trim_ascii();
    let any = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if any(&["true", "1", "yes", "y", "t", "是"]) {
        Some(true)
    } else if any(&["false", "0", "no", "n", "f", "否"]) {
        Some(false)
    } else {
        None
    }
}

/// A truth value as text, as a sheet shows it.
pub const fn truth(flag: bool) -> &'static str {
    if flag { "TRUE" } else { "FALSE" }
}

/// True for a truth value that means nothing: of a value that is no text, nobody sees in which case it is written.
pub fn is_null_truth(flag: bool, nulls: &[String]) -> bool {
    nulls.iter().any(|null| null.eq_ignore_ascii_case(truth(flag)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers() {
        for (text, want) in [
            ("0", Some(0)),
            (" -17 ", Some(-17)),
            ("+5", Some(5)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("-", None),
            ("1.0", None),
            ("1e3", None),
            ("１", None),
        ] {
            assert_eq!(integer(text), want, "{text}");
        }
    }

    #[test]
    fn decimals_never_round() {
        for (text, want) in [
            ("7.415", Some(7_415_000)),
            ("-.5", Some(-500_000)),
            ("136", Some(136_000_000)),
            ("1.2345670", Some(1_234_567)),
            ("1.2345678", None),
            ("1..2", None),
            (".", None),
            ("1e3", None),
            ("00000000000000000000000000000000000000000000001", Some(1_000_000)),
            (
                "99999999999999999999999999999999",
                Some(99_999_999_999_999_999_999_999_999_999_999_000_000),
            ),
            ("100000000000000000000000000000000", None),
        ] {
            assert_eq!(decimal(text, 6), want, "{text}");
        }
    }

    #[test]
    fn numbers_are_finite() {
        for text in [
            "1e999",
            "1e-999",
            "9007199254740993",
            "NaN",
            "inf",
            "-infinity",
            "",
            "1,5",
            "0x10",
            "e",
            "--1",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number("6.02e23"), Some(6.02e23));
        assert_eq!(number("-0.1"), Some(-0.1));
    }

    proptest! {
        #[test]
        fn numbers_agree_with_the_standard_library(value in proptest::num::f64::NORMAL) {
            let text = value.to_string();
            prop_assert_eq!(number(&text), Some(value));
        }

        #[test]
        fn short_numbers_agree_with_the_standard_library(text in "-?[0-9]{1,12}(\\.[0-9]{0,8})?") {
            prop_assert_eq!(number(&text), text.parse().ok());
        }

        #[test]
        fn integers_agree_with_the_standard_library(text in "[+-]?[0-9]{0,21}") {
            prop_assert_eq!(integer(&text), text.parse().ok());
        }
    }
}
