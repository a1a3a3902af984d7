//! The conformance suite over every first-party plugin, loaded from its library. Each plugin's own tests run it directly.

use clinmill_sdk::{Registry, testing};
use clinmill_tests_abi::{library, limits, load, root};

fn loaded(name: &str) -> Registry {
    let mut registry = Registry::default();
    load(&library(name), limits()).register(&mut registry).unwrap();
    registry
}

fn source(name: &str) {
    let (registry, folder) = (loaded(name), root().join("plugins").join(name));
    let plugin = registry.get_source(name).unwrap().as_ref();
    testing::source_cases_of(plugin, &folder);
}

fn transform(name: &str) {
    let (registry, folder) = (loaded(name), root().join("plugins").join(name));
    let plugin = registry.get_transform(name).unwrap().as_ref();
    testing::transform_cases_of(plugin, &folder);
}

#[test]
fn table() {
    source("table");
}

#[test]
fn hl7v2() {
    source("hl7v2");
}

#[test]
fn notes() {
    source("notes");
}

#[test]
fn map() {
    transform("map");
}

#[test]
fn datetime() {
    transform("datetime");
}

#[test]
fn terminology() {
    transform("terminology");
}

#[test]
fn labvalue() {
    transform("labvalue");
}

#[test]
fn units() {
    transform("units");
}

/// What `clinmill plugin check` looks at, but for the cases, which ran above.
#[test]
fn the_laws_hold() {
    for entry in std::fs::read_dir(root().join("plugins")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let registry = loaded(&name);
        let checks = match registry.get_source(&name) {
            Some(plugin) => testing::check_source(plugin.as_ref(), None),
            None => testing::check_transform(registry.get_transform(&name).unwrap().as_ref(), None),
        };
        for check in checks {
            assert_eq!(check.wrong.unwrap_or_default(), [""; 0], "{name}: {}", check.name);
        }
    }
}

#[test]
fn every_plugin_is_here() {
    let text = include_str!("conformance.rs");
    for entry in std::fs::read_dir(root().join("plugins")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        assert!(text.contains(&format!("fn {name}()")), "{name} has no test here");
    }
}
