//! The arguments of `clinmill`, and their help.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

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
    /// Show the first rows of a source or transform, read from the inbox
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

/// Commands about plugins.
#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// List the built-in plugins, and those of a pipeline
    List(PluginList),
    /// Show the options of a plugin
    Info(PluginInfo),
    /// Make a new plugin whose tests pass at once
    New(PluginNew),
    /// Load a library and check that it keeps to the rules
    Check(PluginCheck),
    /// Write plugins.lock for the plugins that a pipeline names
    Lock(PipelineFile),
}

/// Which plugins are listed.
#[derive(Debug, Args)]
pub struct PluginList {
    /// A pipeline file, for the plugins that it brings
    #[arg(long, value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
}

/// Which plugin is shown.
#[derive(Debug, Args)]
pub struct PluginInfo {
    /// The plugin's name
    pub name: String,
    /// A pipeline file, for the plugins that it brings
    #[arg(long, value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
}

/// What kind of plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PluginKind {
    /// Turns inputs into records
    Source,
    /// Turns rows into rows
    Transform,
    /// Takes a release elsewhere
    Sink,
}

/// Which plugin is made.
#[derive(Debug, Args)]
pub struct PluginNew {
    /// The plugin's name: lower-case letters, digits and _
    pub name: String,
    /// What kind it is
    #[arg(long, value_enum)]
    pub kind: PluginKind,
    /// The folder to make; by default, the name
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The SDK's folder, or a checkout of clinmill; by default, the repository
    #[arg(long, value_name = "PATH")]
    pub sdk: Option<PathBuf>,
}

/// Which library is checked.
#[derive(Debug, Args)]
pub struct PluginCheck {
    /// The library; its code is run
    pub file: PathBuf,
    /// The plugin's folder, for its cases
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
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
    /// Recompute every table for all subjects
    #[arg(long)]
    pub full: bool,
    /// Let complete exports delete more than their guard allows
    #[arg(long)]
    pub approve_deletes: bool,
    /// Publish tables although a column of theirs is gone or has another type
    #[arg(long)]
    pub allow_breaking: bool,
    /// Where the work is done: `local`, or `ballista://HOST:PORT`
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

/// `clinmill quarantine`.
#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// List rejected records, and how many there are by code
    List(QuarantineList),
    /// Show one rejected record with its bytes (inside the hospital)
    Show(QuarantineShow),
    /// Run a refresh that reads the inputs with rejected records again
    Replay(PipelineFile),
}

/// `clinmill quarantine list`.
#[derive(Debug, Args)]
pub struct QuarantineList {
    /// The pipeline file
    pub file: PathBuf,
    /// Of this source
    #[arg(long)]
    pub source: Option<String>,
    /// Of this stage: `ingest`, or `TRANSFORM/PLUGIN`
    #[arg(long)]
    pub stage: Option<String>,
    /// With this code
    #[arg(long)]
    pub code: Option<String>,
    /// How many are listed at most; all are counted
    #[arg(long, short = 'n', default_value_t = 50, value_name = "N")]
    pub limit: usize,
}

/// `clinmill quarantine show`.
#[derive(Debug, Args)]
pub struct QuarantineShow {
    /// The pipeline file
    pub file: PathBuf,
    /// The record's id, or how it begins
    pub id: String,
}

/// `clinmill units`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Units {
    /// Run the tests of this file, of the format of UcumFunctionalTests.xml
    #[arg(long, value_name = "FILE.xml")]
    pub tests: Option<PathBuf>,
    /// Which command.
    #[command(subcommand)]
    pub command: Option<UnitsCommand>,
}

/// The commands of `clinmill units`.
#[derive(Debug, Subcommand)]
pub enum UnitsCommand {
    /// Check codes, and say what they are
    Validate(Codes),
    /// Convert a value from one unit to another
    Convert(Convert),
}

/// `clinmill units validate`.
#[derive(Debug, Args)]
pub struct Codes {
    /// UCUM codes, case-sensitive
    #[arg(required = true, value_name = "CODE")]
    pub codes: Vec<String>,
}

/// `clinmill units convert`.
#[derive(Debug, Args)]
pub struct Convert {
    /// A decimal number
    #[arg(allow_negative_numbers = true)]
    pub value: String,
    /// The UCUM code of its unit
    pub from: String,
    /// The UCUM code of the unit to convert it to
    pub to: String,
}

/// The commands of `clinmill map`.
#[derive(Debug, Subcommand)]
pub enum MapCommand {
    /// Read another tool's file into a new mapping table
    Import(MapImport),
    /// Write a mapping table as another tool's file
    Export(MapExport),
    /// Show how many rows and distinct values are mapped, worst first
    Coverage(MapCoverage),
    /// Propose targets for values that are not mapped, as a table to review
    Suggest(MapSuggest),
    /// Merge reviewed suggestions into a mapping table
    Accept(MapAccept),
}

/// Formats of other tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MapFormat {
    /// Save file of Usagi
    Usagi,
    /// OMOP `source_to_concept_map`
    SourceToConceptMap,
    /// FHIR R4 ConceptMap (JSON)
    FhirR4,
    /// FHIR R5 ConceptMap (JSON)
    FhirR5,
    /// SSSOM (TSV)
    Sssom,
}

/// `clinmill map import`.
#[derive(Debug, Args)]
pub struct MapImport {
    /// The file
    pub file: PathBuf,
    /// Its format
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub from: MapFormat,
    /// The table's new folder
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// The licence of what the file holds
    #[arg(long, default_value = "not stated in the imported file", value_name = "TEXT")]
    pub licence: String,
}

/// `clinmill map export`.
#[derive(Debug, Args)]
pub struct MapExport {
    /// The table's folder
    pub dir: PathBuf,
    /// The format to write
    #[arg(long = "as", id = "as", value_enum, value_name = "FORMAT")]
    pub tool: MapFormat,
    /// Where to write it; without it, to stdout
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// What is looked up in which table.
#[derive(Debug, Args)]
pub struct MapColumns {
    /// A pipeline file with `terminology` steps, or a CSV or TSV file with a header
    pub file: PathBuf,
    /// The mapping table's folder, for a CSV or TSV file
    #[arg(long, value_name = "DIR")]
    pub map: Option<PathBuf>,
    /// The column to look up, for a CSV or TSV file
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// The column holds codes, not names
    #[arg(long)]
    pub codes: bool,
    /// The column of units
    #[arg(long, value_name = "NAME")]
    pub unit: Option<String>,
    /// The column of specimens
    #[arg(long, value_name = "NAME")]
    pub specimen: Option<String>,
}

/// `clinmill map coverage`.
#[derive(Debug, Args)]
pub struct MapCoverage {
    /// What is looked up in which table.
    #[command(flatten)]
    pub columns: MapColumns,
    /// List the N most frequent values that are not mapped
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub open: usize,
}

/// `clinmill map suggest`.
#[derive(Debug, Args)]
pub struct MapSuggest {
    /// What is looked up in which table.
    #[command(flatten)]
    pub columns: MapColumns,
    /// The column of results, to compare them with those of tests that are mapped; of a pipeline, what `units` converts
    #[arg(long, value_name = "NAME")]
    pub value: Option<String>,
    /// Further tables to take targets from
    #[arg(long, value_name = "DIR")]
    pub targets: Vec<PathBuf>,
    /// A folder of OMOP vocabularies (Athena) to take LOINC targets from
    #[arg(long, value_name = "DIR")]
    pub athena: Option<PathBuf>,
    /// Candidates for each value, at most
    #[arg(long, short = 'n', default_value_t = 5, value_name = "N")]
    pub each: usize,
    /// The least score of a candidate, from 0 to 1
    #[arg(long, default_value_t = 0.3, value_name = "SCORE")]
    pub least: f32,
    /// The file to write
    #[arg(long, value_name = "FILE.csv")]
    pub out: PathBuf,
}

/// `clinmill map accept`.
#[derive(Debug, Args)]
pub struct MapAccept {
    /// The reviewed rows: `proposed` became `accepted`, `rejected` or `unmapped`
    pub file: PathBuf,
    /// The table's folder
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, error::ErrorKind};

    fn parse(line: &str) -> Result<Cli, ErrorKind> {
        Cli::try_parse_from(line.split_whitespace()).map_err(|e| e.kind())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_begins_with_what_it_is_for() {
        let help = Cli::command().render_help().to_string();
        assert!(
            help.starts_with("Hospital exports to standardized, versioned datasets"),
            "{help}"
        );
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in [
            "clinmill --format json -q run p.yaml",
            "clinmill run p.yaml --quiet --format json",
        ] {
            let cli = parse(line).unwrap();
            assert!(
                cli.global.quiet && cli.global.format == ResultFormat::Json && cli.global.log_format == Format::Text
            );
        }
        assert_eq!(
            parse("clinmill run p.yaml --format xml").unwrap_err(),
            ErrorKind::InvalidValue
        );
    }

    #[test]
    fn run_takes_its_flags() {
        let Command::Run(run) = parse("clinmill run p.yaml --full --approve-deletes --engine ballista://h:1")
            .unwrap()
            .command
        else {
            panic!("not run");
        };
        assert!(run.full && run.approve_deletes);
        assert_eq!(run.engine, "ballista://h:1");
        assert_eq!(parse("clinmill run").unwrap_err(), ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn rows_of_diff_has_a_default_and_takes_no_positional() {
        let rows = |line: &str| match parse(line).unwrap().command {
            Command::Diff(diff) => (diff.target, diff.from, diff.to, diff.rows),
            _ => panic!("not diff"),
        };
        assert_eq!(rows("clinmill diff d 1 2"), ("d".into(), 1, 2, None));
        assert_eq!(rows("clinmill diff --rows d 1 2"), ("d".into(), 1, 2, Some(20)));
        assert_eq!(rows("clinmill diff d 1 2 --rows=5"), ("d".into(), 1, 2, Some(5)));
    }

    #[test]
    fn formats_of_tools_and_of_results_do_not_meet() {
        let cli = parse("clinmill map export d --as fhir-r4 --format json").unwrap();
        assert_eq!(cli.global.format, ResultFormat::Json);
        assert!(matches!(cli.command, Command::Map(MapCommand::Export(e)) if e.tool == MapFormat::FhirR4));
        assert_eq!(
            parse("clinmill map import f --to d").unwrap_err(),
            ErrorKind::MissingRequiredArgument
        );
    }

    #[test]
    fn validate_wants_a_file_and_init_none() {
        assert_eq!(
            parse("clinmill validate").unwrap_err(),
            ErrorKind::MissingRequiredArgument
        );
        assert!(
            matches!(parse("clinmill init").unwrap().command, Command::Init(i) if i.dir == std::path::Path::new("."))
        );
        assert!(matches!(
            parse("clinmill quarantine show p.yaml abc").unwrap().command,
            Command::Quarantine(Quarantine::Show(s)) if s.id == "abc"
        ));
        assert!(matches!(
            parse("clinmill units convert -5.6 Cel [degF] --format json").unwrap().command,
            Command::Units(Units { tests: None, command: Some(UnitsCommand::Convert(c)) }) if c.value == "-5.6"
        ));
        assert!(matches!(
            parse("clinmill units --tests f.xml").unwrap().command,
            Command::Units(Units {
                tests: Some(_),
                command: None
            })
        ));
        assert_eq!(parse("clinmill frobnicate").unwrap_err(), ErrorKind::InvalidSubcommand);
    }
}
