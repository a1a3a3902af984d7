//! Binds the source and reads bytes with it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses a part; a failed test is a panic"
)]

use arrow::array::AsArray;
use clinmill_plugin_hl7v2::Hl7v2;
use clinmill_sdk::{BindContext, Input, MemoryInput, Source, TaskContext, testing::CollectedRecords};
use serde_json::{Value, json};
use std::sync::atomic::AtomicBool;

/// A source for `records`, about `PID-3.1` and `PID-3.4`.
pub fn source(records: Value) -> Hl7v2 {
    with(json!({ "subject": { "id": "PID-3.1", "issuer": "PID-3.4" }, "records": records }))
}

/// A source with these options.
pub fn with(options: Value) -> Hl7v2 {
    Hl7v2::bind(serde_json::from_value(options).unwrap(), &BindContext::default()).unwrap()
}

/// Reads all splits of an input.
pub fn read(source: &Hl7v2, input: &dyn Input) -> CollectedRecords {
    let mut collected = CollectedRecords::default();
    let cancelled = AtomicBool::new(false);
    for split in source.splits(input).unwrap() {
        let task = TaskContext {
            cancelled: &cancelled,
            batch_rows: 1000,
        };
        source.read(input, &split, &task, &mut collected).unwrap();
    }
    collected
}

/// Reads bytes.
pub fn read_bytes(source: &Hl7v2, bytes: impl Into<Vec<u8>>) -> CollectedRecords {
    read(source, &MemoryInput::new("test.hl7", bytes))
}

/// The values of a column of a kind.
pub fn column(collected: &CollectedRecords, kind: usize, column: usize) -> Vec<Option<String>> {
    let batches = collected.batches.iter().filter(|batch| batch.kind == kind);
    batches
        .flat_map(|batch| {
            batch
                .rows
                .column(column)
                .as_string::<i32>()
                .iter()
                .map(|v| v.map(str::to_owned))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The ranges of a kind's records in the input.
pub fn ranges(collected: &CollectedRecords, kind: usize) -> Vec<(usize, usize)> {
    let batches = collected.batches.iter().filter(|batch| batch.kind == kind);
    batches
        .flat_map(|batch| {
            (0..batch.meta.offset.len())
                .map(|i| (batch.meta.offset.value(i) as usize, batch.meta.length.value(i) as usize))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The codes of the rejections.
pub fn codes(collected: &CollectedRecords) -> Vec<&str> {
    collected.rejections.iter().map(|r| r.code.as_str()).collect()
}
