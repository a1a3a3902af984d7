//! What the tests of this plugin share.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::expect_used, reason = "helpers of tests")]

use clinmill_plugin_table::{Config, Table};
use clinmill_sdk::{
    BindContext, Input, PluginError, Source, TaskContext,
    arrow::{
        array::{Array, AsArray},
        compute::cast,
        datatypes::DataType,
    },
    testing::CollectedRecords,
};
use std::sync::atomic::AtomicBool;

/// A source of these options.
pub fn table(options: serde_json::Value) -> Table {
    let config: Config = serde_json::from_value(options).expect("options");
    Table::bind(config, &BindContext::default()).expect("a source")
}

/// Reads all splits.
pub fn read(source: &Table, input: &dyn Input) -> Result<CollectedRecords, PluginError> {
    read_in_batches(source, input, 8192)
}

/// Reads all splits in batches of so many rows.
pub fn read_in_batches(source: &Table, input: &dyn Input, batch_rows: usize) -> Result<CollectedRecords, PluginError> {
    let mut collected = CollectedRecords::default();
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows,
    };
    for split in source.splits(input)? {
        source.read(input, &split, &task, &mut collected)?;
    }
    Ok(collected)
}

/// The records of one kind as text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cells {
    pub rows: Vec<Vec<Option<String>>>,
    pub subjects: Vec<Option<String>>,
    /// Offset, length, row.
    pub at: Vec<(u64, u64, u64)>,
}

/// The records of one kind as text.
pub fn cells(collected: &CollectedRecords, kind: usize) -> Cells {
    let mut cells = Cells::default();
    for batch in collected.batches.iter().filter(|b| b.kind == kind) {
        let columns: Vec<_> = batch
            .rows
            .columns()
            .iter()
            .map(|c| cast(c, &DataType::Utf8).expect("text"))
            .collect();
        for row in 0..batch.rows.num_rows() {
            let text = |array: &dyn Array| {
                array
                    .is_valid(row)
                    .then(|| array.as_string::<i32>().value(row).to_owned())
            };
            cells.rows.push(columns.iter().map(|c| text(c.as_ref())).collect());
            cells.subjects.push(text(&batch.meta.subject));
            let meta = &batch.meta;
            cells
                .at
                .push((meta.offset.value(row), meta.length.value(row), meta.row.value(row)));
        }
    }
    cells
}
