//! Sinks: take a release's changes to another system, all of them or nothing.

use crate::{BindContext, Caps, Config, Findings, PluginError, TaskContext};
use arrow::{array::RecordBatch, datatypes::Schema};

/// A sink plugin: one value per configured sink, immutable after bind. Everything is idempotent by run: a call that is
/// repeated with the same run has the effect of one.
pub trait Sink: Send + Sync + Sized + 'static {
    /// The name pipelines use.
    const NAME: &'static str;
    /// The plugin's version.
    const VERSION: &'static str;
    /// One line for lists.
    const SUMMARY: &'static str;
    /// What it can do.
    const CAPS: Caps;
    /// Its options.
    type Config: Config;

    /// What JSON Schema cannot say about the options. Pure.
    fn check(config: &Self::Config, findings: &mut Findings) {
        let _ = (config, findings);
    }

    /// Makes the sink from its options and the schema of what it will be given. Pure.
    ///
    /// # Errors
    /// When the options cannot be used; the pointer names the option.
    fn bind(config: Self::Config, input: &Schema, context: &BindContext) -> Result<Self, PluginError>;

    /// Whether what the options name is there and lets itself be written to: I/O without effects. What it returns is
    /// shown to people; the default looks at nothing.
    ///
    /// # Errors
    /// When a run could not write.
    fn probe(&self, task: &TaskContext<'_>) -> Result<serde_json::Value, PluginError> {
        let _ = task;
        Ok(serde_json::Value::Null)
    }

    /// Begins to write one partition.
    ///
    /// # Errors
    /// When writing cannot begin.
    fn open(&self, run: &SinkRun<'_>) -> Result<Box<dyn SinkWriter + '_>, PluginError>;

    /// Makes everything visible that was prepared under these tokens, or nothing of it. On the coordinator, once.
    ///
    /// # Errors
    /// [`Status::CommitUnknown`](crate::Status::CommitUnknown) when nobody knows whether it landed; the host then asks
    /// [`resolve`](Self::resolve).
    fn commit(&self, run: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Result<serde_json::Value, PluginError>;

    /// The receipt of this run's commit, if it has landed.
    ///
    /// # Errors
    /// When nobody can be asked.
    fn resolve(&self, run: &SinkRun<'_>) -> Result<Option<serde_json::Value>, PluginError>;

    /// Drops what was prepared. Not after a commit that may have landed.
    ///
    /// # Errors
    /// When it cannot be dropped.
    fn abort(&self, run: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Result<(), PluginError>;
}

/// Which run it is.
pub struct SinkRun<'a> {
    /// The same for every attempt at one release.
    pub run_id: &'a str,
    /// What the task is told.
    pub task: &'a TaskContext<'a>,
}

/// Writes one partition, used by one thread. Dropped without [`prepare`](Self::prepare), it leaves nothing behind.
pub trait SinkWriter: Send {
    /// Takes one batch.
    ///
    /// # Errors
    /// When it cannot be written.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), PluginError>;

    /// Makes what was written durable, and not visible. Returns what [`Sink::commit`] needs to know of it.
    ///
    /// # Errors
    /// When it is not durable.
    fn prepare(&mut self) -> Result<Vec<u8>, PluginError>;
}
