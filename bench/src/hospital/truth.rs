//! What must be in the dataset after each week, reckoned from what happened, not from what was written.

use super::{
    Options,
    clock::{Minute, dashed},
    faults::Broken,
    notes::{dialogues, notes},
    orders::{Feed, Order, orders},
    people::{Patient, Role},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

/// More patients than this are counted only, not listed.
pub const LISTED: u64 = 500;

/// The tables whose rows are counted.
pub const TABLES: [&str; 7] = [
    "person",
    "visit",
    "result_hl7",
    "result_lis",
    "carotid_stenting",
    "note",
    "dialogue",
];

/// The rows of one patient after one week: table, key, value.
pub type State = BTreeMap<(&'static str, String), String>;

/// The patient's rows as they must be when the drops up to this week have been read. Weeks count from 0; -1: none.
pub fn state(story: &Story<'_>, week: i64) -> State {
    let day = week * 7 + 6;
    let p = story.patient;
    let mut rows = State::new();
    if p.visits.first().is_none_or(|first| first.admitted.day() > day) {
        return rows;
    }
    rows.insert(("person", p.mrn.clone()), String::new());
    for visit in p.visits.iter().filter(|visit| visit.admitted.day() <= day) {
        if visit.cancelled.is_some_and(|at| at.day() <= day) {
            continue;
        }
        rows.insert(
            ("visit", visit.no.clone()),
            discharged(visit, day).map_or_else(String::new, Minute::iso),
        );
    }
    for order in &story.orders {
        let table = if order.feed == Feed::Hl7 {
            "result_hl7"
        } else {
            "result_lis"
        };
        for assay in order.panel.assays {
            if let Some(line) = order.known(assay, day) {
                rows.insert((table, format!("{} {}", order.no, assay.name)), line.value.clone());
            }
        }
    }
    for row in registry(p, week) {
        rows.insert(("carotid_stenting", row[0].clone()), row[9].clone());
    }
    for note in story.notes.iter().filter(|note| note.arrives <= day) {
        rows.insert(("note", format!("{} {}", note.visit, note.kind)), String::new());
    }
    for (number, _) in story.calls.iter().enumerate().filter(|(_, call)| call.0 <= day) {
        rows.insert(("dialogue", format!("{} {number}", p.mrn)), String::new());
    }
    rows
}

/// The patient's rows in the registry's export of this week, one field per column.
pub fn registry(p: &Patient, week: i64) -> Vec<[String; 10]> {
    let since = week - p.start / 7;
    let mut rows = Vec::new();
    for (number, visit) in p.visits.iter().enumerate() {
        let Some(o) = visit.operation.as_ref().filter(|o| o.at.day() <= week * 7 + 6) else {
            continue;
        };
        if p.role == Role::Vanished && since >= 2 {
            continue;
        }
        let changed = p.role == Role::Changed && number == 0 && since >= 1;
        rows.push([
            visit.no.clone(),
            p.mrn_at(o.at).to_owned(),
            dashed(o.at.day()),
            o.side.to_owned(),
            o.stenosis.to_string(),
            o.stent.to_owned(),
            o.size.to_owned(),
            o.protection.to_owned(),
            o.surgeon.to_owned(),
            if changed {
                "短暂性脑缺血发作"
            } else {
                "随访中"
            }
            .to_owned(),
        ]);
    }
    rows
}

fn discharged(visit: &super::people::Visit, day: i64) -> Option<Minute> {
    let said = visit
        .discharges
        .iter()
        .rev()
        .find(|discharge| discharge.at.day() <= day)?;
    said.cancelled.is_none_or(|at| at.day() > day).then_some(said.at)
}

/// A patient with everything that happens.
pub struct Story<'a> {
    /// The patient.
    pub patient: &'a Patient,
    /// The orders.
    pub orders: Vec<Order>,
    /// The notes.
    pub notes: Vec<super::notes::Note>,
    /// The calls after discharge: day of arrival and JSON line.
    pub calls: Vec<(i64, String)>,
}

impl<'a> Story<'a> {
    /// The story of this patient.
    pub fn new(options: &Options, patient: &'a Patient) -> Self {
        Self {
            patient,
            orders: orders(options, patient),
            notes: notes(options, patient),
            calls: dialogues(options, patient),
        }
    }
}

/// What must be true after one week.
#[derive(Default)]
pub struct WeekTruth {
    /// Rows by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// Rows that were not there a week ago, by table.
    pub new: BTreeMap<&'static str, u64>,
    /// Rows with another value than a week ago, by table.
    pub changed: BTreeMap<&'static str, u64>,
    /// Rows that are gone, by table.
    pub removed: BTreeMap<&'static str, u64>,
    /// Broken records.
    pub broken: Vec<Broken>,
    /// Files that say what earlier ones said.
    pub resent: Vec<String>,
    /// Records written, by kind of file.
    pub written: BTreeMap<&'static str, u64>,
}

impl WeekTruth {
    /// Counts one patient.
    pub fn count(&mut self, story: &Story<'_>, week: i64) {
        let (before, after) = (state(story, week - 1), state(story, week));
        for (key, value) in &after {
            *self.rows.entry(key.0).or_default() += 1;
            match before.get(key) {
                None => *self.new.entry(key.0).or_default() += 1,
                Some(old) if old != value => *self.changed.entry(key.0).or_default() += 1,
                Some(_) => {}
            }
        }
        for key in before.keys().filter(|key| !after.contains_key(*key)) {
            *self.removed.entry(key.0).or_default() += 1;
        }
    }

    fn json(&self, week: i64) -> Value {
        let of = |counts: &BTreeMap<&'static str, u64>| -> Value {
            TABLES
                .iter()
                .map(|table| (*table, counts.get(table).copied().unwrap_or(0)))
                .collect()
        };
        json!({
            "week": week + 1,
            "written": self.written,
            "rows": of(&self.rows),
            "new": of(&self.new),
            "changed": of(&self.changed),
            "removed": of(&self.removed),
            "broken": self.broken.iter().map(|b| json!({ "file": b.file, "what": b.what })).collect::<Vec<_>>(),
            "resent": self.resent,
        })
    }
}

/// Writes the truth: counts per week, and for few patients every row with its value after each week.
///
/// # Errors
/// When it cannot be written.
pub fn write(options: &Options, weeks: &[WeekTruth], out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{{\"options\": {},\n\"weeks\": [",
        json!({ "patients": options.patients, "weeks": options.weeks, "seed": options.seed, "draws": options.draws })
    )?;
    for (week, truth) in weeks.iter().enumerate() {
        let comma = if week + 1 < weeks.len() { "," } else { "" };
        writeln!(out, "{}{comma}", truth.json(i64::try_from(week).unwrap_or(0)))?;
    }
    write!(out, "]")?;
    if options.patients <= LISTED {
        list(options, out)?;
    }
    writeln!(out, "\n}}")
}

fn list(options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let patients: Vec<Patient> = (0..options.patients)
        .map(|index| Patient::new(options, index))
        .collect();
    let mut people = Vec::new();
    let mut rows: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for patient in &patients {
        let story = Story::new(options, patient);
        people.push(json!([
            patient.mrn,
            patient.temporary,
            patient.sex.to_string(),
            patient.birth,
            patient.place[0],
            format!("{:?}", patient.role)
        ]));
        let states: Vec<State> = (0..options.weeks).map(|week| state(&story, week)).collect();
        let keys: BTreeSet<_> = states.iter().flat_map(BTreeMap::keys).collect();
        for key in keys.into_iter().filter(|key| !matches!(key.0, "person" | "dialogue")) {
            let mut row = vec![json!(patient.mrn)];
            row.extend(key.1.split(' ').map(Value::from));
            // The value after each week; null where there is no row. A value that stays is written once.
            let values: Vec<Option<&String>> = states.iter().map(|state| state.get(key)).collect();
            row.push(json!(values));
            rows.entry(key.0).or_default().push(Value::from(row));
        }
    }
    section(
        out,
        "person",
        &["mrn", "temporary_mrn", "sex", "birth", "region", "incident"],
        &people,
    )?;
    for (table, columns) in [
        ("visit", &["mrn", "visit_no", "discharged_at"][..]),
        ("result_hl7", &["mrn", "order_no", "test_name", "value"]),
        ("result_lis", &["mrn", "order_no", "test_name", "value"]),
        ("carotid_stenting", &["mrn", "visit_no", "outcome_30d"]),
        ("note", &["mrn", "visit_no", "kind", "present"]),
    ] {
        section(out, table, columns, rows.get(table).map_or(&[], Vec::as_slice))?;
    }
    Ok(())
}

/// One table: its last column holds a list with the value after each week.
fn section(out: &mut dyn Write, name: &str, columns: &[&str], rows: &[Value]) -> io::Result<()> {
    write!(out, ",\n\"{name}\": {{\"columns\": {}, \"rows\": [", json!(columns))?;
    for (i, row) in rows.iter().enumerate() {
        write!(out, "{}\n{row}", if i == 0 { "" } else { "," })?;
    }
    write!(out, "]}}")
}
