//! `plugins.lock`: which libraries may be loaded, and programs started. Beside the pipeline, written by `clinmill plugin
//! lock`, reviewed like any other change.
//!
//! What it pins is one file for each plugin. What that needs from the machine (shared libraries, an interpreter and what is
//! installed for it) is the machine's: a plugin that is to be the same everywhere brings it along.
//!
//! ```yaml
//! version: 1
//! plugins:
//!   - name: units
//!     version: 0.3.0
//!     files:
//!       x86_64-unknown-linux-gnu: 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
//! ```

use clinmill_model::Digest;
use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

/// The plugins that may be loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// By name, in that order.
    pub plugins: BTreeMap<String, Locked>,
}

/// One plugin that may be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// Its version.
    pub version: String,
    /// The SHA-256 of its library by target triple.
    pub files: BTreeMap<String, Digest>,
}

/// A `plugins.lock` that cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct LockError {
    /// What is wrong.
    pub message: String,
    /// 1-based line, and column in characters.
    pub line: usize,
    /// See `line`.
    pub column: usize,
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugins.lock:{}:{}: {}", self.line, self.column, self.message)
    }
}

type Node<'y> = MarkedYaml<'y>;

/// What is wrong with a node.
fn bad(node: &Node<'_>, what: impl Into<String>) -> LockError {
    LockError {
        message: what.into(),
        line: node.span.start.line(),
        column: node.span.start.col() + 1,
    }
}

/// The keys of a mapping, each with its node, and the values.
type Entries<'a, 'y> = BTreeMap<&'a str, (&'a Node<'y>, &'a Node<'y>)>;

/// Refuses other keys than these.
fn only(entries: &Entries<'_, '_>, known: &[&str]) -> Result<(), LockError> {
    match entries.iter().find(|(key, _)| !known.contains(key)) {
        None => Ok(()),
        Some((name, (key, _))) => {
            let message = format!("the key {name:?} is not known; known: {}", known.join(", "));
            Err(bad(key, message))
        }
    }
}

fn entries<'a, 'y>(node: &'a Node<'y>, what: &str) -> Result<Entries<'a, 'y>, LockError> {
    let YamlData::Mapping(entries) = &node.data else {
        return Err(bad(node, format!("{what} is not a mapping")));
    };
    let each = entries.iter().map(|(key, value)| match &key.data {
        YamlData::Value(Scalar::String(name)) => Ok((name.as_ref(), (key, value))),
        _ => Err(bad(key, format!("{what} has a key that is no text"))),
    });
    each.collect()
}

fn text<'a>(of: &Node<'_>, node: Option<&'a Node<'_>>, what: &str) -> Result<(String, &'a Node<'a>), LockError> {
    match node {
        None => Err(bad(of, format!("{what} is missing"))),
        Some(node) => match &node.data {
            YamlData::Value(Scalar::String(text)) => Ok((text.to_string(), node)),
            _ => Err(bad(node, format!("{what} is no text"))),
        },
    }
}

impl Lock {
    /// Reads the text of a lock file.
    ///
    /// # Errors
    /// When it is not one, or of a later version.
    pub fn parse(source: &str) -> Result<Self, LockError> {
        let documents = Node::load_from_str(source).map_err(|error| LockError {
            message: format!("not YAML: {}", error.info()),
            line: error.marker().line(),
            column: error.marker().col() + 1,
        })?;
        let [document] = documents.as_slice() else {
            let (line, column) = documents
                .get(1)
                .map_or((1, 1), |d| (d.span.start.line(), d.span.start.col() + 1));
            let message = "it does not hold one document".to_owned();
            return Err(LockError { message, line, column });
        };
        let top = entries(document, "the file")?;
        only(&top, &["version", "plugins"])?;
        let value = |key: &str| top.get(key).map(|(_, value)| *value);
        match value("version").map(|node| (node, &node.data)) {
            Some((_, YamlData::Value(Scalar::Integer(1)))) => {}
            found => return Err(bad(found.map_or(document, |(node, _)| node), "version is not 1")),
        }
        let mut lock = Self::default();
        let plugins = value("plugins").unwrap_or(document);
        let YamlData::Sequence(listed) = &plugins.data else {
            return Err(bad(plugins, "plugins is not a list"));
        };
        for node in listed {
            let plugin = entries(node, "a plugin")?;
            only(&plugin, &["name", "version", "files"])?;
            let value = |key: &str| plugin.get(key).map(|(_, value)| *value);
            let (name, named) = text(node, value("name"), "the name of a plugin")?;
            let (version, _) = text(node, value("version"), &format!("{name}: version"))?;
            let mut files = BTreeMap::new();
            let listed = value("files").ok_or_else(|| bad(node, format!("{name}: files is missing")))?;
            for (triple, (_, digest)) in entries(listed, &format!("{name}: files"))? {
                let (digest, at) = text(listed, Some(digest), &format!("{name}: the digest for {triple}"))?;
                let digest = digest
                    .parse()
                    .map_err(|error| bad(at, format!("{name}: {triple}: {error}")))?;
                files.insert(triple.to_owned(), digest);
            }
            if lock.plugins.contains_key(&name) {
                return Err(bad(named, format!("{name} is there twice")));
            }
            lock.plugins.insert(name, Locked { version, files });
        }
        Ok(lock)
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let mut out = String::from(
            "# Written by `clinmill plugin lock`: a library is loaded only when its SHA-256 stands here.\nversion: 1\nplugins:",
        );
        if self.plugins.is_empty() {
            out.push_str(" []");
        }
        out.push('\n');
        for (name, locked) in &self.plugins {
            let _ = writeln!(
                out,
                "  - name: {}\n    version: {}\n    files:{}",
                quoted(name),
                quoted(&locked.version),
                if locked.files.is_empty() { " {}" } else { "" }
            );
            for (triple, digest) in &locked.files {
                let _ = writeln!(out, "      {}: {}", quoted(triple), quoted(&digest.to_string()));
            }
        }
        out
    }

    /// Notes the library of a plugin for a target. Another version of the plugin starts a new entry.
    pub fn note(&mut self, name: &str, version: &str, triple: &str, digest: Digest) {
        let locked = self.plugins.entry(name.to_owned()).or_insert_with(|| Locked {
            version: version.to_owned(),
            files: BTreeMap::new(),
        });
        if locked.version != version {
            locked.version = version.to_owned();
            locked.files.clear();
        }
        locked.files.insert(triple.to_owned(), digest);
    }
}

/// A text that stays one: digests and versions may look like numbers.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut lock = Lock::default();
        assert_eq!(Lock::parse(&lock.render()).unwrap(), lock);
        let none = Locked {
            version: "1".into(),
            files: BTreeMap::new(),
        };
        lock.plugins.insert("none".into(), none);
        assert_eq!(Lock::parse(&lock.render()).unwrap(), lock);
        lock.note("units", "1.0", "x86_64-unknown-linux-gnu", Digest::of(b"a"));
        lock.note("units", "1.0", "aarch64-unknown-linux-gnu", Digest::of(b"b"));
        lock.note("other", "0.1.0", "x86_64-unknown-linux-gnu", Digest::of(b"c"));
        assert_eq!(Lock::parse(&lock.render()).unwrap(), lock);
        lock.note("units", "1.1", "x86_64-unknown-linux-gnu", Digest::of(b"d"));
        assert_eq!(lock.plugins["units"].files.len(), 1, "files of another version go");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |text: &str| Lock::parse(text).unwrap_err().to_string();
        assert!(said("").contains("one document"));
        assert!(said("version: 2\nplugins: []").contains("version is not 1"));
        assert!(said("version: 1").contains("plugins is not a list"));
        assert!(said("version: 1\nplugin: []").contains("\"plugin\" is not known"));
        let more = said("version: 1\nplugins:\n  - { name: a, version: x, files: {}, sha: 1 }");
        assert_eq!(
            more,
            "plugins.lock:3:39: the key \"sha\" is not known; known: name, version, files"
        );
        let one = "version: 1\nplugins:\n  - name: a\n    version: \"1\"\n    files: { x: \"12\" }";
        assert!(said(one).contains("sha256"), "{}", said(one));
        assert!(said(one).starts_with("plugins.lock:5:17: a: x: "), "{}", said(one));
        let cut = said("version: 1\nplugins: [");
        assert!(
            cut.starts_with("plugins.lock:") && cut.contains(": not YAML: "),
            "{cut}"
        );
        let twice =
            "version: 1\nplugins:\n  - { name: a, version: x, files: {} }\n  - { name: a, version: x, files: {} }";
        assert_eq!(said(twice), "plugins.lock:4:13: a is there twice");
    }
}
