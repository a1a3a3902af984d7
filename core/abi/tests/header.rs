//! The header compiles as C and as C++, and its numbers are those of the crate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use clinmill_abi::{ABI_MAJOR, ABI_MINOR, Cap, Fold, Key, Kind, MAGIC, Port, Retry, SYMBOL, Status, TARGET_TRIPLE};
use std::collections::BTreeMap;

const HEADER: &str = include_str!("../include/clinmill_plugin.h");

/// Names and values of all enumerators: plain numbers, and bits.
fn enumerators() -> BTreeMap<String, i64> {
    let mut all = BTreeMap::new();
    for part in HEADER.split("enum {").skip(1) {
        let (body, _) = part.split_once('}').expect("an enum closes");
        for entry in body.split(',') {
            let (name, value) = entry.split_once('=').expect("an enumerator has a value");
            let value = match value.trim().split_once("u << ") {
                Some(("1", bit)) => 1 << bit.parse::<u32>().unwrap(),
                _ => value.trim().parse().unwrap_or_else(|_| panic!("{name} has no number")),
            };
            assert_eq!(all.insert(name.trim().to_owned(), value), None, "{name} is there twice");
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
    assert!(TARGET_TRIPLE.is_empty() || HEADER.contains(&format!("CLINMILL_TARGET_TRIPLE \"{TARGET_TRIPLE}\"")));
    assert!(HEADER.contains(&format!("extern const clinmill_plugin {SYMBOL};")));
    let ours: BTreeMap<String, i64> = Status::ALL
        .iter()
        .map(|(s, name)| (*name, s.code()))
        .chain(Retry::ALL.iter().map(|(r, name)| (*name, r.code())))
        .chain(Kind::ALL.iter().map(|(k, name)| (*name, k.code())))
        .chain(Port::ALL.iter().map(|(p, name)| (*name, p.code())))
        .chain(Key::ALL.iter().map(|(k, name)| (*name, k.code())))
        .chain(Cap::ALL.iter().map(|(c, name)| (*name, c.code())))
        .chain(Fold::ALL.iter().map(|(f, name)| (*name, f.code())))
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
