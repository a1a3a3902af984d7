//! Units on scales of their own (UCUM section 2.3 and table 3): a number on the scale is a function of a number of a
//! proper unit.

use super::number::Ratio;

/// The functions of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// x - 273.15.
    Celsius,
    /// x - 459.67, of 5/9 K.
    Fahrenheit,
    /// x - 218.52, of 5/4 K.
    Reaumur,
    /// 100 tan x, of an angle in radians.
    Tangent,
    /// 100 tan x, of an angle in degrees.
    Slope,
    /// The negative decimal logarithm.
    MinusLg,
    /// The logarithm to this base, negative: homeopathic potencies.
    MinusLog(u32),
    /// The natural logarithm.
    Ln,
    /// The decimal logarithm.
    Lg,
    /// Twice the decimal logarithm.
    TwiceLg,
    /// The binary logarithm.
    Ld,
    /// The square root.
    Root,
}

impl Function {
    /// By the name it has in the table.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Cel" => Self::Celsius,
            "degF" => Self::Fahrenheit,
            "degRe" => Self::Reaumur,
            "tanTimes100" => Self::Tangent,
            "100tan" => Self::Slope,
            "pH" | "hpX" => Self::MinusLg,
            "hpC" => Self::MinusLog(100),
            "hpM" => Self::MinusLog(1_000),
            "hpQ" => Self::MinusLog(50_000),
            "ln" => Self::Ln,
            "lg" => Self::Lg,
            "lgTimes2" => Self::TwiceLg,
            "ld" => Self::Ld,
            "sqrt" => Self::Root,
            _ => return None,
        })
    }

    /// True where the scale only begins elsewhere.
    pub fn is_linear(self) -> bool {
        self.zero().is_some()
    }

    /// The number of the proper unit at which the scale begins.
    fn zero(self) -> Option<Ratio> {
        let hundredths = match self {
            Self::Celsius => 27_315,
            Self::Fahrenheit => 45_967,
            Self::Reaumur => 21_852,
            _ => return None,
        };
        Some(Ratio::decimal(hundredths, 2))
    }

    /// From a number of the proper unit to one on the scale; nothing where there is none.
    pub fn apply(self, number: &Ratio) -> Option<Ratio> {
        if let Some(zero) = self.zero() {
            return Some(number.minus(&zero));
        }
        let x = number.to_f64();
        Ratio::from_f64(match self {
            Self::Tangent => x.tan() * 100.0,
            Self::Slope => x.to_radians().tan() * 100.0,
            Self::MinusLg => -x.log10(),
            Self::MinusLog(base) => -x.ln() / f64::from(base).ln(),
            Self::Ln => x.ln(),
            Self::Lg => x.log10(),
            Self::TwiceLg => x.log10() * 2.0,
            Self::Ld => x.log2(),
            _ => x.sqrt(),
        })
    }

    /// From a number on the scale to one of the proper unit.
    pub fn inverse(self, number: &Ratio) -> Option<Ratio> {
        if let Some(zero) = self.zero() {
            return Some(number.plus(&zero));
        }
        if self == Self::Root {
            return number.power(2);
        }
        // Whole powers of a whole base are exact.
        let base = match self {
            Self::MinusLg | Self::Lg => Some((10, number.clone())),
            Self::MinusLog(base) => Some((i128::from(base), number.clone())),
            Self::TwiceLg => Some((10, number.over(&Ratio::integer(2))?)),
            Self::Ld => Some((2, number.clone())),
            _ => None,
        };
        if let Some((base, exponent)) = base
            && let Some((exponent @ -300..=300, 1)) = exponent.parts()
        {
            let sign = if matches!(self, Self::MinusLg | Self::MinusLog(_)) {
                -1
            } else {
                1
            };
            return Ratio::integer(base).power(i32::try_from(exponent * sign).ok()?);
        }
        let x = number.to_f64();
        Ratio::from_f64(match self {
            Self::Tangent => (x / 100.0).atan(),
            Self::Slope => (x / 100.0).atan().to_degrees(),
            Self::MinusLg => 10f64.powf(-x),
            Self::MinusLog(base) => f64::from(base).powf(-x),
            Self::Ln => x.exp(),
            Self::TwiceLg => 10f64.powf(x / 2.0),
            Self::Ld => x.exp2(),
            _ => 10f64.powf(x),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_undone() {
        let all = [
            Function::Celsius,
            Function::Fahrenheit,
            Function::Reaumur,
            Function::Tangent,
            Function::Slope,
            Function::MinusLg,
            Function::MinusLog(100),
            Function::MinusLog(50_000),
            Function::Ln,
            Function::Lg,
            Function::TwiceLg,
            Function::Ld,
            Function::Root,
        ];
        for function in all {
            for text in ["0.25", "1", "1.3"] {
                let x = Ratio::parse(text).unwrap();
                let back = function.apply(&x).and_then(|y| function.inverse(&y)).unwrap();
                assert!(
                    (back.to_f64() - x.to_f64()).abs() < 1e-12,
                    "{function:?} {text}: {back}"
                );
            }
        }
        assert_eq!(Function::Lg.apply(&Ratio::integer(0)), None);
        assert_eq!(Function::Root.apply(&Ratio::integer(-1)), None);
    }
}
