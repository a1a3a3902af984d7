//! Where a dataset's objects live: eight operations over keys, on local files or an object store.
//!
//! Commits rest on one promise, create-if-absent; [`probe()`] refuses a store that does not keep it.

mod fault;
mod local;
mod object;
mod probe;

pub use fault::{Fault, FaultStore, Faults};
pub use local::LocalStore;
pub use object::CloudStore;
pub(crate) use probe::PROBE;
pub use probe::probe;

use async_trait::async_trait;
use bytes::Bytes;
use clinmill_model::Digest;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

/// The largest object that [`Store::get`] holds in memory: manifests and state files, not data.
pub const MAX_DOCUMENT: u64 = 256 << 20;

/// What a store says about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key, relative to the store's root, with `/` between parts.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// When it was last written, by the store's clock.
    pub modified: Timestamp,
}

/// Why a store did not do what it was asked. An error does not say that nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// No object under this key.
    NotFound,
    /// Create-if-absent found an object (HTTP 412).
    AlreadyExists,
    /// Two writers at the same time (HTTP 409): try again.
    Conflict,
    /// Server error, time-out, lost connection: try again.
    Transient,
    /// Denied, full, not supported: trying again does not help.
    Permanent,
}

/// An error of a store.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {key}: {reason}")]
pub struct StoreError {
    /// What was tried.
    pub action: &'static str,
    /// On which key.
    pub key: String,
    /// Which kind of failure.
    pub kind: StoreErrorKind,
    /// The store's words.
    pub reason: String,
}

impl StoreError {
    /// An error of this kind.
    pub fn new(action: &'static str, key: &str, kind: StoreErrorKind, reason: impl Into<String>) -> Self {
        Self {
            action,
            key: key.to_owned(),
            kind,
            reason: reason.into(),
        }
    }

    /// True when the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Conflict | StoreErrorKind::Transient)
    }
}

/// A stream of an object's bytes.
pub type ByteStream = BoxStream<'static, Result<Bytes, StoreError>>;

/// A set of objects under keys. Keys are relative, `/`-separated, without empty, `.` or `..` parts.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// Where it is, for messages.
    fn url(&self) -> String;

    /// Writes an object only if there is none under this key; it is complete and durable, or absent.
    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError>;

    /// Writes or replaces an object.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError>;

    /// Writes or replaces an object with the content of a local file, without holding it in memory.
    async fn put_file(&self, key: &str, file: &Path) -> Result<(), StoreError>;

    /// Reads an object in pieces.
    async fn stream(&self, key: &str) -> Result<ByteStream, StoreError>;

    /// Size and time of an object.
    async fn head(&self, key: &str) -> Result<ObjectInfo, StoreError>;

    /// All objects whose key begins with `prefix` (a folder, without `/` at its end; empty: all), sorted by key.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError>;

    /// Deletes an object; an absent one is success.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Makes an object that was found rather than written durable, where that is a separate matter.
    async fn sync(&self, _key: &str) -> Result<(), StoreError> {
        Ok(())
    }

    /// The local file of an object, if objects are local files.
    fn local_path(&self, _key: &str) -> Option<PathBuf> {
        None
    }

    /// Reads a small object whole; refuses one above [`MAX_DOCUMENT`].
    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        let mut stream = self.stream(key).await?;
        let mut all = Vec::new();
        while let Some(piece) = stream.next().await {
            all.extend_from_slice(&piece?);
            if all.len() as u64 > MAX_DOCUMENT {
                return Err(StoreError::new(
                    "read",
                    key,
                    StoreErrorKind::Permanent,
                    "larger than a document may be",
                ));
            }
        }
        Ok(all.into())
    }

    /// Size and SHA-256 of an object as it reads now.
    async fn digest(&self, key: &str) -> Result<(u64, Digest), StoreError> {
        let mut stream = self.stream(key).await?;
        let (mut size, mut hasher) = (0, Sha256::new());
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            size += piece.len() as u64;
            hasher.update(&piece);
        }
        Ok((size, Digest::from_bytes(hasher.finalize().into())))
    }
}

/// How often and how patiently a call that may succeed later is repeated.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Attempts altogether, at least 1.
    pub attempts: u32,
    /// The wait before the second attempt; doubles each time, plus up to as much again at random.
    pub first_wait: std::time::Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 8,
            first_wait: std::time::Duration::from_millis(50),
        }
    }
}

impl RetryPolicy {
    /// Repeats a call while its error says that it may succeed later.
    pub async fn run<T, F>(&self, env: &crate::env::Env, mut call: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut attempt = 1;
        loop {
            match call().await {
                Err(e) if e.is_retryable() && attempt < self.attempts => {
                    self.wait(env, attempt).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// Waits after the given attempt (from 1).
    pub async fn wait(&self, env: &crate::env::Env, attempt: u32) {
        let base = self.first_wait * 2u32.saturating_pow(attempt.saturating_sub(1)).min(256);
        let jitter = env.random_u64() % (base.as_millis().max(1) as u64);
        env.clock.sleep(base + std::time::Duration::from_millis(jitter)).await;
    }
}

/// A store from a dataset's URL: `file:<path>`, relative to the working directory or absolute.
pub fn open(url: &str) -> crate::Result<std::sync::Arc<dyn Store>> {
    let path = url.strip_prefix("file:").ok_or_else(|| {
        crate::CatalogError::invalid(
            format!("dataset URL {url}"),
            "only file: is supported; write file:<path of a folder>",
        )
    })?;
    // file:///a/b and file:/a/b both mean /a/b.
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() {
        return Err(crate::CatalogError::invalid("dataset URL", "names no folder"));
    }
    Ok(std::sync::Arc::new(LocalStore::new(path)))
}

/// Refuses keys that could leave the store's root.
pub(crate) fn check_key(action: &'static str, key: &str) -> Result<(), StoreError> {
    let bad = key
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == ".." || part.contains(['\\', '\0']));
    if bad {
        return Err(StoreError::new(
            action,
            key,
            StoreErrorKind::Permanent,
            "not a valid object key",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    async fn behaves(store: Arc<dyn Store>) {
        assert_eq!(store.get("a/b").await.unwrap_err().kind, StoreErrorKind::NotFound);
        assert!(store.list("").await.unwrap().is_empty());
        store.put_if_absent("a/b", Bytes::from_static(b"one")).await.unwrap();
        let again = store.put_if_absent("a/b", Bytes::from_static(b"two")).await;
        assert_eq!(again.unwrap_err().kind, StoreErrorKind::AlreadyExists);
        assert_eq!(store.get("a/b").await.unwrap(), "one");
        store.put("a/b", Bytes::from_static(b"three")).await.unwrap();
        store.put("ab", Bytes::from_static(b"x")).await.unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"from a file").unwrap();
        store.put_file("a/c/d", file.path()).await.unwrap();
        assert_eq!(store.digest("a/c/d").await.unwrap(), (11, Digest::of(b"from a file")));
        let keys: Vec<_> = store
            .list("a")
            .await
            .unwrap()
            .into_iter()
            .map(|o| (o.key, o.size))
            .collect();
        assert_eq!(keys, [("a/b".to_owned(), 5), ("a/c/d".to_owned(), 11)]);
        assert_eq!(store.list("").await.unwrap().len(), 3);
        assert_eq!(store.head("a/b").await.unwrap().size, 5);
        store.delete("a/b").await.unwrap();
        store.delete("a/b").await.unwrap();
        assert_eq!(store.head("a/b").await.unwrap_err().kind, StoreErrorKind::NotFound);
        for bad in ["../x", "a//b", "", "a/./b", "/a"] {
            assert!(store.put(bad, Bytes::new()).await.is_err(), "{bad}");
            assert!(store.get(bad).await.is_err(), "{bad}");
        }
        probe(&store, &crate::env::Env::seeded(1)).await.unwrap();
        assert!(store.list("_probe").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn local_store() {
        let dir = tempfile::tempdir().unwrap();
        behaves(Arc::new(LocalStore::new(dir.path().join("deep/er")))).await;
    }

    #[tokio::test]
    async fn cloud_store() {
        behaves(Arc::new(CloudStore::new(Arc::new(
            object_store::memory::InMemory::new(),
        ))))
        .await;
    }

    #[test]
    fn urls() {
        assert_eq!(open("file:/a/b").unwrap().url(), "file:/a/b");
        assert_eq!(open("file:///a/b").unwrap().url(), "file:/a/b");
        assert!(open("s3://bucket").is_err());
        assert!(open("file:").is_err());
    }
}
