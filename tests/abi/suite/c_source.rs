//! A hostile source in C: what it promises, how it cuts an input, what it pushes; and that `plugin check` finds each of them.

use crate::{hostile::names, process::read_all};
use clinmill_sdk::{
    BindContext, MemoryInput, PluginError, Registry, SourcePlugin, Split, testing, testing::CollectedRecords,
};
use clinmill_tests_abi::{build_c, limits, load, root};
use serde_json::json;
use std::{path::Path, sync::Arc};

/// What it does, in which phase it is refused, and under which code.
const DEEDS: [(&str, &str, &str); 8] = [
    ("same_names", "bind", "ABI_RECORDS"),
    ("no_names", "bind", "ABI_RECORDS"),
    ("bad_name", "bind", "ABI_RECORDS"),
    ("odd_subject", "bind", "ABI_RECORDS"),
    ("many_splits", "splits", "ABI_SPLIT"),
    ("row_zero", "read", "ABI_LOCATOR"),
    ("reject_kind", "read", "ABI_KIND"),
    ("decimal_beyond", "read", "ABI_ARRAY"),
];

fn source(dir: &Path, flags: &[&str]) -> Option<Arc<dyn SourcePlugin>> {
    let out = dir.join(format!("source{}.so", flags.join("").len()));
    let flags: Vec<&str> = ["-D_DEFAULT_SOURCE"].iter().chain(flags).copied().collect();
    let from = root().join("tests/abi/c_plugin/hostile_source.c");
    build_c(&from, &root().join("core/abi/include"), &out, &flags)?;
    let mut registry = Registry::default();
    load(&out, limits()).register(&mut registry).unwrap();
    Some(registry.get_source("hostile_source").unwrap().clone())
}

fn read(plugin: &dyn SourcePlugin, deed: &str) -> Result<CollectedRecords, PluginError> {
    let bound = plugin.bind(&json!({ "deed": deed }), &BindContext::default())?;
    read_all(bound.as_ref(), &MemoryInput::new("a.txt", "abc"), false)
}

#[test]
fn what_a_source_may_not_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let Some(plugin) = source(dir.path(), &[]) else { return };
    let well = read(plugin.as_ref(), "nothing").unwrap();
    assert_eq!(well.batches.len(), 1);
    for (deed, phase, code) in DEEDS {
        let error = read(plugin.as_ref(), deed).err().unwrap_or_else(|| panic!("{deed}"));
        assert_eq!(error.code, code, "{deed}: {error}");
        names(&error, "hostile_source", phase);
        assert!(!error.message.contains('\u{1b}'), "{error}");
    }
    let error = read(plugin.as_ref(), "many_splits").err().unwrap();
    assert!(error.message.contains("too many splits"), "{error}");
    let bound = plugin
        .bind(&json!({ "deed": "split_gap" }), &BindContext::default())
        .unwrap();
    let splits = bound.splits(&MemoryInput::new("a.txt", "abc")).unwrap();
    assert!(
        !Split::cover(&splits, 3),
        "whoever asks looks whether they are all of it"
    );
}

#[test]
fn a_check_finds_what_a_source_may_not() {
    let dir = tempfile::tempdir().unwrap();
    let found = |deed: &str| {
        let flag = format!("-DDEED=\"{deed}\"");
        let plugin = source(dir.path(), &[&flag])?;
        let checks = testing::check_source(plugin.as_ref(), None);
        let wrong = checks.into_iter().filter_map(|check| {
            let all = check.wrong.filter(|wrong| !wrong.is_empty())?;
            Some(format!("{}: {}", check.name, all.join("; ")))
        });
        Some(wrong.collect::<Vec<_>>())
    };
    let Some(well) = found("nothing") else { return };
    assert_eq!(well, Vec::<String>::new());
    let named = DEEDS.map(|(deed, _, _)| deed);
    for deed in named.into_iter().chain(["split_gap", "progress"]) {
        assert!(!found(deed).unwrap().is_empty(), "{deed}");
    }
}
