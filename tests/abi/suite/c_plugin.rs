//! Plugins in C: the example, the one frozen as it was first built, one of an older minor, and hostile ones.

mod loading;

use crate::hostile::{batch, names, plugin, run};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::Int64Type,
};
use clinmill_host::Limits;
use clinmill_sdk::{
    BindContext, Descriptor, Origin, Status, TaskContext, TransformPlugin, reference,
    testing::{self, CollectedRows},
};
use clinmill_tests_abi::{build_c, limits, load, root, there_is};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

fn include() -> PathBuf {
    root().join("core/abi/include")
}

fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// Adds the lengths, and compares.
fn adds_lengths(plugin: &dyn TransformPlugin) {
    let batch = batch();
    let options = json!({ "column": "name" });
    assert!(plugin.check(&options).is_empty());
    let bound = plugin.bind(&options, &batch.schema(), &BindContext::default()).unwrap();
    assert_eq!(bound.output().field(1).name(), "name_bytes");
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 100,
    };
    let mut out = CollectedRows::default();
    let mut run = bound.open(&task).unwrap();
    run.process(&batch, &mut out).unwrap();
    run.process(&batch.slice(1, 2), &mut out).unwrap();
    run.process(&batch.slice(0, 0), &mut out).unwrap();
    run.finish(&mut out).unwrap();
    let lengths = |of: &RecordBatch| of.column(1).as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
    assert_eq!(lengths(&out.batches[0].0), [Some(9), None, Some(6)]);
    assert_eq!(lengths(&out.batches[1].0), [None, Some(6)]);
    assert_eq!(out.batches[0].1, Origin::Same);
    assert_eq!(out.batches[0].0.column(0), batch.column(0));
    assert_eq!(out.batches[2].0.num_rows(), 0);
    assert_eq!(out.counts["rows"], 5);
    // The host's own column came back, and was not made anew.
    let pointer = |of: &RecordBatch| of.column(0).as_string::<i32>().values().as_ptr();
    assert_eq!(pointer(&out.batches[0].0), pointer(&batch));
    // The batches outlive the run and the step.
    drop(run);
    drop(bound);
    assert_eq!(out.batches[1].0.column(0).len(), 2);

    let error = plugin
        .bind(&json!({ "column": "other" }), &batch.schema(), &BindContext::default())
        .err()
        .unwrap();
    assert_eq!(
        (error.status, error.code.as_str()),
        (Status::InvalidConfig, "LENGTH_COLUMN")
    );
    assert_eq!(error.pointer.as_deref(), Some("/column"));
}

#[test]
fn a_plugin_in_c_runs() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("text_length.so");
    if build_c(&here("c_plugin/text_length.c"), &include(), &out, &[]).is_none() {
        return;
    }
    let loaded = load(&out, limits());
    assert_eq!(loaded.descriptors()[0].name, "text_length");
    adds_lengths(plugin(&out, "text_length", limits()).as_ref());
    adds_lengths(plugin(&out, "text_length", Limits { call: None, ..limits() }).as_ref());
}

#[test]
fn a_folder_of_a_plugin_in_c_has_cases() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let out = folder.join("text_length.so");
    if build_c(&here("c_plugin/text_length.c"), &include(), &out, &[]).is_none() {
        return;
    }
    let plugin = plugin(&out, "text_length", limits());
    let Descriptor {
        version,
        summary,
        schema,
        ..
    } = plugin.descriptor();
    let write = |path: &str, text: String| std::fs::write(folder.join(path), text).unwrap();
    let manifest = format!(
        "name: text_length\nkind: transform\nversion: {version}\nsummary: {summary}\n\
         capabilities: [deterministic, row-wise]\nlibrary: text_length.so\n"
    );
    write("plugin.yaml", manifest);
    let sample = "text_length: { column: name }";
    write("sample.yaml", format!("{sample}\n"));
    let readme = format!(
        "<!-- sample: begin -->\n```yaml\n{sample}\n```\n<!-- sample: end -->\n\n{}\n{}\n{}\n",
        reference::BEGIN,
        reference::options_table(&schema).trim_end(),
        reference::END
    );
    write("README.md", readme);
    let case = "cases/lengths";
    std::fs::create_dir_all(folder.join(case)).unwrap();
    write(&format!("{case}/step.yaml"), format!("{sample}\n"));
    write(&format!("{case}/input.csv"), "name\n病案\n\"\"\n".into());
    let expected = r#"{
  "columns": {
    "name": "string",
    "name_bytes": "integer"
  },
  "rows": [
    {"from":0,"row":{"name":"病案","name_bytes":6}},
    {"from":1,"row":{"name":"","name_bytes":0}}
  ],
  "rejected": [],
  "counts": {
    "rows": 2
  }
}
"#;
    write(&format!("{case}/expected.json"), expected.into());
    testing::transform_cases_of(plugin.as_ref(), folder);
    let wrong: Vec<_> = testing::check_transform(plugin.as_ref(), Some(folder))
        .into_iter()
        .filter(|check| check.wrong.as_ref().is_some_and(|wrong| !wrong.is_empty()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_frozen_plugin_still_loads() {
    let dir = tempfile::tempdir().unwrap();
    let frozen = here("frozen/1.1");
    let out = dir.path().join("frozen.so");
    // Against the header of that day, not against this one.
    if build_c(&frozen.join("text_length.c"), &frozen, &out, &[]).is_some() {
        adds_lengths(plugin(&out, "text_length", limits()).as_ref());
    }
}

#[test]
fn a_plugin_of_an_older_minor_has_smaller_tables_and_loads() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("older.so");
    let older = ["-DCLINMILL_ABI_MINOR=0u"];
    if build_c(&here("c_plugin/text_length.c"), &include(), &out, &older).is_none() {
        return;
    }
    let header = clinmill_host::file::header(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(header.abi_minor, 0);
    adds_lengths(plugin(&out, "text_length", limits()).as_ref());
}

fn hostile(dir: &Path, more: &[&str]) -> Option<PathBuf> {
    let out = dir.join(format!(
        "hostile{}.so",
        more.len() + more.first().map_or(0, |m| m.len())
    ));
    let flags: Vec<&str> = ["-D_DEFAULT_SOURCE"].iter().chain(more).copied().collect();
    build_c(&here("c_plugin/hostile.c"), &include(), &out, &flags)?;
    Some(out)
}

#[test]
fn what_c_hands_over_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = hostile(dir.path(), &[]) else { return };
    // As in a pipeline.
    let limits = Limits {
        shows_texts: false,
        ..limits()
    };
    let plugin = plugin(&path, "hostile_c", limits);
    let cancelled = AtomicBool::new(false);
    for (deed, phase, code) in [
        ("null_instance", "bind", "ABI_NULL"),
        ("wrong_format", "bind", "ABI_SCHEMA"),
        ("released_schema", "bind", "ABI_SCHEMA"),
        ("shared_children", "bind", "ABI_SCHEMA"),
        ("decimal_of_no_scale", "bind", "ABI_SCHEMA"),
        ("unknown_zone", "bind", "ABI_SCHEMA"),
        ("control_name", "bind", "ABI_SCHEMA"),
        ("null_run", "open", "ABI_NULL"),
        ("null_array", "process", "ABI_NULL"),
        ("no_context", "process", "ABI_NULL"),
        ("count_without", "process", "ABI_NULL"),
        ("silent", "bind", "PLUGIN_FAILED"),
        ("null_columns", "process", "ABI_NULL"),
        ("null_column", "process", "ABI_NULL"),
        ("null_buffers", "process", "ABI_NULL"),
        ("null_buffer", "process", "ABI_NULL"),
        ("nulls_without_validity", "process", "ABI_NULL"),
        ("released_batch", "process", "ABI_RELEASED"),
        ("wrong_port", "process", "ABI_PORT"),
        ("say_value", "process", "HOSTILE_VALUE"),
        ("count_value", "process", "ABI_NAME"),
        ("count_many", "process", "ABI_NAMES"),
        ("too_many_columns", "process", "ABI_SCHEMA"),
        ("too_few_buffers", "process", "ABI_SCHEMA"),
        ("offsets_backwards", "process", "ABI_ARRAY"),
        ("offsets_negative", "process", "ABI_ARRAY"),
        ("not_utf8", "process", "ABI_ARRAY"),
        ("decimal_beyond", "process", "ABI_ARRAY"),
        ("batch_nulls", "process", "ABI_ARRAY"),
        ("short_child", "process", "ABI_ARRAY"),
        ("rows_in_finish", "finish", "ABI_STATE"),
        ("column_length", "process", "ABI_ARRAY"),
        ("negative_length", "process", "ABI_ARRAY"),
        ("huge_length", "process", "ABI_TOO_LARGE"),
        ("huge_batch", "process", "ABI_TOO_LARGE"),
        ("fewer_rows", "process", "ABI_LINEAGE"),
        ("emit_twice", "process", "ABI_RELEASED"),
        ("copy_twice", "process", "ABI_RELEASED"),
        ("cancelled", "process", "ABI_CANCELLED"),
        ("strange_code", "process", "ABI_CODE"),
    ] {
        let error = run(plugin.as_ref(), deed, &cancelled)
            .err()
            .unwrap_or_else(|| panic!("{deed}"));
        assert_eq!(error.code, code, "{deed}: {error}");
        names(&error, "hostile_c", phase);
    }
    assert_eq!(plugin.check(&json!({ "deed": "not_json" }))[0].code, "ABI_FINDINGS");
    let findings = plugin.check(&json!({ "deed": "many_findings" }));
    assert_eq!(findings.len(), 101);
    assert!(
        findings[100].message.contains("1900 more findings"),
        "{}",
        findings[100].message
    );
    for (deed, status, said) in [
        ("say_panic", Status::Panic, "it panicked"),
        ("say_exhausted", Status::ResourceExhausted, "less memory"),
    ] {
        let error = run(plugin.as_ref(), deed, &cancelled).err().unwrap();
        assert_eq!(error.status, status, "{deed}");
        assert!(error.message.contains(said), "{error}");
        names(&error, "hostile_c", "process");
    }
    assert_eq!(
        run(plugin.as_ref(), "unknown_status", &cancelled).err().unwrap().status,
        Status::Internal
    );
    assert_eq!(
        run(plugin.as_ref(), "nothing", &cancelled).unwrap().batches[0]
            .0
            .num_rows(),
        3
    );
    // A schema that is lent is not released, whatever the plugin does.
    run(plugin.as_ref(), "release_input", &cancelled).unwrap();
}

#[test]
fn slices_of_one_buffer_are_different_arrays_and_count_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = hostile(dir.path(), &[]) else { return };
    let with = |memory| {
        let limits = Limits { memory, ..limits() };
        plugin(&path, "hostile_c", limits)
    };
    let cancelled = AtomicBool::new(false);
    for deed in ["slices", "slices_of_one"] {
        let out = run(with(1 << 20).as_ref(), deed, &cancelled).unwrap_or_else(|error| panic!("{deed}: {error}"));
        let texts: Vec<usize> = out
            .batches
            .iter()
            .map(|(b, _)| b.column(0).as_string::<i32>().value(0).len())
            .collect();
        assert_eq!(texts, [400_001, 1, 1], "{deed}");
        // Once, it counts.
        let error = run(with(300 << 10).as_ref(), deed, &cancelled).err().unwrap();
        assert_eq!(error.code, "ABI_TOO_LARGE", "{deed}: {error}");
    }
}

#[test]
fn what_is_released_twice_is_freed_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = hostile(dir.path(), &[]) else { return };
    let cancelled = AtomicBool::new(false);
    for deed in ["release_twice", "release_column_twice"] {
        let plugin = plugin(&path, "hostile_c", limits());
        let error = run(plugin.as_ref(), deed, &cancelled).err().unwrap();
        assert_eq!(error.code, "ABI_RELEASED", "{deed}");
        names(&error, "hostile_c", "process");
        // Of what it does to memory that is the host's, it is not called again.
        assert_eq!(
            run(plugin.as_ref(), "nothing", &cancelled).err().unwrap().code,
            "PLUGIN_POISONED"
        );
    }
}

#[test]
fn the_release_of_an_array_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = hostile(dir.path(), &[]) else { return };
    for (deed, code) in [("endless_array", "PLUGIN_TIMEOUT"), ("exit_array", "PLUGIN_THREAD")] {
        let limits = Limits {
            call: Some(Duration::from_millis(300)),
            ..limits()
        };
        let plugin = plugin(&path, "hostile_c", limits);
        let batch = batch();
        let bound = plugin
            .bind(&json!({ "deed": deed }), &batch.schema(), &BindContext::default())
            .unwrap();
        let cancelled = AtomicBool::new(false);
        let task = TaskContext {
            cancelled: &cancelled,
            batch_rows: 100,
        };
        let mut out = CollectedRows::default();
        let mut run = bound.open(&task).unwrap();
        run.process(&batch, &mut out).unwrap();
        assert_eq!(
            bound.settle(),
            Ok(()),
            "{deed}: as long as its rows are used, nothing is released"
        );
        let began = Instant::now();
        out.batches.clear();
        assert!(
            began.elapsed() < Duration::from_millis(100),
            "{deed}: who drops rows does not wait"
        );
        let error = bound.settle().unwrap_err();
        assert_eq!(error.code, code, "{deed}: {error}");
        names(&error, "hostile_c", "release");
        assert_eq!(run.process(&batch, &mut out).unwrap_err().code, code, "{deed}");
    }
}

#[test]
fn the_release_of_a_run_is_told_before_anything_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = hostile(dir.path(), &[]) else { return };
    let limits = Limits {
        call: Some(Duration::from_millis(300)),
        ..limits()
    };
    let plugin = plugin(&path, "hostile_c", limits);
    let batch = batch();
    let options = json!({ "deed": "endless_run" });
    let bound = plugin.bind(&options, &batch.schema(), &BindContext::default()).unwrap();
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 100,
    };
    drop(bound.open(&task).unwrap());
    let error = bound.settle().unwrap_err();
    assert_eq!(error.code, "PLUGIN_TIMEOUT", "{error}");
    names(&error, "hostile_c", "release");
    let told = clinmill_host::take_unreleased();
    assert!(!told.contains(&error), "it is told once: {told:?}");
}

#[test]
fn a_call_that_ends_its_thread_or_never_ends_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = hostile(dir.path(), &[]) else { return };
    let cancelled = AtomicBool::new(false);
    for (deed, phase, code) in [
        ("thread_exit", "process", "PLUGIN_THREAD"),
        ("exit_in_finish", "finish", "PLUGIN_THREAD"),
        ("endless", "process", "PLUGIN_TIMEOUT"),
        ("endless_schema", "bind", "PLUGIN_TIMEOUT"),
        ("exit_schema", "bind", "PLUGIN_THREAD"),
        ("endless_error", "process", "PLUGIN_TIMEOUT"),
        ("exit_error", "process", "PLUGIN_THREAD"),
    ] {
        let limits = Limits {
            call: Some(Duration::from_millis(300)),
            ..limits()
        };
        let error = run(plugin(&path, "hostile_c", limits).as_ref(), deed, &cancelled)
            .err()
            .unwrap();
        assert_eq!(error.code, code, "{deed}: {error}");
        names(&error, "hostile_c", phase);
    }
    let findings = plugin(&path, "hostile_c", limits()).check(&json!({ "deed": "exit_in_check" }));
    assert_eq!(findings[0].code, "PLUGIN_THREAD");
    for (deed, code) in [("exit_buf", "PLUGIN_THREAD"), ("endless_buf", "PLUGIN_TIMEOUT")] {
        let limits = Limits {
            call: Some(Duration::from_millis(300)),
            ..limits()
        };
        let findings = plugin(&path, "hostile_c", limits).check(&json!({ "deed": deed }));
        assert_eq!(findings[0].code, code, "{deed}");
    }
}

#[test]
fn a_call_that_is_cancelled_and_goes_on_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = hostile(dir.path(), &[]) else { return };
    for deed in ["endless", "endless_cancel"] {
        let limits = Limits {
            call: Some(Duration::from_secs(60)),
            ..limits()
        };
        let plugin = plugin(&path, "hostile_c", limits);
        let cancelled = Arc::new(AtomicBool::new(false));
        let later = cancelled.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            later.store(true, Ordering::Relaxed);
        });
        let began = Instant::now();
        let error = run(plugin.as_ref(), deed, &cancelled).err().unwrap();
        assert_eq!(error.status, Status::Cancelled, "{deed}: {error}");
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{deed} took {:?}",
            began.elapsed()
        );
        thread.join().unwrap();
    }
}

#[test]
fn the_slot_of_a_later_minor_is_called() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = hostile(dir.path(), &[]) else { return };
    let plugin = plugin(&path, "hostile_c", limits());
    let cancelled = Arc::new(AtomicBool::new(false));
    let later = cancelled.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        later.store(true, Ordering::Relaxed);
    });
    // It waits for `cancel`, which is since 1.1, and does not look at the flag.
    let error = run(plugin.as_ref(), "until_cancel", &cancelled).err().unwrap();
    assert_eq!(error.status, Status::Cancelled);
    thread.join().unwrap();
}

#[test]
fn the_keywords_that_options_are_checked_by_stand_in_the_pages() {
    let read = |page: &str| std::fs::read_to_string(root().join(page)).unwrap();
    let (header, page) = (read("core/abi/include/clinmill_plugin.h"), read("core/PLUGINS.md"));
    let words: Vec<&str> = header.split(|c: char| !c.is_ascii_alphanumeric() && c != '$').collect();
    for keyword in clinmill_model::keywords::CHECKED {
        assert!(words.contains(&keyword), "the header: {keyword}");
        assert!(page.contains(&format!("`{keyword}`")), "PLUGINS.md: {keyword}");
    }
}

/// valgrind over what comes back and gives everything back. Not over the rest, which keeps memory by design: a lost call
/// or release with all it was given; a plugin that is not called again with its instances; a library whose *init* fails
/// with the host's table; panics of Rust plugins in a drop. Nor over processes, which share no memory with the host, nor over
/// the fuzz bodies, which would take minutes for the same code of the boundary.
#[test]
fn valgrind_finds_nothing() {
    if let Some(missing) = ["valgrind", "cc"].into_iter().find(|program| !there_is(program)) {
        eprintln!("skipped: there is no {missing} to look for errors of memory with");
        return;
    }
    let tests = [
        "c_plugin::a_plugin_in_c_runs",
        "c_plugin::the_frozen_plugin_still_loads",
        "c_plugin::a_plugin_of_an_older_minor_has_smaller_tables_and_loads",
        "c_plugin::what_c_hands_over_is_checked",
        "c_plugin::slices_of_one_buffer_are_different_arrays_and_count_once",
        "c_plugin::the_slot_of_a_later_minor_is_called",
        "c_plugin::loading::what_may_not_be_loaded_is_not",
        "hostile::a_call_is_told_to_stop",
        "hostile::rejections_count_as_memory",
        "sink::it_keeps_the_laws_of_sinks",
        "sink::what_a_sink_says_of_its_failures_arrives",
        "conformance::datetime",
        "conformance::hl7v2",
        "conformance::labvalue",
        "conformance::map",
        "conformance::notes",
        "conformance::table",
        "conformance::terminology",
        "conformance::units",
    ];
    let output = Command::new("valgrind")
        .args([
            "--error-exitcode=9",
            "--leak-check=full",
            "--show-leak-kinds=definite",
            "--errors-for-leak-kinds=definite",
            "--quiet",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--test-threads=1"])
        .args(tests)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{said}");
    // A name that is no test's any more would be left out without a word.
    let passed = format!("{} passed", tests.len());
    assert!(told.contains(&passed), "not {passed}: {told}");
}
