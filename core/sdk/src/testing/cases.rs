//! Runs the cases of a plugin: `cases/<case>/{step.yaml, input.*, expected.json | error.txt}`.
//!
//! `step.yaml` holds the options as a pipeline does. Two keys belong to the case alone: `captures` (what the source's
//! glob would have captured) and `timezone` (the pipeline's). With `CLINMILL_UPDATE=1` in the environment the expected
//! files are rewritten and the difference is printed: read it before you commit it.

use super::{CollectedRecords, CollectedRows, conformance, files, render, rows};
use crate::{
    BindContext, BoundSource, Finding, Input, Kind, MemoryInput, Origin, PluginError, Registry, Source, SourcePlugin,
    TaskContext, Transform, TransformPlugin,
};
use arrow::{array::RecordBatch, datatypes::Schema};
use serde_json::{Map, Value};
use std::{path::Path, sync::atomic::AtomicBool};

/// Checks a source plugin's folder and runs its cases. `manifest_dir` is `env!("CARGO_MANIFEST_DIR")`.
///
/// # Panics
/// When anything differs, with all differences.
pub fn source_cases<S: Source>(manifest_dir: &str) {
    let mut registry = Registry::default();
    registry.source::<S>();
    let plugin = registry.get_source(S::NAME).expect("just registered");
    source_cases_of(plugin.as_ref(), Path::new(manifest_dir));
}

/// As [`source_cases`], of a plugin that may have been loaded.
///
/// # Panics
/// When anything differs, with all differences.
pub fn source_cases_of(plugin: &dyn SourcePlugin, folder: &Path) {
    let descriptor = plugin.descriptor();
    let mut failures = conformance::folder(folder, &descriptor);
    failures.extend(conformance::source_sample(folder, plugin));
    for case in files::case_folders(folder) {
        let step = Step::read(&case.join("step.yaml"), &descriptor.name, Kind::Source);
        let outcome = run_source(plugin, folder, &case, step, &mut failures);
        compare(&case, outcome, &mut failures);
    }
    finish(failures);
}

/// Checks a transform plugin's folder and runs its cases. `manifest_dir` is `env!("CARGO_MANIFEST_DIR")`.
///
/// # Panics
/// When anything differs, with all differences.
pub fn transform_cases<T: Transform>(manifest_dir: &str) {
    let mut registry = Registry::default();
    registry.transform::<T>();
    let plugin = registry.get_transform(T::NAME).expect("just registered");
    transform_cases_of(plugin.as_ref(), Path::new(manifest_dir));
}

/// As [`transform_cases`], of a plugin that may have been loaded.
///
/// # Panics
/// When anything differs, with all differences.
pub fn transform_cases_of(plugin: &dyn TransformPlugin, folder: &Path) {
    let descriptor = plugin.descriptor();
    let mut failures = conformance::folder(folder, &descriptor);
    failures.extend(conformance::transform_sample(folder, plugin));
    for case in files::case_folders(folder) {
        let step = Step::read(&case.join("step.yaml"), &descriptor.name, Kind::Transform);
        let outcome = run_transform(plugin, folder, &case, step, &mut failures);
        compare(&case, outcome, &mut failures);
    }
    finish(failures);
}

pub fn finish(failures: Vec<String>) {
    assert!(
        failures.is_empty(),
        "{} differences (CLINMILL_UPDATE=1 rewrites what is expected):\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// What a `step.yaml` or `sample.yaml` says.
pub struct Step {
    /// The plugin's own options.
    pub options: Value,
    pub captures: Map<String, Value>,
    timezone: Option<String>,
}

impl Step {
    pub fn read(path: &Path, plugin: &str, kind: Kind) -> Self {
        Self::of(files::yaml(path), plugin, kind)
    }

    /// Takes the keys of the host and of the case away. A transform may stand under its name, as in `steps`.
    pub fn of(value: Value, plugin: &str, kind: Kind) -> Self {
        let mut map = match value {
            Value::Object(map) => map,
            Value::Array(mut items) if items.len() == 1 => match items.remove(0) {
                Value::Object(map) => map,
                _ => panic!("a step is a mapping"),
            },
            Value::Null => Map::new(),
            _ => panic!("a step is a mapping"),
        };
        let captures = match map.remove("captures") {
            Some(Value::Object(captures)) => captures,
            _ => Map::new(),
        };
        let timezone = map.remove("timezone").and_then(|t| t.as_str().map(str::to_owned));
        match kind {
            Kind::Source => {
                for key in ["plugin", "inputs", "mode", "keep", "expect"] {
                    map.remove(key);
                }
            }
            Kind::Transform | Kind::Sink if map.len() == 1 && map.contains_key(plugin) => {
                map = match map.remove(plugin) {
                    Some(Value::Object(options)) => options,
                    _ => Map::new(),
                };
            }
            Kind::Transform | Kind::Sink => {}
        }
        Self {
            options: Value::Object(map),
            captures,
            timezone,
        }
    }

    /// What *bind* gets.
    pub fn context(&self, plugin: &Path, case: &Path) -> BindContext {
        let name = case
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        files::bind_context(&self.options, self.timezone.as_deref(), &name, plugin, case)
    }
}

/// The expected JSON, or the text of `error.txt`.
pub type Outcome = Result<Value, String>;

pub fn compare(case: &Path, outcome: Outcome, failures: &mut Vec<String>) {
    let (expected, error) = (case.join("expected.json"), case.join("error.txt"));
    match outcome {
        Ok(value) => {
            failures.extend(files::expect_text(&expected, &render::pretty(&value)));
            failures.extend(files::expect_absent(&error));
        }
        Err(text) => {
            failures.extend(files::expect_text(&error, &format!("{text}\n")));
            failures.extend(files::expect_absent(&expected));
        }
    }
}

pub fn of_findings(findings: &[Finding]) -> String {
    let line = |f: &Finding| {
        let hint = f.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
        format!("{}: {}{hint}\n  option {:?}", f.code, f.message, f.pointer)
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

pub fn of_error(error: &PluginError) -> String {
    match &error.pointer {
        Some(pointer) => format!("{error}\n  option {pointer:?}"),
        None => error.to_string(),
    }
}

/// What is said of smaller batches that give something else: the lines of what is expected that are others.
fn differs(case: &Path, rows: usize, value: &Value, again: Result<Value, PluginError>) -> Option<String> {
    let what = match again {
        Ok(again) if &again == value => return None,
        Ok(again) => files::difference(&render::pretty(value), &render::pretty(&again)),
        Err(error) => error.to_string(),
    };
    let rows = match rows {
        1 => "1 row".to_owned(),
        n => format!("{n} rows"),
    };
    let case = case.display();
    Some(format!(
        "{case}: batches of {rows} give something else than one batch\n{what}"
    ))
}

fn run_source(
    plugin: &dyn SourcePlugin,
    folder: &Path,
    case: &Path,
    step: Step,
    failures: &mut Vec<String>,
) -> Outcome {
    let findings = plugin.check(&step.options);
    if findings != plugin.check(&step.options) {
        failures.push(format!("{}: two checks differ", case.display()));
    }
    if !findings.is_empty() {
        return Err(of_findings(&findings));
    }
    let source = plugin
        .bind(&step.options, &step.context(folder, case))
        .map_err(|e| of_error(&e))?;
    let path = files::input_file(case);
    let name = path
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let mut input = MemoryInput::new(
        name,
        crate::regular::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
    );
    for (key, value) in &step.captures {
        input = input.capture(key, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    let collected = read_source(source.as_ref(), &input, 8192, false).map_err(|e| of_error(&e))?;
    failures.extend(conformance::records(case, source.records(), &collected, input.size()));
    let value = render::records(&collected, source.records());
    for batch_rows in [1, 3] {
        let again = read_source(source.as_ref(), &input, batch_rows, false);
        let again = again.map(|again| render::records(&again, source.records()));
        failures.extend(differs(case, batch_rows, &value, again));
    }
    match read_source(source.as_ref(), &input, 1, true) {
        Err(error) if error.status == crate::Status::Cancelled => {}
        _ => failures.push(format!("{}: goes on after it was cancelled", case.display())),
    }
    Ok(value)
}

fn read_source(
    source: &dyn BoundSource,
    input: &dyn Input,
    batch_rows: usize,
    cancelled: bool,
) -> Result<CollectedRecords, PluginError> {
    let mut collected = CollectedRecords::default();
    let cancelled = AtomicBool::new(cancelled);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows,
    };
    for split in source.splits(input)? {
        source.read(input, &split, &task, &mut collected)?;
    }
    Ok(collected)
}

fn run_transform(
    plugin: &dyn TransformPlugin,
    folder: &Path,
    case: &Path,
    step: Step,
    failures: &mut Vec<String>,
) -> Outcome {
    let findings = plugin.check(&step.options);
    if findings != plugin.check(&step.options) {
        failures.push(format!("{}: two checks differ", case.display()));
    }
    if !findings.is_empty() {
        return Err(of_findings(&findings));
    }
    let batch = rows::read(&files::input_file(case));
    let context = step.context(folder, case);
    let run = |size: usize| -> Result<Value, PluginError> {
        let bound = plugin.bind(&step.options, batch.schema().as_ref(), &context)?;
        let cancelled = AtomicBool::new(false);
        let task = TaskContext {
            cancelled: &cancelled,
            batch_rows: 8192,
        };
        let (collected, from) = drive(bound.open(&task)?, &batch, size, &bound.output())?;
        Ok(render::rows(&collected, &bound.output(), &from))
    };
    let value = run(usize::MAX).map_err(|e| of_error(&e))?;
    for size in [1, 3] {
        failures.extend(differs(case, size, &value, run(size)));
    }
    let balance = |name: &str| value[name].as_array().map_or(0, Vec::len);
    let one_to_one = plugin.descriptor().caps.has(crate::Caps::ROW_WISE);
    if one_to_one && balance("rows") + balance("rejected") != batch.num_rows() {
        failures.push(format!(
            "{}: rows and rejections do not add up to the input",
            case.display()
        ));
    }
    Ok(value)
}

/// Feeds slices of `size` rows. Returns what was emitted with rows counted from the start of the input.
fn drive(
    mut run: Box<dyn crate::TransformRun + '_>,
    input: &RecordBatch,
    size: usize,
    output: &Schema,
) -> Result<(CollectedRows, Vec<u32>), PluginError> {
    let mut all = CollectedRows::default();
    let mut from = Vec::new();
    let mut start = 0;
    loop {
        let length = size.min(input.num_rows() - start);
        let mut part = CollectedRows::default();
        run.process(&input.slice(start, length), &mut part)?;
        let base = u32::try_from(start).expect("a small case");
        for (batch, origin) in part.batches {
            assert_eq!(
                batch.schema().as_ref(),
                output,
                "the batch has the schema that was promised"
            );
            match &origin {
                Origin::Same => {
                    assert_eq!(batch.num_rows(), length, "the origin says one row for each");
                    from.extend((0..batch.num_rows()).map(|row| base + u32::try_from(row).expect("a small case")));
                }
                Origin::Rows(origins) => {
                    assert_eq!(batch.num_rows(), origins.len(), "one origin for each row");
                    assert!(
                        origins.iter().all(|o| (*o as usize) < length),
                        "origins lie within the batch"
                    );
                    from.extend(origins.iter().map(|o| base + o));
                }
            }
            all.batches.push((batch, origin));
        }
        for mut row in part.rejected {
            assert!((row.row as usize) < length, "rejections lie within the batch");
            row.row += base;
            all.rejected.push(row);
        }
        for (name, n) in part.counts {
            *all.counts.entry(name).or_default() += n;
        }
        start += length;
        if start >= input.num_rows() {
            break;
        }
    }
    let mut part = CollectedRows::default();
    run.finish(&mut part)?;
    assert!(
        part.batches.iter().all(|(batch, _)| batch.num_rows() == 0),
        "rows come in the call of the batch that they come from, not in finish"
    );
    all.rejected.extend(part.rejected);
    for (name, n) in part.counts {
        *all.counts.entry(name).or_default() += n;
    }
    Ok((all, from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_smaller_batches_give_is_told() {
        let of = |batches: u64| serde_json::json!({ "rows": [{ "a": 1 }], "counts": { "batches": batches } });
        assert_eq!(differs(Path::new("c"), 3, &of(1), Ok(of(1))), None);
        let told = differs(Path::new("c"), 1, &of(1), Ok(of(4))).unwrap();
        assert!(told.starts_with("c: batches of 1 row give something else"), "{told}");
        assert!(told.contains("-    \"batches\": 1\n+    \"batches\": 4\n"), "{told}");
        let failed = differs(
            Path::new("c"),
            3,
            &of(1),
            Err(PluginError::new(crate::Status::Internal, "NO", "no")),
        );
        assert!(failed.unwrap().ends_with("NO: no"));
    }
}
