//! What `clinmill schema` gives, before a validator of somebody else's: the right pipelines fit, and of the wrong ones those
//! whose mistakes a schema can see do not.

use clinmill_tests::{Project, Run};
use clinmill_tests_abi::{python, root};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, process::Command};

fn places(files: &[PathBuf]) -> Option<Value> {
    let python = python("jsonschema, ruamel.yaml")?;
    let project = Project::new();
    let schema = project.run(["schema"]).expect_code(0);
    let schema = project.write("schema.json", schema.stdout);
    let run: Run = Command::new(python)
        .args(["-c", include_str!("schema/check.py")])
        .arg(schema)
        .args(files)
        .output()
        .unwrap()
        .into();
    Some(run.expect_code(0).json())
}

#[test]
fn every_pipeline_fits_the_schema() {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("pipelines"))
        .unwrap()
        .flatten()
        .flat_map(|entry| fs::read_dir(entry.path()).unwrap().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    let made = Project::new();
    made.run(["init", "new"]).expect_code(0);
    files.push(made.at("new/pipeline.yaml"));
    let Some(found) = places(&files) else { return };
    assert!(files.len() > 6, "{files:?}");
    for (file, places) in found.as_object().unwrap() {
        assert_eq!(*places, json!([]), "{file}");
    }
}

#[test]
fn what_a_schema_can_see_of_wrong_pipelines_it_sees() {
    let expected = [
        // A tab is no indentation in YAML.
        ("01-tabs", Value::Null),
        ("02-words-misspelt", json!(["/", "/tables/labs"])),
        (
            "03-options-misspelt",
            json!(["/sources/hl7/records/result", "/sources/lis/plugin"]),
        ),
        ("04-windows-path", json!([])),
        ("05-names-that-are-not-there", json!([])),
        ("06-sql-syntax", json!([])),
        ("07-sql-columns", json!([])),
        ("08-key-missing", json!(["/tables/labs/columns/value"])),
        (
            "09-steps",
            json!(["/transforms/coded/steps/0", "/transforms/timed/steps/0"]),
        ),
        ("10-secrets-and-stores", json!(["/vault/key"])),
        (
            "11-keys-in-wrong-places",
            json!([
                "/",
                "/sources/lis",
                "/sources/lis/encoding",
                "/sources/lis/inputs",
                "/sources/notes/subject",
                "/tables/lab"
            ]),
        ),
        // No YAML.
        ("12-variable-without-quotes", Value::Null),
        (
            "13-lists-and-mappings",
            json!([
                "/gates",
                "/sources/adt",
                "/sources/lis",
                "/sources/lis/columns",
                "/sources/lis/delimiter",
                "/sources/lis/expect/rejected",
                "/sources/lis/fill_down",
                "/sources/lis/inputs",
                "/sources/lis/key",
                "/sources/lis/subject",
                "/tables/measurement",
                "/tables/times/columns",
                "/tables/times/key",
                "/transforms/both/from",
                "/transforms/number/steps",
                "/transforms/time/steps/0",
                "/transforms/time/steps/1",
                "/transforms/time/steps/2",
                "/vault"
            ]),
        ),
        ("14-a-query-as-a-step", json!(["/transforms/some/steps/0"])),
        ("15-a-colon-in-a-title", Value::Null),
        ("16-a-star-without-quotes", Value::Null),
        ("17-full-width-punctuation", Value::Null),
        ("18-a-tab-behind-a-colon", Value::Null),
        ("19-plugins-in-a-list", json!(["/plugins"])),
        (
            "20-programs-in-a-list",
            json!(["/plugins/libraries", "/plugins/processes"]),
        ),
        ("21-a-program-that-is-not-there", json!([])),
        ("22-a-lock-with-other-keys", json!([])),
        ("23-a-script-as-a-library", json!([])),
        ("24-queries-that-say-more", json!([])),
        ("25-follow-ups", json!([])),
        ("26-values-of-nothing", json!(["/tables/people/columns/sex"])),
        ("27-types-that-do-not-meet", json!([])),
        ("28-conditions-that-say-more", json!([])),
    ];
    let file = |name: &str| root().join("tests/wrong").join(name).join("pipeline.yaml");
    let files: Vec<PathBuf> = expected.iter().map(|(name, _)| file(name)).collect();
    assert_eq!(fs::read_dir(root().join("tests/wrong")).unwrap().count(), files.len());
    let Some(found) = places(&files) else { return };
    for (name, places) in expected {
        assert_eq!(found[file(name).to_str().unwrap()], places, "{name}");
    }
}
