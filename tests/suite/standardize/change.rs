//! A change of one mapping row publishes the rows that it concerns, and no others, as a labelled delta.

use super::{LABS, ROWS, edit_line, site, with_tables};
use clinmill_engine::refresh::RefreshOptions;
use clinmill_tests::{site::Site, state::text};

/// What a release changed: operation, cause and order number.
fn changes(site: &Site, release: u64) -> Vec<(String, String, String)> {
    let changes = site.changes(release, "measurement").into_iter();
    let mut all: Vec<_> = changes
        .map(|c| (c.op, c.cause.unwrap_or_default(), text(&c.row, "order_no").to_owned()))
        .collect();
    all.sort();
    all
}

fn row(cause: &str, order: &str) -> (String, String, String) {
    ("U".to_owned(), cause.to_owned(), order.to_owned())
}

/// The pipeline with a source of complete exports.
fn complete(pipeline: &str) -> String {
    pipeline.replace(
        "inputs: { glob: \"inbox/lab*.csv\" }",
        "inputs: { glob: \"inbox/lab*.csv\" }\n    mode: { complete: { as_of: \"lab_{date}.csv\" } }",
    )
}

#[test]
fn one_row_of_a_mapping_changes_its_own_rows_only() {
    let site = site(LABS, ROWS);
    site.refresh();
    let before = site.rows(1, "measurement");
    edit_line(&site, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
        line.replace(",14682-9,", ",99999-5,")
    });
    let report = site.refresh();
    assert_eq!((report.release, report.subjects), (2, Some(2)));
    assert_eq!(
        changes(&site, 2),
        [row("restandardized", "1"), row("restandardized", "3")]
    );
    let manifest = site.manifest(2);
    assert_eq!(manifest["kind"], "delta");
    let after = site.rows(2, "measurement");
    for (id, row) in &after {
        let concerned = ["1", "3"].contains(&text(row, "order_no"));
        assert_eq!(*row != before[id], concerned, "{row:?}");
        assert_eq!(text(row, "loinc_code") == "99999-5", concerned);
        assert_eq!(text(row, "_release"), if concerned { "2" } else { "1" });
    }
    // Nothing else came of it than what the table gives from the beginning.
    let fresh = super::site(LABS, ROWS);
    edit_line(&fresh, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
        line.replace(",14682-9,", ",99999-5,")
    });
    fresh.refresh();
    assert_eq!(site.fingerprints(2), fresh.fingerprints(1));
}

#[test]
fn a_factor_and_a_new_row_change_what_they_concern() {
    let site = site(LABS, ROWS);
    site.refresh();
    edit_line(&site, "molar-mass__ucum", &["14682-9,"], |line| {
        line.replace(",113.12,", ",113.21,")
    });
    site.refresh();
    assert_eq!(
        changes(&site, 2),
        [row("restandardized", "1")],
        "the other one was in umol/L"
    );
    edit_line(&site, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
        format!("{line}\n,没有的项目,http://loinc.org,718-7,x,equivalent,accepted,g/L,,,manual,x,,,")
    });
    site.refresh();
    assert_eq!(changes(&site, 3), [row("restandardized", "4")]);
    // A note about a row concerns no value: a release says that the table changed, and no row does.
    edit_line(&site, "lab-zh__loinc", &[",没有的项目,"], |line| {
        format!("{line}seen")
    });
    let report = site.refresh();
    assert_eq!(changes(&site, 4), []);
    assert_eq!((report.release, report.subjects), (4, Some(0)));
}

/// New results that come with a changed table are told apart from those that it changed.
#[test]
fn new_rows_are_new_beside_a_changed_mapping() {
    let site = site(LABS, ROWS);
    site.refresh();
    edit_line(&site, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
        line.replace(",14682-9,", ",99999-5,")
    });
    site.put(
        "inbox/lab2.csv",
        "mrn,order,test,result,unit,at\nd,6,肌酐,1,mg/dL,2026-01-09 07:00:00\n",
    );
    site.refresh();
    let mut wanted = [row("new", "6"), row("restandardized", "1"), row("restandardized", "3")];
    wanted.sort();
    assert_eq!(changes(&site, 2), wanted);
}

/// A correction that comes with a changed table is one: only what nothing new came of was restandardized.
#[test]
fn corrections_are_corrections_beside_a_changed_mapping() {
    let site = site(&LABS.replace("key: [order]", "key: [order]\n    version: at"), ROWS);
    site.refresh();
    let result = |value: &str| format!("mrn,order,test,result,unit,at\na,1,肌酐,{value},mg/dL,2026-01-09 07:00:00\n");
    site.put("inbox/lab2.csv", result("2.5"));
    edit_line(&site, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
        line.replace(",14682-9,", ",99999-5,")
    });
    site.refresh();
    assert_eq!(changes(&site, 2), [row("corrected", "1"), row("restandardized", "3")]);
}

/// A complete export says every record again: what it says as before was not corrected.
#[test]
fn what_a_complete_export_repeats_is_no_correction() {
    let site = with_tables(Site::new(&complete(LABS)));
    site.put("inbox/lab_2026-01-05.csv", ROWS);
    site.refresh();
    site.put("inbox/lab_2026-01-12.csv", ROWS.replace("a,1,肌酐,0.9", "a,1,肌酐,1.9"));
    edit_line(&site, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
        line.replace(",14682-9,", ",99999-5,")
    });
    site.refresh();
    assert_eq!(changes(&site, 2), [row("corrected", "1"), row("restandardized", "3")]);
}

#[test]
fn the_plan_says_what_is_computed_again_and_why() {
    let site = site(LABS, ROWS);
    site.refresh();
    edit_line(&site, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
        line.replace(",14682-9,", ",99999-5,")
    });
    let project = site.project();
    let shown = project.run(["plan", "pipeline.yaml"]).expect_code(0).stdout;
    let line = shown
        .lines()
        .find(|l| l.trim_start().starts_with("measurement"))
        .unwrap();
    assert!(line.contains("subjects that a changed mapping concerns"), "{shown}");
    assert!(line.trim_end().ends_with(" 2"), "{shown}");
    let line = shown.lines().find(|l| l.contains("maps:lab-zh__loinc")).unwrap();
    assert!(
        line.contains("mapping") && line.contains("its content changed"),
        "{shown}"
    );
    assert!(shown.contains("a refresh would make release 2"), "{shown}");
}

/// What held before counts, not what was ever said: a correction that takes an earlier one back is one.
#[test]
fn a_correction_taken_back_is_a_correction_beside_a_changed_mapping() {
    let site = with_tables(Site::new(&complete(LABS)));
    for (day, value) in [("05", "0.9"), ("12", "1.9"), ("19", "0.9")] {
        let rows = ROWS.replace("a,1,肌酐,0.9", &format!("a,1,肌酐,{value}"));
        site.put(&format!("inbox/lab_2026-01-{day}.csv"), rows);
        if day == "19" {
            edit_line(&site, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
                line.replace(",14682-9,", ",99999-5,")
            });
        }
        site.refresh();
    }
    assert_eq!(changes(&site, 3), [row("corrected", "1"), row("restandardized", "3")]);
}

/// A row of all subjects, and one of a subject of whom a record is gone, follow the records beside a changed mapping too.
#[test]
fn what_is_made_of_several_records_is_corrected_with_them() {
    let pipeline = complete(LABS).replace(
        "tables:",
        "  per_patient: { sql: 'select subject_id, count(*) as n, count(loinc_code) as mapped from labs group by subject_id' }\n  \
         in_all: { scope: dataset, sql: 'select count(*) as n, count(loinc_code) as mapped from labs' }\n\
         tables:\n  per_patient: { from: per_patient, key: [subject_id] }\n  in_all: { from: in_all, key: [] }",
    );
    let site = with_tables(Site::new(&pipeline));
    site.put("inbox/lab_2026-01-05.csv", ROWS);
    site.refresh();
    let without_second: String = ROWS
        .lines()
        .filter(|l| !l.starts_with("a,2,"))
        .map(|l| format!("{l}\n"))
        .collect();
    site.put("inbox/lab_2026-01-12.csv", without_second);
    edit_line(&site, "lab-zh__loinc", &[",血红蛋白,"], |line| {
        line.replace(",718-7,", ",99999-5,")
    });
    let approved = RefreshOptions {
        approve_deletes: true,
        ..RefreshOptions::default()
    };
    site.refresh_with(&approved);
    for table in ["per_patient", "in_all"] {
        let causes: Vec<_> = site.changes(2, table).into_iter().filter_map(|c| c.cause).collect();
        assert!(causes.contains(&"corrected".to_owned()), "{table}: {causes:?}");
    }
}
