//! Sizes and offsets: the header, compiled as C11 and as C++17, against the twins in Rust.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use clinmill_abi::tables::*;
use std::{
    fmt::Write as _,
    mem::{align_of, offset_of, size_of},
    path::PathBuf,
    process::{Command, Stdio},
};

macro_rules! twins {
    ($($twin:ident = $c:literal { $($field:ident),* })*) => {
        fn checks() -> String {
            let mut out = String::new();
            $(
                writeln!(out, "CHECK(sizeof({0}) == {1});", $c, size_of::<$twin>()).unwrap();
                writeln!(out, "CHECK(ALIGN({0}) == {1});", $c, align_of::<$twin>()).unwrap();
                $(writeln!(out, "CHECK(offsetof({0}, {1}) == {2});", $c, stringify!($field), offset_of!($twin, $field)).unwrap();)*
            )*
            out
        }
    };
}

twins! {
    ArrowSchema = "struct ArrowSchema" { format, name, metadata, flags, n_children, children, dictionary, release, private_data }
    ArrowArray = "struct ArrowArray" {
        length, null_count, offset, n_buffers, n_children, buffers, children, dictionary, release, private_data
    }
    Str = "clinmill_str" { ptr, len }
    Buf = "clinmill_buf" { ptr, len, private_data, release }
    Error = "clinmill_error" { struct_size, retry, retry_after_ms, has_offset, offset, code, message, config_pointer, private_data, release }
    Host = "clinmill_host" { struct_size, abi_minor, ctx, mem_reserve, get_extension }
    Panicked = "clinmill_panicked" { struct_size, reserved, ctx, panicked }
    Task = "clinmill_task" { struct_size, target_batch_rows, cancelled }
    Resource = "clinmill_resource" { reference, file, ptr, len }
    Bind = "clinmill_bind" { struct_size, n_resources, config_json, name, timezone, resources, input }
    LifecycleVt = "clinmill_lifecycle_vt" { struct_size, reserved, check, bind, probe, release }
    Record = "clinmill_record" { struct_size, key, fold, subject, name, key_columns, n_key_columns, schema }
    Capture = "clinmill_capture" { name, value }
    Input = "clinmill_input" { struct_size, n_captures, ctx, name, captures, size, read_at }
    Split = "clinmill_split" { start, end }
    Locator = "clinmill_locator" { offset, length, row, part, cell }
    Rejection = "clinmill_rejection" { struct_size, kind, code, message, at }
    Link = "clinmill_link" { struct_size, reserved, survivor_issuer, survivor_id, retired_issuer, retired_id, version, at }
    Records = "clinmill_records" { struct_size, reserved, ctx, rows, reject, link, filtered, progress }
    Splits = "clinmill_splits" { ctx, add }
    SourceVt = "clinmill_source_vt" { struct_size, reserved, n_records, record, splits, read }
    Emit = "clinmill_emit" { struct_size, reserved, ctx, emit, count }
    TransformVt = "clinmill_transform_vt" { struct_size, reserved, output, open, process, finish, release, cancel }
    Run = "clinmill_run" { struct_size, reserved, run_id, task }
    SinkVt = "clinmill_sink_vt" { struct_size, reserved, open, write, prepare, commit, resolve, abort, release }
    Component = "clinmill_component" { struct_size, kind, caps, name, version, summary, schema, lifecycle, vt }
    Plugin = "clinmill_plugin" { magic, struct_size, abi_major, abi_minor, target_triple, name, version, init, n_components, reserved, components }
}

fn compile(compiler: &str, language: &str, standard: &str, name: &str, source: &str) -> Option<Result<(), String>> {
    let there = Command::new(compiler)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no {compiler} to compile the header as {language}");
        return None;
    }
    let probe = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{language}"));
    std::fs::write(&probe, source).unwrap();
    let output = Command::new(compiler)
        .args([
            "-x",
            language,
            standard,
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-fsyntax-only",
            "-I",
        ])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/include"))
        .arg(&probe)
        .output()
        .unwrap();
    Some(match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    })
}

const COMPILERS: [(&str, &str, &str); 2] = [("cc", "c", "-std=c11"), ("c++", "c++", "-std=c++17")];

const PREAMBLE: &str = r#"#include "clinmill_plugin.h"
#ifdef __cplusplus
#define CHECK(what) static_assert(what, #what)
#define ALIGN(type) alignof(type)
#else
#define CHECK(what) _Static_assert(what, #what)
#define ALIGN(type) _Alignof(type)
#endif
"#;

#[test]
fn sizes_and_offsets_are_the_headers() {
    let all = checks();
    assert!(all.lines().count() > 150, "few checks:\n{all}");
    for (compiler, language, standard) in COMPILERS {
        let source = format!("{PREAMBLE}{all}int main(void) {{ return 0; }}\n");
        if let Some(Err(said)) = compile(compiler, language, standard, "layout", &source) {
            panic!("{compiler} {standard}:\n{said}");
        }
        // The check can fail.
        let wrong =
            format!("{PREAMBLE}CHECK(offsetof(clinmill_error, offset) == 17);\nint main(void) {{ return 0; }}\n");
        assert!(compile(compiler, language, standard, "wrong", &wrong).is_none_or(|outcome| outcome.is_err()));
    }
}

#[test]
fn an_older_minor_is_a_prefix() {
    let older = format!(
        "#define CLINMILL_ABI_MINOR 0u\n{PREAMBLE}CHECK(sizeof(clinmill_transform_vt) == {});\nint main(void) {{ return 0; }}\n",
        offset_of!(TransformVt, cancel)
    );
    for (compiler, language, standard) in COMPILERS {
        if let Some(Err(said)) = compile(compiler, language, standard, "older", &older) {
            panic!("{compiler} {standard}:\n{said}");
        }
    }
}
