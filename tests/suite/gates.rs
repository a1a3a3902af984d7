//! Gates, from the pipeline file to the manifest and the exit code.

use clinmill_engine::{EngineError, refresh::RefreshOptions};
use clinmill_tests::{
    Project,
    site::Site,
    state::{gate, text},
};
use serde_json::Value;

const SOURCES: &str = r#"version: 1
name: gates
timezone: Asia/Shanghai
vault: { url: "file:./vault/gates", key: { $secret: vault_key } }
dataset: { url: "file:./out/gates" }
sources:
  adt:
    plugin: table
    inputs: { glob: "inbox/adt*.csv" }
    subject: { id: mrn, issuer: MRN }
    key: [visit]
    columns:
      visit: visit
      sex: sex
      birth: { name: birth, type: date }
      in: { name: admitted, type: date }
      out: { name: discharged, type: date }
  lis:
    plugin: table
    inputs: { glob: "inbox/lis*.csv" }
    subject: { id: mrn, issuer: MRN }
    key: [order]
    columns:
      order: order
      visit: visit
      test: test
      value: { name: value, type: number }
      unit: unit
      at: { name: at, type: date }
tables:
  visit: { from: adt }
  measurement: { from: lis }
"#;

const ADT: &str = "mrn,visit,sex,birth,in,out\n\
    a,v1,F,1950-01-02,2026-01-01,2026-01-09\n\
    b,v2,M,1960-05-06,2026-01-02,2026-01-08\n";

/// Ten results: one without a unit, one in another unit, one out of range, one of an unknown visit, two of one number.
const LIS: &str = "mrn,order,visit,test,value,unit,at\n\
    a,1,v1,K,4.1,mmol/L,2026-01-01\n\
    a,2,v1,K,4.2,mmol/L,2026-01-02\n\
    a,3,v1,K,4.3,mmol/L,2026-01-03\n\
    a,4,v1,K,4.4,mmol/L,2026-01-04\n\
    b,5,v2,K,4.5,mmol/L,2026-01-05\n\
    b,6,v2,K,4.6,,2026-01-06\n\
    b,7,v2,K,4.7,mg/dL,2026-01-07\n\
    b,8,v2,K,480,mmol/L,2026-01-08\n\
    b,9,v9,K,4.9,mmol/L,2026-01-09\n\
    b,10,v2,PSA,1.0,ng/mL,1959-01-01\n";

fn pipeline(gates: &str) -> String {
    format!("{SOURCES}gates:\n{gates}")
}

fn site(gates: &str) -> Site {
    let site = Site::new(&pipeline(gates));
    site.put("inbox/adt1.csv", ADT);
    site.put("inbox/lis1.csv", LIS);
    site
}

fn counts(manifest: &Value, name: &str) -> (u64, u64, bool) {
    let gate = gate(manifest, name);
    let m = &gate["measured"];
    let number = |v: &Value| v.as_u64().unwrap_or_else(|| panic!("{name}: {gate}"));
    (number(&m["rows"]), number(&m["failed"]), gate["passed"] == true)
}

/// Every check, each with what it must count.
const EVERY: &str = r#"  unit_there:  { check: not_null, column: measurement.unit, at_least: 90% }
  one_row:     { check: unique, column: measurement.order }
  one_pair:    { check: unique, columns: [measurement.visit, measurement.test], on_fail: warn }
  has_visit:   { check: foreign_key, column: measurement.visit, to: visit.visit, on_fail: warn }
  known_units: { check: values, column: measurement.unit, values: [mmol/L, ng/mL], on_fail: warn }
  potassium:   { check: range, column: measurement.value, range: [1, 10], where: "test = 'K'", on_fail: warn }
  in_out:      { check: plausible, column: visit.admitted, before: visit.discharged }
  born:        { check: plausible, column: measurement.at, after: visit.birth, on_fail: warn }
  age:         { check: plausible, column: measurement.at, birth: visit.birth, age: [0, 120], on_fail: warn }
  men:         { check: plausible, column: measurement.test, sex: visit.sex, values: [M], where: "test = 'PSA'" }
  one_unit:    { check: unit, column: measurement.unit, per: measurement.test, on_fail: warn }
  drift:       { check: drift, column: measurement.value, at_most: 0.25 }
  fresh:       { check: fresh, column: measurement.at, within: 36500d }
  enough:      { check: row_count, table: measurement, rows: "10..", change: "-10%..50%" }
  free:        { check: sql, sql: "select _row_id from measurement where value > 100", table: measurement, on_fail: warn }
"#;

#[test]
fn every_check_counts_what_is_there() {
    let site = site(EVERY);
    let report = site.refresh();
    let manifest = site.manifest(1);
    for (name, expected) in [
        ("unit_there", (10, 1, true)),
        ("one_row", (10, 0, true)),
        ("one_pair", (10, 8, false)),
        ("has_visit", (10, 1, false)),
        ("known_units", (9, 1, false)),
        ("potassium", (9, 1, false)),
        ("in_out", (2, 0, true)),
        ("born", (10, 1, false)),
        ("age", (10, 1, false)),
        ("men", (1, 0, true)),
        ("one_unit", (9, 1, false)),
        ("drift", (0, 0, true)),
        ("fresh", (1, 0, true)),
        ("enough", (1, 0, true)),
        ("free", (10, 1, false)),
    ] {
        assert_eq!(counts(&manifest, name), expected, "{name}");
    }
    // Failing rows are named, and are the right ones.
    let rows = site.rows(1, "measurement");
    let failing = |name: &str| -> Vec<String> {
        let gate = gate(&manifest, name);
        let ids = gate["measured"]["row_ids"].as_array().unwrap().clone();
        let mut orders: Vec<String> = ids
            .iter()
            .map(|id| text(&rows[id.as_str().unwrap()], "order").to_owned())
            .collect();
        orders.sort();
        orders
    };
    for (name, order) in [
        ("unit_there", "6"),
        ("has_visit", "9"),
        ("known_units", "7"),
        ("potassium", "8"),
        ("born", "10"),
        ("age", "10"),
        ("one_unit", "7"),
        ("free", "8"),
    ] {
        assert_eq!(failing(name), [order], "{name}");
    }
    assert_eq!(failing("one_pair").len(), 8);
    // Names of the DataQualityDashboard, dimensions of GB/T 36344.
    let range = gate(&manifest, "potassium")["measured"].clone();
    assert_eq!(range["dqd"], "plausibleValueLow, plausibleValueHigh");
    assert_eq!(
        (range["category"].clone(), range["dimension"].clone()),
        ("Plausibility".into(), "accurate".into())
    );
    let score = |d: &str| {
        let s = &manifest["scores"][d];
        (s["numerator"].as_u64().unwrap(), s["denominator"].as_u64().unwrap())
    };
    assert_eq!(score("complete"), (9 + 1, 10 + 1), "unit_there and enough");
    assert_eq!(score("normative"), (8, 9));
    assert_eq!(score("accurate"), (8 + 2 + 9 + 9 + 1, 9 + 2 + 10 + 10 + 1));
    assert_eq!(
        score("consistent"),
        (10 + 2 + 9 + 8 + 9, 10 + 10 + 10 + 9 + 10),
        "a drift that compared nothing has no part"
    );
    let drift = gate(&manifest, "drift");
    assert!(
        drift["detail"].as_str().unwrap().starts_with("not applicable"),
        "{drift}"
    );
    assert_eq!(score("timely"), (1, 1));
    assert_eq!(score("accessible"), (12, 12));
    // What only warns is told.
    let warned: Vec<&str> = report
        .warnings
        .iter()
        .filter(|w| w.code == "GATE")
        .map(|w| w.message.as_str())
        .collect();
    assert_eq!(warned.len(), 8, "{warned:?}");
    // No value of a row is in the manifest.
    let told = manifest["gates"].to_string() + &manifest["scores"].to_string();
    for value in ["480", "mg/dL", "v9", "1959"] {
        assert!(!told.contains(value), "{value}");
    }
}

const BLOCKS: &str = "  potassium: { check: range, column: measurement.value, range: [1, 10] }\n";

#[test]
fn a_gate_that_does_not_hold_publishes_nothing_and_leaves_the_staged_rows() {
    let site = site(BLOCKS);
    let error = site.try_refresh(&RefreshOptions::default()).unwrap_err();
    assert!(matches!(&error, EngineError::QualityGate(_)), "{error}");
    assert_eq!(error.exit_code(), 3);
    let message = error.to_string();
    assert!(
        message.contains("potassium: 1 of 10 rows of measurement.value fail"),
        "{message}"
    );
    assert!(!message.contains("480"), "{message}");
    assert_eq!(site.releases(), Vec::<u64>::new());
    assert!(
        !site.dataset().join("tables").exists(),
        "nothing under the dataset's URL"
    );

    // The row is corrected: now it is published, as an undisturbed run would have.
    site.put(
        "inbox/lis2.csv",
        "mrn,order,visit,test,value,unit,at\nb,8,v2,K,4.8,mmol/L,2026-01-08\n",
    );
    site.edit(|text| text.replace("    key: [order]\n", "    key: [order]\n    version: at\n"));
    site.put(
        "inbox/lis2.csv",
        "mrn,order,visit,test,value,unit,at\nb,8,v2,K,4.8,mmol/L,2026-01-10\n",
    );
    site.refresh();
    assert_eq!(site.releases(), [1]);
    assert_eq!(counts(&site.manifest(1), "potassium"), (10, 0, true));

    // Spoilt again: the release stays, the staged rows are looked at, with other gates too.
    site.put(
        "inbox/lis3.csv",
        "mrn,order,visit,test,value,unit,at\nb,11,v2,K,999,mmol/L,2026-01-11\n",
    );
    assert!(site.try_refresh(&RefreshOptions::default()).is_err());
    assert_eq!(site.releases(), [1]);
    let project = site.project();
    let looked = project
        .run(["gates", "pipeline.yaml", "--format", "json"])
        .expect_code(3)
        .json();
    assert_eq!(
        (looked["of"].as_str(), looked["release"].as_u64()),
        (Some("staged"), Some(2))
    );
    assert_eq!(looked["gates"][0]["measured"]["failed"], 1);
    assert_eq!(looked["gates"][0]["measured"]["rows"], 11);
    let wide = std::fs::read_to_string(project.at("pipeline.yaml"))
        .unwrap()
        .replace("[1, 10]", "[1, 1000]");
    project.write("pipeline.yaml", wide);
    let text = project.run(["gates", "pipeline.yaml"]).expect_code(0).stdout;
    assert!(
        text.starts_with("staged for release 2") && text.contains("all 11 rows"),
        "{text}"
    );
    project.run(["run", "pipeline.yaml"]).expect_code(0);
    let looked = project
        .run(["gates", "pipeline.yaml", "--format", "json"])
        .expect_code(0)
        .json();
    assert_eq!(
        (looked["of"].as_str(), looked["release"].as_u64()),
        (Some("release"), Some(2))
    );
}

#[test]
fn the_release_before_is_compared_with() {
    let gates = "  drift: { check: drift, column: measurement.value, at_most: 0.25, on_fail: warn }\n  \
                 words: { check: drift, column: measurement.unit, at_most: 0.25, on_fail: warn }\n  \
                 growth: { check: row_count, table: measurement, change: \"-10%..50%\", on_fail: warn }\n  \
                 gone: { check: sql, on_fail: warn, sql: \"select p._row_id from previous.measurement p left anti join \
                 measurement m on p._row_id = m._row_id\" }\n";
    let site = Site::new(&pipeline(gates));
    let csv = |from: u32, factor: u32, unit: &str| {
        let rows = (from..from + 40).map(|i| format!("a,{i},v1,K,{},{unit},2026-01-01\n", (i % 10 + 1) * factor));
        format!("mrn,order,visit,test,value,unit,at\n{}", rows.collect::<String>())
    };
    site.put("inbox/lis1.csv", csv(0, 1, "mmol/L"));
    site.refresh();
    for (name, compared) in [("drift", 0), ("words", 0), ("growth", 0), ("gone", 1)] {
        assert_eq!(counts(&site.manifest(1), name), (compared, 0, true), "{name}");
    }
    let scores = site.manifest(1)["scores"].clone();
    assert_eq!(scores["complete"]["denominator"], 0, "{scores}");
    assert_eq!(scores["consistent"]["denominator"], 1, "{scores}");
    site.put("inbox/lis2.csv", csv(40, 1, "mmol/L"));
    site.refresh();
    assert!(counts(&site.manifest(2), "drift").2 && counts(&site.manifest(2), "words").2);
    assert!(!counts(&site.manifest(2), "growth").2, "twice as many rows");
    // A factor of ten, and another unit, for half of the rows.
    site.put("inbox/lis3.csv", csv(80, 10, "mg/dL"));
    site.put("inbox/lis4.csv", csv(120, 10, "mg/dL"));
    site.refresh();
    for name in ["drift", "words"] {
        let gate = gate(&site.manifest(3), name);
        assert!(
            gate["passed"] == false && gate["measured"]["index"].as_f64().unwrap() > 0.25,
            "{gate}"
        );
    }
    assert!(counts(&site.manifest(3), "gone").2);
}

/// A factor of ten in one rare test moves the whole table little, and its own group far.
#[test]
fn a_drift_is_seen_within_groups() {
    let gates = "  whole: { check: drift, column: measurement.value, at_most: 0.25, on_fail: warn }\n  \
                 tests: { check: drift, column: measurement.value, by: [measurement.test, measurement.unit], at_most: 0.25, \
                 on_fail: warn }\n  \
                 words: { check: drift, column: measurement.unit, by: [measurement.test], at_most: 0.25, on_fail: warn }\n";
    let text_of = pipeline(gates).replace("lis*.csv\"", "lis*.csv\", as_of: \"lis{date}.csv\"");
    let site = Site::new(&text_of);
    let csv = |factor: u32, unit: &str| {
        let common = (0..2000).map(|i| format!("a,{i},v1,K,{},mmol/L,2026-01-01\n", i % 10 + 1));
        let rare = (2000..2060).map(|i| format!("a,{i},v1,TSH,{},{unit},2026-01-01\n", (i % 10 + 1) * factor));
        let few = (2060..2100).map(|i| format!("a,{i},v1,PSA,{},ng/mL,2026-01-01\n", (i % 10 + 1) * factor));
        let rows: String = common.chain(rare).chain(few).collect();
        format!("mrn,order,visit,test,value,unit,at\n{rows}")
    };
    site.put("inbox/lis1.csv", csv(1, "mIU/L"));
    site.refresh();
    assert_eq!(counts(&site.manifest(1), "tests"), (0, 0, true));
    site.put("inbox/lis2.csv", csv(10, "mIU/L"));
    site.refresh();
    let manifest = site.manifest(2);
    assert!(counts(&manifest, "whole").2, "{}", gate(&manifest, "whole"));
    assert_eq!(
        counts(&manifest, "tests"),
        (2, 1, false),
        "{}",
        gate(&manifest, "tests")
    );
    // The units of each test are what they were.
    assert_eq!(counts(&manifest, "words"), (2, 0, true));
    let told = gate(&manifest, "tests").to_string();
    assert!(
        told.contains("1 with fewer than 50 values") && !told.contains("TSH"),
        "{told}"
    );
    let id = gate(&manifest, "tests")["measured"]["row_ids"][0].to_string();
    let named = format!("the furthest first: that of row {} (", id.trim_matches('"'));
    assert!(told.contains(&named), "{told}");
    // The row that stands for the group is one of it.
    let id = gate(&manifest, "tests")["measured"]["row_ids"][0]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(text(&site.rows(2, "measurement")[&id], "test"), "TSH");
    site.put("inbox/lis3.csv", csv(10, "uIU/mL"));
    site.refresh();
    assert_eq!(counts(&site.manifest(3), "words"), (2, 1, false));
    let found = findings(&pipeline(
        "  a: { check: drift, column: measurement.value, by: [visit.visit], at_most: 0.25 }\n",
    ));
    assert!(format!("{found:?}").contains("E0311"), "{found:?}");
}

/// Groups of codes that the contract lists are no patient's: they are named.
#[test]
fn groups_of_a_drift_are_named_where_their_values_are_listed() {
    let gates = "  tests: { check: drift, column: measurement.value, by: [measurement.test, measurement.unit], at_most: 0.25, \
                 on_fail: warn }\n";
    let contract = "measurement:\n    from: lis\n    columns:\n      order: { type: string }\n      value: { type: number }\n      \
                    test: { type: string, values: [K, TSH, PSA] }\n      unit: { type: string, values: [mmol/L, mIU/L] }\n";
    let text_of = pipeline(gates).replace("lis*.csv\"", "lis*.csv\", as_of: \"lis{date}.csv\"");
    let site = Site::new(&text_of.replace("measurement: { from: lis }\n", contract));
    let csv = |factors: [u32; 4]| {
        let kinds = ["K,{},mmol/L", "TSH,{},mIU/L", "PSA,{},mmol/L", "PSA,{},"]
            .into_iter()
            .zip(factors);
        let rows = kinds.enumerate().flat_map(|(k, (kind, factor))| {
            (0..60).map(move |i| {
                let value = ((i % 10 + 1) * factor).to_string();
                format!(
                    "a,{},v1,{},2026-01-01\n",
                    100 * k + i as usize,
                    kind.replace("{}", &value)
                )
            })
        });
        format!("mrn,order,visit,test,value,unit,at\n{}", rows.collect::<String>())
    };
    site.put("inbox/lis1.csv", csv([1, 1, 1, 1]));
    site.refresh();
    site.put("inbox/lis2.csv", csv([1, 10, 1, 2]));
    site.refresh();
    let manifest = site.manifest(2);
    assert_eq!(counts(&manifest, "tests"), (4, 2, false));
    let told = gate(&manifest, "tests")["detail"].to_string();
    let (_, worst) = told.split_once("; the furthest first: ").unwrap();
    assert!(
        worst.starts_with("TSH / mIU/L (") && worst.contains("), PSA / null ("),
        "{told}"
    );
}

/// A row that is rejected leaves those that refer to it behind: the gate that stops them says so.
#[test]
fn a_foreign_key_tells_what_its_parent_lost() {
    let gates =
        "  keys: { check: foreign_key, column: measurement.visit, to: visit.visit, where: \"visit <> 'v9'\" }\n";
    let contract = "visit: { from: adt, columns: { visit: { type: string }, sex: { type: string, values: [F] } } }\n";
    let site = Site::new(&pipeline(gates).replace("visit: { from: adt }\n", contract));
    site.put("inbox/adt1.csv", ADT);
    site.put("inbox/lis1.csv", LIS);
    let Err(EngineError::QualityGate(told)) = site.try_refresh(&RefreshOptions::default()) else {
        panic!("it was published");
    };
    let cause = "rows were rejected that visit would have (TABLE_VALUE 1): see `clinmill quarantine list`";
    assert!(told.contains(cause), "{told}");
    let looked = site.project().run(["gates", "pipeline.yaml"]).expect_code(3).stdout;
    assert!(looked.contains(cause), "{looked}");
}

/// Nobody reads a perfect score of a table of which a half was thrown away: what a contract keeps out counts, as long as it
/// does, whoever was made anew meanwhile.
#[test]
fn rows_that_a_contract_rejects_are_in_the_normative_score() {
    let gates = "  there: { check: not_null, column: visit.sex }\n";
    let contract = "visit: { from: adt, columns: { visit: { type: string }, sex: { type: string, values: [F] } } }\n";
    let site = Site::new(&pipeline(gates).replace("visit: { from: adt }\n", contract));
    site.put("inbox/adt1.csv", ADT);
    site.put("inbox/lis1.csv", LIS);
    site.refresh();
    let normative = |site: &Site, release: u64| {
        let score = site.manifest(release)["scores"]["normative"].clone();
        (
            score["numerator"].as_u64().unwrap(),
            score["denominator"].as_u64().unwrap(),
        )
    };
    assert_eq!(normative(&site, 1), (1, 2));
    // Another patient, and one more of the wrong kind: the first one's row is still out.
    let head = "mrn,visit,sex,birth,in,out\n";
    site.put(
        "inbox/adt2.csv",
        format!("{head}c,v3,F,1950-01-02,2026-01-01,2026-01-09\nd,v4,X,1950-01-02,2026-01-01,2026-01-09\n"),
    );
    site.refresh();
    assert_eq!(normative(&site, 2), (2, 4));
    // The first one's is corrected.
    site.put(
        "inbox/adt3.csv",
        format!("{head}b,v2,F,1960-05-06,2026-01-02,2026-01-08\n"),
    );
    site.refresh();
    assert_eq!(normative(&site, 3), (3, 4));
    let project = site.project();
    let looked = project
        .run(["gates", "pipeline.yaml", "--format", "json"])
        .expect_code(0)
        .json();
    assert_eq!(looked["scores"]["normative"]["denominator"], 4);
    assert_eq!(looked["scores"]["normative"]["numerator"], 3);
}

/// A join may give a row twice: it is one failing row. One without `_row_id` counts what it returns.
#[test]
fn a_query_counts_each_row_once() {
    let twice = "select m._row_id from measurement m join (values (1), (2)) as n(i) on true where m.value > 100";
    let gates = format!(
        "  twice: {{ check: sql, table: measurement, on_fail: warn, sql: \"{twice}\" }}\n  \
           bare: {{ check: sql, table: measurement, on_fail: warn, sql: \"select 1 from measurement where value > 100\" }}\n"
    );
    let site = site(&gates);
    site.refresh();
    for name in ["twice", "bare"] {
        assert_eq!(counts(&site.manifest(1), name), (10, 1, false), "{name}");
    }
    let named = |name: &str| {
        gate(&site.manifest(1), name)["measured"]["row_ids"]
            .as_array()
            .map_or(0, Vec::len)
    };
    assert_eq!((named("twice"), named("bare")), (1, 0));
}

/// A query that fails on the rows is told with its gate and its place, without a value, also where it only warns.
#[test]
fn a_gate_whose_query_fails_is_named_and_located() {
    for gate in [
        "{ check: sql, on_fail: warn, sql: \"select _row_id from measurement where cast(test as int) > 0\" }",
        "{ check: not_null, on_fail: warn, column: measurement.unit, where: \"cast(test as int) > 0\" }",
    ] {
        let project = site(&format!(
            "  fine: {{ check: unique, column: visit.visit }}\n  bad: {gate}\n"
        ))
        .project();
        let told = project.run(["run", "pipeline.yaml"]).expect_code(1).stderr;
        let (line, column) = (
            SOURCES.lines().count() + 3,
            "  bad: ".len() + gate.find('"').unwrap() + 1,
        );
        assert!(told.contains("gate bad: a value does not fit"), "{told}");
        assert!(told.contains(&format!("pipeline.yaml:{line}:{column}")), "{told}");
        assert!(!told.contains("PSA") && !told.contains("'K'"), "{told}");
    }
}

#[test]
fn what_is_wrong_with_gates_is_found_before_anything_runs() {
    let gates = r#"  a: { check: not_nul, column: measurement.value }
  b: { check: range, column: measurement.value }
  c: { check: not_null, column: measurment.value }
  d: { check: not_null, column: value }
  e: { check: unique, columns: [measurement.order, visit.visit] }
  f: { check: not_null, column: measurement.value, range: [0, 1] }
  g: { check: range, column: measurement.value, range: [2, 1] }
  h: { check: not_null, column: measurement.value, at_least: 120% }
"#;
    let found = findings(&pipeline(gates));
    for (code, line) in [
        ("E0204", 1),
        ("E0202", 2),
        ("E0309", 3),
        ("E0205", 4),
        ("E0311", 5),
        ("E0217", 6),
        ("E0207", 7),
        ("E0207", 8),
    ] {
        let at = SOURCES.lines().count() + 1 + line;
        assert!(
            found.iter().any(|(c, l, _)| c == code && *l == at as u64),
            "{code} in line {at}: {found:#?}"
        );
    }
    assert_eq!(found.len(), 8, "{found:#?}");
    assert!(found.iter().any(|f| f.2 == "did you mean `not_null`?"));
    assert!(found.iter().any(|f| f.2 == "did you mean `measurement`?"));

    let gates = r#"  a: { check: not_null, column: measurement.vlaue }
  b: { check: range, column: measurement.unit, range: [0, 1] }
  c: { check: fresh, column: measurement.value, within: 1d }
  d: { check: not_null, column: measurement.value, where: "nosuch = 1" }
  e: { check: sql, sql: "select _row_id from nowhere" }
  f: { check: sql, sql: "drop table measurement" }
"#;
    let found = findings(&pipeline(gates));
    let codes: Vec<&str> = found.iter().map(|f| f.0.as_str()).collect();
    assert_eq!(
        codes,
        ["E0724", "E0725", "E0725", "E0727", "E0727", "E0727"],
        "{found:#?}"
    );
    assert_eq!(found[0].2, "did you mean `value`?");
}

/// Neither a `;` nor a comment reaches what stands around it.
#[test]
fn conditions_and_queries_of_gates_are_read_alone() {
    let gates = r#"  a: { check: sql, table: measurement, on_fail: warn, sql: "select _row_id from measurement where value > 100 ; -- all" }
  b: { check: sql, table: measurement, on_fail: warn, sql: "select _row_id from measurement where value > 100 -- ;" }
  c: { check: not_null, column: measurement.unit, on_fail: warn, where: "test = 'K' -- or true" }
  d: { check: unit, column: measurement.unit, per: measurement.test, on_fail: warn, where: "test = 'K' or test = 'PSA' -- x" }
"#;
    let site = site(gates);
    site.refresh();
    let manifest = site.manifest(1);
    assert_eq!(counts(&manifest, "a"), (10, 1, false));
    assert_eq!(counts(&manifest, "b"), (10, 1, false));
    assert_eq!(counts(&manifest, "c"), (9, 1, false));
    assert_eq!(counts(&manifest, "d"), (9, 1, false));
}

/// Code, line and hint of what `validate` finds.
fn findings(pipeline: &str) -> Vec<(String, u64, String)> {
    let project = Project::new();
    project.write("pipeline.yaml", pipeline);
    let run = project
        .run(["validate", "pipeline.yaml", "--format", "json"])
        .expect_code(2);
    let json = run.json();
    let mut found = Vec::new();
    collect(&json, &mut found);
    found
}

fn collect(json: &Value, found: &mut Vec<(String, u64, String)>) {
    match json {
        Value::Object(object) => {
            if let (Some(code), Some(line)) = (object.get("code"), object.get("line")) {
                let text = |v: Option<&Value>| v.and_then(Value::as_str).unwrap_or_default().to_owned();
                found.push((text(Some(code)), line.as_u64().unwrap_or(0), text(object.get("hint"))));
            }
            object.values().for_each(|v| collect(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| collect(v, found)),
        _ => {}
    }
}

#[test]
fn what_is_dated_in_the_future_makes_nothing_fresh() {
    let gate = "  fresh: { check: fresh, column: measurement.at, within: 30d }\n";
    let site = site(gate);
    site.put(
        "inbox/lis2.csv",
        LIS.lines().next().unwrap().to_owned() + "\na,99,v1,K,4.0,mmol/L,2126-01-01\n",
    );
    let error = site.try_refresh(&RefreshOptions::default()).unwrap_err();
    assert!(error.to_string().contains("fresh"), "{error}");
}
