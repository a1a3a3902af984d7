//! A transform that does what its option says: most of it is what a plugin may not.

#![allow(clippy::panic, clippy::expect_used, reason = "it is hostile")]

use clinmill_sdk::{
    BindContext, Caps, Emit, Findings, Origin, PluginError, RejectedRow, Status, TaskContext, Transform, TransformRun,
    arrow::{
        array::{Int64Array, RecordBatch, UInt32Array},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Passes its input on.
    Nothing,
    /// Panics in *check*.
    PanicInCheck,
    /// Panics in *bind*.
    PanicInBind,
    /// Panics in *open*.
    PanicInOpen,
    /// Panics in *process*, with a value of a row in the text.
    Panic,
    /// Panics when its run is dropped.
    PanicInDrop,
    /// Panics in *process* with a payload whose drop panics.
    PanicTwice,
    /// Does not come back and does not look at the flag.
    Loop,
    /// Does not come back before it is cancelled.
    WaitForCancel,
    /// Yields a schema that it did not promise.
    WrongSchema,
    /// Yields more rows than a batch may have.
    TooLarge,
    /// Says that it needs more memory than there is.
    Memory,
    /// Rejects a row that is not there.
    RejectBeyond,
    /// Rejects a row twice.
    RejectTwice,
    /// Rejects more rows than there are.
    RejectMore,
    /// Rejects a row with a code that is none.
    RejectStrangely,
    /// Rejects a row with a text of 64 MiB.
    RejectLong,
    /// Says that a row comes from one that is not there.
    OriginBeyond,
    /// Fails with an error of its own.
    Fail,
}

/// Options of `hostile`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it does.
    pub deed: Deed,
}

/// The transform.
pub struct Hostile {
    deed: Deed,
    output: SchemaRef,
}

impl Transform for Hostile {
    const NAME: &'static str = "hostile";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Does what it may not";
    const CAPS: Caps = Caps::ROW_WISE.and(Caps::REJECTS);
    type Config = Config;

    fn check(config: &Config, _: &mut Findings) {
        assert!(config.deed != Deed::PanicInCheck, "in check");
    }

    fn bind(config: Config, input: &Schema, _: &BindContext) -> Result<Self, PluginError> {
        assert!(config.deed != Deed::PanicInBind, "in bind");
        Ok(Self {
            deed: config.deed,
            output: Arc::new(input.clone()),
        })
    }

    fn output(&self) -> SchemaRef {
        self.output.clone()
    }

    fn open<'a>(&'a self, task: &TaskContext<'a>) -> Result<Box<dyn TransformRun + 'a>, PluginError> {
        assert!(self.deed != Deed::PanicInOpen, "in open");
        Ok(Box::new(Run {
            hostile: self,
            cancelled: task.cancelled,
        }))
    }
}

struct Run<'a> {
    hostile: &'a Hostile,
    cancelled: &'a std::sync::atomic::AtomicBool,
}

fn rejected(row: u32, message: &str) -> RejectedRow {
    RejectedRow {
        row,
        code: "HOSTILE".into(),
        message: message.into(),
    }
}

struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("again");
    }
}

impl TransformRun for Run<'_> {
    fn process(&mut self, batch: &RecordBatch, out: &mut dyn Emit) -> Result<(), PluginError> {
        match self.hostile.deed {
            Deed::Panic => panic!("the name is {:?}", batch.column(0)),
            Deed::PanicTwice => std::panic::panic_any(Explosive),
            Deed::Loop => loop {
                std::thread::sleep(std::time::Duration::from_millis(5));
            },
            Deed::WaitForCancel => loop {
                if self.cancelled.load(std::sync::atomic::Ordering::Relaxed) {
                    return Err(PluginError::cancelled());
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            },
            Deed::WrongSchema => {
                let schema = Schema::new(vec![Field::new("other", DataType::Int64, true)]);
                let rows = Int64Array::from(vec![1; batch.num_rows()]);
                out.rows(
                    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(rows)])?,
                    Origin::Same,
                )
            }
            Deed::TooLarge => {
                let rows: Vec<u32> = vec![0; 3_000_000];
                let large = clinmill_sdk::arrow::compute::take_record_batch(batch, &UInt32Array::from(rows.clone()))?;
                out.rows(large, Origin::Rows(rows))
            }
            Deed::Memory => {
                clinmill_sdk::export::reserve(1 << 40)?;
                out.rows(batch.clone(), Origin::Same)
            }
            Deed::RejectBeyond => out.reject(rejected(1_000_000, "beyond")),
            Deed::RejectTwice => [0, 0].into_iter().try_for_each(|row| out.reject(rejected(row, ""))),
            Deed::RejectMore => (0..1_000).try_for_each(|row| out.reject(rejected(row % 3, ""))),
            Deed::RejectStrangely => out.reject(RejectedRow {
                code: "\u{1b}[2J".into(),
                ..rejected(0, "")
            }),
            Deed::RejectLong => out.reject(rejected(0, &"x".repeat(64 << 20))),
            Deed::OriginBeyond => out.rows(batch.clone(), Origin::Rows(vec![1_000_000; batch.num_rows()])),
            Deed::Fail => {
                Err(PluginError::config("/deed", "HOSTILE_FAIL", "it fails as it should")
                    .with_status(Status::InvalidData))
            }
            _ => out.rows(batch.clone(), Origin::Same),
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        assert!(self.hostile.deed != Deed::PanicInDrop, "in drop");
    }
}

clinmill_sdk::export_plugin! {
    name: "hostile",
    version: env!("CARGO_PKG_VERSION"),
    transforms: [Hostile],
}
