//! Plugins that are loaded: the sample pipeline through them, a pipeline that brings its own, Ctrl-C in the midst of one.

use clinmill_sdk::Registry;
use clinmill_tests::{Project, hospital};
use clinmill_tests_abi::{build_c, library, limits, load, root};
use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[test]
fn the_sample_pipeline_through_loaded_plugins_gives_the_same_rows() {
    let mut loaded = Registry::default();
    for name in [
        "hl7v2",
        "notes",
        "table",
        "datetime",
        "labvalue",
        "map",
        "terminology",
        "units",
    ] {
        load(&library(name), limits()).register(&mut loaded).unwrap();
    }
    let built_in = hospital::site();
    let dynamic = hospital::site().with(loaded);
    for site in [&built_in, &dynamic] {
        (1..=hospital::WEEKS).for_each(|week| hospital::put_week(site, week));
        assert_eq!(site.refresh().release, 1);
    }
    let fingerprints = built_in.fingerprints(1);
    assert!(fingerprints.len() >= 3, "{fingerprints:?}");
    assert_eq!(dynamic.fingerprints(1), fingerprints);
}

const PIPELINE: &str = r#"version: 1
name: own
vault: { url: "file:vault", key: auto }
dataset: { url: "file:out" }
plugins:
  libraries: ["plugins/own.so"]
sources:
  people:
    plugin: table
    inputs: { glob: "inbox/*.csv" }
    subject: { id: id, issuer: MRN }
    key: [id]
    columns: { id: no, name: name }
transforms:
  sized:
    from: people
    steps:
      - STEP
tables:
  person: { from: sized }
"#;

fn project(step: &str, rows: &str) -> Project {
    let project = Project::new();
    project.write("pipeline.yaml", PIPELINE.replace("STEP", step));
    project.write("inbox/a.csv", rows);
    project
}

#[test]
fn a_pipeline_brings_a_plugin_in_c() {
    let project = project("text_length: { column: name }", "id,name\n1,abc\n2,王\n");
    std::fs::create_dir_all(project.at("plugins")).unwrap();
    let source = root().join("tests/abi/c_plugin/text_length.c");
    if build_c(
        &source,
        &root().join("core/abi/include"),
        &project.at("plugins/own.so"),
        &[],
    )
    .is_none()
    {
        return;
    }
    // Not before somebody has locked it; and it is said where.
    let refused = project
        .run(["validate", "pipeline.yaml", "--format", "json"])
        .expect_code(2);
    let found = refused.json()["files"][0]["diagnostics"][0].clone();
    assert_eq!(found["code"], "E0409", "{found}");
    assert!(
        found["message"].as_str().unwrap().contains("PLUGIN_NOT_LOCKED"),
        "{found}"
    );
    assert_eq!(found["line"], 6, "{found}");
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    project.run(["validate", "pipeline.yaml"]).expect_code(0);
    // Its options are located as those of any plugin.
    let wrong = PIPELINE.replace("STEP", "text_length: { colunm: name }");
    project.write("wrong.yaml", wrong);
    let run = project
        .run(["validate", "wrong.yaml", "--format", "json"])
        .expect_code(2);
    let codes: Vec<String> = run.json()["files"][0]["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| format!("{} {}", d["code"].as_str().unwrap(), d["line"]))
        .collect();
    assert!(codes.contains(&"E0402 18".to_owned()), "{codes:?}");
    project.run(["run", "pipeline.yaml"]).expect_code(0);
    let shown = project
        .run(["preview", "pipeline.yaml", "sized", "--format", "json"])
        .expect_code(0);
    assert!(shown.stdout.contains("name_bytes"), "{}", shown.stdout);
    let info = project
        .run(["plugin", "info", "text_length", "--pipeline", "pipeline.yaml"])
        .expect_code(0);
    assert!(
        info.stdout.contains("| `column` | string | required |"),
        "{}",
        info.stdout
    );
    let list = project
        .run(["plugin", "list", "--pipeline", "pipeline.yaml"])
        .expect_code(0);
    assert!(
        list.stdout.contains("text_length") && list.stdout.contains("hl7v2"),
        "{}",
        list.stdout
    );
    let check = project.run(["plugin", "check", "plugins/own.so"]).expect_code(0);
    assert!(check.stdout.contains("keeps to the rules"), "{}", check.stdout);
    // A library that changed is another one.
    let mut bytes = std::fs::read(project.at("plugins/own.so")).unwrap();
    bytes.push(0);
    project.write("plugins/own.so", bytes);
    let refused = project.run(["run", "pipeline.yaml"]).expect_code(2);
    assert!(refused.stderr.contains("PLUGIN_DIGEST"), "{}", refused.stderr);
}

fn no_release(folder: &Path) -> bool {
    !folder.join("_clinmill/releases").is_dir() && !folder.join("releases").is_dir()
}

#[test]
fn ctrl_c_in_a_plugin_ends_with_130_and_nothing_published() {
    let project = project("hostile: { deed: wait_for_cancel }", "id,name\n1,abc\n");
    std::fs::create_dir_all(project.at("plugins")).unwrap();
    std::fs::copy(library("hostile"), project.at("plugins/own.so")).unwrap();
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    let mut child = project
        .command(["run", "pipeline.yaml"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(130));
    let releases = project.run(["releases", "pipeline.yaml", "--format", "json"]);
    let none = releases.code != Some(0) || releases.json()["releases"].as_array().is_none_or(Vec::is_empty);
    assert!(none && no_release(&project.at("out")), "{}", releases.stdout);
    // The next run goes on.
    project.write("pipeline.yaml", PIPELINE.replace("STEP", "hostile: { deed: nothing }"));
    project.run(["run", "pipeline.yaml"]).expect_code(0);
}
