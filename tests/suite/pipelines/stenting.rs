//! The stenting service as OMOP tables and a registry: `omop.yaml` over the three weeks, against the truth file.

use clinmill_engine::refresh::Outcome;
use clinmill_tests::{
    hospital::{self, WEEKS},
    root,
    state::text,
};
use serde_json::Value;
use std::{collections::BTreeMap, fs};

/// Columns of the registry: list of the truth file, test, how often it is measured per operation, which of these counts.
const LABS: [(&str, &str, &str, usize, usize); 8] = [
    ("creatinine", "result_lis", "肌酐", 2, 0),
    ("creatinine_after", "result_lis", "肌酐", 2, 1),
    ("ldl", "result_lis", "低密度脂蛋白胆固醇", 1, 0),
    ("hba1c", "result_lis", "糖化血红蛋白", 1, 0),
    ("homocysteine", "result_lis", "同型半胱氨酸", 1, 0),
    ("hs_crp", "result_lis", "超敏C反应蛋白", 1, 0),
    ("platelets", "result_hl7", "血小板计数", 2, 0),
    ("inr", "result_hl7", "国际标准化比值", 2, 0),
];

fn file(name: &str) -> String {
    fs::read_to_string(root().join("pipelines/carotid-stenting").join(name)).unwrap()
}

fn sources(text: &str) -> &str {
    &text[text.find("sources:\n").unwrap()..text.find("transforms:\n").unwrap()]
}

#[test]
fn both_pipelines_read_the_same_sources() {
    let (own, omop) = (file("pipeline.yaml"), file("omop.yaml"));
    let without = |text: &str, from: &str, to: &str| {
        let start = text.find(from).unwrap();
        let end = start + text[start..].find(to).unwrap();
        format!("{}{}", &text[..start], &text[end..])
    };
    assert_eq!(
        without(sources(&own), "  notes:", "  dialogue:"),
        without(sources(&omop), "      diagnosis:\n", "      result:\n").replace(", told_at: MSH-7", "")
    );
}

/// A result as the truth file has it; `None` where the laboratory gave no number, or only a bound.
fn number(value: &str) -> Option<f64> {
    value.trim().trim_end_matches(['↑', '↓']).parse().ok()
}

/// What is true of every operation at the end of a week: outcome and laboratory values, by visit.
fn operations(truth: &Value, week: usize) -> BTreeMap<String, (String, Vec<Option<f64>>)> {
    let of = |row: &BTreeMap<String, Value>, column: &str| row[column].as_str().unwrap_or_default().to_owned();
    let mut visits: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in hospital::truths(truth, "visit") {
        visits.entry(of(&row, "mrn")).or_default().push(of(&row, "visit_no"));
    }
    let mut operations = BTreeMap::new();
    for row in hospital::truths(truth, "carotid_stenting") {
        let (mrn, visit) = (of(&row, "mrn"), of(&row, "visit_no"));
        let Some(outcome) = row["outcome_30d"][week - 1].as_str() else {
            continue;
        };
        let place = visits[&mrn].iter().position(|v| *v == visit).unwrap();
        let labs = LABS.iter().map(|(_, list, test, times, which)| {
            // Orders are numbered by time, and each operation has as many.
            let mut orders: Vec<_> = hospital::truths(truth, list)
                .into_iter()
                .filter(|r| of(r, "mrn") == mrn && of(r, "test_name") == *test)
                .collect();
            orders.sort_by_key(|r| of(r, "order_no"));
            number(orders[place * times + which]["value"][week - 1].as_str()?)
        });
        operations.insert(visit, (outcome.to_owned(), labs.collect()));
    }
    operations
}

#[test]
fn every_week_says_what_is_true_of_every_operation() {
    let site = hospital::site();
    let pipeline = file("omop.yaml").replace("key: auto", "key: { $secret: vault_key }");
    site.edit(|_| pipeline);
    let truth = hospital::truth();
    let unnamed = hospital::truths(&truth, "person")
        .into_iter()
        .find(|p| p["temporary_mrn"].is_string())
        .unwrap()["mrn"]
        .clone();
    let mut compared = 0;
    for week in 1..=WEEKS {
        hospital::put_week(&site, week);
        let report = site.refresh();
        assert_eq!((report.outcome, report.release), (Outcome::Released, week as u64));
        // Until the numbers are merged, the model has no place for a patient without a date of birth.
        let count = |list: &str| {
            let known = |row: &BTreeMap<String, Value>| week > 1 || row["mrn"] != unnamed;
            let there = |row: &BTreeMap<String, Value>| {
                let last = row.values().find_map(Value::as_array);
                last.is_some_and(|values| values[week - 1].is_string())
            };
            hospital::truths(&truth, list)
                .iter()
                .filter(|row| known(row) && there(row))
                .count()
        };
        let manifest = site.manifest(week as u64);
        let rows = |table: &str| manifest["tables"][table]["row_count"].as_u64().unwrap() as usize;
        let persons = truth["weeks"][week - 1]["rows"]["person"].as_u64().unwrap() as usize;
        assert_eq!(rows("person"), persons - usize::from(week == 1));
        assert_eq!(rows("measurement"), count("result_hl7") + count("result_lis"));
        assert_eq!(
            (rows("visit_occurrence"), rows("condition_occurrence")),
            (count("visit"), count("visit"))
        );
        let operated = count("carotid_stenting");
        for table in ["procedure_occurrence", "device_exposure", "stenting_registry"] {
            assert_eq!(rows(table), operated, "{table} of week {week}");
        }
        let wanted = operations(&truth, week);
        let registry = site.rows(week as u64, "stenting_registry");
        for row in registry.values() {
            let (outcome, labs) = &wanted[text(row, "visit_no")];
            assert_eq!(text(row, "outcome_30d"), outcome);
            for ((column, ..), value) in LABS.iter().zip(labs) {
                assert_eq!(
                    text(row, column).parse::<f64>().ok(),
                    *value,
                    "{column} of {} in week {week}",
                    text(row, "visit_no")
                );
                compared += usize::from(value.is_some());
            }
        }
    }
    assert!(compared > 150, "{compared} values were compared");
    for row in site.rows(WEEKS as u64, "procedure_occurrence").values() {
        assert_eq!(text(row, "icd9cm3_code"), "00.6300");
    }
}

#[test]
fn a_change_of_the_registry_changes_its_rows_only() {
    let site = hospital::site();
    let pipeline = file("omop.yaml").replace("key: auto", "key: { $secret: vault_key }");
    site.edit(|_| pipeline);
    (1..=WEEKS).for_each(|week| hospital::put_week(&site, week));
    site.refresh();
    let files = hospital::files().iter().filter(|f| f.kind() == "registry");
    let last = files.max_by_key(|f| f.path.clone()).unwrap();
    let export = String::from_utf8(last.bytes.clone()).unwrap();
    let line = export.lines().find(|line| line.starts_with("ZY2600010121,")).unwrap();
    let changed = export.replace(line, &line.replace("随访中", "脑卒中"));
    assert_ne!(changed, export);
    site.put("inbox/week4/registry/registry_20260329.csv", changed);
    assert_eq!(site.refresh().release, 2);
    for table in site.tables(2) {
        let changes = site.changes(2, &table);
        let expected = usize::from(table == "stenting_registry");
        assert_eq!(changes.len(), expected, "{table}: {changes:?}");
        assert!(changes.iter().all(|c| text(&c.row, "outcome_30d") == "脑卒中"));
    }
}
