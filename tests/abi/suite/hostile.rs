//! A plugin that does what it may not: the host names the plugin, the phase and the code, and lives on.

use arrow::{
    array::{RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use clinmill_host::{Limits, take_unreleased};
use clinmill_sdk::{BindContext, PluginError, Registry, Status, TaskContext, TransformPlugin, testing::CollectedRows};
use clinmill_tests_abi::{library, limits, load};
use serde_json::json;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

pub fn batch() -> RecordBatch {
    let schema = Schema::new(vec![Field::new("name", DataType::Utf8, true)]);
    let names = StringArray::from(vec![Some("王小明"), None, Some("secret")]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(names)]).unwrap()
}

pub fn plugin(path: &Path, name: &str, limits: Limits) -> Arc<dyn TransformPlugin> {
    let mut registry = Registry::default();
    load(path, limits).register(&mut registry).unwrap();
    registry.get_transform(name).unwrap().clone()
}

pub fn run(plugin: &dyn TransformPlugin, deed: &str, cancelled: &AtomicBool) -> Result<CollectedRows, PluginError> {
    let batch = batch();
    let bound = plugin.bind(&json!({ "deed": deed }), &batch.schema(), &BindContext::default())?;
    let task = TaskContext {
        cancelled,
        batch_rows: 1024,
    };
    let mut out = CollectedRows::default();
    let mut run = bound.open(&task)?;
    run.process(&batch, &mut out)?;
    run.finish(&mut out)?;
    Ok(out)
}

fn hostile(limits: Limits) -> Arc<dyn TransformPlugin> {
    plugin(&library("hostile"), "hostile", limits)
}

/// What every message says, and never says.
pub fn names(error: &PluginError, plugin: &str, phase: &str) {
    assert!(error.message.contains(&format!("{plugin:?} in {phase}")), "{error}");
    assert!(
        !error.message.contains("王小明") && !error.message.contains("secret"),
        "{error}"
    );
}

#[test]
fn each_deed_is_named_and_survived() {
    for limits in [limits(), Limits { call: None, ..limits() }] {
        let plugin = hostile(limits);
        for (deed, phase, status, code) in [
            ("panic_in_bind", "bind", Status::Panic, "PANIC"),
            ("panic_in_open", "open", Status::Panic, "PANIC"),
            ("panic", "process", Status::Panic, "PANIC"),
            ("panic_twice", "process", Status::Panic, "PANIC"),
            ("wrong_schema", "process", Status::Internal, "ABI_SCHEMA"),
            ("too_large", "process", Status::Internal, "ABI_TOO_LARGE"),
            ("reject_beyond", "process", Status::Internal, "ABI_ROW"),
            ("reject_twice", "process", Status::Internal, "ABI_ROW"),
            ("reject_more", "process", Status::Internal, "ABI_ROW"),
            ("reject_strangely", "process", Status::Internal, "ABI_CODE"),
            ("origin_beyond", "process", Status::Internal, "ABI_ROW"),
        ] {
            let error = run(plugin.as_ref(), deed, &AtomicBool::new(false))
                .err()
                .unwrap_or_else(|| panic!("{deed}"));
            assert_eq!((error.status, error.code.as_str()), (status, code), "{deed}: {error}");
            names(&error, "hostile", phase);
            let well = run(plugin.as_ref(), "nothing", &AtomicBool::new(false)).unwrap();
            assert_eq!(well.batches[0].0, batch(), "after {deed}");
        }
        // What a plugin says itself comes through as it is.
        let error = run(plugin.as_ref(), "fail", &AtomicBool::new(false)).err().unwrap();
        assert_eq!(
            (error.status, error.code.as_str()),
            (Status::InvalidData, "HOSTILE_FAIL")
        );
        assert_eq!(error.pointer.as_deref(), Some("/deed"));
        let error = run(plugin.as_ref(), "memory", &AtomicBool::new(false)).err().unwrap();
        assert_eq!(
            (error.status, error.code.as_str()),
            (Status::ResourceExhausted, "MEMORY")
        );
        // A panic where the slot returns nothing.
        run(plugin.as_ref(), "panic_in_drop", &AtomicBool::new(false)).unwrap();
        let told: Vec<String> = take_unreleased().into_iter().map(|error| error.message).collect();
        let place = "the plugin \"hostile\" in release: the plugin panicked at hostile/src/lib.rs:";
        assert!(told.iter().any(|message| message.starts_with(place)), "{told:?}");
        let findings = plugin.check(&json!({ "deed": "panic_in_check" }));
        assert_eq!(findings[0].code, "PANIC");
        assert!(
            findings[0].message.contains("hostile/src/lib.rs:"),
            "the place: {}",
            findings[0].message
        );
        assert!(plugin.check(&json!({ "deed": "nothing" })).is_empty());
        assert_eq!(plugin.check(&json!({ "dead": "nothing" }))[0].code, "OPTIONS");
    }
}

#[test]
fn rejections_count_as_memory() {
    let limits = Limits {
        memory: 16 << 20,
        ..limits()
    };
    let plugin = hostile(limits);
    let error = run(plugin.as_ref(), "reject_long", &AtomicBool::new(false))
        .err()
        .unwrap();
    assert_eq!(error.code, "ABI_TOO_LARGE", "{error}");
    names(&error, "hostile", "process");
}

#[test]
fn a_call_that_does_not_come_back_is_lost() {
    let limits = Limits {
        call: Some(Duration::from_millis(200)),
        ..limits()
    };
    let plugin = hostile(limits);
    let began = Instant::now();
    let error = run(plugin.as_ref(), "loop", &AtomicBool::new(false)).err().unwrap();
    assert_eq!((error.status, error.code.as_str()), (Status::Timeout, "PLUGIN_TIMEOUT"));
    names(&error, "hostile", "process");
    assert!(began.elapsed() < Duration::from_secs(10));
    // It is not called again.
    let error = run(plugin.as_ref(), "nothing", &AtomicBool::new(false)).err().unwrap();
    assert_eq!(error.code, "PLUGIN_POISONED");
}

#[test]
fn a_call_is_told_to_stop() {
    let plugin = hostile(limits());
    let cancelled = Arc::new(AtomicBool::new(false));
    let later = cancelled.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        later.store(true, Ordering::Relaxed);
    });
    let error = run(plugin.as_ref(), "wait_for_cancel", &cancelled).err().unwrap();
    assert_eq!(error.status, Status::Cancelled);
    thread.join().unwrap();
}
