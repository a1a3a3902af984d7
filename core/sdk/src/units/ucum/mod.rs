//! UCUM, the Unified Code for Units of Measure: its table, grammar, arithmetic and names.
//!
//! - [`validate`], [`convert`], [`display_name`], [`printed`]: what is asked for most
//! - `essence`: the table, read from `ucum-essence.xml` when it is first needed
//! - `grammar`: codes as terms (UCUM section 2.1, case-sensitive codes)
//! - `unit`: terms as a factor and a dimension
//! - `special`: units on scales of their own, such as Cel and \[pH\] (section 2.3)
//! - `number`: exact decimals and fractions
//! - `display`: names, and one code of several

mod display;
mod essence;
mod grammar;
pub mod number;
mod special;
mod unit;

pub use grammar::Invalid;
pub use number::Ratio;
pub use unit::{Dimension, Unit};

use essence::essence;
use std::fmt;

/// Why a value could not be converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unconvertible {
    /// The unit converted from is no UCUM code.
    From(Invalid),
    /// The unit converted to is no UCUM code.
    To(Invalid),
    /// The two units measure different things.
    Dimension,
    /// The value has no counterpart on the other scale, such as the logarithm of a negative number.
    Undefined,
}

impl fmt::Display for Unconvertible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(invalid) => write!(f, "the unit to convert from is not valid: {invalid}"),
            Self::To(invalid) => write!(f, "the unit to convert to is not valid: {invalid}"),
            Self::Dimension => f.write_str("the units measure different things"),
            Self::Undefined => f.write_str("the value has no counterpart in the other unit"),
        }
    }
}

/// Checks a code against the grammar and the table (UCUM section 2.1), and that it can be reckoned with: scales such as Cel
/// stand in no products and powers (section 2.3, paragraph 22). The empty code is not valid.
///
/// # Errors
/// What is wrong, and where.
pub fn validate(code: &str) -> Result<(), Invalid> {
    if code.is_empty() {
        return Err(Invalid::new(0, "a code is expected"));
    }
    unit(code).map(drop)
}

/// A code as a unit to reckon with. The empty code is the unit one.
///
/// # Errors
/// What is wrong with the code, and where.
pub fn unit(code: &str) -> Result<Unit, Invalid> {
    let table = essence();
    unit::evaluate(&grammar::parse(code, table)?, table)
}

/// Converts a value (UCUM section 3: units of the same dimension). Exact, except where a special unit's scale is not
/// linear: then to 15 digits.
///
/// # Errors
/// [`Unconvertible`].
pub fn convert(value: &Ratio, from: &str, to: &str) -> Result<Ratio, Unconvertible> {
    let from = unit(from).map_err(Unconvertible::From)?;
    let to = unit(to).map_err(Unconvertible::To)?;
    if from.dimension() != to.dimension() {
        return Err(Unconvertible::Dimension);
    }
    from.ratio_to(&to, value).ok_or(Unconvertible::Undefined)
}

/// A code in words: `m3.kg-1` is `(meter ^ 3) * (kilogram ^ -1)`; the empty code is `(unity)`.
///
/// # Errors
/// What is wrong with the code, and where.
pub fn display_name(code: &str) -> Result<String, Invalid> {
    let table = essence();
    Ok(display::name(&grammar::parse(code, table)?, table))
}

/// A code in the one form that is printed: `mmol/l` and `mmol.L-1` are `mmol/L`, `m[iU]/L` is `m[IU]/L`, `1/min` is `/min`.
/// Annotations stay; what is no code comes back as it is.
pub fn printed(code: &str) -> String {
    let table = essence();
    let plain = validate(code).map(|()| display::printed(code, table));
    // 1 before a solidus goes only where a unit follows.
    plain
        .ok()
        .filter(|plain| validate(plain).is_ok())
        .unwrap_or_else(|| code.to_owned())
}

/// The version of the table, such as `2.2`.
pub fn version() -> &'static str {
    &essence().version
}

/// The codes of all units of the table, without prefixes.
pub fn codes() -> impl Iterator<Item = &'static str> {
    essence().atoms.iter().map(|atom| atom.code.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(value: &str, from: &str, to: &str) -> String {
        match convert(&Ratio::parse(value).unwrap(), from, to) {
            Ok(value) => value.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn one_form_is_printed() {
        for (code, want) in [
            ("mmol/l", "mmol/L"),
            ("l/l", "L/L"),
            ("ml/min", "mL/min"),
            ("lm/m2", "lm/m2"),
            ("m[iU]/ml", "m[IU]/mL"),
            ("10^9/l", "10*9/L"),
            ("10*9.l-1", "10*9/L"),
            ("10*-3.[arb'U]/mL", "10*-3.[arb'U]/mL"),
            ("10^-3/ul", "10*-3/uL"),
            ("mL.min-1.{l}.m-2", "mL/min.{l}/m2"),
            ("min-1", "/min"),
            ("1/min", "/min"),
            ("1", "1"),
            ("/100{WBC}", "/100{WBC}"),
            ("mg/(24.h)", "mg/(24.h)"),
            ("(mol.l-1)/s", "mol/L/s"),
            ("mmol/(l)", "mmol/L"),
            ("L-1.mmol", "mmol/L"),
            ("1/l.mmol", "mmol/L"),
            ("l-1.10*9", "10*9/L"),
            ("kg-1.mg.d-1", "mg/kg/d"),
            ("(mmol/L)", "mmol/L"),
            ("mg/((24.h))", "mg/(24.h)"),
            ("mg/(kg.d)/(m)", "mg/(kg.d)/m"),
            ("mol.(s/l)", "mol.s/L"),
            ("/(m.s).g", "g/(m.s)"),
            ("m+2", "m2"),
            ("kg/l1", "kg/L"),
            ("10*1", "10*1"),
            ("/L.{cells}", "/L.{cells}"),
            ("{cells}/(l)", "{cells}/L"),
            ("[ly]", "[ly]"),
            ("Cel", "Cel"),
            ("mg/l{l.l-1}", "mg/L{l.l-1}"),
            ("no unit", "no unit"),
        ] {
            assert_eq!(printed(code), want, "{code}");
            if let (Ok(one), Ok(other)) = (unit(code), unit(want)) {
                assert_eq!(one.ratio_to(&other, &Ratio::one()), Some(Ratio::one()), "{code}");
            }
        }
    }

    #[test]
    fn decimals_are_exact() {
        for (value, from, to, want) in [
            ("0.1", "mg/dL", "g/L", "0.001"),
            ("5.6", "mmol/L", "umol/mL", "5.6"),
            ("98.6", "[degF]", "Cel", "37"),
            ("37", "Cel", "[degF]", "98.6"),
            ("37.5", "Cel", "K", "310.65"),
            ("80", "[degRe]", "Cel", "100"),
            ("2", "[pH]", "mmol/L", "10"),
            ("20", "dB", "1", "100"),
            ("40", "dB[uV]", "mV", "0.1"),
            ("10", "bit_s", "1", "1024"),
            ("6", "[hp'_C]", "10*-12", "1"),
            ("45", "deg", "%[slope]", "100"),
            ("1", "[IU]/L", "m[iU]/mL", "1"),
            ("120", "mm[Hg]", "kPa", "15.99864"),
            ("1", "[lb_av]", "g", "453.59237"),
            ("1", "KiBy", "By", "1024"),
            ("5", "%", "1", "0.05"),
        ] {
            assert_eq!(converted(value, from, to), want, "{value} {from} in {to}");
        }
    }

    #[test]
    fn what_cannot_be_converted_is_said() {
        let dimension = Unconvertible::Dimension.to_string();
        for (from, to) in [
            ("mg/dL", "mmol/L"),
            ("[iU]", "[arb'U]"),
            ("[iU]/L", "U/L"),
            ("m", "s"),
            ("[CFU]", "1"),
        ] {
            assert_eq!(converted("1", from, to), dimension, "{from} to {to}");
        }
        assert_eq!(converted("0", "1", "dB"), Unconvertible::Undefined.to_string());
        assert!(converted("1", "Cel/h", "K/h").contains("Cel"), "a scale is no factor");
        assert!(converted("1", "mgg", "g").contains("from"));
        assert!(converted("1", "g", "mgg").contains("to is"));
    }

    #[test]
    fn what_is_valid_can_be_reckoned_with() {
        for code in [
            "Cel2", "Cel/m", "/Cel", "m.Cel", "Cel.s", "[degF]-1", "[pH]/L", "dB2", "Cel/Cel", "(Cel)/m", "W/Cel",
        ] {
            assert!(validate(code).is_err() && unit(code).is_err(), "{code}");
        }
        for code in [
            "Cel",
            "2.Cel",
            "Cel.10*3",
            "mCel",
            "(Cel)",
            "dB",
            "Cel{skin}",
            "Cel1",
            "K/m",
        ] {
            assert_eq!((validate(code), unit(code).err()), (Ok(()), None), "{code}");
        }
    }

    #[test]
    fn hostile_codes_cost_little() {
        let nested = format!("{}m{}", "(".repeat(5_000), ")".repeat(5_000));
        let powers = "[pi]999.".repeat(1_000);
        for code in [
            "m999999999",
            "10*99999",
            &nested,
            &powers,
            "m99999999999999999999",
            "(((",
            "{",
            "[",
        ] {
            assert!(unit(code).is_err());
        }
    }

    #[test]
    fn every_unit_of_the_table_is_valid_and_has_a_value() {
        for code in codes() {
            assert_eq!(validate(code), Ok(()), "{code}");
            unit(code).unwrap_or_else(|error| panic!("{code}: {error}"));
            assert!(display_name(code).unwrap().len() > 2, "{code}");
        }
        assert_eq!(version(), "2.2");
        assert_eq!(codes().count(), 312);
    }
}
