//! From a pair of units to a conversion of decimals, exactly.

use crate::{
    bridge::Bridge,
    ucum::{Ratio, Unit},
};
use clinmill_sdk::units::fits;

/// How values of one unit become values of another.
#[derive(Clone, Debug)]
pub struct Conversion {
    step: Step,
    /// What is multiplied, in text: `18.0182`, `5/9`, `x * 1.8 + 32`.
    pub factor: String,
    /// The bridges that were taken, by their lines.
    pub bridges: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Step {
    /// `x * over / under + plus / plus_under`, in small numbers.
    Small { over: i128, under: i128 },
    /// The same in numbers of any size.
    Line { factor: Ratio, plus: Ratio },
    /// By the scales of special units.
    Curve(Box<(Unit, Unit)>),
}

/// Why a value has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// There is none, or it has too many digits.
    NoResult,
    /// It is not 0, and would be 0 in the digits that results have.
    TooSmall,
}

/// 10^38, the first number that has too many digits.
const LIMIT: u128 = 10u128.pow(38);

impl Conversion {
    /// The conversion between two units, across a bridge of the analyte where one is needed. Nothing where the units
    /// measure different things; moles, equivalents and fields of view are told apart, unlike in UCUM itself.
    pub fn between(from: &Unit, to: &Unit, bridges: &[Bridge]) -> Option<Self> {
        if fits(from, to) {
            return Self::direct(from, to, Vec::new());
        }
        if from.is_scale() || to.is_scale() {
            return None;
        }
        let across = |from: &Unit| -> Vec<(Unit, u32)> {
            let ways = bridges.iter().flat_map(|bridge| {
                let ways = [from.times(&bridge.unit), from.over(&bridge.unit)];
                ways.into_iter().flatten().map(|unit| (unit, bridge.line))
            });
            ways.collect()
        };
        let once = across(from);
        if let Some((unit, line)) = once.iter().find(|(unit, _)| fits(unit, to)) {
            return Self::direct(unit, to, vec![*line]);
        }
        // From equivalents to grams: by moles.
        once.iter().find_map(|(unit, first)| {
            let twice = across(unit)
                .into_iter()
                .find(|(unit, second)| second != first && fits(unit, to));
            twice.and_then(|(unit, second)| Self::direct(&unit, to, vec![*first, second]))
        })
    }

    fn direct(from: &Unit, to: &Unit, bridges: Vec<u32>) -> Option<Self> {
        if from.is_curved() || to.is_curved() {
            let step = Step::Curve(Box::new((from.clone(), to.clone())));
            return Some(Self {
                step,
                factor: "by the scales of UCUM".to_owned(),
                bridges,
            });
        }
        let plus = from.ratio_to(to, &Ratio::integer(0))?;
        let factor = from.ratio_to(to, &Ratio::one())?.minus(&plus);
        let text = match plus.is_zero() {
            true => factor.exact(),
            false => format!("x * {} + {}", factor.exact(), plus.exact()),
        };
        // Such products and their rounding stay within 127 bits for all values of 18 digits.
        let small = |(over, under): (i128, i128)| over.unsigned_abs() < 1 << 62 && under.unsigned_abs() < 1 << 62;
        let step = match factor.parts() {
            Some((over, under)) if plus.is_zero() && small((over, under)) => Step::Small { over, under },
            _ => Step::Line { factor, plus },
        };
        Some(Self {
            step,
            factor: text,
            bridges,
        })
    }

    /// True when values stay as they are.
    pub fn is_same(&self) -> bool {
        matches!(self.step, Step::Small { over: 1, under: 1 })
    }

    /// A value of `scale` digits after the point as one of `to_scale`, to the nearest (from the middle to the even one).
    ///
    /// # Errors
    /// There is no result, or one of more than 38 digits; one that is not 0 would become 0.
    #[inline]
    pub fn apply(&self, value: i128, scale: u16, to_scale: u8) -> Result<i128, Lost> {
        if let Step::Small { over, under } = &self.step
            && let Some(result) = small(value, *over, *under, scale, to_scale)
        {
            return match result {
                0 if value != 0 => Err(Lost::TooSmall),
                result if result.unsigned_abs() < LIMIT => Ok(result),
                _ => Err(Lost::NoResult),
            };
        }
        self.large(&Ratio::decimal(value, u32::from(scale)), to_scale)
    }

    /// [`Conversion::apply`] for a value of any size.
    ///
    /// # Errors
    /// As [`Conversion::apply`].
    #[cold]
    pub fn large(&self, value: &Ratio, to_scale: u8) -> Result<i128, Lost> {
        let result = match &self.step {
            Step::Small { over, under } => value.times(&Ratio::integer(*over)).over(&Ratio::integer(*under)),
            Step::Line { factor, plus } => Some(value.times(factor).plus(plus)),
            Step::Curve(scales) => scales.0.ratio_to(&scales.1, value),
        };
        let result = result.ok_or(Lost::NoResult)?;
        let rounded = result.unscaled(u32::from(to_scale)).ok_or(Lost::NoResult)?;
        // What comes of a logarithm has digits of its own making.
        let curved = matches!(self.step, Step::Curve(_));
        match rounded {
            0 if !result.is_zero() && !curved => Err(Lost::TooSmall),
            rounded if rounded.unsigned_abs() < LIMIT => Ok(rounded),
            _ => Err(Lost::NoResult),
        }
    }
}

/// In machine numbers; nothing where they do not suffice.
#[inline]
fn small(value: i128, over: i128, under: i128, scale: u16, to_scale: u8) -> Option<i128> {
    let to_scale = u16::from(to_scale);
    let (over, under) = match to_scale.cmp(&scale) {
        std::cmp::Ordering::Equal => (over, under),
        std::cmp::Ordering::Greater => (
            over.checked_mul(10i128.checked_pow(u32::from(to_scale - scale))?)?,
            under,
        ),
        std::cmp::Ordering::Less => (
            over,
            under.checked_mul(10i128.checked_pow(u32::from(scale - to_scale))?)?,
        ),
    };
    let product = value.checked_mul(over)?;
    if under == 1 {
        return Some(product);
    }
    // Most values and factors fit into 64 bits, where a division costs a fraction.
    if let (Ok(product), Ok(under)) = (i64::try_from(product), i64::try_from(under)) {
        let (down, rest) = (product.div_euclid(under), product.rem_euclid(under));
        let left = under - rest;
        let up = rest > left || (rest == left && down & 1 == 1);
        return Some(i128::from(down) + i128::from(up));
    }
    let (down, rest) = (product.div_euclid(under), product.rem_euclid(under));
    let left = under - rest;
    Some(down + i128::from(rest > left || (rest == left && down & 1 == 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ucum;
    use clinmill_sdk::units::told_apart;
    use proptest::prelude::*;

    fn between(from: &str, to: &str) -> Option<Conversion> {
        Conversion::between(&ucum::unit(from).unwrap(), &ucum::unit(to).unwrap(), &[])
    }

    #[test]
    fn decimals_convert_exactly() {
        for (from, to, value, want, factor) in [
            ("mg/dL", "g/L", 1_234_567, Some(12_346), "0.01"),
            ("g/L", "mg/dL", 12, Some(1_200), "100"),
            ("Cel", "[degF]", 370_000, Some(986_000), "x * 1.8 + 32"),
            ("[degF]", "Cel", 986_000, Some(370_000), "x * 5/9 + -160/9"),
            ("mm[Hg]", "kPa", 1_200_000, Some(159_986), "0.133322"),
            ("/h", "/min", 600_000, Some(10_000), "1/60"),
            ("Ym", "ym", 1, None, "1e48"),
        ] {
            let conversion = between(from, to).unwrap();
            assert_eq!(conversion.apply(value, 4, 4).ok(), want, "{from} to {to}");
            assert_eq!(conversion.factor, factor, "{from} to {to}");
        }
        assert_eq!(between("[pH]", "nmol/L").unwrap().apply(74, 1, 1), Ok(398));
        assert!(between("g/L", "kg/m3").unwrap().is_same());
        for (from, to) in [
            ("mmol/L", "10*9/L"),
            ("meq/L", "mmol/L"),
            ("/[LPF]", "/[HPF]"),
            ("mg/dL", "mmol/L"),
            ("Cel", "mg"),
        ] {
            assert!(between(from, to).is_none(), "{from} to {to}");
        }
    }

    #[test]
    fn what_is_not_0_does_not_become_0() {
        for (from, to, value, scale, want) in [
            ("pmol/L", "mol/L", 5, 0, Err(Lost::TooSmall)),
            ("pmol/L", "mol/L", 0, 0, Ok(0)),
            ("pmol/L", "mol/L", -5, 0, Err(Lost::TooSmall)),
            ("ng/L", "g/L", 1, 3, Err(Lost::TooSmall)),
            ("ng/L", "g/L", 1, 1, Ok(1)),
            ("g/L", "g/L", 5, 300, Err(Lost::TooSmall)),
            ("ym", "Ym", 5, 0, Err(Lost::TooSmall)),
            ("[degF]", "Cel", 32, 0, Ok(0)),
            ("mol/L", "[pH]", 1, 0, Ok(0)),
        ] {
            let conversion = between(from, to).unwrap();
            assert_eq!(conversion.apply(value, scale, 10), want, "{from} to {to}");
        }
    }

    #[test]
    fn bridges_lead_from_moles_to_grams_and_back() {
        let bridge = |line, one, factor: &str, is| Bridge {
            unit: ucum::unit(is)
                .unwrap()
                .over(&ucum::unit(one).unwrap())
                .unwrap()
                .scaled(&Ratio::parse(factor).unwrap())
                .unwrap(),
            line,
        };
        let calcium = [bridge(2, "mol", "40.078", "g"), bridge(3, "eq", "0.5", "mol")];
        for (from, to, value, want) in [
            ("mmol/L", "mg/dL", 250, 1_002),
            ("mg/dL", "mmol/L", 1_002, 250),
            ("meq/L", "mmol/L", 500, 250),
            ("meq/L", "mg/dL", 500, 1_002),
            ("mg/dL", "meq/L", 1_002, 500),
        ] {
            let (from, to) = (ucum::unit(from).unwrap(), ucum::unit(to).unwrap());
            let conversion = Conversion::between(&from, &to, &calcium).unwrap();
            assert_eq!(conversion.apply(value, 2, 2), Ok(want));
            assert!(!conversion.bridges.is_empty());
        }
        let (from, to) = (ucum::unit("mmol/L").unwrap(), ucum::unit("mg").unwrap());
        assert!(Conversion::between(&from, &to, &calcium).is_none());
    }

    #[test]
    fn what_ucum_takes_for_the_same_and_is_not() {
        for (from, to) in [
            ("mmol/mol", "%"),
            ("%", "mmol/mol"),
            ("mol/mol", "1"),
            ("mg{FEU}/L", "mg{DDU}/L"),
        ] {
            assert!(told_apart(from, to).is_some(), "{from} to {to}");
        }
        for (from, to) in [("mmol/mol", "umol/mmol"), ("%", "g/g"), ("mmol/L", "mol/m3")] {
            assert!(told_apart(from, to).is_none(), "{from} to {to}");
        }
    }

    proptest! {
        #[test]
        fn the_fast_way_gives_what_the_exact_way_gives(
            value in any::<i64>(),
            over in 1i128..1 << 40,
            under in 1i128..1 << 40,
            scale in 0u16..12,
            to_scale in 0u8..12,
        ) {
            let step = Step::Small { over, under };
            let conversion = Conversion { step, factor: String::new(), bridges: Vec::new() };
            let slow = conversion.large(&Ratio::decimal(value.into(), scale.into()), to_scale);
            prop_assert_eq!(conversion.apply(value.into(), scale, to_scale), slow);
        }
    }
}
