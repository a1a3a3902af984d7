//! What could be a unit behind a number, and the power of ten that a unit begins with.

use clinmill_sdk::units::divided;

/// Han characters that units are written with.
const HAN: &str = "次分钟个毫微纳皮飞克升摩尔秒小时天日年岁单位国际米厘千卡焦帕汞柱水度万亿百视野高低倍每人拷贝";

/// Words behind a number that say something else.
const NO_UNITS: [&str; 14] = [
    "low",
    "high",
    "critical",
    "panic",
    "alert",
    "verified",
    "checked",
    "repeat",
    "repeated",
    "corrected",
    "final",
    "see",
    "note",
    "est",
];

/// Words in front of a unit: the number is the logarithm of an amount of it.
const LOGARITHMS: [&str; 3] = ["log10", "log", "lg"];

/// Whether a hyphen in a unit stands before an exponent (`min-1`) or a letter; behind a solidus, and before other numbers, it
/// is that of a range: `g/L-5g/L`.
fn hyphens(text: &str) -> bool {
    text.match_indices('-').all(|(at, _)| {
        let behind = text.get(at + 1..).unwrap_or_default();
        let mut after = behind.chars();
        match (after.next(), after.next()) {
            (Some('1'..='3'), None) => !text.contains('/'),
            (Some('1'), Some('.')) => behind.starts_with("1.73"),
            (Some('1'..='3'), Some(next)) => {
                !text.contains('/') && !next.is_ascii_alphanumeric() && !"%.".contains(next)
            }
            (first, _) => first.is_none_or(|c| !c.is_ascii_digit()),
        }
    })
}

/// Whether a text could be a unit. It is not looked up: that is for the step `units`.
pub fn is_unit(text: &str) -> bool {
    let amount = LOGARITHMS.iter().find_map(|word| {
        let (head, rest) = text.split_at_checked(word.len())?;
        let amount = rest.trim_start_matches([' ', '(']).trim_end_matches(')');
        (head.eq_ignore_ascii_case(word) && amount.contains('/')).then_some(amount)
    });
    if let Some(amount) = amount {
        return is_unit(amount);
    }
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || "%/μ°℃℉‰#㎡".contains(c) || HAN.contains(c))
        || ((text.starts_with("10^") || text.starts_with("10*")) && text.contains('/'));
    // Behind a solidus comes a name, not a number: 1/*17 is a gene's alleles.
    let named = !text.starts_with('/')
        || text
            .get(1..)
            .unwrap_or_default()
            .starts_with(|c: char| c.is_alphabetic() || "[({".contains(c));
    let fits = |c: char| c.is_ascii_alphanumeric() || "%/^*.·μ°℃℉‰㎡()[]{}_#'-".contains(c) || HAN.contains(c);
    let spaced = ["mm Hg", "cm H2O", "kg H2O", "L FEU", "L DDU", "l FEU", "l DDU"]
        .iter()
        .any(|end| text.ends_with(end));
    // Without a solidus or a power, digits are those of squares and cubes: 2C19 and 0x1F are no values.
    let powers = text.contains(['/', '^', '*', '(', '[', '{', '.'])
        || spaced
        || !text.contains(|c: char| c.is_ascii_digit())
        || ["m2", "m3", "mH2O"].iter().any(|end| text.ends_with(end));
    if !powers
        || !hyphens(text)
        || text.starts_with(['x', 'X'])
        || NO_UNITS.iter().any(|word| word.eq_ignore_ascii_case(text))
    {
        return false;
    }
    let short = text.contains(['/', '(', '[']) || text.chars().count() <= 10;
    text.len() <= 40 && begins && named && short && text.chars().all(|c| fits(c) || (spaced && c == ' '))
}

/// Prefixes of counts, in units as they are written: `G/L` is 10^9 per litre, `K/uL` thousands per microlitre; those that
/// begin others come after them.
const COUNTS: [(&str, i32); 38] = [
    ("G/L", 9),
    ("G/l", 9),
    ("Giga", 9),
    ("giga", 9),
    ("exp 9", 9),
    ("T/L", 12),
    ("T/l", 12),
    ("t/L", 12),
    ("t/l", 12),
    ("Tera", 12),
    ("tera", 12),
    ("E3/", 3),
    ("E6/", 6),
    ("E9/", 9),
    ("E12/", 12),
    ("K/", 3),
    ("k/", 3),
    ("M/", 6),
    ("m/u", 6),
    ("m/mc", 6),
    ("m/mm", 6),
    ("m/cumm", 6),
    ("TH/", 3),
    ("th/", 3),
    ("Th/", 3),
    ("thou", 3),
    ("Thou", 3),
    ("mil/", 6),
    ("MIL/", 6),
    ("mill", 6),
    ("Mill", 6),
    ("MILL", 6),
    ("1000/", 3),
    ("lakh", 5),
    ("千/", 3),
    ("百万", 6),
    ("万", 4),
    ("亿", 8),
];

/// `K/uL` of `K uL-1`: the power of a product is that of the fraction. A dash behind digits was [folded](crate::fold) to the
/// sign of a range.
fn fraction(unit: &str) -> Option<String> {
    let (above, power) = unit.split_at(unit.trim_end_matches(|c: char| c.is_ascii_digit()).len());
    let dash = above.ends_with(['-', '~', '–', '—', '―', '‒']) && !power.is_empty();
    let above = above.trim_end_matches(['-', '~', '–', '—', '―', '‒']);
    let fraction = (dash && above.ends_with(|c: char| c.is_alphabetic() || "^ ])}".contains(c)))
        .then(|| divided(&format!("{above}-{power}")))?;
    (fraction.contains('/') && !unit.contains('/')).then_some(fraction)
}

/// The power of ten that a folded unit begins with, such as 9 of `x10^9/L`, `10*9/L`, `109/L` and `G/L`; 0 of a unit that
/// begins with none. Nothing where the text is no unit, such as a dash.
pub fn tens(unit: &str) -> Option<i32> {
    if !unit.contains(|c: char| c.is_alphanumeric() || "%‰℃℉㎡".contains(c)) || unit == "无" {
        return None;
    }
    let count = COUNTS.iter().find(|(prefix, _)| unit.starts_with(prefix));
    if let Some((_, power)) = count {
        return Some(*power);
    }
    if let Some(fraction) = fraction(unit) {
        return tens(&fraction);
    }
    // As the step `units` reads it: 10^{9}/L, 1E9/L, K·uL^{-1}.
    let plain = divided(unit);
    if let Some(power) = plain.strip_prefix("10*") {
        let end = power
            .find(|c: char| !c.is_ascii_digit() && c != '-')
            .unwrap_or(power.len());
        if let Some(power) = power.get(..end).and_then(|power| power.parse().ok()) {
            return Some(power);
        }
    }
    if let Some((_, power)) = COUNTS.iter().find(|(prefix, _)| plain.starts_with(prefix)) {
        return Some(*power);
    }
    let bare = unit.trim_start_matches(['x', 'X', '*', '.', ' ']);
    let Some(rest) = bare.strip_prefix("10") else {
        return Some(0);
    };
    let signed = rest.trim_start_matches(['^', '*', 'e', 'E', '\'', '~', '的', '(', ' ']);
    let end = signed.find(|c: char| !c.is_ascii_digit() && c != '-' && c != '+');
    let (digits, behind) = signed.split_at(end.unwrap_or(signed.len()));
    // A superscript that was lost, 109/L: nothing is counted per 109 litres.
    let lost = signed.len() == rest.len() && !behind.starts_with(['/', '个']);
    match digits.parse() {
        Ok(power) if !lost => Some(power),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::fold;
    use std::{fs, path::Path};

    #[test]
    fn what_could_be_a_unit() {
        for unit in [
            "mmol/L",
            "lg IU/mL",
            "log10 copies/mL",
            "Log(IU/mL)",
            "mmH2O",
            "mL.min-1",
            "mL/min-1.73m2",
            "g-Hb",
        ] {
            assert!(is_unit(unit), "{unit}");
        }
        for unit in ["%-5.5%", "g/L-5g/L", "g/dL-55g/L", "g/L-5", "g/L-1"] {
            assert!(!is_unit(unit), "{unit}");
        }
    }

    /// A power that the step `units` sees in a unit and this one does not would be counted twice.
    #[test]
    fn the_powers_of_the_shipped_spellings_are_seen() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings/units-local__ucum/map.csv");
        let table = fs::read_to_string(path).unwrap();
        let mut seen = 0;
        for line in table.lines() {
            let cells: Vec<&str> = line.split(',').collect();
            let Some(power) = cells
                .get(3)
                .and_then(|code| code.strip_prefix("10*")?.split(['/', '.', '{']).next())
            else {
                continue;
            };
            let mut folded = String::new();
            fold(cells[1], &mut folded);
            seen += 1;
            // Thousandths are no count.
            if let Ok(power @ 1..) = power.parse() {
                assert_eq!(tens(&folded), Some(power), "{}", cells[1]);
            }
        }
        assert!(seen > 100, "{seen}");
    }

    #[test]
    fn the_power_of_a_unit() {
        for (unit, want) in [
            ("10^9/L", Some(9)),
            ("x10^9/L", Some(9)),
            ("x10^9", Some(9)),
            ("10*9/L", Some(9)),
            ("*10E12/L", Some(12)),
            ("10 9/L", Some(9)),
            ("109/L", Some(9)),
            ("1010/L", Some(10)),
            ("10^9个/L", Some(9)),
            ("10的9次方/L", Some(9)),
            ("G/L", Some(9)),
            ("T/L", Some(12)),
            ("K/uL", Some(3)),
            ("TH/uL", Some(3)),
            ("10(3)/mcL", Some(3)),
            ("x10 (6)", Some(6)),
            ("m/uL", Some(6)),
            ("1000/uL", Some(3)),
            ("109 L-1", Some(9)),
            ("103.μL-1", Some(3)),
            ("10 9 L^-1", Some(9)),
            ("10^9·L~1", Some(9)),
            ("109 L~1", Some(9)),
            ("K uL-1", Some(3)),
            ("K uL^-1", Some(3)),
            ("K uL–1", Some(3)),
            ("G L-1", Some(9)),
            ("10*3 mm-3", Some(3)),
            ("10^{9}/L", Some(9)),
            ("10{12}/L", Some(12)),
            ("10^(9)/L", Some(9)),
            ("10^{9}·L^{-1}", Some(9)),
            ("10^ 9/L", Some(9)),
            ("10E+09/L", Some(9)),
            ("1x10^9/L", Some(9)),
            ("1E9/L", Some(9)),
            ("K·uL^{-1}", Some(3)),
            ("10.9/L", Some(0)),
            ("mmol L-1", Some(0)),
            ("min-1", Some(0)),
            ("109-1", Some(0)),
            ("g/L", Some(0)),
            ("/L", Some(0)),
            ("100/L", Some(0)),
            ("10", Some(0)),
            ("%", Some(0)),
            ("次/分", Some(0)),
            ("m/s", Some(0)),
            ("", None),
            ("-", None),
            ("无", None),
        ] {
            assert_eq!(tens(unit), want, "{unit}");
        }
    }
}
