//! What operators meet: arguments that name what there is not, plans, warnings.

use clinmill_tests::Project;

fn project() -> Project {
    let project = Project::new();
    project.run(["init", "p"]).expect_code(0);
    project.run(["run", "p/pipeline.yaml"]).expect_code(0);
    project
}

#[test]
fn a_pipeline_that_is_not_there_has_no_plugins() {
    let project = project();
    for args in [
        vec!["plugin", "list", "--pipeline", "nosuch.yaml"],
        vec!["plugin", "info", "table", "--pipeline", "nosuch.yaml"],
        vec!["schema", "nosuch.yaml"],
    ] {
        let run = project.run(args).expect_code(2);
        assert!(run.stderr.contains("nosuch.yaml"), "{}", run.stderr);
    }
    let project = project.env("CLINMILL_PLUGIN_SECONDS", "1.5");
    let run = project.run(["validate", "p/pipeline.yaml"]).expect_code(2);
    assert!(
        run.stderr.contains("CLINMILL_PLUGIN_SECONDS is to be"),
        "{}",
        run.stderr
    );
}

#[test]
fn every_failure_is_told_in_json_too() {
    let project = project();
    for (args, code) in [
        (vec!["run"], "USAGE"),
        (vec!["rum", "p/pipeline.yaml"], "USAGE"),
        (vec!["init", "p"], "FAILED"),
    ] {
        let told = project.run(args.iter().copied().chain(["--format", "json"])).json();
        assert_eq!(told["error"]["code"], code, "{args:?}: {told}");
        assert!(
            told["error"]["message"].as_str().is_some_and(|m| !m.is_empty()),
            "{told}"
        );
        assert!(
            told["error"]["diagnostics"].as_array().is_some_and(Vec::is_empty),
            "{told}"
        );
    }
}

#[test]
fn a_name_that_nothing_has_is_a_usage_error() {
    let project = project();
    let file = "p/pipeline.yaml";
    project.write("labs.csv", "name,unit\nK,mmol/L\n");
    project.write("map/map.csv", "source_name,target_code\nK,2823-3\n");
    project.write(
        "map/mapping.yaml",
        "title: t\nfrom: a\nto: b\nversion: 1.0.0\norigin: o\nlicence: MIT\n",
    );
    let wrong: &[(&[&str], &str)] = &[
        (
            &["preview", file, "labs"],
            "there is no source or transform \"labs\"; did you mean `lab`?",
        ),
        (&["preview", file, "persons"], "known: `lab`, `results`"),
        (
            &["preview", file, "lab", "--where", "unot = 'g'"],
            "the expression cannot be used",
        ),
        (&["trace", file, "measurement", "a"], "is not a row id"),
        (
            &["trace", file, "measurment", "00000000000000000000000000"],
            "did you mean `measurement`?",
        ),
        (
            &["quarantine", "list", file, "--source", "labb"],
            "there is no source \"labb\"; did you mean `lab`?",
        ),
        (
            &["quarantine", "list", file, "--stage", "ingets"],
            "did you mean `ingest`?",
        ),
        (&["diff", file, "1", "9"], "has no release 9; the only one is 1"),
        (&["diff", file, "1", "1"], "release 1 is not before 1"),
        (&["apply", file, "--to", "copy", "--release", "7"], "has no release 7"),
        (
            &["export", file, "--model", "meds", "new", "--release", "7"],
            "has no release 7",
        ),
        (&["verify", "p/nowhere"], "there is no dataset at p/nowhere"),
        (
            &["releases", "p"],
            "there is no dataset at p: name the folder that holds `_releases`",
        ),
        (&["gates", "p/nowhere.yaml"], "p/nowhere.yaml"),
        (&["plugin", "info", "tabel"], "tabel"),
        (&["map", "coverage", file], "no terminology step"),
        (
            &["map", "coverage", "labs.csv", "--map", "map", "--column", "nam"],
            "did you mean `name`?",
        ),
        (
            &["map", "coverage", "labs.csv", "--map", "mapp", "--column", "name"],
            "mapp/map.csv",
        ),
        (
            &["map", "import", "gone.csv", "--from", "usagi", "--to", "new"],
            "gone.csv",
        ),
        (&["map", "accept", "gone.csv", "--into", "map"], "gone.csv"),
    ];
    for (arguments, part) in wrong {
        let run = project.run(*arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(part), "{arguments:?}: {}", run.stderr);
    }
    assert!(
        !project.at("copy").exists() && !project.at("new").exists(),
        "nothing was made"
    );
}

/// Not the argument is wrong there, but the state: another one needs no other argument.
#[test]
fn what_is_not_there_yet_is_a_failure() {
    let project = Project::new();
    project.run(["init", "p"]).expect_code(0);
    let row = "00000000000000000000000000";
    for arguments in [
        &["export", "p/pipeline.yaml", "--model", "meds", "new"] as &[&str],
        &["trace", "p/pipeline.yaml", "measurement", row],
        &["gates", "p/pipeline.yaml"],
        &["quarantine", "list", "p/pipeline.yaml"],
        &["diff", "p/pipeline.yaml", "0", "1"],
    ] {
        let run = project.run(arguments);
        assert_eq!(run.code, Some(1), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains("run the pipeline first"), "{}", run.stderr);
    }
    project.run(["run", "p/pipeline.yaml"]).expect_code(0);
    let gone = project
        .run(["trace", "p/pipeline.yaml", "measurement", row])
        .expect_code(1);
    assert!(gone.stderr.contains("has no row"), "{}", gone.stderr);
    let none = project.run(["quarantine", "list", "p/pipeline.yaml", "--stage", "ingest"]);
    assert!(none.expect_code(0).stdout.contains("nothing in quarantine"));
}

/// A version that is compared as text and is a number of any length puts 9 behind 10.
#[test]
fn versions_that_do_not_compare_are_told_with_their_line() {
    let pipeline = |version: &str| {
        format!(
            "version: 1\nname: labs\nvault: {{ url: \"file:vault\", key: auto }}\ndataset: {{ url: \"file:out\" }}\n\
             sources:\n  lis:\n    plugin: table\n    inputs: {{ glob: \"inbox/*.csv\" }}\n    subject: {{ id: mrn, issuer: \
             MRN }}\n    key: [order]\n    version: {version}\n    columns: {{ order: order, val: val }}\ntables:\n  lab: {{ \
             from: lis }}\n"
        )
    };
    let warned = |version: &str, cells: [&str; 2]| {
        let project = Project::new();
        project.write("pipeline.yaml", pipeline(version));
        for (n, cell) in cells.iter().enumerate() {
            project.write(format!("inbox/{n}.csv"), format!("order,mrn,val,seq\n1,a,{n},{cell}\n"));
        }
        let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
        let warnings = run.json()["warnings"].as_array().unwrap().clone();
        let mut warnings = warnings.into_iter().filter(|w| w["code"] == "UNCOMPARABLE_VERSIONS");
        let first = warnings.next().map(|w| w["message"].as_str().unwrap().to_owned());
        assert!(warnings.next().is_none(), "once");
        first
    };
    let number = warned("seq", ["9", "10"]).unwrap();
    assert!(
        number.contains("source lis") && number.contains("leading zeros") && number.ends_with("pipeline.yaml:11:14"),
        "{number}"
    );
    let date = warned("seq", ["20/04/2026", "03/05/2026"]).unwrap();
    assert!(
        date.contains("d/m/yyyy") && !date.contains("2026"),
        "no value is told: {date}"
    );
    assert_eq!(warned("seq", ["09", "10"]), None);
    // Week by week, as corrections come.
    let project = Project::new();
    project.write("pipeline.yaml", pipeline("seq"));
    for (week, seq) in ["9", "10", "11"].into_iter().enumerate() {
        project.write(
            format!("inbox/{week}.csv"),
            format!("order,mrn,val,seq\n1,a,{week},{seq}\n"),
        );
        let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
        assert_eq!(run.stdout.contains("UNCOMPARABLE_VERSIONS"), week > 0, "{}", run.stdout);
    }
    assert_eq!(
        warned("{ column: seq, format: d/m/yyyy }", ["20/4/2026", "3/5/2026"]),
        None
    );
}

#[test]
fn a_plan_says_that_complete_exports_delete() {
    let project = Project::new();
    project.write(
        "pipeline.yaml",
        "version: 1\nname: labs\nvault: { url: \"file:vault\", key: auto }\ndataset: { url: \"file:out\" }\nsources:\n  \
         lis:\n    plugin: table\n    inputs: { glob: \"inbox/*.csv\" }\n    mode: { complete: { as_of: \"{date}.csv\", \
         max_deletes: 25% } }\n    subject: { id: mrn, issuer: MRN }\n    key: [order]\n    columns: { order: order }\n\
         tables:\n  lab: { from: lis }\n",
    );
    let told = || project.run(["plan", "pipeline.yaml"]).expect_code(0).stdout;
    project.write("inbox/2026-04-20.csv", "order,mrn\n1,a\n2,b\n");
    assert!(!told().contains("complete exports"), "there is nothing to delete yet");
    project.run(["run", "pipeline.yaml"]).expect_code(0);
    assert!(!told().contains("complete exports"), "there is nothing to read");
    project.write("inbox/2026-04-27.csv", "order,mrn\n1,a\n");
    assert!(
        told().contains("refuses more than 25.0 % of a scope without --approve-deletes"),
        "{}",
        told()
    );
    let plan = project
        .run(["plan", "pipeline.yaml", "--format", "json"])
        .expect_code(0)
        .json();
    assert_eq!(plan["sources"]["lis"]["max_deletes"], 0.25);
    project.run(["run", "pipeline.yaml"]).expect_code(3);
}

/// A source that sent nothing for longer than it promised: what came is published, and the exit code tells it each time.
#[test]
fn what_is_expected_and_did_not_come_ends_with_3() {
    let project = Project::new();
    project.write(
        "pipeline.yaml",
        "version: 1\nname: labs\nvault: { url: \"file:vault\", key: auto }\ndataset: { url: \"file:out\" }\nsources:\n  \
         lis:\n    plugin: table\n    inputs: { glob: \"inbox/*.csv\", as_of: \"{date}.csv\" }\n    expect: { every: 7d }\n    \
         subject: { id: mrn, issuer: MRN }\n    key: [order]\n    columns: { order: order }\ntables:\n  lab: { from: lis }\n",
    );
    project.write("inbox/2024-04-20.csv", "order,mrn\n1,a\n");
    for outcome in ["released", "no-op"] {
        let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(3);
        assert_eq!(run.json()["outcome"], outcome);
        assert!(
            run.stderr.contains("source lis: the latest input speaks of a time"),
            "{}",
            run.stderr
        );
    }
    project.run(["verify", "file:out"]).expect_code(0);
}
