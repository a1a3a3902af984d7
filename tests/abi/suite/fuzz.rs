//! Fuzz bodies as property tests: the header of a library, the lock, the options of a plugin.

use clinmill_host::file;
use clinmill_sdk::{Kind, Registry};
use clinmill_tests_abi::{
    fuzz::{header, lock},
    library, limits, load,
};
use proptest::prelude::*;
use serde_json::Value;
use std::sync::OnceLock;

/// Whatever the options are: findings or none, the same twice, and no panic.
fn options(registry: &Registry, options: &Value) {
    for kind in [Kind::Source, Kind::Transform] {
        for descriptor in registry.descriptors(kind) {
            let check = || match kind {
                Kind::Source => registry.get_source(&descriptor.name).unwrap().check(options),
                _ => registry.get_transform(&descriptor.name).unwrap().check(options),
            };
            let findings = check();
            assert!(
                findings.iter().all(|f| f.code != "PANIC"),
                "{}: {options}",
                descriptor.name
            );
            assert_eq!(findings, check());
        }
    }
}

fn plugin_file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| std::fs::read(library("hostile")).unwrap())
}

fn plugins() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut registry = Registry::default();
        for name in [
            "datetime",
            "map",
            "notes",
            "table",
            "hl7v2",
            "labvalue",
            "terminology",
            "units",
        ] {
            let limits = clinmill_host::Limits { call: None, ..limits() };
            load(&library(name), limits).register(&mut registry).unwrap();
        }
        registry
    })
}

/// JSON out of the words that options have.
fn json() -> impl Strategy<Value = Value> {
    let words = "column|columns|formats|as|date|timezone|on_error|rules|subject|id|issuer|key|encoding|delimiter|records|\
                 fields|per|map|by|unmapped|expr|set|where|kind|format|header|sheet";
    let word = proptest::sample::select(words.split('|').map(|w| w.trim().to_owned()).collect::<Vec<_>>());
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

#[test]
fn the_plugin_file_is_one() {
    assert_eq!(file::header(plugin_file()).unwrap().name, "hostile");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn headers_of_noise(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        header(&bytes);
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.extend(bytes);
        header(&elf);
    }

    #[test]
    fn headers_of_damaged_libraries(changes in proptest::collection::vec((any::<u32>(), any::<u8>()), 1..8), cut in any::<u32>()) {
        let file = plugin_file();
        // The ELF header and the tables at the end are where it matters.
        let end = file.len() as u32;
        let mut bytes = file[..64].to_vec();
        let mut tail = file[file.len() - 4096..].to_vec();
        for (at, value) in &changes {
            bytes[(*at % 64) as usize] = *value;
            tail[(*at % 4096) as usize] = *value;
        }
        let mut damaged = file.to_vec();
        damaged[..64].copy_from_slice(&bytes);
        header(&damaged);
        let mut damaged = file.to_vec();
        damaged[file.len() - 4096..].copy_from_slice(&tail);
        header(&damaged);
        header(&file[..(cut % end) as usize]);
    }

    #[test]
    fn locks_of_noise(text in "(version: [0-9]\n)?(plugins:( \\[\\])?\n)?(  - name: [a-z\"]{0,4}\n    version: [0-9.\"]{0,4}\n    files: [{}a-f0-9: ]{0,80}\n)?\\PC{0,40}") {
        lock(text.as_bytes());
    }

    #[test]
    fn options_of_noise(value in json()) {
        options(plugins(), &value);
    }
}
