//! Coverage of a column, and suggestions for what is not covered.

use crate::{
    Found, Kind, Lookup, Told,
    fold::unit_condition,
    measure::TITER,
    search::Index,
    sheet::{Line, Sheet},
};
use std::collections::{BTreeMap, HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64;

/// A distinct value of a column, with what its rows say beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The value.
    pub value: String,
    /// Its unit.
    pub unit: String,
    /// Its specimen.
    pub specimen: String,
    /// What its results are.
    pub kind: Kind,
}

impl Asked {
    fn told(&self) -> Told<'_> {
        Told {
            kind: self.kind,
            ..Told::of(&self.unit, &self.specimen, None)
        }
    }
}

/// Distinct values of a column, and what their rows say.
pub type Values = BTreeMap<Asked, Seen>;

/// Numbers that are kept of one distinct value, at most.
const SAMPLE: u64 = 1_000;

/// The rows of one distinct value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// How many.
    pub rows: u64,
    /// Results that are numbers, or some of them.
    numbers: Vec<f64>,
    numeric: u64,
}

impl Seen {
    /// Counts a row with its result, where that is a number.
    pub fn add(&mut self, result: Option<f64>) {
        self.rows += 1;
        let Some(number) = result.filter(|number| number.is_finite()) else {
            return;
        };
        self.numeric += 1;
        // Each number is as likely to be kept as any other, and the same ones are kept each time.
        let place = match self.numeric <= SAMPLE {
            true => self.numeric - 1,
            false => xxh3_64(&self.numeric.to_le_bytes()) % self.numeric,
        };
        match self.numbers.get_mut(place as usize) {
            Some(known) => *known = number,
            None if place < SAMPLE => self.numbers.push(number),
            None => {}
        }
    }

    fn spread(&self) -> Option<Spread> {
        Spread::of(self.numbers.clone())
    }
}

/// Where most of some numbers lie: from the tenth to the ninetieth of a hundred.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    low: f64,
    high: f64,
}

/// Fewer numbers than these say nothing about others.
const FEW: usize = 10;

impl Spread {
    fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.sort_by(f64::total_cmp);
        let at = |share: usize| numbers.get((numbers.len() - 1) * share / 100).copied();
        match numbers.len() < FEW {
            true => None,
            false => Some(Self {
                low: at(10)?,
                high: at(90)?,
            }),
        }
    }

    /// How much of the narrower one lies in the other, from 0 to 1.
    fn shared(&self, other: &Self) -> f32 {
        let both = self.high.min(other.high) - self.low.max(other.low);
        let narrower = (self.high - self.low).min(other.high - other.low);
        match (both < 0.0, narrower > 0.0) {
            (true, _) => 0.0,
            (false, true) => (both / narrower) as f32,
            (false, false) => 1.0,
        }
    }
}

/// A distinct value without a single target.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// The value, and what stands beside it.
    pub asked: Asked,
    /// What was found: `unmapped`, `ambiguous` or `rejected`.
    pub state: &'static str,
    /// Whether a row of the table decides that it has no safe target.
    pub decided: bool,
    /// Rows that have it.
    pub rows: u64,
    /// Where its results lie, where they are numbers.
    pub spread: Option<Spread>,
}

/// Rows and distinct values, by what the lookup says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coverage {
    /// Rows with a value.
    pub rows: u64,
    /// Rows that are mapped.
    pub rows_mapped: u64,
    /// Distinct values.
    pub values: u64,
    /// Distinct values that are mapped.
    pub values_mapped: u64,
    /// Values without a single target, the most frequent first.
    pub open: Vec<Open>,
    /// Where the results of what is mapped lie, by target code and unit.
    spreads: HashMap<(String, String), Spread>,
}

/// How much of a column a table covers.
pub fn coverage(values: &Values, lookup: &Lookup) -> Coverage {
    let mut coverage = Coverage::default();
    let mut numbers: HashMap<(String, String), Vec<f64>> = HashMap::new();
    for (asked, seen) in values {
        if asked.value.trim().is_empty() {
            continue;
        }
        coverage.rows += seen.rows;
        coverage.values += 1;
        let found = lookup.find(&asked.value, &asked.told());
        if let Found::Mapped(index) = found {
            coverage.rows_mapped += seen.rows;
            coverage.values_mapped += 1;
            if let Some(target) = lookup.target(index) {
                let of_target = numbers.entry((target.code.clone(), unit_condition(&asked.unit)));
                let of_target = of_target.or_default();
                of_target.extend(&seen.numbers);
            }
            continue;
        }
        coverage.open.push(Open {
            asked: asked.clone(),
            state: found.status(),
            decided: lookup.without_target(&asked.value, &asked.told()).is_some(),
            rows: seen.rows,
            spread: seen.spread(),
        });
    }
    let spreads = numbers.into_iter();
    coverage.spreads = spreads
        .filter_map(|(of, numbers)| Some((of, Spread::of(numbers)?)))
        .collect();
    coverage
        .open
        .sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.asked.cmp(&b.asked)));
    coverage
}

/// What of a score is left where results lie elsewhere than those of the target, and where the target has none.
const ELSEWHERE: f32 = 0.8;
const UNSEEN: f32 = 0.95;

/// What was found for the values that a table does not cover.
#[derive(Clone, Debug, Default)]
pub struct Suggested {
    /// The candidates.
    pub sheet: Sheet,
    /// What has none.
    pub without: Vec<Asked>,
}

/// Candidates for what is not covered, as rows to review: `proposed`, the best first, with what led to them: names,
/// units, and where the results lie in comparison with those already mapped. What the table decides to be without a target
/// is left at that; where another one decides so, a row without a target says which and why, behind all others.
pub fn suggest(coverage: &Coverage, index: &Index, table: &Sheet, each: usize, least: f32) -> Suggested {
    // What a reviewer turned down is not offered again.
    let rejected: HashSet<(&str, &str)> = table
        .lines
        .iter()
        .filter(|line| line.get("status") == "rejected")
        .map(|line| (line.get("source_name"), line.get("target_code")))
        .collect();
    let (mut sheet, mut decided) = (Sheet::default(), Vec::new());
    let mut without = Vec::new();
    for open in &coverage.open {
        let asked = &open.asked;
        let elsewhere = index.without_target(&asked.value, &asked.told());
        if open.decided || elsewhere.is_some() {
            without.push(asked.clone());
            if let Some((place, why)) = elsewhere.filter(|_| !open.decided) {
                let mut line = proposed(asked);
                line.set(
                    "note",
                    format!(
                        "{} rows; {place} decides that there is no safe target: {why}",
                        open.rows
                    ),
                );
                decided.push(line);
            }
            continue;
        }
        // Results that are numbers are no presence, whatever their unit.
        let told = match open.spread {
            Some(_) if asked.kind == Kind::Any => Told {
                kind: Kind::Number,
                ..asked.told()
            },
            _ => asked.told(),
        };
        let unit = unit_condition(&asked.unit);
        // More than are wanted: their order changes by the results.
        let mut found = index.search(&asked.value, &told, each.saturating_mul(4));
        for candidate in &mut found {
            let theirs = coverage.spreads.get(&(candidate.target.code.clone(), unit.clone()));
            candidate.score *= match (&open.spread, theirs) {
                (Some(own), Some(theirs)) => ELSEWHERE + (1.0 - ELSEWHERE) * own.shared(theirs),
                (Some(_), None) => UNSEEN,
                (None, _) => 1.0,
            };
        }
        found.retain(|candidate| {
            let known = (asked.value.as_str(), candidate.target.code.as_str());
            candidate.score >= least && !rejected.contains(&known)
        });
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        if found.is_empty() {
            without.push(asked.clone());
        }
        for candidate in found.into_iter().take(each) {
            let mut line = proposed(asked);
            line.set("target_system", candidate.target.system.as_str())
                .set("target_code", candidate.target.code.as_str())
                .set("target_name", candidate.target.name.as_str())
                .set("equivalence", "equivalent")
                .set("unit", candidate.target.unit.as_str())
                .set("score", format!("{:.3}", candidate.score))
                .set("note", format!("{} rows; by the name {:?}", open.rows, candidate.name));
            sheet.lines.push(line);
        }
    }
    sheet.lines.extend(decided);
    Suggested { sheet, without }
}

/// A row to review, without its target.
fn proposed(asked: &Asked) -> Line {
    let unit = match asked.kind {
        Kind::Titre => TITER,
        _ => asked.unit.as_str(),
    };
    let mut line = Line::default();
    line.set("source_name", asked.value.trim())
        .set("status", "proposed")
        .set("when_unit", unit)
        .set("when_specimen", asked.specimen.as_str())
        .set("origin", "clinmill map suggest");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{By, table::entries};
    use clinmill_sdk::{MappingTable, Resource};

    fn table(rows: &str) -> MappingTable {
        let mut resource = Resource::default();
        let yaml = "title: t\nfrom: a\nto: b\nversion: 1\norigin: here\nlicence: x\n";
        let head = "source_code,source_name,target_system,target_code,target_name,equivalence,status,origin,note\n";
        resource.files.insert("mapping.yaml".into(), yaml.into());
        resource.files.insert("map.csv".into(), format!("{head}{rows}").into());
        MappingTable::read("maps:x", &resource).unwrap()
    }

    #[test]
    fn what_is_open_is_suggested_reviewed_and_merged() {
        let known = table(
            ",总胆红素,s,1,Bilirubin,equivalent,accepted,manual,\n,总胆红素测定,s,9,x,equivalent,rejected,manual,\n",
        );
        let values: Values = [("总胆红素", 7), ("血清总胆红素", 5), ("总胆红素测定", 2), (" ", 4)]
            .map(|(value, rows)| {
                let mut seen = Seen::default();
                (0..rows).for_each(|_| seen.add(None));
                let asked = Asked {
                    value: value.to_owned(),
                    ..Asked::default()
                };
                (asked, seen)
            })
            .into();
        let found = coverage(&values, &Lookup::new(&known, By::Name).unwrap());
        assert_eq!(
            (found.rows, found.rows_mapped, found.values, found.values_mapped),
            (14, 7, 3, 1)
        );
        assert_eq!(found.open[0].asked.value, "血清总胆红素");
        assert_eq!(found.open[1].state, "rejected");
        let mut index = Index::default();
        index.add_entries(&entries(&known, By::Name).unwrap());
        let sheet = Sheet::of(&known);
        let Suggested {
            sheet: offered,
            without,
        } = suggest(&found, &index, &sheet, 5, 0.1);
        assert!(without.is_empty(), "{without:?}");
        assert_eq!(offered.lines.len(), 2);
        assert_eq!(offered.lines[0].get("target_code"), "1");
    }

    #[test]
    fn suggestions_are_of_the_rows_own_measure() {
        let known = table(
            ",C反应蛋白,http://loinc.org,1988-5,C reactive protein [Mass/volume] in Serum or Plasma,equivalent,accepted,m,\n\
             ,C反应蛋白定性,http://loinc.org,11039-5,C reactive protein [Presence] in Serum or Plasma,equivalent,accepted,m,\n\
             ,C反应蛋白摩尔,http://loinc.org,76486-0,C reactive protein [Moles/volume] in Serum or Plasma,equivalent,accepted,m,\n\
             ,尿C反应蛋白,http://loinc.org,2345-7,C reactive protein [Mass/volume] in Urine,equivalent,accepted,m,\n",
        );
        let mut index = Index::default();
        index.add_entries(&entries(&known, By::Name).unwrap());
        let offered = |unit: &str, specimen: &str, kind, results: &[f64]| -> Vec<String> {
            let mut seen = Seen::default();
            results.iter().for_each(|result| seen.add(Some(*result)));
            seen.rows = seen.rows.max(1);
            let asked = Asked {
                value: "超敏C反应蛋白".into(),
                unit: unit.into(),
                specimen: specimen.into(),
                kind,
            };
            let found = coverage(&[(asked, seen)].into(), &Lookup::new(&known, By::Name).unwrap());
            let sheet = suggest(&found, &index, &Sheet::default(), 9, 0.1).sheet;
            let mut codes: Vec<_> = sheet
                .lines
                .iter()
                .map(|line| line.get("target_code").to_owned())
                .collect();
            codes.sort();
            codes
        };
        assert_eq!(offered("", "", Kind::Any, &[]).len(), 4);
        assert_eq!(offered("mg/L", "血清", Kind::Any, &[]), ["1988-5"]);
        assert_eq!(offered("nmol/L", "", Kind::Any, &[]), ["76486-0"]);
        assert_eq!(offered("mg/L", "尿", Kind::Any, &[]), ["2345-7"]);
        assert_eq!(offered("", "血清", Kind::Any, &[5.0; FEW]), ["1988-5", "76486-0"]);
        assert!(offered("", "血清", Kind::Titre, &[]).is_empty());
    }

    /// A row that says why a name has no safe target is no gap to be filled.
    #[test]
    fn what_a_table_decides_is_not_suggested() {
        let other = table(
            ",D-dimer FEU,http://loinc.org,48065-7,Fibrin D-dimer FEU,equivalent,accepted,m,\n\
             ,D-dimer,,,,,unmapped,m,FEU or DDU?\n",
        );
        let asked = Asked {
            value: "d-dimer".into(),
            unit: "ng/mL".into(),
            ..Asked::default()
        };
        let values: Values = [(
            asked.clone(),
            Seen {
                rows: 3,
                ..Seen::default()
            },
        )]
        .into();
        let offered = |own: &MappingTable| {
            let mut index = Index::default();
            for table in [own, &other] {
                index.add_table(table).unwrap();
            }
            let found = coverage(&values, &Lookup::new(own, By::Name).unwrap());
            suggest(&found, &index, &Sheet::of(own), 5, 0.1)
        };
        let found = offered(&table(",x,s,1,X,equivalent,accepted,m,\n"));
        assert_eq!((found.sheet.lines.len(), &found.without), (1, &vec![asked.clone()]));
        let cells = ["source_name", "when_unit", "status", "target_code", "note"];
        assert_eq!(
            cells.map(|column| found.sheet.lines[0].get(column)),
            [
                "d-dimer",
                "ng/mL",
                "proposed",
                "",
                "3 rows; maps:x/map.csv:3 decides that there is no safe target: FEU or DDU?"
            ]
        );
        // The table itself has decided: there is nothing to review.
        let found = offered(&other);
        assert_eq!((found.sheet.lines.len(), found.without), (0, vec![asked]));
    }

    #[test]
    fn a_sample_is_like_the_whole() {
        let mut seen = Seen::default();
        (0..100_000).for_each(|i| seen.add(Some(f64::from(i))));
        seen.add(Some(f64::NAN));
        assert_eq!((seen.rows, seen.numbers.len() as u64), (100_001, SAMPLE));
        let spread = seen.spread().unwrap();
        assert!((8_000.0..12_000.0).contains(&spread.low) && (88_000.0..92_000.0).contains(&spread.high));
        let of = |low: f64, high: f64| Spread { low, high };
        assert_eq!(of(0.0, 10.0).shared(&of(5.0, 100.0)), 0.5);
        assert_eq!(of(0.0, 10.0).shared(&of(11.0, 12.0)), 0.0);
        assert_eq!(of(1.0, 1.0).shared(&of(0.0, 2.0)), 1.0);
        assert_eq!(Spread::of(vec![1.0; FEW - 1]), None);
    }
}
