//! Inputs that are broken: each is named in quarantine or in a warning, and the good ones beside it are released.

use super::{LIS, RESULT, manifest, project, yaml};
use clinmill_tests::{Project, root};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Cursor, Write},
    os::unix::fs::{PermissionsExt, symlink},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

/// Stands for a value of a row, and for an identifier in a file's name.
const MARKER: &str = "GEHEIM4711";
const GOOD: &str = "mrn,no,value\nA1,1,4.1\nB2,2,3.9\n";

const ADT: &str = r#"  adt:
    plugin: hl7v2
    inputs: { glob: "inbox/*" }
    subject: { id: PID-3.1, issuer: PID-3.4 }
    records:
      result: { per: OBX, key: [code], fields: { code: OBX-3.1, value: OBX-5 } }
"#;
const GOOD_HL7: &str =
    "MSH|^~\\&|a|b|c|d|20260101||ORU^R01|1|P|2.5\rPID|1||A1^^^MRN\rOBX|1|NM|K||4.1\rOBX|2|NM|NA||140\r";

/// Runs a refresh over the good and the bad inputs: the release is that of the good ones alone, and nothing that was
/// printed holds the marker. Returns the run's report.
fn run_beside(pipeline: &str, good: &str, put_bad: impl Fn(&Project)) -> (Project, Value) {
    let alone = project(pipeline);
    alone.write("inbox/good", good);
    alone.run(["run", "pipeline.yaml"]).expect_code(0);

    let both = project(pipeline);
    both.write("inbox/good", good);
    put_bad(&both);
    let run = both.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
    let report = run.json();
    let listed = both.run(["quarantine", "list", "pipeline.yaml"]).expect_code(0);
    let json = both
        .run(["quarantine", "list", "pipeline.yaml", "--format", "json"])
        .expect_code(0);
    let again = both.run(["run", "pipeline.yaml"]).expect_code(0);
    for (what, run) in [
        ("run", &run),
        ("quarantine list", &listed),
        ("its JSON", &json),
        ("the next run", &again),
    ] {
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(!said.contains(MARKER), "{what} prints a value:\n{said}");
    }
    let tables = |project: &Project| {
        let manifest = manifest(project, 1);
        assert!(!manifest.to_string().contains(MARKER));
        let tables = manifest["tables"].as_object().unwrap().clone();
        tables
            .into_iter()
            .map(|(name, t)| (name, t["row_count"].clone(), t["fingerprint"].clone()))
            .collect::<Vec<_>>()
    };
    assert!(tables(&alone).iter().all(|(_, rows, _)| *rows == 2));
    assert_eq!(tables(&both), tables(&alone), "the good input's rows");
    both.run(["verify", "file:out"]).expect_code(0);
    (both, report)
}

/// The rejections of a run: code and number.
fn rejected(report: &Value, source: &str) -> Value {
    report["sources"][source]["rejected_by"].clone()
}

fn warnings(report: &Value) -> Vec<(&str, &str)> {
    let all = report["warnings"].as_array().unwrap();
    all.iter()
        .map(|w| (w["code"].as_str().unwrap(), w["message"].as_str().unwrap()))
        .collect()
}

/// Code, message, offset and length of the one record in quarantine.
fn quarantined(project: &Project) -> Vec<(String, String, u64, u64)> {
    let list = project
        .run(["quarantine", "list", "pipeline.yaml", "--format", "json"])
        .expect_code(0)
        .json();
    let mut all: Vec<_> = list["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| {
            let text = |key: &str| r[key].as_str().unwrap().to_owned();
            let number = |key: &str| r[key].as_u64().unwrap();
            (text("code"), text("message"), number("offset"), number("length"))
        })
        .collect();
    all.sort();
    all
}

fn one(code: &str, message: &str, offset: u64, length: usize) -> Vec<(String, String, u64, u64)> {
    vec![(code.to_owned(), message.to_owned(), offset, length as u64)]
}

#[test]
fn files_that_cannot_be_read() {
    let (_, report) = run_beside(&yaml(LIS, "", RESULT), GOOD, |project| {
        let at = |name: &str| project.at("inbox").join(format!("{MARKER}{name}"));
        symlink("nowhere", at("dangling.csv")).unwrap();
        symlink(at("loop.csv"), at("loop.csv")).unwrap();
        symlink("/etc/passwd", at("leaves.csv")).unwrap();
        assert!(Command::new("mkfifo").arg(at("pipe.csv")).status().unwrap().success());
        fs::create_dir(at("folder.csv")).unwrap();
        // The superuser reads this one all the same; its content is not CSV of this source then.
        fs::write(at("denied.csv"), "").unwrap();
        fs::set_permissions(at("denied.csv"), fs::Permissions::from_mode(0o000)).unwrap();
    });
    let warnings = warnings(&report);
    for expected in [
        ("INPUT_SKIPPED", "lis: 2 found and not read: unreadable"),
        ("INPUT_SKIPPED", "lis: 1 found and not read: leaves-root"),
        ("INPUT_SKIPPED", "lis: 1 found and not read: not-a-file"),
    ] {
        assert!(warnings.contains(&expected), "{expected:?} is not in {warnings:?}");
    }
    let is_denied = |(code, text): &(&str, &str)| {
        *code == "INPUT_UNREADABLE" && text.starts_with("lis: 1 of ") && text.contains("could not be read, or changed")
    };
    let read_by_root = rejected(&report, "lis") == json!({ "TABLE_NO_HEADER": 1 });
    assert!(warnings.iter().any(is_denied) || read_by_root, "{report:#}");
}

#[test]
fn a_wrong_declared_encoding() {
    // GBK bytes where UTF-8 is declared: the row, when the header can be read.
    let row = [
        b"mrn,no,value\nX9,9,\xd6\xd0\xce\xc4".as_slice(),
        MARKER.as_bytes(),
        b"\n",
    ]
    .concat();
    let (project, report) = run_beside(&yaml(LIS, "", RESULT), GOOD, |project| {
        project.write("inbox/bad.csv", &row);
    });
    assert_eq!(rejected(&report, "lis"), json!({ "TABLE_ENCODING": 1 }));
    assert_eq!(
        quarantined(&project),
        one(
            "TABLE_ENCODING",
            "the bytes are not utf-8 (at byte 18)",
            13,
            row.len() - 14
        )
    );

    // The whole input, when not even the header can.
    let header = [
        b"mrn,no,value,\xd6\xd0\xce\xc4\nX9,9,".as_slice(),
        MARKER.as_bytes(),
        b",\n",
    ]
    .concat();
    let (project, report) = run_beside(&yaml(LIS, "", RESULT), GOOD, |project| {
        project.write("inbox/bad.csv", &header);
    });
    assert_eq!(rejected(&report, "lis"), json!({ "ENCODING": 1 }));
    assert_eq!(
        quarantined(&project),
        one("ENCODING", "the header is not utf-8", 0, header.len())
    );

    // UTF-8 where GB18030 is declared.
    let gbk = LIS
        .replace("encoding: utf-8", "encoding: gb18030")
        .replace("mrn,", "病案号,")
        .replace("id: mrn", "id: 病案号");
    let good = encode("病案号,no,value\nA1,1,4.1\nB2,2,3.9\n");
    let alone = super::project(&yaml(&gbk, "", RESULT));
    alone.write("inbox/good", &good);
    alone.write("inbox/bad.csv", format!("病案号,no,value\nX9,9,{MARKER}\n"));
    let run = alone.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
    assert!(!format!("{}{}", run.stdout, run.stderr).contains(MARKER));
    assert_eq!(rejected(&run.json(), "lis"), json!({ "ENCODING": 1 }));
    assert_eq!(manifest(&alone, 1)["tables"]["result"]["row_count"], 2);
}

/// GB18030 of the few characters that these tests use.
fn encode(text: &str) -> Vec<u8> {
    encoding_rs::GB18030.encode(text).0.into_owned()
}

#[test]
fn a_truncated_workbook() {
    let whole = fs::read(root().join("pipelines/tongji-covid/inbox/time_series_375_prerpocess.xlsx")).unwrap();
    let half = &whole[..whole.len() / 2];
    let (project, report) = run_beside(&yaml(LIS, "", RESULT), GOOD, |project| {
        project.write(format!("inbox/{MARKER}.xlsx"), half);
    });
    assert_eq!(rejected(&report, "lis"), json!({ "TABLE_XLSX_DAMAGED": 1 }));
    let (code, message, ..) = quarantined(&project).remove(0);
    assert_eq!(code, "TABLE_XLSX_DAMAGED");
    assert_eq!(
        message,
        "the workbook is cut off or damaged: the archive's directory cannot be read"
    );
}

#[test]
fn a_zip_that_is_no_workbook() {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(format!("{MARKER}.txt"), zip::write::SimpleFileOptions::default())
        .unwrap();
    zip.write_all(format!("mrn,no,value\nX9,9,{MARKER}\n").as_bytes())
        .unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    let (project, report) = run_beside(&yaml(LIS, "", RESULT), GOOD, |project| {
        project.write(format!("inbox/{MARKER}.xlsx"), &bytes);
    });
    assert_eq!(rejected(&report, "lis"), json!({ "TABLE_NOT_XLSX": 1 }));
    assert_eq!(
        quarantined(&project),
        one("TABLE_NOT_XLSX", "the input is no XLSX workbook", 0, bytes.len())
    );
}

#[test]
fn a_message_without_its_first_segment() {
    let bad = format!("PID|1||{MARKER}^^^MRN\rOBX|1|NM|K||{MARKER}\r");
    let (project, report) = run_beside(
        &yaml(ADT, "", "  result: { from: adt.result }\n"),
        GOOD_HL7,
        |project| {
            project.write("inbox/bad.hl7", &bad);
        },
    );
    assert_eq!(rejected(&report, "adt"), json!({ "HL7_NO_MSH": 1 }));
    assert_eq!(
        quarantined(&project),
        one("HL7_NO_MSH", "no message begins before this", 0, bad.len())
    );
}

#[test]
fn a_segment_of_100_megabytes_takes_little_memory() {
    let pipeline = yaml(ADT, "", "  result: { from: adt.result }\n");
    let project = project(&pipeline);
    project.write("inbox/good", GOOD_HL7);
    let huge = project.write(
        "inbox/huge.hl7",
        "MSH|^~\\&|a|b|c|d|20260101||ORU^R01|2|P|2.5\rPID|1||X9^^^MRN\rOBX|1|TX|K||",
    );
    let mut file = fs::OpenOptions::new().append(true).open(&huge).unwrap();
    let piece = MARKER.repeat(100_000);
    let pieces = 100_000_000 / piece.len();
    for _ in 0..pieces {
        file.write_all(piece.as_bytes()).unwrap();
    }
    file.write_all(b"\r").unwrap();
    let size = file.metadata().unwrap().len() as usize;
    drop(file);

    let mut command = project.command(["run", "pipeline.yaml", "--format", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    while child.try_wait().unwrap().is_none() {
        peak_kib = peak_kib.max(high_water_mark(&fs::read_to_string(&status).unwrap_or_default()));
        sleep(Duration::from_millis(1));
    }
    let run = clinmill_tests::Run::from(child.wait_with_output().unwrap()).expect_code(0);
    println!("peak memory over a segment of 100 MB: {} MiB", peak_kib / 1024);
    assert!(peak_kib > 0 && peak_kib < 256 * 1024, "{peak_kib} KiB");
    assert!(!format!("{}{}", run.stdout, run.stderr).contains(MARKER));
    assert_eq!(rejected(&run.json(), "adt"), json!({ "HL7_TOO_LONG": 1 }));
    assert_eq!(
        quarantined(&project),
        one("HL7_TOO_LONG", "the message is longer than max_message", 0, size)
    );
    assert_eq!(manifest(&project, 1)["tables"]["result"]["row_count"], 2);
}

/// The most memory that a process had, KiB, as `/proc/<pid>/status` says.
fn high_water_mark(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

#[test]
fn values_of_the_wrong_type_are_not_printed() {
    let typed = LIS.replace("value: value", "value: { name: value, type: number }");
    let (project, report) = run_beside(&yaml(&typed, "", RESULT), GOOD, |project| {
        project.write(
            "inbox/bad.csv",
            format!("mrn,no,value\nX9,9,{MARKER}\nX9,10,1,{MARKER}\n,11,{MARKER}\n"),
        );
    });
    let expected = json!({ "TABLE_NO_SUBJECT": 1, "TABLE_RAGGED_ROW": 1, "TABLE_TYPE": 1 });
    assert_eq!(rejected(&report, "lis"), expected);
    assert_eq!(quarantined(&project).len(), 3);
}

#[test]
fn a_query_that_fails_on_a_value_publishes_nothing_and_does_not_print_it() {
    let transforms = "transforms:\n  odd: { sql: \"select order_no, cast(value as bigint) as v from lis\" }\n";
    let project = project(&yaml(LIS, transforms, "  result: { from: odd, key: [order_no] }\n"));
    project.write("inbox/a.csv", format!("mrn,no,value\nX9,9,{MARKER}\n"));
    for format in ["text", "json"] {
        let run = project.run(["run", "pipeline.yaml", "--format", format]).expect_code(1);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(
            said.contains("a value does not fit the type that the query wants"),
            "{said}"
        );
        assert!(!said.contains(MARKER), "{said}");
    }
    assert!(!project.at("out/_releases/00000001.json").exists());
}

#[test]
fn an_empty_inbox_is_no_failure() {
    let project = project(&yaml(LIS, "", RESULT));
    for _ in 0..2 {
        let report = project
            .run(["run", "pipeline.yaml", "--format", "json"])
            .expect_code(0)
            .json();
        assert_eq!((&report["outcome"], &report["release"]), (&json!("no-op"), &json!(0)));
        assert!(
            warnings(&report).contains(&("NO_INPUT", "no input was found; nothing was done")),
            "{report:#}"
        );
        fs::create_dir_all(project.at("inbox")).unwrap();
    }
    let text = project.run(["run", "pipeline.yaml"]).expect_code(0);
    assert!(
        text.stderr.contains("no input was found; nothing was done"),
        "{}",
        text.stderr
    );
    assert!(!project.at("out/_releases/00000001.json").exists());
    project.write("inbox/good", GOOD);
    project.run(["run", "pipeline.yaml"]).expect_code(0);
    assert_eq!(manifest(&project, 1)["tables"]["result"]["row_count"], 2);
}

#[test]
fn a_source_without_any_file_is_told_beside_those_that_have_some() {
    let plans = LIS.replace("  lis:", "  plans:").replace("inbox/*", "plans/*.csv");
    let project = project(&yaml(&format!("{LIS}{plans}"), "", RESULT));
    project.write("inbox/good", GOOD);
    let refresh = |said: &[&str]| {
        let report = project
            .run(["run", "pipeline.yaml", "--format", "json"])
            .expect_code(0)
            .json();
        let of_inputs = |code: &str| ["NO_INPUT", "INPUT_SKIPPED"].contains(&code);
        let found: Vec<&str> = warnings(&report)
            .into_iter()
            .filter(|w| of_inputs(w.0))
            .map(|w| w.1)
            .collect();
        assert_eq!(found, said, "{report:#}");
    };
    refresh(&["plans: the folder of its `glob` is not there"]);
    // A file that differs from the glob in its case only is most likely meant.
    project.write("plans/A.CSV", GOOD);
    refresh(&[
        "plans: 1 found and not read: other-case",
        "plans: no file matches its `glob`, and none ever did",
    ]);
    fs::rename(project.at("plans/A.CSV"), project.at("plans/a.csv")).unwrap();
    refresh(&[]);
    // A week without a new file is nothing wrong.
    fs::remove_file(project.at("plans/a.csv")).unwrap();
    refresh(&[]);
}
