//! The arguments of `clinmill units`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

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
    /// Its unit: a UCUM code, or with --map a spelling of the table
    pub from: String,
    /// The unit to convert it to, the same
    pub to: String,
    /// The folder of a table of spellings, such as mappings/units-local__ucum: units are understood as the step does it
    #[arg(long, value_name = "FOLDER")]
    pub map: Option<PathBuf>,
    /// The folder of a table of molar masses, such as mappings/molar-mass__ucum
    #[arg(long, value_name = "FOLDER", requires = "analyte")]
    pub analytes: Option<PathBuf>,
    /// The analyte, by its code or name in that table
    #[arg(long, value_name = "ANALYTE", requires = "analytes")]
    pub analyte: Option<String>,
}
