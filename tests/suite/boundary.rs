//! What plugins may not do to the process that loads them, to the files beside them and to what a refresh reads.

use crate::{
    plugins::{PIPELINE, fails, hostile_c, no_release, project, told_to_end, told_to_end_once_published},
    process::{REMARKS, own_source},
};
use clinmill_tests::{Project, Run};
use clinmill_tests_abi::{build_c, library, python, root, runs};
use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ROWS: &str = "id,name\n1,abc\n2,abc\n3,abc\n";

fn locked(project: &Project) {
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
}

/// The project with another deed of the hostile plugin.
fn deed(project: &Project, deed: &str) {
    let step = format!("hostile_c: {{ deed: {deed} }}");
    project.write("pipeline.yaml", PIPELINE.replace("STEP", &step));
}

fn releases(project: &Project) -> usize {
    let run = project
        .run(["releases", "pipeline.yaml", "--format", "json"])
        .expect_code(0);
    run.json().as_array().unwrap().len()
}

#[test]
fn no_exit_code_of_a_library_looks_like_success() {
    let project = project("hostile_c: { deed: exit_93 }", ROWS);
    if hostile_c(&project, &[]).is_none() {
        return;
    }
    locked(&project);
    let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
    assert!(run.stderr.contains("ended in the midst of it"), "{}", run.stderr);
    assert!(run.stderr.contains("`clinmill releases` tells"), "{}", run.stderr);
    for name in ["stop", "stop_as_terminal"] {
        deed(&project, name);
        let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
        assert!(run.stderr.contains("command was stopped"), "{}", run.stderr);
        assert!(no_release(&project.at("out")));
    }
    // Also where the pipeline is named behind an option's `=`.
    hostile_c(&project, &["-DLEAVES"]).unwrap();
    locked(&project);
    let run = project
        .run(["plugin", "list", "--pipeline=pipeline.yaml"])
        .expect_code(1);
    assert!(run.stderr.contains("ended in the midst of it"), "{}", run.stderr);
    assert!(run.stderr.contains("The command is not done"), "{}", run.stderr);
}

#[test]
fn what_a_library_does_to_its_process_does_not_reach_the_result() {
    let began = Instant::now();
    for name in ["fork", "clear_env", "change_folder"] {
        let project = project(&format!("hostile_c: {{ deed: {name} }}"), ROWS);
        // Its destructor does not come back, and would hold up the end of every command.
        if hostile_c(&project, &["-DLINGERS"]).is_none() {
            return;
        }
        locked(&project);
        // The output is read to its end, which a process that was left behind would hold open.
        let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
        assert_eq!(run.json()["outcome"], "released", "{name}: {}", run.stdout);
        assert_eq!(releases(&project), 1, "{name}");
        let again = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
        assert_eq!(again.json()["outcome"], "no-op", "{name}: {}", again.stdout);
    }
    assert!(began.elapsed() < Duration::from_secs(60), "it does not end");
}

#[test]
fn a_command_that_is_ended_from_outside_blames_no_library() {
    let project = project("hostile_c: { deed: nothing }", ROWS).env("CLINMILL_PLUGIN_SECONDS", "60");
    if hostile_c(&project, &["-DHANGS"]).is_none() {
        return;
    }
    locked(&project);
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let child = project
            .command(["validate", "pipeline.yaml"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_secs(2));
        let pid = child.id().to_string();
        assert!(runs(&pid));
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let run = Run::from(child.wait_with_output().unwrap()).expect_code(code);
        assert!(!run.stderr.contains("library"), "{}", run.stderr);
    }
}

/// Runs a command on a terminal of its own that stops who writes to it from the background, and ends with its code.
const TERMINAL: &str = "
import os, pty, sys, termios
pid, fd = pty.fork()
if pid == 0:
    how = termios.tcgetattr(0)
    how[3] |= termios.TOSTOP
    termios.tcsetattr(0, termios.TCSANOW, how)
    os.execv(sys.argv[1], sys.argv[1:])
try:
    while said := os.read(fd, 65536):
        os.write(1, said)
except OSError:
    pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn a_terminal_does_not_stop_the_command() {
    for name in ["nothing", "terminal"] {
        let project = project(&format!("hostile_c: {{ deed: {name} }}"), ROWS);
        let (Some(()), Some(python)) = (hostile_c(&project, &[]), python("pyarrow")) else {
            return;
        };
        locked(&project);
        let args = ["run", "pipeline.yaml"];
        let mut command = Command::new("timeout");
        command.args(["-k", "2", "60"]).arg(&python).args(["-c", TERMINAL]);
        command.arg(project.command(args).get_program()).args(args);
        let run = Run::from(command.current_dir(project.at("")).output().unwrap()).expect_code(0);
        assert!(!run.stdout.is_empty());
        assert_eq!(releases(&project), 1, "{name}: {}", run.stdout);
    }
}

#[test]
fn a_crash_is_told_also_of_a_command_that_was_told_to_end() {
    let project = project("hostile_c: { deed: crash_release }", ROWS);
    if hostile_c(&project, &[]).is_none() {
        return;
    }
    locked(&project);
    let run = told_to_end_once_published(&project, Duration::from_millis(500)).expect_code(1);
    assert!(run.stderr.contains("was ended by signal 11"), "{}", run.stderr);
    assert!(run.stderr.contains("`clinmill releases` tells"), "{}", run.stderr);
}

#[test]
fn names_that_no_column_can_have_are_refused() {
    let project = project("hostile_c: { deed: name_twice }", ROWS);
    if hostile_c(&project, &[]).is_none() {
        return;
    }
    locked(&project);
    for (name, said) in [
        ("name_twice", "two columns have the name \"name\""),
        ("no_name", "a column has no name"),
    ] {
        deed(&project, name);
        let run = project.run(["run", "pipeline.yaml"]).expect_code(2);
        assert!(run.stderr.contains("E0410"), "{name}: {}", run.stderr);
        assert!(run.stderr.contains(said), "{name}: {}", run.stderr);
    }
    for (name, said) in [
        ("control_name", "\"na\\u{1b}[31mme\" holds a control character"),
        (
            "unknown_zone",
            "the time zone \"Not/AZone\\u{1b}[31m\" of the column \"name\" is unknown",
        ),
    ] {
        deed(&project, name);
        let run = project.run(["run", "pipeline.yaml"]).expect_code(2);
        assert!(run.stderr.contains("ABI_SCHEMA"), "{name}: {}", run.stderr);
        assert!(run.stderr.contains(said), "{name}: {}", run.stderr);
        assert!(no_release(&project.at("out")));
    }
}

#[test]
fn what_no_column_can_hold_and_what_comes_from_nothing_is_not_published() {
    let project = project("hostile_c: { deed: nothing }", ROWS).env("CLINMILL_PLUGIN_SECONDS", "1");
    if hostile_c(&project, &[]).is_none() {
        return;
    }
    locked(&project);
    for (name, phase, said) in [
        ("decimal_beyond", "process", "ABI_ARRAY"),
        ("rows_in_finish", "finish", "ABI_STATE"),
        ("endless_run", "release", "PLUGIN_TIMEOUT"),
    ] {
        deed(&project, name);
        let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
        assert!(run.stderr.contains(said), "{name}: {}", run.stderr);
        let place = format!("the plugin \"hostile_c\" in {phase}: ");
        assert_eq!(run.stderr.matches(&place).count(), 1, "{name}: {}", run.stderr);
        assert!(run.stderr.contains("--> pipeline.yaml:"), "{name}: {}", run.stderr);
        assert!(no_release(&project.at("out")), "{name}");
    }
    // An instance is released when the command is done with it: by then the release is published.
    deed(&project, "endless_release");
    let run = project.run(["run", "pipeline.yaml"]).expect_code(0);
    assert!(run.stderr.contains("warning"), "{}", run.stderr);
    assert!(
        run.stderr
            .contains("the plugin \"hostile_c\" in release: it did not come back"),
        "{}",
        run.stderr
    );
    assert_eq!(releases(&project), 1);
}

/// Waits until a run is surely at work.
fn at_work(pid: &str) {
    std::thread::sleep(Duration::from_secs(3));
    assert!(runs(pid), "it waits");
}

#[test]
fn ctrl_c_is_heard_while_an_input_is_cut() {
    let project = Project::new();
    // Only inputs of more bytes than this are cut.
    project.write("inbox/a.txt", "7\tsome remark of a subject\n".repeat(200_000));
    fs::create_dir_all(project.at("plugins")).unwrap();
    let place = project.at("plugins/own.so");
    let from = root().join("tests/abi/c_plugin/hostile_source.c");
    let include = root().join("core/abi/include");
    if build_c(&from, &include, &place, &["-D_DEFAULT_SOURCE"]).is_none() {
        return;
    }
    for deed in ["endless_splits", "deaf_splits"] {
        let pipeline = REMARKS
            .replace("processes: { own: plugins/own }", "libraries: [plugins/own.so]")
            .replace("plugin: own", "plugin: hostile_source")
            .replace("issuer: MRN", &format!("deed: {deed}"));
        project.write("pipeline.yaml", pipeline);
        locked(&project);
        told_to_end(&project, at_work).expect_code(130);
        assert!(no_release(&project.at("out")));
    }
    let Some(python) = python("pyarrow") else { return };
    project.write("pipeline.yaml", REMARKS);
    own_source(&project, &python, "pass");
    let source = fs::read_to_string(project.at("plugins/own")).unwrap();
    let begin = "        \"\"\"Parts that end behind a line's end.\"\"\"\n";
    project.write(
        "plugins/own",
        source.replace(begin, &format!("{begin}        import time; time.sleep(3600)\n")),
    );
    locked(&project);
    told_to_end(&project, at_work).expect_code(130);
    assert!(no_release(&project.at("out")));
}

#[test]
fn rows_that_a_step_swallows_are_counted() {
    let project = project("hostile_c: { deed: swallow }", ROWS);
    if hostile_c(&project, &[]).is_none() {
        return;
    }
    locked(&project);
    let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
    let said =
        "PLUGIN_ROWS: the plugin \"hostile_c\" in process: of 3 rows it handed on 0 and rejected 0; 3 are missing";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    assert!(no_release(&project.at("out")));
}

#[test]
fn a_count_is_no_less_than_nothing() {
    let Some(python) = python("pyarrow") else { return };
    let project = Project::new();
    project.write("pipeline.yaml", REMARKS);
    project.write("inbox/a.txt", "7\tone\n");
    let refused = project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(2);
    assert!(refused.stderr.contains("PLUGIN_READ"), "{}", refused.stderr);
    own_source(&project, &python, "send({'reply': 'filtered', 'rule': 'r', 'n': -1})");
    fails(&project, "a count that is no number from 0 on");
    // Who has not locked it is told so.
    fs::remove_file(project.at("plugins.lock")).unwrap();
    let run = project.run(["run", "pipeline.yaml"]).expect_code(2);
    assert!(run.stderr.contains("does not stand in plugins.lock"), "{}", run.stderr);
}

#[test]
fn a_named_pipe_is_not_waited_for() {
    let project = Project::new();
    let pipe = |path: &str| {
        let _ = fs::remove_file(project.at(path));
        let made = Command::new("mkfifo").arg(project.at(path)).status().unwrap();
        assert!(made.success());
    };
    let refused = |args: &[&str]| {
        // The system's own program ends a command that waits.
        let mut command = Command::new("timeout");
        command.args(["-k", "2", "20"]).arg(project.command(args).get_program());
        let output = command.args(args).current_dir(project.at("")).output().unwrap();
        let run = Run::from(output);
        assert!([Some(1), Some(2)].contains(&run.code), "{args:?}: {:?}", run.code);
        let said = run.stdout + &run.stderr;
        assert!(said.contains("not a regular file"), "{args:?}: {said}");
    };
    fs::create_dir_all(project.at("plugins")).unwrap();
    let map = PIPELINE.replace("STEP", "map: { set: { other: { value: x } } }");
    pipe("plugins/own.so");
    project.write("pipeline.yaml", &map);
    refused(&["validate", "pipeline.yaml"]);
    refused(&["plugin", "lock", "pipeline.yaml"]);
    refused(&["plugin", "check", "plugins/own.so"]);
    refused(&["plugin", "check", "/dev/zero"]);
    let program = map.replace("libraries: [\"plugins/own.so\"]", "processes: { own: plugins/own.so }");
    project.write("pipeline.yaml", &program);
    refused(&["validate", "pipeline.yaml"]);
    refused(&["plugin", "lock", "pipeline.yaml"]);
    pipe("plugins.lock");
    refused(&["validate", "pipeline.yaml"]);
    pipe("pipe.yaml");
    refused(&["validate", "pipe.yaml"]);
    refused(&["plugin", "lock", "pipe.yaml"]);
    // Another file of the folder that only looks like a pipeline.
    fs::remove_file(project.at("plugins.lock")).unwrap();
    fs::remove_file(project.at("plugins/own.so")).unwrap();
    project.write("plugins/own.so", "#!/bin/sh\n");
    project.run(["plugin", "lock", "pipeline.yaml"]).expect_code(0);
}

#[test]
fn a_named_pipe_is_no_key_no_release_and_no_report() {
    let project = project("map: { set: { other: { value: x } } }", ROWS);
    let text = PIPELINE
        .replace("plugins:\n  libraries: [\"plugins/own.so\"]\n", "")
        .replace("STEP", "map: { set: { other: { value: x } } }");
    project.write("pipeline.yaml", &text);
    project.write(
        "tests/a.yaml",
        "given: { people: [] }\nexpect: { person: { count: 0 } }\n",
    );
    project.run(["run", "pipeline.yaml"]).expect_code(0);
    let pipe = |path: &str| {
        let _ = fs::remove_file(project.at(path));
        let made = Command::new("mkfifo").arg(project.at(path)).status().unwrap();
        assert!(made.success());
    };
    let said = |args: &[&str]| {
        let mut command = Command::new("timeout");
        command.args(["-k", "2", "20"]).arg(project.command(args).get_program());
        command.env("VAULT_KEY_FILE", project.at("secret"));
        let run = Run::from(command.args(args).current_dir(project.at("")).output().unwrap());
        assert!(
            [Some(1), Some(2)].contains(&run.code),
            "{args:?}: {:?} {}",
            run.code,
            run.stderr
        );
        run.stdout + &run.stderr
    };
    let refused = |args: &[&str]| {
        let said = said(args);
        assert!(said.contains("not a regular file"), "{args:?}: {said}");
    };
    pipe("report.xml");
    assert!(said(&["test", "pipeline.yaml", "--junit", "report.xml"]).contains("cannot write report.xml"));
    fs::create_dir_all(project.at("plugin")).unwrap();
    pipe("plugin/sample.yaml");
    let library = library("datetime");
    let checked = said(&["plugin", "check", library.to_str().unwrap(), "--folder", "plugin"]);
    // What a case panics with stands in the list alone.
    assert!(
        checked.contains("cases: the folder's own") && !checked.contains("panicked at"),
        "{checked}"
    );
    pipe("out/_releases/00000002.json");
    refused(&["releases", "pipeline.yaml"]);
    refused(&["verify", "pipeline.yaml"]);
    fs::remove_file(project.at("out/_releases/00000002.json")).unwrap();
    pipe("vault/key");
    refused(&["run", "pipeline.yaml"]);
    pipe("secret");
    project.write(
        "pipeline.yaml",
        text.replace("key: auto", "key: { $secret: vault_key }"),
    );
    refused(&["run", "pipeline.yaml"]);
}

#[test]
fn splits_that_are_not_all_of_an_input_end_the_refresh() {
    let Some(python) = python("pyarrow") else { return };
    let project = Project::new();
    project.write("pipeline.yaml", REMARKS);
    // Only inputs of more bytes than this are cut.
    let line = "7\tsome remark of a subject\n";
    let text = line.repeat((4 << 20) / line.len() + 100);
    project.write("inbox/a.txt", &text);
    own_source(&project, &python, "pass");
    let source = fs::read_to_string(project.at("plugins/own")).unwrap();
    let begin = "        \"\"\"Parts that end behind a line's end.\"\"\"\n";
    assert!(source.contains(begin));
    let (size, cut) = (text.len(), line.len() * 1000);
    for splits in [
        "[]".to_owned(),
        format!("[[0, {cut}]]"),
        format!("[[{cut}, {size}]]"),
        format!("[[0, {cut}], [{}, {size}]]", cut * 2),
        format!("[[0, {}], [{cut}, {size}]]", cut * 2),
        format!("[[{cut}, {size}], [0, {cut}]]"),
    ] {
        let deed = format!("{begin}        return {splits}\n");
        project.write("plugins/own", source.replace(begin, &deed));
        locked(&project);
        let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
        assert!(
            run.stderr.contains("source remarks, input "),
            "{splits}: {}",
            run.stderr
        );
        assert!(run.stderr.contains("PLUGIN_SPLITS"), "{splits}: {}", run.stderr);
        assert!(no_release(&project.at("out")), "{splits}");
        assert!(run.stderr.contains("--> pipeline.yaml:8:"), "{splits}: {}", run.stderr);
    }
    let whole = format!("{begin}        return [[0, {cut}], [{cut}, {size}]]\n");
    project.write("plugins/own", source.replace(begin, &whole));
    locked(&project);
    let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
    assert_eq!(run.json()["counts"]["read"], text.lines().count(), "{}", run.stdout);
}

#[test]
fn a_record_beyond_its_input_is_refused() {
    let Some(python) = python("pyarrow") else { return };
    let project = Project::new();
    project.write("pipeline.yaml", REMARKS);
    project.write("inbox/a.txt", "7\tone\n8\ttwo\n");
    own_source(&project, &python, "pass");
    let source = fs::read_to_string(project.at("plugins/own")).unwrap();
    let place = "at = (offset, len(line), row, 0, None)";
    assert!(source.contains(place));
    for wrong in ["(offset, 1000, row, 0, None)", "((1 << 64) - 1, 2, row, 0, None)"] {
        project.write("plugins/own", source.replace(place, &format!("at = {wrong}")));
        locked(&project);
        fails(&project, "ABI_LOCATOR");
    }
}

#[test]
fn a_source_that_panics_publishes_nothing() {
    let Some(python) = python("pyarrow") else { return };
    let project = Project::new();
    project.write("pipeline.yaml", REMARKS);
    project.write("inbox/a.txt", "7\tone\n8\ttwo\n");
    // As a library made with the SDK says it, and what it says of every call after.
    for (status, code) in [("panic", "PANIC"), ("invalid_state", "POISONED")] {
        own_source(
            &project,
            &python,
            &format!("raise Failure(\"{status}\", \"{code}\", \"x\")"),
        );
        fails(&project, code);
    }
    own_source(&project, &python, "pass");
    let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
    assert_eq!(run.json()["counts"]["written"], 2, "no input is lost: {}", run.stdout);
}

#[test]
fn a_merge_without_an_identifier_merges_nobody() {
    let Some(python) = python("pyarrow") else { return };
    let project = Project::new();
    project.write("pipeline.yaml", REMARKS);
    project.write("inbox/a.txt", "7\tone\n8\ttwo\n");
    let ids = [("", "7"), ("", "8"), ("7", "")];
    let links = ids.map(|(survivor, retired)| {
        format!(
            "send({{\"reply\": \"link\", \"survivor\": {{\"issuer\": \"MRN\", \"id\": \"{survivor}\"}}, \"retired\": \
             {{\"issuer\": \"MRN\", \"id\": \"{retired}\"}}, \"version\": None, \"offset\": 0, \"length\": 1, \"row\": 1, \
             \"part\": 0}})"
        )
    });
    own_source(&project, &python, &links.join("; "));
    let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
    let report = run.json();
    assert_eq!(
        report["sources"]["remarks"]["rejected_by"]["NO_SUBJECT"], 3,
        "{}",
        run.stdout
    );
    let rows = project
        .run(["preview", "pipeline.yaml", "remarks", "--format", "json"])
        .expect_code(0);
    let text = rows.stdout;
    assert!(text.contains("one") && text.contains("two"), "{text}");
}
