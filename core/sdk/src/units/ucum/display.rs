//! Names: a code in words; and one of the codes that a unit has.

use super::{
    essence::Essence,
    grammar::{Component, Operator, Term, symbols},
};

/// Units of two codes, and the one that is printed: the litre's L is no digit (UCUM section 4.1, table 5), the other two stand
/// first in what is published.
const TWICE: [(&str, &str); 3] = [("l", "L"), ("[iU]", "[IU]"), ("10^", "10*")];

/// A valid code in the one form that is printed: one code for units of two, no 1 before a solidus and no negative exponents
/// behind the first unit. Annotations stay.
pub fn printed(code: &str, table: &Essence) -> String {
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
            _ => exponent,
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
