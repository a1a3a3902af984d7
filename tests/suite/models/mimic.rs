//! The demo of MIMIC-III (PhysioNet, ODbL-1.0) through OMOP tables, counted again by a script without clinmill.

use super::{HEAD, dashboard, load, python, recount, script};
use clinmill_tests::{shared_data, site::Site};
use std::{path::Path, process::Command};

const MIMIC: &str = r#"sources:
  patients:
    plugin: table
    inputs: { glob: "inbox/PATIENTS.csv" }
    subject: { id: subject_id, issuer: MIMIC }
    key: [row_id]
    columns: { row_id: row_id, gender: gender, dob: { name: dob, type: timestamp }, dod: { name: dod, type: timestamp } }
  admissions:
    plugin: table
    inputs: { glob: "inbox/ADMISSIONS.csv" }
    subject: { id: subject_id, issuer: MIMIC }
    key: [hadm_id]
    columns:
      hadm_id: hadm_id
      admission_type: visit_source_value
      admittime: { name: visit_start_datetime, type: timestamp }
      dischtime: { name: visit_end_datetime, type: timestamp }
  diagnoses:
    plugin: table
    inputs: { glob: "inbox/DIAGNOSES_ICD.csv" }
    subject: { id: subject_id, issuer: MIMIC }
    key: [row_id]
    columns: { row_id: row_id, hadm_id: hadm_id, icd9_code: condition_source_value }
  labs:
    plugin: table
    inputs: { glob: "inbox/LABEVENTS.csv" }
    subject: { id: subject_id, issuer: MIMIC }
    key: [row_id]
    columns:
      row_id: row_id
      hadm_id: hadm_id
      itemid: measurement_source_value
      charttime: { name: measurement_datetime, type: timestamp }
      value: value_source_value
      valuenum: { name: value_as_number, type: number }
      valueuom: unit_source_value
transforms:
  persons:
    sql: |
      select gender as gender_source_value, case when gender = 'F' then 8532 when gender = 'M' then 8507 end
             as gender_concept_id, dob as birth_datetime from patients
  deaths:
    sql: select dod as death_datetime from patients where dod is not null
  conditions:
    sql: |
      select d.row_id, d.condition_source_value, d.hadm_id, a.visit_start_datetime as condition_start_datetime
      from diagnoses d join admissions a on d.hadm_id = a.hadm_id
  happened:
    sql: |
      select cast(visit_start_datetime as date) as day from admissions
      union all select cast(visit_end_datetime as date) from admissions
      union all select cast(measurement_datetime as date) from labs
  periods:
    sql: |
      select min(day) as observation_period_start_date, max(day) as observation_period_end_date
      from happened group by subject_id
tables:
  person:               { from: persons, key: [subject_id], model: omop-5.4 }
  observation_period:   { from: periods, key: [subject_id], model: omop-5.4 }
  death:                { from: deaths, key: [subject_id], model: omop-5.4 }
  visit_occurrence:     { from: admissions, key: [hadm_id], model: omop-5.4, columns: { hadm_id: { type: string } } }
  condition_occurrence: { from: conditions, key: [row_id], model: omop-5.4 }
  measurement:          { from: labs, model: omop-5.4 }
"#;

fn site(raw: &Path, pipeline: &str) -> Site {
    let site = Site::new(&format!("{HEAD}{pipeline}"));
    for name in ["PATIENTS.csv", "ADMISSIONS.csv", "DIAGNOSES_ICD.csv"] {
        site.put(&format!("inbox/{name}"), std::fs::read(raw.join(name)).unwrap());
    }
    let unpacked = Command::new("gzip")
        .arg("-dc")
        .arg(raw.join("LABEVENTS.csv.gz"))
        .output()
        .unwrap();
    assert!(unpacked.status.success());
    site.put("inbox/LABEVENTS.csv", unpacked.stdout);
    site.refresh();
    site
}

#[test]
fn real_tables_say_what_an_independent_script_says() {
    let Some(raw) = shared_data("tables-mimic3-demo") else {
        return;
    };
    let site = site(&raw, MIMIC);
    assert_eq!(site.quarantine(), []);
    let json = site.manifest(1);
    let rows = |table: &str| json["tables"][table]["row_count"].as_u64();
    assert_eq!(
        ["person", "visit_occurrence", "condition_occurrence", "measurement"].map(rows),
        [Some(50), Some(70), Some(961), Some(42_277)]
    );
    let Some(run) = recount(include_str!("mimic_check.py"), &raw, &site) else {
        return;
    };
    let told = run.expect_code(0).json();
    assert!(told["measurement"].as_u64() > Some(200), "{told}");
    if let Some(failed) = dashboard(&site) {
        // Whoever published the demo moved its dates into a future of their own, and births of the old before 1850.
        let moved = |f: &&String| !f.starts_with("plausibleValueHigh ") && !f.starts_with("plausibleValueLow person.");
        assert_eq!(failed.iter().find(moved), None);
        assert!(failed.contains(&"plausibleValueHigh visit_occurrence.visit_start_date: 70 of 70".to_owned()));
    }
    if let Some(loaded) = load(&site) {
        assert_eq!(loaded["measurement"], 42_277);
    }
    let Some(python) = python() else { return };
    let project = site.project();
    project
        .run(["export", "pipeline.yaml", "--model", "meds", "meds", "--quiet"])
        .expect_code(0);
    let seen = script(python, include_str!("meds_check.py"), &[&project.at("meds")]);
    assert_eq!(seen["subjects"], 50);
    assert!(seen["events"].as_u64() > Some(43_000), "{seen}");
}

#[test]
fn a_planted_factor_of_ten_is_noticed() {
    let Some(raw) = shared_data("tables-mimic3-demo") else {
        return;
    };
    let planted = MIMIC
        .replace(
            "tables:\n",
            "  tenfold:\n    sql: |\n      select row_id, hadm_id, measurement_source_value, measurement_datetime, \
             cast(null as varchar) as value_source_value, unit_source_value, case when measurement_source_value = '50868' then value_as_number * 10 \
             else value_as_number end as value_as_number from labs\ntables:\n",
        )
        .replace("{ from: labs, ", "{ from: tenfold, key: [row_id], ");
    let site = site(&raw, &planted);
    let Some(run) = recount(include_str!("mimic_check.py"), &raw, &site) else {
        return;
    };
    let run = run.expect_code(1);
    assert!(
        run.stderr.starts_with("measurement: ") && run.stderr.contains("50868"),
        "{}",
        run.stderr
    );
}
