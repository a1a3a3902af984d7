//! What `clinmill plugin check` asks of a plugin that it knows by its library alone, and with its folder its cases too.

use super::{CollectedRows, cases, conformance};
use crate::{BindContext, Finding, Kind, SourcePlugin, Status, TaskContext, TransformPlugin};
use arrow::{
    array::{RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use serde_json::{Value, json};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

/// Options that no plugin takes: each is refused or found good, the same twice, and nothing panics.
fn odd_options(schema: &Value) -> Vec<Value> {
    let mut all = vec![
        json!({}),
        json!(null),
        json!([]),
        json!("x"),
        json!({ "no such option": 1 }),
    ];
    let names: Vec<&String> = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys())
        .collect();
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e308),
        json!(""),
        json!("\u{0}病案号"),
        json!("x".repeat(10_000)),
        json!([[]]),
        json!({ "": {} }),
    ];
    for value in &values {
        for name in &names {
            all.push(json!({ name.as_str(): value }));
        }
        let each = names.iter().map(|name| ((*name).clone(), value.clone()));
        all.push(Value::Object(each.collect()));
    }
    all
}

fn options(schema: &Value, check: &dyn Fn(&Value) -> Vec<Finding>, wrong: &mut Vec<String>) {
    for options in odd_options(schema) {
        let found = check(&options);
        if let Some(panic) = found
            .iter()
            .find(|f| f.code == "PANIC" || f.code.starts_with("PLUGIN_"))
        {
            wrong.push(format!("check does not survive odd options: {}", panic.message));
            return;
        }
        if found
            .iter()
            .any(|f| f.code.is_empty() || f.code.chars().any(|c| c.is_ascii_lowercase()))
        {
            wrong.push("check: a finding has no upper-case code".into());
        }
        if found != check(&options) {
            wrong.push("check is not pure: two checks of the same options differ".into());
        }
    }
}

fn with_cases(folder: Option<&Path>, run: impl FnOnce(&Path)) -> Vec<String> {
    let Some(folder) = folder else {
        return Vec::new();
    };
    match catch_unwind(AssertUnwindSafe(|| run(folder))) {
        Ok(()) => Vec::new(),
        Err(panic) => vec![
            panic
                .downcast_ref::<String>()
                .cloned()
                .unwrap_or_else(|| "a case fails".to_owned()),
        ],
    }
}

/// Checks a source: its schema, its *check*, and with its folder its cases. Returns what is wrong.
pub fn check_source(plugin: &dyn SourcePlugin, folder: Option<&Path>) -> Vec<String> {
    let mut wrong = Vec::new();
    let descriptor = plugin.descriptor();
    conformance::options_schema(&descriptor, &mut wrong);
    options(&descriptor.schema, &|options| plugin.check(options), &mut wrong);
    wrong.extend(with_cases(folder, |folder| cases::source_cases_of(plugin, folder)));
    wrong
}

/// Checks a transform: its schema, its *check*, how it takes odd options in *bind* and a run that is cancelled, and with
/// its folder its cases. Returns what is wrong.
pub fn check_transform(plugin: &dyn TransformPlugin, folder: Option<&Path>) -> Vec<String> {
    let mut wrong = Vec::new();
    let descriptor = plugin.descriptor();
    debug_assert_eq!(descriptor.kind, Kind::Transform);
    conformance::options_schema(&descriptor, &mut wrong);
    options(&descriptor.schema, &|options| plugin.check(options), &mut wrong);
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true)]));
    for options in odd_options(&descriptor.schema) {
        let bound = match plugin.bind(&options, &schema, &BindContext::default()) {
            Ok(bound) => bound,
            Err(error) if error.status == Status::Panic || error.code.starts_with("PLUGIN_") => {
                wrong.push(format!("bind does not survive odd options: {}", error.message));
                break;
            }
            Err(_) => continue,
        };
        let cancelled = AtomicBool::new(true);
        let task = TaskContext {
            cancelled: &cancelled,
            batch_rows: 1,
        };
        let texts = StringArray::from(vec![Some("x"), None]);
        let Ok(batch) = RecordBatch::try_new(schema.clone(), vec![Arc::new(texts)]) else {
            continue;
        };
        let mut out = CollectedRows::default();
        let outcome = bound.open(&task).and_then(|mut run| run.process(&batch, &mut out));
        if let Err(error) = outcome
            && (error.status == Status::Timeout || error.status == Status::Panic)
        {
            wrong.push(format!("a cancelled run does not end well: {}", error.message));
            break;
        }
        if out.rejected.iter().any(|row| row.code.is_empty()) {
            wrong.push("a rejected row has no code".into());
        }
    }
    wrong.extend(with_cases(folder, |folder| cases::transform_cases_of(plugin, folder)));
    wrong
}
