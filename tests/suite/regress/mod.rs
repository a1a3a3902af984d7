//! Defects that were found once: each stays as a test.

mod contracts;
mod guards;
mod merges;

use clinmill_engine::{
    EngineError,
    refresh::{Outcome, RefreshOptions},
};
use clinmill_tests::{
    Project, Run, clinmill,
    site::Site,
    state::{apply, text},
};
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const HEAD: &str = r#"version: 1
name: regress
vault: { url: "file:./vault/regress", key: { $secret: vault_key } }
dataset: { url: "file:./out/regress" }
"#;

fn lis(columns: &str, rest: &str) -> Site {
    Site::new(&format!(
        r#"{HEAD}sources:
  lis:
    plugin: table
    inputs: {{ glob: "inbox/*.csv" }}
    subject: {{ id: mrn, issuer: MRN }}
    key: [order]
    columns: {{ {columns} }}
{rest}"#
    ))
}

/// Complete exports, each of one facility.
fn facilities(max_deletes: &str) -> Site {
    Site::new(&format!(
        r#"{HEAD}sources:
  registry:
    plugin: table
    inputs: {{ glob: "inbox/{{fac}}_{{date}}.csv" }}
    mode: {{ complete: {{ scope: {{ facility: "{{fac}}" }}, as_of: "*_{{date}}.csv", max_deletes: {max_deletes} }} }}
    subject: {{ id: mrn, issuer: MRN }}
    key: [order]
    columns: {{ order: order, val: val }}
tables:
  measurement: {{ from: registry }}
"#
    ))
}

/// A refresh that may take a table or column away.
fn breaking() -> RefreshOptions {
    RefreshOptions {
        allow_breaking: true,
        ..RefreshOptions::default()
    }
}

/// A refresh that may delete more than its guards let.
fn approved() -> RefreshOptions {
    RefreshOptions {
        approve_deletes: true,
        ..RefreshOptions::default()
    }
}

const MEASUREMENT: &str = "tables:\n  measurement: { from: lis }\n";

fn values(site: &Site, release: u64) -> Vec<String> {
    let mut rows: Vec<String> = site
        .rows(release, "measurement")
        .values()
        .map(|r| format!("{}={}", text(r, "order"), text(r, "val")))
        .collect();
    rows.sort();
    rows
}

#[test]
fn a_referenced_file_that_was_overwritten_is_told_once() {
    let site = lis("order: order, val: val", "tables:\n  measurement: { from: lis }\n");
    site.edit(|p| p.replace("plugin: table", "plugin: table\n    keep: reference"));
    site.put("inbox/w1.csv", "order,mrn,val\n1,a,10\n");
    assert!(site.refresh().warnings.is_empty());
    site.put("inbox/w1.csv", "order,mrn,val\n1,a,11\n");
    let codes = |report: clinmill_engine::refresh::RunReport| -> Vec<String> {
        report.warnings.into_iter().map(|w| w.code).collect()
    };
    assert!(codes(site.refresh()).contains(&"REFERENCE_CHANGED".to_owned()));
    assert!(!codes(site.refresh()).contains(&"REFERENCE_CHANGED".to_owned()));
    // What it held cannot be read again, and is not taken for what it holds now.
    site.edit(|p| p.replace("val: val", "val: val, more: more"));
    assert!(matches!(
        site.try_refresh(&RefreshOptions::default()),
        Err(EngineError::Refused { reason, .. }) if reason.contains("another content now")
    ));
}

#[test]
fn a_deletion_of_the_same_version_deletes_whichever_comes_first() {
    let message = |status: &str| {
        format!(
            "MSH|^~\\&|A|B|C|D|20260301100000||ORU^R01|1|P|2.5\rPID|1||P1^^^H\rOBR|1||O1\rOBX|1|ST|K||4||||||{status}\r"
        )
    };
    for order in [["F", "W"], ["W", "F"]] {
        let site = Site::new(&format!(
            r#"{HEAD}sources:
  h:
    plugin: hl7v2
    inputs: {{ glob: "inbox/*.hl7" }}
    subject: {{ id: PID-3.1, issuer: PID-3.4 }}
    records: {{ res: {{ per: OBX, fields: {{ code: OBX-3.1, value: OBX-5 }} }} }}
tables:
  res: {{ from: h.res }}
"#
        ));
        let mut rows = 9;
        for status in order {
            site.put(&format!("inbox/{status}.hl7"), message(status));
            rows = site.refresh_with(&approved()).tables["res"].rows;
        }
        assert_eq!(rows, 0, "{order:?}");
    }
}

#[test]
fn what_a_pipeline_writes_is_no_input_of_it() {
    let site = lis("order: order, val: val", "tables:\n  measurement: { from: lis }\n");
    site.edit(|p| p.replace("inbox/*.csv", "**/*.*"));
    site.put("deep/in/w1.csv", "order,mrn,val\n1,a,10\n");
    assert_eq!(site.refresh().sources["lis"].files, 2, "the pipeline's own file is one");
    assert_eq!(site.refresh().outcome, Outcome::NoOp);
}

#[test]
fn going_back_to_an_earlier_option_keeps_the_rows() {
    let site = lis("order: order, val: val", MEASUREMENT);
    site.put("inbox/w1.csv", "order,mrn,val,unit\n1,a,10,g\n2,b,11,g\n");
    site.refresh();
    site.edit(|p| p.replace("val: val", "val: val, unit: unit"));
    site.refresh();
    site.edit(|p| p.replace("val: val, unit: unit", "val: val"));
    let report = site.refresh_with(&breaking());
    assert_eq!(report.counts.read, 2, "the past is read again");
    assert_eq!(values(&site, 3), ["1=10", "2=11"]);
}

#[test]
fn a_source_that_was_away_comes_back_with_its_rows() {
    let other = "  other:\n    plugin: table\n    inputs: { glob: \"other/*.csv\" }\n    subject: { id: mrn, issuer: MRN }\n    key: [order]\n    columns: { order: order, val: val }\n";
    let tables = "tables:\n  measurement: { from: lis }\n  second: { from: other }\n";
    let with_other = format!("{other}{tables}");
    let site = lis("order: order, val: val", &with_other);
    site.put("inbox/w1.csv", "order,mrn,val\n1,a,10\n");
    site.put("other/w1.csv", "order,mrn,val\n7,a,70\n");
    site.refresh();
    site.edit(|p| p.replace(&with_other, MEASUREMENT));
    site.refresh_with(&breaking());
    site.remove("other/w1.csv");
    site.edit(|p| p.replace(MEASUREMENT, &with_other));
    assert_eq!(site.refresh().tables["second"].rows, 1);
}

#[test]
fn a_vault_serves_one_dataset() {
    let site = lis("order: order, val: val", MEASUREMENT);
    site.put("inbox/w1.csv", "order,mrn,val\n1,a,10\n");
    site.refresh();
    site.edit(|p| p.replace("file:./out/regress", "file:./elsewhere"));
    match site.try_refresh(&RefreshOptions::default()) {
        Err(EngineError::Refused { reason, .. }) => assert!(reason.contains("another dataset"), "{reason}"),
        other => panic!("not refused: {:?}", other.map(|r| r.outcome)),
    }
    site.edit(|p| p.replace("file:./elsewhere", "file:./out/regress"));
    assert_eq!(site.refresh().outcome, Outcome::NoOp);
}

#[test]
fn a_key_shared_by_two_subjects_is_never_published() {
    let site = Site::new(&format!(
        r#"{HEAD}sources:
  lis:
    plugin: table
    inputs: {{ glob: "inbox/*.csv" }}
    subject: {{ id: mrn, issuer: MRN }}
    columns: {{ order: order, val: val }}
tables:
  measurement: {{ from: lis, key: [order] }}
"#
    ));
    site.put("inbox/w1.csv", "order,mrn,val\n1,a,10\n");
    site.refresh();
    site.put("inbox/w2.csv", "order,mrn,val\n1,b,20\n");
    let refused = site.try_refresh(&RefreshOptions::default());
    assert!(
        matches!(refused, Err(EngineError::QualityGate(_))),
        "{:?}",
        refused.map(|r| r.release)
    );
    site.edit(|p| p.replace("key: [order] }", "key: [subject_id, order] }"));
    assert_eq!(site.refresh_with(&breaking()).tables["measurement"].rows, 2);
}

#[test]
fn a_record_holds_while_one_scope_asserts_it() {
    let site = facilities("100%");
    site.put("inbox/A_20260101.csv", "order,mrn,val\n1,x,10\n");
    site.put("inbox/B_20260102.csv", "order,mrn,val\n1,x,10\n3,z,30\n");
    site.refresh();
    site.put("inbox/B_20260110.csv", "order,mrn,val\n3,z,30\n");
    site.refresh();
    assert_eq!(values(&site, 2), ["1=10", "3=30"], "facility A still asserts it");
    site.put("inbox/A_20260111.csv", "order,mrn,val\n9,y,90\n");
    site.refresh();
    assert_eq!(values(&site, 3), ["3=30", "9=90"]);
}

#[test]
fn a_key_without_its_first_part_makes_no_record_of_many() {
    let site = Site::new(&format!(
        r#"{HEAD}sources:
  lis:
    plugin: table
    inputs: {{ glob: "inbox/*.csv" }}
    subject: {{ id: mrn, issuer: MRN }}
    key: [order, test]
    columns: {{ order: order, test: test, val: val }}
tables:
  measurement: {{ from: lis }}
"#
    ));
    site.put("inbox/w1.csv", "order,mrn,test,val\n,a,K,1\n,a,K,2\n5,a,K,3\n5,a,K,3\n");
    let report = site.refresh();
    assert_eq!(report.tables["measurement"].rows, 3);
    assert_eq!(report.counts.duplicates, 1);
    // Equal ones of one input are two, as without a key; sent again they are the same two.
    site.put("inbox/w2.csv", "order,mrn,test,val\n,a,K,2\n,a,K,2\n");
    let report = site.refresh();
    assert_eq!((report.tables["measurement"].rows, report.counts.duplicates), (4, 1));
}

#[test]
fn what_a_contract_cannot_hold_is_rejected_by_name() {
    let tables = "tables:\n  measurement:\n    from: lis\n    columns:\n      order: { type: string }\n      val: { type: integer }\n";
    let site = lis("order: order, val: val", tables);
    site.put("inbox/w1.csv", "order,mrn,val\n1,a,10\n2,b,SECRETNAME\n");
    let report = site.refresh();
    assert_eq!(report.tables["measurement"].rows, 1);
    let quarantine = site.quarantine();
    assert_eq!(
        quarantine.iter().map(|q| q.code.as_str()).collect::<Vec<_>>(),
        ["TABLE_CONTRACT"]
    );
    assert_eq!((quarantine[0].offset, quarantine[0].row), (21, Some(3)));
    assert!(!quarantine[0].message.contains("SECRETNAME"));
}

#[test]
fn forms_that_nothing_orders_are_told() {
    let site = lis("order: order, val: val", MEASUREMENT);
    site.put("inbox/w1.csv", "order,mrn,val\n1,a,10\n");
    assert!(site.refresh().warnings.is_empty());
    site.put("inbox/w2.csv", "order,mrn,val\n1,a,12\n");
    let warnings = site.refresh().warnings;
    assert_eq!(
        warnings.iter().map(|w| w.code.as_str()).collect::<Vec<_>>(),
        ["UNORDERED_VERSIONS"]
    );
}

#[test]
fn rows_over_the_whole_dataset_come_once_from_all_subjects() {
    let rest = "transforms:\n  totals:\n    scope: dataset\n    sql: select val, count(*) as n from lis group by val\ntables:\n  measurement: { from: lis }\n  total: { from: totals, key: [val] }\n";
    let site = lis("order: order, val: val", rest);
    site.put("inbox/w1.csv", "order,mrn,val\n1,a,10\n2,b,10\n3,c,11\n");
    assert_eq!(site.refresh().tables["total"].rows, 2);
    site.put("inbox/w2.csv", "order,mrn,val\n4,d,11\n");
    let report = site.refresh();
    assert_eq!((report.tables["total"].rows, report.tables["total"].upserts), (2, 1));
    for row in site.trace_all("total") {
        let said: Vec<_> = row.origins.iter().map(|o| text(&o.record, "val")).collect();
        assert_eq!(
            said,
            [text(&row.row, "val"); 2],
            "the records of every subject that it counts"
        );
    }
}

#[test]
fn a_step_behind_tables_of_both_scopes_is_counted_once() {
    let site = lis(
        "order: order, val: val",
        "transforms:\n  numbers: { from: lis, steps: [{ datetime: { column: val, formats: [iso] } }] }\n  all:\n    scope: dataset\n    sql: select count(*) as n, 1 as one from numbers\ntables:\n  measurement: { from: numbers }\n  total: { from: all, key: [one] }\n",
    );
    site.put(
        "inbox/w1.csv",
        "order,mrn,val\n1,a,2026-01-01\n1,a,2026-01-02\n2,b,2026-01-03\n",
    );
    let report = site.refresh();
    assert_eq!(report.steps["lis"]["unordered versions"], 1, "{:?}", report.steps);
}

#[test]
fn more_inputs_than_files_may_be_open() {
    let project = Project::new();
    project.write(
        "pipeline.yaml",
        format!(
            r#"{}sources:
  lis:
    plugin: table
    inputs: {{ glob: "inbox/*.csv" }}
    subject: {{ id: mrn, issuer: MRN }}
    key: [order]
    columns: {{ order: order, val: val }}
{MEASUREMENT}"#,
            HEAD.replace("{ $secret: vault_key }", "auto")
        ),
    );
    for i in 0..600 {
        project.write(format!("inbox/{i:03}.csv"), format!("order,mrn,val\n{i},p{i},{i}\n"));
    }
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 128; exec \"$0\" run pipeline.yaml --format json"])
        .arg(clinmill())
        .current_dir(project.path());
    let run = Run::from(limited.output().unwrap()).expect_code(0);
    assert_eq!(run.json()["counts"]["inputs"], 600);
    assert_eq!(run.json()["tables"]["measurement"]["rows"], 600);
}

#[test]
fn more_events_than_are_held_in_memory() {
    let text: String = (0..4000).map(|i| format!("{i},p{},v{i}\n", i % 97)).collect();
    let text = format!("order,mrn,val\n{text}");
    let values_with = |memory: usize| {
        let site = lis("order: order, val: val", MEASUREMENT);
        site.put("inbox/a.csv", &text);
        site.put("inbox/b.csv", text.replace(",v", ",w"));
        let options = RefreshOptions {
            memory,
            ..RefreshOptions::default()
        };
        assert_eq!(site.refresh_with(&options).tables["measurement"].rows, 4000);
        values(&site, 1)
    };
    assert_eq!(values_with(1 << 10), values_with(1 << 30));
}

#[test]
fn a_copy_is_made_in_a_folder_of_its_own_only() {
    let site = lis("order: order, val: val", MEASUREMENT);
    site.put("inbox/w1.csv", "order,mrn,val\n1,a,K\n");
    site.refresh();
    let dataset = site.at("out/regress");
    let url = format!("file:{}", dataset.display());
    let project = Project::new();
    project.write("theirs/notes.txt", "kept");
    for to in [dataset.clone(), dataset.join("tables"), project.at("theirs")] {
        let run = project.run(["apply".as_ref(), url.as_ref(), "--to".as_ref(), to.as_os_str()]);
        assert!(run.stderr.contains("something else than a copy"), "{}", run.stderr);
    }
    let inside = dataset.join("copy/of");
    let run = project.run(["apply".as_ref(), url.as_ref(), "--to".as_ref(), inside.as_os_str()]);
    assert!(
        run.stderr.contains("lie one in the other") && !inside.exists(),
        "{}",
        run.stderr
    );
    project.run(["apply", &url, "--to", "copy"]).expect_code(0);
    project.run(["verify", &url]).expect_code(0);
}

#[test]
fn a_manifest_of_a_far_number_is_named() {
    let site = lis("order: order, val: val", MEASUREMENT);
    site.put("inbox/w1.csv", "order,mrn,val\n1,a,K\n");
    site.refresh();
    let dataset = site.at("out/regress");
    std::fs::write(dataset.join("_releases/99999999.json"), "{}").unwrap();
    let url = format!("file:{}", dataset.display());
    let run = Project::new().run(["verify", &url, "--format", "json"]).expect_code(1);
    assert!(
        run.stdout.contains("99999999.json") && run.stdout.contains("all up to"),
        "{}",
        run.stdout
    );
}

#[test]
fn quarantine_lists_what_still_holds() {
    let site = Site::new(&format!(
        r#"{HEAD}sources:
  lis:
    plugin: table
    inputs: {{ glob: "inbox/{{ward}}.csv" }}
    subject: {{ id: mrn, issuer: MRN }}
    key: [order]
    columns: {{ order: order, val: val }}
{MEASUREMENT}"#
    ));
    // Equal bytes, and yet two inputs: what their paths tell differs.
    let rows = "order,mrn,alt,val\n1,,a,10\n2,b,b,11\n";
    site.put("inbox/north.csv", rows);
    site.put("inbox/south.csv", rows);
    assert_eq!(site.refresh().counts.rejected, 2);
    let file = site.file();
    let project = site.project();
    let run = |args: &[&str]| {
        let mut args: Vec<&std::ffi::OsStr> = args.iter().map(std::ffi::OsStr::new).collect();
        args.extend([file.as_os_str(), "--format".as_ref(), "json".as_ref()]);
        project.run(args).expect_code(0).json()
    };
    assert_eq!(run(&["quarantine", "list"])["total"], 2);
    let replay = run(&["quarantine", "replay"]);
    assert_eq!((&replay["outcome"], &replay["release"]), (&"no-op".into(), &1.into()));
    assert_eq!(replay["warnings"][0]["code"], "NOTHING_SOLVED");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("id: mrn", "id: alt")).unwrap();
    assert_eq!(run(&["run"])["counts"]["rejected"], 0);
    assert_eq!(run(&["quarantine", "list"])["total"], 0, "solved by the new option");
}

/// A query that gives no way, of which one would wait for hours: the threads of the runtime are in it.
#[test]
fn ctrl_c_ends_a_query() {
    let project = Project::new();
    let rows: String = (0..20_000).map(|i| format!("p{},c{},{i}\n", i % 100, i % 7)).collect();
    project.write("inbox/a.csv", format!("id,code,v\n{rows}"));
    let head = HEAD.replace("{ $secret: vault_key }", "auto");
    project.write(
        "pipeline.yaml",
        format!(
            r#"{head}sources:
  s:
    plugin: table
    inputs: {{ glob: "inbox/*.csv" }}
    subject: {{ id: id, issuer: MRN }}
    columns: {{ code: code, v: v }}
transforms:
  q: {{ scope: dataset, sql: "select a.code as k, count(*) as c from s a, s b, s c group by a.code" }}
tables:
  t: {{ from: q, key: [k] }}
"#
        ),
    );
    let child = project
        .command(["run", "pipeline.yaml"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(4));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let began = Instant::now();
    let ended = Run::from(child.wait_with_output().unwrap()).expect_code(130);
    assert!(began.elapsed() < Duration::from_secs(20), "it does not end");
    assert!(ended.stderr.contains("nothing was published"), "{}", ended.stderr);
}
