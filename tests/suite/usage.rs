//! Arguments that name what there is not: exit code 2, with what was probably meant or what there is.

use clinmill_tests::Project;

fn project() -> Project {
    let project = Project::new();
    project.run(["init", "p"]).expect_code(0);
    project.run(["run", "p/pipeline.yaml"]).expect_code(0);
    project
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
        (&["trace", file, "measurment", "a"], "is not a row id"),
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
