//! What a plugin says and does in a command's own process: what reaches the command's streams, and what is told of it.

use crate::plugins::{PIPELINE, hostile_c, no_release, project, told_to_end_once_published};
use clinmill_tests::{Project, Run};
use clinmill_tests_abi::{build_c, root};
use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

const ROWS: &str = "id,name\n1,王小明\n2,abc\n3,abc\n";

/// A project whose step is this deed of the hostile plugin, locked; `None` where there is no compiler.
fn deed(name: &str) -> Option<Project> {
    let project = project(&format!("hostile_c: {{ deed: {name} }}"), ROWS);
    hostile_c(&project, &[])?;
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
    Some(project)
}

fn holds_no_value(run: &Run) {
    for said in [&run.stdout, &run.stderr] {
        assert!(!said.contains("王小明"), "{said}");
    }
}

#[test]
fn the_streams_of_the_command_are_its_own() {
    for name in ["close_out", "replace_out", "write_out"] {
        let Some(project) = deed(name) else { return };
        let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
        assert_eq!(run.json()["outcome"], "released", "{name}: {}", run.stdout);
        assert!(!run.stderr.is_empty(), "{name}: progress is told");
        holds_no_value(&run);
    }
    // A result that could not be written is none.
    let Some(project) = deed("nothing") else { return };
    let mut command = project.command(["run", "pipeline.yaml"]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let run = Run::from(command.stdout(full).output().unwrap()).expect_code(1);
    assert!(run.stderr.contains("cannot write to stdout"), "{}", run.stderr);
    // What the host keeps is gone: who answers for it says so, and which libraries it had loaded.
    let Some(project) = deed("close_kept") else { return };
    let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(1);
    assert_eq!(run.json()["error"]["code"], "PLUGIN_STREAMS", "{}", run.stdout);
    let said = "could not say all: a library closed its standard output or error, or put another file there. \
                It had loaded \"hostile_c\"";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    // Where also the way to say it is gone, the command has not succeeded.
    let Some(project) = deed("close_all") else { return };
    let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(1);
    assert!(run.stderr.contains("`clinmill releases` tells"), "{}", run.stderr);
}

#[test]
fn what_is_said_of_rows_is_a_code_with_its_place() {
    for (name, code, said) in [
        ("say_value", "HOSTILE_VALUE", "is not shown"),
        ("say_known", "HOSTILE_KNOWN", "the code is known"),
        ("count_value", "ABI_NAME", "small letters"),
        ("count_many", "ABI_NAMES", "more than 256 different names"),
    ] {
        let Some(project) = deed(name) else { return };
        let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
        holds_no_value(&run);
        let all = &run.stderr;
        assert!(
            all.contains(&format!("{code}: the plugin \"hostile_c\" in process: ")),
            "{all}"
        );
        assert!(all.contains(said), "{all}");
        assert!(no_release(&project.at("out")));
        // An error is shown at the option that it points at.
        let option = PIPELINE.lines().position(|line| line.contains("STEP")).unwrap() + 1;
        let column = match name.starts_with("say_") {
            true => "      - hostile_c: { deed: ".len() + 1,
            false => "      - ".len() + 1,
        };
        assert!(all.contains(&format!("--> pipeline.yaml:{option}:{column}")), "{all}");
    }
}

#[test]
fn the_library_that_ends_the_process_is_named() {
    for (name, how) in [
        ("abort", "signal 6"),
        ("crash", "signal 11"),
        ("exit_93", "ended in the midst"),
    ] {
        let Some(project) = deed(name) else { return };
        let source = root().join("tests/abi/c_plugin/text_length.c");
        let include = root().join("core/abi/include");
        build_c(&source, &include, &project.at("plugins/second.so"), &[]).unwrap();
        let text = PIPELINE
            .replace("\"plugins/own.so\"", "\"plugins/own.so\", \"plugins/second.so\"")
            .replace(
                "STEP",
                &format!("text_length: {{ column: name }}\n      - hostile_c: {{ deed: {name} }}"),
            );
        project.write("pipeline.yaml", text);
        project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
        let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
        assert!(run.stderr.contains(how), "{name}: {}", run.stderr);
        let said = "the plugin \"hostile_c\" in process was called";
        assert!(run.stderr.contains(said), "{name}: {}", run.stderr);
        assert!(!run.stderr.contains("text_length"), "{name}: {}", run.stderr);
    }
}

#[test]
fn a_release_that_does_not_come_back_after_publishing_is_told() {
    let Some(project) = deed("endless_release") else { return };
    let quick = project.env("CLINMILL_PLUGIN_SECONDS", "2");
    let run = quick.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
    assert_eq!(run.json()["outcome"], "released", "{}", run.stdout);
    let said = "the plugin \"hostile_c\" in release: it did not come back in time";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    // Ctrl-C is heard there, too.
    let Some(project) = deed("endless_release") else { return };
    let project = project.env("CLINMILL_PLUGIN_SECONDS", "600");
    let began = Instant::now();
    let run = told_to_end_once_published(&project, Duration::from_secs(1)).expect_code(0);
    assert!(began.elapsed() < Duration::from_secs(60), "it does not end");
    assert!(run.stderr.contains("when it was told to stop"), "{}", run.stderr);
    assert!(fs::read_dir(project.at("out/_releases")).unwrap().count() > 0);
}

#[test]
fn what_a_pipeline_names_is_there_and_is_a_file() {
    let project = project("map: { set: { other: { value: x } } }", ROWS);
    let text = PIPELINE
        .replace("plugins:\n  libraries: [\"plugins/own.so\"]\n", "")
        .replace("STEP", "terminology: { column: name, map: pipe }");
    let fifo = |path: &str| {
        let made = Command::new("mkfifo").arg(project.at(path)).status().unwrap();
        assert!(made.success());
    };
    let run = |args: &[&str], code: i32| {
        let mut command = Command::new("timeout");
        command.args(["-k", "2", "20"]).arg(project.command(args).get_program());
        Run::from(command.args(args).current_dir(project.at("")).output().unwrap()).expect_code(code)
    };
    fifo("pipe");
    project.write("pipeline.yaml", &text);
    let said = run(&["validate", "pipeline.yaml"], 2);
    assert!(
        said.stdout.contains("\"pipe\" is not a regular file"),
        "{}",
        said.stdout
    );
    let plain = text.replace(
        "terminology: { column: name, map: pipe }",
        "map: { set: { other: { value: x } } }",
    );
    project.write("pipeline.yaml", format!("{plain}tests: nowhere\n"));
    let said = run(&["validate", "pipeline.yaml"], 2);
    assert!(
        said.stdout.contains("there are no tests at \"nowhere\""),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains(":19:8"), "{}", said.stdout);
    // A script whose interpreter is not there.
    project.write("plugins/own", "#!/usr/bin/nopython\nprint()\n");
    let program = format!("{plain}plugins: {{ processes: {{ own: plugins/own }} }}\n");
    project.write("pipeline.yaml", program);
    run(&["plugin", "lock", "pipeline.yaml"], 0);
    let said = run(&["validate", "pipeline.yaml"], 2);
    assert!(
        said.stdout.contains("its interpreter /usr/bin/nopython is missing"),
        "{}",
        said.stdout
    );
}
