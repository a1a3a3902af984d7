//! Names: a code in words; and one of the codes that a unit has.

use super::{
    essence::Essence,
    grammar::{Component, Operator, Term, symbols},
};

/// Units of two codes, and the one that is printed: the litre's L is no digit (UCUM section 4.1, table 5), the other two stand
/// first in what is published.
const TWICE: [(&str, &str); 3] = [("l", "L"), ("[iU]", "[IU]"), ("10^", "10*")];

/// A valid code in the one form that is printed: one code for units of two, no 1 before a solidus, no negative exponents, no
/// parentheses that change nothing, and what is multiplied before what is divided by where the code would begin with a
/// solidus. Annotations stay.
pub fn printed(code: &str, table: &Essence) -> String {
    let plain = over_first(&unparenthesized(&one_code(code, table)));
    match plain.strip_prefix("1/") {
        Some(rest) => format!("/{rest}"),
        None => plain,
    }
}

/// `mmol/(L)` as `mmol/L`, `(mol/L)/s` as `mol/L/s`: parentheses change something around several units behind a solidus only.
fn unparenthesized(code: &str) -> String {
    let mut plain: Vec<&str> = Vec::new();
    // Where each parenthesis opened, and whether there are several units in it.
    let mut open: Vec<(usize, bool)> = Vec::new();
    for (_, piece) in symbols(code) {
        match piece {
            "(" => open.push((plain.len(), false)),
            "." | "/" => {
                if let Some((_, several)) = open.last_mut() {
                    *several = true;
                }
            }
            ")" => {
                let Some((at, several)) = open.pop() else { continue };
                let divided = at.checked_sub(1).and_then(|before| plain.get(before)) == Some(&"/");
                if !(several && divided) {
                    plain.remove(at);
                    if let Some((_, outer)) = open.last_mut() {
                        *outer |= several;
                    }
                    continue;
                }
            }
            _ => {}
        }
        plain.push(piece);
    }
    plain.concat()
}

/// `/L.mmol` as `mmol/L`.
fn over_first(code: &str) -> String {
    let mut depth = 0usize;
    // What is multiplied, and what is divided by.
    let (mut over, mut under): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut divided = false;
    let mut component = String::new();
    for (_, piece) in symbols(code).into_iter().chain([(false, ".")]) {
        match piece {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            "." | "/" if depth == 0 => {
                let side = if divided { &mut under } else { &mut over };
                side.extend(Some(std::mem::take(&mut component)).filter(|unit| !unit.is_empty()));
                divided = piece == "/";
                continue;
            }
            _ => {}
        }
        component.push_str(piece);
    }
    let named = over.iter().any(|unit| !unit.starts_with('{'));
    match code.starts_with('/') && named {
        true => format!("{}/{}", over.join("."), under.join("/")),
        false => code.to_owned(),
    }
}

/// A code with one code for units of two, and without negative exponents.
fn one_code(code: &str, table: &Essence) -> String {
    let code = code
        .strip_prefix("1/")
        .map_or_else(|| code.to_owned(), |rest| format!("/{rest}"));
    let mut plain = String::with_capacity(code.len());
    for (is_symbol, text) in symbols(&code) {
        if !is_symbol {
            plain.push_str(text);
            continue;
        }
        let letters = text.trim_end_matches(|c: char| c.is_ascii_digit());
        let letters = letters.strip_suffix(['+', '-']).unwrap_or(letters);
        let exponent = text.get(letters.len()..).unwrap_or_default();
        let atom = table.resolve(letters).and_then(|(_, atom)| table.atoms.get(atom));
        let code = atom.map_or("", |atom| atom.code.as_str());
        let other = TWICE.iter().find(|(one, _)| *one == code);
        let (prefix, code) = match other.and_then(|(one, other)| Some((letters.strip_suffix(one)?, *other))) {
            Some(named) => named,
            None => (letters, ""),
        };
        // 10*9.L-1 is 10*9/L; a number's power is no unit's.
        let under = exponent
            .strip_prefix('-')
            .filter(|_| !code.starts_with("10") && !prefix.starts_with("10"));
        let exponent = match under {
            Some(power) if plain.ends_with('.') || plain.is_empty() => {
                plain.pop();
                plain.push('/');
                if power == "1" { "" } else { power }
            }
            // m+2, L1
            _ if !letters.is_empty() && exponent == "1" && !letters.starts_with("10") => "",
            _ => exponent.trim_start_matches('+'),
        };
        plain.push_str(prefix);
        plain.push_str(code);
        plain.push_str(exponent);
    }
    plain
}

/// A term in words; annotations are left out.
pub fn name(term: &Term, table: &Essence) -> String {
    if term.0.is_empty() {
        return "(unity)".to_owned();
    }
    let mut words = String::new();
    for (index, (operator, component)) in term.0.iter().enumerate() {
        words.push_str(match (operator, index) {
            (Operator::Times, 0) => "",
            (Operator::Times, _) => " * ",
            (Operator::Over, 0) => "1 / ",
            (Operator::Over, _) => " / ",
        });
        match component {
            Component::Factor(digits) => words.push_str(digits),
            Component::Annotation => words.push('1'),
            Component::Parentheses(term) => {
                words.push('(');
                words.push_str(&name(term, table));
                words.push(')');
            }
            Component::Simple { prefix, atom, exponent } => {
                let prefix = prefix.and_then(|prefix| table.prefixes.get(prefix));
                words.push('(');
                words.push_str(prefix.map_or("", |prefix| &prefix.name));
                words.push_str(table.atoms.get(*atom).map_or("", |atom| &atom.name));
                if let Some(exponent) = exponent {
                    words.push_str(&format!(" ^ {exponent}"));
                }
                words.push(')');
            }
        }
    }
    words
}
