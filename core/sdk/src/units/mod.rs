//! Units of measure, for every plugin that reads one: UCUM, the spellings of hospitals, and whether two units are one.
//!
//! - [`ucum`]: the code system
//! - [`Spellings`]: from a written unit to a code
//! - [`meant`]: the code that somebody meant who wrote none
//! - [`told_apart`], [`fits`], [`Code`]: whether two units measure the same
//! - `capitals`: units in other capitals than UCUM's
//! - `power`: `10^{9}` as `10^9`
//! - `product`: `mmol L-1` as `mmol/L`
//! - [`xml`]: small XML files, such as UCUM's own

mod capitals;
mod power;
mod product;
mod spellings;
pub mod ucum;
pub mod xml;

pub use spellings::{Known, Spellings, divided, fold, meant};

use std::borrow::Cow;
use ucum::{Dimension, Ratio, Unit};

/// A code to compare with others, reckoned once. Two are equal that are written alike.
#[derive(Clone, Debug)]
pub struct Code {
    text: String,
    unit: Option<Unit>,
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Code {}

impl std::hash::Hash for Code {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Code {
    /// From a UCUM code; what is none is like itself only.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let unit = ucum::unit(&text).ok();
        Self { text, unit }
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether both are one unit: the same measure and the same size, such as `10*3/uL`, `10*9/L` and `/nL`.
    pub fn same(&self, other: &Self) -> bool {
        let size = |(a, b): (&Unit, &Unit), value: Ratio| a.ratio_to(b, &value) == Some(value);
        self == other
            || self
                .measure(other)
                .is_some_and(|both| size(both, Ratio::one()) && size(both, Ratio::integer(0)))
    }

    /// Whether both are units of one measure that one analyte may be in: `umol/L` and `mmol/L`, `10*4/uL` and `10*12/L`.
    /// Laboratories that differ in their units do so by a thousand at most: `Cr` in ug/L is no creatinine in mg/dL, but
    /// chromium. Shares and numbers of nothing are like themselves only: an INR is in no `%`.
    pub fn alike(&self, other: &Self) -> bool {
        self.same(other)
            || self.measure(other).is_some_and(|(a, b)| {
                let number = *a.dimension() == Dimension::default() && a.kinds().is_empty();
                let ratio = a.ratio_to(b, &Ratio::one()).map(|ratio| ratio.to_f64());
                !number && ratio.is_some_and(|ratio| (0.000_999..1_001.0).contains(&ratio))
            })
    }

    /// Both units, where they measure the same.
    fn measure<'a>(&'a self, other: &'a Self) -> Option<(&'a Unit, &'a Unit)> {
        let (a, b) = (self.unit.as_ref()?, other.unit.as_ref()?);
        // Annotations stand for nothing in UCUM, and for all there is in mg/L{FEU}, mL/min/{1.73_m2} and {copies}/mL.
        let annotated = || annotations(&self.text).eq(annotations(&other.text));
        let like = fits(a, b) && annotated() && told_apart(&self.text, &other.text).is_none();
        like.then_some((a, b))
    }
}

/// What stands in braces, in order.
fn annotations(code: &str) -> impl Iterator<Item = &str> {
    code.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

/// Why two units that UCUM takes for the same measure are none; nothing where they may be.
///
/// Fibrinogen equivalents of D-dimer are about twice as much as D-dimer, by assays that differ; UCUM has annotations for
/// both, which stand for nothing. Moles per mole are no percentage: of haemoglobin A1c, 48 mmol/mol by IFCC are 6.5 % by
/// NGSP, by an equation of its own. Units that an assay makes up for itself (UCUM, paragraphs 24 to 26) are none
/// of another's. Logarithms of counts have an annotation alone, too. And a clearance per 1.73 m2 of body
/// surface is that of a person of this size: of a child it is several times what its kidneys clear.
pub fn told_apart(from: &str, to: &str) -> Option<&'static str> {
    let assay = |code: &str| ASSAYS.map(|assay| code.contains(assay));
    if assay(from) != assay(to) {
        return Some(
            "of D-dimer, fibrinogen equivalent units (FEU) and D-dimer units (DDU) differ, and one of the units names neither or the other",
        );
    }
    // Of 10000 copies the logarithm is 4: annotations alone say so.
    let logarithm = |code: &str| code.contains("{Log_");
    if logarithm(from) != logarithm(to) {
        return Some("a logarithm is no amount");
    }
    let relative = |code: &str| code.contains("{RU}");
    if relative(from) != relative(to) {
        return Some("relative units of one assay are no arbitrary units of another");
    }
    let surface = |code: &str| code.contains("1.73");
    if surface(from) != surface(to) {
        return Some("what is reckoned for a body surface of 1.73 m2 is not what was measured");
    }
    let moles = |code: &str| {
        code.split_once('/')
            .is_some_and(|(over, under)| over.ends_with("mol") && under.ends_with("mol"))
    };
    (moles(from) != moles(to)).then_some("moles per mole are no percentage")
}

/// What D-dimer is counted in.
const ASSAYS: [&str; 2] = ["{FEU}", "{DDU}"];

/// A unit to convert to that a row's own code brings, beside what the row is written in. Where that says nothing of the assay
/// of D-dimer the code does, so that nothing is left to tell apart: of `D-dimer FEU`, `mg/L` are `mg/L{FEU}`.
pub fn by_code<'t>(from: &str, to: &'t str) -> Cow<'t, str> {
    let named = |code: &str| ASSAYS.iter().any(|assay| code.contains(assay));
    match !named(from) && named(to) {
        true => ASSAYS
            .iter()
            .fold(to.to_owned(), |code, assay| code.replace(assay, ""))
            .into(),
        false => to.into(),
    }
}

/// Whether two units measure the same, with moles, equivalents and fields of view told apart. A value of pH is one of
/// moles per litre.
pub fn fits(from: &Unit, to: &Unit) -> bool {
    from.dimension() == to.dimension() && from.kinds() == to.kinds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_apart() {
        for (one, other, apart) in [
            ("mg{FEU}/L", "ug{DDU}/L", true),
            ("mg{FEU}/L", "mg/L", true),
            ("mg/L{DDU}", "ng/mL", true),
            ("mg/L{FEU}", "ug{FEU}/mL", false),
            ("mmol/mol", "%", true),
            ("{Log_copies}/mL", "{copies}/mL", true),
            ("{Log_IU}/mL", "/mL", true),
            ("{Log_IU}/mL", "{Log_IU}/L", false),
            ("mg{FEU}/L", "ug{FEU}/mL", false),
            ("[arb'U]{RU}/mL", "[arb'U]/mL", true),
            ("[arb'U]{RU}/mL", "[arb'U]{RU}/L", false),
            ("mL/min/{1.73_m2}", "mL/min", true),
            ("mL/min/{1.73_m2}", "mL/s/{1.73_m2}", false),
        ] {
            assert_eq!(told_apart(one, other).is_some(), apart, "{one} {other}");
            assert_eq!(told_apart(other, one).is_some(), apart, "{other} {one}");
        }
    }

    #[test]
    fn a_code_tells_the_assay_of_a_plain_unit() {
        for (from, to, want) in [
            ("mg/L", "mg/L{FEU}", "mg/L"),
            ("mg{FEU}/L", "mg/L{FEU}", "mg/L{FEU}"),
            ("mg{FEU}/L", "ng/mL{DDU}", "ng/mL{DDU}"),
            ("mg{FEU}/L", "mg/L", "mg/L"),
        ] {
            assert_eq!(by_code(from, to), want, "{from} {to}");
        }
    }

    #[test]
    fn one_unit_in_several_codes() {
        for (one, other) in [
            ("10*3/uL", "10*9/L"),
            ("/nL", "10*9/L"),
            ("mg/L", "ug/mL"),
            ("g/L", "mg/mL"),
            ("ng{FEU}/mL", "ug/L{FEU}"),
            ("Cel", "Cel"),
        ] {
            let (a, b) = (Code::new(one), Code::new(other));
            assert!(a.same(&b) && b.same(&a), "{one} {other}");
        }
        for (one, other) in [
            ("mg/dL", "g/L"),
            ("mg/L{FEU}", "mg/L{DDU}"),
            ("mg/L{FEU}", "mg/L"),
            ("mL/min", "mL/min/{1.73_m2}"),
            ("mmol/mol", "[ppth]"),
            ("Cel", "K"),
            ("mmol/L", "meq/L"),
            ("/[HPF]", "/[LPF]"),
            ("U/L", "[IU]/L"),
            ("{Log_copies}/mL", "{copies}/mL"),
            ("{Log_copies}/mL", "{Log_IU}/mL"),
            ("x", "x/L"),
        ] {
            let (a, b) = (Code::new(one), Code::new(other));
            assert!(!a.same(&b) && !b.same(&a), "{one} {other}");
        }
    }

    #[test]
    fn units_of_one_measure() {
        let alike = |one: &str, other: &str| Code::new(one).alike(&Code::new(other));
        for (one, other) in [
            ("umol/L", "mmol/L"),
            ("10*4/uL", "10*12/L"),
            ("ug/L{FEU}", "mg/L{FEU}"),
            ("ukat/L", "U/L"),
            ("no unit", "no unit"),
        ] {
            assert!(alike(one, other) && alike(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("mg/L{FEU}", "mg/L"),
            ("{copies}/mL", "/uL"),
            ("mmol/L", "mg/dL"),
            ("mmol/mol", "%"),
            ("/[HPF]", "/uL"),
            ("ug/L", "mg/dL"),
            ("%", "1"),
            ("mg/g", "%"),
            ("x", "x/L"),
        ] {
            assert!(!alike(one, other) && !alike(other, one), "{one} {other}");
        }
    }
}
