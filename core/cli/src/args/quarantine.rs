//! The arguments of `clinmill quarantine`.

use super::PipelineFile;
use clap::{Args, Subcommand};
use std::path::PathBuf;

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
