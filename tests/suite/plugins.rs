//! Plugins that are loaded: the sample pipeline through them, a pipeline that brings its own, Ctrl-C in the midst of one.

use clinmill_sdk::Registry;
use clinmill_tests::{Project, Run, hospital};
use clinmill_tests_abi::{build_c, library, limits, load, root};
use std::{
    fs,
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

/// Runs the pipeline, and asks it to end once it is where `wait` waits for, which gets its number.
pub fn told_to_end(project: &Project, wait: impl FnOnce(&str)) -> Run {
    let child = project
        .command(["run", "pipeline.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    wait(&pid);
    let began = Instant::now();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let run = Run::from(child.wait_with_output().unwrap());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    run
}

/// As [`told_to_end`], so long after it has published.
pub fn told_to_end_once_published(project: &Project, after: Duration) -> Run {
    told_to_end(project, |_| {
        let began = Instant::now();
        while no_release(&project.at("out")) {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing is published");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(after);
    })
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
    // Names of what the code imports, and a word of the language and of YAML.
    for (kind, name) in [("transform", "origin"), ("source", "split"), ("sink", "true")] {
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
