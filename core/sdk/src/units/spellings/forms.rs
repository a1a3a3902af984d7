//! Whatever is written in several forms means one thing in all of them, over every spelling and code that is shipped.

use super::{super::ucum, Spellings, tests::shipped};
use std::{collections::BTreeSet, fs, path::Path};

/// The cells of a mapping table's column, where a row is accepted.
fn cells(table: &str, column: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../mappings")
        .join(table)
        .join("map.csv");
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(split);
    let header = lines.next().unwrap();
    let index = header.iter().position(|name| name == column);
    let status = header.iter().position(|name| name == "status").unwrap();
    let accepted = lines.filter(|cells| cells.get(status).is_some_and(|status| status == "accepted"));
    let all = accepted.filter_map(|cells| cells.get(index?).cloned());
    all.filter(|cell| !cell.is_empty()).collect()
}

/// One line of comma-separated values.
fn split(line: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
    }
    cells
}

/// The codes that laboratory tests are in.
fn targets() -> BTreeSet<String> {
    let mut codes = cells("units-local__ucum", "target_code");
    for table in [
        "lab-zh__loinc",
        "lab-en__loinc",
        "mimic3-labitems__loinc",
        "tongji-lab-zh__loinc",
    ] {
        codes.extend(cells(table, "unit"));
    }
    for table in ["loinc__liver-analyte", "loinc__stenting-analyte"] {
        codes.extend(cells(table, "unit"));
    }
    codes
}

fn code(local: &Spellings, text: &str) -> Option<String> {
    local.find(text).map(|known| known.code)
}

/// What stands between two units, and how the power -1 is written behind the second.
const BETWEEN: [&str; 12] = [" ", "  ", ".", "·", "⋅", "•", "∙", "‧", "・", " · ", "\u{a0}", "*"];
const POWERS: [&str; 12] = [
    "-1", "⁻¹", "−1", "–1", "‐1", "‑1", "－１", "^-1", "^(-1)", " -1", "ˉ¹", "−¹",
];

/// A unit below the line, and how its power is written with another sign: `m2` is `m-2`.
fn below(unit: &str, power: &str) -> String {
    let square = unit.strip_suffix(['2', '²']).map(|unit| (unit, '2', '²'));
    let cube = || unit.strip_suffix(['3', '³']).map(|unit| (unit, '3', '³'));
    match square.or_else(cube) {
        Some((unit, digit, raised)) => {
            let unit = unit.trim_end_matches('^');
            let power = power.replace('1', &digit.to_string()).replace('１', &digit.to_string());
            format!("{unit}{}", power.replace('¹', &raised.to_string()))
        }
        None => format!("{unit}{power}"),
    }
}

/// All forms of a unit as a product.
fn products(unit: &str) -> Vec<String> {
    let mut parts = unit.split('/').map(str::trim);
    let above = parts.next().unwrap();
    let parts: Vec<&str> = parts.collect();
    let letters = |part: &str| {
        let unit = part.trim_end_matches(['2', '3', '²', '³', '^']);
        !unit.is_empty()
            && unit
                .chars()
                .all(|c| c.is_alphabetic() || matches!(c, '[' | ']' | '\'' | '_'))
    };
    if above.is_empty() || parts.is_empty() || !parts.iter().all(|part| letters(part)) {
        return Vec::new();
    }
    let mut forms = Vec::new();
    for between in BETWEEN {
        for power in POWERS {
            let below = parts.iter().map(|part| format!("{between}{}", below(part, power)));
            forms.push(format!("{above}{}", below.collect::<String>()));
        }
    }
    forms
}

#[test]
fn a_product_means_what_the_fraction_does() {
    let local = shipped();
    let mut fractions = targets();
    fractions.extend(cells("units-local__ucum", "source_name"));
    for text in [
        "103/uL",
        "109/L",
        "1012/L",
        "106/mm3",
        "104/μL",
        "×109/L",
        "10 9/L",
        "10^2/uL",
        "10E3/μL",
        "×10⁹/L",
        "M/L",
        "M/uL",
        "μ/L",
        "K/L",
        "P/L",
        "A/L",
        "G/L",
        "G/l",
        "R/L",
        "TV/L",
        "xyz/L",
        "u/L",
        "AU/L",
        "MIU/ML",
        "Umol/L",
        "Mg/dL",
        "MG/DL",
        "nkat/L",
        "μkat/L",
        "kIU/L",
        "cells/mm³",
        "mg/L FEU",
        "°C/L",
        "%/L",
        "T/mL",
        "mL/min/kg",
        "L/min/m²",
        "ng/mL/h",
        "nmol/h/mL",
        "ug/kg/min",
        "dyn.s/cm5",
        "1/min",
        "g/m²",
        "U/g Hb",
        "mU/min",
        "kg/m^2",
        "mmol/mol",
    ] {
        fractions.insert(text.to_owned());
    }
    let (mut seen, mut wrong) = (0, Vec::new());
    for fraction in &fractions {
        let want = code(&local, fraction);
        for form in products(fraction) {
            seen += 1;
            let found = code(&local, &form);
            if found != want {
                wrong.push(format!("{form:?} is {found:?}, {fraction:?} {want:?}"));
            }
        }
    }
    none(&wrong, seen);
    assert!(seen > 50_000, "{seen}");
}

/// Fails with the first of many findings.
pub(super) fn none(wrong: &[String], seen: usize) {
    let first = &wrong[..wrong.len().min(60)];
    assert!(wrong.is_empty(), "{} of {seen}: {first:#?}", wrong.len());
}

/// A number before a unit with a negative power is below the line with it, or the text is unknown: counted above it, the result
/// would be hundreds of times another.
#[test]
fn a_number_below_the_line_stays_there() {
    let local = shipped();
    let counts = [
        "mmol", "mg", "g", "U", "mL", "cm3", "cm^3", "cm³", "mm3", "m2", "10^6", "10*6", "10⁹", "x10^6", "×10⁹",
        "10E6", "109", "10 9", "10^6个", "cells", "#",
    ];
    let (mut seen, mut known, mut wrong) = (0, 0, Vec::new());
    for above in counts {
        for (number, unit) in [
            ("24", "h"),
            ("24", "小时"),
            ("12", "h"),
            ("8", "h"),
            ("2", "h"),
            ("1", "h"),
            ("100", "mL"),
            ("10", "mL"),
            ("5", "mL"),
            ("1.73", "m2"),
            ("109", "L"),
            ("2.5", "h"),
        ] {
            let wanted = [format!("{above}/{number}{unit}"), format!("{above}/({number}.{unit})")];
            let wanted = wanted.map(|fraction| code(&local, &fraction));
            for between in BETWEEN {
                for power in POWERS {
                    for unit in [below(unit, power), format!(" {}", below(unit, power))] {
                        let form = format!("{above}{between}{number}{unit}");
                        let found = code(&local, &form);
                        seen += 1;
                        known += usize::from(found.is_some());
                        if found.is_some() && !wanted.contains(&found) {
                            wrong.push(format!("{form:?} is {found:?}, not {wanted:?}"));
                        }
                    }
                }
            }
        }
    }
    none(&wrong, seen);
    assert!(known > 10_000, "{known} of {seen}");
}

#[test]
fn what_is_shipped_as_a_target_is_read_as_a_source() {
    let local = shipped();
    let mut wrong = Vec::new();
    // 瓦 says watt; one letter may be short for anything.
    let short = ["A", "B", "H", "K", "N", "P", "R", "T", "V", "W", "eV", "pc", "st", "u"];
    let of_omop = cells("ucum__omop-unit", "source_code");
    for text in of_omop.iter().filter(|code| ucum::validate(code).is_ok()) {
        if code(&local, text).is_none() && !short.contains(&text.as_str()) {
            wrong.push(format!("{text} is not read"));
        }
    }
    for target in targets().into_iter().filter(|code| !short.contains(&code.as_str())) {
        let (found, want) = (code(&local, &target), ucum::printed(&target));
        if found.as_deref() != Some(want.as_str()) {
            wrong.push(format!("{target} is {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_prefix_before_brackets_is_no_unit() {
    let local = shipped();
    let prefixes = ["", "k", "d", "c", "m", "u", "n", "p", "f", "M", "G", "T"];
    let (mut seen, mut wrong) = (0, Vec::new());
    for atom in ucum::codes().filter(|code| code.starts_with('[')) {
        for prefix in prefixes {
            for form in ["#", "#/mL", "#/L", "/#", "10*3.#/L"] {
                let text = form.replace('#', &format!("{prefix}{atom}"));
                if ucum::validate(&text).is_err() {
                    continue;
                }
                seen += 1;
                let found = code(&local, &text);
                if found.as_deref() != Some(ucum::printed(&text).as_str()) {
                    wrong.push(format!("{text} is {found:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} {wrong:#?}", wrong.len());
    assert!(seen > 500, "{seen}");
}
