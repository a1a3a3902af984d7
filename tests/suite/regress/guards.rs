//! What a refresh asks about before it deletes, and what it says where it does not publish.

use super::*;

#[test]
fn the_deletion_guard_is_per_scope() {
    let site = facilities("20%");
    for facility in 0..10 {
        site.put(
            &format!("inbox/F{facility}_20260101.csv"),
            format!("order,mrn,val\n{facility},p{facility},1\n"),
        );
    }
    site.refresh();
    site.put("inbox/F7_20260108.csv", "order,mrn,val\n");
    assert!(matches!(
        site.try_refresh(&RefreshOptions::default()),
        Err(EngineError::QualityGate(_))
    ));
    assert_eq!(site.refresh_with(&approved()).tables["measurement"].rows, 9);
}

#[test]
fn a_record_holds_while_one_scope_asserts_it() {
    let both = "order,mrn,val\n4,a,y\n5,b,z\n";
    let fewer = "order,mrn,val\n5,b,z\n";
    let weeks: [(&str, &str); 3] = [
        ("inbox/A_20260102.csv", both),
        ("inbox/B_20260102.csv", both),
        ("inbox/A_20260109.csv", fewer),
    ];
    // All at once, and in every order of arrival in which the later export does not come first.
    for order in [
        vec![vec![0, 1, 2]],
        vec![vec![0], vec![1], vec![2]],
        vec![vec![1], vec![0], vec![2]],
    ] {
        let site = facilities("100%");
        let mut rows = 0;
        for refresh in &order {
            for &week in refresh {
                site.put(weeks[week].0, weeks[week].1);
            }
            rows = site.refresh().tables["measurement"].rows;
        }
        assert_eq!(rows, 2, "{order:?}: B still has it");
    }
}

#[test]
fn a_changed_option_does_not_open_the_deletion_guard() {
    let site = Site::new(&format!(
        r#"{HEAD}sources:
  registry:
    plugin: table
    inputs: {{ glob: "inbox/r_{{date}}.csv" }}
    mode: {{ complete: {{ as_of: "r_{{date}}.csv" }} }}
    subject: {{ id: mrn, issuer: MRN }}
    key: [order]
    columns: {{ order: order, val: val }}
tables:
  measurement: {{ from: registry }}
"#
    ));
    let rows: String = (0..50).map(|i| format!("{i},p{i},1,g\n")).collect();
    site.put("inbox/r_20260101.csv", format!("order,mrn,val,unit\n{rows}"));
    site.refresh();
    site.put("inbox/r_20260108.csv", "order,mrn,val,unit\n1,p1,1,g\n");
    site.edit(|p| p.replace("val: val }", "val: val, unit: unit }"));
    assert!(matches!(
        site.try_refresh(&RefreshOptions::default()),
        Err(EngineError::QualityGate(_))
    ));
    site.remove("inbox/r_20260108.csv");
    assert_eq!(site.refresh().tables["measurement"].rows, 50);
}

#[test]
fn a_complete_export_that_deletes_nothing_says_so() {
    let site = facilities("100%");
    let rows = |values: &[&str]| {
        let rows: String = values.iter().map(|v| format!("{v},a,{v}\n")).collect();
        format!("order,mrn,val\n{rows}")
    };
    site.put("inbox/A_20260101.csv", rows(&["1", "2", "3"]));
    assert!(site.refresh().warnings.is_empty());
    site.put("inbox/A_20260108.csv", format!("{}4,,4\n", rows(&["1"])));
    let report = site.refresh();
    assert_eq!(report.tables["measurement"].rows, 3);
    let codes: Vec<_> = report.warnings.iter().map(|w| w.code.as_str()).collect();
    assert_eq!(codes, ["NO_ABSENCE"]);
}

#[test]
fn two_complete_exports_of_one_time_are_told() {
    let site = facilities("100%");
    site.put("inbox/A_20260101.csv", "order,mrn,val\n1,a,10\n2,b,20\n");
    assert!(site.refresh().warnings.is_empty());
    site.put("inbox/A_20260101.csv", "order,mrn,val\n1,a,10\n");
    let report = site.refresh();
    assert_eq!(values(&site, 2), ["1=10", "2=20"], "neither is the newer");
    let codes: Vec<_> = report.warnings.iter().map(|w| w.code.as_str()).collect();
    assert_eq!(codes, ["SAME_AS_OF"]);
}

#[test]
fn an_input_that_gave_nothing_is_told() {
    let site = lis("order: order, val: val", MEASUREMENT);
    site.put("inbox/w1.csv", "order,mrn,value\n1,a,K\n");
    let report = site.refresh();
    let codes: Vec<_> = report.warnings.iter().map(|w| w.code.as_str()).collect();
    assert_eq!(codes, ["INPUT_GIVEN_UP"]);
    assert!(report.warnings[0].message.contains("TABLE_MISSING_COLUMN"));
}

#[test]
fn a_changed_option_that_rejects_the_past_publishes_nothing() {
    let site = lis("order: order, val: val", MEASUREMENT);
    site.put("inbox/w1.csv", "order,mrn,other,val\n1,a,,10\n2,b,,11\n");
    site.refresh();
    for (good, bad) in [("order: order", "orders: order"), ("id: mrn", "id: other")] {
        site.edit(|p| p.replace(good, bad));
        match site.try_refresh(&RefreshOptions::default()) {
            Err(EngineError::QualityGate(why)) => {
                assert!(why.contains("of 2 records that it read before 2 are rejected"), "{why}")
            }
            other => panic!("{:?}", other.map(|r| r.release)),
        }
        assert_eq!(site.releases(), [1]);
        site.edit(|p| p.replace(bad, good));
    }
    site.edit(|p| p.replace("id: mrn", "id: other"));
    assert_eq!(site.refresh_with(&approved()).tables["measurement"].deletes, 2);
}

#[test]
fn another_identity_of_records_is_asked_for() {
    let site = lis("order: order, val: val", MEASUREMENT);
    site.put("inbox/w1.csv", "order,part,mrn,val\n1,1,a,10\n1,2,a,11\n2,1,b,12\n");
    site.edit(|p| {
        p.replace("key: [order]", "key: [order, part]")
            .replace("val: val", "val: val, part: part")
    });
    site.refresh();
    for (was, now, deletes) in [
        ("key: [order, part]", "key: [part, order]", 2),
        ("issuer: MRN", "issuer: HIS", 3),
        ("lis", "lab", 3),
        // Back to what the vault still has.
        ("lab", "lis", 3),
        // Two records become one.
        ("key: [part, order]", "key: [order]", 3),
    ] {
        let releases = site.releases();
        site.edit(|p| p.replace(was, now));
        match site.try_refresh(&RefreshOptions::default()) {
            Err(EngineError::QualityGate(why)) => {
                let told = match now.contains("issuer") {
                    true => "of 3 records that it gave before 3 are about subjects whom it no longer names".to_owned(),
                    false => format!(
                        "measurement: its sources changed since release {}, and of its 3 rows {deletes} would",
                        releases.len()
                    ),
                };
                assert!(why.contains(&told), "{now}: {why}");
            }
            other => panic!("{now}: {:?}", other.map(|r| r.release)),
        }
        assert_eq!(site.releases(), releases);
        assert_eq!(site.refresh_with(&approved()).tables["measurement"].deletes, deletes);
    }
    // Records that are known by their content take a field more without a word.
    let site = lis("order: order", MEASUREMENT);
    site.edit(|p| p.replace("    key: [order]\n", ""));
    site.put("inbox/w1.csv", "order,mrn,val\n1,a,10\n2,b,11\n");
    site.refresh();
    site.edit(|p| p.replace("order: order", "order: order, val: val"));
    site.refresh();
    assert_eq!(site.releases(), [1, 2]);
    // Their subjects are asked for as those of others.
    site.edit(|p| p.replace("issuer: MRN", "issuer: HIS"));
    match site.try_refresh(&RefreshOptions::default()) {
        Err(EngineError::QualityGate(why)) => assert!(why.contains("of 2 records that it gave before 2 are"), "{why}"),
        other => panic!("{:?}", other.map(|r| r.release)),
    }
    site.edit(|p| p.replace("issuer: HIS", "issuer: MRN").replace("lis", "lab"));
    assert!(matches!(
        site.try_refresh(&RefreshOptions::default()),
        Err(EngineError::QualityGate(_))
    ));
}

#[test]
fn what_a_stopped_refresh_rejected_can_be_looked_at() {
    let site = lis("order: order, val: { name: val, type: integer }", MEASUREMENT);
    site.edit(|p| p.replace("    key: [order]", "    key: [order]\n    expect: { rejected: ..10% }"));
    site.put("inbox/w1.csv", "order,mrn,val\n1,a,10\n2,b,many\n");
    let project = site.project();
    let run = project.run(["run", "pipeline.yaml"]).expect_code(3);
    assert!(run.stderr.contains("see `clinmill quarantine list`"), "{}", run.stderr);
    let list = project
        .run(["quarantine", "list", "pipeline.yaml", "--format", "json"])
        .expect_code(0)
        .json();
    assert_eq!((&list["total"], &list["unpublished"]), (&1.into(), &1.into()), "{list}");
    let id = list["records"][0]["id"].as_str().unwrap();
    let shown = project.run(["quarantine", "show", "pipeline.yaml", id]).expect_code(0);
    assert!(shown.stdout.contains("2,b,many"), "{}", shown.stdout);
    // Once it is published, it is there once.
    let file = project.at("pipeline.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("..10%", "..50%")).unwrap();
    project.run(["run", "pipeline.yaml"]).expect_code(0);
    let list = project
        .run(["quarantine", "list", "pipeline.yaml", "--format", "json"])
        .expect_code(0)
        .json();
    assert_eq!((&list["total"], &list["unpublished"]), (&1.into(), &0.into()), "{list}");
}

/// `as_of`, captures and mode are part of what an input is.
#[test]
fn going_back_to_earlier_inputs_loses_no_rows() {
    let rows = |numbers: std::ops::Range<u32>| -> String {
        let each = numbers.map(|n| format!("{n},p{n},{n}\n"));
        std::iter::once("order,mrn,val\n".to_owned()).chain(each).collect()
    };
    let plain = "{ glob: \"inbox/*.csv\" }";
    for other in [
        "{ glob: \"inbox/*.csv\", as_of: \"lis_{date}.csv\" }",
        "{ glob: \"inbox/lis_{date}.csv\" }",
        "{ glob: \"inbox/*.csv\", as_of: arrival }",
    ] {
        let site = lis("order: order, val: val", MEASUREMENT);
        site.put("inbox/lis_20260101.csv", rows(0..10));
        site.refresh();
        site.put("inbox/lis_20260108.csv", rows(10..100));
        site.edit(|p| p.replace(plain, other));
        assert_eq!(site.refresh().tables["measurement"].rows, 100, "{other}");
        site.edit(|p| p.replace(other, plain));
        let report = site.refresh();
        let table = &report.tables["measurement"];
        assert_eq!((table.rows, table.deletes), (100, 0), "{other}");
        // The same where the files have left since.
        std::fs::remove_dir_all(site.at("inbox")).unwrap();
        site.edit(|p| p.replace(plain, other));
        assert_eq!(site.refresh().tables["measurement"].rows, 100, "{other}");
    }
}

#[test]
fn a_damaged_copy_of_an_input_is_no_reason_to_delete() {
    let site = lis("order: order", MEASUREMENT);
    site.put("inbox/w1.csv", "order,mrn,val\n1,a,10\n2,b,11\n");
    site.refresh();
    std::fs::remove_dir_all(site.at("inbox")).unwrap();
    let inputs = std::fs::read_dir(site.at("vault/regress/inputs")).unwrap().flatten();
    for input in inputs.filter(|e| e.path().is_file()) {
        let mut bytes = std::fs::read(input.path()).unwrap();
        bytes[20] ^= 0xff;
        std::fs::write(input.path(), bytes).unwrap();
    }
    site.edit(|p| p.replace("order: order", "order: order, val: val"));
    match site.try_refresh(&approved()) {
        Err(EngineError::Refused { reason, .. }) => assert!(reason.contains("of the inputs is damaged"), "{reason}"),
        other => panic!("{:?}", other.map(|r| r.release)),
    }
}

#[test]
fn rows_whose_corrections_do_not_fit_are_not_taken_away_unasked() {
    let site = lis(
        "order: order, at: at, grade: grade",
        r#"    version: at
tables:
  measurement: { from: lis, columns: { order: { type: string }, grade: { type: string, values: [A, B] } } }
"#,
    );
    let week = |at: u8, grade: &str| {
        let rows = (0..40).map(|i| format!("{i},p{i},{at},{grade}\n"));
        format!("order,mrn,at,grade\n{}", rows.collect::<String>())
    };
    site.put("inbox/1.csv", week(1, "A"));
    assert_eq!(site.refresh().tables["measurement"].rows, 40);
    // One that does not fit is let go, and counted once.
    site.put("inbox/2.csv", "order,mrn,at,grade\n7,p7,2,C\n");
    let report = site.refresh();
    assert_eq!(report.tables["measurement"].rows, 39);
    assert_eq!(report.steps["table measurement"]["rejected TABLE_VALUE"], 1);
    site.put("inbox/3.csv", week(3, "A级"));
    let Err(EngineError::QualityGate(told)) = site.try_refresh(&RefreshOptions::default()) else {
        panic!("39 rows would be deleted");
    };
    assert!(
        told.contains("of its 39 rows 39 would be deleted") && told.contains("table measurement: TABLE_VALUE"),
        "{told}"
    );
    let emptied = site.refresh_with(&approved());
    assert_eq!(emptied.tables["measurement"].rows, 0);
    assert!(emptied.warnings.iter().any(|w| w.code == "TABLE_EMPTY"));
    site.edit(|p| p.replace("[A, B]", "[A, B, C, A级]"));
    assert_eq!(site.refresh().tables["measurement"].rows, 40);
    let session = site.session();
    let is_rejected = session.still_rejected();
    assert!(!site.quarantine().iter().any(is_rejected), "all is mended");
}

#[test]
fn of_several_exports_at_once_the_last_is_guarded_too() {
    let export = |orders: std::ops::Range<u8>| {
        let rows = orders.map(|i| format!("{i},p{i},1\n"));
        format!("order,mrn,val\n{}", rows.collect::<String>())
    };
    let refused = |site: &Site| match site.try_refresh(&RefreshOptions::default()) {
        Err(EngineError::QualityGate(told)) => told,
        _ => panic!("the last export is cut"),
    };
    let first = facilities("20%");
    first.put("inbox/A_20260101.csv", export(0..40));
    first.put("inbox/A_20260108.csv", export(0..20));
    first.put("inbox/B_20260108.csv", export(200..210));
    let told = refused(&first);
    assert!(told.contains("lacks 20 of the 40 records"), "{told}");
    // Whole again a week later: what one in between lacked does not count.
    first.put("inbox/A_20260115.csv", export(0..39));
    assert_eq!(first.refresh().tables["measurement"].rows, 49);
    first.put("inbox/A_20260122.csv", export(0..100));
    first.put("inbox/A_20260129.csv", export(0..39));
    let told = refused(&first);
    assert!(told.contains("lacks 61 of the 100 records"), "{told}");
    assert_eq!(first.refresh_with(&approved()).tables["measurement"].rows, 49);
}
