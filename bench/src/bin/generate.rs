//! Writes the sample hospital: `generate --disease stenting --patients 12 --weeks 3 --seed 1 --out DIR`.

use clap::{Parser, ValueEnum};
use clinmill_bench::hospital::{Options, generate, transplant};
use std::{io, path::PathBuf};

/// The services of the hospital.
#[derive(Clone, Copy, ValueEnum)]
enum Disease {
    /// Stenting of carotid arteries.
    Stenting,
    /// Transplantation of the liver.
    Transplant,
}

/// Writes weekly drops of a service of a made-up hospital, and what a dataset made from them must hold.
#[derive(Parser)]
struct Arguments {
    /// The service.
    #[arg(long, value_enum, default_value = "stenting")]
    disease: Disease,
    /// Number of patients.
    #[arg(long, default_value_t = Options::default().patients)]
    patients: u64,
    /// Number of weekly drops.
    #[arg(long, default_value_t = Options::default().weeks, value_parser = clap::value_parser!(i64).range(1..=520))]
    weeks: i64,
    /// Same seed, same bytes.
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,
    /// Blood samples after each operation; more make more data per patient.
    #[arg(long, default_value_t = Options::default().draws, value_parser = clap::value_parser!(i64).range(0..=1000))]
    draws: i64,
    /// The folder for week1, week2, …
    #[arg(long)]
    out: PathBuf,
    /// The file for the truth; truth.json in the folder when not given.
    #[arg(long)]
    truth: Option<PathBuf>,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let options = Options {
        patients: arguments.patients,
        weeks: arguments.weeks,
        seed: arguments.seed,
        draws: arguments.draws,
    };
    std::fs::create_dir_all(&arguments.out)?;
    let truth = arguments.truth.unwrap_or_else(|| arguments.out.join("truth.json"));
    match arguments.disease {
        Disease::Stenting => generate(&options, &arguments.out, &truth),
        Disease::Transplant => transplant::generate(&options, &arguments.out, &truth),
    }
}
