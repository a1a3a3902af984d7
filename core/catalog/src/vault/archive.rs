//! What made the releases: pipeline texts, mappings and plugin descriptors by digest, and the reports of runs.

use super::{
    error::{Context, Result, VaultError},
    fs::{atomic_write, sync_dir},
};
use clinmill_model::Digest;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// What kind of thing is archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    /// The text of a pipeline.
    Pipeline,
    /// A file of a mapping.
    Mapping,
    /// A plugin's descriptor: name, version, digest.
    Plugin,
}

impl ArchiveKind {
    const ALL: [Self; 3] = [Self::Pipeline, Self::Mapping, Self::Plugin];

    fn extension(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Mapping => "mapping",
            Self::Plugin => "plugin",
        }
    }
}

/// `<vault>/pipelines`: `<sha256>.<kind>.zst`, never changed.
#[derive(Clone, Debug)]
pub struct Archive {
    folder: PathBuf,
}

impl Archive {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            folder: root.join("pipelines"),
        }
    }

    /// Keeps bytes under their digest, durable.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(&self, kind: ArchiveKind, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let name = format!("{digest}.{}.zst", kind.extension());
        let path = self.folder.join(&name);
        let what = || format!("pipelines/{name}");
        if path.exists() {
            sync_dir(&self.folder).vault("synchronize", "pipelines")?;
            return Ok(digest);
        }
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).vault("write", what())?;
        let packed = encoder
            .include_checksum(true)
            .and_then(|()| encoder.write_all(bytes))
            .and_then(|()| encoder.finish())
            .vault("write", what())?;
        atomic_write(&path, &packed).vault("write", what())?;
        Ok(digest)
    }

    /// Reads what was kept, and which kind it is.
    ///
    /// # Errors
    /// [`VaultError::Missing`], [`VaultError::Corrupt`].
    pub fn get(&self, digest: &Digest) -> Result<(ArchiveKind, Vec<u8>)> {
        for kind in ArchiveKind::ALL {
            let name = format!("{digest}.{}.zst", kind.extension());
            let packed = match fs::read(self.folder.join(&name)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.vault("read", format!("pipelines/{name}"))?,
            };
            return match zstd::decode_all(packed.as_slice()) {
                Ok(bytes) if Digest::of(&bytes) == *digest => Ok((kind, bytes)),
                _ => Err(VaultError::Corrupt {
                    kind: kind.extension(),
                    digest: *digest,
                    reason: "its content has another digest".into(),
                }),
            };
        }
        Err(VaultError::Missing {
            kind: "pipeline, mapping or plugin",
            digest: *digest,
        })
    }
}

/// `<vault>/runs`: one JSON report per run.
#[derive(Clone, Debug)]
pub struct Runs {
    folder: PathBuf,
}

impl Runs {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            folder: root.join("runs"),
        }
    }

    /// Writes (or replaces) the report of a run.
    ///
    /// # Errors
    /// [`VaultError::Name`] for an id that is no file name; when it cannot be written.
    pub fn write(&self, run_id: &str, report: &impl Serialize) -> Result<()> {
        let path = self.path(run_id)?;
        let text = serde_json::to_vec_pretty(report)
            .map_err(io::Error::from)
            .vault("write", "runs")?;
        atomic_write(&path, &text).vault("write", format!("runs/{run_id}.json"))
    }

    /// Reads the report of a run; none when there is none.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] when it is not what it should be.
    pub fn read<T: DeserializeOwned>(&self, run_id: &str) -> Result<Option<T>> {
        let what = format!("runs/{run_id}.json");
        let text = match fs::read(self.path(run_id)?) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.vault("read", &what)?,
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|e| VaultError::Damaged {
                what,
                reason: format!("line {}, column {}", e.line(), e.column()),
            })
    }

    /// The ids of all runs with a report, sorted.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn list(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.folder).vault("list", "runs")? {
            let name = entry.vault("list", "runs")?.file_name();
            ids.extend(name.to_str().and_then(|n| n.strip_suffix(".json")).map(str::to_owned));
        }
        ids.sort();
        Ok(ids)
    }

    fn path(&self, run_id: &str) -> Result<PathBuf> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if run_id.is_empty() || run_id.starts_with('.') || !run_id.chars().all(plain) {
            return Err(VaultError::Name("a run's id"));
        }
        Ok(self.folder.join(format!("{run_id}.json")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::testing::{flip, vault};

    #[test]
    fn archives_by_digest() {
        let (_dir, vault) = vault();
        let text = b"version: 1\nname: x\n";
        let digest = vault.archive().put(ArchiveKind::Pipeline, text).unwrap();
        assert_eq!(vault.archive().put(ArchiveKind::Pipeline, text).unwrap(), digest);
        assert_eq!(
            vault.archive().get(&digest).unwrap(),
            (ArchiveKind::Pipeline, text.to_vec())
        );
        flip(&vault.root().join(format!("pipelines/{digest}.pipeline.zst")), 12);
        assert!(matches!(vault.archive().get(&digest), Err(VaultError::Corrupt { .. })));
        assert!(matches!(
            vault.archive().get(&Digest::of(b"")),
            Err(VaultError::Missing { .. })
        ));
    }

    #[test]
    fn runs_have_reports() {
        let (_dir, vault) = vault();
        let report = serde_json::json!({ "outcome": "released" });
        vault.runs().write("2026-11-23-1", &report).unwrap();
        assert_eq!(vault.runs().read("2026-11-23-1").unwrap(), Some(report));
        assert_eq!(vault.runs().read::<serde_json::Value>("other").unwrap(), None);
        assert_eq!(vault.runs().list().unwrap(), ["2026-11-23-1"]);
        for id in ["", "../x", "a/b", ".hidden"] {
            assert!(matches!(vault.runs().write(id, &1), Err(VaultError::Name(_))), "{id}");
        }
    }
}
