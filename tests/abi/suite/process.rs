//! Plugins that are processes: the example in Python, and hostile ones.

use crate::hostile::{batch, names};
use arrow::{
    array::{AsArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use clinmill_host::{Limits, process::ProcessTransform};
use clinmill_model::Digest;
use clinmill_sdk::{BindContext, Origin, PluginError, Status, TaskContext, TransformPlugin, testing::CollectedRows};
use clinmill_tests_abi::python;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

fn limits(call: Duration) -> Limits {
    Limits {
        call: Some(call),
        memory: 8 << 30,
        ..Limits::default()
    }
}

fn run(plugin: &dyn TransformPlugin, batch: &RecordBatch, column: &str) -> Result<CollectedRows, PluginError> {
    let bound = plugin.bind(&json!({ "column": column }), &batch.schema(), &BindContext::default())?;
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 1024,
    };
    let mut out = CollectedRows::default();
    let mut run = bound.open(&task)?;
    run.process(batch, &mut out)?;
    run.finish(&mut out)?;
    Ok(out)
}

#[test]
fn a_plugin_in_python_runs() {
    let Some(python) = python("pyarrow") else { return };
    let command = vec![python, script("upper.py")];
    let plugin = ProcessTransform::new("upper", command, Digest::of(b"test"), limits(Duration::from_secs(60))).unwrap();
    assert_eq!(plugin.descriptor().version, "1.0.0");
    assert!(plugin.check(&json!({ "column": "name" })).is_empty());
    let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
    let names = StringArray::from(vec![Some("aé"), Some(""), None, Some("z")]);
    let batch = RecordBatch::try_new(schema, vec![Arc::new(names)]).unwrap();
    let out = run(&plugin, &batch, "name").unwrap();
    let (rows, origin) = &out.batches[0];
    let texts: Vec<_> = rows.column(0).as_string::<i32>().iter().collect();
    assert_eq!(texts, [Some("AÉ"), None, Some("Z")]);
    assert_eq!(*origin, Origin::Rows(vec![0, 2, 3]));
    assert_eq!((out.rejected[0].row, out.rejected[0].code.as_str()), (1, "UPPER_EMPTY"));
    let error = run(&plugin, &batch, "other").err().unwrap();
    assert_eq!(
        (error.status, error.code.as_str()),
        (Status::InvalidConfig, "UPPER_COLUMN")
    );
    assert_eq!(error.pointer.as_deref(), Some("/column"));
}

#[test]
fn what_a_process_does_is_named() {
    let Some(python) = python("json") else { return };
    for (deed, phase, code) in [
        ("silent", "describe", "PLUGIN_TIMEOUT"),
        ("crash", "describe", "PLUGIN_PROCESS"),
        ("not_json", "describe", "PLUGIN_PROTOCOL"),
        ("huge", "describe", "PLUGIN_PROTOCOL"),
        ("protocol", "describe", "PLUGIN_PROTOCOL"),
        ("child", "describe", "PLUGIN_TIMEOUT"),
        ("memory", "describe", "PLUGIN_PROCESS"),
        ("bind", "bind", "PLUGIN_PROTOCOL"),
        ("hang", "process", "PLUGIN_TIMEOUT"),
        ("exit", "process", "PLUGIN_PROCESS"),
        ("garbage", "process", "PLUGIN_PROTOCOL"),
        ("flip", "process", "PLUGIN_PROTOCOL"),
    ] {
        let command = vec![python.clone(), script("hostile.py"), deed.into()];
        let mut limits = limits(Duration::from_secs(2));
        if deed == "memory" {
            limits.memory = 512 << 20;
        }
        let began = Instant::now();
        let outcome = ProcessTransform::new("hostile", command, Digest::of(b"test"), limits);
        let error = match outcome.and_then(|plugin| run(&plugin, &batch(), "name")) {
            // A changed byte that changes no meaning is a good answer.
            Ok(_) => panic!("{deed}: no error"),
            Err(error) => error,
        };
        assert_eq!(error.code, code, "{deed}: {error}");
        names(&error, "hostile", phase);
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{deed} took {:?}",
            began.elapsed()
        );
        if deed == "crash" {
            assert!(error.message.contains("3 lines"), "{error}");
        }
    }
    let command = vec![python, script("hostile.py"), "environment".into()];
    let plugin =
        ProcessTransform::new("hostile", command, Digest::of(b"test"), limits(Duration::from_secs(20))).unwrap();
    run(&plugin, &batch(), "name").unwrap();
    let missing = ProcessTransform::new(
        "none",
        vec!["/nowhere/plugin".into()],
        Digest::of(b"test"),
        limits(Duration::from_secs(2)),
    );
    assert_eq!(missing.err().unwrap().code, "PLUGIN_START");
}
