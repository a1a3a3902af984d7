//! The demo of MIMIC-III (PhysioNet, ODbL-1.0) through values, codes and units to OMOP tables, counted again by a script
//! without clinmill that has factors of its own. `valuenum`, the hospital's own reading of its texts, is known to the script
//! alone.

use super::{HEAD, dashboard, load, python, recount, script};
use clinmill_tests::{copy_dir, root, shared_data, site::Site};
use std::{path::Path, process::Command};

const MIMIC: &str = r#"roots: { maps: maps }
sources:
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
  results:
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
  standard:
    from: results
    steps:
      - labvalue: { column: value_source_value, as: value, unit: unit_source_value }
      - terminology:
          column: measurement_source_value
          by: code
          unit: unit_source_value
          unit_in_value: value_unit
          kind: value_kind
          map: "maps:mimic3-labitems__loinc"
          as: loinc
      - terminology: { column: loinc_code, by: code, map: "maps:mimic-labs__unit", as: wanted }
      - units:
          value: value_number
          unit: unit_source_value
          unit_in_value: value_unit
          to_column: wanted_unit
          map: "maps:units-local__ucum"
          analytes: "maps:molar-mass__ucum"
          analyte: loinc_code
          on_error: "null"
      - terminology: { column: standard_unit, map: "maps:ucum__omop-unit", by: code, as: unit_concept }
  labs:
    sql: |
      select row_id, hadm_id, measurement_source_value, measurement_datetime, value_source_value, unit_source_value,
             loinc_code, cast(unit_concept_code as bigint) as unit_concept_id,
             case when unit_concept_code is not null then standard_unit end as value_as_number_unit,
             cast(case when unit_concept_code is not null then standard_value else value_number end as double)
             as value_as_number,
             case value_operator when '<' then 4171756 when '<=' then 4171754 when '>' then 4172704 when '>=' then 4171755
             end as operator_concept_id
      from standard
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
  measurement:
    from: labs
    key: [row_id]
    model: omop-5.4
    columns: { row_id: { type: string }, loinc_code: { type: string }, value_as_number_unit: { type: string } }
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
    for table in [
        "mimic3-labitems__loinc",
        "units-local__ucum",
        "molar-mass__ucum",
        "ucum__omop-unit",
    ] {
        copy_dir(&root().join("mappings").join(table), &site.at(&format!("maps/{table}")));
    }
    site.put("maps/mimic-labs__unit/map.csv", include_str!("mimic_units.csv"));
    site.put(
        "maps/mimic-labs__unit/mapping.yaml",
        "title: t\nfrom: LOINC\nto: units\nversion: 1.0.0\norigin: manual\nlicence: Apache-2.0\n",
    );
    site
}

/// What texts, items and units of a hospital become, step by step: `labvalue` reads the texts (the script takes the hospital's
/// own numbers, and comparisons with a pattern), `terminology` finds the codes that D_LABITEMS has, but for those that
/// contradict their unit, and `units` converts 18 of them; the others keep the hospital's unit, under its concept. Counts,
/// sums, minima and maxima are compared by item, unit and operator, and so are all texts.
#[test]
fn real_tables_say_what_an_independent_script_says() {
    let Some(raw) = shared_data("tables-mimic3-demo") else {
        return;
    };
    let site = site(&raw, MIMIC);
    site.refresh();
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
    assert!(told["measurement"].as_u64() > Some(400), "{told}");
    assert!(told["codes"].as_u64() > Some(300), "{told}");
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

/// A factor of ten in a molar mass, one in a spelling of a unit and one in a query: the script names all three.
#[test]
fn planted_factors_of_ten_are_noticed() {
    let Some(raw) = shared_data("tables-mimic3-demo") else {
        return;
    };
    let planted = MIMIC.replace(
        "then standard_value ",
        "then standard_value * case measurement_source_value when '50868' then 10 else 1 end ",
    );
    assert_ne!(planted, MIMIC);
    let site = site(&raw, &planted);
    for (table, row, wrong) in [
        ("molar-mass__ucum", "2345-7,,mol,g,180.156,", "2345-7,,mol,g,18.0156,"),
        (
            "units-local__ucum",
            ",m/uL,http://unitsofmeasure.org,10*6/uL,",
            ",m/uL,http://unitsofmeasure.org,10*7/uL,",
        ),
    ] {
        let path = format!("maps/{table}/map.csv");
        let text = std::fs::read_to_string(site.at(&path)).unwrap();
        let planted = text.replace(row, wrong);
        assert_ne!(planted, text);
        site.put(&path, planted);
    }
    site.refresh();
    let Some(run) = recount(include_str!("mimic_check.py"), &raw, &site) else {
        return;
    };
    let run = run.expect_code(1);
    assert!(
        run.stderr.starts_with("measurement: 449 groups wanted, 449 found"),
        "{}",
        run.stderr
    );
    for odd in ["('50868', 'mEq/L'", "('50931', 'mg/dL'", "('51279', 'm/uL'"] {
        assert!(run.stderr.contains(odd), "{odd}: {}", run.stderr);
    }
    assert_eq!(run.stderr.lines().count(), 1, "one table alone: {}", run.stderr);
}
