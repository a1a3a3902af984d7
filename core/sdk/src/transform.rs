//! Transforms: from rows to rows.

use crate::{BindContext, Caps, Config, Findings, PluginError, TaskContext};
use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};

/// A transform plugin: one value per configured step, immutable after bind.
pub trait Transform: Send + Sync + Sized + 'static {
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

    /// Makes the step from its options and the schema of its input. Pure. Columns whose names begin with `_` belong
    /// to the engine and are never in the schema.
    ///
    /// # Errors
    /// When the options do not fit the input; the pointer names the option.
    fn bind(config: Self::Config, input: &Schema, context: &BindContext) -> Result<Self, PluginError>;

    /// The schema of the rows it yields.
    fn output(&self) -> SchemaRef;

    /// A run over one partition.
    ///
    /// # Errors
    /// When the run cannot begin.
    fn open<'a>(&'a self, task: &TaskContext<'a>) -> Result<Box<dyn TransformRun + 'a>, PluginError>;

    /// What the step does to these rows of its input by mapping tables, row by row: asked by `trace` for a few rows, not
    /// while a refresh runs. Pure. `None`: the step does not tell.
    ///
    /// # Errors
    /// As [`TransformRun::process`].
    fn explain(&self, rows: &RecordBatch) -> Result<Option<Vec<Applied>>, PluginError> {
        let _ = rows;
        Ok(None)
    }
}

/// What a step did to one row by a mapping table or a conversion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The row's index in the batch that was asked about.
    pub row: u32,
    /// The column it began with.
    pub column: String,
    /// What that column says.
    pub from: String,
    /// What it became: a target code or a unit; empty where it became nothing.
    pub to: String,
    /// How that went, as the step's own status column says it: `mapped`, `converted`.
    pub status: String,
    /// The rows of mapping tables that decided: the reference and the 1-based line of its `map.csv`.
    pub lines: Vec<(String, u32)>,
    /// What a number was multiplied by, where it was converted.
    pub factor: Option<String>,
    /// What the factor was reckoned by beside those rows: a standard and its version.
    pub by: Option<String>,
}

/// One run of a transform, used by one thread.
pub trait TransformRun: Send {
    /// Takes one batch. What comes from its rows is emitted in this call; a subject may span batches.
    ///
    /// # Errors
    /// When the transform cannot go on; single bad rows go to [`Emit::reject`] instead.
    fn process(&mut self, batch: &RecordBatch, out: &mut dyn Emit) -> Result<(), PluginError>;

    /// After the last batch. It may count; rows have no batch any more that they could come from, and are an error.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    fn finish(&mut self, out: &mut dyn Emit) -> Result<(), PluginError> {
        let _ = out;
        Ok(())
    }
}

/// Which input rows the rows of an output batch come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Row i comes from row i of the batch in process.
    Same,
    /// Row i comes from this row of the batch in process.
    Rows(Vec<u32>),
}

/// A row that a transform could not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRow {
    /// Its index in the batch in process.
    pub row: u32,
    /// A stable code, upper case with the plugin's prefix: `MAP_CAST`.
    pub code: String,
    /// What is wrong, without any value of the row.
    pub message: String,
}

/// Where a transform puts its results.
pub trait Emit {
    /// Rows of the output schema.
    ///
    /// # Errors
    /// When the host cannot take more; stop and return it.
    fn rows(&mut self, batch: RecordBatch, origin: Origin) -> Result<(), PluginError>;
    /// A row that could not be used. It must not be in the output too.
    ///
    /// # Errors
    /// When the host cannot take more; stop and return it.
    fn reject(&mut self, row: RejectedRow) -> Result<(), PluginError>;
    /// Adds to a named count, such as `unmapped`. The name holds no value of a row.
    fn count(&mut self, name: &str, n: u64);
}
