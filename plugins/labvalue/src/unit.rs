//! What could be a unit behind a number, and the power of ten that a unit begins with.

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

/// Whether a text could be a unit. It is not looked up: that is for the step `units`.
pub fn is_unit(text: &str) -> bool {
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
        || ["m2", "m3", "cmH2O"].iter().any(|end| text.ends_with(end));
    if !powers || text.starts_with(['x', 'X']) || NO_UNITS.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return false;
    }
    let short = text.contains(['/', '(', '[']) || text.chars().count() <= 10;
    text.len() <= 40 && begins && named && short && text.chars().all(|c| fits(c) || (spaced && c == ' '))
}

/// Prefixes of counts, in units as they are written: `G/L` is 10^9 per litre, `K/uL` thousands per microlitre.
const COUNTS: [(&str, i32); 14] = [
    ("G/L", 9),
    ("G/l", 9),
    ("T/L", 12),
    ("T/l", 12),
    ("E9/", 9),
    ("E12/", 12),
    ("K/", 3),
    ("k/", 3),
    ("M/", 6),
    ("m/u", 6),
    ("m/mc", 6),
    ("thou/", 3),
    ("mil/", 6),
    ("1000/", 3),
];

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
    let bare = unit.trim_start_matches(['x', 'X', '*', '.', ' ']);
    let Some(rest) = bare.strip_prefix("10") else {
        return Some(0);
    };
    let signed = rest.trim_start_matches(['^', '*', 'e', 'E', '\'', '~', '的', ' ']);
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
            ("m/uL", Some(6)),
            ("1000/uL", Some(3)),
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
