//! What a unit measures, in the words of LOINC's properties, and whether it can be what a target is measured in.

use crate::{fold::unit_condition, table::Target};

/// Volumes that concentrations are of.
const VOLUMES: [&str; 7] = ["l", "dl", "ml", "ul", "mcl", "mm3", "cumm"];

/// What a unit as written measures; nothing where that cannot be told.
pub fn of_unit(unit: &str) -> Option<&'static str> {
    // Grams per litre in capitals, or thousands of millions.
    if matches!(unit.trim(), "G/L" | "T/L") {
        return None;
    }
    let unit = unit_condition(unit);
    let (above, below) = match unit.split_once('/') {
        Some((above, below)) => (above, Some(below)),
        None => (unit.as_str(), None),
    };
    let scaled = |of: &str| {
        let prefix = above.strip_suffix(of);
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
            _ => None,
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
        _ => None,
    }
}

/// What a target measures: by its unit, else by the property in its LOINC name.
pub fn of_target(target: &Target) -> Option<&'static str> {
    // A number of nothing: 1, {ratio}, {index}.
    if target.unit == "1" || target.unit.starts_with('{') {
        return Some("number");
    }
    of_unit(&target.unit).or_else(|| {
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
            "Presence" | "Type" | "Identifier" => Some("presence"),
            "Titer" => Some("titre"),
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
        "mass ratio" | "number" => "fraction",
        other => other,
    };
    matches!((unit, target), (Some(unit), Some(target)) if kind(unit) != kind(target))
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
            ("ratio", None),
            ("S/CO", None),
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
        ] {
            assert!(unlike(one, other) && unlike(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("mg/dL", "mmol/L"),
            ("meq/L", "mmol/L"),
            ("mg/g", "%"),
            ("S/CO", "[IU]/mL"),
            ("", "g/L"),
            ("K/uL", "10*9/L"),
        ] {
            assert!(!unlike(one, other) && !unlike(other, one), "{one} {other}");
        }
    }
}
