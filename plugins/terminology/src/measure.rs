//! What a unit measures, in the words of LOINC's properties.

use crate::{fold::condition, table::Target};

/// What a unit as written measures; nothing where that cannot be told.
pub fn of_unit(unit: &str) -> Option<&'static str> {
    let unit = condition(unit);
    let (above, below) = match unit.split_once('/') {
        Some((above, below)) => (above, Some(below)),
        None => (unit.as_str(), None),
    };
    let volume = below.is_some_and(|below| matches!(below, "l" | "dl" | "ml" | "ul"));
    let scaled = |of: &str| {
        let prefix = above.strip_suffix(of);
        prefix.is_some_and(|prefix| matches!(prefix, "" | "k" | "m" | "u" | "mc" | "n" | "p" | "f"))
    };
    match below {
        None if above == "%" => Some("fraction"),
        None if matches!(above, "fl") => Some("entitic volume"),
        None if above == "pg" => Some("entitic mass"),
        None if matches!(above, "s" | "sec" | "秒") => Some("time"),
        Some("hp" | "hpf" | "[hpf]" | "lp" | "lpf" | "[lpf]" | "高倍视野" | "低倍视野") => Some("area"),
        Some(_) if !volume => None,
        Some(_) if scaled("mol") => Some("moles"),
        Some(_) if scaled("g") => Some("mass"),
        Some(_) if scaled("u") || scaled("iu") || scaled("[iu]") || scaled("kat") => Some("activity"),
        Some(_) if matches!(above, "" | "k" | "个" | "cells" | "#" | "thou") || above.starts_with("10") => {
            Some("count")
        }
        _ => None,
    }
}

/// What a target measures: by its unit, else by the property in its LOINC name.
pub fn of_target(target: &Target) -> Option<&'static str> {
    of_unit(&target.unit).or_else(|| {
        let (_, rest) = target.name.split_once('[')?;
        match rest.split_once(']')?.0 {
            "Mass/volume" => Some("mass"),
            "Moles/volume" => Some("moles"),
            "#/volume" => Some("count"),
            "#/area" => Some("area"),
            "Enzymatic activity/volume" | "Units/volume" => Some("activity"),
            "Volume Fraction" | "Mass fraction" | "Pure number fraction" => Some("fraction"),
            "Entitic volume" | "Entitic mean volume" => Some("entitic volume"),
            "Entitic mass" => Some("entitic mass"),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_properties_meet() {
        for (unit, want) in [
            ("mmol/L", Some("moles")),
            ("μmol/L", Some("moles")),
            ("MG/DL", Some("mass")),
            ("g/L", Some("mass")),
            ("×10⁹/L", Some("count")),
            ("K/uL", Some("count")),
            ("U/L", Some("activity")),
            ("mIU/mL", Some("activity")),
            ("个/HP", Some("area")),
            ("%", Some("fraction")),
            ("fL", Some("entitic volume")),
            ("mmol/mol", None),
            ("ratio", None),
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
}
