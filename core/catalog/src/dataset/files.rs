//! Data files: putting them before a commit, and removing what no commit names.

use super::commit::check_table_name;
use super::manifest::{DataFile, TableEntry};
use super::{Dataset, Manifest, RELEASES};
use crate::steps::step;
use crate::store::StoreErrorKind;
use crate::{CatalogError, Result};
use clinmill_model::Digest;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A finished Parquet file in a staging folder of the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Rows.
    pub rows: u64,
}

/// What the store says of a file that was written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    Right,
    /// Written too long ago, by the clocks.
    Old,
    Wrong,
}

/// What a data file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Part of a table's base.
    Base,
    /// Changes of this release.
    Changes(u64),
}

/// How orphans are cleaned up.
#[derive(Clone, Copy, Debug)]
pub struct Gc {
    /// Files younger than this stay: a refresh may be about to commit them. A commit refuses files older than half
    /// of the default.
    pub grace: SignedDuration,
    /// Delete; otherwise only report.
    pub delete: bool,
}

impl Gc {
    /// Two days.
    pub const GRACE: SignedDuration = SignedDuration::from_hours(48);
}

impl Default for Gc {
    fn default() -> Self {
        Self {
            grace: Self::GRACE,
            delete: true,
        }
    }
}

/// What a clean-up found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Files that a manifest names.
    pub named: usize,
    /// Files that no manifest names, but young enough to belong to a refresh that is running.
    pub young: usize,
    /// Orphans, deleted or to delete.
    pub orphans: Vec<String>,
}

impl Dataset {
    /// The key of a data file.
    pub fn file_key(table: &str, kind: FileKind, sha256: &Digest) -> String {
        match kind {
            FileKind::Base => format!("tables/{table}/base/{sha256}.parquet"),
            FileKind::Changes(release) => format!("tables/{table}/changes/{release:08}/{sha256}.parquet"),
        }
    }

    /// Copies a staged file into the dataset under the name of its content, reads it back and compares size and
    /// digest. Idempotent: a file that is there and right is left alone.
    pub async fn put_file(&self, staged: &StagedFile, table: &str, kind: FileKind) -> Result<DataFile> {
        check_table_name(table)?;
        let file = DataFile {
            path: Self::file_key(table, kind, &staged.sha256),
            size: staged.size,
            sha256: staged.sha256,
            rows: staged.rows,
        };
        let mut attempt = 1;
        loop {
            let read = self.reads(&file).await;
            if read == Reads::Right {
                return Ok(file);
            }
            if attempt > self.retry.attempts {
                return Err(match read {
                    Reads::Old => CatalogError::refused(
                        format!("{} was written just now, and its store says that it is old", file.path),
                        "the clocks of this machine and of the store differ by hours: set them",
                    ),
                    _ => CatalogError::damaged(&file.path, "what was written does not read back"),
                });
            }
            step("files.before-put");
            let put = self.store.put_file(&file.path, &staged.path).await;
            step("files.after-put");
            match put {
                Err(e) if !e.is_retryable() => return Err(e.into()),
                Err(_) => self.retry.wait(&self.env, attempt).await,
                Ok(()) => {}
            }
            attempt += 1;
        }
    }

    async fn reads(&self, file: &DataFile) -> Reads {
        let head = self.retry.run(&self.env, || self.store.head(&file.path)).await;
        let Some(info) = head.ok().filter(|info| info.size == file.size) else {
            return Reads::Wrong;
        };
        // An old orphan of the same content could be cleaned up before the commit: written again, it is young.
        if self.env.clock.now().duration_since(info.modified) >= Gc::GRACE / 4 {
            return Reads::Old;
        }
        match self.store.digest(&file.path).await {
            Ok(content) if content == (file.size, file.sha256) => Reads::Right,
            _ => Reads::Wrong,
        }
    }

    /// The files of a release must be there, whole, and young enough that no clean-up takes them. Returns until when
    /// they are.
    pub(super) async fn check_present(&self, files: impl Iterator<Item = &DataFile>) -> Result<Timestamp> {
        let mut deadline = Timestamp::MAX;
        for file in files {
            let info = match self.retry.run(&self.env, || self.store.head(&file.path)).await {
                Err(e) if e.kind == StoreErrorKind::NotFound => {
                    return Err(CatalogError::damaged(
                        &file.path,
                        "missing before its release is committed",
                    ));
                }
                info => info?,
            };
            if info.size != file.size {
                return Err(CatalogError::damaged(&file.path, "another size than its release says"));
            }
            let until = info.modified.saturating_add(Gc::GRACE / 2).unwrap_or(Timestamp::MAX);
            deadline = deadline.min(until);
            if self.env.clock.now() > until {
                return Err(CatalogError::refused(
                    format!("{} was written too long before its release", file.path),
                    "run the refresh again; a clean-up could take the file between now and the commit",
                ));
            }
        }
        Ok(deadline)
    }

    /// Removes data files that no manifest names. Safe beside writers whose refresh takes less than half of the grace
    /// period: their files are young, and the names of older refreshes' orphans do not come back, because every
    /// file carries the id of its refresh.
    pub async fn gc(&self, options: Gc) -> Result<GcReport> {
        // Files first, manifests second: what is committed in between is named.
        let files = self.retry.run(&self.env, || self.store.list("tables")).await?;
        let started = self.env.clock.now();
        let mut named = BTreeSet::new();
        for release in self.releases().await? {
            for table in self.manifest(release).await?.tables.values() {
                named.extend(TableEntry::files(table).map(|f| f.path.clone()));
            }
        }
        let mut report = GcReport::default();
        for info in files {
            if named.contains(&info.key) {
                report.named += 1;
            } else if is_data_file(&info.key) {
                if started.duration_since(info.modified) < options.grace {
                    report.young += 1;
                    continue;
                }
                if options.delete {
                    let now = self.retry.run(&self.env, || self.store.head(&info.key)).await;
                    if !now.is_ok_and(|now| now.modified == info.modified) {
                        // Gone, or written again since.
                        report.young += 1;
                        continue;
                    }
                    self.retry.run(&self.env, || self.store.delete(&info.key)).await?;
                }
                report.orphans.push(info.key);
            }
        }
        Ok(report)
    }
}

/// True for a key of the form that [`Dataset::file_key`] makes.
pub(super) fn is_data_file(key: &str) -> bool {
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts.as_slice() {
        ["tables", _, "base", name] => name,
        ["tables", _, "changes", release, name] if release.parse::<u64>().is_ok() => name,
        _ => return false,
    };
    name.strip_suffix(".parquet")
        .is_some_and(|n| n.parse::<Digest>().is_ok())
}

/// True for a key that belongs to the dataset beside its data files: manifests and what stands beside them, and
/// the projection for Delta readers.
pub(super) fn is_own(key: &str) -> bool {
    let withdrawn = |key: &str| {
        key.strip_suffix(".withdrawn.json")
            .is_some_and(|k| Manifest::release_of(&format!("{k}.json")).is_some())
    };
    if key.starts_with(RELEASES) {
        return Manifest::release_of(key).is_some() || key == super::LATEST || withdrawn(key);
    }
    matches!(
        key.split('/').collect::<Vec<_>>().as_slice(),
        ["tables", _, "_delta_log", ..]
    )
}
