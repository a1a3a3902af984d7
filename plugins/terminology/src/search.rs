//! Candidates for names without a row: an inverted index of character n-grams, so that a search reads a few postings
//! and not all targets.

use crate::{
    By, Lookup, Told,
    fold::{condition, fold, unit_condition},
    measure, specimen,
    table::{Entry, Target, When, entries},
};
use clinmill_sdk::{MappingTable, PluginError, RowState};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::OnceLock,
};
use xxhash_rust::xxh3::xxh3_64;

/// Postings that find names in one search, at most; the rarest n-grams come first.
const BUDGET: usize = 60_000;

/// An n-gram that stands in more than this share of the names tells little: it counts for names that others find.
const COMMON: usize = 10;

/// So many postings are never too many.
const FEW: usize = 5_000;

/// What of a score is left where a row asks for another specimen.
const ELSEWHERE: f32 = 0.8;

/// A name that leads to a target.
struct Document {
    name: String,
    target: usize,
    length: f32,
    /// The specimen that the row of the name asks for.
    specimen: Option<Box<When>>,
}

/// A target, and what a search compares of it.
struct Goal {
    target: Target,
    /// Worked out once a search gets to it: text is slow to look at, and most targets are never near.
    traits: OnceLock<Traits>,
}

/// What a unit and a specimen are compared with.
struct Traits {
    specimen: Option<&'static str>,
    measure: Option<&'static str>,
    /// As a condition has it.
    unit: String,
}

impl Goal {
    fn traits(&self) -> &Traits {
        self.traits.get_or_init(|| Traits {
            specimen: specimen::of_name(&self.target.name),
            measure: measure::of_target(&self.target),
            unit: unit_condition(&self.target.unit),
        })
    }
}

/// An index of names.
#[derive(Default)]
pub struct Index {
    documents: Vec<Document>,
    targets: Vec<Goal>,
    postings: HashMap<u64, Vec<u32>>,
    known: HashMap<(String, String), usize>,
    tables: Vec<Decided>,
}

/// What a table decides of names: its lookup, and by lines why there is no target.
struct Decided {
    reference: String,
    lookup: Lookup,
    why: HashMap<u32, String>,
}

/// A target that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate<'a> {
    /// The target.
    pub target: &'a Target,
    /// The name that led to it.
    pub name: &'a str,
    /// How alike name and unit are, from 0 to 1.
    pub score: f32,
}

/// N-grams of a folded name: pairs and single characters of ideographs, three characters of other scripts with their
/// ends marked. Each once.
fn grams(folded: &str) -> Vec<u64> {
    let mut grams = Vec::new();
    let ideograph = |c: char| c >= '\u{3400}';
    let mut run: Vec<char> = Vec::new();
    let mut add = |run: &mut Vec<char>| {
        if let Some(first) = run.first() {
            if ideograph(*first) {
                grams.extend(run.iter().map(|c| hash(&[*c])));
                grams.extend(run.windows(2).map(hash));
            } else {
                let marked: Vec<char> = ['\u{2}'].into_iter().chain(run.drain(..)).chain(['\u{3}']).collect();
                grams.extend(marked.windows(3).map(hash));
            }
        }
        run.clear();
    };
    for c in folded.chars() {
        let ends = !c.is_alphanumeric() || run.first().is_some_and(|first| ideograph(*first) != ideograph(c));
        if ends {
            add(&mut run);
        }
        if c.is_alphanumeric() {
            run.push(c);
        }
    }
    add(&mut run);
    grams.sort_unstable();
    grams.dedup();
    grams
}

fn hash(characters: &[char]) -> u64 {
    xxh3_64(characters.iter().collect::<String>().as_bytes())
}

/// A name to cut into n-grams: folded, but words keep apart.
fn words(name: &str) -> String {
    name.split_whitespace().map(fold).collect::<Vec<_>>().join(" ")
}

impl Index {
    /// Adds a name that leads to a target.
    pub fn add(&mut self, name: &str, target: &Target) {
        self.put(name, target, None);
    }

    fn put(&mut self, name: &str, target: &Target, specimen: Option<Box<When>>) {
        let grams = grams(&words(name));
        if grams.is_empty() || target.code.is_empty() {
            return;
        }
        let key = (target.system.clone(), target.code.clone());
        let place = *self.known.entry(key).or_insert_with(|| {
            self.targets.push(Goal {
                target: target.clone(),
                traits: OnceLock::new(),
            });
            self.targets.len() - 1
        });
        let document = self.documents.len() as u32;
        self.documents.push(Document {
            name: name.to_owned(),
            target: place,
            length: grams.len() as f32,
            specimen,
        });
        for gram in grams {
            self.postings.entry(gram).or_default().push(document);
        }
    }

    /// Adds a table: its accepted rows as targets, and what it decides to be without one.
    ///
    /// # Errors
    /// What [`entries`] refuses.
    pub fn add_table(&mut self, table: &MappingTable) -> Result<(), PluginError> {
        let entries = entries(table, By::Name)?;
        self.add_entries(&entries);
        if !entries.iter().any(|entry| entry.state == RowState::Unmapped) {
            return Ok(());
        }
        let note = table.column("note");
        let rows = table.rows.iter();
        self.tables.push(Decided {
            reference: table.reference().to_owned(),
            lookup: Lookup::new(table, By::Name)?,
            why: rows
                .map(|row| (row.line, note.map_or("", |note| row.cell(note)).to_owned()))
                .collect(),
        });
        Ok(())
    }

    /// Where one of the tables decides that a name has no safe target, and why.
    pub fn without_target(&self, name: &str, told: &Told<'_>) -> Option<(String, &str)> {
        self.tables.iter().find_map(|table| {
            let line = table.lookup.without_target(name, told)?;
            let why = table.why.get(&line).map_or("", String::as_str);
            Some((format!("{}/map.csv:{line}", table.reference), why))
        })
    }

    /// Adds the accepted rows of a table, by their own name and by their target's.
    pub fn add_entries(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| entry.state == RowState::Accepted) {
            let asks = (!entry.specimen.is_none()).then(|| Box::new(entry.specimen.clone()));
            self.put(&entry.key, &entry.target, asks);
            self.add(&entry.target.name, &entry.target);
        }
    }

    /// Targets in the index.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// True without targets.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// What an n-gram that stands in so many names tells.
    fn weight(&self, found: usize) -> f32 {
        let all = self.documents.len().max(1) as f32;
        (1.0 + all / (1.0 + found as f32)).ln()
    }

    /// The names that share n-grams, with the weight and the number of those shared. And how many postings found them.
    ///
    /// A name that shares nothing but what is nearly everywhere is not found, unless the rest finds fewer than `least`.
    fn shared(&self, grams: &[u64], least: usize) -> (Vec<(u32, f32, f32)>, usize) {
        let mut lists: Vec<&Vec<u32>> = grams.iter().filter_map(|gram| self.postings.get(gram)).collect();
        lists.sort_by_key(|list| list.len());
        let common = (self.documents.len() / COMMON).max(FEW);
        let mut sums = vec![(0.0f32, 0.0f32); self.documents.len()];
        let mut found: Vec<u32> = Vec::new();
        let mut read = 0;
        for list in lists {
            let weight = self.weight(list.len());
            let tells = list.len() <= BUDGET - read && (list.len() <= common || found.len() < least);
            let finds = found.is_empty() || tells;
            let most = if finds { BUDGET - read } else { list.len() };
            for document in list.iter().take(most) {
                let Some(sum) = sums.get_mut(*document as usize) else {
                    continue;
                };
                if sum.1 == 0.0 {
                    if !finds {
                        continue;
                    }
                    found.push(*document);
                }
                sum.0 += weight;
                sum.1 += 1.0;
            }
            if finds {
                read = (read + list.len()).min(BUDGET);
            }
        }
        let names = found.into_iter().filter_map(|document| {
            let (weight, count) = sums.get(document as usize)?;
            Some((document, *weight, *count))
        });
        (names.collect(), read)
    }

    /// The best targets for a name, the best first: by the n-grams shared, rare ones counting more, by the unit and by the
    /// specimen. What cannot be the target of the row for these is left out, such as whether there is any for `mg/L`.
    pub fn search(&self, name: &str, told: &Told<'_>, limit: usize) -> Vec<Candidate<'_>> {
        let grams = grams(&words(name));
        let asked = grams.len() as f32;
        let whole: f32 = grams
            .iter()
            .map(|gram| self.weight(self.postings.get(gram).map_or(0, Vec::len)))
            .sum();
        let (shared, _) = self.shared(&grams, limit);
        let by_name = shared.into_iter().filter_map(|(number, weight, count)| {
            let document = self.documents.get(number as usize)?;
            let of_name = weight / whole.max(f32::EPSILON);
            let of_both = 2.0 * count / (asked + document.length);
            // The bits of numbers that are not negative have their order.
            Some(((of_name * of_both).sqrt().to_bits(), Reverse(number)))
        });
        let mut by_name: BinaryHeap<(u32, Reverse<u32>)> = by_name.collect();
        let seeks = Seeks::new(told);
        // By target: the score and the name that led to it, the best first.
        let mut best: Vec<(usize, f32, u32)> = Vec::new();
        while let Some((score, Reverse(number))) = by_name.pop() {
            let score = f32::from_bits(score);
            // Unit and specimen only take from a score: what comes now is no better.
            if best.len() >= limit && best.last().is_none_or(|(_, least, _)| score < *least) {
                break;
            }
            let Some(document) = self.documents.get(number as usize) else {
                continue;
            };
            let Some(goal) = self.targets.get(document.target) else {
                continue;
            };
            let score = score * seeks.alike(goal) * seeks.asked(document);
            if score <= 0.0 {
                continue;
            }
            let better = |known: &(usize, f32, u32)| score > known.1 || (score == known.1 && number < known.2);
            match best.iter_mut().find(|known| known.0 == document.target) {
                Some(known) if better(known) => *known = (document.target, score, number),
                Some(_) => continue,
                None => best.push((document.target, score, number)),
            }
            best.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.2.cmp(&b.2)));
            best.truncate(limit);
        }
        let candidate = |(target, score, number): (usize, f32, u32)| {
            Some(Candidate {
                target: &self.targets.get(target)?.target,
                name: &self.documents.get(number as usize)?.name,
                score,
            })
        };
        best.into_iter().filter_map(candidate).collect()
    }
}

/// What a row says beside its name, as it is compared.
struct Seeks {
    measure: Option<&'static str>,
    specimen: Option<&'static str>,
    unit: Option<String>,
    from: Option<String>,
}

impl Seeks {
    fn new(told: &Told<'_>) -> Self {
        Self {
            measure: measure::of_told(told),
            specimen: told.specimen.and_then(specimen::told),
            unit: told.unit.map(unit_condition).filter(|unit| !unit.is_empty()),
            from: told.specimen.map(condition),
        }
    }

    /// What of a score is left beside a target's unit and specimen, 0 where it cannot be the row's.
    fn alike(&self, goal: &Goal) -> f32 {
        let theirs = goal.traits();
        let other = specimen::contradict(self.specimen, theirs.specimen);
        match &self.unit {
            _ if other || measure::unlike(self.measure, theirs.measure) => 0.0,
            None => 1.0,
            Some(unit) if theirs.unit == *unit => 1.0,
            Some(_) if goal.target.unit.is_empty() => 0.95,
            Some(_) => 0.8,
        }
    }

    /// What of it is left beside what the name's own row asks for: a row of urine is none for who says no specimen.
    fn asked(&self, document: &Document) -> f32 {
        let asks = document.specimen.as_ref();
        match asks.is_some_and(|when| when.holds(self.from.as_deref(), None).is_none()) {
            true => ELSEWHERE,
            false => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(code: &str, unit: &str) -> Target {
        Target {
            system: "s".into(),
            code: code.into(),
            name: String::new(),
            unit: unit.into(),
        }
    }

    #[test]
    fn names_in_both_scripts_find_their_targets() {
        let mut index = Index::default();
        for (name, code, unit) in [
            ("天门冬氨酸氨基转移酶", "ast", "U/L"),
            ("丙氨酸氨基转移酶", "alt", "U/L"),
            ("Alanine aminotransferase", "alt", "U/L"),
            ("Alkaline phosphatase", "alp", "U/L"),
            ("总胆红素", "tbil", "umol/L"),
            ("直接胆红素", "dbil", "umol/L"),
            ("Glucose", "mass", "mg/dL"),
            ("Glucose", "molar", "mmol/L"),
        ] {
            index.add(name, &target(code, unit));
        }
        let first = |name: &str, unit: Option<&str>| {
            let told = Told::of(unit.unwrap_or_default(), "", None);
            index.search(name, &told, 5).first().map(|c| c.target.code.clone())
        };
        assert_eq!(first("血清丙氨酸氨基转移酶测定", None).as_deref(), Some("alt"));
        assert_eq!(first("alanine amino-transferase", None).as_deref(), Some("alt"));
        assert_eq!(first("總膽紅素", None).as_deref(), Some("tbil"));
        assert_eq!(first("glucose, serum", Some("mmol/l")).as_deref(), Some("molar"));
        // Another dimension ranks lower, whatever the scale: g/L is nearer to mg/dL than to mmol/L.
        assert_eq!(first("glucose, serum", Some("g/L")).as_deref(), Some("mass"));
        assert_eq!(first("glucose, serum", Some("UMOL/L")).as_deref(), Some("molar"));
        assert_eq!(first("???", None), None);
        let told = Told::of("mg/dL", "", None);
        let found = index.search("glucose", &told, 5);
        assert!(
            found.iter().all(|c| c.target.code == "mass"),
            "moles are no mass: {found:?}"
        );
        let exact = index.search("总胆红素", &Told::default(), 1);
        assert!((exact[0].score - 1.0).abs() < 1e-5, "{exact:?}");
        assert_eq!(index.len(), 7);
    }

    /// A hundred thousand targets as LOINC names them, and the budget of postings that a search may read.
    #[test]
    fn among_a_hundred_thousand_targets_a_search_reads_a_few() {
        const PARTS: [&str; 10] = [
            "Glucose",
            "Sodium",
            "Albumin",
            "Ferritin",
            "Cortisol",
            "Insulin",
            "Lactate",
            "Thyrotropin",
            "Troponin",
            "Urate",
        ];
        let mut index = Index::default();
        for i in 0..100_000usize {
            let (a, b) = (PARTS[i % 10], PARTS[i / 10 % 10]);
            let name = format!("{a} and {b} {:x} [Mass/volume] in Serum or Plasma", i / 100 * 7919);
            index.add(&name, &target(&i.to_string(), "mg/dL"));
        }
        index.add("总胆红素", &target("tbil", "umol/L"));
        assert_eq!(index.len(), 100_001);
        let commonest = index.postings.values().map(Vec::len).max().unwrap();
        assert!(
            commonest > BUDGET,
            "a search that read all postings would read {commonest} for one n-gram"
        );
        for i in [0usize, 12_345, 99_999] {
            let (a, b) = (PARTS[i % 10], PARTS[i / 10 % 10]);
            let found = index.search(&format!("{a}/{b} {:x} serum", i / 100 * 7919), &Told::default(), 5);
            assert!(found.iter().any(|c| c.target.code == i.to_string()), "{i}: {found:?}");
        }
        assert_eq!(index.search("血清总胆红素", &Told::default(), 1)[0].target.code, "tbil");
        // Text of a target is looked at where its name is among the best.
        let looked = index.targets.iter().filter(|goal| goal.traits.get().is_some()).count();
        assert!(looked < 200, "{looked}");
        let (found, read) = index.shared(&grams(&words("Serum or Plasma")), 5);
        assert!(found.len() <= BUDGET && read <= BUDGET, "{read}");
        // Words that stand everywhere count for what another finds, and find nothing beside it.
        let (found, read) = index.shared(&grams(&words(&format!("{:x} Serum or Plasma", 999 * 7919))), 5);
        assert!(read < 5_000 && found.len() < 5_000, "{read}, {}", found.len());
        assert!(found.iter().any(|(_, _, count)| *count > 12.0), "{found:?}");
    }
}
