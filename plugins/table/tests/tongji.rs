//! The real export of Tongji Hospital that the pipeline `tongji-covid` reads.

mod common;

use clinmill_sdk::MemoryInput;
use common::{cells, read, table};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn every_patient_and_every_filled_cell() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../pipelines/tongji-covid/inbox/time_series_375_prerpocess.xlsx"
    );
    let source = table(json!({
        "fill_down": ["PATIENT_ID"],
        "subject": { "id": "PATIENT_ID", "issuer": "TONGJI" },
        "records": {
            "person": { "key": [], "columns": {
                "年龄": { "name": "age", "type": "integer" }, "性别": "sex",
                "入院时间": { "name": "admitted_at", "type": "timestamp" },
                "出院时间": { "name": "discharged_at", "type": "timestamp" }, "出院方式": "outcome" } },
            "lab": { "key": ["sampled_at", "test_name"],
                "columns": { "RE_DATE": { "name": "sampled_at", "type": "timestamp" } },
                "unpivot": { "columns": "*", "name": "test_name", "value": "value" } }
        }
    }));
    let input = MemoryInput::new("x.xlsx", std::fs::read(path).expect("the committed export"));
    let collected = read(&source, &input).unwrap();
    assert_eq!(collected.rejections, []);

    let persons = cells(&collected, 0);
    assert_eq!(persons.rows.len(), 6_120, "one per row; they fold to one per subject");
    assert_eq!(persons.subjects.iter().collect::<BTreeSet<_>>().len(), 375);
    let mut of_subject: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (subject, row) in persons.subjects.iter().zip(&persons.rows) {
        of_subject.entry(subject).or_default().insert(row);
    }
    assert!(
        of_subject.values().all(|rows| rows.len() == 1),
        "all rows of a patient say the same"
    );

    let labs = cells(&collected, 1);
    assert_eq!(labs.rows.len(), 55_731);
    let keys: BTreeSet<_> = labs
        .subjects
        .iter()
        .zip(&labs.rows)
        .map(|(s, row)| (s, &row[0], &row[1]))
        .collect();
    assert_eq!(keys.len(), 55_731, "the key is a key");
    let first: Vec<_> = labs.rows[0].iter().flatten().map(String::as_str).collect();
    assert_eq!(first, ["2020-01-31T01:09:00", "酸碱度", "7.415"]);
    assert_eq!(
        collected
            .batches
            .iter()
            .find(|b| b.kind == 1)
            .map(|b| b.meta.cell.value(0)),
        Some(40)
    );
    assert_eq!(labs.at[0].2, 2);
}
