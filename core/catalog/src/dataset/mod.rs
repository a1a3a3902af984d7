//! What buyers may read: tables under numbered releases. A release's manifest is its commit point; data files are
//! named by their content and never change.
//!
//! ```text
//! _releases/00000007.json                              written once, by create-if-absent
//! _releases/latest.json                                a hint
//! tables/<table>/base/<sha256>.parquet
//! tables/<table>/changes/00000007/<sha256>.parquet
//! ```
//!
//! [`Dataset::commit`] makes releases, [`Dataset::put_file`] puts data files, [`Dataset::gc`] cleans up, [`table`] writes and folds them, [`verify()`]
//! compares every published byte with the manifests, [`apply()`] is the buyer's side, [`diff()`] tells what changed.

mod apply;
mod commit;
mod diff;
mod files;
mod manifest;
mod schema;
pub mod table;
mod verify;

pub use apply::{AppliedTable, Apply, apply};
pub use commit::{CommitOutcome, Draft};
pub use diff::{ChangedRow, Diff, TableDiff, diff};
pub use files::{FileKind, Gc, GcReport, StagedFile};
pub use manifest::{
    Counts, DataFile, Dimension, FORMAT_VERSION, GateResult, Manifest, MappingRef, Measured, Parent, PluginRef,
    RELEASES, ReleaseKind, Score, Severity, TableEntry, VaultRef,
};
pub use schema::{ColumnSpec, MOVED_FROM, base_schema, change_schema, from_specs, prov_type, schema_digest, to_specs};
pub use verify::{Finding, FindingKind, Verification, verify};

use crate::env::Env;
use crate::store::{RetryPolicy, Store, StoreError, StoreErrorKind};
use crate::{CatalogError, Result};
use bytes::Bytes;
use clinmill_model::Digest;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The key of the hint to the newest release.
pub const LATEST: &str = "_releases/latest.json";

/// A dataset in a store.
#[derive(Clone, Debug)]
pub struct Dataset {
    store: Arc<dyn Store>,
    env: Env,
    retry: RetryPolicy,
}

/// A release as it was read, with the digest that the next manifest names it by.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// What it says.
    pub manifest: Manifest,
    /// The SHA-256 of the manifest's bytes.
    pub sha256: Digest,
    /// The size of the manifest in bytes.
    pub size: u64,
}

impl Release {
    /// What the next manifest says about this one.
    pub fn as_parent(&self) -> Parent {
        Parent {
            release: self.manifest.release,
            sha256: self.sha256,
        }
    }
}

/// What `_releases/latest.json` holds. Readers may start from it; nothing rests on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// A release that exists; newer ones may too.
    pub release: u64,
    /// The SHA-256 of its manifest.
    pub sha256: Digest,
}

impl Dataset {
    /// A dataset by its URL (`file:<folder>`). Nothing is read or written yet; a missing folder is an empty dataset.
    pub fn open(env: Env, url: &str) -> Result<Self> {
        Ok(Self::on(env, crate::store::open(url)?))
    }

    /// A dataset in any store.
    pub fn on(env: Env, store: Arc<dyn Store>) -> Self {
        Self {
            store,
            env,
            retry: RetryPolicy::default(),
        }
    }

    /// The same dataset with another patience.
    pub fn with_retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// The store it lives in.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Where it is, for messages.
    pub fn url(&self) -> String {
        self.store.url()
    }

    /// Refuses a store that does not keep the promise that commits rest on. Call it before the first release.
    pub async fn probe(&self) -> Result<()> {
        crate::store::probe(&self.store, &self.env).await
    }

    /// The numbers of all releases, ascending. By listing, never from the hint.
    pub async fn releases(&self) -> Result<Vec<u64>> {
        let listed = self.retry.run(&self.env, || self.store.list(RELEASES)).await?;
        let mut releases: Vec<u64> = listed.iter().filter_map(|o| Manifest::release_of(&o.key)).collect();
        releases.sort_unstable();
        Ok(releases)
    }

    /// The newest release; none in an empty dataset.
    pub async fn latest(&self) -> Result<Option<Release>> {
        match self.releases().await?.last() {
            None => Ok(None),
            Some(n) => self.release(*n).await.map(Some),
        }
    }

    /// One release.
    pub async fn release(&self, release: u64) -> Result<Release> {
        let key = Manifest::key(release);
        // A read may break off or come back wrong once; a damaged object comes back wrong each time.
        let mut attempt = 1;
        loop {
            let read = match self.retry.run(&self.env, || self.store.get(&key)).await {
                Err(e) if e.kind == StoreErrorKind::NotFound => {
                    return Err(CatalogError::NotFound(format!("release {release} of {}", self.url())));
                }
                read => parse(&key, &read?),
            };
            match read {
                Ok(read) if read.manifest.release == release => return Ok(read),
                Ok(_) => return Err(CatalogError::damaged(key, "it is the manifest of another release")),
                Err(CatalogError::Damaged { .. }) if attempt < 3 => attempt += 1,
                Err(e) => return Err(e),
            }
        }
    }

    /// One release's manifest.
    pub async fn manifest(&self, release: u64) -> Result<Manifest> {
        self.release(release).await.map(|r| r.manifest)
    }

    /// The newest release of kind `full` or `rebase`: where replay and verification start. None in an empty dataset.
    pub async fn last_rebase(&self) -> Result<Option<u64>> {
        for release in self.releases().await?.into_iter().rev() {
            if self.manifest(release).await?.kind != ReleaseKind::Delta {
                return Ok(Some(release));
            }
        }
        Ok(None)
    }

    /// A local file with the content of a data file: the object itself in a local store, else a copy in `scratch`. Its size
    /// and its digest are those of the manifest.
    pub async fn fetch(&self, file: &DataFile, scratch: &Path) -> Result<PathBuf> {
        let path = self.fetch_unchecked(file, scratch).await?;
        // A download is checked as it comes.
        if self.store.local_path(&file.path).is_some() {
            let (_, digest) = self.retry.run(&self.env, || self.store.digest(&file.path)).await?;
            if digest != file.sha256 {
                return Err(CatalogError::damaged(&file.path, "its content does not fit its digest"));
            }
        }
        Ok(path)
    }

    /// As [`fetch`](Self::fetch), for [`verify()`], which compares the digests of all files: of a local one the size alone
    /// is checked.
    pub(super) async fn fetch_unchecked(&self, file: &DataFile, scratch: &Path) -> Result<PathBuf> {
        if let Some(path) = self.store.local_path(&file.path) {
            let info = self.retry.run(&self.env, || self.store.head(&file.path)).await?;
            if info.size != file.size {
                let reason = format!("{} bytes instead of {}", info.size, file.size);
                return Err(CatalogError::damaged(&file.path, reason));
            }
            return Ok(path);
        }
        let path = scratch.join(format!("{}.parquet", file.sha256));
        if std::fs::metadata(&path).is_ok_and(|m| m.len() == file.size) {
            return Ok(path);
        }
        let mut attempt = 1;
        loop {
            match self.download(file, &path).await {
                Ok(()) => return Ok(path),
                Err(e) if attempt >= self.retry.attempts => return Err(e),
                Err(_) => self.retry.wait(&self.env, attempt).await,
            }
            attempt += 1;
        }
    }

    /// Local files with the content of several data files, in order.
    pub async fn fetch_all(&self, files: &[DataFile], scratch: &Path) -> Result<Vec<PathBuf>> {
        let mut paths = Vec::with_capacity(files.len());
        for file in files {
            paths.push(self.fetch(file, scratch).await?);
        }
        Ok(paths)
    }

    async fn download(&self, file: &DataFile, to: &Path) -> Result<()> {
        use futures::StreamExt;
        use sha2::Digest as _;
        use std::io::Write;
        let new = to.with_extension("new");
        let mut out = std::fs::File::create(&new).map_err(CatalogError::io("create", &new))?;
        let mut hasher = sha2::Sha256::new();
        let mut stream = self.store.stream(&file.path).await?;
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            hasher.update(&piece);
            out.write_all(&piece).map_err(CatalogError::io("write", &new))?;
        }
        if Digest::from_bytes(hasher.finalize().into()) != file.sha256 {
            return Err(CatalogError::damaged(&file.path, "its content does not fit its name"));
        }
        std::fs::rename(&new, to).map_err(CatalogError::io("rename", to))
    }

    /// Reads an object once; an absent one is none. Errors say nothing about its existence.
    async fn try_get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match self.store.get(key).await {
            Err(e) if e.kind == StoreErrorKind::NotFound => Ok(None),
            got => got.map(Some),
        }
    }
}

fn parse(key: &str, bytes: &[u8]) -> Result<Release> {
    Ok(Release {
        manifest: Manifest::from_bytes(key, bytes)?,
        sha256: Digest::of(bytes),
        size: bytes.len() as u64,
    })
}

/// Runs work on columns and local files away from the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(CatalogError::invalid("a task", "was stopped")),
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
