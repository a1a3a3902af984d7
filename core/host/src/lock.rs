//! `plugins.lock`: which libraries may be loaded. Beside the pipeline, written by `clinmill plugin lock`, reviewed like
//! any other change.
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
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use std::{collections::BTreeMap, fmt::Write as _};

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

/// A `plugins.lock` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugins.lock: {0}")]
pub struct LockError(pub String);

fn bad(what: impl Into<String>) -> LockError {
    LockError(what.into())
}

fn entries<'a, 'y>(node: &'a Yaml<'y>, what: &str) -> Result<BTreeMap<&'a str, &'a Yaml<'y>>, LockError> {
    let Yaml::Mapping(entries) = node else {
        return Err(bad(format!("{what} is not a mapping")));
    };
    let each = entries.iter().map(|(key, value)| match key {
        Yaml::Value(Scalar::String(key)) => Ok((key.as_ref(), value)),
        _ => Err(bad(format!("{what} has a key that is no text"))),
    });
    each.collect()
}

fn text(node: Option<&&Yaml<'_>>, what: &str) -> Result<String, LockError> {
    match node {
        Some(Yaml::Value(Scalar::String(text))) => Ok(text.to_string()),
        _ => Err(bad(format!("{what} is missing or no text"))),
    }
}

impl Lock {
    /// Reads the text of a lock file.
    ///
    /// # Errors
    /// When it is not one, or of a later version.
    pub fn parse(source: &str) -> Result<Self, LockError> {
        let documents = Yaml::load_from_str(source).map_err(|error| bad(format!("not YAML: {error}")))?;
        let [document] = documents.as_slice() else {
            return Err(bad("it does not hold one document"));
        };
        let top = entries(document, "the file")?;
        if let Some(key) = top.keys().find(|key| !["version", "plugins"].contains(key)) {
            return Err(bad(format!("the key {key:?} is not known")));
        }
        match top.get("version") {
            Some(Yaml::Value(Scalar::Integer(1))) => {}
            _ => return Err(bad("version is not 1")),
        }
        let mut lock = Self::default();
        let Some(Yaml::Sequence(plugins)) = top.get("plugins") else {
            return Err(bad("plugins is not a list"));
        };
        for plugin in plugins {
            let plugin = entries(plugin, "a plugin")?;
            let name = text(plugin.get("name"), "the name of a plugin")?;
            let version = text(plugin.get("version"), &format!("{name}: version"))?;
            let mut files = BTreeMap::new();
            let named = plugin
                .get("files")
                .ok_or_else(|| bad(format!("{name}: files is missing")))?;
            for (triple, digest) in entries(named, &format!("{name}: files"))? {
                let digest = text(Some(&digest), &format!("{name}: the digest for {triple}"))?;
                let digest = digest
                    .parse()
                    .map_err(|error| bad(format!("{name}: {triple}: {error}")))?;
                files.insert(triple.to_owned(), digest);
            }
            if lock.plugins.insert(name.clone(), Locked { version, files }).is_some() {
                return Err(bad(format!("{name} is there twice")));
            }
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
        let said = |text: &str| Lock::parse(text).unwrap_err().0;
        assert!(said("").contains("one document"));
        assert!(said("version: 2\nplugins: []").contains("version is not 1"));
        assert!(said("version: 1").contains("plugins is not a list"));
        assert!(said("version: 1\nplugin: []").contains("\"plugin\" is not known"));
        let one = "version: 1\nplugins:\n  - name: a\n    version: \"1\"\n    files: { x: \"12\" }";
        assert!(said(one).contains("sha256"), "{}", said(one));
    }
}
