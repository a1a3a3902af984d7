//! The mapping table in memory and the lookup.

use crate::{
    By,
    fold::{bare, condition, halves, name, unit_condition},
    measure, specimen,
    table::{ENDLESS, Entry, Target, When, entries},
    units,
};
use clinmill_sdk::{MappingTable, PluginError, RowState, units::Code};
use std::collections::HashMap;

/// What a lookup found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The target of this index.
    Mapped(usize),
    /// No accepted target.
    Unmapped,
    /// No accepted target for the unit, specimen or day that the source says; others have one.
    Unlike,
    /// Several targets.
    Ambiguous,
    /// Nothing but candidates that a reviewer turned down.
    Rejected,
}

impl Found {
    /// As the column `_status` says it.
    pub fn status(self) -> &'static str {
        match self {
            Self::Mapped(_) => "mapped",
            Self::Unmapped | Self::Unlike => "unmapped",
            Self::Ambiguous => "ambiguous",
            Self::Rejected => "rejected",
        }
    }
}

/// What a result is, as far as that tells codes apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Not known, or a word beside a number.
    #[default]
    Any,
    /// A word or signs.
    Word,
    /// A number, or from one number to another.
    Number,
    /// A dilution, such as 1:160.
    Titre,
}

impl Kind {
    /// From the column `_kind` of the step `labvalue`.
    pub fn of(text: &str) -> Self {
        match text {
            "number" | "range" => Self::Number,
            "titre" => Self::Titre,
            "qualitative" => Self::Word,
            _ => Self::Any,
        }
    }
}

/// What a row says beside its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told<'a> {
    /// The unit, as written.
    pub unit: Option<&'a str>,
    /// What the result is.
    pub kind: Kind,
    /// The specimen, as written.
    pub specimen: Option<&'a str>,
    /// The day, in days since 1970-01-01.
    pub day: Option<i32>,
}

impl<'a> Told<'a> {
    /// From texts that say nothing where they are empty.
    pub fn of(unit: &'a str, specimen: &'a str, day: Option<i32>) -> Self {
        let some = |text: &'a str| Some(text).filter(|text| !text.trim().is_empty());
        Self {
            unit: some(unit),
            specimen: some(specimen),
            day,
            kind: Kind::Any,
        }
    }
}

/// An entry, with its target by index.
struct Row {
    entry: Entry,
    target: Option<usize>,
    /// What the target measures.
    measures: Option<&'static str>,
    /// The specimen that the target is in: a condition adds to it, and takes nothing away.
    specimen: Option<&'static str>,
}

/// A mapping table, ready for lookups.
pub struct Lookup {
    by: By,
    rows: Vec<Row>,
    /// Rows by their key as written, folded, and without punctuation.
    exact: HashMap<String, Vec<usize>>,
    folded: HashMap<String, Vec<usize>>,
    bare: HashMap<String, Vec<usize>>,
    targets: Vec<Target>,
    has_units: bool,
}

impl Lookup {
    /// Indexes a table by the values of `source_code` or `source_name`.
    ///
    /// # Errors
    /// With file and line: what [`entries`] refuses.
    pub fn new(table: &MappingTable, by: By) -> Result<Self, PluginError> {
        let mut lookup = Self {
            by,
            rows: Vec::new(),
            exact: HashMap::new(),
            folded: HashMap::new(),
            bare: HashMap::new(),
            targets: Vec::new(),
            has_units: table.column("unit").is_some(),
        };
        let mut known: HashMap<Target, usize> = HashMap::new();
        for entry in entries(table, by)? {
            let index = lookup.rows.len();
            let target = (entry.state == RowState::Accepted).then(|| {
                *known.entry(entry.target.clone()).or_insert_with(|| {
                    lookup.targets.push(entry.target.clone());
                    lookup.targets.len() - 1
                })
            });
            if by == By::Name {
                let folded = name(&entry.key);
                lookup.bare.entry(bare(&folded)).or_default().push(index);
                lookup.folded.entry(folded).or_default().push(index);
            }
            lookup.exact.entry(entry.key.clone()).or_default().push(index);
            lookup.rows.push(Row {
                measures: measure::of_target(&entry.target),
                specimen: specimen::of_name(&entry.target.name),
                target,
                entry,
            });
        }
        Ok(lookup)
    }

    /// Looks a value up: as it is (without white space around it), then folded, then without punctuation, then as two names
    /// that mean the same.
    pub fn find(&self, value: &str, told: &Told<'_>) -> Found {
        match self.places(value) {
            Some(places) => self.decide(places, told),
            None => match self.both(value) {
                Some((one, other)) => match (self.decide(one, told), self.decide(other, told)) {
                    (one, other) if one == other => one,
                    (Found::Unlike, _) | (_, Found::Unlike) => Found::Unlike,
                    _ => Found::Unmapped,
                },
                None => Found::Unmapped,
            },
        }
    }

    /// Where the two names of a value stand, such as those of `谷丙转氨酶(ALT)`; nothing where one of them is not known.
    fn both(&self, value: &str) -> Option<(&[usize], &[usize])> {
        if self.by == By::Code {
            return None;
        }
        let folded = name(value);
        let (one, other) = halves(&folded)?;
        Some((self.places(one)?, self.places(other)?))
    }

    /// The lines of `map.csv` that decided what [`find`](Self::find) says.
    pub fn lines(&self, value: &str, told: &Told<'_>) -> Vec<u32> {
        let Some(places) = self.places(value) else {
            return match (self.find(value, told), self.both(value)) {
                (Found::Mapped(_), Some((one, other))) => [one, other]
                    .iter()
                    .flat_map(|places| self.lines_of(places, told))
                    .collect(),
                _ => Vec::new(),
            };
        };
        self.lines_of(places, told)
    }

    /// The line of the row that decides that a value has no safe target.
    pub fn without_target(&self, value: &str, told: &Told<'_>) -> Option<u32> {
        match self.find(value, told) {
            Found::Unmapped => self.lines(value, told).first().copied(),
            _ => None,
        }
    }

    fn lines_of(&self, places: &[usize], told: &Told<'_>) -> Vec<u32> {
        let most = self.deciding(places, told).map(|(about, _)| about).max();
        let deciding = self.deciding(places, told).filter(|(about, _)| Some(*about) == most);
        let lines: Vec<u32> = deciding.map(|(_, row)| row.entry.line).collect();
        match lines.is_empty() && self.decide(places, told) == Found::Rejected {
            true => self.of_the_day(places, told).map(|row| row.entry.line).collect(),
            false => lines,
        }
    }

    fn places(&self, value: &str) -> Option<&[usize]> {
        let value = value.trim();
        let places = match self.exact.get(value) {
            Some(places) => Some(places),
            None if self.by == By::Code => None,
            None => {
                let folded = name(value);
                self.folded.get(&folded).or_else(|| match bare(&folded) {
                    // A value of nothing but punctuation is no name.
                    bare if bare.is_empty() => None,
                    bare => self.bare.get(&bare),
                })
            }
        };
        places.map(Vec::as_slice)
    }

    fn of_the_day<'a>(
        &'a self,
        places: &'a [usize],
        told: &Told<'_>,
    ) -> impl Iterator<Item = &'a Row> + Clone + use<'a> {
        let day = told.day;
        let rows = places.iter().filter_map(|index| self.rows.get(*index));
        rows.filter(move |row| match day {
            Some(day) => (row.entry.days.0..=row.entry.days.1).contains(&day),
            None => row.entry.days.1 >= ENDLESS,
        })
    }

    /// Of a word, what the source says where one of the rows is for words: nothing of a unit, which is that of other results.
    /// Where all measure how much there is, the word is a result of these, such as `未检出` of a viral load.
    fn of_word<'t>(&self, places: &[usize], told: &Told<'t>) -> Told<'t> {
        let taken = told.specimen.and_then(specimen::told);
        let for_words = |row: &Row| {
            row.target.is_some()
                && row.measures == Some(measure::PRESENCE)
                && !specimen::contradict(taken, row.specimen)
        };
        match told.kind {
            Kind::Word if self.of_the_day(places, told).any(for_words) => Told { unit: None, ..*told },
            Kind::Word => Told {
                kind: Kind::Any,
                ..*told
            },
            _ => *told,
        }
    }

    /// The rows of a key that hold for what the source says, and by how much each is about it.
    fn deciding<'a>(&'a self, places: &'a [usize], told: &Told<'_>) -> impl Iterator<Item = (u8, &'a Row)> + use<'a> {
        let is_word = told.kind == Kind::Word;
        let told = &self.of_word(places, told);
        let (measured, taken) = (measure::of_told(told), told.specimen.and_then(specimen::told));
        let unit = match told.kind {
            Kind::Titre => Some(measure::TITER.to_owned()),
            _ => told.unit.map(unit_condition).filter(|unit| !unit.is_empty()),
        };
        // None of the rows may ask.
        let asked = unit.is_some()
            && places
                .iter()
                .any(|at| self.rows.get(*at).is_some_and(|row| !row.entry.unit.is_none()));
        let code = told
            .unit
            .filter(|_| asked && told.kind != Kind::Titre)
            .and_then(units::code)
            .map(Code::new);
        let specimen = told.specimen.map(condition);
        let rows = self.of_the_day(places, told);
        // Where the source does not say and every row asks, all of them are meant; of units they can but contradict each
        // other: a number without a unit is in none.
        let any_unit = unit.is_none() && rows.clone().all(|row| !row.entry.unit.untold);
        let any_specimen = specimen.is_none() && rows.clone().all(|row| !row.entry.specimen.untold);
        let decides = |row: &&Row| matches!(row.entry.state, RowState::Accepted | RowState::Unmapped);
        // A row without a condition holds for what its target can be measured in; every row for the target's specimen, for
        // titres where it has titres, and for no number where its target is whether there is any.
        let like = move |row: &&Row| {
            let asks = !row.entry.unit.is_none() && !matches!(measured, Some(measure::TITRE | measure::WORD));
            let measures = row.measures.filter(|theirs| !asks || *theirs == measure::PRESENCE);
            !measure::contradict(measured, measures) && !specimen::contradict(taken, row.specimen)
        };
        let found = rows.filter(decides).filter(like).filter_map(move |row| {
            let about = |any: bool, when: &When, told: Option<&str>, code: Option<&Code>| match any {
                true => Some(0),
                false => when.holds(told, code),
            };
            let by_unit = about(any_unit, &row.entry.unit, unit.as_deref(), code.as_ref())?;
            let by_specimen = about(any_specimen, &row.entry.specimen, specimen.as_deref(), None)?;
            Some((by_unit + by_specimen, row))
        });
        let unitless = any_unit && !is_word && {
            let mut targets = found.clone().map(|(_, row)| row.target);
            targets.next().is_some_and(|first| targets.all(|other| other == first))
        };
        found.filter(move |_| !unitless)
    }

    /// What the rows of one key say together.
    fn decide(&self, places: &[usize], told: &Told<'_>) -> Found {
        let mut best: Option<(u8, Found)> = None;
        for (about, row) in self.deciding(places, told) {
            let found = row.target.map_or(Found::Unmapped, Found::Mapped);
            best = Some(match best {
                Some((known, was)) if known > about => (known, was),
                Some((known, was)) if known == about && was != found => (known, Found::Ambiguous),
                _ => (about, found),
            });
        }
        let mut rows = self.of_the_day(places, told).peekable();
        let others = places.iter().filter_map(|index| self.rows.get(*index));
        match best {
            Some((_, found)) => found,
            None if rows.peek().is_some() && rows.all(|row| row.entry.state == RowState::Rejected) => Found::Rejected,
            None if others.into_iter().any(|row| row.target.is_some()) => Found::Unlike,
            None => Found::Unmapped,
        }
    }

    /// The line of a row with another target that a row (by its line) leaves a value ambiguous with, for a unit and a
    /// specimen that it asks for, however its key is written.
    pub fn clash(&self, line: u32) -> Option<u32> {
        let row = self.rows.iter().find(|row| row.entry.line == line)?;
        let places = match self.by {
            By::Name => self.folded.get(&name(&row.entry.key)),
            By::Code => self.exact.get(&row.entry.key),
        }?;
        let day = Some(row.entry.days.1).filter(|last| *last < ENDLESS);
        let asked = |when: &'_ When| -> Vec<String> {
            let untold = when.untold.then(String::new);
            when.named().map(str::to_owned).chain(untold).collect()
        };
        let specimens = asked(&row.entry.specimen);
        for unit in asked(&row.entry.unit) {
            for specimen in &specimens {
                let told = match unit.as_str() {
                    measure::TITER => Told {
                        kind: Kind::Titre,
                        ..Told::of("", specimen, day)
                    },
                    unit => Told::of(unit, specimen, day),
                };
                let deciding: Vec<(u8, &Row)> = self.deciding(places, &told).collect();
                let most = deciding.iter().map(|(about, _)| *about).max();
                let rows = || {
                    deciding
                        .iter()
                        .filter(|(about, _)| Some(*about) == most)
                        .map(|(_, row)| row)
                };
                if rows().any(|one| one.entry.line == line)
                    && let Some(other) = rows().find(|other| other.target != row.target)
                {
                    return Some(other.entry.line);
                }
            }
        }
        None
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

#[cfg(test)]
mod tests;
