//! What a changed pipeline, a foreign vault, or equal contents do to a dataset.

use clinmill_engine::{
    EngineError,
    refresh::{Outcome, RefreshOptions},
};
use clinmill_tests::{
    hospital::{self, WEEKS},
    readers,
    site::{Site, tree},
    state::text,
};
use encoding_rs::GB18030;
use std::collections::BTreeMap;

#[test]
fn a_new_field_of_a_source_appears_in_the_whole_history() {
    let site = hospital::site();
    for week in 1..=WEEKS {
        hospital::put_week(&site, week);
        site.refresh();
    }
    let before = site.rows(3, "measurement");
    // The files are gone: what was read is read again from what was kept.
    site.remove("inbox");
    site.edit(|text| text.replace("status: OBX-11", "status: OBX-11\n          value_type: OBX-2"));
    let report = site.refresh();
    assert_eq!((report.outcome, report.release), (Outcome::Released, 4));
    assert!(report.sources["adt"].read > 0);
    assert_eq!(report.sources["lis"].read, 0, "what did not change is not read again");

    let mut wanted: BTreeMap<(String, String), String> = BTreeMap::new();
    for file in hospital::files().iter().filter(|f| f.kind() == "hl7") {
        for message in readers::hl7(&file.bytes, GB18030) {
            let mut order = String::new();
            for segment in &message {
                match segment.name() {
                    "OBR" => order = segment.component(3, 1),
                    "OBX" => {
                        wanted.insert((order.clone(), segment.component(3, 2)), segment.component(2, 1));
                    }
                    _ => {}
                }
            }
        }
    }
    let after = site.rows(4, "measurement");
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>(),
        "the same rows"
    );
    let mut with_type = 0;
    for (id, row) in &after {
        let is = row["value_type"].as_deref();
        let known = wanted.get(&(text(row, "order_no").to_owned(), text(row, "test_name").to_owned()));
        assert_eq!(is, known.map(String::as_str));
        with_type += usize::from(is.is_some());
        for (column, value) in before[id].iter().filter(|(c, _)| !c.starts_with('_')) {
            assert_eq!(row[column], *value, "{column} is as before");
        }
    }
    assert!(with_type > 300, "{with_type}");
    let changes = site.changes(4, "measurement");
    assert!(
        changes
            .iter()
            .all(|c| c.op == "U" && c.cause.as_deref() == Some("restandardized"))
    );
    assert_eq!(changes.len(), with_type, "only rows that say more are changed");
    assert_eq!(site.content(3)["visit"].len(), site.content(4)["visit"].len());
    assert_eq!(site.refresh().outcome, Outcome::NoOp);
}

#[test]
fn an_empty_vault_is_refused_for_a_dataset_that_has_releases() {
    let site = hospital::site();
    hospital::put_week(&site, 1);
    site.refresh();
    let kept = site.at("vault-of-before");
    std::fs::rename(site.at("vault"), &kept).unwrap();
    let before = tree(&site.dataset());

    let refused = |what: &str| {
        let error = site.try_refresh(&RefreshOptions::default()).expect_err(what);
        assert_eq!(error.exit_code(), 1);
        let EngineError::Refused { reason, advice } = error else {
            panic!("{what}: {error}")
        };
        assert!(tree(&site.dataset()) == before, "{what}: the dataset is as it was");
        (reason, advice)
    };
    let (reason, advice) = refused("no vault");
    assert!(
        reason.contains("there is no vault") && reason.contains("release 1"),
        "{reason}"
    );
    assert!(advice.contains("restore it from a backup"), "{advice}");
    assert!(!site.at("vault").exists(), "no vault is made");

    // Another vault, with releases of its own.
    let other = hospital::site();
    hospital::put_week(&other, 1);
    other.refresh();
    clinmill_tests::copy_dir(&other.at("vault"), &site.at("vault"));
    let (reason, _) = refused("another vault");
    assert!(reason.contains("another one"), "{reason}");
    site.remove("vault");

    // The vault from a backup that is behind.
    std::fs::rename(&kept, site.at("vault")).unwrap();
    clinmill_tests::copy_dir(&site.at("vault"), &kept);
    hospital::put_week(&site, 2);
    site.refresh();
    site.remove("vault");
    std::fs::rename(&kept, site.at("vault")).unwrap();
    let before = tree(&site.dataset());
    let error = site
        .try_refresh(&RefreshOptions::default())
        .expect_err("a backup that is behind");
    assert!(matches!(error, EngineError::Refused { .. }), "{error}");
    assert!(tree(&site.dataset()) == before);
}

const NOTES: &str = r#"version: 1
name: notes
timezone: Asia/Shanghai
vault: { url: "file:./vault/notes", key: { $secret: vault_key } }
dataset: { url: "file:./out/notes" }
sources:
  notes:
    plugin: notes
    inputs: { glob: "inbox/{mrn}/*.txt" }
    subject: { id: mrn, issuer: MRN }
tables:
  note: { from: notes }
"#;

#[test]
fn two_identical_notes_of_two_patients_are_two_rows() {
    let site = Site::new(NOTES);
    site.put("inbox/p1/a.txt", "患者一般情况可，无特殊不适。");
    site.put("inbox/p2/a.txt", "患者一般情况可，无特殊不适。");
    let report = site.refresh();
    assert_eq!(report.counts.written, 2);
    let rows = site.rows(1, "note");
    assert_eq!(rows.len(), 2);
    let subjects: Vec<&str> = rows.values().map(|r| text(r, "subject_id")).collect();
    assert_ne!(subjects[0], subjects[1]);
    // The same note of the same patient, sent again under another name, is the same note.
    site.put("inbox/p1/b.txt", "患者一般情况可，无特殊不适。");
    site.refresh();
    assert_eq!(site.content(1)["note"].len(), 2);
    assert_eq!(site.releases().last().map(|&n| site.rows(n, "note").len()), Some(2));
}

#[test]
fn the_hospitals_identical_notes_are_rows_of_their_own() {
    let weekly = super::weekly();
    let rows = weekly.site.rows(WEEKS as u64, "note");
    let mut by_text: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in rows.values() {
        by_text
            .entry(text(row, "text"))
            .or_default()
            .push(text(row, "subject_id"));
    }
    let same: Vec<_> = by_text.values().filter(|subjects| subjects.len() > 1).collect();
    assert!(!same.is_empty(), "the hospital has equal notes of several patients");
    for subjects in same {
        let mut once = subjects.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), subjects.len());
    }
}
