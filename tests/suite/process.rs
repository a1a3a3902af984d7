//! Plugins that are processes: a step and a source in a pipeline, what they do wrong, and that none outlives its host.

use crate::plugins::{PIPELINE, fails, project};
use clinmill_tests::Project;
use clinmill_tests_abi::{python, root, runs};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

#[test]
fn a_pipeline_brings_a_process() {
    let Some(python) = python("pyarrow") else { return };
    let pipeline = PIPELINE.replace("libraries: [\"plugins/own.so\"]", "processes: { own: plugins/own }");
    let project = project("own: { column: name }", "id,name\n1,abc\n2,\n3,\"\"\n4,zoë\n");
    let pipeline = pipeline.replace("STEP", "own: { column: name }");
    project.write("pipeline.yaml", &pipeline);
    let program = |deed: &str| {
        let source = fs::read_to_string(root().join("tests/abi/python/upper/upper.py")).unwrap();
        let source = source.replace("\"name\": \"upper\"", "\"name\": \"own\"");
        let deed = source.replace(
            "    def process(self, body):\n",
            &format!("    def process(self, body):\n{deed}"),
        );
        let path = project.write("plugins/own", format!("#!{}\n{deed}", python.display()));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    };
    program("        import os; os.abort()\n");
    fails(&project, "PLUGIN_PROCESS");
    let said = project.run(["run", "pipeline.yaml"]).expect_code(1).stderr;
    let step = pipeline
        .lines()
        .position(|line| line.contains("own: { column: name }"))
        .unwrap()
        + 1;
    assert!(said.contains(&format!("--> pipeline.yaml:{step}:")), "{said}");
    program("        import time; time.sleep(3600)\n");
    // The time that a call may take is a minute; the test does not wait for it.
    let project = project.env("CLINMILL_PLUGIN_SECONDS", "3");
    fails(&project, "PLUGIN_TIMEOUT");
    let source = fs::read_to_string(project.at("plugins/own")).unwrap();
    project.write(
        "plugins/own",
        source.replace("        import time; time.sleep(3600)\n", ""),
    );
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    project.run(["validate", "pipeline.yaml"]).expect_code(0);
    project.run(["run", "pipeline.yaml"]).expect_code(0);
    let shown = project
        .run(["preview", "pipeline.yaml", "sized", "--format", "json"])
        .expect_code(0);
    assert!(
        shown.stdout.contains("ABC") && shown.stdout.contains("ZOË"),
        "{}",
        shown.stdout
    );
    let schema = project.run(["schema", "pipeline.yaml"]).expect_code(0);
    assert!(
        schema.stdout.contains("The column of text."),
        "its options stand in the schema"
    );
    project.run(["graph", "pipeline.yaml"]).expect_code(0);
    project.run(["plan", "pipeline.yaml"]).expect_code(0);
}

pub const REMARKS: &str = r#"version: 1
name: own
vault: { url: "file:vault", key: auto }
dataset: { url: "file:out" }
plugins:
  processes: { own: plugins/own }
sources:
  remarks: { plugin: own, inputs: { glob: "inbox/*.txt" }, issuer: MRN }
tables:
  remark: { from: remarks }
"#;

/// The example source as the plugin `own`, with a deed where it begins to read.
pub fn own_source(project: &Project, python: &Path, deed: &str) {
    let source = fs::read_to_string(root().join("tests/abi/python/lines/lines.py")).unwrap();
    let begin = "    def read(self, message):\n";
    assert!(source.contains(begin) && source.contains("\"name\": \"lines\""));
    let source = source
        .replace("\"name\": \"lines\"", "\"name\": \"own\"")
        .replace(begin, &format!("{begin}        {deed}\n"));
    let path = project.write("plugins/own", format!("#!{}\n{source}", python.display()));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
}

#[test]
fn a_pipeline_brings_a_source_that_is_a_process() {
    let Some(python) = python("pyarrow") else { return };
    let project = Project::new().env("CLINMILL_PLUGIN_SECONDS", "3");
    project.write("pipeline.yaml", REMARKS);
    for week in 1..=3 {
        project.write(
            format!("inbox/{week}.txt"),
            format!("7\tremark {week}\nno tab\n8\t王 {week}\n"),
        );
    }
    for (deed, code) in [
        ("import os; os.abort()", "PLUGIN_PROCESS"),
        ("import time; time.sleep(3600)", "PLUGIN_TIMEOUT"),
        ("print('hello', flush=True)", "PLUGIN_PROTOCOL"),
    ] {
        own_source(&project, &python, deed);
        let began = Instant::now();
        fails(&project, code);
        let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(1);
        assert!(run.stderr.contains("source remarks, input ") || run.stdout.contains("source remarks, input "));
        assert!(began.elapsed() < Duration::from_secs(30), "{deed}: one hang is enough");
    }
    own_source(&project, &python, "pass");
    let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
    let tables = &run.json()["tables"];
    assert_eq!(run.json()["counts"]["read"], 9, "{}", run.stdout);
    assert!(tables.to_string().contains("remark"), "{tables}");
    let rejected = project.run(["quarantine", "list", "pipeline.yaml"]).expect_code(0);
    assert!(rejected.stdout.contains("LINES_TAB"), "{}", rejected.stdout);
    let shown = project
        .run(["preview", "pipeline.yaml", "remarks", "--format", "json"])
        .expect_code(0);
    assert!(shown.stdout.contains("王 2"), "{}", shown.stdout);
    // Nothing is new; then one input is.
    let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
    assert_eq!(run.json()["outcome"], "no-op", "{}", run.stdout);
    project.write("inbox/4.txt", "9\tlate\n");
    let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
    assert_eq!(run.json()["counts"]["read"], 1, "{}", run.stdout);
}

#[test]
fn a_program_is_checked_as_a_library_is() {
    let Some(python) = python("pyarrow") else { return };
    let project = Project::new();
    let folder = root().join("tests/abi/python/lines");
    let source = fs::read_to_string(folder.join("lines.py")).unwrap();
    let begin = "    def read(self, message):\n";
    assert!(source.contains(begin));
    let check = ["plugin", "check", "plugins/lines", "--folder", folder.to_str().unwrap()];
    for (deed, code, said) in [
        ("pass", 0, "it keeps to the rules"),
        ("print('hello', flush=True)", 1, "PLUGIN_PROTOCOL"),
    ] {
        let source = source.replace(begin, &format!("{begin}        {deed}\n"));
        let path = project.write("plugins/lines", format!("#!{}\n{source}", python.display()));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let checked = project.run(check).expect_code(code);
        assert!(checked.stdout.contains(said), "{}", checked.stdout);
    }
    let checked = project
        .run(["plugin", "check", "plugins/lines", "--name", "other"])
        .expect_code(1);
    assert!(checked.stderr.contains("plugins/lines: "), "{}", checked.stderr);
}

#[test]
fn a_process_ends_with_a_host_that_is_killed() {
    let Some(python) = python("pyarrow") else { return };
    let project = Project::new();
    project.write("pipeline.yaml", REMARKS);
    project.write("inbox/1.txt", "7\tremark\n");
    let place = project.at("pid");
    let deed = format!(
        "import os, time; open({0:?} + '.part', 'w').write(str(os.getpid())); os.rename({0:?} + '.part', {0:?}); time.sleep(3600)",
        place.display().to_string()
    );
    own_source(&project, &python, &deed);
    let mut host = project
        .command(["run", "pipeline.yaml"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let within = |what: &str, holds: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(30), "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    within("the plugin reads", &|| place.is_file());
    let pid = fs::read_to_string(&place).unwrap();
    assert!(runs(&pid));
    host.kill().unwrap();
    host.wait().unwrap();
    within("the plugin is ended", &|| !runs(&pid));
}
