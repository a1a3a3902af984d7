//! L2: the changes since release 1, applied one after the other, give the state of every release.

use super::weekly;
use clinmill_tests::{
    hospital::WEEKS,
    state::{Rows, apply},
};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn changes_add_up_to_every_release() {
    let weekly = weekly();
    let site = &weekly.site;
    let mut folded: BTreeMap<String, Rows> = BTreeMap::new();
    for release in 1..=WEEKS as u64 {
        let manifest = site.manifest(release);
        for table in site.tables(release) {
            let changes = site.changes(release, &table);
            let once: BTreeSet<&String> = changes.iter().map(|c| &c.row_id).collect();
            assert_eq!(
                once.len(),
                changes.len(),
                "{table}: a row changes twice in release {release}"
            );
            let report = &weekly.reports[release as usize - 1].tables[&table];
            let count = |op: &str| changes.iter().filter(|c| c.op == op).count() as u64;
            assert_eq!(
                (count("U"), count("D")),
                (report.upserts, report.deletes),
                "{table} of release {release}"
            );

            let known = folded.entry(table.clone()).or_default();
            for change in changes {
                if change.op == "U" {
                    assert_eq!(change.row["_release"].as_deref(), Some(release.to_string().as_str()));
                    // A row without news is no change.
                    let same = |a: &str, b: &Option<String>| a == "_release" || change.row[a] == *b;
                    let old = known.get(&change.row_id);
                    assert!(old.is_none_or(|old| !old.iter().all(|(column, value)| same(column, value))));
                }
                apply(known, change);
            }
            let state = site.rows(release, &table);
            assert_eq!(*known, state, "{table} at release {release}");
            assert_eq!(manifest["tables"][&table]["row_count"], state.len());
        }
    }
}
