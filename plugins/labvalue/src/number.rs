//! Numbers as laboratories write them, exactly.

use crate::Comma;

/// A decimal: `mantissa` times 10^`exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    mantissa: i128,
    exponent: i32,
    /// How much of the exponent was written as a power of ten: 9 of `5.6x10^9` and of `5.6E9`.
    power: i32,
    /// Whether that was written as `E9`, or is all there is (`10^5`): how the number is printed, and no power that a unit
    /// behind it could share.
    printed: bool,
}

/// 10^0 to 10^38.
const POWERS: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut i = 1;
    while i < 39 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

fn power(exponent: u32) -> Option<i128> {
    POWERS.get(exponent as usize).copied()
}

impl Number {
    /// The whole number.
    pub fn integer(value: i128) -> Self {
        Self {
            mantissa: value,
            exponent: 0,
            power: 0,
            printed: false,
        }
    }

    /// The number times 10^`scale`, to the nearest (from the middle to the even one), and whether that is exact.
    /// Nothing when it has more than 38 digits.
    #[inline]
    pub fn scaled(self, scale: u8) -> Option<(i128, bool)> {
        let shift = self.exponent + i32::from(scale);
        match u32::try_from(shift) {
            Ok(up) => {
                let value = match self.mantissa {
                    0 => 0,
                    mantissa => mantissa.checked_mul(power(up)?)?,
                };
                (value.unsigned_abs() < POWERS[38].unsigned_abs()).then_some((value, true))
            }
            Err(_) => {
                let Some(under) = power(shift.unsigned_abs()) else {
                    return Some((0, self.mantissa == 0));
                };
                let (down, rest) = (self.mantissa.div_euclid(under), self.mantissa.rem_euclid(under));
                // rest < under <= 10^38: twice that fits.
                let up = rest * 2 > under || (rest * 2 == under && down & 1 == 1);
                Some((down + i128::from(up), rest == 0))
            }
        }
    }

    /// The number, where it is a whole one.
    pub fn whole(self) -> Option<i128> {
        match self.scaled(0)? {
            (value, true) => Some(value),
            _ => None,
        }
    }

    /// True when it is not larger than `other`; false too when that cannot be told.
    pub fn at_most(self, other: Self) -> bool {
        match (self.scaled(18), other.scaled(18)) {
            (Some((a, _)), Some((b, _))) => a <= b,
            _ => false,
        }
    }

    /// The number times 10^`power`, which was written behind it.
    pub fn times_ten(self, power: i32) -> Self {
        Self {
            exponent: self.exponent + power,
            power: self.power + power,
            ..self
        }
    }

    /// The power of ten that was written behind the number; 0 where none was.
    pub fn power(self) -> i32 {
        self.power
    }

    /// True where the number is in E notation, with a power or none: `5.6E9`, `7.00E+00`.
    pub fn is_printed(self) -> bool {
        self.printed
    }

    /// The number without the power of ten behind it: 5.6 of `5.6x10^9`.
    pub fn without_power(self) -> Self {
        Self {
            exponent: self.exponent - self.power,
            power: 0,
            ..self
        }
    }

    /// As [`Number::scaled`]; nothing too where a number that is not 0 would become 0.
    #[inline]
    pub fn kept(self, scale: u8) -> Option<(i128, bool)> {
        self.scaled(scale).filter(|kept| *kept != (0, false))
    }
}

/// Digits in a row, at most; more is no measured value.
const MAX_DIGITS: u32 = 30;
/// Powers of ten beyond this are no measured value.
const MAX_EXPONENT: i32 = 30;

/// Plain digits with at most one point and nothing else: what most values are.
#[inline]
pub fn plain(bytes: &[u8]) -> Option<Number> {
    if bytes.is_empty() || bytes.len() > 18 {
        return None;
    }
    let (mut mantissa, mut point) = (0u64, bytes.len());
    for (index, &byte) in bytes.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa * 10 + u64::from(digit);
        } else if byte == b'.' && point == bytes.len() && index > 0 && index + 1 < bytes.len() {
            point = index;
        } else {
            return None;
        }
    }
    let behind = bytes.len() - point;
    Some(Number {
        mantissa: i128::from(mantissa),
        exponent: -(behind.saturating_sub(1) as i32),
        power: 0,
        printed: false,
    })
}

/// A number at the start of a folded text, and how many bytes it takes: `5.6`, `-2`, `.5`, `3,5`, `12,345.6`,
/// `1.2x10^9`, `1.2*10^9`, `10E3`, `10^9`.
pub fn scan(text: &str, comma: Comma) -> Option<(Number, usize)> {
    let bytes = text.as_bytes();
    let signed = matches!(bytes.first(), Some(b'-' | b'+'));
    let (number, length) = unsigned(bytes.get(usize::from(signed)..)?, comma)?;
    let length = length + usize::from(signed);
    let (number, more) = factor(number, text.get(length..)?)?;
    let mantissa = match bytes.first() {
        Some(b'-') => -number.mantissa,
        _ => number.mantissa,
    };
    Some((Number { mantissa, ..number }, length + more))
}

/// Digits with a point or commas.
fn unsigned(bytes: &[u8], comma: Comma) -> Option<(Number, usize)> {
    let run = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|b| b.is_ascii_digit()).count()
    };
    let first = run(0);
    let mut end = first;
    let mut fraction = 0;
    match bytes.get(end) {
        Some(b'.') => {
            fraction = run(end + 1);
            if fraction == 0 {
                return None;
            }
            end += 1 + fraction;
        }
        Some(b',') if first > 0 => {
            let mut groups = 0;
            let mut at = end;
            while bytes.get(at) == Some(&b',') && run(at + 1) == 3 {
                groups += 1;
                at += 4;
            }
            let pointed = bytes.get(at) == Some(&b'.') && run(at + 1) > 0;
            // What stands before a separator of thousands has one to three digits and does not begin with 0.
            let grouped = groups > 0 && first <= 3 && bytes.first() != Some(&b'0') && bytes.get(at) != Some(&b',');
            let thousands = match comma {
                Comma::Thousands => grouped,
                Comma::Decimal => false,
                Comma::Auto => grouped && (groups > 1 || pointed),
            };
            if thousands {
                end = at;
                if pointed {
                    fraction = run(at + 1);
                    end = at + 1 + fraction;
                }
            } else if comma == Comma::Thousands || (comma == Comma::Auto && grouped) {
                return None;
            } else {
                fraction = run(end + 1);
                if fraction == 0 {
                    return None;
                }
                end += 1 + fraction;
            }
        }
        _ => {}
    }
    if first == 0 && fraction == 0 {
        return None;
    }
    let digits = bytes.get(..end)?.iter().filter(|b| b.is_ascii_digit());
    let (mut mantissa, mut count) = (0i128, 0u32);
    for digit in digits {
        mantissa = mantissa * 10 + i128::from(digit - b'0');
        count += u32::from(mantissa > 0);
        if count > MAX_DIGITS {
            return None;
        }
    }
    let exponent = -i32::try_from(fraction).ok()?;
    let power = 0;
    Some((
        Number {
            mantissa,
            exponent,
            power,
            printed: false,
        },
        end,
    ))
}

/// A power of ten behind a number, where one is: the number with it and the bytes it takes. Nothing for a `x10` whose
/// exponent was lost: `1.2x109` may be 1.2 x 10^9.
fn factor(number: Number, rest: &str) -> Option<(Number, usize)> {
    let bytes = rest.as_bytes();
    match bytes.first() {
        Some(b'e' | b'E') => match bytes.get(1) {
            // An exponent that was cut off, or that no measured value has: it is not the name of a unit.
            None | Some(b'+' | b'-' | b'0'..=b'9') => {
                let (power, end) = exponent(rest, 1)?;
                let number = Number {
                    printed: true,
                    ..number.times_ten(power)
                };
                Some((number, end))
            }
            Some(_) => Some((number, 0)),
        },
        Some(b'^') if number == Number::integer(10) => {
            let (power, end) = exponent(rest, 1)?;
            let number = Number {
                printed: true,
                ..Number::integer(1).times_ten(power)
            };
            Some((number, end))
        }
        Some(b'x' | b'X' | b'*' | b' ') => {
            let tail = rest.trim_start();
            let Some(tail) = tail.strip_prefix(['x', 'X', '*']) else {
                return Some(myriads(number, rest));
            };
            let tail = tail.trim_start();
            let Some(power_text) = tail.strip_prefix("10") else {
                return Some((number, 0));
            };
            let at = rest.len() - power_text.len();
            match bytes.get(at) {
                Some(b'^' | b'e' | b'E' | b'*') => {
                    let (power, end) = exponent(rest, at + 1)?;
                    Some((number.times_ten(power), end))
                }
                _ => None,
            }
        }
        _ => Some(myriads(number, rest)),
    }
}

/// `120万`, `5.2 万 copies/mL`; of `万/uL` it is the unit's.
fn myriads(number: Number, rest: &str) -> (Number, usize) {
    let text = rest.trim_start();
    let found = [('万', 4), ('亿', 8)]
        .into_iter()
        .find_map(|(sign, power)| Some((text.strip_prefix(sign)?, power)));
    match found {
        Some((unit, power)) if !unit.trim_start().starts_with('/') => {
            (number.times_ten(power), rest.len() - unit.len())
        }
        _ => (number, 0),
    }
}

/// The exponent of a text that holds `x10^9` or `*10E9`, up to a solidus or a space.
pub fn power_of_ten(text: &str) -> Option<i32> {
    let (_, tail) = text.split_once(['x', 'X', '*'])?;
    let tail = tail
        .trim_start()
        .strip_prefix("10")?
        .strip_prefix(['^', 'e', 'E', '*'])?;
    let end = tail.find(['/', ' ']).unwrap_or(tail.len());
    let power: i32 = tail.get(..end)?.parse().ok()?;
    (power.abs() <= MAX_EXPONENT).then_some(power)
}

/// A whole exponent at a byte, and where it ends.
fn exponent(text: &str, at: usize) -> Option<(i32, usize)> {
    let rest = text.get(at..)?;
    let sign = usize::from(rest.starts_with(['-', '+']));
    let digits = rest.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
    let end = sign + digits;
    let value: i32 = rest.get(..end)?.parse().ok()?;
    (digits > 0 && value.abs() <= MAX_EXPONENT).then_some((value, at + end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, comma: Comma) -> Option<String> {
        let (number, length) = scan(text, comma)?;
        let (value, exact) = number.scaled(6)?;
        assert!(exact);
        Some(format!("{value}|{}", &text[length..]))
    }

    #[test]
    fn numbers_are_exact() {
        for (text, want) in [
            ("5.6", Some("5600000|")),
            ("-2", Some("-2000000|")),
            (".5", Some("500000|")),
            ("3,5", Some("3500000|")),
            ("0,123", Some("123000|")),
            ("12,345.6", Some("12345600000|")),
            ("1,234,567", Some("1234567000000|")),
            ("1,234", None),
            ("1.2x10^9", Some("1200000000000000|")),
            ("1.2 x 10^9/L", Some("1200000000000000|/L")),
            ("1.2*10E3", Some("1200000000|")),
            ("10E3", Some("10000000000|")),
            ("10^9", Some("1000000000000000|")),
            ("1.2x109", None),
            ("5.", None),
            ("5 U/L", Some("5000000| U/L")),
            ("5EU/dL", Some("5000000|EU/dL")),
            ("120万", Some("1200000000000|")),
            ("5.2万 IU/mL", Some("52000000000| IU/mL")),
            ("1.5亿/L", Some("1500000|亿/L")),
            ("5.2 万", Some("52000000000|")),
            ("x", None),
            ("1e99", None),
            ("1e400", None),
            ("1E+", None),
            ("5.60E+02", Some("560000000|")),
        ] {
            assert_eq!(read(text, Comma::Auto).as_deref(), want, "{text}");
        }
        assert_eq!(read("1,234", Comma::Thousands).as_deref(), Some("1234000000|"));
        assert_eq!(read("1,234", Comma::Decimal).as_deref(), Some("1234000|"));
        assert_eq!(read("1,23", Comma::Thousands), None);
    }

    #[test]
    fn plain_digits_read_as_the_grammar_does() {
        for text in [
            "5.6",
            "0",
            "007.50",
            "123456789012345678",
            "1.",
            ".5",
            "1.2.3",
            "",
            "1e3",
            "-1",
        ] {
            let slow = scan(text, Comma::Auto).filter(|(_, length)| *length == text.len());
            if let Some(number) = plain(text.as_bytes()) {
                assert_eq!(Some(number), slow.map(|(number, _)| number), "{text}");
            }
        }
        assert!(plain(b"5.6").is_some() && plain(b"-1").is_none() && plain(b"1.").is_none());
    }

    #[test]
    fn what_does_not_fit_is_rounded_or_refused() {
        let number = |text| scan(text, Comma::Auto).unwrap().0;
        assert_eq!(number("1.25").scaled(1), Some((12, false)));
        assert_eq!(number("-1.25").scaled(1), Some((-12, false)));
        assert_eq!(number("1.35").scaled(1), Some((14, false)));
        assert_eq!(number("1x10^-30").scaled(6), Some((0, false)));
        assert_eq!(number("1x10^30").scaled(10), None);
        assert!(scan(&"9".repeat(40), Comma::Auto).is_none());
    }
}
