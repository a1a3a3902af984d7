//! The tables of every release agree with the hospital's truth file: counts, corrected values, vanished rows, merged
//! patients, voided results, cancelled discharges.

use super::weekly;
use clinmill_tests::{
    hospital::{self, WEEKS},
    state::{Row, Rows, text},
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is true of one column at the end of a week, by key; what is not there then is left out.
fn truth_at(truth: &Value, list: &str, week: usize, key: &[&str], column: &str) -> BTreeMap<Vec<String>, String> {
    let of = |row: &BTreeMap<String, Value>, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    hospital::truths(truth, list)
        .iter()
        .filter_map(|row| {
            let value = row[column][week - 1].as_str()?;
            Some((key.iter().map(|k| of(row, k)).collect(), value.to_owned()))
        })
        .collect()
}

fn table_at<'a>(
    rows: impl IntoIterator<Item = &'a Row>,
    key: &[&str],
    column: &dyn Fn(&Row) -> String,
) -> BTreeMap<Vec<String>, String> {
    let mut out = BTreeMap::new();
    for row in rows {
        let key: Vec<String> = key.iter().map(|k| text(row, k).to_owned()).collect();
        assert!(out.insert(key.clone(), column(row)).is_none(), "{key:?} stands twice");
    }
    out
}

fn minute(timestamp: &str) -> String {
    timestamp.replace('T', " ").chars().take(16).collect()
}

#[test]
fn every_release_says_what_is_true() {
    let weekly = weekly();
    let truth = hospital::truth();
    for week in 1..=WEEKS {
        let rows = |table: &str| -> Rows { weekly.site.rows(week as u64, table) };
        let count = |list: &str| truth["weeks"][week - 1]["rows"][list].as_u64().unwrap_or_default() as usize;
        let (person, visit, measurement) = (rows("person"), rows("visit"), rows("measurement"));
        let (stenting, note) = (rows("carotid_stenting"), rows("note"));
        assert_eq!(person.len(), count("person"));
        assert_eq!(visit.len(), count("visit"));
        assert_eq!(measurement.len(), count("result_hl7") + count("result_lis"));
        assert_eq!(stenting.len(), count("carotid_stenting"));
        assert_eq!(note.len(), count("note") + count("dialogue"));

        let discharged = |row: &Row| minute(text(row, "discharged_at"));
        assert_eq!(
            table_at(visit.values(), &["visit_no"], &discharged),
            truth_at(&truth, "visit", week, &["visit_no"], "discharged_at"),
            "visits of week {week}"
        );
        let results = ["order_no", "test_name"];
        let mut wanted = truth_at(&truth, "result_hl7", week, &results, "value");
        wanted.extend(truth_at(&truth, "result_lis", week, &results, "value"));
        let value = |row: &Row| text(row, "value").to_owned();
        assert_eq!(
            table_at(measurement.values(), &results, &value),
            wanted,
            "results of week {week}"
        );
        let outcome = |row: &Row| text(row, "outcome_30d").to_owned();
        assert_eq!(
            table_at(stenting.values(), &["visit_no"], &outcome),
            truth_at(&truth, "carotid_stenting", week, &["visit_no"], "outcome_30d"),
            "operations of week {week}"
        );
        let notes = note.values().filter(|row| row["call_no"].is_none());
        assert_eq!(
            table_at(notes, &["visit_no", "kind"], &|_| String::new()),
            truth_at(&truth, "note", week, &["visit_no", "kind"], "present"),
            "notes of week {week}"
        );
    }
}

#[test]
fn every_row_stands_under_its_patient() {
    let weekly = weekly();
    let truth = hospital::truth();
    let mut patient_of: BTreeMap<String, String> = BTreeMap::new();
    for (list, key) in [
        ("visit", "visit_no"),
        ("result_hl7", "order_no"),
        ("result_lis", "order_no"),
    ] {
        for row in hospital::truths(&truth, list) {
            let of = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            patient_of.insert(of(key), of("mrn"));
        }
    }
    let mut subject_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for table in ["visit", "measurement", "carotid_stenting", "note"] {
        for row in weekly.site.rows(WEEKS as u64, table).values() {
            let number = ["order_no", "visit_no"]
                .iter()
                .map(|c| text(row, c))
                .find(|n| !n.is_empty())
                .unwrap_or_default();
            let patient = patient_of
                .get(number)
                .unwrap_or_else(|| panic!("{table}: nobody has {number}"));
            subject_of
                .entry(patient.clone())
                .or_default()
                .insert(text(row, "subject_id").to_owned());
        }
    }
    assert!(
        subject_of.values().all(|s| s.len() == 1),
        "a merged patient is one subject: {subject_of:?}"
    );
    let subjects: BTreeSet<&String> = subject_of.values().flatten().collect();
    assert_eq!(subjects.len(), subject_of.len(), "two patients are two subjects");

    let persons = weekly.site.rows(WEEKS as u64, "person");
    for truth in hospital::truths(&truth, "person") {
        let of = |name: &str| truth[name].as_str().unwrap_or_default();
        let subject = subject_of[of("mrn")].first().cloned().unwrap_or_default();
        let person = persons.values().find(|p| text(p, "subject_id") == subject);
        let person = person.unwrap_or_else(|| panic!("{} is not there", of("mrn")));
        let said = [
            text(person, "birth").replace('-', ""),
            text(person, "sex").into(),
            text(person, "region").into(),
        ];
        assert_eq!(said, [of("birth"), of("sex"), of("region")], "{}", of("incident"));
    }
}

#[test]
fn every_release_changes_what_became_other() {
    let weekly = weekly();
    let truth = hospital::truth();
    let lists: [(&str, &[&str]); 5] = [
        ("person", &["person"]),
        ("visit", &["visit"]),
        ("measurement", &["result_hl7", "result_lis"]),
        ("carotid_stenting", &["carotid_stenting"]),
        ("note", &["note", "dialogue"]),
    ];
    for week in 1..=WEEKS {
        for (table, lists) in lists {
            let count = |what: &str| -> usize {
                let of = |list: &&str| truth["weeks"][week - 1][what][*list].as_u64().unwrap_or_default();
                lists.iter().map(of).sum::<u64>() as usize
            };
            let before = if week > 1 {
                weekly.site.rows(week as u64 - 1, table)
            } else {
                Rows::new()
            };
            let changes = weekly.site.changes(week as u64, table);
            let new = changes
                .iter()
                .filter(|c| c.op == "U" && !before.contains_key(&c.row_id))
                .count();
            let deleted = changes.iter().filter(|c| c.op == "D").count();
            assert_eq!(new, count("new"), "new rows of {table} in week {week}");
            assert_eq!(deleted, count("removed"), "removed rows of {table} in week {week}");
            for change in changes.iter().filter(|c| c.op == "U") {
                let known = before.contains_key(&change.row_id);
                let cause = change.cause.as_deref().unwrap_or_default();
                let causes: &[&str] = if known { &["corrected"] } else { &["new", "late"] };
                assert!(causes.contains(&cause), "{table} in week {week}: {cause}");
            }
            // The truth file counts changes of the values it holds; a merge moves rows, an update may touch others.
            let changed = changes
                .iter()
                .filter(|c| c.op == "U" && before.contains_key(&c.row_id))
                .count();
            assert!(changed >= count("changed"), "changed rows of {table} in week {week}");
        }
    }
}
