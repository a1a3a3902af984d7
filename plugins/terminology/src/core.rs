//! The mapping table in memory and the lookup.

use crate::{By, error};
use clinmill_sdk::{MappingTable, PluginError};
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// The target of an accepted row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// `target_system`.
    pub system: String,
    /// `target_code`.
    pub code: String,
    /// `target_name`.
    pub name: String,
    /// `unit`, a UCUM code; empty where not evident.
    pub unit: String,
}

/// What a lookup found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The target of this index.
    Mapped(usize),
    /// No accepted target.
    Unmapped,
    /// Several targets.
    Ambiguous,
}

/// A mapping table, ready for lookups.
pub struct Lookup {
    by: By,
    exact: HashMap<String, Found>,
    folded: HashMap<String, Found>,
    targets: Vec<Target>,
    has_units: bool,
}

impl Lookup {
    /// Indexes a table by the values of `source_code` or `source_name`.
    ///
    /// # Errors
    /// With file and line: a missing column, a key that stands twice, a status that is unknown, an accepted row
    /// without a target, or an unmapped one with a target.
    pub fn new(table: &MappingTable, by: By) -> Result<Self, PluginError> {
        let key = table.require(match by {
            By::Name => "source_name",
            By::Code => "source_code",
        })?;
        let system = table.require("target_system")?;
        let code = table.require("target_code")?;
        let name = table.require("target_name")?;
        let status = table.require("status")?;
        for other in ["equivalence", "origin", "note"] {
            table.require(other)?;
        }
        let unit = table.column("unit");
        let mut lookup = Self {
            by,
            exact: HashMap::new(),
            folded: HashMap::new(),
            targets: Vec::new(),
            has_units: unit.is_some(),
        };
        let mut lines: HashMap<&str, u32> = HashMap::new();
        for row in &table.rows {
            let wrong = |what: String| PluginError {
                code: error::TABLE.into(),
                ..table.error(row.line, what)
            };
            let value = row.cell(key);
            if value.is_empty() {
                // A table may hold rows that have only the other kind of key.
                continue;
            }
            if let Some(line) = lines.insert(value, row.line) {
                return Err(wrong(format!("{value:?} stands in line {line} already")));
            }
            let target = Target {
                system: row.cell(system).into(),
                code: row.cell(code).into(),
                name: row.cell(name).into(),
                unit: unit.map_or("", |unit| row.cell(unit)).into(),
            };
            let complete = !target.code.is_empty() && !target.system.is_empty();
            let found = match row.cell(status) {
                "accepted" if complete => lookup.add(target),
                "accepted" => return Err(wrong("an accepted row needs target_system and target_code".into())),
                "unmapped" if !target.code.is_empty() => {
                    return Err(wrong("an unmapped row has a target_code".into()));
                }
                "proposed" | "unmapped" => Found::Unmapped,
                other => return Err(wrong(format!("status {other:?} is not accepted, proposed or unmapped"))),
            };
            lookup.exact.insert(value.to_owned(), found);
            if by == By::Name {
                lookup
                    .folded
                    .entry(fold(value))
                    .and_modify(|known| *known = both(*known, found))
                    .or_insert(found);
            }
        }
        Ok(lookup)
    }

    fn add(&mut self, target: Target) -> Found {
        let known = self.targets.iter().position(|known| *known == target);
        Found::Mapped(known.unwrap_or_else(|| {
            self.targets.push(target);
            self.targets.len() - 1
        }))
    }

    /// Looks a value up: as it is (without white space around it), then folded.
    pub fn find(&self, value: &str) -> Found {
        if let Some(found) = self.exact.get(value.trim()) {
            return *found;
        }
        match self.by {
            By::Code => Found::Unmapped,
            By::Name => self.folded.get(&fold(value)).copied().unwrap_or(Found::Unmapped),
        }
    }

    /// The target of a [`Found::Mapped`].
    pub fn target(&self, index: usize) -> Option<&Target> {
        self.targets.get(index)
    }

    /// True when the table has a column of units.
    pub fn has_units(&self) -> bool {
        self.has_units
    }
}

/// Two names that fold to the same.
fn both(a: Found, b: Found) -> Found {
    if a == b { a } else { Found::Ambiguous }
}

/// A name without differences that carry no meaning: compatibility forms (full and half width among them), case, and
/// all white space (Unicode Standard Annex 15, NFKC).
fn fold(name: &str) -> String {
    name.nfkc()
        .flat_map(char::to_lowercase)
        .filter(|c| !c.is_whitespace())
        .nfkc()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_keeps_what_means_something() {
        assert_eq!(fold("Ｄ－Ｄ 二聚体（定量）"), fold("d-d二聚体(定量)"));
        assert_eq!(fold("γ-谷氨酰转肽酶"), fold("Γ-谷氨酰转肽酶"));
        assert_ne!(fold("嗜酸细胞(%)"), fold("嗜酸细胞(#)"));
        assert_eq!(fold(&fold("㎎／㎗ ＡＢ")), fold("mg/dl ab"));
    }
}
