//! Plugins that are processes: the examples in Python over the conformance suite, and hostile ones.

mod source;

use crate::hostile::{batch, names};
use arrow::{
    array::{AsArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use clinmill_host::{
    Limits,
    process::{self, Pinned},
};
use clinmill_model::Digest;
use clinmill_sdk::{
    BindContext, BoundSource, MemoryInput, Origin, PluginError, Registry, SinkRun, SourcePlugin, Split, Status,
    TaskContext, TransformPlugin,
    testing::{self, Checked, CollectedRecords, CollectedRows},
};
use clinmill_tests_abi::python;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

pub fn limits(call: Duration) -> Limits {
    Limits {
        call: Some(call),
        progress: Some(call),
        memory: 8 << 30,
        shows_texts: true,
        ..Limits::default()
    }
}

pub fn registered(name: &str, command: Vec<PathBuf>, limits: Limits) -> Result<Registry, PluginError> {
    let mut registry = Registry::default();
    // Behind an interpreter stands what it runs.
    let path = command.get(1).or(command.first()).unwrap().clone();
    let digest = Digest::of(&fs::read(&path).unwrap_or_default());
    process::register(&mut registry, name, command, Pinned { path, digest }, limits)?;
    Ok(registry)
}

/// An example, by the Python that has what it needs.
fn example(name: &str) -> Option<Registry> {
    let command = vec![python("pyarrow")?, folder(name).join(format!("{name}.py"))];
    Some(registered(name, command, limits(Duration::from_secs(60))).unwrap())
}

fn hostile(python: &Path, deed: &str, limits: Limits) -> Result<Arc<dyn TransformPlugin>, PluginError> {
    let command = vec![python.to_path_buf(), folder("hostile.py"), deed.into()];
    // As in a pipeline.
    let limits = Limits {
        shows_texts: false,
        ..limits
    };
    let registry = registered("hostile", command, limits)?;
    Ok(registry.get_transform("hostile").unwrap().clone())
}

/// What `clinmill plugin check` asks: all of it was asked, and nothing is wrong.
fn clean(checks: &[Checked]) {
    for check in checks {
        assert_eq!(check.wrong.as_deref(), Some(&[][..]), "{}", check.name);
    }
}

#[test]
fn the_transform_in_python_conforms() {
    let Some(registry) = example("upper") else { return };
    let plugin = registry.get_transform("upper").unwrap().as_ref();
    testing::transform_cases_of(plugin, &folder("upper"));
}

#[test]
fn the_source_in_python_conforms() {
    let Some(registry) = example("lines") else { return };
    let plugin = registry.get_source("lines").unwrap().as_ref();
    testing::source_cases_of(plugin, &folder("lines"));
    // Its splits are parts of the input that end at a line, and together they are all of it.
    let input = MemoryInput::new("input", fs::read(folder("lines").join("cases/wide/input.txt")).unwrap());
    let options = json!({ "issuer": "MRN", "part": 20 });
    let bound = plugin.bind(&options, &BindContext::default()).unwrap();
    let splits = bound.splits(&input).unwrap();
    assert!(splits.len() > 2, "{splits:?}");
    assert!(splits.windows(2).all(|pair| pair[0].end == pair[1].start), "{splits:?}");
    assert_eq!(
        splits.last().map(|split| split.end),
        Some(clinmill_sdk::Input::size(&input))
    );
}

#[test]
fn the_sink_in_python_conforms() {
    let Some(registry) = example("pile") else { return };
    let plugin = registry.get_sink("pile").unwrap().as_ref();
    testing::sink_cases_of(plugin, &folder("pile"));
}

#[test]
fn a_plugin_that_is_a_process_passes_the_check_of_plugins() {
    let Some(python) = python("pyarrow") else { return };
    let command = vec![python, folder("lines").join("lines.py")];
    let registry = registered("lines", command, limits(Duration::from_secs(60))).unwrap();
    clean(&testing::check_source(
        registry.get_source("lines").unwrap().as_ref(),
        Some(&folder("lines")),
    ));
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
    let Some(registry) = example("upper") else { return };
    let plugin = registry.get_transform("upper").unwrap().clone();
    assert_eq!(plugin.descriptor().version, "1.0.0");
    assert!(plugin.check(&json!({ "column": "name" })).is_empty());
    let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
    let names = StringArray::from(vec![Some("aé"), Some(""), None, Some("z")]);
    let batch = RecordBatch::try_new(schema, vec![Arc::new(names)]).unwrap();
    let out = run(plugin.as_ref(), &batch, "name").unwrap();
    let (rows, origin) = &out.batches[0];
    let texts: Vec<_> = rows.column(0).as_string::<i32>().iter().collect();
    assert_eq!(texts, [Some("AÉ"), None, Some("Z")]);
    assert_eq!(*origin, Origin::Rows(vec![0, 2, 3]));
    assert_eq!((out.rejected[0].row, out.rejected[0].code.as_str()), (1, "UPPER_EMPTY"));
    let error = run(plugin.as_ref(), &batch, "other").err().unwrap();
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
        ("whole", "describe", "PLUGIN_PROTOCOL"),
        ("keyword", "describe", "PLUGIN_PROTOCOL"),
        ("rows_in_finish", "finish", "PLUGIN_PROTOCOL"),
        ("capability", "describe", "PLUGIN_PROTOCOL"),
        ("name", "describe", "PLUGIN_PROTOCOL"),
        ("bind", "bind", "PLUGIN_PROTOCOL"),
        ("hang", "process", "PLUGIN_TIMEOUT"),
        ("chatter", "process", "PLUGIN_TIMEOUT"),
        ("sibling", "describe", "PLUGIN_PROCESS"),
        ("heavy", "process", "PLUGIN_MEMORY"),
        ("late", "finish", "PLUGIN_PROTOCOL"),
        ("names", "process", "ABI_NAMES"),
        ("say_value", "process", "HOSTILE_VALUE"),
        ("count_value", "process", "ABI_NAME"),
        ("large", "process", "PLUGIN_PROTOCOL"),
        ("crash_later", "process", "PLUGIN_PROCESS"),
        ("exit", "process", "PLUGIN_PROCESS"),
        ("garbage", "process", "PLUGIN_PROTOCOL"),
        ("compressed", "process", "PLUGIN_PROTOCOL"),
        ("cancelled", "process", "PLUGIN_PROTOCOL"),
        ("strange_code", "process", "PLUGIN_PROTOCOL"),
        ("flip", "process", "PLUGIN_PROTOCOL"),
    ] {
        let mut limits = limits(Duration::from_secs(2));
        if deed == "memory" || deed == "heavy" {
            limits.memory = 512 << 20;
        }
        if deed == "heavy" {
            limits.call = Some(Duration::from_secs(20));
        }
        let began = Instant::now();
        let outcome = hostile(&python, deed, limits);
        let error = match outcome.and_then(|plugin| run(plugin.as_ref(), &batch(), "name")) {
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
        if deed == "keyword" {
            assert!(error.message.contains("the keyword \"not\" at \"\""), "{error}");
        }
        if deed == "compressed" {
            assert!(error.message.contains("compressed batches are not taken"), "{error}");
        }
        // Before it was given anything, what it says can be told; later it may hold values.
        if deed == "crash" {
            assert!(
                error
                    .message
                    .ends_with("3 lines, 42 bytes, which end: no module[2J no module[2J no module[2J"),
                "{error}"
            );
        }
        if deed == "sibling" {
            assert!(error.message.contains("No module named 'upper'"), "{error}");
        }
        for (of, says) in [
            ("name", "it has another name: \"other\""),
            (
                "capability",
                "\"row_wise\" is not known; these are: row-wise, subject-wise, ",
            ),
        ] {
            assert!(deed != of || error.message.contains(says), "{error}");
        }
        if deed == "crash_later" {
            assert!(error.message.ends_with("3 lines, 30 bytes"), "{error}");
        }
    }
    // Who checks a plugin sees its end as it was written: the rows are the author's own.
    let command = vec![python.clone(), folder("hostile.py"), "crash_later".into()];
    let registry = registered("hostile", command, limits(Duration::from_secs(20))).unwrap();
    let error = run(registry.get_transform("hostile").unwrap().as_ref(), &batch(), "name");
    let end = "3 lines, 30 bytes, which end:\n王小明\n王小明\n王小明";
    assert!(error.err().unwrap().message.ends_with(end));
    let plugin = hostile(&python, "environment", limits(Duration::from_secs(20))).unwrap();
    run(plugin.as_ref(), &batch(), "name").unwrap();
    let missing = registered("none", vec!["/nowhere/plugin".into()], limits(Duration::from_secs(2)));
    assert_eq!(missing.err().unwrap().code, "PLUGIN_START");
}

/// All records of an input.
pub fn read_all(
    source: &dyn BoundSource,
    input: &MemoryInput,
    cancelled: bool,
) -> Result<CollectedRecords, PluginError> {
    let cancelled = AtomicBool::new(cancelled);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 1024,
    };
    let mut out = CollectedRecords::default();
    for split in source.splits(input)? {
        source.read(input, &split, &task, &mut out)?;
    }
    Ok(out)
}

#[test]
fn a_process_outlives_the_thread_that_started_it() {
    let Some(registry) = example("pile") else { return };
    let place = tempfile::tempdir().unwrap();
    let options = json!({ "folder": place.path() });
    let batch = batch();
    let bound = registry
        .get_sink("pile")
        .unwrap()
        .bind(&options, &batch.schema(), &BindContext::default())
        .unwrap();
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 1024,
    };
    let run = SinkRun {
        run_id: "release-1",
        task: &task,
    };
    // What was written is the process's own: another one would not know of it.
    let started = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut writers = [bound.open(&run).unwrap(), bound.open(&run).unwrap()];
            writers.iter_mut().for_each(|writer| writer.write(&batch).unwrap());
            writers
        });
        thread.join().unwrap()
    });
    std::thread::sleep(Duration::from_millis(300));
    let tokens: Vec<Vec<u8>> = started
        .into_iter()
        .map(|mut writer| writer.prepare().unwrap())
        .collect();
    let receipt = bound.commit(&run, &tokens).unwrap();
    assert_eq!(bound.resolve(&run).unwrap(), Some(receipt));
    let written = fs::read_to_string(place.path().join("release-1.jsonl")).unwrap();
    assert_eq!(written.lines().count(), 2 * batch.num_rows());
}

#[test]
fn a_program_that_is_changed_after_it_was_loaded_is_not_started() {
    let Some(python) = python("pyarrow") else { return };
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("lines.py");
    fs::copy(folder("lines").join("lines.py"), &program).unwrap();
    let registry = registered("lines", vec![python, program.clone()], limits(Duration::from_secs(20))).unwrap();
    let plugin = registry.get_source("lines").unwrap();
    let options = json!({ "issuer": "MRN" });
    assert!(plugin.bind(&options, &BindContext::default()).is_ok());
    let digest = Digest::of(&fs::read(&program).unwrap());
    fs::write(&program, "raise SystemExit(7)\n").unwrap();
    // What is started is what was looked at, and not what lies there now.
    assert!(plugin.bind(&options, &BindContext::default()).is_ok());
    let pinned = Pinned {
        path: program.clone(),
        digest,
    };
    let command = vec!["/bin/false".into(), program];
    let again = process::register(
        &mut Registry::default(),
        "lines",
        command,
        pinned,
        limits(Duration::from_secs(20)),
    );
    let error = again.unwrap_err();
    assert_eq!(error.code, "PLUGIN_DIGEST");
    names(&error, "lines", "start");
}

#[test]
fn a_commit_that_is_lost_is_unknown() {
    let Some(python) = python("pyarrow") else { return };
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("pile.py");
    let text = fs::read_to_string(folder("pile").join("pile.py")).unwrap();
    let landed = "            durable(self.folder)\n";
    assert!(text.contains(landed));
    fs::write(&program, text.replace(landed, "            os.abort()\n")).unwrap();
    let registry = registered("pile", vec![python, program], limits(Duration::from_secs(20))).unwrap();
    let batch = batch();
    let bound = registry
        .get_sink("pile")
        .unwrap()
        .bind(
            &json!({ "folder": place.path() }),
            &batch.schema(),
            &BindContext::default(),
        )
        .unwrap();
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 1024,
    };
    let run = SinkRun {
        run_id: "release-1",
        task: &task,
    };
    let mut writer = bound.open(&run).unwrap();
    writer.write(&batch).unwrap();
    let token = writer.prepare().unwrap();
    drop(writer);
    let error = bound.commit(&run, std::slice::from_ref(&token)).unwrap_err();
    assert_eq!(
        (error.status, error.code.as_str()),
        (Status::CommitUnknown, "PLUGIN_PROCESS")
    );
    names(&error, "pile", "commit");
    // It had landed: whoever asks is told, and the same again does nothing.
    let receipt = bound.resolve(&run).unwrap().unwrap();
    assert_eq!(bound.commit(&run, &[token]).unwrap(), receipt);
    let error = bound.commit(&run, &[b"../victim".to_vec()]).unwrap_err();
    assert_eq!(
        (error.status, error.code.as_str()),
        (Status::InvalidState, "PILE_TOKEN")
    );
}
