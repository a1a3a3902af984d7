//! What is done with bytes that nobody checked: the bodies of the fuzz targets in `tests/fuzz`, which also run on stable
//! over mutations of the repository's own files. A body fails by panicking, by not ending, or by its assertions.

use crate::registry;
use clinmill_host::{file, lock::Lock};
use clinmill_sdk::{BindContext, Kind, Registry};
use clinmill_spec::Plugins;
use serde_json::Value;

/// The plugins of a registry as the pipeline's loader asks for them; the engine's own needs the engine.
struct Known<'a>(&'a Registry);

impl Plugins for Known<'_> {
    fn source_schema(&self, name: &str) -> Option<Value> {
        Some(self.0.get_source(name)?.descriptor().schema)
    }
    fn transform_schema(&self, name: &str) -> Option<Value> {
        Some(self.0.get_transform(name)?.descriptor().schema)
    }
    fn source_names(&self) -> Vec<String> {
        self.0.descriptors(Kind::Source).into_iter().map(|d| d.name).collect()
    }
    fn transform_names(&self) -> Vec<String> {
        self.0
            .descriptors(Kind::Transform)
            .into_iter()
            .map(|d| d.name)
            .collect()
    }
}

/// What a library says of itself, read from its bytes: an answer, and one that can be printed.
pub fn header(bytes: &[u8]) {
    match file::header(bytes) {
        Ok(header) => drop(header.to_string()),
        Err(error) => drop(error.to_string()),
    }
}

/// The lock of plugins: what is written anew reads the same.
///
/// # Panics
/// When it does not hold.
pub fn lock(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(lock) = Lock::parse(text) {
        assert_eq!(Lock::parse(&lock.render()).as_ref(), Ok(&lock), "{text}");
    }
}

/// The pipeline loader: every finding points into the text, and what is printed of it is whole.
///
/// # Panics
/// When it does not hold.
pub fn pipeline(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let registry = registry();
    let loaded = clinmill_spec::load("f.yaml", text, &|_| None, &Known(&registry));
    assert!(loaded.pipeline.is_some() || loaded.has_errors());
    for place in loaded.diagnostics.iter().filter_map(|d| d.place.as_ref()) {
        assert!(place.start <= place.end && place.end <= text.len());
        assert!(text.get(place.start..place.end).is_some());
    }
    let _ = clinmill_spec::render(&loaded.diagnostics, "f.yaml", text);
}

/// The loader of test files: what is written anew reads again.
///
/// # Panics
/// When it does not hold.
pub fn cases(bytes: &[u8]) {
    use clinmill_spec::cases::{Rewrite, load, rewrite};
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = load("t.yaml", "t", text);
    let _ = clinmill_spec::render(&file.diagnostics, "t.yaml", text);
    if !file.diagnostics.is_empty() {
        return;
    }
    let mut values = Vec::new();
    for (c, case) in file.cases.iter().enumerate() {
        for e in 0..case.expect.len() {
            values.push(Rewrite {
                of: (c, e),
                rows: Some(vec![vec![("a: #".to_owned(), Some("\u{85}x\n".to_owned()))]]),
                count: Some(7),
                counts: Some([("n".to_owned(), 1)].into()),
                rejects: Some([].into()),
                schema: Some(vec![("a".to_owned(), "list<string>".to_owned())]),
            });
        }
    }
    let written = rewrite(text, &file.cases, &values);
    let again = load("t.yaml", "t", &written);
    assert!(
        again.diagnostics.is_empty(),
        "{text}\n---\n{written}\n{:?}",
        again.diagnostics
    );
    assert_eq!(again.cases.len(), file.cases.len());
}

/// The options of every plugin: whatever JSON they are, they are refused or used, and never more than that.
pub fn options(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else {
        return;
    };
    let registry = registry();
    let context = BindContext::default();
    let schema = clinmill_sdk::arrow::datatypes::Schema::new(vec![clinmill_sdk::arrow::datatypes::Field::new(
        "a",
        clinmill_sdk::arrow::datatypes::DataType::Utf8,
        true,
    )]);
    for descriptor in registry.descriptors(Kind::Source) {
        if let Some(plugin) = registry.get_source(&descriptor.name)
            && plugin.check(&value).is_empty()
        {
            let _ = plugin.bind(&value, &context);
        }
    }
    for descriptor in registry.descriptors(Kind::Transform) {
        if let Some(plugin) = registry.get_transform(&descriptor.name)
            && plugin.check(&value).is_empty()
        {
            let _ = plugin.bind(&value, &schema, &context);
        }
    }
}
