//! Exact numbers: decimals and fractions of any size. Nothing is rounded before it is asked for.

use num_bigint::{BigInt, BigUint, Sign};
use std::{cmp::Ordering, fmt};

/// A fraction in lowest terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ratio {
    over: BigInt,
    under: BigUint,
}

/// Text longer than this is no number of ours.
const MAX_TEXT: usize = 400;
/// Powers of ten beyond this are no number of ours.
const MAX_POWER: i64 = 400;

fn gcd(mut a: BigUint, mut b: BigUint) -> BigUint {
    let zero = BigUint::ZERO;
    while b != zero {
        (a, b) = (b.clone(), a % b);
    }
    a
}

fn ten(power: u32) -> BigUint {
    BigUint::from(10u32).pow(power)
}

impl Ratio {
    /// The fraction `over / under`; nothing for `under = 0`.
    pub fn new(over: impl Into<BigInt>, under: impl Into<BigUint>) -> Option<Self> {
        let (over, under) = (over.into(), under.into());
        if under == BigUint::ZERO {
            return None;
        }
        let (sign, size) = over.into_parts();
        let common = gcd(size.clone(), under.clone());
        Some(Self {
            over: BigInt::from_biguint(sign, size / &common),
            under: under / common,
        })
    }

    /// 1.
    pub fn one() -> Self {
        Self::integer(1)
    }

    /// A whole number.
    pub fn integer(value: i128) -> Self {
        Self {
            over: value.into(),
            under: 1u32.into(),
        }
    }

    /// `unscaled` / 10^`scale`.
    pub fn decimal(unscaled: i128, scale: u32) -> Self {
        Self::new(unscaled, ten(scale)).unwrap_or_else(Self::one)
    }

    /// Reads `6.3`, `-0.5`, `1e-7`, `980665E-5`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = Digits::read(text)?;
        let shift = digits.power;
        let value = BigInt::from_biguint(
            if digits.negative { Sign::Minus } else { Sign::Plus },
            BigUint::parse_bytes(digits.all.as_bytes(), 10)?,
        );
        match u32::try_from(shift) {
            Ok(power) => Self::new(value * BigInt::from(ten(power)), 1u32),
            Err(_) => Self::new(value, ten(u32::try_from(-shift).ok()?)),
        }
    }

    /// The number as the nearest floating-point number.
    pub fn to_f64(&self) -> f64 {
        // Twenty digits are more than a double holds.
        self.rounded(20, Rounding::HalfEven).exact().parse().unwrap_or(f64::NAN)
    }

    /// A floating-point number, kept to the 15 digits that are certain in one.
    pub fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        Self::parse(&format!("{value:.14e}"))
    }

    /// True for 0.
    pub fn is_zero(&self) -> bool {
        self.over.sign() == Sign::NoSign
    }

    /// True for more than 0.
    pub fn is_positive(&self) -> bool {
        self.over.sign() == Sign::Plus
    }

    /// The number times 10^`scale`, to the nearest whole one (from the middle to the even one), where it fits.
    pub fn unscaled(&self, scale: u32) -> Option<i128> {
        let scaled = self.times(&Self::new(ten(scale), 1u32)?);
        i128::try_from(scaled.whole(Rounding::HalfEven)).ok()
    }

    /// True for 1.
    pub fn is_one(&self) -> bool {
        *self == Self::one()
    }

    /// The product.
    pub fn times(&self, other: &Self) -> Self {
        let under = &self.under * &other.under;
        Self::new(&self.over * &other.over, under).unwrap_or_else(Self::one)
    }

    /// The quotient; nothing for a division by 0.
    pub fn over(&self, other: &Self) -> Option<Self> {
        let (sign, size) = other.over.clone().into_parts();
        let over = &self.over * BigInt::from_biguint(sign, other.under.clone());
        Self::new(over, &self.under * size)
    }

    /// The sum.
    pub fn plus(&self, other: &Self) -> Self {
        let over = &self.over * BigInt::from(other.under.clone()) + &other.over * BigInt::from(self.under.clone());
        Self::new(over, &self.under * &other.under).unwrap_or_else(Self::one)
    }

    /// The difference.
    pub fn minus(&self, other: &Self) -> Self {
        self.plus(&Self {
            over: -&other.over,
            under: other.under.clone(),
        })
    }

    /// A whole power; nothing for 0 to a negative one.
    pub fn power(&self, exponent: i32) -> Option<Self> {
        let size = exponent.unsigned_abs();
        let raised = Self {
            over: self.over.pow(size),
            under: self.under.pow(size),
        };
        match exponent {
            0.. => Some(raised),
            _ => Self::one().over(&raised),
        }
    }

    /// Numerator and denominator, where both fit.
    pub fn parts(&self) -> Option<(i128, i128)> {
        Some((
            i128::try_from(&self.over).ok()?,
            i128::try_from(self.under.clone()).ok()?,
        ))
    }

    /// The number with so many significant digits.
    pub fn rounded(&self, significant: u32, rounding: Rounding) -> Self {
        let Some(place) = self.leading() else {
            return self.clone();
        };
        // 10^shift times the number has `significant` digits before the point.
        let shift = i64::from(significant.max(1)) - 1 - place;
        let scaled = match u32::try_from(shift) {
            Ok(up) => Self::new(&self.over * BigInt::from(ten(up)), self.under.clone()),
            Err(_) => Self::new(
                self.over.clone(),
                &self.under * ten(u32::try_from(-shift).unwrap_or(u32::MAX)),
            ),
        };
        let Some(scaled) = scaled else {
            return self.clone();
        };
        let whole = scaled.whole(rounding);
        let back = match u32::try_from(shift) {
            Ok(up) => Self::new(whole, ten(up)),
            Err(_) => Self::new(
                whole * BigInt::from(ten(u32::try_from(-shift).unwrap_or(u32::MAX))),
                1u32,
            ),
        };
        back.unwrap_or_else(|| self.clone())
    }

    /// The nearest whole number.
    fn whole(&self, rounding: Rounding) -> BigInt {
        let (sign, size) = self.over.clone().into_parts();
        let (down, rest) = (&size / &self.under, &size % &self.under);
        let up = match (rest * 2u32).cmp(&self.under) {
            _ if rounding == Rounding::Down => false,
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => rounding == Rounding::HalfUp || down.bit(0),
        };
        BigInt::from_biguint(sign, if up { down + 1u32 } else { down })
    }

    /// The power of ten of the first digit; nothing for 0.
    fn leading(&self) -> Option<i64> {
        if self.is_zero() {
            return None;
        }
        let size = self.over.magnitude();
        let length = |n: &BigUint| n.to_str_radix(10).len();
        let place = i64::try_from(length(size)).ok()? - i64::try_from(length(&self.under)).ok()?;
        // The guess is right or one too high.
        let shift = u32::try_from(place.unsigned_abs()).ok()?;
        let less = match place {
            0.. => *size < &self.under * ten(shift),
            _ => size * ten(shift) < self.under,
        };
        Some(place - i64::from(less))
    }

    /// The number as a fraction of two whole numbers, or as one whole number.
    pub fn exact(&self) -> String {
        match self.terminating() {
            Some(text) => text,
            None => format!("{}/{}", self.over, self.under),
        }
    }

    /// All digits, where there is an end to them within 80 places.
    fn terminating(&self) -> Option<String> {
        let (mut under, mut places) = (self.under.clone(), 0u32);
        let zero = BigUint::ZERO;
        for prime in [2u32, 5] {
            let mut count = 0;
            while under != BigUint::from(1u32) && &under % prime == zero {
                under /= prime;
                count += 1;
            }
            places = places.max(count);
        }
        if under != BigUint::from(1u32) || places > 80 {
            return None;
        }
        let size = self.over.magnitude() * ten(places) / &self.under;
        let sign = if self.over.sign() == Sign::Minus { "-" } else { "" };
        Some(format!("{sign}{}", point(&size.to_str_radix(10), places)))
    }
}

/// Digits with a point before the last `places`, or with a power of ten where that is shorter.
fn point(digits: &str, places: u32) -> String {
    let places = places as usize;
    if places == 0 {
        let kept = digits.trim_end_matches('0');
        let zeros = digits.len() - kept.len();
        return match zeros {
            // 133322000 stays as it is, 6.02e23 does not become a row of zeros.
            13.. => {
                let (first, rest) = kept.split_at(1);
                let dot = if rest.is_empty() { "" } else { "." };
                format!("{first}{dot}{rest}e{}", digits.len() - 1)
            }
            _ => digits.to_owned(),
        };
    }
    if digits.len() > places {
        let (whole, part) = digits.split_at(digits.len() - places);
        return format!("{whole}.{part}");
    }
    let zeros = places - digits.len();
    if zeros < 7 {
        return format!("0.{}{digits}", "0".repeat(zeros));
    }
    let (first, rest) = digits.split_at(1);
    let dot = if rest.is_empty() { "" } else { "." };
    format!("{first}{dot}{rest}e-{}", zeros + 1)
}

/// As a decimal: all digits, or 28 of them where there is no end.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.terminating() {
            Some(text) => f.write_str(&text),
            None => f.write_str(&self.rounded(28, Rounding::HalfEven).exact()),
        }
    }
}

/// What happens to the digits that are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest; from the middle to the even one.
    HalfEven,
    /// To the nearest; from the middle away from zero.
    HalfUp,
    /// They are dropped.
    Down,
}

/// A decimal as it is written.
pub struct Digits {
    /// The digits without the point.
    all: String,
    /// The power of ten of the last digit.
    power: i64,
    negative: bool,
    /// How many digits say something: none of the zeros in front.
    pub significant: u32,
    /// True with a point: what stands behind it is a claim of precision.
    pub pointed: bool,
}

impl Digits {
    /// Reads a decimal; nothing where it is none.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return None;
        }
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let (mantissa, power) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, power.parse::<i64>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{part}");
        if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) || !(-MAX_POWER..=MAX_POWER).contains(&power) {
            return None;
        }
        Some(Self {
            significant: u32::try_from(all.trim_start_matches('0').len()).ok()?.max(1),
            pointed: mantissa.contains('.'),
            power: power - i64::try_from(part.len()).ok()?,
            all,
            negative,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ratio(text: &str) -> Ratio {
        Ratio::parse(text).unwrap()
    }

    #[test]
    fn reads_and_writes_decimals() {
        for (text, want) in [
            ("6.30", "6.3"),
            ("980665e-5", "9.80665"),
            ("-0.5", "-0.5"),
            ("6.02214076e23", "6.02214076e23"),
            ("133322000", "133322000"),
            ("1e-18", "1e-18"),
            ("0", "0"),
            ("+.5", "0.5"),
        ] {
            assert_eq!(ratio(text).to_string(), want, "{text}");
        }
        for wrong in ["", "-", ".", "1e", "1e9999", "0x1", "1 2", "1,5", "NaN"] {
            assert!(Ratio::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn rounds_to_significant_digits() {
        let round = |text: &str, n| ratio(text).rounded(n, Rounding::HalfEven).to_string();
        assert_eq!(round("25.2", 2), "25");
        assert_eq!(round("0.160012", 3), "0.16");
        assert_eq!(round("999.6", 3), "1000");
        assert_eq!(round("-1.25", 2), "-1.2");
        assert_eq!(ratio("1.25").rounded(2, Rounding::HalfUp).to_string(), "1.3");
        assert_eq!(ratio("1.29").rounded(2, Rounding::Down).to_string(), "1.2");
        assert_eq!(Ratio::new(1, 3u32).unwrap().exact(), "1/3");
        assert_eq!(
            Ratio::new(1, 3u32).unwrap().to_string(),
            "0.3333333333333333333333333333"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(value in any::<i64>(), power in -40i64..40) {
            let first = ratio(&format!("{value}e{power}"));
            prop_assert_eq!(ratio(&first.to_string()), first);
        }

        #[test]
        fn division_undoes_multiplication(a in any::<i64>(), b in 1i64.., scale in 0u32..20) {
            let (a, b) = (Ratio::decimal(a.into(), scale), Ratio::integer(b.into()));
            prop_assert_eq!(a.times(&b).over(&b).unwrap(), a.clone());
            prop_assert_eq!(a.plus(&b).minus(&b), a);
        }
    }
}
