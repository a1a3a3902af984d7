//! A sink through its C table: the one that `clinmill plugin new` makes, over its own cases, and one that fails.

use arrow::{
    array::{RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use clinmill_sdk::{BindContext, BoundSink, Registry, SinkRun, Status, TaskContext, testing};
use clinmill_tests_abi::{library, limits, load, root};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

fn loaded() -> Registry {
    let mut registry = Registry::default();
    load(&library("sink"), limits()).register(&mut registry).unwrap();
    registry
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let place = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &place),
            false => drop(fs::copy(entry.path(), place).unwrap()),
        }
    }
}

#[test]
fn it_keeps_the_laws_of_sinks() {
    let folder = tempfile::tempdir().unwrap();
    let templates = root().join("core/cli/templates/plugin");
    copy(&templates.join("sink"), folder.path());
    fs::copy(templates.join("manifest.toml"), folder.path().join("Cargo.toml")).unwrap();
    testing::sink_cases_of(loaded().get_sink("newplugin").unwrap().as_ref(), folder.path());
}

fn bound(folder: &Path, schema: &Schema) -> Arc<dyn BoundSink> {
    let registry = loaded();
    let plugin = registry.get_sink("newplugin").unwrap();
    let options = json!({ "folder": folder.display().to_string() });
    assert!(plugin.check(&options).is_empty());
    plugin.bind(&options, schema, &BindContext::default()).unwrap()
}

#[test]
fn what_a_sink_says_of_its_failures_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
    let names = StringArray::from(vec![Some("a"), None]);
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(names)]).unwrap();
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 1024,
    };
    let run = SinkRun {
        run_id: "release-7",
        task: &task,
    };
    let missing = bound(&folder.path().join("none"), &schema);
    let error = missing.probe(&task).unwrap_err();
    assert_eq!(
        (error.status, error.code.as_str()),
        (Status::NotFound, "NEWPLUGIN_FOLDER")
    );
    assert_eq!(missing.open(&run).err().unwrap().code, "NEWPLUGIN_IO");
    let sink = bound(folder.path(), &schema);
    assert_eq!(sink.probe(&task).unwrap(), Value::Null);
    // A token that leads out of the folder is not followed.
    let victim = folder.path().join("victim");
    fs::write(&victim, "x").unwrap();
    for token in ["../victim", "/etc/passwd", ""] {
        let error = sink.commit(&run, &[token.as_bytes().to_vec()]).unwrap_err();
        assert_eq!(
            (error.status, error.code.as_str()),
            (Status::InvalidState, "NEWPLUGIN_TOKEN"),
            "{token}"
        );
    }
    assert_eq!(sink.resolve(&run).unwrap(), None, "a commit that failed has not landed");
    let mut writer = sink.open(&run).unwrap();
    writer.write(&batch).unwrap();
    writer.write(&batch).unwrap();
    let token = writer.prepare().unwrap();
    drop(writer);
    let receipt = sink.commit(&run, &[token]).unwrap();
    assert_eq!(receipt, json!({ "bytes": 6 }));
    assert_eq!(
        fs::read_to_string(folder.path().join("release-7.txt")).unwrap(),
        "a\n\na\n\n"
    );
    // Another process asks, by the name of the release alone.
    assert_eq!(bound(folder.path(), &schema).resolve(&run).unwrap(), Some(receipt));
    assert!(victim.exists());
}
