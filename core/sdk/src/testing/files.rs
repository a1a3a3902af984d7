//! The files of a plugin folder: YAML as JSON values, mapping files, expected files with a readable difference.

use crate::{BindContext, Resource, regular};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// True when expected files are to be rewritten.
pub fn updating() -> bool {
    std::env::var_os("CLINMILL_UPDATE").is_some_and(|v| v == "1")
}

/// The text of a file; a missing file fails the test with its path.
pub fn text(path: &Path) -> String {
    regular::text(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A YAML file with one document, as a JSON value.
pub fn yaml(path: &Path) -> Value {
    let text = text(path);
    let documents = Yaml::load_from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(documents.len(), 1, "{}: one document", path.display());
    json(&documents[0], path)
}

fn json(node: &Yaml<'_>, path: &Path) -> Value {
    match node {
        Yaml::Value(scalar) => match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(b) => Value::Bool(*b),
            Scalar::Integer(i) => Value::from(*i),
            Scalar::FloatingPoint(f) => Value::from(f.into_inner()),
            Scalar::String(s) => Value::String(s.to_string()),
        },
        Yaml::Sequence(items) => Value::Array(items.iter().map(|i| json(i, path)).collect()),
        Yaml::Mapping(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = match json(key, path) {
                    Value::String(s) => s,
                    other => other.to_string(),
                };
                map.insert(key, json(value, path));
            }
            Value::Object(map)
        }
        _ => panic!("{}: tags and aliases are not for test files", path.display()),
    }
}

/// The folders `cases/<case>`, by name.
pub fn case_folders(plugin: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(plugin.join("cases"))
        .unwrap_or_else(|e| panic!("{}: {e}", plugin.join("cases").display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

/// The one file `input.*` of a case.
pub fn input_file(case: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir(case)
        .expect("a readable folder")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.file_stem().is_some_and(|stem| stem == "input"))
        .collect();
    assert_eq!(found.len(), 1, "{}: one file input.*", case.display());
    found.remove(0)
}

/// What *bind* gets in tests: every option of the form `root:path` that is there as `<folder>/<root>/<path>` for one of
/// the folders, or as `mappings/<path>` of the workspace, is handed over as the host would.
pub fn bind_context(options: &Value, timezone: Option<&str>, name: &str, plugin: &Path, case: &Path) -> BindContext {
    let mut context = BindContext {
        timezone: timezone.map(str::to_owned),
        name: name.to_owned(),
        ..BindContext::default()
    };
    collect(options, &mut |reference| {
        let Some((root, path)) = reference.split_once(':') else {
            return;
        };
        if path.split('/').any(|part| part.is_empty() || part == "..") {
            return;
        }
        let places = [case.join(root).join(path), plugin.join("../../mappings").join(path)];
        if let Some(place) = places.iter().find(|place| place.exists()) {
            context.resources.insert(reference.to_owned(), resource(place));
        }
    });
    context
}

fn collect(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => found(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(map) => map.values().for_each(|item| collect(item, found)),
        _ => {}
    }
}

fn resource(place: &Path) -> Resource {
    let mut resource = Resource::default();
    let mut add = |path: &Path| {
        let name = path.file_name().expect("a file name").to_string_lossy().into_owned();
        resource.files.insert(
            name,
            regular::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
        );
    };
    if place.is_dir() {
        for entry in fs::read_dir(place).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            if path.is_file() {
                add(&path);
            }
        }
    } else {
        add(place);
    }
    resource
}

/// Compares a text with a committed file, or rewrites the file when updating. Returns the difference, if any.
pub fn expect_text(path: &Path, actual: &str) -> Option<String> {
    let expected = regular::text(path).unwrap_or_default();
    if expected == actual {
        return None;
    }
    let difference = format!("{}\n{}", path.display(), difference(&expected, actual));
    if updating() {
        fs::write(path, actual).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        println!("rewritten: {difference}");
        return None;
    }
    Some(difference)
}

/// Removes a file that is no longer expected (when updating), or says that it should not be there.
pub fn expect_absent(path: &Path) -> Option<String> {
    if !path.exists() {
        return None;
    }
    if updating() {
        fs::remove_file(path).expect("a removable file");
        println!("removed: {}", path.display());
        return None;
    }
    Some(format!("{}: expected, but the case went the other way", path.display()))
}

/// Lines that went (`-`) and came (`+`), between the lines that both begin and end with.
pub fn difference(old: &str, new: &str) -> String {
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..]
        .iter()
        .rev()
        .zip(new[head..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let mut out = format!("@@ line {}\n", head + 1);
    for line in &old[head..old.len() - tail] {
        out.push_str(&format!("-{line}\n"));
    }
    for line in &new[head..new.len() - tail] {
        out.push_str(&format!("+{line}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_what_lies_between() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n"), "@@ line 2\n-b\n+x\n");
        assert_eq!(difference("", "a\n"), "@@ line 1\n+a\n");
    }
}
