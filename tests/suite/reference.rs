//! Generated parts of documents are fresh. `CLINMILL_WRITE=1 cargo test -p clinmill-tests reference` writes them anew.

use clinmill_engine::notices::Place;
use clinmill_sdk::{Kind, reference};
use clinmill_tests::{root, site::tree};
use clinmill_tests_abi::registry;
use std::{collections::BTreeSet, fs};

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

/// The page with this text between the markers of a part.
fn with_part(page: &str, part: &str, text: &str) -> String {
    let (before, rest) = page.split_once(&format!("<!-- {part}: begin")).unwrap();
    let (note, rest) = rest.split_once("-->\n").unwrap();
    let (_, after) = rest.split_once(&format!("<!-- {part}: end -->")).unwrap();
    format!("{before}<!-- {part}: begin{note}-->\n{text}\n<!-- {part}: end -->{after}")
}

/// A section of a command's help, as pairs of a term and what is said of it.
fn help_of(help: &str, section: &str) -> Vec<(String, String)> {
    let lines = help.lines().skip_while(|line| *line != section).skip(1);
    lines
        .take_while(|line| line.starts_with(' '))
        .map(|line| {
            let line = line.trim();
            let (term, text) = line.split_once("  ").unwrap_or((line, ""));
            (term.to_owned(), text.trim().to_owned())
        })
        .collect()
}

/// Every command with its options, as its help tells.
fn commands() -> String {
    fn add(project: &clinmill_tests::Project, path: &[String], out: &mut String) {
        let run = project
            .run(path.iter().map(String::as_str).chain(["-h"]))
            .expect_code(0);
        let inner = help_of(&run.stdout, "Commands:");
        let general = ["--format", "--quiet", "--log-format", "--help", "--version"];
        let is_general = |term: &str| general.iter().any(|g| term.split([' ', ',']).any(|word| word == *g));
        if let Some((what, rest)) = run.stdout.split_once("\n\nUsage: ").filter(|_| !path.is_empty()) {
            let usage = rest.lines().next().unwrap();
            if inner.is_empty() || path[0] == "units" {
                out.push_str(&format!(
                    "- `{}`: {what}\n",
                    usage.replace("[OPTIONS] ", "").trim_end_matches(" [OPTIONS]")
                ));
                for (term, text) in help_of(&run.stdout, "Options:") {
                    if !is_general(&term) {
                        out.push_str(&format!("  - `{term}`: {text}\n"));
                    }
                }
            }
        } else {
            let all = help_of(&run.stdout, "Options:").into_iter();
            for (term, text) in all.filter(|(term, _)| !term.contains("--help") && !term.contains("--version")) {
                out.push_str(&format!("- `{term}`, with every command: {text}\n"));
            }
        }
        for (name, _) in inner {
            add(project, &[path, &[name]].concat(), out);
        }
    }
    let mut out = String::new();
    add(&clinmill_tests::Project::new(), &[], &mut out);
    format!("\n{out}")
}

#[test]
fn the_page_of_the_pipeline_file_is_fresh() {
    let path = root().join("core/PIPELINE.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut fresh = page.clone();
    for (part, text) in clinmill_spec::reference() {
        fresh = with_part(&fresh, part, &text);
    }
    fresh = with_part(&fresh, "commands", &commands());
    fresh = with_part(&fresh, "notices", &clinmill_engine::notices::reference());
    if fresh != page && std::env::var_os("CLINMILL_WRITE").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let stale = fresh.lines().zip(page.lines()).find(|(a, b)| a != b);
    assert!(
        fresh == page || std::env::var_os("CLINMILL_WRITE").is_some(),
        "write it anew with CLINMILL_WRITE=1: {stale:?}"
    );
    for command in [
        "`clinmill run <FILE>`",
        "`--allow-breaking`",
        "`clinmill plugin new",
        "`clinmill map accept",
    ] {
        assert!(fresh.contains(command), "{command}");
    }
}

/// The text of a crate's or module's own documentation.
fn module_docs(path: &str) -> String {
    let text = fs::read_to_string(root().join(path)).unwrap();
    let lines = text.lines().take_while(|line| line.starts_with("//!"));
    lines
        .map(|line| line.trim_start_matches("//!").trim_start())
        .fold(String::new(), |all, line| all + line + "\n")
}

#[test]
fn the_page_of_plugins_is_fresh() {
    let path = root().join("core/PLUGINS.md");
    let page = fs::read_to_string(&path).unwrap();
    let host = module_docs("core/host/src/lib.rs");
    let (_, survives) = host.split_once("# What a process survives\n").unwrap();
    let python = fs::read_to_string(root().join("tests/abi/python/upper/upper.py")).unwrap();
    let mut fresh = with_part(&page, "survives", survives.trim_end());
    fresh = with_part(
        &fresh,
        "protocol",
        &format!("\n{}", module_docs("core/host/src/process/mod.rs")),
    );
    fresh = with_part(&fresh, "python", &format!("\n```python\n{python}```\n"));
    if std::env::var_os("CLINMILL_WRITE").is_some() {
        fs::write(&path, &fresh).unwrap();
    } else {
        assert!(fresh == page, "write it anew with CLINMILL_WRITE=1");
    }
    // As the page's table of limits says.
    let limits = clinmill_tests_abi::limits();
    assert_eq!((limits.batch_rows, limits.memory), (1_048_576, 2 << 30));
}

/// The keys of a schema at any depth; those of plugins are on the plugins' pages.
fn keys_of(schema: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                if let ("properties", Some(properties)) = (key.as_str(), value.as_object()) {
                    found.extend(properties.keys().cloned());
                }
                if key != "$defs" {
                    keys_of(value, found);
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| keys_of(value, found)),
        _ => {}
    }
}

#[test]
fn every_key_of_the_schema_is_named_on_its_page() {
    let page = fs::read_to_string(root().join("core/PIPELINE.md")).unwrap();
    let registry = registry();
    let schema = clinmill_spec::json_schema(&clinmill_engine::bound::PluginsOf(&registry));
    let mut keys = std::collections::BTreeSet::new();
    keys_of(&schema, &mut keys);
    // Of sources: what is not of their plugin.
    for descriptor in registry.descriptors(Kind::Source) {
        let own = descriptor.schema["properties"].as_object().unwrap();
        let all = schema["$defs"][format!("source.{}", descriptor.name)]["properties"]
            .as_object()
            .unwrap();
        for (key, of) in all.iter().filter(|(key, _)| !own.contains_key(*key)) {
            keys.insert(key.clone());
            keys_of(of, &mut keys);
        }
    }
    assert!(
        keys.len() > 60 && keys.contains("max_deletes") && keys.contains("$secret"),
        "{keys:?}"
    );
    let names = |key: &String| page.contains(&format!("`{key}`")) || page.contains(&format!("`{{ {key}: "));
    let missing: Vec<_> = keys.iter().filter(|key| !names(key)).collect();
    assert!(missing.is_empty(), "core/PIPELINE.md does not name {missing:?}");
}

/// The demo gives the same rows in every run: what README shows of it is what it prints, but for how long it took.
#[test]
fn readme_shows_what_the_demo_prints() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, shown) = readme.split_once("\n```\nweek3: ").unwrap();
    let (shown, _) = shown.split_once("\n```\n").unwrap();
    let project = clinmill_tests::Project::new();
    let printed = project.run(["demo", "--dir", "demo"]).expect_code(0).stdout;
    // Ids, and with them the sizes of files, are made with a new key each time.
    let timeless = |line: &str| match (line.rsplit_once(" in "), line.split_once(" (")) {
        (Some((before, time)), _) if time.ends_with(" s") => before.to_owned(),
        (_, Some((before, size))) if line.starts_with("verify: ") => {
            format!("{before}{}", size.split_once(')').unwrap().1)
        }
        _ => line.to_owned(),
    };
    let printed: std::collections::BTreeSet<String> = printed.lines().map(timeless).collect();
    let strange: Vec<String> = format!("week3: {shown}")
        .lines()
        .map(timeless)
        .filter(|line| !printed.contains(line))
        .collect();
    assert!(strange.is_empty(), "the demo does not print {strange:#?}");
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

/// Each word that a command or the engine can warn with is in the table, and the table has no other.
#[test]
fn every_warning_is_documented() {
    let mut used = BTreeSet::new();
    for folder in ["core/engine/src", "core/cli/src"] {
        for (_, bytes) in tree(&root().join(folder)) {
            let text = String::from_utf8(bytes).unwrap();
            for begin in ["Warning::new(", ".warn(Some(", " warn("] {
                for rest in text.split(begin).skip(1) {
                    let word = rest
                        .trim_start()
                        .strip_prefix('"')
                        .and_then(|rest| rest.split('"').next());
                    used.extend(word.map(str::to_owned));
                }
            }
        }
    }
    let known = clinmill_engine::notices::ALL.iter();
    let known = known.filter(|n| n.place == Place::Warning).map(|n| n.code.to_owned());
    let known: BTreeSet<String> = known.collect();
    // By its constant.
    assert!(known.contains("UNCOMPARABLE_VERSIONS"));
    used.insert("UNCOMPARABLE_VERSIONS".to_owned());
    assert_eq!(used, known);
}
