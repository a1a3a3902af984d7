//! What is done with rows: from a unit, a unit to convert to and an analyte to a conversion and what is said of it.

use super::{Target, Units, checked};
use crate::{core::Conversion, error, ucum};
use clinmill_sdk::{
    says_nothing,
    units::{Known, by_code, divided, fits, told_apart},
};

/// What is done with all rows of one unit, target and analyte.
#[derive(Debug)]
pub struct Plan {
    pub status: &'static str,
    pub conversion: Option<Conversion>,
    pub unit: String,
    /// The rows of tables that decided; UCUM alone without one.
    pub lines: Vec<(String, u32)>,
    /// The same as the column `_rule` says it.
    pub rule: String,
    /// The code and reason of a rejection; empty where there is none.
    pub rejected: (&'static str, &'static str),
}

impl Plan {
    fn without(status: &'static str, code: &'static str, reason: &'static str) -> Self {
        Self {
            status,
            conversion: None,
            unit: String::new(),
            lines: Vec::new(),
            rule: String::new(),
            rejected: (code, reason),
        }
    }
}

/// `G/L` is thousands of millions per litre of cells, and grams per litre of protein.
const EITHER: [&str; 2] = ["G/L", "G/l"];

/// Whether a written unit is one of several, of which the unit to convert to tells.
fn is_either(unit: &str) -> bool {
    EITHER.contains(&divided(unit).as_str())
}

/// A unit in the light of what it is converted to.
pub fn as_meant(known: Known, unit: &str, target: &str) -> Known {
    let measure = |code: &str| ucum::unit(code).ok();
    match (measure("g/L"), measure(target)) {
        (Some(mass), Some(to)) if is_either(unit) && fits(&mass, &to) => Known {
            code: "g/L".to_owned(),
            line: None,
        },
        _ => known,
    }
}

impl Units {
    /// What is done with the rows of a unit, a unit to convert to (empty without one) and an analyte.
    pub fn plan(&self, unit: &str, target: &str, analyte: &str) -> Plan {
        if says_nothing(unit) {
            return Plan::without("no-unit", "", "");
        }
        let target = target.trim();
        // Nobody can tell which it is, and nothing is to be converted.
        if target.is_empty() && is_either(unit) {
            return Plan::without("unknown-unit", "", "");
        }
        let known = self.local.find(unit).map(|known| as_meant(known, unit, target));
        let Some((known, from)) = known.and_then(|known| ucum::unit(&known.code).ok().map(|unit| (known, unit))) else {
            let reason = "the unit is neither in the table of spellings nor a UCUM code";
            return Plan::without("unknown-unit", error::UNKNOWN, reason);
        };
        let (to, code) = match target.is_empty() {
            true => (Ok(from.clone()), known.code.clone()),
            false => (checked(target), ucum::printed(target)),
        };
        let Ok(to) = to else {
            return Plan::without("bad-target", error::TARGET, "the unit to convert to is no UCUM code");
        };
        let bridges = self.bridges.of(self.bridges.analyte(analyte));
        let wanted = match self.target {
            Target::Column(_) => by_code(&known.code, &code),
            _ => code.as_str().into(),
        };
        if let Some(reason) = told_apart(&known.code, &wanted) {
            return Plan::without("mismatch", error::DIMENSION, reason);
        }
        let Some(conversion) = Conversion::between(&from, &to, bridges) else {
            let reason = "the unit measures something else than the unit to convert to";
            return Plan::without("mismatch", error::DIMENSION, reason);
        };
        let status = match (target.is_empty(), conversion.is_same()) {
            (true, _) => "no-target",
            (false, true) => "same",
            (false, false) => "converted",
        };
        let spelling = known.line.map(|line| (&self.tables.0, &self.names.0, line));
        let bridges = conversion
            .bridges
            .iter()
            .map(|line| (&self.tables.1, &self.names.1, *line));
        let (lines, said): (Vec<_>, Vec<_>) = spelling
            .into_iter()
            .chain(bridges)
            .map(|(table, names, line)| {
                let said = names.get(&line).unwrap_or(table).clone();
                ((table.clone(), line), said)
            })
            .unzip();
        let ucum = known.line.is_none().then(|| "ucum".to_owned());
        let rule = ucum.into_iter().chain(said).collect::<Vec<_>>().join(" + ");
        Plan {
            status,
            unit: code,
            lines,
            rule,
            rejected: ("", ""),
            conversion: Some(conversion),
        }
    }
}
