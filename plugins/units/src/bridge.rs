//! What one unit of an analyte is in another: a mole of glucose in grams, an equivalent of calcium in moles.

use crate::{
    error,
    ucum::{self, Ratio, Unit},
};
use clinmill_sdk::{MappingTable, PluginError, RowState};
use std::collections::HashMap;

/// `1 one = factor is`, for one analyte.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// `factor` times `is` over `one`: a value in units of `one`, times this, is the same thing in units of `is`.
    pub unit: Unit,
    /// The line of the table that says so.
    pub line: u32,
}

/// The bridges of a table; the default one has none.
#[derive(Debug, Default)]
pub struct Bridges {
    analytes: HashMap<String, usize>,
    bridges: Vec<Vec<Bridge>>,
}

impl Bridges {
    /// Indexes a table by `source_code` and `source_name`.
    ///
    /// # Errors
    /// With file and line: a missing column, a unit or factor that does not read, an accepted row without an origin, two
    /// factors for one analyte and pair of units.
    pub fn new(table: &MappingTable) -> Result<Self, PluginError> {
        let columns = [
            "source_code",
            "source_name",
            "one",
            "is",
            "factor",
            "status",
            "origin",
            "licence",
            "note",
        ];
        let mut at = [0; 9];
        for (place, name) in at.iter_mut().zip(columns) {
            *place = table.require(name)?;
        }
        let [code, name, one, is, factor, status, origin, ..] = at;
        let mut bridges = Self::default();
        let mut lines: HashMap<(String, String, String), u32> = HashMap::new();
        for row in &table.rows {
            let wrong = |what: String| error::of_table(table.error(row.line, what));
            if table.state(row, status).map_err(error::of_table)? != RowState::Accepted {
                continue;
            }
            if row.cell(origin).is_empty() {
                return Err(wrong("a factor needs its origin".into()));
            }
            let number = Ratio::parse(row.cell(factor)).filter(Ratio::is_positive);
            let number = number.ok_or_else(|| wrong("the factor is no positive decimal".into()))?;
            let unit = |cell: &str| {
                let unit = ucum::unit(cell).map_err(|why| wrong(format!("{cell:?} is no UCUM code: {why}")))?;
                match unit.is_scale() {
                    true => Err(wrong(format!("{cell:?} has no factor"))),
                    false => Ok(unit),
                }
            };
            let bridge = unit(row.cell(is))?
                .over(&unit(row.cell(one))?)
                .and_then(|unit| unit.scaled(&number))
                .ok_or_else(|| wrong("the factor does not reckon".into()))?;
            let keys: Vec<&str> = [row.cell(code), row.cell(name)]
                .into_iter()
                .filter(|key| !key.is_empty())
                .collect();
            if keys.is_empty() {
                return Err(wrong("an accepted row needs source_code or source_name".into()));
            }
            for key in keys {
                let pair = (key.to_owned(), row.cell(one).to_owned(), row.cell(is).to_owned());
                if let Some(line) = lines.insert(pair, row.line) {
                    return Err(wrong(format!("{key:?} stands in line {line} already")));
                }
                let count = bridges.bridges.len();
                let analyte = *bridges.analytes.entry(key.to_owned()).or_insert(count);
                if analyte == count {
                    bridges.bridges.push(Vec::new());
                }
                if let Some(of) = bridges.bridges.get_mut(analyte) {
                    of.push(Bridge {
                        unit: bridge.clone(),
                        line: row.line,
                    });
                }
            }
        }
        Ok(bridges)
    }

    /// The index of an analyte, by its code or name.
    pub fn analyte(&self, key: &str) -> Option<usize> {
        self.analytes.get(key.trim()).copied()
    }

    /// The bridges of an analyte.
    pub fn of(&self, analyte: Option<usize>) -> &[Bridge] {
        analyte
            .and_then(|index| self.bridges.get(index))
            .map_or(&[], Vec::as_slice)
    }
}
