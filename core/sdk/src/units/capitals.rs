//! Units in other capitals than UCUM's: `MG/DL`, `PG/ML`, `ng/ML`, as machines print them.
//!
//! Read with case, some of these are codes of another meaning: `MG` is a megagauss, `U/ML` units per megalitre, a
//! thousand millions times less than what is meant. Nothing of a laboratory is measured so.

use super::ucum;

/// Prefixes that no measure of a laboratory has.
const LARGE: [&str; 7] = ["M", "G", "T", "P", "E", "Z", "Y"];
/// Codes that no laboratory means when they stand alone: kelvin, tesla, ampere, poise, volt, newton, watt, bel, parsec,
/// stere, electronvolt. What they are short for cannot be told.
const ALONE: [&str; 11] = ["K", "T", "A", "P", "V", "N", "W", "B", "pc", "st", "eV"];
/// Prefixes that measures of a laboratory have, by their case-insensitive codes (UCUM section 2.2, table 1), and with case.
const PREFIXES: [(&str, &str); 9] = [
    ("", ""),
    ("K", "k"),
    ("D", "d"),
    ("C", "c"),
    ("M", "m"),
    ("U", "u"),
    ("N", "n"),
    ("P", "p"),
    ("F", "f"),
];
/// Units that prefixes stand before, by their case-insensitive codes and with case; IU stands for \[IU\].
const METRIC: [(&str, &str); 13] = [
    ("G", "g"),
    ("L", "L"),
    ("M", "m"),
    ("MOL", "mol"),
    ("EQ", "eq"),
    ("OSM", "osm"),
    ("U", "U"),
    ("IU", "[IU]"),
    ("KAT", "kat"),
    ("S", "s"),
    ("PA", "Pa"),
    ("J", "J"),
    ("CAL", "cal"),
];
/// Units without prefixes.
const OTHERS: [(&str, &str); 8] = [
    ("MIN", "min"),
    ("HR", "h"),
    ("H", "h"),
    ("D", "d"),
    ("SEC", "s"),
    ("CEL", "Cel"),
    ("HPF", "[HPF]"),
    ("LPF", "[LPF]"),
];

/// The runs of letters of a code, outside brackets and braces.
fn runs(code: &str) -> impl Iterator<Item = &str> {
    let mut inside = 0u32;
    code.split(move |c: char| {
        match c {
            '[' | '{' => inside += 1,
            ']' | '}' => inside = inside.saturating_sub(1),
            _ => {}
        }
        inside > 0 || !c.is_ascii_alphabetic()
    })
    .filter(|run| !run.is_empty())
}

/// A code without what stands in square brackets and the prefixes of that: of `u[IU]/mL` the `u` is no mass of an atom.
fn unbracketed(code: &str) -> String {
    let mut plain = String::with_capacity(code.len());
    for (at, part) in code.split('[').enumerate() {
        let behind = match at {
            0 => part,
            _ => {
                let kept = plain.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
                plain.truncate(kept);
                plain.push('_');
                part.split_once(']').map_or("", |(_, behind)| behind)
            }
        };
        plain.push_str(behind);
    }
    plain
}

/// Whether a valid code is hardly what a hospital means by it: a large prefix before a unit of laboratories, gauss, henry,
/// roentgen, astronomical or atomic mass units.
pub fn unlikely(code: &str) -> bool {
    // An l that was read as a 1: mmol/1.
    if ALONE.contains(&code) || code.ends_with("/1") {
        return true;
    }
    runs(&unbracketed(code)).any(|run| {
        let large = LARGE.iter().find_map(|prefix| run.strip_prefix(prefix));
        let rest = run.get(1..).unwrap_or_default();
        // Drugs are given in MU, a million units: per volume or mass it is an enzyme's activity.
        let enzyme = code.contains('/') && large == Some("U");
        run == "AU"
            || run == "H"
            || rest == "H"
            || run == "G"
            || rest == "G"
            // A laboratory's R is a ratio and no roentgen, its u a unit and no mass of an atom, TV a volume.
            || run == "R"
            || matches!(run, "u" | "ku" | "mu" | "uu" | "nu" | "cU" | "TV" | "Eu")
            || enzyme
            || matches!(
                large,
                Some("g" | "l" | "L" | "m" | "mol" | "eq" | "osm" | "s" | "h" | "S" | "A" | "T")
            )
    })
}

/// Whether a text in stray capitals may be moles per litre as well as a length: `MM`, `UM`, `NM`, `PM`.
pub fn molar_or_metre(text: &str) -> bool {
    matches!(text.as_bytes(), [prefix, b'M' | b'm'] if b"MUNPmunp".contains(prefix))
}

/// Reads a unit by UCUM's case-insensitive codes, where all of it is of a laboratory: `MG/DL` is mg/dL.
pub fn read(text: &str) -> Option<String> {
    let upper = text.to_ascii_uppercase();
    // One letter is too little to tell: M may be metre, molar or a million.
    if (upper.len() < 2 && upper != "G") || upper.starts_with("M/") {
        return None;
    }
    // UL-1 and UL1 may be U L-1 as well as one over microlitres.
    if upper.ends_with(['1', '-']) && upper.trim_end_matches(['1', '-']).ends_with('L') && !upper.contains(['/', '.']) {
        return None;
    }
    let mut code = String::with_capacity(upper.len());
    let mut at = 0;
    for run in runs(&upper) {
        let begin = at + upper.get(at..)?.find(run)?;
        code.push_str(upper.get(at..begin)?);
        let prefix = upper.get(begin + run.len()..).is_some_and(|rest| rest.starts_with('['));
        match PREFIXES.iter().find(|(upper, _)| prefix && *upper == run) {
            Some((_, with_case)) => code.push_str(with_case),
            None => code.push_str(&symbol(run)?),
        }
        at = begin + run.len();
    }
    code.push_str(upper.get(at..)?);
    (ucum::validate(&code).is_ok() && !unlikely(&code)).then_some(code)
}

/// One symbol with case.
fn symbol(run: &str) -> Option<String> {
    let of = |table: &[(&str, &'static str)], run: &str| {
        table
            .iter()
            .find(|(code, _)| *code == run)
            .map(|(_, with_case)| *with_case)
    };
    if let Some(unit) = of(&OTHERS, run) {
        return Some(unit.to_owned());
    }
    PREFIXES.iter().find_map(|(prefix, with_case)| {
        let unit = of(&METRIC, run.strip_prefix(prefix)?)?;
        Some(format!("{with_case}{unit}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hardly_meant() {
        for code in [
            "MG", "MG/L", "Mg/dL", "PG/mL", "U/ML", "mg/Ml", "ML", "MU/L", "MG/G", "G", "mG/dL", "Gm/dL", "Pmol/L",
            "Meq/L", "mm/H", "MS", "EU/mL", "AU/L", "R", "mg/TV", "ku/L", "mu/L", "cU", "u/L", "Eu/mL", "K", "T", "A",
            "P", "V", "pc", "st", "mmol/1",
        ] {
            assert_eq!(ucum::validate(code), Ok(()), "{code} is a code");
            assert!(unlikely(code), "{code}");
        }
        for code in [
            "mg/dL",
            "U/L",
            "10*9/L",
            "mm[Hg]",
            "MBq",
            "MPa",
            "GHz",
            "MJ",
            "MU",
            "[IU]/mL",
            "mL/min/{1.73_m2}",
            "Cel",
            "mS/cm",
            "g{Hb}",
            "/[HPF]",
            "m[IU]/L",
            "mol/mol",
            "{G}",
            "M[IU]",
            "kV",
            "mA",
            "/10",
            "mol/10",
        ] {
            assert!(!unlikely(code), "{code}");
        }
    }

    #[test]
    fn capitals_are_the_case_insensitive_codes() {
        for (text, want) in [
            ("MG/DL", "mg/dL"),
            ("UMOL/L", "umol/L"),
            ("MMOL/L", "mmol/L"),
            ("PG/ML", "pg/mL"),
            ("NG/ML", "ng/mL"),
            ("U/ML", "U/mL"),
            ("MU/L", "mU/L"),
            ("IU/ML", "[IU]/mL"),
            ("MIU/L", "m[IU]/L"),
            ("10*9/L", "10*9/L"),
            ("MG/G", "mg/g"),
            ("ML/MIN", "mL/min"),
            ("MEQ/L", "meq/L"),
            ("MOSM/KG", "mosm/kg"),
            ("KPA", "kPa"),
            ("MM/HR", "mm/h"),
            ("G", "g"),
            ("KG/M2", "kg/m2"),
            ("/HPF", "/[HPF]"),
            ("ng/Ml", "ng/mL"),
            ("ku/l", "kU/L"),
            ("mu/l", "mU/L"),
            ("uu/ml", "uU/mL"),
            ("u/l", "U/L"),
        ] {
            assert_eq!(read(text).as_deref(), Some(want), "{text}");
        }
        for text in [
            "M", "D", "", "R", "M/L", "CU", "UL-1", "UL1", "ML-1", "MG/TV", "AU/ML", "EU/ML", "ABC", "MG/DLL", "K/UL",
            "PH", "COI",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
