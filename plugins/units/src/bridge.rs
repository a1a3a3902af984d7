//! What one unit of an analyte is in another: a mole of glucose in grams, an equivalent of calcium in moles.

use crate::{
    error,
    ucum::{self, Ratio, Unit},
};
use clinmill_sdk::{MappingTable, PluginError, RowState, units::fits};
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

/// Whether two bridges between the same measures differ by more than a thousandth, in either direction.
fn contradict(one: &Bridge, other: &Unit) -> bool {
    let same = |one: &Unit, other: &Unit| {
        let ratio = fits(one, other).then(|| one.ratio_to(other, &Ratio::one())).flatten();
        ratio.map(|ratio| (ratio.to_f64() - 1.0).abs() < 1e-3)
    };
    let turned = ucum::unit("1").ok().and_then(|one| one.over(other));
    same(&one.unit, other) == Some(false) || turned.is_some_and(|turned| same(&one.unit, &turned) == Some(false))
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
                if let Some(other) = bridges
                    .of(bridges.analyte(key))
                    .iter()
                    .find(|other| contradict(other, &bridge))
                {
                    return Err(wrong(format!("{key:?} has another factor in line {}", other.line)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Conversion;
    use clinmill_sdk::Resource;
    use std::{fs, path::Path};

    /// The committed table.
    fn shipped() -> Bridges {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings/molar-mass__ucum");
        let mut resource = Resource::default();
        for file in ["map.csv", "mapping.yaml"] {
            resource.files.insert(file.into(), fs::read(folder.join(file)).unwrap());
        }
        Bridges::new(&MappingTable::read("maps:x", &resource).unwrap()).unwrap()
    }

    #[test]
    fn a_second_factor_in_other_units_is_refused() {
        let with = |rows: &str| {
            let head = "source_code,source_name,one,is,factor,status,origin,licence,note\n";
            let yaml = "title: t\nfrom: a\nto: b\nversion: 1\norigin: here\nlicence: x\n";
            let files = [("mapping.yaml", yaml.to_owned()), ("map.csv", format!("{head}{rows}"))];
            let files = files.map(|(name, text)| (name.to_owned(), text.into_bytes()));
            let table = MappingTable::read("maps:x", &Resource { files: files.into() }).unwrap();
            Bridges::new(&table).map(drop).map_err(|error| error.message)
        };
        let first = "a,,mol,g,180.156,accepted,o,,\n";
        for other in [
            "a,,mmol,mg,180.156,accepted,o,,\n",
            "a,,g,mol,0.00555075,accepted,o,,\n",
            "a,,[IU],U,1,accepted,o,,\n",
            "b,,mol,g,60,accepted,o,,\n",
        ] {
            assert_eq!(with(&format!("{first}{other}")), Ok(()), "{other}");
        }
        for other in [
            "a,,mmol,mg,181,accepted,o,,\n",
            "a,,g,mol,0.0056,accepted,o,,\n",
            "a,,mmol,g,180.156,accepted,o,,\n",
        ] {
            let said = "maps:x/map.csv:3: \"a\" has another factor in line 2";
            assert_eq!(with(&format!("{first}{other}")).unwrap_err(), said, "{other}");
        }
    }

    /// Factors as tables of conversion to SI print them (such as that of the AMA Manual of Style, 11th edition, chapter 17),
    /// which rest on nothing of ours: one part in a hundred is their rounding.
    #[test]
    fn factors_are_those_of_published_tables() {
        let bridges = shipped();
        for (analyte, from, to, factor) in [
            ("2345-7", "mg/dL", "mmol/L", 0.0555),
            ("2339-0", "mg/dL", "mmol/L", 0.0555),
            ("2160-0", "mg/dL", "umol/L", 88.4),
            ("3094-0", "mg/dL", "mmol/L", 0.357),
            ("3084-1", "mg/dL", "umol/L", 59.48),
            ("2093-3", "mg/dL", "mmol/L", 0.0259),
            ("2571-8", "mg/dL", "mmol/L", 0.0113),
            ("1975-2", "mg/dL", "umol/L", 17.104),
            ("17861-6", "mg/dL", "mmol/L", 0.25),
            ("19123-9", "mg/dL", "mmol/L", 0.411),
            ("19123-9", "meq/L", "mmol/L", 0.5),
            ("2777-1", "mg/dL", "mmol/L", 0.323),
            ("2498-4", "ug/dL", "umol/L", 0.179),
            ("2500-7", "ug/dL", "umol/L", 0.179),
            ("2132-9", "pg/mL", "pmol/L", 0.738),
            ("2284-8", "ng/mL", "nmol/L", 2.266),
            ("2143-6", "ug/dL", "nmol/L", 27.588),
            ("3026-2", "ug/dL", "nmol/L", 12.871),
            ("3024-7", "ng/dL", "pmol/L", 12.871),
            ("3053-6", "ng/dL", "nmol/L", 0.0154),
            ("3051-0", "pg/mL", "pmol/L", 1.54),
            ("2839-9", "ng/mL", "nmol/L", 3.18),
            ("2986-8", "ng/dL", "nmol/L", 0.0347),
            ("2243-4", "pg/mL", "pmol/L", 3.671),
            ("1763-2", "ng/dL", "pmol/L", 27.74),
            ("2191-5", "ug/dL", "umol/L", 0.0271),
            ("1989-3", "ng/mL", "nmol/L", 2.496),
            ("2524-7", "mg/dL", "mmol/L", 0.111),
            ("16362-6", "ug/dL", "umol/L", 0.587),
            ("14665-4", "ug/dL", "umol/L", 0.157),
            ("14807-2", "ug/dL", "umol/L", 0.0483),
            ("14334-7", "meq/L", "mmol/L", 1.0),
            ("33037-3", "meq/L", "mmol/L", 1.0),
            ("11555-0", "meq/L", "mmol/L", 1.0),
            ("1742-6", "[IU]/L", "U/L", 1.0),
            ("1742-6", "[IU]/L", "ukat/L", 0.016667),
            ("3016-3", "mU/L", "m[IU]/L", 1.0),
            ("3016-3", "uU/mL", "m[IU]/L", 1.0),
            ("3016-3", "u[IU]/mL", "m[IU]/L", 1.0),
            ("20448-7", "uU/mL", "m[IU]/L", 1.0),
            ("5643-2", "mg/dL", "mmol/L", 0.2171),
            ("3298-7", "ug/mL", "umol/L", 6.62),
            ("4024-6", "mg/dL", "mmol/L", 0.0724),
            ("4049-3", "ug/mL", "umol/L", 5.55),
            ("4086-5", "ug/mL", "umol/L", 6.934),
            ("3968-5", "ug/mL", "umol/L", 3.964),
            ("3948-7", "ug/mL", "umol/L", 4.31),
            ("3432-2", "ug/mL", "umol/L", 4.233),
            ("10535-3", "ng/mL", "nmol/L", 1.281),
        ] {
            let (of, into) = (ucum::unit(from).unwrap(), ucum::unit(to).unwrap());
            let conversion = Conversion::between(&of, &into, bridges.of(bridges.analyte(analyte)));
            let conversion = conversion.unwrap_or_else(|| panic!("{analyte}: {from} to {to}"));
            let got = conversion.apply(1_000_000, 6, 9).unwrap() as f64 / 1e9;
            assert!(
                (got / factor - 1.0).abs() < 0.01,
                "{analyte}: 1 {from} is {got} {to}, not {factor}"
            );
        }
    }

    #[test]
    fn the_cells_of_the_table_name_their_source() {
        let bridges = shipped();
        for name in [
            "cobalamin",
            "folate",
            "thyroxine, free",
            "iron binding capacity",
            "ammonia",
        ] {
            assert_eq!(bridges.of(bridges.analyte(name)).len(), 1, "{name}");
        }
        assert!(bridges.of(bridges.analyte("albumin")).is_empty());
    }
}
