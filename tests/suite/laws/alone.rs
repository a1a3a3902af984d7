//! A transform is a pure function of one subject's events: each subject alone gives what all together give.

use super::weekly;
use clinmill_engine::refresh::{Outcome, RefreshOptions};
use clinmill_tests::{
    hospital::{self, WEEKS},
    state::Rows,
};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn each_subject_alone_is_as_all_together() {
    let patients = hospital::patients();
    assert_eq!(patients.len(), 12);
    let mut union: BTreeMap<String, Rows> = BTreeMap::new();
    for patient in &patients {
        let site = hospital::site();
        for file in hospital::only(patient) {
            file.put(&site, &format!("week{}", file.week));
        }
        // The registry of one patient loses all its rows when it loses one.
        let report = site.refresh_with(&RefreshOptions {
            approve_deletes: true,
            ..RefreshOptions::default()
        });
        assert_eq!(report.outcome, Outcome::Released);
        let mut subjects = BTreeSet::new();
        for (table, rows) in site.content(1) {
            let all = union.entry(table).or_default();
            for (id, row) in rows {
                subjects.insert(row["subject_id"].clone());
                assert!(all.insert(id, row).is_none(), "a row of two patients");
            }
        }
        assert_eq!(subjects.len(), 1, "the identifiers {patient:?} are one subject");
    }
    let together = weekly().site.content(WEEKS as u64);
    for (table, rows) in &together {
        let alone = &union[table];
        let lacking: Vec<_> = rows
            .iter()
            .filter(|(id, row)| alone.get(*id) != Some(row))
            .take(3)
            .collect();
        let more: Vec<_> = alone
            .iter()
            .filter(|(id, row)| rows.get(*id) != Some(row))
            .take(3)
            .collect();
        assert!(
            lacking.is_empty() && more.is_empty(),
            "{table}: together {lacking:#?}\nalone {more:#?}"
        );
    }
}
