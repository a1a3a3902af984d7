//! Contracts of tables and standard models, held against readers that are not ours: DuckDB and the package `meds`.

mod diseases;
mod eicu;
mod gates;
mod leipzig;
mod mimic;

use clinmill_engine::{EngineError, refresh::RefreshOptions};
use clinmill_tests::{
    Run, clinmill, shared_data,
    site::Site,
    state::{gate, text},
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

const HEAD: &str = r#"version: 1
name: models
timezone: Asia/Shanghai
vault: { url: "file:./vault/models", key: { $secret: vault_key } }
dataset: { url: "file:./out/models" }
"#;

/// A Python with DuckDB and `meds`, in an environment of its own beside the build; `None`, said on stderr, where it
/// cannot be had.
fn python() -> Option<&'static PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON
        .get_or_init(|| {
            let folder = clinmill().parent()?.join("python-of-the-tests");
            let python = folder.join("bin/python");
            let works = |python: &PathBuf| {
                let imports = Command::new(python)
                    .args(["-c", "import duckdb, meds, pyarrow"])
                    .output();
                imports.is_ok_and(|o| o.status.success())
            };
            if !works(&python) {
                let _ = Command::new("python3").args(["-m", "venv"]).arg(&folder).output();
                let _ = Command::new(&python)
                    .args(["-m", "pip", "install", "--quiet", "duckdb", "meds==0.4.1", "pyarrow"])
                    .output();
            }
            if works(&python) {
                return Some(python);
            }
            eprintln!("skipped: python3 with duckdb, meds and pyarrow cannot be installed here");
            None
        })
        .as_ref()
}

fn script(python: &PathBuf, script: &str, args: &[&Path]) -> serde_json::Value {
    let run: Run = Command::new(python)
        .arg("-c")
        .arg(script)
        .args(args)
        .output()
        .unwrap()
        .into();
    run.expect_code(0).json()
}

/// Counts a hospital's own export again with these queries and compares; `None` without a Python.
fn recount(queries: &str, raw: &Path, site: &Site) -> Option<Run> {
    let run = Command::new(python()?)
        .args(["-c", &format!("{}{queries}", include_str!("models/recount.py"))])
        .args([raw, &site.dataset(), &site.dataset().join("_releases/00000001.json")])
        .output();
    Some(run.unwrap().into())
}

/// Loads release 1 under the constraints of the CDM; rows by table. `None` without a Python or the list of fields.
fn load(site: &Site) -> Option<serde_json::Value> {
    let fields = shared_data("omop-dqd-checks")?.join("OMOP_CDMv5.4_Field_Level.csv");
    let manifest = site.dataset().join("_releases/00000001.json");
    let check = include_str!("models/duckdb_check.py");
    Some(script(python()?, check, &[&fields, &site.dataset(), &manifest]))
}

/// Runs the checks of OHDSI's DataQualityDashboard that need no vocabulary over release 1; what did not pass. `None`
/// without a Python or the dashboard's lists.
///
/// Those that need one are `fkDomain`, `fkClass`, `isStandardValidConcept`, all of level CONCEPT, and those that count what
/// is mapped to it: `standardConceptRecordCompleteness`, `sourceConceptRecordCompleteness`, `sourceValueCompleteness`.
fn dashboard(site: &Site) -> Option<Vec<String>> {
    let lists = shared_data("omop-dqd-checks")?;
    let manifest = site.dataset().join("_releases/00000001.json");
    let check = include_str!("models/dqd_check.py");
    let told = script(python()?, check, &[&lists, &site.dataset(), &manifest]);
    let ran = told["ran"].as_object().unwrap();
    for check in [
        "cdmTable",
        "cdmField",
        "isRequired",
        "cdmDatatype",
        "isPrimaryKey",
        "isForeignKey",
        "measurePersonCompleteness",
        "measureValueCompleteness",
        "plausibleValueLow",
        "plausibleValueHigh",
        "plausibleTemporalAfter",
        "plausibleStartBeforeEnd",
        "plausibleAfterBirth",
        "withinVisitDates",
    ] {
        assert!(ran.contains_key(check), "{check} was not run: {told}");
    }
    assert_eq!(
        ran.contains_key("plausibleBeforeDeath"),
        site.tables(1).contains(&"death".to_owned())
    );
    let failed = told["failed"].as_array().unwrap().iter();
    Some(failed.map(|f| f.as_str().unwrap_or_default().to_owned()).collect())
}

const WIDE: &str = r#"sources:
  registry:
    plugin: table
    inputs: { glob: "inbox/*.csv" }
    subject: { id: mrn, issuer: MRN }
    key: [op]
    columns: { op: op, side: side, stenosis: { name: stenosis, type: integer }, length: { name: length, type: number }, length_unit: length_unit }
transforms:
  again: { sql: "select op, side, stenosis from registry" }
tables:
  carotid:
    from: registry
    key: [op]
    columns:
      side:     { type: string, values: [left, right], required: 60% }
      stenosis: { type: integer, unit: "%", range: [0, 100] }
      length:   { type: number, unit: mm, range: [1, null] }
  short:
    from: again
    key: [op]
    columns: { stenosis: { type: integer, range: [0, 100] } }
"#;

#[test]
fn a_row_that_breaks_the_contract_is_located_and_counted_and_the_rest_is_published() {
    let site = Site::new(&format!("{HEAD}{WIDE}"));
    site.put(
        "inbox/r.csv",
        "mrn,op,side,stenosis,length,length_unit\n\
         a,1,left,70,30,mm\n\
         b,2,up,70,30,mm\n\
         c,3,right,170,30,mm\n\
         d,4,right,70,3,cm\n\
         e,5,,70,0.5,mm\n\
         f,6,,70,,\n\
         g,7,right,99,,cm\n",
    );
    let report = site.refresh();
    let mut published: Vec<String> = site
        .rows(1, "carotid")
        .values()
        .map(|r| text(r, "op").to_owned())
        .collect();
    published.sort();
    assert_eq!(published, ["1", "6", "7"]);
    assert_eq!(site.rows(1, "short").len(), 6);
    let mut found: Vec<(String, String, u64)> = site
        .quarantine()
        .into_iter()
        .map(|r| (r.stage, r.code, r.row.unwrap()))
        .collect();
    found.sort();
    let row = |stage: &str, code: &str, row| (stage.to_owned(), code.to_owned(), row);
    assert_eq!(
        found,
        [
            row("table carotid", "TABLE_RANGE", 4),
            row("table carotid", "TABLE_RANGE", 6),
            row("table carotid", "TABLE_UNIT", 5),
            row("table carotid", "TABLE_VALUE", 3),
            row("table short", "TABLE_RANGE", 4),
        ],
        "line numbers of the file; behind a query too"
    );
    assert_eq!(report.steps["table carotid"]["rejected TABLE_RANGE"], 2);
    assert_eq!(report.steps["table short"]["rejected TABLE_RANGE"], 1);
    // The share that is required is a gate, the unit stands in the manifest.
    let manifest = site.manifest(1);
    assert_eq!(gate(&manifest, "carotid.side.required")["measured"]["failed"], 1);
    let schema = manifest["tables"]["carotid"]["schema"].as_array().unwrap();
    assert_eq!(schema.iter().find(|c| c["name"] == "length").unwrap()["unit"], "mm");
    site.put(
        "inbox/more.csv",
        "mrn,op,side,stenosis,length,length_unit\nh,8,,1,,\ni,9,,1,,\n",
    );
    let error = site.try_refresh(&RefreshOptions::default()).unwrap_err();
    assert!(
        matches!(&error, EngineError::QualityGate(m) if m.contains("60 % must hold")),
        "{error}"
    );
}

const OMOP: &str = r#"sources:
  his:
    plugin: table
    inputs: { glob: "inbox/visit*.csv" }
    subject: { id: mrn, issuer: MRN }
    key: [visit_no]
    columns:
      visit_no: visit_no
      sex: sex
      birth: { name: birth, type: timestamp }
      in: { name: admitted, type: timestamp }
      out: { name: discharged, type: timestamp }
  lis:
    plugin: table
    inputs: { glob: "inbox/lab*.csv" }
    subject: { id: mrn, issuer: MRN }
    key: [order_no]
    columns:
      order_no: order_no
      visit_no: visit_source_value
      test: measurement_source_value
      value: { name: value_as_number, type: number }
      unit: unit_source_value
      at: { name: measurement_datetime, type: timestamp }
  text:
    plugin: table
    inputs: { glob: "inbox/note*.csv" }
    subject: { id: mrn, issuer: MRN }
    key: [note_no]
    columns: { note_no: note_no, title: note_title, text: note_text, at: { name: note_date, type: date } }
  found:
    plugin: table
    inputs: { glob: "inbox/found*.csv" }
    subject: { id: mrn, issuer: MRN }
    key: [finding_no]
    columns:
      finding_no: finding_no
      note_no: note_no
      from: { name: offset_start, type: integer }
      to: { name: offset_end, type: integer }
      word: lexical_variant
      on: { name: nlp_date, type: date }
transforms:
  persons:
    sql: |
      select max(sex) as gender_source_value, max(birth) as birth_datetime,
             max(case when sex = 'F' then 8532 when sex = 'M' then 8507 end) as gender_concept_id
      from his group by subject_id
  visits:
    sql: |
      select visit_no as visit_source_value, 9201 as visit_concept_id, admitted as visit_start_datetime,
             discharged as visit_end_datetime from his
tables:
  person:           { from: persons, key: [subject_id], model: omop-5.4 }
  visit_occurrence: { from: visits, key: [visit_source_value], model: omop-5.4 }
  measurement:      { from: lis, model: omop-5.4 }
  note:             { from: text, key: [note_no], model: omop-5.4 }
  note_nlp:         { from: found, key: [finding_no], model: omop-5.4 }
  note_nlp_span:    { from: found, key: [finding_no, offset_start], model: omop-5.4 }
"#;

fn hospital() -> Site {
    let site = Site::new(&format!("{HEAD}{OMOP}"));
    site.put(
        "inbox/visits.csv",
        "mrn,visit_no,sex,birth,in,out\n\
         a,v1,F,1950-01-02 00:00:00,2026-01-01 08:00:00,2026-01-09 10:00:00\n\
         a,v2,F,1950-01-02 00:00:00,2026-02-01 08:00:00,2026-02-03 10:00:00\n\
         b,v3,M,1960-05-06 00:00:00,2026-01-02 08:00:00,\n\
         c,v4,,1970-07-08 00:00:00,2026-01-02 08:00:00,2026-01-04 09:00:00\n",
    );
    site.put(
        "inbox/labs.csv",
        "mrn,order_no,visit_no,test,value,unit,at\n\
         a,1,v1,K,4.1,mmol/L,2026-01-02 07:00:00\n\
         a,2,v2,K,4.2,mmol/L,2026-02-01 09:00:00\n\
         b,3,,pH,7.4,,2026-01-02 09:00:00\n\
         c,4,v4,K,4.4,mmol/L,2026-01-03 07:00:00\n\
         c,5,v4,K,4.5,mmol/L,\n",
    );
    site.put(
        "inbox/notes.csv",
        "mrn,note_no,title,text,at\na,n1,入院记录,右侧狭窄,2026-01-01\n",
    );
    site.put(
        "inbox/found.csv",
        "mrn,finding_no,note_no,from,to,word,on\na,f1,n1,2,4,狭窄,2026-01-10\n",
    );
    site
}

#[test]
fn omop_tables_are_completed_and_load_under_the_models_own_constraints() {
    let site = hospital();
    site.refresh();
    let manifest = site.manifest(1);
    let (person, visit) = (site.rows(1, "person"), site.rows(1, "visit_occurrence"));
    let (measurement, note) = (site.rows(1, "measurement"), site.rows(1, "note"));
    // What the model requires and nobody gave is located, not invented.
    let mut rejected: Vec<_> = site
        .quarantine()
        .into_iter()
        .map(|r| (r.stage, r.code, r.message))
        .collect();
    rejected.sort();
    assert_eq!(rejected.len(), 2, "{rejected:?}");
    assert!(rejected[0].0 == "table measurement" && rejected[0].2.contains("measurement_date"));
    assert!(rejected[1].0 == "table visit_occurrence" && rejected[1].2.contains("visit_end_date"));
    assert_eq!((person.len(), visit.len(), measurement.len(), note.len()), (3, 3, 4, 1));
    for row in person.values() {
        let gender = match text(row, "gender_source_value") {
            "F" => "8532",
            "M" => "8507",
            _ => "0",
        };
        assert_eq!(text(row, "gender_concept_id"), gender, "not mapped is 0");
        assert_eq!(
            (text(row, "race_concept_id"), text(row, "race_source_concept_id")),
            ("0", "")
        );
        assert!(text(row, "birth_datetime").starts_with(text(row, "year_of_birth")));
        assert!(text(row, "person_id").parse::<i64>().unwrap() > 0);
    }
    let person_of = |subject: &str| {
        let row = person.values().find(|r| text(r, "subject_id") == subject);
        text(row.unwrap(), "person_id").to_owned()
    };
    let visit_of = |number: &str| {
        let row = visit.values().find(|r| text(r, "visit_source_value") == number);
        row.map_or("", |r| text(r, "visit_occurrence_id"))
    };
    for row in measurement.values() {
        assert_eq!(text(row, "person_id"), person_of(text(row, "subject_id")));
        let (test, unit) = (text(row, "measurement_source_value"), text(row, "unit_source_value"));
        assert_eq!(text(row, "unit_concept_id"), if unit.is_empty() { "" } else { "0" });
        let linked = text(row, "visit_occurrence_id");
        assert_eq!(linked.is_empty(), test == "pH");
        assert!(linked.is_empty() || ["v1", "v2", "v4"].iter().any(|v| visit_of(v) == linked));
        assert!(text(row, "measurement_datetime").starts_with(text(row, "measurement_date")));
        assert_eq!(text(row, "measurement_type_concept_id"), "32817");
        assert!(!row.contains_key("visit_source_value"), "the model's columns only");
    }
    let (nlp, span) = (site.rows(1, "note_nlp"), site.rows(1, "note_nlp_span"));
    let (note, nlp, span) = (
        note.values().next().unwrap(),
        nlp.values().next().unwrap(),
        span.values().next().unwrap(),
    );
    assert_eq!(text(note, "encoding_concept_id"), "32678");
    assert_eq!(text(nlp, "note_id"), text(note, "note_id"));
    assert_eq!(text(span, "note_nlp_id"), text(nlp, "note_nlp_id"));
    assert_eq!((text(span, "offset_start"), text(span, "offset_end")), ("2", "4"));
    // A completed row leads back to its record as any other does.
    assert_eq!(site.trace_all("measurement").len(), 4);
    assert_eq!(site.trace_all("visit_occurrence").len(), 3);
    // Checks of the DataQualityDashboard that need no vocabulary.
    for name in [
        "measurement.measurement_id.isPrimaryKey",
        "measurement.visit_occurrence_id.isForeignKey",
        "measurement.person_id.isForeignKey",
        "measurement.measurement_date.isRequired",
        "measurement.measurement_date.plausibleAfterBirth",
        "visit_occurrence.visit_start_date.plausibleStartBeforeEnd",
        "measurement.measurement_date.withinVisitDates",
        "note.note_date.withinVisitDates",
        "person.person_id.isPrimaryKey",
        "note_nlp_span.note_nlp_id.isForeignKey",
    ] {
        let gate = gate(&manifest, name);
        assert!(
            gate["passed"] == true && gate["measured"]["rows"].as_u64() > Some(0),
            "{gate}"
        );
    }
    let mapped = &gate(&manifest, "person.gender_concept_id.standardConceptRecordCompleteness")["measured"];
    assert_eq!((mapped["rows"].as_u64(), mapped["failed"].as_u64()), (Some(3), Some(1)));

    if let Some(failed) = dashboard(&site) {
        assert_eq!(failed, [] as [&str; 0]);
    }
    let Some(loaded) = load(&site) else { return };
    assert_eq!(
        loaded,
        serde_json::json!({ "person": 3, "visit_occurrence": 3, "measurement": 4, "note": 1, "note_nlp": 1 })
    );
}

#[test]
fn a_reference_to_nothing_blocks_and_ids_do_not_depend_on_the_refresh() {
    let site = hospital();
    site.refresh();
    let ids = |release| -> Vec<String> {
        let rows = site.rows(release, "measurement");
        rows.values().map(|r| text(r, "measurement_id").to_owned()).collect()
    };
    let before = ids(1);
    let more = "mrn,order_no,visit_no,test,value,unit,at\na,6,v9,K,4.1,mmol/L,2026-01-02 07:00:00\n";
    site.put("inbox/labs2.csv", more);
    let error = site.try_refresh(&RefreshOptions::default()).unwrap_err().to_string();
    assert!(
        error.contains("measurement.visit_occurrence_id.isForeignKey: 1 of 4 rows"),
        "{error}"
    );
    site.put("inbox/labs2.csv", more.replace("v9", "v1"));
    site.refresh();
    let after = ids(2);
    assert_eq!(after.len(), 5);
    assert!(before.iter().all(|id| after.contains(id)));
    assert_eq!(
        site.changes(2, "measurement").len(),
        1,
        "one row is new, no id has changed"
    );
}

/// L1, for what models complete and contracts reject.
#[test]
fn weeks_one_after_the_other_give_what_all_at_once_gives() {
    let whole = hospital();
    whole.refresh();
    let weekly = Site::new(&format!("{HEAD}{OMOP}"));
    // In this order every reference finds its row: the gates would stop another one.
    for name in ["visits", "notes", "labs", "found"] {
        let file = format!("inbox/{name}.csv");
        weekly.put(&file, std::fs::read(whole.at(&file)).unwrap());
        weekly.refresh();
    }
    assert_eq!(weekly.releases(), [1, 2, 3, 4]);
    assert_eq!(whole.content(1), weekly.content(4));
    assert_eq!(whole.fingerprints(1), weekly.fingerprints(4));
    let codes = |site: &Site| {
        let mut codes: Vec<_> = site
            .quarantine()
            .into_iter()
            .map(|r| (r.stage, r.code, r.row))
            .collect();
        codes.sort();
        codes.dedup();
        codes
    };
    assert_eq!(codes(&whole), codes(&weekly));
}

#[test]
fn a_model_is_checked_before_anything_runs() {
    let wrong = OMOP
        .replace("  note_nlp: ", "  note_npl: ")
        .replace("model: omop-5.4 }\n  note: ", "model: omop-5.5 }\n  note: ");
    let site = Site::new(&format!("{HEAD}{wrong}"));
    let found = site.project().run(["validate", "pipeline.yaml"]).expect_code(2);
    let told = found.stdout + &found.stderr;
    for part in ["E0310", "did you mean `note_nlp`?", "E0204", "did you mean `omop-5.4`?"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let lacking = OMOP.replace("name: measurement_datetime,", "name: sampled,");
    let site = Site::new(&format!("{HEAD}{lacking}"));
    let found = site.project().run(["validate", "pipeline.yaml"]).expect_code(2);
    let told = found.stdout + &found.stderr;
    assert!(told.contains("E0728") && told.contains("measurement_date"), "{told}");
}

#[test]
fn the_meds_validators_accept_the_export() {
    let site = hospital();
    site.edit(|text| {
        text.replace(
            "tables:\n",
            "  triage: { sql: \"select visit_no, admitted as time, 'TRIAGE//A' as code from his\" }\ntables:\n  \
             triage: { from: triage, key: [visit_no], model: meds-0.4 }\n",
        )
    });
    site.refresh();
    let project = site.project();
    let run = project
        .run(["export", "pipeline.yaml", "--model", "meds", "meds", "--format", "json"])
        .expect_code(0);
    assert!(run.stderr.contains("not de-identified"), "{}", run.stderr);
    let told = run.json();
    assert_eq!(
        told["events"],
        serde_json::json!({ "person": 5, "visit_occurrence": 6, "measurement": 4, "note": 1, "triage": 4 })
    );
    assert_eq!(told["left_out"], serde_json::json!(["note_nlp", "note_nlp_span"]));
    // Nothing is replaced, and nothing half done is left.
    project
        .run(["export", "pipeline.yaml", "--model", "meds", "meds"])
        .expect_code(1);
    assert!(!project.at(".meds.partial").exists());
    let Some(python) = python() else { return };
    let seen = script(python, include_str!("models/meds_check.py"), &[&project.at("meds")]);
    assert_eq!(
        (
            seen["events"].as_u64(),
            seen["static"].as_u64(),
            seen["subjects"].as_u64()
        ),
        (Some(20), Some(2), Some(3))
    );
    let codes: Vec<&str> = seen["codes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|c| c.as_str())
        .collect();
    for code in [
        "MEDS_BIRTH",
        "GENDER//F",
        "MEASUREMENT//K",
        "VISIT_END//OMOP/9201",
        "NOTE//入院记录",
        "TRIAGE//A",
    ] {
        assert!(codes.contains(&code), "{code}: {codes:?}");
    }
}
