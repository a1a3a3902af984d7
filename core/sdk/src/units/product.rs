//! Units as products: `mmol L-1`, `mmol·L⁻¹` and `mmol*L^-1` say what `mmol/L` says. They are written so before they are looked
//! up, so that neither ever means what the other does not.

/// Whether a unit may end in this, so that a sign behind it is one of its power.
pub fn ends_unit(c: char) -> bool {
    c.is_alphabetic() || matches!(c, ']' | ')' | '}' | '%' | '‰' | '#' | '°' | '\'')
}

/// A text in one kind of characters, its blanks kept, with a solidus before each unit that has a negative power behind another
/// one: `K uL-1` as `K/uL`, `kg m-2` as `kg/m2`, `mmol 24h-1` as `mmol/24h`.
pub fn over(text: &str) -> String {
    let text = raised(text);
    let words = words(&text);
    if let [(_, word)] = words.as_slice() {
        return alone(word).unwrap_or(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut at = 0;
    while let Some((gap, word)) = words.get(at) {
        at += 1;
        if plain.ends_with(|c: char| ends_unit(c) || c.is_ascii_digit()) {
            // min-1/1.73m2
            let first = || {
                let (first, rest) = word.split_once('/')?;
                Some(format!("{}/{rest}", under(first)?))
            };
            if let Some(unit) = under(word).or_else(first) {
                plain.push('/');
                plain.push_str(&unit);
                continue;
            }
            // 24 h-1: the number is of the unit behind it; of ten it is the power (10 9 L-1, exp 9 L-1).
            let of_ten =
                (plain.ends_with("10") || plain.ends_with("exp")) && word.parse::<u8>().is_ok_and(|power| power <= 12);
            let next = words.get(at).and_then(|(_, next)| under(next));
            if let Some(unit) = next.filter(|unit| !of_ten && is_number(word) && number(unit).is_empty()) {
                plain.push('/');
                plain.push_str(word);
                plain.push_str(&unit);
                at += 1;
                continue;
            }
        }
        plain.push_str(&gap.replace('*', "."));
        plain.push_str(word);
    }
    plain
}

/// `L^-1`, `L^(-1)` and `L -1` as `L-1`: a caret behind a unit stands before its power, and so does a blank before a sign.
fn raised(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let behind = rest.get(c.len_utf8()..).unwrap_or_default();
        let unit = plain.trim_end().ends_with(ends_unit);
        let signed = || {
            let inner = rest.trim_start().trim_start_matches('^').trim_start();
            let (inner, end) = inner.strip_prefix('(').map_or((inner, ""), |inner| (inner, ")"));
            let power = inner.trim_start().strip_prefix('-')?.trim_start();
            let digit = power.chars().next().filter(|c| matches!(c, '1'..='9'))?;
            let after = power.get(1..)?.strip_prefix(end)?;
            (!after.starts_with(|c: char| c.is_ascii_alphanumeric())).then_some((digit, after))
        };
        if unit
            && (c == '^' || c == '-' || c == '(' || c.is_whitespace())
            && let Some((digit, after)) = signed()
        {
            plain.truncate(plain.trim_end().len());
            plain.extend(['-', digit]);
            rest = after;
            continue;
        }
        let square = c == '^' && unit && behind.starts_with(|c: char| c.is_ascii_digit());
        if !square {
            plain.push(c);
        }
        rest = behind;
    }
    plain
}

/// The words of a text, each with the gap before it: blanks, points and asterisks between units, outside of brackets.
fn words(text: &str) -> Vec<(&str, &str)> {
    let mut words = Vec::new();
    let (mut gap, mut begin) = (0, None);
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        let (before, behind) = (
            text.get(..at).unwrap_or_default(),
            text.get(at + c.len_utf8()..).unwrap_or_default(),
        );
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let parts = match c {
            _ if depth > 0 => false,
            '.' => !is_decimal(before, behind),
            '*' => {
                before.ends_with(|c: char| ends_unit(c) || c.is_ascii_digit() || c.is_whitespace())
                    && behind.trim_start().starts_with(|c: char| c.is_alphabetic() || c == '(')
            }
            c => c.is_whitespace(),
        };
        match (parts, begin) {
            (true, Some(start)) => {
                words.push((
                    text.get(gap..start).unwrap_or_default(),
                    text.get(start..at).unwrap_or_default(),
                ));
                (gap, begin) = (at, None);
            }
            (false, None) => begin = Some(at),
            _ => {}
        }
    }
    let start = begin.unwrap_or(text.len());
    words.push((
        text.get(gap..start).unwrap_or_default(),
        text.get(start..).unwrap_or_default(),
    ));
    words
}

/// Whether a point stands in a number, as in 1.73, and not behind a power, as in `min-1.1.73m-2` and `10^9.24h-1`.
fn is_decimal(before: &str, behind: &str) -> bool {
    let number = before.trim_end_matches(|c: char| c.is_ascii_digit());
    let power = number.ends_with(|c: char| ends_unit(c) || matches!(c, '-' | '^' | '*'));
    let after = behind.trim_start_matches(|c: char| c.is_ascii_digit());
    // 9.2.5 is 9 and 2.5.
    let another = after
        .strip_prefix('.')
        .is_some_and(|c| c.starts_with(|c: char| c.is_ascii_digit()));
    number.len() < before.len() && !power && after.len() < behind.len() && !another
}

/// What a word divides by: `L` of `L-1`, `m2` of `m-2`, `24h` of `24h-1` and of `(24.h)-1`.
fn under(word: &str) -> Option<String> {
    let unit = word.trim_end_matches(|c: char| matches!(c, '1'..='9'));
    let power = word.get(unit.len()..)?;
    let unit = unit.strip_suffix('-').filter(|_| power.len() == 1)?;
    if let Some(inner) = unit.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        let number = number(inner);
        let of = inner.get(number.len()..)?.trim_start_matches(['.', ' ']);
        return match (is_number(number), power) {
            (_, power) if power != "1" || inner.contains(['(', '/']) => None,
            (true, _) => Some(format!("{number}{of}")),
            (false, _) => Some(format!("({inner})")),
        };
    }
    let number = number(unit);
    let of = unit.get(number.len()..)?;
    let outside = of.split('[').enumerate().filter_map(|(at, part)| match at {
        0 => Some(part),
        _ => part.split_once(']').map(|(_, rest)| rest),
    });
    let mut outside = outside.flat_map(|part| part.split('{').take(1)).flat_map(str::chars);
    let letters = of.ends_with(ends_unit) && !of.contains(['(', ')', '/']) && outside.all(char::is_alphabetic);
    let annotated = of.ends_with('}') && power != "1";
    let counted = number.is_empty() || is_number(number);
    let power = if power == "1" { "" } else { power };
    (letters && !annotated && counted).then(|| format!("{number}{of}{power}"))
}

/// A text that is one word: `min-1` as `/min`, `10^9L-1` as `10^9/L`. `UL-1` is left as it is: it may have lost a blank; and
/// so is `10612h-1`, which may be 10⁶ and 12 hours.
fn alone(word: &str) -> Option<String> {
    let end = word.rfind('-')?;
    let digit = word.get(..end)?.rfind(|c: char| c.is_ascii_digit());
    let (count, unit) = word.split_at(digit.map_or(0, |at| at + 1));
    let divisor = under(unit).filter(|_| number(unit).is_empty())?;
    let power = count.trim_start_matches(['x', 'X', '*']);
    let litre = matches!(divisor.as_bytes(), [b'A'..=b'Z', b'L' | b'l']);
    match count.is_empty() {
        true => (!litre && !unit.starts_with('(')).then(|| format!("/{divisor}")),
        false => is_count(power).then(|| format!("{count}/{divisor}")),
    }
}

/// The number that a text begins with.
fn number(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    text.get(..end).unwrap_or_default().trim_end_matches('.')
}

/// Whether a number is a power of ten that something is counted by: `10^9`, `10E9`, `109`.
fn is_count(number: &str) -> bool {
    let power = number.strip_prefix("10").map(|power| {
        let signs = ['^', '*', 'e', 'E', '\'', '~', ' '];
        power.trim_start_matches(signs).trim_start_matches('0')
    });
    power.is_some_and(|power| power.parse::<u8>().is_ok_and(|power| power <= 12))
}

/// Numbers that may stand below the line: 24 hours, 100 cells, the body surface. 109 is what is left of 10⁹.
fn is_number(text: &str) -> bool {
    let digits = !text.is_empty() && text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let decimal = || text.parse::<f64>().is_ok() && text.contains('.');
    matches!(text, "10" | "100") || (digits && !text.starts_with("10")) || decimal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_fractions() {
        for (text, want) in [
            ("mmol L-1", "mmol/L"),
            ("mmol.L-1", "mmol/L"),
            ("mmol . L-1", "mmol/L"),
            ("mmol*L^-1", "mmol/L"),
            ("mmol L^(-1)", "mmol/L"),
            ("mmol.L(-1)", "mmol/L"),
            ("mmol L -1", "mmol/L"),
            ("mmol L - 1", "mmol/L"),
            ("kg m-2", "kg/m2"),
            ("kg.m^-2", "kg/m2"),
            ("10^9 L-1", "10^9/L"),
            ("10*9.L-1", "10*9/L"),
            ("10^9*L-1", "10^9/L"),
            ("10^9L-1", "10^9/L"),
            ("x109L-1", "x109/L"),
            ("109 L-1", "109/L"),
            ("10 9 L-1", "10 9/L"),
            ("mmol 24h-1", "mmol/24h"),
            ("mmol 24 h-1", "mmol/24h"),
            ("mmol (24 h)-1", "mmol/24h"),
            ("exp 9 L-1", "exp 9/L"),
            ("# L-1", "#/L"),
            ("mmol.(24.h)-1", "mmol/24h"),
            ("mL min-1 1.73m-2", "mL/min/1.73m2"),
            ("mL.min-1.1.73m-2", "mL/min/1.73m2"),
            ("mL.min-1/1.73m2", "mL/min/1.73m2"),
            ("mL.min-1.(1.73m2)-1", "mL/min/1.73m2"),
            ("mL min-1 (1.73 m2)-1", "mL/min/1.73m2"),
            ("mL/min.kg-1", "mL/min/kg"),
            ("mg L-1 FEU", "mg/L FEU"),
            ("m[IU].mL-1", "m[IU]/mL"),
            ("g.(24.h.kg)-1", "g/24h.kg"),
            ("10^9.24h-1", "10^9/24h"),
            ("10*6.24 h-1", "10*6/24h"),
            ("x10^6.12h-1", "x10^6/12h"),
            ("10^6.100mL-1", "10^6/100mL"),
            ("10^6.100 mL-1", "10^6/100mL"),
            ("cm3.24 h-1", "cm3/24h"),
            ("cm^3 24 h-1", "cm3/24h"),
            ("mm3.100 mL-1", "mm3/100mL"),
            ("10 9 h-1", "10 9/h"),
            ("min-1", "/min"),
            ("[HPF]-1", "/[HPF]"),
        ] {
            assert_eq!(over(text), want, "{text}");
        }
        for text in [
            "",
            "-",
            "/",
            "mmol/L",
            "mmol/L-1",
            "mmol / L-1",
            "mm Hg",
            "10^9/L",
            "10*-3",
            "10^-3/uL",
            "UL-1",
            "ML-1",
            "10612h-1",
            "*10^330min-1",
            "mL/min/{1.73_m2}",
            "mL/min*1.73m2",
            "L-1.mmol",
            "PEI-U/mL",
            "U 109L-1",
            "103",
            "-1",
            "((",
            "1.5",
            "m2",
        ] {
            assert_eq!(over(text), text);
        }
        assert_eq!(over("mm[Hg]*s"), "mm[Hg].s");
        assert_eq!(over("m^2"), "m2");
    }
}
