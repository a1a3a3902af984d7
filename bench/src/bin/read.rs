//! Reads files with one source plugin, from bytes to Arrow columns, and says how fast:
//! `read --plugin table --options options.json FILE…`. One thread, so the figures are those of one core.

use clap::Parser;
use clinmill_bench::measure::{FileInput, Sums, cpu_seconds};
use clinmill_sdk::{BindContext, Registry, TaskContext};
use serde_json::json;
use std::{error::Error, path::PathBuf, sync::atomic::AtomicBool, time::Instant};

/// Reads files with one source plugin and prints rows, sums and the time it took as JSON.
#[derive(Parser)]
struct Arguments {
    /// The plugin: `hl7v2`, `table` or `notes`.
    #[arg(long)]
    plugin: String,
    /// A file with the plugin's options as JSON.
    #[arg(long)]
    options: PathBuf,
    /// Read everything so many times and report the fastest.
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// Rows per batch.
    #[arg(long, default_value_t = 8_192)]
    batch_rows: usize,
    /// A captured path name that all files have: `mrn=1`.
    #[arg(long = "capture", value_parser = capture)]
    captures: Vec<(String, String)>,
    /// The files.
    files: Vec<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut registry = Registry::default();
    registry
        .source::<clinmill_plugin_hl7v2::Hl7v2>()
        .source::<clinmill_plugin_table::Table>()
        .source::<clinmill_plugin_notes::Notes>();
    let plugin = registry
        .get_source(&arguments.plugin)
        .ok_or("there is no such plugin")?;
    let options = serde_json::from_slice(&std::fs::read(&arguments.options)?)?;
    let context = BindContext {
        timezone: Some("Asia/Shanghai".to_owned()),
        ..BindContext::default()
    };
    let source = plugin.bind(&options, &context)?;
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: arguments.batch_rows,
    };
    let mut best: Option<(f64, Option<f64>, Sums)> = None;
    for _ in 0..arguments.repeat.max(1) {
        let (started, busy) = (Instant::now(), cpu_seconds());
        let mut sums = Sums::new(source.records());
        for path in &arguments.files {
            let input = FileInput::open(path, arguments.captures.iter().cloned().collect())?;
            for split in source.splits(&input)? {
                source.read(&input, &split, &task, &mut sums)?;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let cpu = cpu_seconds().zip(busy).map(|(after, before)| after - before);
        if best.as_ref().is_none_or(|(fastest, ..)| seconds < *fastest) {
            best = Some((seconds, cpu, sums));
        }
    }
    let (seconds, cpu, sums) = best.ok_or("nothing was read")?;
    let bytes: u64 = arguments
        .files
        .iter()
        .filter_map(|path| path.metadata().ok())
        .map(|meta| meta.len())
        .sum();
    println!(
        "{}",
        json!({ "seconds": seconds, "cpu_seconds": cpu, "bytes": bytes, "records": sums.report() })
    );
    Ok(())
}

fn capture(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
