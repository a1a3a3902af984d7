//! L9, hostile input: what is wrong is named with code and place, costs bounded memory, stops nothing else, and no
//! value of a row is printed.

mod damage;
mod inputs;
mod pipeline;

use clinmill_tests::Project;
use serde_json::Value;
use std::fs;

/// A key that no vault outside the tests has; equal keys give equal row ids.
const KEY: &str = "9f1c27be5a40d8836e0db91f72c5ae4438d6017bfa92ec5d1067f3b84cd92ae5";

/// A pipeline over one source, with the sections that a test gives.
fn yaml(source: &str, transforms: &str, tables: &str) -> String {
    format!(
        "version: 1\nname: hostile\ntimezone: Asia/Shanghai\nvault: {{ url: \"file:vault\", key: {{ $secret: vault_key }} }}\n\
         dataset: {{ url: \"file:out\" }}\nsources:\n{source}{transforms}tables:\n{tables}"
    )
}

/// A CSV source `lis` as most tests use it.
const LIS: &str = r#"  lis:
    plugin: table
    inputs: { glob: "inbox/*" }
    encoding: utf-8
    subject: { id: mrn, issuer: MRN }
    key: [no]
    columns: { no: order_no, value: value }
"#;
const RESULT: &str = "  result: { from: lis }\n";

fn project(pipeline: &str) -> Project {
    let project = Project::new().env("VAULT_KEY", KEY);
    project.write("pipeline.yaml", pipeline);
    project
}

/// The manifest of a release.
fn manifest(project: &Project, release: u64) -> Value {
    serde_json::from_slice(&fs::read(project.at(format!("out/_releases/{release:08}.json"))).unwrap()).unwrap()
}
