//! The two disease datasets, held against readers that are not ours.

use super::{dashboard, python, script};
use clinmill_tests::{
    root, shared_data,
    site::{Site, tree},
};
use std::fs;

const UNITS: &str = r#"
import duckdb, json, sys
found = duckdb.sql(
    f"select distinct unit from '{sys.argv[1]}/data/**/*.parquet' where code = 'MEASUREMENT//总胆红素'"
    " and numeric_value is not null order by unit"
).fetchall()
print(json.dumps({"bilirubin": ",".join(str(row[0]) for row in found)}))
"#;

const CONCEPTS: &str = r#"
import duckdb, json, sys, tempfile, zipfile
dataset, manifest, vocabulary = sys.argv[1:]
entry = json.load(open(manifest))["tables"]["measurement"]
files = [f"{dataset}/{f['path']}" for f in entry["base"]]
base = duckdb.connect()
with tempfile.TemporaryDirectory() as folder:
    path = zipfile.ZipFile(vocabulary).extract("Synthea27NjParquet/concept.parquet", folder)
    base.execute(f"create table concept as select * from '{path}'")
base.execute(f"create view measurement as select * from read_parquet({files})")
number = "try_cast(regexp_replace(value_source_value, '^[<>]=?', '') as double)"
print(json.dumps({
    "converted": base.sql(f"select count(*) from measurement where abs(value_as_number - {number}) > 0.01 * {number}").fetchall()[0][0],
    "without": base.sql(
        f"select count(*) from measurement where abs(value_as_number - {number}) > 0.01 * {number}"
        " and coalesce(unit_concept_id, 0) = 0"
    ).fetchall()[0][0],
    "other": base.sql(
        "select distinct value_as_number_unit, concept_code from measurement left join concept on unit_concept_id = concept_id"
        " where value_as_number_unit <> replace(replace(coalesce(concept_code, ''), '[U]', 'U'), 'mg{FEU}/L', 'mg/L{FEU}') or concept_code is not null"
        " and (value_as_number_unit is null or domain_id <> 'Unit' or standard_concept <> 'S')"
    ).fetchall(),
}))
"#;

#[test]
fn they_load_under_the_models_own_constraints_and_become_meds() {
    let Some(fields) = shared_data("omop-dqd-checks") else {
        return;
    };
    let Some(python) = python() else { return };
    let fields = fields.join("OMOP_CDMv5.4_Field_Level.csv");
    for (name, file, measurements, subjects) in [
        ("liver-transplant", "pipeline.yaml", 464, 16),
        ("carotid-stenting", "omop.yaml", 706, 12),
    ] {
        let folder = root().join("pipelines").join(name);
        let site = Site::of_pipeline(name);
        let text = fs::read_to_string(folder.join(file)).unwrap();
        site.put(
            "pipeline.yaml",
            text.replace("key: auto", "key: { $secret: vault_key }"),
        );
        for (path, bytes) in tree(&folder.join("inbox")) {
            let path = path
                .strip_prefix(&folder)
                .unwrap_or(&path)
                .to_string_lossy()
                .into_owned();
            site.put(&path, bytes);
        }
        site.refresh();
        let manifest = site.dataset().join("_releases/00000001.json");
        let loaded = script(
            python,
            include_str!("duckdb_check.py"),
            &[&fields, &site.dataset(), &manifest],
        );
        assert_eq!(loaded["measurement"], measurements, "{name}: {loaded}");
        assert_eq!(dashboard(&site).unwrap_or_default(), [""; 0], "{name}");
        let vocabulary = fields.parent().and_then(|folder| folder.parent());
        let vocabulary = vocabulary.map(|data| data.join("omop-synthea27nj/Synthea27NjParquet_5.4.zip"));
        if let Some(vocabulary) = vocabulary.filter(|file| file.exists()) {
            // By the vocabulary itself: every number is in the unit of its concept, or as the source wrote it.
            let told = script(python, CONCEPTS, &[&site.dataset(), &manifest, &vocabulary]);
            // The laboratories of the liver pipeline write two units.
            assert_eq!(
                told["converted"].as_u64() > Some(0),
                name == "liver-transplant",
                "{told}"
            );
            assert_eq!(
                (&told["without"], &told["other"]),
                (&0.into(), &serde_json::json!([])),
                "{name}"
            );
        }
        let project = site.project();
        let pipeline = format!("pipelines/{name}/pipeline.yaml");
        project
            .run(["export", &pipeline, "--model", "meds", "meds", "--quiet"])
            .expect_code(0);
        let seen = script(python, include_str!("meds_check.py"), &[&project.at("meds")]);
        assert_eq!(seen["subjects"], subjects, "{name}: {seen}");
        // A number that was converted stands beside the unit that it was converted to.
        let units = script(python, UNITS, &[&project.at("meds")]);
        assert_eq!(
            units["bilirubin"],
            if name == "liver-transplant" { "mg/dL" } else { "" }
        );
    }
}
