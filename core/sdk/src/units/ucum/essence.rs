//! The table of prefixes and units, `ucum-essence.xml` as published, read when it is first needed.

use super::{number::Ratio, special::Function};
use crate::units::xml::{self, Element};
use std::{collections::HashMap, sync::LazyLock};

/// The table.
#[derive(Debug, Default)]
pub struct Essence {
    /// Its version.
    pub version: String,
    /// Its prefixes.
    pub prefixes: Vec<Prefix>,
    /// Its units without prefixes.
    pub atoms: Vec<Atom>,
    index: HashMap<String, usize>,
}

/// A prefix such as `m`.
#[derive(Debug)]
pub struct Prefix {
    /// The case-sensitive code.
    pub code: String,
    /// Its name, such as `milli`.
    pub name: String,
    /// What it stands for.
    pub value: Ratio,
}

/// A unit of the table.
#[derive(Debug)]
pub struct Atom {
    /// The case-sensitive code.
    pub code: String,
    /// Its name, such as `meter`.
    pub name: String,
    /// True when prefixes may stand before it.
    pub metric: bool,
    /// True when it can be compared with itself only (UCUM section 2.2).
    pub arbitrary: bool,
    /// What it stands for.
    pub meaning: Meaning,
}

/// What a unit stands for.
#[derive(Debug)]
pub enum Meaning {
    /// The base unit of this index.
    Base(usize),
    /// So many of another unit.
    Times(Ratio, String),
    /// A scale: a function of a number of another unit.
    Scale(Function, Ratio, String),
}

/// Base units: length, time, mass, plane angle, temperature, charge, luminous intensity.
pub const BASES: usize = 7;

static SOURCE: &[u8] = include_bytes!("../../../ucum/ucum-essence.xml");

static ESSENCE: LazyLock<Essence> = LazyLock::new(|| read(SOURCE).unwrap_or_default());

/// The table of this program.
pub fn essence() -> &'static Essence {
    &ESSENCE
}

impl Essence {
    /// A unit by its code without a prefix.
    pub fn atom(&self, code: &str) -> Option<usize> {
        self.index.get(code).copied()
    }

    /// A unit by its code with or without a prefix: the code as a whole goes first, so `cd` is candela.
    pub fn resolve(&self, code: &str) -> Option<(Option<usize>, usize)> {
        if let Some(atom) = self.atom(code) {
            return Some((None, atom));
        }
        self.prefixes.iter().enumerate().find_map(|(index, prefix)| {
            let atom = self.atom(code.strip_prefix(prefix.code.as_str())?)?;
            self.atoms.get(atom)?.metric.then_some((Some(index), atom))
        })
    }
}

fn read(bytes: &[u8]) -> Result<Essence, String> {
    let root = xml::parse(bytes)?;
    let mut table = Essence {
        version: root.attribute("version").unwrap_or_default().to_owned(),
        ..Essence::default()
    };
    let mut bases = 0;
    for element in &root.children {
        let code = element.attribute("Code").ok_or("a unit without a code")?;
        let wrong = || format!("the unit {code:?} does not read");
        match element.name.as_str() {
            "prefix" => table.prefixes.push(Prefix {
                code: code.to_owned(),
                name: name(element),
                value: number(element.child("value").ok_or_else(wrong)?).ok_or_else(wrong)?,
            }),
            "base-unit" => {
                table.add(code, element, Meaning::Base(bases));
                bases += 1;
            }
            "unit" => table.add(code, element, meaning(element).ok_or_else(wrong)?),
            _ => {}
        }
    }
    if bases != BASES {
        return Err("the table has other base units".to_owned());
    }
    Ok(table)
}

impl Essence {
    fn add(&mut self, code: &str, element: &Element, meaning: Meaning) {
        let yes = |attribute| element.attribute(attribute) == Some("yes");
        self.index.insert(code.to_owned(), self.atoms.len());
        self.atoms.push(Atom {
            code: code.to_owned(),
            name: name(element),
            metric: yes("isMetric") || matches!(meaning, Meaning::Base(_)),
            arbitrary: yes("isArbitrary"),
            meaning,
        });
    }
}

fn name(element: &Element) -> String {
    let text = element.child("name").map_or("", |name| name.text.as_str());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn number(value: &Element) -> Option<Ratio> {
    Ratio::parse(value.attribute("value")?)
}

fn meaning(element: &Element) -> Option<Meaning> {
    let value = element.child("value")?;
    if element.attribute("isSpecial") == Some("yes") {
        let function = value.child("function")?;
        let scale = Function::named(function.attribute("name")?)?;
        return Some(Meaning::Scale(
            scale,
            number(function)?,
            function.attribute("Unit")?.to_owned(),
        ));
    }
    Some(Meaning::Times(number(value)?, value.attribute("Unit")?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads() {
        let table = read(SOURCE).unwrap();
        assert_eq!((table.prefixes.len(), table.atoms.len()), (24, 312));
        assert_eq!(table.resolve("cd"), Some((None, table.atom("cd").unwrap())));
        assert_eq!(table.resolve("[in_i]"), Some((None, table.atom("[in_i]").unwrap())));
        assert_eq!(table.resolve("k[in_i]"), None);
    }

    #[test]
    fn no_code_can_be_read_in_two_ways() {
        let table = essence();
        for prefix in &table.prefixes {
            for atom in table.atoms.iter().filter(|atom| atom.metric) {
                let code = format!("{}{}", prefix.code, atom.code);
                let ways = table.prefixes.iter().filter(|other| {
                    let rest = code.strip_prefix(other.code.as_str()).and_then(|rest| table.atom(rest));
                    rest.is_some_and(|atom| table.atoms[atom].metric)
                });
                assert_eq!(ways.count(), 1, "{code}");
            }
        }
    }

    #[test]
    fn no_code_ends_in_a_digit() {
        // The grammar takes trailing digits for an exponent.
        for atom in &essence().atoms {
            assert!(!atom.code.ends_with(|c: char| c.is_ascii_digit()), "{}", atom.code);
        }
    }
}
