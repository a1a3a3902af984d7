//! The arguments of `clinmill`, and their help.

mod map;
mod plugin;
mod quarantine;
mod units;

pub use map::*;
pub use plugin::*;
pub use quarantine::*;
pub use units::*;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{io::Write as _, path::PathBuf};

/// Hospital exports to standardized, versioned datasets: one YAML pipeline, one release a refresh.
#[derive(Debug, Parser)]
#[command(
    name = "clinmill",
    version,
    about = "Hospital exports to standardized, versioned datasets: one YAML pipeline, one release a refresh",
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// Which command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// How results are printed on stdout; `graph` also knows `mermaid`, `dot` and `svg`
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: ResultFormat,
    /// No progress and no notes on stderr; warnings and errors stay
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// How messages are printed on stderr
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: Format,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// The arguments of this process. What is wrong with them is said, and the process ends.
pub fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|mut error| {
        // The drawings are hidden where nothing draws: to who draws they are told.
        let argument = error
            .get(ContextKind::InvalidArg)
            .map(ToString::to_string)
            .unwrap_or_default();
        if argument.starts_with("--format") && std::env::args().any(|word| word == "graph") {
            let all = ResultFormat::value_variants()
                .iter()
                .filter_map(ValueEnum::to_possible_value);
            let names = all.map(|value| value.get_name().to_owned()).collect();
            error.insert(ContextKind::ValidValue, ContextValue::Strings(names));
        }
        if error.use_stderr() && asks_for_json(std::env::args()) {
            let message = error.render().to_string();
            let told =
                serde_json::json!({ "error": { "code": "USAGE", "message": message.trim_end(), "diagnostics": [] } });
            // What cannot be written is told on stderr all the same.
            let _ = writeln!(std::io::stdout(), "{told:#}");
        }
        error.exit()
    })
}

/// Whether arguments that cannot be read ask for JSON.
fn asks_for_json(words: impl Iterator<Item = String>) -> bool {
    let words: Vec<String> = words.collect();
    let apart = words.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json");
    apart || words.iter().any(|word| word == "--format=json")
}

/// For people, for programs, or a drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ResultFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// A drawing in the language of Mermaid, which Markdown viewers show (`graph` only)
    #[value(hide = true)]
    Mermaid,
    /// A drawing in the language of Graphviz (`graph` only)
    #[value(hide = true)]
    Dot,
    /// A picture (`graph` only)
    #[value(hide = true)]
    Svg,
}

impl ResultFormat {
    /// True for what only `graph` can give.
    pub fn is_drawing(self) -> bool {
        matches!(self, Self::Mermaid | Self::Dot | Self::Svg)
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new pipeline project that runs
    Init(Init),
    /// Run the main job on the sample hospital: three weeks, three releases, a buyer's copy, one trace
    Demo(Demo),
    /// Check pipeline files; nothing is run
    Validate(Validate),
    /// Show what a refresh would read, change and write
    Plan(Plan),
    /// Run one refresh
    Run(Run),
    /// Run the unit tests beside a pipeline
    Test(Test),
    /// Draw the pipeline: `--format mermaid` (default), `dot` or `svg`
    Graph(PipelineFile),
    /// Show the first rows of a source or transform, read from the inbox; subjects are merged as its own sources tell
    Preview(Preview),
    /// Write a release in the form of a standard model
    Export(Export),
    /// Run the gates over the last release, or over what a refresh left that a gate stopped; nothing is made
    Gates(Gates),
    /// List the releases of a dataset
    Releases(Target),
    /// Show what changed between two releases
    Diff(Diff),
    /// Compare every published byte with the manifests
    Verify(Target),
    /// Catch up a local copy of a dataset by its changes
    Apply(Apply),
    /// Follow a row back to the bytes of its inputs (inside the hospital)
    Trace(Trace),
    /// Rejected records
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Check and convert units (UCUM), or run published tests of them
    Units(Units),
    /// Plugins: which there are, what they take, what a pipeline may load
    #[command(subcommand)]
    Plugin(Plugin),
    /// Mapping tables: coverage, suggestions, review, other tools' formats
    #[command(subcommand)]
    Map(MapCommand),
    /// Print the JSON Schema of the pipeline file, for editors
    Schema(Schema),
}

/// Whose plugins the schema describes.
#[derive(Debug, Args)]
pub struct Schema {
    /// A pipeline file, for the plugins that it brings
    pub file: Option<PathBuf>,
}

/// A command on one pipeline.
#[derive(Debug, Args)]
pub struct PipelineFile {
    /// The pipeline file
    pub file: PathBuf,
}

/// A command on one dataset.
#[derive(Debug, Args)]
pub struct Target {
    /// The dataset: `file:DIR`, a folder, or the pipeline file that makes it
    #[arg(value_name = "URL")]
    pub target: String,
}

/// `clinmill init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Where; nothing that is there is overwritten
    #[arg(default_value = ".")]
    pub dir: PathBuf,
}

/// `clinmill demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// A new or empty folder to work in; without it one under the system's temporary folder
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// `clinmill validate`.
#[derive(Debug, Args)]
pub struct Validate {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// `clinmill run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The pipeline file
    pub file: PathBuf,
    /// Recompute every table for all subjects, and write every base anew
    #[arg(long)]
    pub full: bool,
    /// Let complete exports and changed sources delete more than their guards allow
    #[arg(long)]
    pub approve_deletes: bool,
    /// Publish tables although a column of theirs is gone or has another type
    #[arg(long)]
    pub allow_breaking: bool,
    /// Where the work is done: `local`; `ballista://HOST:PORT` is to come
    #[arg(long, default_value = "local", value_name = "ENGINE")]
    pub engine: String,
}

/// `clinmill plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// The pipeline file
    pub file: PathBuf,
    /// Read the new inputs to count the subjects with news, however large they are
    #[arg(long)]
    pub count: bool,
}

/// `clinmill test`.
#[derive(Debug, Args)]
pub struct Test {
    /// The pipeline file
    pub file: PathBuf,
    /// Write what the steps give into the test files
    #[arg(long)]
    pub update: bool,
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Run the tests with this in their name
    #[arg(long, value_name = "NAME")]
    pub filter: Option<String>,
}

/// `clinmill preview`.
#[derive(Debug, Args)]
pub struct Preview {
    /// The pipeline file
    pub file: PathBuf,
    /// A source (`lis`), a record kind of a source (`adt.visit`) or a transform
    pub name: String,
    /// How many rows at most
    #[arg(long, short = 'n', default_value_t = 10, value_name = "N")]
    pub limit: usize,
    /// Only rows for which this SQL expression is true, such as "value is null and unit = 'U/L'"
    #[arg(long = "where", value_name = "EXPR")]
    pub filter: Option<String>,
}

/// `clinmill export`.
#[derive(Debug, Args)]
pub struct Export {
    /// The pipeline file
    pub file: PathBuf,
    /// The model
    #[arg(long, value_enum, value_name = "MODEL")]
    pub model: ExportModel,
    /// A new or empty folder
    pub dir: PathBuf,
    /// This release instead of the newest
    #[arg(long, value_name = "N")]
    pub release: Option<u64>,
}

/// The models that a release can be exported to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportModel {
    /// Medical Event Data Standard 0.4
    Meds,
}

/// `clinmill gates`.
#[derive(Debug, Args)]
pub struct Gates {
    /// The pipeline file
    pub file: PathBuf,
    /// How many failing rows of each gate are listed at most; all are counted
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    pub rows: usize,
}

/// `clinmill diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// The dataset: `file:DIR`, a folder, or the pipeline file that makes it
    #[arg(value_name = "URL")]
    pub target: String,
    /// The older release; 0 is before the first
    pub from: u64,
    /// The newer release
    pub to: u64,
    /// List changed rows by id, up to N of each table
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "20", require_equals = true)]
    pub rows: Option<usize>,
}

/// `clinmill apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// The dataset: `file:DIR`, a folder, or the pipeline file that makes it
    #[arg(value_name = "URL")]
    pub target: String,
    /// The copy's folder: a new one, or one that `apply` made
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Up to this release instead of the newest
    #[arg(long, value_name = "N")]
    pub release: Option<u64>,
}

/// `clinmill trace`.
#[derive(Debug, Args)]
pub struct Trace {
    /// The pipeline file
    pub file: PathBuf,
    /// The table
    pub table: String,
    /// The row's `_row_id`
    pub row_id: String,
}

#[cfg(test)]
mod tests;
