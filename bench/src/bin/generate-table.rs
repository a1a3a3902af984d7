//! Writes a laboratory table as CSV: `generate-table --rows 1000000 --out lab.csv [--encoding gb18030]`.

use clap::Parser;
use clinmill_bench::table;
use std::{fs::File, io, path::PathBuf};

/// Writes a laboratory table of thirteen columns, about 140 bytes per row.
#[derive(Parser)]
struct Arguments {
    /// Number of rows.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Same seed, same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// `utf-8`: English names; `gb18030`: Chinese headers and names.
    #[arg(long, default_value = "utf-8", value_parser = ["utf-8", "gb18030"])]
    encoding: String,
    /// The file.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let out = io::BufWriter::with_capacity(1 << 20, File::create(&arguments.out)?);
    table::write(arguments.rows, arguments.seed, arguments.encoding == "gb18030", out)
}
