//! Rows of a mapping table, checked.

use crate::{
    By, error,
    fold::{condition, unit_condition},
    units,
};
use clinmill_sdk::{MappingRow, MappingTable, PluginError, RowState, calendar, units::Code};
use std::{collections::HashMap, sync::Arc};

/// Names of FHIR R5 ConceptMap's relationships, as the tables use them.
pub const EQUIVALENCES: [&str; 5] = [
    "equivalent",
    "source-is-narrower-than-target",
    "source-is-broader-than-target",
    "related-to",
    "not-related-to",
];

/// The target of an accepted row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
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

/// A condition on a unit or a specimen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct When {
    /// It holds where the source does not say.
    pub untold: bool,
    /// What the source may say, folded; empty with `untold` for no condition.
    any_of: Vec<String>,
    /// Of a condition on the unit: the UCUM codes of those that are known.
    codes: Vec<Arc<Code>>,
}

/// The UCUM code of a unit as written.
type Coded<'a> = dyn FnMut(&str) -> Option<Arc<Code>> + 'a;

impl When {
    /// The condition of a cell `when_unit`.
    pub fn of_unit(text: &str) -> Self {
        Self::parse(text, unit_condition, &mut |unit| {
            units::code(unit).map(Code::new).map(Arc::new)
        })
    }

    /// The condition of a cell `when_specimen`.
    pub fn of_specimen(text: &str) -> Self {
        Self::parse(text, condition, &mut |_| None)
    }

    fn parse(text: &str, fold: fn(&str) -> String, code: &mut Coded<'_>) -> Self {
        let mut codes: Vec<Arc<Code>> = Vec::new();
        let mut any_of: Vec<String> = Vec::new();
        let mut untold = text.is_empty();
        for one in text.split('|').map(str::trim).filter(|one| !one.is_empty()) {
            match one {
                "*" => untold = true,
                one => match fold(one) {
                    // What says that there is none.
                    folded if folded.is_empty() => untold = true,
                    folded => {
                        any_of.push(folded);
                        codes.extend(code(one));
                    }
                },
            }
        }
        any_of.sort();
        any_of.dedup();
        codes.sort_by(|one, other| one.text().cmp(other.text()));
        codes.dedup();
        Self { untold, any_of, codes }
    }

    /// True for no condition.
    pub fn is_none(&self) -> bool {
        self.any_of.is_empty()
    }

    /// Whether both name one unit.
    #[cfg(test)]
    pub fn shares(&self, other: &Self) -> bool {
        let named = self.any_of.iter().any(|one| other.any_of.contains(one));
        named
            || self
                .codes
                .iter()
                .any(|code| other.codes.iter().any(|one| one.same(code)))
    }

    /// The alternatives, folded.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.any_of.iter().map(String::as_str)
    }

    /// Whether this is true of one of the alternatives, folded.
    #[cfg(test)]
    pub fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        self.any_of.iter().any(|one| is(one))
    }

    /// Whether the condition holds for what the source says (folded; of a unit the code too), and by how much it is about
    /// it: most where it names it as the source does, less where it names the same unit in other words, least where it names
    /// one of another size, such as `umol/L` for `mmol/L`.
    pub fn holds(&self, told: Option<&str>, code: Option<&Code>) -> Option<u8> {
        match told {
            None => self.untold.then_some(0),
            Some(_) if self.any_of.is_empty() => Some(0),
            Some(told) => {
                let named = self.any_of.iter().any(|one| one == told);
                let any = |holds: fn(&Code, &Code) -> bool| {
                    code.is_some_and(|code| self.codes.iter().any(|one| holds(one, code)))
                };
                match named {
                    true => Some(3),
                    false if any(Code::same) => Some(2),
                    false => any(Code::alike).then_some(1),
                }
            }
        }
    }
}

/// A row, checked.
#[derive(Clone, Debug)]
pub struct Entry {
    /// 1-based line of `map.csv`.
    pub line: u32,
    /// The code or name.
    pub key: String,
    /// What a reviewer made of it.
    pub state: RowState,
    /// The target, without a code where there is none.
    pub target: Target,
    /// Condition on the source's unit.
    pub unit: When,
    /// Condition on the source's specimen.
    pub specimen: When,
    /// First and last day, in days since 1970-01-01.
    pub days: (i32, i32),
}

/// Columns that every table has, beside those of the source.
pub const REQUIRED: [&str; 7] = [
    "target_system",
    "target_code",
    "target_name",
    "equivalence",
    "status",
    "origin",
    "note",
];

/// Days from which a last day means that there is none: 2099-01-01. OMOP writes 2099-12-31.
pub const ENDLESS: i32 = 47_117;

/// The system of LOINC's codes.
const LOINC: &str = "http://loinc.org";

/// Checks every row that has a key.
///
/// # Errors
/// With file and line: a missing column, a row with neither code nor name, an unknown status or equivalence, a date that is
/// none, an accepted row without a target, an unmapped one with a target, a code of LOINC whose check digit is wrong, and a
/// key that an accepted or unmapped row has already for the same conditions and days.
pub fn entries(table: &MappingTable, by: By) -> Result<Vec<Entry>, PluginError> {
    let (entries, twice) = read(table, by)?;
    match twice.into_iter().next() {
        Some(first) => Err(first),
        None => Ok(entries),
    }
}

/// Every row whose key an accepted or unmapped row has already for the same conditions and days.
///
/// # Errors
/// As those of [`entries`], but for these.
pub fn twice(table: &MappingTable, by: By) -> Result<Vec<PluginError>, PluginError> {
    Ok(read(table, by)?.1)
}

fn read(table: &MappingTable, by: By) -> Result<(Vec<Entry>, Vec<PluginError>), PluginError> {
    let key = table.require(match by {
        By::Name => "source_name",
        By::Code => "source_code",
    })?;
    for needed in REQUIRED {
        table.require(needed)?;
    }
    let keys = ["source_code", "source_name"].map(|name| table.column(name));
    let (mut entries, mut twice) = (Vec::new(), Vec::new());
    // Many rows ask for the same spellings.
    let mut codes: HashMap<String, Option<Arc<Code>>> = HashMap::new();
    let mut code = |unit: &str| match codes.get(unit) {
        Some(code) => code.clone(),
        None => codes
            .entry(unit.to_owned())
            .or_insert_with(|| units::code(unit).map(Code::new).map(Arc::new))
            .clone(),
    };
    #[allow(clippy::type_complexity)]
    let mut decided: HashMap<(String, When, When), Vec<(u32, (i32, i32), String)>> = HashMap::new();
    for row in &table.rows {
        if row.cell(key).is_empty() {
            // A table may hold rows that have only the other kind of key.
            if !keys.iter().flatten().any(|key| !row.cell(*key).is_empty()) {
                let what = "the row has neither source_code nor source_name";
                return Err(wrong(table, row, what.into()));
            }
            continue;
        }
        let entry = entry(table, row, row.cell(key), &mut code)?;
        if matches!(entry.state, RowState::Accepted | RowState::Unmapped) {
            let place = (entry.key.clone(), entry.unit.clone(), entry.specimen.clone());
            let others = decided.entry(place).or_default();
            let meets = |days: &(i32, i32)| days.0 <= entry.days.1 && entry.days.0 <= days.1;
            if let Some((line, _, system)) = others.iter().find(|(_, days, _)| meets(days)) {
                let mut what = format!("{:?} stands in line {line} already", entry.key);
                if !system.is_empty() && *system != entry.target.system {
                    what.push_str(&format!(", with a code of {system}"));
                }
                twice.push(wrong(table, row, what));
            }
            others.push((entry.line, entry.days, entry.target.system.clone()));
        }
        entries.push(entry);
    }
    Ok((entries, twice))
}

fn wrong(table: &MappingTable, row: &MappingRow, what: String) -> PluginError {
    PluginError {
        code: error::TABLE.into(),
        ..table.error(row.line, what)
    }
}

fn entry(table: &MappingTable, row: &MappingRow, key: &str, code: &mut Coded<'_>) -> Result<Entry, PluginError> {
    let cell = |name: &str| table.column(name).map_or("", |column| row.cell(column));
    let wrong = |what: String| wrong(table, row, what);
    let target = Target {
        system: cell("target_system").into(),
        code: cell("target_code").into(),
        name: cell("target_name").into(),
        unit: cell("unit").into(),
    };
    let complete = !target.code.is_empty() && !target.system.is_empty();
    let status = table.require("status")?;
    let state = table.state(row, status).map_err(|error| PluginError {
        code: error::TABLE.into(),
        ..error
    })?;
    match state {
        RowState::Accepted if !complete => {
            return Err(wrong("an accepted row needs target_system and target_code".into()));
        }
        RowState::Unmapped if !target.code.is_empty() => {
            return Err(wrong("an unmapped row has a target_code".into()));
        }
        _ => {}
    }
    if matches!(state, RowState::Accepted | RowState::Proposed)
        && target.system == LOINC
        && let Err(why) = loinc(&target.code)
    {
        let code = &target.code;
        return Err(wrong(format!("target_code {code:?} is no code of LOINC: {why}")));
    }
    let equivalence = cell("equivalence");
    if !equivalence.is_empty() && !EQUIVALENCES.contains(&equivalence) {
        return Err(wrong(format!(
            "equivalence {equivalence:?} is none of {}",
            EQUIVALENCES.join(", ")
        )));
    }
    let day = |name: &str, without: i32| match cell(name) {
        "" => Ok(without),
        text => days(text).ok_or_else(|| wrong(format!("{name} {text:?} is no day such as 2024-01-31"))),
    };
    let days = (day("valid_from", i32::MIN)?, day("valid_to", i32::MAX)?);
    if days.0 > days.1 {
        return Err(wrong("valid_to is before valid_from".into()));
    }
    Ok(Entry {
        line: row.line,
        key: key.to_owned(),
        state,
        target,
        unit: When::parse(cell("when_unit"), unit_condition, code),
        specimen: When::of_specimen(cell("when_specimen")),
        days,
    })
}

/// A code of LOINC by its form and check digit (LOINC Users' Guide, appendix C: Mod 10). Parts, answers and their lists
/// (`LP`, `LA`, `LL`, `LG`) are taken as they are; so is no code.
fn loinc(code: &str) -> Result<(), String> {
    if code.is_empty() || ["LP", "LA", "LL", "LG"].iter().any(|kind| code.starts_with(kind)) {
        return Ok(());
    }
    let form = || "it is written as digits, a hyphen and a check digit".to_owned();
    let (digits, check) = code.split_once('-').ok_or_else(form)?;
    let number = |text: &str| text.chars().map(|c| c.to_digit(10)).collect::<Option<Vec<u32>>>();
    let (digits, check) = (number(digits).filter(|d| !d.is_empty()), number(check));
    let (Some(digits), Some([check])) = (digits, check.as_deref()) else {
        return Err(form());
    };
    let weighed = digits.iter().rev().enumerate().map(|(place, digit)| match place % 2 {
        0 => digit * 2 / 10 + digit * 2 % 10,
        _ => *digit,
    });
    match (10 - weighed.sum::<u32>() % 10) % 10 {
        right if right == *check => Ok(()),
        right => Err(format!("the check digit is {right}, not {check}")),
    }
}

/// A day as `2024-01-31`; a text that is none as it is.
pub fn iso(text: &str) -> String {
    let compact = text.len() == 8 && days(text).is_some();
    match (compact, text.get(..4), text.get(4..6), text.get(6..)) {
        (true, Some(year), Some(month), Some(day)) => format!("{year}-{month}-{day}"),
        _ => text.to_owned(),
    }
}

/// `2024-01-31` or `20240131` as days since 1970-01-01 (Gregorian).
pub fn days(text: &str) -> Option<i32> {
    let digits: String = match text.len() {
        10 if text.get(4..5) == Some("-") && text.get(7..8) == Some("-") => text.replace('-', ""),
        8 => text.to_owned(),
        _ => return None,
    };
    if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| digits.get(range).and_then(|part| part.parse::<u32>().ok());
    calendar::day(part(0..4)?, part(4..6)?, part(6..8)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_and_checked() {
        assert_eq!(days("1970-01-01"), Some(0));
        assert_eq!(days("20000301"), Some(11_017));
        assert_eq!(days("2099-01-01"), Some(ENDLESS));
        for none in ["2023-02-29", "2024-13-01", "2024-1-1", "today", "2024-00-10", ""] {
            assert_eq!(days(none), None, "{none}");
        }
        assert_eq!(days("2024-02-29"), Some(19_782));
    }

    #[test]
    fn codes_of_loinc_have_their_check_digit() {
        for code in [
            "2345-7",
            "14749-6",
            "718-7",
            "1-8",
            "100679-0",
            "LP14635-4",
            "LA6576-8",
            "",
        ] {
            assert_eq!(loinc(code), Ok(()), "{code}");
        }
        assert_eq!(loinc("2345-6"), Err("the check digit is 7, not 6".into()));
        for code in [
            "2345",
            "2345-",
            "-7",
            "2345-77",
            "23x5-7",
            "x",
            "2345-7-7",
            "２３４５-7",
        ] {
            assert!(loinc(code).is_err(), "{code}");
        }
    }

    #[test]
    fn a_condition_tells_what_it_is_about() {
        let mut code = |unit: &str| units::code(unit).map(Code::new).map(Arc::new);
        let when = When::parse("*|mmol/L", unit_condition, &mut code);
        assert_eq!(
            [
                when.holds(None, None),
                when.holds(Some("mmol/l"), None),
                when.holds(Some("mg/dl"), None)
            ],
            [Some(0), Some(3), None]
        );
        let when = When::parse("mg/dL", unit_condition, &mut code);
        assert_eq!(
            [when.holds(None, None), when.holds(Some("mg/dl"), None)],
            [None, Some(3)]
        );
        let when = When::parse("*|10^9/L|mg/dL", unit_condition, &mut code);
        let told = |unit: &str| {
            let code = units::code(unit).map(Code::new);
            when.holds(Some(&unit_condition(unit)), code.as_ref())
        };
        for unit in [
            "K/uL",
            "10^9/L",
            "10^9·L-1",
            "10e09/L",
            "1000/uL",
            "/nL",
            "千/μL",
            "×10⁹/L",
        ] {
            assert!(told(unit) >= Some(2), "{unit}");
        }
        for unit in ["10^12/L", "g/L", "/uL", "万/uL", "mg/mL"] {
            assert_eq!(told(unit), Some(1), "{unit}");
        }
        for unit in ["U/L", "mmol/L", "/HP", "copies/mL", "%"] {
            assert_eq!(told(unit), None, "{unit}");
        }
        let when = When::parse("", unit_condition, &mut code);
        assert_eq!(
            [when.holds(None, None), when.holds(Some("x"), None)],
            [Some(0), Some(0)]
        );
    }
}
