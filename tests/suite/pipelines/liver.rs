//! The transplant service: OMOP tables and the wide table with its scores after each week, against what its generator
//! knows, and what a later week may change.

use clinmill_engine::refresh::Outcome;
use clinmill_tests::{
    root,
    site::{Site, tree},
    state::{Rows, text},
};
use serde_json::Value;
use std::{collections::BTreeMap, fs};

const FOLDER: &str = "pipelines/liver-transplant";
const WEEKS: usize = 3;

fn put_week(site: &Site, week: usize) {
    let folder = root().join(FOLDER).join("inbox");
    let files = tree(&folder.join(format!("week{week}")));
    assert!(files.len() > 10, "the sample's inbox is not there");
    for (path, bytes) in files {
        let path = path
            .strip_prefix(&folder)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        site.put(&format!("inbox/{path}"), bytes);
    }
}

/// The site after all weeks, one refresh each.
fn weekly() -> Site {
    let site = Site::of_pipeline("liver-transplant");
    for week in 1..=WEEKS {
        put_week(&site, week);
        let report = site.refresh();
        assert_eq!((report.outcome, report.release), (Outcome::Released, week as u64));
    }
    site
}

fn truth() -> Value {
    serde_json::from_slice(&fs::read(root().join(FOLDER).join("truth.json")).unwrap()).unwrap()
}

/// What is true of every stay at the end of a week, by visit number and column.
fn stays(truth: &Value, week: usize) -> BTreeMap<String, BTreeMap<String, Value>> {
    let list = &truth["liver_transplant"];
    let columns = list["columns"][2].as_array().unwrap();
    let mut stays = BTreeMap::new();
    for row in list["rows"].as_array().unwrap() {
        let Some(values) = row[2][week - 1].as_array() else {
            continue;
        };
        let named = columns.iter().map(|c| c.as_str().unwrap().to_owned());
        stays.insert(
            row[0].as_str().unwrap().to_owned(),
            named.zip(values.iter().cloned()).collect(),
        );
    }
    stays
}

fn by_visit(rows: &Rows) -> BTreeMap<String, String> {
    let visits = rows
        .iter()
        .map(|(id, row)| (text(row, "visit_no").to_owned(), id.clone()));
    visits.collect()
}

/// True where a cell says what is true; laboratory values as far as two tables of molar masses agree.
fn same(cell: &str, truth: &Value) -> bool {
    match truth {
        Value::Null => cell.is_empty(),
        Value::Number(number) => {
            let (cell, number) = (cell.parse::<f64>(), number.as_f64().unwrap());
            cell.is_ok_and(|cell| (cell - number).abs() <= number.abs() * 2e-5 + 1e-6)
        }
        other => other.as_str() == Some(cell),
    }
}

#[test]
fn every_week_says_what_is_true_of_every_stay() {
    let site = weekly();
    let truth = truth();
    let (mut scores, mut classes) = (0, 0);
    for week in 1..=WEEKS {
        let release = week as u64;
        for (table, wanted) in truth["weeks"][week - 1]["rows"].as_object().unwrap() {
            let manifest = site.manifest(release);
            assert_eq!(
                manifest["tables"][table]["row_count"], *wanted,
                "{table} of week {week}"
            );
        }
        let rows = site.rows(release, "liver_transplant");
        let wanted = stays(&truth, week);
        let found = by_visit(&rows);
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            wanted.keys().collect::<Vec<_>>(),
            "stays of week {week}"
        );
        for (visit, columns) in wanted {
            let row = &rows[&found[&visit]];
            for (column, value) in &columns {
                let cell = text(row, column);
                assert!(
                    same(cell, value),
                    "{column} of {visit} in week {week}: {cell} instead of {value}"
                );
            }
            scores += usize::from(!columns["meld"].is_null());
            classes += usize::from(!columns["child_pugh"].is_null());
        }
        let manifest = site.manifest(release);
        let failed = manifest["gates"].as_array().unwrap();
        assert!(failed.iter().all(|g| g["passed"] == true || g["severity"] == "warn"));
    }
    assert!(scores > 30 && classes > 30, "{scores} {classes}");
    let weeks = truth["weeks"].as_array().unwrap().iter();
    let broken: usize = weeks.map(|w| w["broken"].as_array().unwrap().len()).sum();
    assert_eq!(site.quarantine().len(), broken);
}

#[test]
fn every_result_is_in_one_unit_per_analyte_and_keeps_what_was_written() {
    let site = weekly();
    let mut units: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let visits = site.rows(3, "visit_occurrence");
    let known: Vec<&str> = visits.values().map(|v| text(v, "visit_occurrence_id")).collect();
    for row in site.rows(3, "measurement").values() {
        let of = |column: &str| text(row, column);
        let written = units.entry(of("measurement_source_value").to_owned()).or_default();
        assert!(!of("value_source_value").is_empty() && known.contains(&of("visit_occurrence_id")));
        // The number is in the unit of the concept: OHDSI/EunomiaDatasets, Synthea27Nj.
        let concept = match of("value_as_number_unit") {
            "mg/dL" => "8840",
            "g/L" => "8636",
            "10*9/L" => "9444",
            "mmol/L" => "8753",
            "ng/mL" => "8842",
            "U/L" => "8645",
            _ => "0",
        };
        let unit = of("unit_source_value");
        assert_eq!(
            of("unit_concept_id"),
            if unit.is_empty() { "" } else { concept },
            "{unit}"
        );
        if of("status") == "no-target" {
            assert_eq!(
                of("value_as_number"),
                of("value_source_value").trim_start_matches(['<', '>'])
            );
            assert_eq!((of("unit_source_value"), of("loinc_code")), ("U/L", ""));
            continue;
        }
        *written.entry(of("value_as_number_unit").to_owned()).or_default() += 1;
        if of("unit_source_value").contains("mol/L") && of("value_as_number_unit") == "mg/dL" {
            assert!(of("rule").contains("maps:molar-mass__ucum \""), "{}", of("rule"));
            let factor: f64 = of("factor").parse().unwrap();
            let source: f64 = of("value_source_value").trim_start_matches('>').parse().unwrap_or(0.0);
            let number: f64 = of("value_as_number").parse().unwrap_or(0.0);
            assert!((number - source * factor).abs() < 1e-6);
        }
    }
    assert_eq!(units.len(), 8);
    for (test, units) in &units {
        assert_eq!(units.len(), 1, "{test}: {units:?}");
    }
    let of = |test: &str| units[test].keys().next().unwrap().as_str();
    assert_eq!(
        (of("肌酐"), of("总胆红素"), of("白蛋白"), of("血小板计数")),
        ("mg/dL", "mg/dL", "g/L", "10*9/L")
    );
}

#[test]
fn a_correction_changes_one_result_and_the_stay_it_belongs_to() {
    let site = weekly();
    let before = site.rows(3, "liver_transplant");
    // The last bilirubin before an operation, said otherwise later.
    let (visit, stay) = by_visit(&before)
        .into_iter()
        .find(|(visit, _)| visit == "ZY2610010111")
        .unwrap();
    let results = site.rows(3, "measurement");
    let at = text(&before[&stay], "labs_at");
    let (id, old) = results
        .iter()
        .find(|(_, r)| text(r, "measurement_datetime") == at && text(r, "measurement_source_value") == "总胆红素")
        .unwrap();
    let name = tree(&site.at("inbox"))
        .into_iter()
        .find_map(|(_, bytes)| {
            let file = clinmill_tests::readers::chinese(&bytes)?;
            let line = file.lines().find(|line| {
                line.contains(&visit) && line.contains("总胆红素") && line.contains(text(old, "value_source_value"))
            })?;
            Some(line.split(',').take(2).map(str::to_owned).collect::<Vec<_>>())
        })
        .unwrap();
    let correction = format!(
        "病案号,报告号,住院号,项目名称,结果,单位,参考范围,采样时间,报告时间\r\n\
         {},{},{visit},总胆红素,18.50,mg/dL,0.2-1.2,{},2026-03-23 09:00\r\n",
        name[0],
        name[1],
        at.replace('-', "/").replace('T', " ").replace(":00.000000", ""),
    );
    site.put(
        "inbox/week4/lis/lis_20260323.csv",
        &*encoding_rs::GB18030.encode(&correction).0,
    );
    let report = site.refresh();
    assert_eq!((report.outcome, report.release), (Outcome::Released, 4));
    for table in site.tables(4) {
        let changes = site.changes(4, &table);
        let changed: Vec<&str> = changes.iter().map(|c| c.row_id.as_str()).collect();
        match table.as_str() {
            "measurement" => assert_eq!(changed, [id.as_str()]),
            "liver_transplant" => assert_eq!(changed, [stay.as_str()]),
            _ => assert!(changed.is_empty(), "{table}: {changed:?}"),
        }
        assert!(changes.iter().all(|c| c.cause.as_deref() == Some("corrected")));
    }
    let after = &site.rows(4, "liver_transplant")[&stay];
    assert_eq!(text(after, "bilirubin"), "18.5");
    let meld = |row| text(row, "meld").parse::<i64>().unwrap();
    assert!(meld(after) > meld(&before[&stay]));
    // Nothing new: nothing is released.
    assert_eq!(site.refresh().outcome, Outcome::NoOp);
}

#[test]
fn every_stay_leads_back_to_the_records_its_scores_are_made_of() {
    let site = weekly();
    let traces = site.trace_all("liver_transplant");
    assert_eq!(traces.len(), 15);
    for trace in &traces {
        let from = |source: &str| trace.origins.iter().any(|o| o.relation.starts_with(source));
        let there = |column: &str| trace.row[column].is_some();
        assert!(from("adt"));
        assert!(!there("meld") || (from("lis") && from("evaluation")));
        assert_eq!(there("operated_at"), from("surgery"));
        assert_eq!(there("immunosuppressants"), from("orders"));
        assert_eq!(there("graft_status"), from("followup"));
    }
}
