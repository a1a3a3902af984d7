//! What a unit measures, in the words of LOINC's properties, and whether it can be what a target is measured in.

use crate::{Kind, Told, fold::unit_condition, table::Target, units};
use clinmill_sdk::units::divided;

/// Volumes that concentrations are of.
const VOLUMES: [&str; 7] = ["l", "dl", "ml", "ul", "mcl", "mm3", "cumm"];

/// Dilutions.
pub const TITRE: &str = "titre";

/// How a condition on the unit asks for them.
pub const TITER: &str = "titer";

/// Whether there is any.
pub const PRESENCE: &str = "presence";

/// A word or signs, where one of the rows is for them.
pub const WORD: &str = "word";

/// A number of nothing: `1`, `{ratio}`, `{index}`, and a signal in proportion to its cut-off.
const NUMBER: &str = "number";

/// A number whose unit nobody says: it may be in any.
const BARE: &str = "bare number";

/// Powers of ten of what is in `log IU/mL`.
const LOGARITHM: &str = "logarithm";

/// Copies of genes, which are no international units.
const COPIES: &str = "copies";

/// What the result of a row measures; nothing where that cannot be told.
pub fn of_told(told: &Told<'_>) -> Option<&'static str> {
    let unit = told.unit.filter(|unit| !unit_condition(unit).is_empty());
    match (told.kind, unit) {
        (Kind::Titre, _) => Some(TITRE),
        (Kind::Word, _) => Some(WORD),
        (Kind::Number, None) => Some(BARE),
        (_, unit) => unit.and_then(of_unit),
    }
}

/// What a unit as written measures; nothing where that cannot be told.
pub fn of_unit(unit: &str) -> Option<&'static str> {
    let fraction = divided(unit);
    // Grams per litre in capitals, or thousands of millions.
    if matches!(fraction.as_str(), "G/L" | "T/L") {
        return None;
    }
    let written = unit;
    // mmol L-1 measures what mmol/L does.
    let unit = match unit.contains(['/', '／']) {
        true => unit_condition(unit),
        false => unit_condition(&fraction),
    };
    if unit.starts_with("log") || unit.starts_with("lg") {
        return Some(LOGARITHM);
    }
    if ["copies", "copy", "拷贝"].iter().any(|word| unit.contains(word)) {
        return Some(COPIES);
    }
    let (above, below) = match unit.split_once('/') {
        Some((above, below)) => (above, Some(below)),
        None => (unit.as_str(), None),
    };
    // 10^3 IU/mL are units, 10^3/uL is a count.
    let unscaled = match above.starts_with("10") {
        true => above.trim_start_matches(|c: char| c.is_ascii_digit()),
        false => above,
    };
    let scaled = |of: &str| {
        let prefix = unscaled.strip_suffix(of);
        prefix.is_some_and(|prefix| matches!(prefix, "" | "k" | "m" | "u" | "mc" | "n" | "p" | "f"))
    };
    let Some(below) = below else {
        return match above {
            "%" | "‰" => Some("fraction"),
            "fl" => Some("entitic volume"),
            "pg" => Some("entitic mass"),
            "s" | "sec" | "min" => Some("time"),
            "mmhg" | "mm[hg]" | "kpa" => Some("pressure"),
            "l" | "ml" => Some("volume"),
            "ph" | "[ph]" => Some("acidity"),
            TITER | "titre" | "滴度" | "1:" | ":1" => Some(TITRE),
            "od" | "pei" => Some(NUMBER),
            _ => of_code(&units::code(written)?),
        };
    };
    let counted = matches!(above, "" | "k" | "m" | "个" | "cell" | "cells" | "#" | "thou") || above.starts_with("10");
    let substance = if scaled("mol") || scaled("eq") {
        Some("moles")
    } else if scaled("g") {
        Some("mass")
    } else if scaled("u") || scaled("iu") || scaled("[iu]") || scaled("kat") {
        Some("activity")
    } else {
        None
    };
    match below {
        "hp" | "hpf" | "[hpf]" | "高倍视野" => Some("area"),
        "lp" | "lpf" | "[lpf]" | "低倍视野" => Some("area at low power"),
        "l" if above == "l" => Some("fraction"),
        below if VOLUMES.contains(&below) => substance.or_else(|| counted.then_some("count")),
        "24h" | "24.h" | "24hr" | "24hrs" | "d" | "day" => match substance {
            Some("mass") => Some("mass per time"),
            Some("moles") => Some("moles per time"),
            _ => None,
        },
        "kg" | "kgh2o" if matches!(above, "mosm" | "mosmol" | "osm") => Some("osmolality"),
        "h" | "hr" | "1h" if above == "mm" => Some("velocity"),
        "min" if matches!(above, "ml" | "l") => Some("volume per time"),
        below if matches!(above, "ml" | "l") && below.starts_with("min/1.73") => Some("volume per time and area"),
        "g" | "mg" if substance == Some("mass") => Some("mass ratio"),
        "mol" | "mmol" => match substance {
            Some("mass") => Some("mass per moles"),
            Some("moles") => Some("moles ratio"),
            _ => None,
        },
        _ => of_code(&units::code(written)?),
    }
}

/// What a UCUM code of nothing but an annotation measures.
fn of_code(code: &str) -> Option<&'static str> {
    let annotation = code.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    match annotation {
        Some((what, "")) => Some(if what == TITER { TITRE } else { NUMBER }),
        None if code == "1" => Some(NUMBER),
        _ => None,
    }
}

/// What a target measures: by its unit, else by the property in its LOINC name.
pub fn of_target(target: &Target) -> Option<&'static str> {
    of_code(&target.unit).or_else(|| of_unit(&target.unit)).or_else(|| {
        let (_, rest) = target.name.split_once('[')?;
        match rest.split_once(']')?.0 {
            "Mass/volume" => Some("mass"),
            "Moles/volume" => Some("moles"),
            "#/volume" => Some("count"),
            "#/area" if target.name.contains("low power") => Some("area at low power"),
            "#/area" => Some("area"),
            "Enzymatic activity/volume" | "Units/volume" => Some("activity"),
            "Volume Fraction" | "Mass fraction" | "Mass Fraction" | "Pure number fraction" => Some("fraction"),
            "Entitic volume" | "Entitic mean volume" => Some("entitic volume"),
            "Entitic mass" => Some("entitic mass"),
            "Mass/time" => Some("mass per time"),
            "Moles/time" => Some("moles per time"),
            "Mass Ratio" | "Mass ratio" => Some("mass ratio"),
            "# Ratio" | "Ratio" => Some("fraction"),
            "Partial pressure" => Some("pressure"),
            "Presence" | "Type" | "Identifier" => Some(PRESENCE),
            "Titer" => Some(TITRE),
            log if log.starts_with("Log ") => Some(LOGARITHM),
            _ => None,
        }
    })
}

/// Whether values of one measure can be none of the other, as far as both are known. Moles and mass lead to each other by
/// the weight of a mole, which the step `units` knows for some analytes and asks for; so do the rates of both.
pub fn contradict(unit: Option<&'static str>, target: Option<&'static str>) -> bool {
    let kind = |measure| match measure {
        "moles" => "mass",
        "moles per time" => "mass per time",
        "mass ratio" | NUMBER => "fraction",
        other => other,
    };
    match (unit, target) {
        (Some(BARE), target) => target == Some(PRESENCE),
        (Some(WORD), Some(target)) => !matches!(target, PRESENCE | TITRE),
        (Some(unit), Some(target)) => kind(unit) != kind(target),
        _ => false,
    }
}

/// Whether a target is no suggestion for a row: as [`contradict`], and moles are no mass, which LOINC has codes of their own
/// for.
pub fn unlike(unit: Option<&'static str>, target: Option<&'static str>) -> bool {
    let moles = |measure: Option<&str>| measure.is_some_and(|measure| measure.starts_with("moles"));
    let told = unit.is_some() && unit != Some(BARE) && target.is_some();
    contradict(unit, target) || (told && moles(unit) != moles(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_properties_meet() {
        for (unit, want) in [
            ("mmol/L", Some("moles")),
            ("μmol/L", Some("moles")),
            ("毫摩尔/升", Some("moles")),
            ("mEq/L", Some("moles")),
            ("MG/DL", Some("mass")),
            ("g/L", Some("mass")),
            ("克/升", Some("mass")),
            ("G/L", None),
            ("G L-1", None),
            ("mmol L-1", Some("moles")),
            ("mIU·mL⁻¹", Some("activity")),
            ("K uL–1", Some("count")),
            ("109 L-1", Some("count")),
            ("mmol 24h-1", Some("moles per time")),
            ("copies mL-1", Some("copies")),
            ("×10⁹/L", Some("count")),
            ("K/uL", Some("count")),
            ("个/微升", Some("count")),
            ("U/L", Some("activity")),
            ("单位/升", Some("activity")),
            ("mIU/mL", Some("activity")),
            ("个/HP", Some("area")),
            ("%", Some("fraction")),
            ("L/L", Some("fraction")),
            ("fL", Some("entitic volume")),
            ("mg/24h", Some("mass per time")),
            ("mg/(24.h)", Some("mass per time")),
            ("克/24小时", Some("mass per time")),
            ("mmol/d", Some("moles per time")),
            ("mm/h", Some("velocity")),
            ("mL/min", Some("volume per time")),
            ("mL/min/{1.73_m2}", Some("volume per time and area")),
            ("ml/min/1.73m²", Some("volume per time and area")),
            ("mg/g", Some("mass ratio")),
            ("mg/mmol", Some("mass per moles")),
            ("mmol/mol", Some("moles ratio")),
            ("mmHg", Some("pressure")),
            ("mOsm/kg", Some("osmolality")),
            ("mL/24h", None),
            ("ratio", Some("number")),
            ("S/CO", Some("number")),
            ("COI", Some("number")),
            ("指数", Some("number")),
            ("OD", Some("number")),
            ("titer", Some("titre")),
            ("滴度", Some("titre")),
            ("copies/mL", Some("copies")),
            ("拷贝/毫升", Some("copies")),
            ("10^3 copies/mL", Some("copies")),
            ("10^3 IU/mL", Some("activity")),
            ("log IU/mL", Some("logarithm")),
            ("lg copies/mL", Some("logarithm")),
            ("log10", Some("logarithm")),
            ("A", None),
            ("", None),
        ] {
            assert_eq!(of_unit(unit), want, "{unit}");
        }
        let named = |name: &str| Target {
            name: name.into(),
            ..Target::default()
        };
        assert_eq!(
            of_target(&named("Glucose [Moles/volume] in Serum or Plasma")),
            Some("moles")
        );
        assert_eq!(of_target(&named("pH of Blood")), None);
        let told = |unit, kind| Told {
            kind,
            ..Told::of(unit, "", None)
        };
        let of = |unit, kind, name| contradict(of_told(&told(unit, kind)), of_target(&named(name)));
        let (presence, titre) = ("x Ab [Presence] in Serum", "x Ab [Titer] in Serum");
        assert!(of("", Kind::Number, presence) && of("S/CO", Kind::Number, presence));
        assert!(!of("", Kind::Any, presence) && !of("定性", Kind::Any, presence));
        assert!(of("", Kind::Titre, presence) && of("IU/mL", Kind::Titre, "x Ab [Units/volume] in Serum"));
        assert!(!of("", Kind::Titre, titre) && !of("", Kind::Number, titre) && of("S/CO", Kind::Any, titre));
        assert!(!of("", Kind::Number, "x [Mass/volume] in Serum"));
    }

    #[test]
    fn only_what_is_known_contradicts() {
        let unlike = |one, other| contradict(of_unit(one), of_unit(other));
        for (one, other) in [
            ("%", "10*9/L"),
            ("/HP", "/uL"),
            ("mg/24h", "mg/dL"),
            ("U/L", "ng/mL"),
            ("mmol/mol", "%"),
            ("fL", "%"),
            ("mg/mmol", "mg/g"),
            ("S/CO", "[IU]/mL"),
            ("copies/mL", "[IU]/mL"),
            ("copies/mL", "/uL"),
            ("log IU/mL", "IU/mL"),
        ] {
            assert!(unlike(one, other) && unlike(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("mg/dL", "mmol/L"),
            ("meq/L", "mmol/L"),
            ("mg/g", "%"),
            ("ratio", "%"),
            ("", "g/L"),
            ("K/uL", "10*9/L"),
        ] {
            assert!(!unlike(one, other) && !unlike(other, one), "{one} {other}");
        }
    }
}
