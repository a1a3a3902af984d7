//! The header compiles as C and as C++, and its numbers are those of the crate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use clinmill_abi::{ABI_MAJOR, ABI_MINOR, Kind, MAGIC, Port, Retry, SYMBOL, Status};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Stdio},
};

const HEADER: &str = include_str!("../include/clinmill_plugin.h");

/// Names and values of all enumerators that are plain numbers.
fn enumerators() -> BTreeMap<String, i64> {
    let mut all = BTreeMap::new();
    for part in HEADER.split("enum {").skip(1) {
        let (body, _) = part.split_once('}').expect("an enum closes");
        for entry in body.split(',') {
            let (name, value) = entry.split_once('=').expect("an enumerator has a value");
            if let Ok(value) = value.trim().parse() {
                assert_eq!(all.insert(name.trim().to_owned(), value), None, "{name} is there twice");
            }
        }
    }
    all
}

/// The value of a `#define` of an unsigned number.
fn define(name: &str) -> u32 {
    let value = HEADER
        .lines()
        .filter_map(|line| line.strip_prefix("#define "))
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.split_whitespace().next())
        .unwrap_or_else(|| panic!("{name} is not defined"));
    let digits = value.trim_end_matches('u');
    match digits.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).unwrap(),
        None => digits.parse().unwrap(),
    }
}

#[test]
fn the_numbers_are_the_headers() {
    assert_eq!(define("CLINMILL_MAGIC"), MAGIC);
    assert_eq!(MAGIC.to_le_bytes(), *b"CML1");
    assert_eq!(define("CLINMILL_ABI_MAJOR"), ABI_MAJOR);
    assert_eq!(define("CLINMILL_ABI_MINOR"), ABI_MINOR);
    assert!(HEADER.contains(&format!("extern const clinmill_plugin {SYMBOL};")));
    let ours: BTreeMap<String, i64> = Status::ALL
        .iter()
        .map(|(s, name)| (*name, s.code()))
        .chain(Retry::ALL.iter().map(|(r, name)| (*name, r.code())))
        .chain(Kind::ALL.iter().map(|(k, name)| (*name, k.code())))
        .chain(Port::ALL.iter().map(|(p, name)| (*name, p.code())))
        .map(|(name, code)| (name.to_owned(), i64::from(code)))
        .collect();
    assert_eq!(enumerators(), ours);
}

#[test]
fn codes_come_back() {
    for (status, _) in Status::ALL {
        assert_eq!(Status::from_code(status.code()), Some(*status));
    }
    assert_eq!(Status::from_code(16), None);
    assert_eq!(Kind::from_code(0), None);
}

/// What only a compiler can say: sizes, and that nothing warns.
const PROBE: &str = r#"#include "clinmill_plugin.h"
#ifdef __cplusplus
#define CHECK(what) static_assert(what, #what)
#else
#define CHECK(what) _Static_assert(what, #what)
#endif
CHECK(sizeof(clinmill_status) == 4);
CHECK(sizeof(clinmill_str) == 2 * sizeof(void*));
CHECK(offsetof(clinmill_plugin, magic) == 0);
CHECK(offsetof(clinmill_error, struct_size) == 0);
CHECK(CLINMILL_PANIC == 15);
CHECK(CLINMILL_CAP_DETERMINISTIC == 512);
int main(void) { return 0; }
"#;

#[test]
fn it_compiles_as_c11_and_cpp17() {
    for (compiler, language, standard) in [("cc", "c", "-std=c11"), ("c++", "c++", "-std=c++17")] {
        let there = Command::new(compiler)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !there.is_ok_and(|status| status.success()) {
            eprintln!("skipped: there is no {compiler} to compile the header as {language}");
            continue;
        }
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let probe = dir.join(format!("probe.{language}"));
        std::fs::write(&probe, PROBE).unwrap();
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
        assert!(
            output.status.success(),
            "{compiler} {standard}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
