//! `clinmill test` where a test cannot be run: each is named, and the others are run.

use crate::plugins::{PIPELINE, hostile_c, project};
use clinmill_tests::Project;
use clinmill_tests_abi::library;
use std::{fs, os::unix::fs::symlink};

/// Given rows, the step is called; without rows it is not.
const CASES: &str = "tests:
  it hangs: { given: { people: [{ subject_id: MRN:1, no: 1, name: a }] }, expect: { person: { count: 1 } } }
  it hangs again: { given: { people: [{ subject_id: MRN:2, no: 2, name: b }] }, expect: { person: { count: 1 } } }
  nothing comes: { given: { people: [] }, expect: { person: { count: 0 } } }
  too many come: { given: { people: [] }, expect: { person: { count: 7 } } }
";

fn with_hostile(step: &str) -> Project {
    let project = project(step, "id,name\n1,abc\n").env("CLINMILL_PLUGIN_SECONDS", "2");
    fs::create_dir_all(project.at("plugins")).unwrap();
    fs::copy(library("hostile"), project.at("plugins/own.so")).unwrap();
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    project
}

#[test]
fn a_test_that_hangs_is_named_and_the_others_run() {
    let project = with_hostile("hostile: { deed: loop }");
    project.write("tests/people.yaml", CASES);
    let run = project
        .run(["test", "pipeline.yaml", "--junit", "report.xml"])
        .expect_code(1);
    for line in [
        "  ERROR   it hangs (",
        "  ERROR   it hangs again (",
        "  ok      nothing comes (",
        "  FAILED  too many come (",
        "          2:3: refresh: the refresh failed: step sized/hostile: ",
        "            --> pipeline.yaml:18:9",
        "4 tests: 1 passed, 3 failed, 2 of them could not be run\n",
    ] {
        assert!(run.stdout.contains(line), "{line}\n{}", run.stdout);
    }
    let junit = fs::read_to_string(project.at("report.xml")).unwrap();
    assert!(junit.contains("tests=\"4\" failures=\"1\" errors=\"2\""), "{junit}");
    assert_eq!(
        junit.matches("<error message=\"the refresh failed: step").count(),
        2,
        "{junit}"
    );
    let json = project
        .run([
            "test",
            "pipeline.yaml",
            "--format",
            "json",
            "--filter",
            "it hangs again",
        ])
        .expect_code(1)
        .json();
    assert_eq!((&json["failed"], &json["errors"]), (&1.into(), &1.into()), "{json}");
    assert_eq!(json["tests"][0]["error"]["line"], 3, "{json}");
}

#[test]
fn a_test_that_ends_the_process_stands_in_the_report() {
    let project = project("hostile_c: { deed: exit_zero }", "id,name\n1,abc\n");
    if hostile_c(&project, &[]).is_none() {
        return;
    }
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    project.write("tests/people.yaml", CASES.replace("it hangs again", "it ends"));
    let args = ["test", "pipeline.yaml", "--junit", "report.xml", "--filter"];
    project.run(args.iter().copied().chain(["it ends"])).expect_code(1);
    let junit = fs::read_to_string(project.at("report.xml")).unwrap();
    assert!(
        junit.contains("name=\"it ends\"") && junit.contains("errors=\"1\"") && junit.contains("ended in the midst"),
        "{junit}"
    );
}

#[test]
fn the_second_step_of_a_plugin_is_located_at_itself() {
    let project = with_hostile("hostile: { deed: nothing }\n      - hostile: { deed: fail }");
    let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
    assert!(run.stderr.contains("step sized/hostile#2: "), "{}", run.stderr);
    // The option that it points at.
    assert!(run.stderr.contains("--> pipeline.yaml:19:26"), "{}", run.stderr);
}

#[test]
fn links_out_of_the_pipeline_are_no_inputs_of_tests() {
    let secret = Project::new();
    secret.write("secret.csv", "id,name\n1,secret\n");
    secret.write("tests.yaml", CASES);
    let project = project("map: { set: { other: { from: name } } }", "id,name\n1,abc\n");
    project.write(
        "pipeline.yaml",
        PIPELINE
            .replace("plugins:\n  libraries: [\"plugins/own.so\"]\n", "")
            .replace("STEP", "map: { set: { other: { from: name } } }"),
    );
    let given =
        "given: { people: { files: { inbox/a.csv: { from: tests/in/LINK } } } }\nexpect: { person: { count: 1 } }\n";
    fs::create_dir_all(project.at("tests/in")).unwrap();
    project.write("tests/in/own.csv", "id,name\n1,abc\n");
    symlink(secret.at("secret.csv"), project.at("tests/in/out.csv")).unwrap();
    symlink("own.csv", project.at("tests/in/within.csv")).unwrap();
    project.write("tests/a.yaml", given.replace("LINK", "within.csv"));
    project.run(["test", "pipeline.yaml"]).expect_code(0);
    project.write("tests/a.yaml", given.replace("LINK", "out.csv"));
    let run = project
        .run(["test", "pipeline.yaml", "--format", "json"])
        .expect_code(2);
    let found = run.json()["error"]["diagnostics"][0].clone();
    assert_eq!(
        (&found["code"], &found["line"]),
        (&"E0805".into(), &1.into()),
        "{found}"
    );
    assert!(
        found["message"]
            .as_str()
            .unwrap()
            .contains("leads out of the pipeline's folders"),
        "{found}"
    );
    fs::remove_file(project.at("tests/a.yaml")).unwrap();
    symlink(secret.at("tests.yaml"), project.at("tests/b.yaml")).unwrap();
    let run = project.run(["test", "pipeline.yaml"]).expect_code(2);
    assert!(run.stderr.contains("tests/b.yaml leads out"), "{}", run.stderr);
}
