//! Generated parts of documents are fresh. `CLINMILL_WRITE=1 cargo test -p clinmill-tests reference` writes them anew.

use clinmill_sdk::{Kind, reference};
use clinmill_tests::root;
use clinmill_tests_abi::registry;
use std::fs;

#[test]
fn option_tables_of_plugins_are_fresh() {
    let registry = registry();
    let mut stale = Vec::new();
    let descriptors = [Kind::Source, Kind::Transform].map(|kind| registry.descriptors(kind));
    for descriptor in descriptors.iter().flatten() {
        let path = root().join("plugins").join(&descriptor.name).join("README.md");
        let readme = fs::read_to_string(&path).unwrap();
        let fresh = reference::with_options(&readme, &descriptor.schema);
        let fresh = fresh.unwrap_or_else(|| panic!("{} lacks {}", path.display(), reference::BEGIN));
        if fresh == readme {
            continue;
        }
        match std::env::var_os("CLINMILL_WRITE") {
            Some(_) => fs::write(&path, fresh).unwrap(),
            None => stale.push(path),
        }
    }
    assert!(stale.is_empty(), "write them anew with CLINMILL_WRITE=1: {stale:#?}");
}

#[test]
fn every_option_is_described() {
    let registry = registry();
    let descriptors = [Kind::Source, Kind::Transform].map(|kind| registry.descriptors(kind));
    for descriptor in descriptors.iter().flatten() {
        let table = reference::options_table(&descriptor.schema);
        let bare: Vec<&str> = table
            .lines()
            .filter(|l| l.starts_with("| `") && l.ends_with("|  |"))
            .collect();
        assert!(bare.is_empty(), "{}: {bare:#?}", descriptor.name);
    }
}

#[test]
fn a_release_is_read_as_the_page_for_buyers_says() {
    let Some(python) = clinmill_tests_abi::python("pyarrow") else {
        return;
    };
    let page = fs::read_to_string(root().join("core/READING.md")).unwrap();
    let (_, code) = page.split_once("```python\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    let site = clinmill_tests::hospital::site();
    for week in 1..=2 {
        clinmill_tests::hospital::put_week(&site, week);
        let report = site.refresh();
        for (table, of) in &report.tables {
            let read = std::process::Command::new(&python)
                .args(["-c", code])
                .arg(site.dataset())
                .arg(table)
                .output()
                .unwrap();
            let said = String::from_utf8(read.stdout).unwrap();
            assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
            let expected = format!("{} rows; {} upserts, {} deletes", of.rows, of.upserts, of.deletes);
            assert_eq!(said.trim(), expected, "{table}");
        }
    }
}
