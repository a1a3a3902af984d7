//! The header of an input: finds the columns that the options name and collects what is missing.

use crate::{error, plan::Place};
use clinmill_sdk::PluginError;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Near matches that an error names for each missing column.
const NEAR: usize = 3;
/// Names of a header that an error lists.
const LISTED: usize = 40;
/// Characters of each.
const LONGEST: usize = 60;

/// The column names of one input.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// The names, in order.
    pub names: &'a [String],
    /// Where the header stands.
    pub offset: u64,
}

impl<'a> Header<'a> {
    /// A finder over these names and the captured path names.
    pub fn finder(self, captures: &'a BTreeMap<String, String>) -> Finder<'a> {
        let mut index: HashMap<&str, (usize, bool)> = HashMap::with_capacity(self.names.len());
        for (i, name) in self.names.iter().enumerate() {
            index
                .entry(name.trim())
                .and_modify(|(_, twice)| *twice = true)
                .or_insert((i, false));
        }
        Finder {
            header: self,
            captures,
            index,
            named: BTreeSet::new(),
            missing: BTreeMap::new(),
            absent: BTreeSet::new(),
            is_known: false,
            twice: BTreeSet::new(),
        }
    }
}

/// Finds columns by name; what is not there is reported at the end, all of it.
pub struct Finder<'a> {
    header: Header<'a>,
    captures: &'a BTreeMap<String, String>,
    index: HashMap<&'a str, (usize, bool)>,
    named: BTreeSet<usize>,
    /// What is missing, and whether an option may say that it can be.
    missing: BTreeMap<String, bool>,
    /// What is not there and need not be.
    absent: BTreeSet<String>,
    /// A column was found.
    is_known: bool,
    twice: BTreeSet<String>,
}

impl Finder<'_> {
    /// A column, or else a captured path name.
    pub fn place(&mut self, name: &str) -> Place {
        if !self.index.contains_key(name.trim())
            && let Some(value) = self.captures.get(name)
        {
            return Place::Constant(value.clone());
        }
        self.field(name)
            .map_or_else(|| Place::Constant(String::new()), Place::Field)
    }

    /// A column of the records, or else a captured path name.
    pub fn column(&mut self, name: &str, is_optional: bool) -> Place {
        if self.index.contains_key(name.trim()) || self.captures.contains_key(name) {
            return self.place(name);
        }
        if is_optional {
            self.absent.insert(name.to_owned());
        } else {
            self.missing.entry(name.to_owned()).or_insert(true);
        }
        Place::Absent
    }

    /// A column.
    pub fn field(&mut self, name: &str) -> Option<usize> {
        let field = self.cell(name)?;
        self.named.insert(field);
        Some(field)
    }

    /// A column that becomes records: does not count as named.
    pub fn cell(&mut self, name: &str) -> Option<usize> {
        match self.index.get(name.trim()) {
            Some((_, true)) => {
                self.twice.insert(name.to_owned());
                None
            }
            Some((field, false)) => {
                self.is_known = true;
                Some(*field)
            }
            None => {
                self.missing.insert(name.to_owned(), false);
                None
            }
        }
    }

    /// All columns that nothing else names; those under an empty header have an empty name.
    pub fn unnamed(&mut self, except: &BTreeSet<&str>) -> Vec<(usize, String)> {
        for name in except.iter().filter(|name| !name.is_empty()) {
            let _ = self.cell(name);
        }
        let mut cells = Vec::new();
        for (i, name) in self.header.names.iter().enumerate() {
            let name = name.trim();
            if self.named.contains(&i) || except.contains(name) {
                continue;
            }
            if !name.is_empty() && self.index.get(name).is_some_and(|(_, twice)| *twice) {
                self.twice.insert(name.to_owned());
                continue;
            }
            cells.push((i, name.to_owned()));
        }
        self.is_known |= !cells.is_empty();
        cells
    }

    /// All that was not found.
    ///
    /// # Errors
    /// `TABLE_MISSING_COLUMN`, `TABLE_DUPLICATE_COLUMN`.
    pub fn finish(mut self) -> Result<(), PluginError> {
        // A row that has nothing of what is asked for is no header, whatever it may lack.
        if !self.is_known && self.twice.is_empty() {
            let absent = std::mem::take(&mut self.absent);
            self.missing.extend(absent.into_iter().map(|name| (name, false)));
        }
        if !self.missing.is_empty() {
            let missing: Vec<String> = self.missing.keys().map(|name| self.described(name)).collect();
            let mut message = format!("the header lacks {}; {}", missing.join(", "), self.there());
            if !self.named.is_empty() && self.missing.values().any(|may_lack| *may_lack) {
                message.push_str("; a column that files may lack has `optional: true`");
            }
            return Err(PluginError::data(self.header.offset, error::MISSING_COLUMN, message));
        }
        if !self.twice.is_empty() {
            let twice: Vec<String> = self.twice.iter().map(|name| format!("{name:?}")).collect();
            let message = format!("the header has more than one column {}", twice.join(", "));
            return Err(PluginError::data(self.header.offset, error::DUPLICATE_COLUMN, message));
        }
        Ok(())
    }

    /// The header's names; or, where none of them is a name that the options have, what may be wrong: the row may then
    /// be no header, and hold values.
    fn there(&self) -> String {
        if self.named.is_empty() {
            return "it has none of the columns that the options name: is `header_row` right, and `delimiter`?"
                .to_owned();
        }
        let short = |name: &String| format!("{:?}", name.trim().chars().take(LONGEST).collect::<String>());
        let mut names: Vec<String> = self.header.names.iter().take(LISTED).map(short).collect();
        if self.header.names.len() > LISTED {
            names.push(format!("and {} more", self.header.names.len() - LISTED));
        }
        format!("it has {}", names.join(", "))
    }

    /// A missing name with the header's names that are like it. Only close ones: a file without a header would
    /// otherwise show its first row.
    fn described(&self, name: &str) -> String {
        let mut near: Vec<(f64, &str)> = self
            .index
            .keys()
            .filter(|other| other.len() <= 200)
            .map(|other| (strsim::normalized_damerau_levenshtein(name, other), *other))
            .filter(|(likeness, _)| *likeness >= 0.5)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        near.truncate(NEAR);
        if near.is_empty() {
            return format!("{name:?}");
        }
        let near: Vec<String> = near.iter().map(|(_, other)| format!("{other:?}")).collect();
        format!("{name:?} (is it {}?)", near.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_may_be_missing() {
        let names = ["id", "unit", "unit "].map(str::to_owned);
        let captures = BTreeMap::from([("ward".to_owned(), "7".to_owned())]);
        let header = Header {
            names: &names,
            offset: 0,
        };
        let mut finder = header.finder(&captures);
        assert_eq!(finder.column("id", true), Place::Field(0));
        assert_eq!(finder.column("ward", true), Place::Constant("7".to_owned()));
        assert_eq!(finder.column("day", true), Place::Absent);
        assert!(finder.finish().is_ok());
        let mut finder = header.finder(&captures);
        finder.column("unit", true);
        assert_eq!(finder.finish().unwrap_err().code, error::DUPLICATE_COLUMN);
        // What another option needs as well is not one that files may lack.
        let mut finder = header.finder(&captures);
        finder.column("id", false);
        finder.column("day", false);
        finder.place("day");
        assert!(!finder.finish().unwrap_err().message.contains("optional"));
    }
}
