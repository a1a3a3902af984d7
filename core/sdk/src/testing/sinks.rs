//! Runs the cases of a sink: `cases/<case>/{step.yaml, input.*, expected.json | error.txt}`.
//!
//! A text `scratch:` (or `scratch:path`) in the options stands for a folder of the case's own, below which the sink
//! writes. What it says and what then lies there is what `expected.json` holds.

use super::{
    cases::Step, cases::compare, cases::finish, cases::of_error, cases::of_findings, conformance, files, rows,
};
use crate::{BoundSink, Kind, PluginError, Registry, Sink, SinkPlugin, SinkRun, TaskContext};
use arrow::array::RecordBatch;
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

/// Checks a sink plugin's folder and runs its cases. `manifest_dir` is `env!("CARGO_MANIFEST_DIR")`.
///
/// # Panics
/// When anything differs, with all differences.
pub fn sink_cases<S: Sink>(manifest_dir: &str) {
    let mut registry = Registry::default();
    registry.sink::<S>();
    let plugin = registry.get_sink(S::NAME).expect("just registered");
    sink_cases_of(plugin.as_ref(), Path::new(manifest_dir));
}

/// As [`sink_cases`], of a plugin that may have been loaded.
///
/// # Panics
/// When anything differs, with all differences.
pub fn sink_cases_of(plugin: &dyn SinkPlugin, folder: &Path) {
    let descriptor = plugin.descriptor();
    let mut failures = conformance::folder(folder, &descriptor);
    failures.extend(conformance::sink_sample(folder, plugin));
    for case in files::case_folders(folder) {
        let scratch = Scratch::new();
        let mut step = Step::read(&case.join("step.yaml"), &descriptor.name, Kind::Sink);
        placed(&mut step.options, &scratch.0);
        let findings = plugin.check(&step.options);
        let outcome = match findings.is_empty() {
            false => Err(of_findings(&findings)),
            true => run(plugin, folder, &case, &step, &scratch.0, &mut failures).map_err(|e| of_error(&e)),
        };
        compare(&case, outcome, &mut failures);
    }
    finish(failures);
}

/// A folder that goes when the case is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "clinmill-sink-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn placed(value: &mut Value, scratch: &Path) {
    match value {
        Value::String(text) => {
            if let Some(path) = text.strip_prefix("scratch:") {
                *text = scratch.join(path).display().to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| placed(item, scratch)),
        Value::Object(map) => map.values_mut().for_each(|item| placed(item, scratch)),
        _ => {}
    }
}

/// The files below a folder with their texts, by path.
fn listed(folder: &Path, below: &str, found: &mut Map<String, Value>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = format!("{below}{}", path.file_name().expect("a file name").to_string_lossy());
        match path.is_dir() {
            true => listed(&path, &format!("{name}/"), found),
            false => {
                let bytes = fs::read(&path).expect("a readable file");
                found.insert(name, String::from_utf8_lossy(&bytes).into());
            }
        }
    }
}

fn files_of(scratch: &Path) -> Value {
    let mut found = Map::new();
    listed(scratch, "", &mut found);
    Value::Object(found)
}

/// Writes the rows as so many partitions and prepares them.
fn prepared(
    sink: &dyn BoundSink,
    run: &SinkRun<'_>,
    batch: &RecordBatch,
    parts: usize,
) -> Result<Vec<Vec<u8>>, PluginError> {
    let size = batch.num_rows().div_ceil(parts).max(1);
    let mut tokens = Vec::new();
    for part in 0..parts {
        let start = (part * size).min(batch.num_rows());
        let mut writer = sink.open(run)?;
        writer.write(&batch.slice(start, size.min(batch.num_rows() - start)))?;
        tokens.push(writer.prepare()?);
    }
    Ok(tokens)
}

/// One release as a host would write it, after one that was given up; every step of the coordinator twice.
fn run(
    plugin: &dyn SinkPlugin,
    folder: &Path,
    case: &Path,
    step: &Step,
    scratch: &Path,
    failures: &mut Vec<String>,
) -> Result<Value, PluginError> {
    let batch = rows::read(&files::input_file(case));
    let sink = plugin.bind(&step.options, &batch.schema(), &step.context(folder, case))?;
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 8192,
    };
    let at = |run_id: &'static str| SinkRun { run_id, task: &task };
    let mut say = |what: &str| failures.push(format!("{}: {what}", case.display()));
    sink.probe(&task)?;
    let before = files_of(scratch);
    // A writer that is dropped leaves nothing behind.
    sink.open(&at("dropped"))?.write(&batch)?;
    if files_of(scratch) != before {
        say("a writer that was dropped without prepare left something behind");
    }
    let tokens = prepared(sink.as_ref(), &at("aborted"), &batch, 2)?;
    if sink.resolve(&at("aborted"))?.is_some() {
        say("resolve: what was only prepared has landed");
    }
    sink.abort(&at("aborted"), &tokens)?;
    sink.abort(&at("aborted"), &tokens)?;
    if files_of(scratch) != before {
        say("abort left something behind");
    }
    let tokens = prepared(sink.as_ref(), &at("release-1"), &batch, 2)?;
    let receipt = sink.commit(&at("release-1"), &tokens)?;
    let after = files_of(scratch);
    if sink.commit(&at("release-1"), &tokens)? != receipt || files_of(scratch) != after {
        say("a commit that is repeated does something else");
    }
    if sink.resolve(&at("release-1"))?.as_ref() != Some(&receipt) {
        say("resolve does not know the commit that landed");
    }
    // The whole attempt again, as after a crash: still one release.
    let tokens = prepared(sink.as_ref(), &at("release-1"), &batch, 1)?;
    if sink.commit(&at("release-1"), &tokens)? != receipt || files_of(scratch) != after {
        say("a release that is written again is not the same");
    }
    Ok(json!({ "receipt": receipt, "files": after }))
}
