//! What must be in the dataset after each week, reckoned from what happened, not from what was written.

use super::{
    super::{
        Options,
        clock::{Minute, dashed},
        faults::Broken,
    },
    course::{ASCITES, Course, ENCEPHALOPATHY, Evaluation, Incident, Operation},
    score::Inputs,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{self, Write},
};

/// The tables whose rows are counted.
pub const TABLES: [&str; 7] = [
    "person",
    "visit_occurrence",
    "condition_occurrence",
    "measurement",
    "procedure_occurrence",
    "drug_exposure",
    "liver_transplant",
];

/// The columns of the wide table that are checked, in this order.
pub const COLUMNS: [&str; 23] = [
    "diagnosis",
    "operated_on",
    "procedure",
    "donor",
    "cold_ischaemia_min",
    "bilirubin",
    "inr",
    "creatinine",
    "sodium",
    "albumin",
    "dialyses",
    "ascites",
    "encephalopathy",
    "meld",
    "meld_missing",
    "meld_na",
    "meld_na_missing",
    "child_pugh",
    "child_pugh_class",
    "child_pugh_missing",
    "immunosuppressants",
    "tacrolimus",
    "graft_status",
];

/// The last day of a week; weeks count from 0.
fn end(week: i64) -> i64 {
    week * 7 + 6
}

/// The operation as the registry's export of this week has it.
pub fn registered(course: &Course, week: i64) -> Option<&Operation> {
    let gone = course.incident == Incident::Vanished && week - course.patient.start / 7 >= 2;
    course.operation.as_ref().filter(|o| o.at.day() <= end(week) && !gone)
}

/// True when the patient is there at the end of a week, and the admission holds.
fn stays(course: &Course, week: i64) -> bool {
    let visit = course.visit();
    visit.admitted.day() <= end(week) && visit.cancelled.is_none_or(|at| at.day() > end(week))
}

/// The last number that is known of a test at the end of a week, of samples taken before or after the operation.
fn last(course: &Course, week: i64, name: &str, before: bool) -> Option<f64> {
    let operated = registered(course, week).map(|o| o.at);
    let counts = |taken: Minute| match operated {
        Some(at) => (taken < at) == before,
        None => before,
    };
    let taken = course.samples.iter().rev().filter(|sample| counts(sample.taken));
    taken
        .filter_map(|sample| sample.known(name, end(week)))
        .find_map(|result| result.value)
}

fn evaluation(course: &Course, week: i64) -> Option<&Evaluation> {
    course.evaluations.iter().rfind(|e| e.at.day() <= end(week))
}

/// What the scores are made of at the end of a week.
pub fn inputs(course: &Course, week: i64) -> Inputs {
    let evaluation = evaluation(course, week);
    let last = |name| last(course, week, name, true);
    Inputs {
        bilirubin: last("总胆红素"),
        inr: last("国际标准化比值"),
        creatinine: last("肌酐"),
        sodium: last("钠"),
        albumin: last("白蛋白"),
        dialyses: evaluation.and_then(|e| e.dialyses),
        ascites: evaluation.and_then(|e| e.ascites),
        encephalopathy: evaluation.and_then(|e| e.encephalopathy),
    }
}

/// The ATC codes of the immunosuppressants ordered by the end of a week, in their order.
fn immunosuppressants(course: &Course, week: i64) -> Option<String> {
    let ordered = course.drugs.iter().filter(|drug| drug.from.day() <= end(week));
    let mut codes: Vec<&str> = ordered
        .filter_map(|drug| match drug.what[0] {
            "他克莫司" => Some("L04AD02"),
            "吗替麦考酚酯" => Some("L04AA06"),
            "巴利昔单抗" => Some("L04AC02"),
            _ => None,
        })
        .collect();
    codes.sort_unstable();
    (!codes.is_empty()).then(|| codes.join(", "))
}

/// The patient's row of the wide table at the end of a week, [`COLUMNS`] in order.
pub fn row(course: &Course, week: i64) -> Option<Value> {
    if !stays(course, week) {
        return None;
    }
    let operation = registered(course, week);
    let inputs = inputs(course, week);
    let [meld, meld_na, child_pugh] = inputs.missing().map(|names| names.join(", "));
    let missing = |text: String| (!text.is_empty()).then_some(text);
    let number = |value: Option<f64>| value.map(|v| (v * 1e6).round() / 1e6);
    let class = inputs.child_pugh().map(|points| match points {
        ..7 => "A",
        7..10 => "B",
        _ => "C",
    });
    let graft = course
        .follow_ups
        .iter()
        .rev()
        .find_map(|f| f.said.iter().rfind(|(at, ..)| at.day() <= end(week)))
        .map(|(_, _, graft)| *graft);
    Some(json!([
        course.patient.diagnosis[1],
        operation.map(|o| dashed(o.at.day())),
        operation.map(|o| o.name),
        operation.map(|o| o.donor),
        operation.map(|o| o.ischaemia),
        number(inputs.bilirubin),
        number(inputs.inr),
        number(inputs.creatinine),
        number(inputs.sodium),
        number(inputs.albumin),
        inputs.dialyses,
        inputs.ascites.and_then(|n| ASCITES.get(n)),
        inputs.encephalopathy.and_then(|n| ENCEPHALOPATHY.get(n)),
        inputs.meld(),
        missing(meld),
        inputs.meld_na(),
        missing(meld_na),
        inputs.child_pugh(),
        class,
        missing(child_pugh),
        immunosuppressants(course, week),
        operation.and_then(|_| number(last(course, week, "他克莫司血药浓度", false))),
        graft,
    ]))
}

/// What must be true after one week.
#[derive(Default)]
pub struct WeekTruth {
    /// Rows by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// Broken records.
    pub broken: Vec<Broken>,
    /// Records written, by kind of file.
    pub written: BTreeMap<&'static str, u64>,
}

impl WeekTruth {
    /// Counts one patient.
    pub fn count(&mut self, course: &Course, week: i64) {
        let day = end(week);
        let mut add = |table, n: usize| *self.rows.entry(table).or_default() += n as u64;
        // Whoever was admitted by mistake is still somebody.
        add("person", usize::from(course.visit().admitted.day() <= day));
        let stays = usize::from(stays(course, week));
        add("visit_occurrence", stays);
        add("condition_occurrence", stays);
        add("liver_transplant", stays);
        let known = |s: &&super::labs::Sample| s.reports.iter().any(|r| r.arrives <= day);
        let samples = course.samples.iter().filter(known);
        let results = samples.filter_map(|s| s.reports.first()).map(|r| r.results.len());
        add("measurement", results.sum());
        add("procedure_occurrence", usize::from(registered(course, week).is_some()));
        add(
            "drug_exposure",
            course.drugs.iter().filter(|d| d.from.day() <= day).count(),
        );
    }

    fn json(&self, week: i64) -> Value {
        let rows: Value = TABLES
            .iter()
            .map(|table| (*table, self.rows.get(table).copied().unwrap_or(0)))
            .collect();
        json!({
            "week": week + 1,
            "written": self.written,
            "rows": rows,
            "broken": self.broken.iter().map(|b| json!({ "file": b.file, "what": b.what })).collect::<Vec<_>>(),
        })
    }
}

/// Writes the truth: counts per week, and for few patients every row of the wide table after each week.
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
    if options.patients <= super::super::truth::LISTED {
        write!(
            out,
            ",\n\"liver_transplant\": {{\"columns\": {},\n\"rows\": [",
            json!(["visit_no", "incident", COLUMNS])
        )?;
        let mut comma = "";
        for number in 0..options.patients {
            let course = Course::new(options, number);
            let rows: Vec<Option<Value>> = (0..options.weeks).map(|week| row(&course, week)).collect();
            let incident = format!("{:?}", course.incident);
            write!(out, "{comma}\n{}", json!([course.visit().no, incident, rows]))?;
            comma = ",";
        }
        write!(out, "]}}")?;
    }
    writeln!(out, "\n}}")
}
