//! The `clinmill` command over the sample hospital, as a hospital and a buyer call it.

use clinmill_tests::{Project, Run, copy_dir, root, site::tree};
use serde_json::Value;
use std::fs;

const FILE: &str = "pipelines/carotid-stenting/pipeline.yaml";
const DATASET: &str = "file:pipelines/carotid-stenting/out/carotid-stenting";

fn put_week(project: &Project, week: usize) {
    let folder = format!("pipelines/carotid-stenting/inbox/week{week}");
    copy_dir(&root().join(&folder), &project.at(&folder));
}

fn json(project: &Project, args: &[&str]) -> Value {
    project
        .run(args.iter().copied().chain(["--format", "json"]))
        .expect_code(0)
        .json()
}

#[test]
fn three_weeks_then_nothing_to_do() {
    let project = Project::of_pipeline("carotid-stenting");
    for week in 1..=3 {
        put_week(&project, week);
        let report = json(&project, &["run", FILE]);
        assert_eq!(
            (&report["outcome"], &report["release"]),
            (&"released".into(), &week.into())
        );
        let counts = &report["counts"];
        let count = |name: &str| counts[name].as_u64().unwrap();
        assert!(count("inputs") > 0);
        assert_eq!(
            count("read"),
            count("written") + count("duplicates") + count("rejected") + count("filtered")
        );
        for table in ["person", "visit", "measurement", "carotid_stenting", "note"] {
            let of = &report["tables"][table];
            assert!(
                of["rows"].is_u64() && of["upserts"].is_u64() && of["deletes"].is_u64(),
                "{table}"
            );
        }
        if week == 1 {
            // A buyer takes the first release, and catches up at the end.
            project.run(["apply", DATASET, "--to", "buyer"]).expect_code(0);
        }
    }
    let report = json(&project, &["run", FILE]);
    assert_eq!((&report["outcome"], &report["release"]), (&"no-op".into(), &3.into()));
    project.run(["verify", DATASET]).expect_code(0);
    project.run(["apply", DATASET, "--to", "buyer"]).expect_code(0);
    assert!(!tree(&project.at("buyer")).is_empty());
    project.run(["releases", DATASET]).expect_code(0);
    project.run(["diff", DATASET, "1", "3"]).expect_code(0);
}

#[test]
fn a_row_is_traced_to_its_bytes() {
    let project = Project::of_pipeline("carotid-stenting");
    put_week(&project, 1);
    project.run(["run", FILE]).expect_code(0);
    let dataset = project.at("pipelines/carotid-stenting/out/carotid-stenting");
    let manifest: Value = serde_json::from_slice(&fs::read(dataset.join("_releases/00000001.json")).unwrap()).unwrap();
    let rows = clinmill_tests::state::rows_of(&dataset, &manifest, "measurement");
    let (id, row) = rows.iter().next().unwrap();
    let trace = json(&project, &["trace", FILE, "measurement", id]);
    assert_eq!(trace["row"]["value"].as_str(), row["value"].as_deref());
    assert!(trace["origins"][0]["bytes"].as_str().is_some_and(|b| !b.is_empty()));
    let none: Run = project.run(["trace", FILE, "measurement", "aaaaaaaaaaaaaaaaaaaaaaaaaa"]);
    assert_eq!(none.code, Some(1), "{}", none.stderr);
}

#[test]
fn a_dataset_behind_its_vault_is_refused() {
    let project = Project::of_pipeline("carotid-stenting");
    let releases = project.at("pipelines/carotid-stenting/out/carotid-stenting/_releases");
    for week in 1..=2 {
        put_week(&project, week);
        project.run(["run", FILE]).expect_code(0);
    }
    // As a backup of the week before has it.
    fs::remove_file(releases.join("00000002.json")).unwrap();
    fs::remove_file(releases.join("latest.json")).unwrap();
    let before = tree(&releases);
    for command in ["run", "plan"] {
        let refused = project.run([command, FILE]).expect_code(1);
        assert!(
            refused.stderr.contains("has made release 2, but the newest")
                && refused.stderr.contains("restore the dataset"),
            "{}",
            refused.stderr
        );
    }
    assert!(tree(&releases) == before);
}

#[test]
fn an_empty_vault_is_refused_with_advice() {
    let project = Project::of_pipeline("carotid-stenting");
    put_week(&project, 1);
    project.run(["run", FILE]).expect_code(0);
    fs::remove_dir_all(project.at("pipelines/carotid-stenting/vault")).unwrap();
    let before = tree(&project.at("pipelines/carotid-stenting/out"));
    let refused = project.run(["run", FILE]).expect_code(1);
    assert!(
        refused.stderr.contains("there is no vault") && refused.stderr.contains("backup"),
        "{}",
        refused.stderr
    );
    let plan = project.run(["plan", FILE]).expect_code(1);
    assert!(plan.stderr.contains("there is no vault"), "{}", plan.stderr);
    assert!(tree(&project.at("pipelines/carotid-stenting/out")) == before);
    assert!(!project.at("pipelines/carotid-stenting/vault").exists());
}
