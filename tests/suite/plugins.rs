//! Plugins that are loaded: the sample pipeline through them, a pipeline that brings its own, Ctrl-C in the midst of one.

use clinmill_sdk::Registry;
use clinmill_tests::{Project, Run, hospital};
use clinmill_tests_abi::{build_c, library, limits, load, python, root};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
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

pub const PIPELINE: &str = r#"version: 1
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

pub fn project(step: &str, rows: &str) -> Project {
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
    // That its step is not known either follows from it, and is not said.
    let all = refused.json()["files"][0]["diagnostics"].as_array().unwrap().len();
    assert_eq!(all, 1, "{}", refused.stdout);
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
        info.stdout.contains("| `column` | text | required |"),
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
    let check = project
        .run(["plugin", "check", "plugins/own.so", "--format", "json"])
        .expect_code(0);
    for (name, ok) in [("release: ", true), ("cancel: ", true), ("bind: ", true)] {
        let checks = check.json()["checks"].as_array().unwrap().clone();
        let found = checks.iter().find(|c| c["check"].as_str().unwrap().starts_with(name));
        assert_eq!(found.unwrap()["ok"], ok, "{name}: {checks:?}");
    }
    // A library that changed is another one.
    let mut bytes = std::fs::read(project.at("plugins/own.so")).unwrap();
    bytes.push(0);
    project.write("plugins/own.so", bytes);
    let refused = project.run(["run", "pipeline.yaml"]).expect_code(2);
    assert!(refused.stderr.contains("PLUGIN_DIGEST"), "{}", refused.stderr);
}

/// The hostile plugin in C as the project's own; `None` where there is no compiler.
pub fn hostile_c(project: &Project, flags: &[&str]) -> Option<()> {
    fs::create_dir_all(project.at("plugins")).unwrap();
    let source = root().join("tests/abi/c_plugin/hostile.c");
    let flags: Vec<&str> = ["-D_DEFAULT_SOURCE"].iter().chain(flags).copied().collect();
    build_c(
        &source,
        &root().join("core/abi/include"),
        &project.at("plugins/own.so"),
        &flags,
    )
}

#[test]
fn a_library_that_ends_the_process_does_not_look_like_success() {
    let project = project("hostile_c: { deed: exit_zero }", "id,name\n1,abc\n");
    if hostile_c(&project, &[]).is_none() {
        return;
    }
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    project.run(["validate", "pipeline.yaml"]).expect_code(0);
    let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
    assert!(run.stderr.contains("ended in the midst of it"), "{}", run.stderr);
    assert!(no_release(&project.at("out")));
    let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(1);
    assert_eq!(run.json()["error"]["code"], "PLUGIN_PROCESS");
    // As it is loaded, whatever for.
    hostile_c(&project, &["-DLEAVES"]).unwrap();
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    for command in ["validate", "gates", "graph", "schema", "releases"] {
        let run = project.run([command, "pipeline.yaml"]).expect_code(1);
        assert!(
            run.stderr.contains("ended in the midst of it"),
            "{command}: {}",
            run.stderr
        );
    }
}

#[test]
fn a_library_that_does_not_come_back_is_told() {
    // Its constructor, before it is a plugin at all.
    let project = project("hostile_c: { deed: endless_array }", "id,name\n1,abc\n2,abc\n3,abc\n");
    let project = project.env("CLINMILL_PLUGIN_SECONDS", "2");
    if hostile_c(&project, &["-DHANGS"]).is_none() {
        return;
    }
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    let began = Instant::now();
    let run = project
        .run(["validate", "pipeline.yaml", "--format", "json"])
        .expect_code(2);
    let found = &run.json()["files"][0]["diagnostics"][0];
    assert!(
        found["message"]
            .as_str()
            .unwrap()
            .contains("in load: it did not come back in time"),
        "{found}"
    );
    assert_eq!(found["line"], 6, "{found}");
    assert!(began.elapsed() < Duration::from_secs(30));
    // The release of what it handed over: the rows are good, and yet nothing is published.
    hostile_c(&project, &[]).unwrap();
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
    assert!(
        run.stderr
            .contains("\"hostile_c\" in release: it did not come back in time"),
        "{}",
        run.stderr
    );
    assert!(no_release(&project.at("out")));
}

#[test]
fn a_lock_holds_what_can_be_loaded_and_says_the_rest() {
    let project = Project::new();
    let write = |name: &str, plugins: &str| {
        let text = PIPELINE
            .replace("  libraries: [\"plugins/own.so\"]", plugins)
            .replace("STEP", "map: { set: { other: { value: x } } }");
        project.write(name, text);
    };
    for program in ["one", "two"] {
        project.write(format!("plugins/{program}"), "#!/bin/sh\n");
    }
    let lock = || fs::read_to_string(project.at("plugins.lock")).unwrap();
    let refused = |part: &str, line: u64| {
        let run = project
            .run(["plugin", "lock", "pipeline.yaml", "--format", "json"])
            .expect_code(2);
        let found = run.json()["error"]["diagnostics"][0].clone();
        assert!(found.to_string().contains(part), "{part}: {found}");
        assert_eq!(found["line"], line, "{found}");
    };
    // What could not be loaded is not locked, and nothing is written.
    write("pipeline.yaml", "  processes: { out: ../out }");
    refused("E0501", 6);
    write("pipeline.yaml", "  processes: { table: plugins/one }");
    refused("PLUGIN_NAME_TAKEN", 6);
    write("pipeline.yaml", "  processes: { one: plugins/none }");
    refused("PLUGIN_READ", 6);
    write("pipeline.yaml", "  libraries: [plugins/one]");
    refused("PLUGIN_NOT_A_LIBRARY", 6);
    std::os::unix::fs::symlink("/bin/sh", project.at("plugins/link")).unwrap();
    write("pipeline.yaml", "  processes: { link: plugins/link }");
    refused("PLUGIN_ROOT", 6);
    assert!(!project.at("plugins.lock").exists());
    // Pipelines of one folder have one lock.
    write("pipeline.yaml", "  processes: { one: plugins/one }");
    write("second.yaml", "  processes: { two: plugins/two }");
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    let said = project.run(["plugin", "lock", "second.yaml"]).expect_code(0);
    assert!(
        said.stdout.contains("1 plugin, 1 of other pipelines kept"),
        "{}",
        said.stdout
    );
    assert!(lock().contains("\"one\"") && lock().contains("\"two\""), "{}", lock());
    // What no pipeline names any more goes.
    fs::remove_file(project.at("second.yaml")).unwrap();
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    assert!(lock().contains("\"one\"") && !lock().contains("\"two\""), "{}", lock());
    // A lock that is no lock is told with its place, and not written over.
    project.write("plugins.lock", lock().replace("version: 1\n", "version: 2\n"));
    refused("version is not 1", 2);
    let run = project
        .run(["validate", "pipeline.yaml", "--format", "json"])
        .expect_code(2);
    let found = &run.json()["files"][0]["diagnostics"][0];
    assert!(found["file"].as_str().unwrap().ends_with("plugins.lock"), "{found}");
    assert_eq!((&found["line"], &found["column"]), (&2.into(), &10.into()), "{found}");
}

pub fn no_release(folder: &Path) -> bool {
    fs::read_dir(folder.join("_releases")).map_or(true, |mut entries| entries.next().is_none())
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
    assert!(no_release(&project.at("out")));
    // The next run goes on.
    project.write("pipeline.yaml", PIPELINE.replace("STEP", "hostile: { deed: nothing }"));
    project.run(["run", "pipeline.yaml"]).expect_code(0);
}

/// Whether this run of the pipeline failed with this code and left no release.
pub fn fails(project: &Project, code: &str) {
    let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
    assert!(run.stderr.contains(code), "{}", run.stderr);
    assert!(run.stderr.contains("own"), "the plugin is named: {}", run.stderr);
    assert!(no_release(&project.at("out")));
}

/// Runs the pipeline, and asks it to end so long after it has published.
pub fn told_to_end_once_published(project: &Project, after: Duration) -> Run {
    let child = project
        .command(["run", "pipeline.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while no_release(&project.at("out")) {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is published");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(after);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    Run::from(child.wait_with_output().unwrap())
}

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

/// Whether a process of this number runs. One that nobody has waited for does not.
pub fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
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

/// Runs cargo on a made plugin, in a target folder that stays for the next run of the tests. Nothing is downloaded.
fn cargo(folder: &Path, args: &[&str]) {
    let exe = std::env::current_exe().unwrap();
    let target = exe.ancestors().nth(3).unwrap().join("plugin-new");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(args)
        .args(["--offline", "--quiet"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo {args:?}:\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_new_plugin_passes_its_tests_and_runs_in_a_pipeline() {
    let project = project("origin: { column: name }", "id,name\n1,  a   b \n2,\"  \"\n");
    // Names of what the code imports, and a word of the language.
    for (kind, name) in [("transform", "origin"), ("source", "split"), ("sink", "self")] {
        let sdk = root();
        let folder = project.at(name);
        let made = ["plugin", "new", name, "--kind", kind, "--sdk", sdk.to_str().unwrap()];
        project.run(made).expect_code(0);
        project.run(made).expect_code(1);
        fs::copy(sdk.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        cargo(&folder, &["test"]);
        cargo(&folder, &["build"]);
        let exe = std::env::current_exe().unwrap();
        let built = exe.ancestors().nth(3).unwrap().join("plugin-new/debug");
        let library = built.join(format!("libclinmill_plugin_{name}.so"));
        fs::create_dir_all(project.at("plugins")).unwrap();
        let place = format!("plugins/{name}.so");
        fs::copy(&library, project.at(&place)).unwrap();
        let check = project
            .run(["plugin", "check", &place, "--folder", name])
            .expect_code(0);
        assert!(check.stdout.contains("keeps to the rules"), "{}", check.stdout);
    }
    let pipeline = PIPELINE
        .replace("[\"plugins/own.so\"]", "[plugins/origin.so, plugins/split.so]")
        .replace("STEP", "origin: { column: name }")
        .replace(
            "transforms:",
            "  remarks: { plugin: split, inputs: { glob: \"inbox/*.txt\" }, issuer: MRN }\ntransforms:",
        )
        + "  remark: { from: remarks }\n";
    project.write("pipeline.yaml", pipeline);
    project.write("inbox/a.txt", "1\tfirst\n2\tsecond\n");
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
    assert!(run.stdout.contains("\"remark\""), "{}", run.stdout);
    let shown = project
        .run(["preview", "pipeline.yaml", "sized", "--format", "json"])
        .expect_code(0);
    assert!(shown.stdout.contains("a b"), "{}", shown.stdout);
    let rejected = project.run(["quarantine", "list", "pipeline.yaml"]).expect_code(0);
    assert!(rejected.stdout.contains("ORIGIN_EMPTY"), "{}", rejected.stdout);
}
