//! Powers as they are typed: `10^{9}` in the habit of LaTeX, `10^(9)`, `10 ^ 9` and `L**-1` say `10^9` and `L^-1`. Braces hold
//! annotations in UCUM, which stand for nothing: a power in braces would be lost.

use super::product::ends_unit;

/// A text in one kind of characters, with its powers of ten and of units behind a caret.
pub fn raised(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    let mut depth = 0usize;
    while let Some(c) = rest.chars().next() {
        if depth == 0
            && let Some((sign, digits, behind)) = power(plain.trim_end(), rest)
        {
            plain.truncate(plain.trim_end().len());
            plain.extend(["^", sign, digits]);
            // 10^{6}24h-1: what a bracket ended is no longer number.
            if behind.starts_with(|c: char| c.is_ascii_digit()) {
                plain.push(' ');
            }
            rest = behind;
            continue;
        }
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        plain.push(c);
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    plain
}

/// The power that a text begins with, behind a ten or a unit: its sign, its digits, what follows. Behind ten an asterisk or
/// a bracket alone says so too; in brackets there are two digits at most.
fn power<'t>(before: &str, text: &'t str) -> Option<(&'t str, &'t str, &'t str)> {
    let ten = is_ten(before);
    if !ten && !before.ends_with(ends_unit) {
        return None;
    }
    let text = text.trim_start();
    let caret = text.strip_prefix("**").or_else(|| text.strip_prefix('^'));
    let caret = caret.or_else(|| text.strip_prefix('*').filter(|_| ten));
    let inner = caret.unwrap_or(text).trim_start();
    let (inner, end) = match inner.chars().next()? {
        '{' => (inner.get(1..)?, "}"),
        '(' => (inner.get(1..)?, ")"),
        _ => (inner, ""),
    };
    let brackets = !end.is_empty();
    if caret.is_none() && !(ten && brackets) {
        return None;
    }
    let unsigned = inner.trim_start().trim_start_matches(['-', '+']);
    let sign = inner.get(..inner.len() - unsigned.len())?.trim_start();
    let unsigned = unsigned.trim_start();
    let length = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let (digits, behind) = unsigned.split_at(length);
    let behind = match brackets {
        true => behind.trim_start().strip_prefix(end)?,
        false => behind,
    };
    let fits = !digits.is_empty() && sign.len() < 2 && (!brackets || digits.len() < 3);
    fits.then_some((sign, digits, behind))
}

/// Whether a text ends in a ten, and in no other number.
fn is_ten(text: &str) -> bool {
    let number = |c: char| c.is_ascii_digit() || c == '.';
    text.strip_suffix("10").is_some_and(|before| {
        let decimal = before.strip_suffix('.').is_some_and(|before| before.ends_with(number));
        !decimal && !before.ends_with(|c: char| c.is_ascii_digit())
    })
}

/// Whether a number stands in braces. It was meant to be a power or a number of something, and no annotation.
pub fn is_annotated_by_number(spelling: &str) -> bool {
    spelling.split('{').skip(1).any(|rest| {
        let inside = rest.split('}').next().unwrap_or_default();
        let number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '^' | '.');
        inside.contains(|c: char| c.is_ascii_digit()) && inside.chars().all(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_behind_a_caret() {
        for (text, want) in [
            ("10^{9}/L", "10^9/L"),
            ("10^{ 9 }/L", "10^9/L"),
            ("10*{9}/L", "10^9/L"),
            ("10{9}/L", "10^9/L"),
            ("10^(9)/L", "10^9/L"),
            ("10 (6)", "10^6"),
            ("10 ^ 9/L", "10^9/L"),
            ("10^ 3.30 min-1", "10^3.30 min-1"),
            ("10**9/L", "10^9/L"),
            ("10^{-3}", "10^-3"),
            ("10^{6}24h-1", "10^6 24h-1"),
            ("U/L.10^{3}", "U/L.10^3"),
            ("mmol L^{-1}", "mmol L^-1"),
            ("mmol L**-1", "mmol L^-1"),
            ("mmol/L^(-1)", "mmol/L^-1"),
            ("kg m^{2}", "kg m^2"),
        ] {
            assert_eq!(raised(text), want, "{text}");
        }
        for text in [
            "",
            "10",
            "10 9/L",
            "109/L",
            "100{WBC}",
            "100{9}",
            "0.10{9}",
            "10{WBC}",
            "10*L",
            "10^{9",
            "10^{330}",
            "mL{-1}",
            "{Log_10*3}/mL",
            "dB[10.nV]",
            "mg*L",
            "mL/min*1.73m2",
            "mL/min/(1.73m2)",
        ] {
            assert_eq!(raised(text), text);
        }
    }

    #[test]
    fn numbers_in_braces() {
        for spelling in ["10{330}/L", "mmol.L{-1}", "{9}", "L{^-1}"] {
            assert!(is_annotated_by_number(spelling), "{spelling}");
        }
        for spelling in ["mL/min/{1.73_m2}", "/100{WBC}", "{}", "mg{FEU}/L", "{-}", "10*9/L"] {
            assert!(!is_annotated_by_number(spelling), "{spelling}");
        }
    }
}
