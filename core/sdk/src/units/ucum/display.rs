//! Names: a code in words.

use super::{
    essence::Essence,
    grammar::{Component, Operator, Term},
};

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
