//! The demo of eICU (PhysioNet, ODbL-1.0) through values, codes and units to OMOP tables, counted again by a script
//! without clinmill that has factors of its own.

use super::{HEAD, dashboard, load, recount};
use clinmill_tests::{copy_dir, root, shared_data, site::Site};
use std::path::Path;

/// A stay in a unit is what all tables name; `also` says whose it is. Times are minutes since the admission to it. The text of
/// a result is in the unit of the interface: `labresult` and the unit of the system are what eICU made of both.
const EICU: &str = r#"roots: { maps: maps }
sources:
  patients:
    plugin: table
    inputs: { glob: "inbox/patient.csv" }
    subject: { id: uniquepid, issuer: EICU, also: [{ id: patientunitstayid, issuer: EICU-STAY }] }
    key: [patientunitstayid]
    columns:
      patientunitstayid: stay
      gender: gender
      age: age
      hospitaldischargeyear: year
      unittype: visit_source_value
      unitadmittime24: admitted
      unitdischargeoffset: { name: length, type: integer }
  diagnoses:
    plugin: table
    inputs: { glob: "inbox/diagnosis.csv" }
    subject: { id: patientunitstayid, issuer: EICU-STAY }
    key: [diagnosisid]
    columns:
      diagnosisid: diagnosis_id
      patientunitstayid: stay
      diagnosisoffset: { name: minute, type: integer }
      diagnosisstring: name
      icd9code: codes
  results:
    plugin: table
    inputs: { glob: "inbox/lab.csv" }
    subject: { id: patientunitstayid, issuer: EICU-STAY }
    key: [labid]
    columns:
      labid: lab_id
      patientunitstayid: stay
      labresultoffset: { name: minute, type: integer }
      labname: measurement_source_value
      labresulttext: value_source_value
      labmeasurenameinterface: unit_source_value
transforms:
  stays:
    sql: |
      select stay, visit_source_value, gender, cast(year as bigint) - cast(replace(age, '> 89', '90') as bigint) as born, length,
             arrow_cast(concat(year, '-01-01T', admitted), 'Timestamp(Microsecond, None)') as visit_start_datetime
      from patients
  persons:
    sql: |
      select max(gender) as gender_source_value, max(born) as year_of_birth,
             max(case when gender = 'Female' then 8532 when gender = 'Male' then 8507 end) as gender_concept_id
      from stays group by subject_id
  visits:
    sql: |
      select stay, visit_source_value, 32037 as visit_concept_id, visit_start_datetime,
             arrow_cast(arrow_cast(visit_start_datetime, 'Int64') + length * 60000000, 'Timestamp(Microsecond, None)')
             as visit_end_datetime
      from stays
  conditions:
    sql: |
      select d.diagnosis_id, d.stay,
             coalesce(nullif(trim(split_part(d.codes, ',', 1)), ''), d.name) as condition_source_value,
             arrow_cast(arrow_cast(s.visit_start_datetime, 'Int64') + d.minute * 60000000, 'Timestamp(Microsecond, None)')
             as condition_start_datetime
      from diagnoses d join stays s on d.stay = s.stay
  standard:
    from: results
    steps:
      - labvalue: { column: value_source_value, as: value, unit: unit_source_value }
      - terminology: { column: measurement_source_value, map: "maps:eicu-labs__loinc", as: loinc }
      - units:
          value: value_number
          unit: unit_source_value
          to_column: loinc_unit
          map: "maps:units-local__ucum"
          analytes: "maps:molar-mass__ucum"
          analyte: loinc_code
          on_error: null
      - terminology: { column: standard_unit, map: "maps:ucum__omop-unit", by: code, as: unit_concept }
  labs:
    sql: |
      select l.lab_id, l.stay, l.measurement_source_value, l.value_source_value, l.unit_source_value,
             cast(l.unit_concept_code as bigint) as unit_concept_id,
             case when l.unit_concept_code is not null then l.standard_unit end as unit_code,
             cast(case when l.unit_concept_code is not null then l.standard_value else l.value_number end as double)
             as value_as_number,
             case l.value_operator when '<' then 4171756 when '>' then 4172704 end as operator_concept_id,
             arrow_cast(arrow_cast(s.visit_start_datetime, 'Int64') + l.minute * 60000000, 'Timestamp(Microsecond, None)')
             as measurement_datetime
      from standard l join stays s on l.stay = s.stay
  happened:
    sql: |
      select cast(visit_start_datetime as date) as day from visits
      union all select cast(visit_end_datetime as date) from visits
      union all select cast(condition_start_datetime as date) from conditions
      union all select cast(measurement_datetime as date) from labs
  periods:
    sql: |
      select min(day) as observation_period_start_date, max(day) as observation_period_end_date
      from happened group by subject_id
tables:
  person:               { from: persons, key: [subject_id], model: omop-5.4 }
  observation_period:   { from: periods, key: [subject_id], model: omop-5.4 }
  visit_occurrence:     { from: visits, key: [stay], model: omop-5.4, columns: { stay: { type: string } } }
  condition_occurrence: { from: conditions, key: [diagnosis_id], model: omop-5.4 }
  measurement:
    from: labs
    key: [lab_id]
    model: omop-5.4
    columns: { lab_id: { type: string }, unit_code: { type: string } }
"#;

fn site(raw: &Path) -> Site {
    let site = Site::new(&format!("{HEAD}{EICU}"));
    for name in ["patient.csv", "diagnosis.csv", "lab.csv"] {
        site.put(&format!("inbox/{name}"), std::fs::read(raw.join(name)).unwrap());
    }
    for table in ["units-local__ucum", "molar-mass__ucum", "ucum__omop-unit"] {
        copy_dir(&root().join("mappings").join(table), &site.at(&format!("maps/{table}")));
    }
    site.put("maps/eicu-labs__loinc/map.csv", include_str!("eicu_labs.csv"));
    site.put(
        "maps/eicu-labs__loinc/mapping.yaml",
        "title: t\nfrom: eICU\nto: LOINC\nversion: 1.0.0\norigin: manual\nlicence: Apache-2.0\n",
    );
    site
}

/// What texts, names and units of many hospitals become, in up to twenty spellings of one unit: counts, sums, minima and maxima by
/// test, unit as written, published unit, its concept and the comparison. `1.06` of ionized calcium is in mmol/L.
#[test]
fn real_tables_say_what_an_independent_script_says() {
    let Some(raw) = shared_data("tables-eicu-demo") else {
        return;
    };
    let site = site(&raw);
    site.refresh();
    assert_eq!(site.quarantine(), []);
    let json = site.manifest(1);
    let rows = |table: &str| json["tables"][table]["row_count"].as_u64();
    assert_eq!(
        ["person", "visit_occurrence", "condition_occurrence", "measurement"].map(rows),
        [Some(50), Some(87), Some(677), Some(15_439)]
    );
    let Some(run) = recount(include_str!("eicu_check.py"), &raw, &site) else {
        return;
    };
    let told = run.expect_code(0).json();
    assert!(told["measurement"].as_u64() > Some(100), "{told}");
    if let Some(failed) = dashboard(&site) {
        assert_eq!(failed, [] as [&str; 0]);
    }
    if let Some(loaded) = load(&site) {
        assert_eq!(loaded["measurement"], 15_439);
    }
}

/// A factor of ten in a molar mass: the script finds that test, in each of its units, and nothing else.
#[test]
fn a_planted_factor_of_ten_is_noticed() {
    let Some(raw) = shared_data("tables-eicu-demo") else {
        return;
    };
    let site = site(&raw);
    let path = "maps/molar-mass__ucum/map.csv";
    let table = std::fs::read_to_string(site.at(path)).unwrap();
    let planted = table.replace("14682-9,creatinine,mol,g,113.12,", "14682-9,creatinine,mol,g,1131.2,");
    assert_ne!(planted, table);
    site.put(path, planted);
    site.refresh();
    let Some(run) = recount(include_str!("eicu_check.py"), &raw, &site) else {
        return;
    };
    let run = run.expect_code(1);
    assert!(
        run.stderr.starts_with("measurement: ") && run.stderr.contains("('creatinine', 'mg/dL', 'umol/L'"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stderr.lines().count(), 1, "one table alone: {}", run.stderr);
}
