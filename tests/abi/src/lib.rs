//! What tests without the engine share: where the libraries are, how C code is built, how a plugin is loaded; and the
//! fuzz bodies, which are to build in minutes on a toolchain of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

pub mod fuzz;

use clinmill_host::{Limits, Loaded, Loader, file, lock::Lock};
use clinmill_model::Digest;
use clinmill_sdk::Registry;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Every built-in plugin.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry
        .source::<clinmill_plugin_hl7v2::Hl7v2>()
        .source::<clinmill_plugin_notes::Notes>()
        .source::<clinmill_plugin_table::Table>()
        .transform::<clinmill_plugin_datetime::Datetime>()
        .transform::<clinmill_plugin_labvalue::Labvalue>()
        .transform::<clinmill_plugin_map::Map>()
        .transform::<clinmill_plugin_terminology::Terminology>()
        .transform::<clinmill_plugin_units::Units>();
    registry
}

/// The library of a plugin that cargo built beside this test.
pub fn library(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let file = format!("libclinmill_cdylib_{name}.so");
    let places = program
        .ancestors()
        .skip(1)
        .take(2)
        .flat_map(|dir| [dir.join(&file), dir.join("deps").join(&file)]);
    places
        .filter(|place| place.is_file())
        .max_by_key(|place| place.metadata().and_then(|m| m.modified()).ok())
        .unwrap_or_else(|| panic!("{file} was not built"))
}

/// Limits that let a test end soon.
pub fn limits() -> Limits {
    Limits {
        call: Some(Duration::from_secs(20)),
        shows_texts: true,
        ..Limits::default()
    }
}

/// The lock that allows these libraries.
pub fn lock_of(paths: &[&Path]) -> Lock {
    let mut lock = Lock::default();
    for path in paths {
        let bytes = std::fs::read(path).unwrap();
        let header = file::header(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        lock.note(&header.name, &header.version, &header.target_triple, Digest::of(&bytes));
    }
    lock
}

/// Loads a library by a lock that allows it.
pub fn load(path: &Path, limits: Limits) -> Loaded {
    let folder = path.parent().unwrap().to_path_buf();
    Loader::new([folder], lock_of(&[path]), limits)
        .load(path)
        .unwrap_or_else(|e| panic!("{}: {}: {e}", path.display(), e.code()))
}

/// Whether a program can be started.
pub fn there_is(program: &str) -> bool {
    let status = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// A Python that can do this, found before its environment is taken away: `CLINMILL_PYTHON`, else `python3`.
pub fn python(import: &str) -> Option<PathBuf> {
    let named = std::env::var_os("CLINMILL_PYTHON").unwrap_or_else(|| "python3".into());
    let code = format!("import {import}, sys; print(sys.executable)");
    let output = Command::new(&named)
        .args(["-c", &code])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let found = output.status.success() && path.is_absolute();
    if !found {
        eprintln!("skipped: there is no Python with {import} (CLINMILL_PYTHON names one)");
    }
    found.then_some(path)
}

/// Builds a C file into a library with the system's compiler; `None`, with the reason printed, where there is none.
pub fn build_c(source: &Path, include: &Path, out: &Path, more: &[&str]) -> Option<()> {
    if !there_is("cc") {
        eprintln!("skipped: there is no cc to build {}", source.display());
        return None;
    }
    let output = Command::new("cc")
        .args([
            "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-fPIC", "-shared", "-pthread",
        ])
        .args(more)
        .arg("-I")
        .arg(include)
        .arg(source)
        .arg("-o")
        .arg(out)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cc {}:\n{}",
        source.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Some(())
}

/// Whether a process runs. One that nobody has waited for does not.
pub fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}
