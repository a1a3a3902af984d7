//! What every plugin must be, whatever it does: the shape of its folder, its schema, its sample, what it pushes.

use super::{CollectedRecords, cases::Step, files};
use crate::{Caps, Descriptor, Kind, RecordKind, SinkPlugin, SourcePlugin, TransformPlugin, reference, regular};
use arrow::array::Array;
use serde_json::Value;
use std::path::Path;

/// Checks what can be checked without running the plugin. Returns what is wrong.
pub fn folder(folder: &Path, descriptor: &Descriptor) -> Vec<String> {
    let mut wrong = Vec::new();
    shape(folder, descriptor.kind, &mut wrong);
    manifest(folder, descriptor, &mut wrong);
    options_schema(descriptor, &mut wrong);
    readme(folder, descriptor, &mut wrong);
    wrong
}

/// Checks the schema of a plugin's options: an object that names and describes all of them.
pub fn options_schema(descriptor: &Descriptor, wrong: &mut Vec<String>) {
    schema(&descriptor.schema, "", wrong);
    if let Some(what) = clinmill_model::keywords::unread(&descriptor.schema) {
        wrong.push(format!("schema: {what}"));
    }
    if descriptor.schema["type"] != "object" {
        wrong.push("schema: the options are not an object".into());
    }
}

/// A process plugin is one program and one in C one library, which its manifest names; any other is a crate.
fn shape(folder: &Path, kind: Kind, wrong: &mut Vec<String>) {
    let mut missing = |file: &str| {
        if !folder.join(file).is_file() {
            wrong.push(format!("{}: missing", folder.join(file).display()));
        }
    };
    ["plugin.yaml", "README.md", "sample.yaml"]
        .into_iter()
        .for_each(&mut missing);
    let manifest = files::yaml(&folder.join("plugin.yaml"));
    match ["program", "library"]
        .into_iter()
        .find_map(|key| manifest[key].as_str())
    {
        Some(file) => missing(file),
        None => crate_shape(folder, kind, wrong),
    }
    if files::case_folders(folder).is_empty() {
        wrong.push(format!("{}: no case", folder.join("cases").display()));
    }
}

fn crate_shape(folder: &Path, kind: Kind, wrong: &mut Vec<String>) {
    let main = match kind {
        Kind::Source => "src/source.rs",
        Kind::Transform => "src/transform.rs",
        Kind::Sink => "src/sink.rs",
    };
    let files = [
        "Cargo.toml",
        "src/lib.rs",
        "src/config.rs",
        main,
        "src/core.rs",
        "src/error.rs",
        "tests/conformance.rs",
    ];
    for file in files {
        if !folder.join(file).is_file() {
            wrong.push(format!("{}: missing", folder.join(file).display()));
        }
    }
    let lines = regular::text(&folder.join("src/lib.rs")).map_or(0, |text| text.lines().count());
    if lines > 60 {
        wrong.push(format!("src/lib.rs: {lines} lines; a table of contents has 60 at most"));
    }
}

fn manifest(folder: &Path, descriptor: &Descriptor, wrong: &mut Vec<String>) {
    let manifest = files::yaml(&folder.join("plugin.yaml"));
    let kind = match descriptor.kind {
        Kind::Source => "source",
        Kind::Transform => "transform",
        Kind::Sink => "sink",
    };
    let said = [
        ("name", descriptor.name.as_str()),
        ("kind", kind),
        ("version", descriptor.version.as_str()),
        ("summary", descriptor.summary.as_str()),
    ];
    for (key, value) in said {
        if manifest[key] != value {
            wrong.push(format!(
                "plugin.yaml: {key} is {}, the plugin says {value:?}",
                manifest[key]
            ));
        }
    }
    let names = [
        ("row-wise", Caps::ROW_WISE),
        ("subject-wise", Caps::SUBJECT_WISE),
        ("dataset-wise", Caps::DATASET_WISE),
        ("splits", Caps::SPLITS),
        ("deletes", Caps::DELETES),
        ("rejects", Caps::REJECTS),
        ("deterministic", Caps::DETERMINISTIC),
    ];
    let mut has: Vec<&str> = names
        .iter()
        .filter(|(_, cap)| descriptor.caps.has(*cap))
        .map(|(name, _)| *name)
        .collect();
    let mut listed: Vec<&str> = manifest["capabilities"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    has.sort_unstable();
    listed.sort_unstable();
    if has != listed {
        wrong.push(format!(
            "plugin.yaml: capabilities are {listed:?}, the plugin says {has:?}"
        ));
    }
}

/// Every object names all its properties and describes each of them.
fn schema(node: &Value, path: &str, wrong: &mut Vec<String>) {
    match node {
        Value::Object(map) => {
            if let Some(properties) = map.get("properties").and_then(Value::as_object) {
                if map.get("additionalProperties") != Some(&Value::Bool(false)) {
                    wrong.push(format!(
                        "schema{path}: unknown options are not refused (deny_unknown_fields)"
                    ));
                }
                // A variant of an enum is described as a whole.
                let described = path.contains("/oneOf/") && map.contains_key("description");
                for (name, property) in properties {
                    if !described
                        && property
                            .get("description")
                            .is_none_or(|d| d.as_str().is_none_or(str::is_empty))
                    {
                        wrong.push(format!("schema{path}: option {name} has no description"));
                    }
                }
            }
            for (key, value) in map {
                if !matches!(key.as_str(), "default" | "examples" | "const" | "enum") {
                    schema(value, &format!("{path}/{key}"), wrong);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                schema(item, &format!("{path}/{index}"), wrong);
            }
        }
        _ => {}
    }
}

/// The README holds the sample and the table of options between markers; both are written from their one source.
fn readme(folder: &Path, descriptor: &Descriptor, wrong: &mut Vec<String>) {
    let path = folder.join("README.md");
    let (Ok(mut fresh), Ok(sample)) = (regular::text(&path), regular::text(&folder.join("sample.yaml"))) else {
        return;
    };
    let sample = format!("```yaml\n{}\n```", sample.trim_end());
    let table = reference::options_table(&descriptor.schema);
    for (title, begin, end, content) in [
        (
            "Sample",
            "<!-- sample: begin -->",
            "<!-- sample: end -->",
            sample.as_str(),
        ),
        ("Options", reference::BEGIN, reference::END, table.trim_end()),
    ] {
        let block = format!("{begin}\n{content}\n{end}");
        let from = fresh.find(begin);
        let to = from.and_then(|from| Some(from + fresh.get(from..)?.find(end)?));
        match (from, to) {
            (Some(from), Some(to)) => fresh.replace_range(from..to + end.len(), &block),
            _ => fresh.push_str(&format!("\n## {title}\n\n{block}\n")),
        }
    }
    wrong.extend(files::expect_text(&path, &fresh));
}

/// The sample's options are good options: they pass *check*, and *bind* takes them.
pub fn source_sample(folder: &Path, plugin: &dyn SourcePlugin) -> Vec<String> {
    let mut wrong = Vec::new();
    for step in sample(folder, &plugin.descriptor().name, Kind::Source, &mut wrong) {
        wrong.extend(
            plugin
                .check(&step.options)
                .iter()
                .map(|f| format!("sample.yaml: {}: {}", f.pointer, f.message)),
        );
        if let Err(error) = plugin.bind(&step.options, &step.context(folder, folder)) {
            wrong.push(format!(
                "sample.yaml: {error} {}",
                error.pointer.as_deref().unwrap_or_default()
            ));
        }
    }
    wrong
}

/// The sample's options are good options: they pass *check*. Whether they fit an input, the cases say.
pub fn transform_sample(folder: &Path, plugin: &dyn TransformPlugin) -> Vec<String> {
    let mut wrong = Vec::new();
    for step in sample(folder, &plugin.descriptor().name, Kind::Transform, &mut wrong) {
        wrong.extend(
            plugin
                .check(&step.options)
                .iter()
                .map(|f| format!("sample.yaml: {}: {}", f.pointer, f.message)),
        );
    }
    wrong
}

/// As [`transform_sample`], of a sink.
pub fn sink_sample(folder: &Path, plugin: &dyn SinkPlugin) -> Vec<String> {
    let mut wrong = Vec::new();
    for step in sample(folder, &plugin.descriptor().name, Kind::Sink, &mut wrong) {
        let found = plugin.check(&step.options);
        wrong.extend(
            found
                .iter()
                .map(|f| format!("sample.yaml: {}: {}", f.pointer, f.message)),
        );
    }
    wrong
}

/// The plugin's sections in `sample.yaml`: the section alone, or below `sources: NAME` or `transforms: NAME: steps`.
fn sample(folder: &Path, plugin: &str, kind: Kind, wrong: &mut Vec<String>) -> Vec<Step> {
    let sample = files::yaml(&folder.join("sample.yaml"));
    let mut sections = Vec::new();
    match (&sample["sources"], &sample["transforms"]) {
        (Value::Object(sources), _) if kind == Kind::Source => {
            sections.extend(sources.values().filter(|s| s["plugin"] == plugin).cloned());
        }
        (_, Value::Object(transforms)) if kind == Kind::Transform => {
            let steps = transforms.values().filter_map(|t| t["steps"].as_array()).flatten();
            sections.extend(steps.filter(|s| s.get(plugin).is_some()).cloned());
        }
        _ => sections.push(sample.clone()),
    }
    if sections.is_empty() {
        wrong.push(format!("sample.yaml: no section of {plugin}"));
    }
    sections
        .into_iter()
        .map(|section| Step::of(section, plugin, kind))
        .collect()
}

/// What a source pushed keeps to the contract: schemas as promised, subjects named, locators inside the input.
pub fn records(case: &Path, kinds: &[RecordKind], collected: &CollectedRecords, size: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut say = |what: &str| wrong.push(format!("{}: {what}", case.display()));
    for batch in &collected.batches {
        let Some(kind) = kinds.get(batch.kind) else {
            say("a batch of no kind");
            continue;
        };
        if batch.rows.schema() != kind.schema {
            say("a batch has another schema than its kind");
        }
        let (meta, rows) = (&batch.meta, batch.rows.num_rows());
        if [
            meta.issuer.len(),
            meta.subject.len(),
            meta.version.len(),
            meta.void.len(),
            meta.offset.len(),
            meta.length.len(),
            meta.row.len(),
            meta.part.len(),
            meta.cell.len(),
        ]
        .iter()
        .any(|len| *len != rows)
        {
            say("columns and metadata have different lengths");
            continue;
        }
        if meta.issuer.null_count() > 0 || (kind.subject && meta.subject.null_count() > 0) {
            say("a record without its subject");
        }
        let beyond = |row: usize| meta.offset.value(row).saturating_add(meta.length.value(row)) > size;
        if (0..rows).any(beyond) {
            say("a locator points beyond the input");
        }
        if meta.row.values().contains(&0) {
            say("a record stands in row 0: the first row is 1");
        }
    }
    for rejection in &collected.rejections {
        if rejection.at.offset.saturating_add(rejection.at.length) > size {
            say("a rejection's locator points beyond the input");
        }
        if rejection.code.is_empty() || rejection.code.chars().any(|c| c.is_ascii_lowercase()) {
            say("a rejection's code is not upper case");
        }
    }
    if collected.bytes > size {
        say("more bytes of progress than the input has");
    }
    wrong
}
