//! The arguments of `clinmill map`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

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
    /// The licence of what the file holds; without it, the one that stands in it
    #[arg(long, value_name = "TEXT")]
    pub licence: Option<String>,
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
