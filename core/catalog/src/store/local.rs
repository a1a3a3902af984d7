//! A store on local files that survives a power cut: every file and every new folder entry is synced before a call
//! returns (the local store of object_store 0.13 syncs nothing).

use super::{ByteStream, ObjectInfo, Store, StoreError, StoreErrorKind as Kind, check_key};
use async_trait::async_trait;
use bytes::Bytes;
use clinmill_sdk::regular;
use futures::StreamExt;
use jiff::Timestamp;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Beginning of the names of files that are being written. Never listed as objects.
pub(crate) const TEMPORARY: &str = ".tmp-";

/// Unfinished files of writers that were killed are removed once they are this old.
const ABANDONED: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// A folder of the local file system.
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: PathBuf,
    #[cfg(test)]
    calls: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl LocalStore {
    /// A store in this folder, which is made by the first write.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            #[cfg(test)]
            calls: Default::default(),
        }
    }

    fn path(&self, action: &'static str, key: &str) -> Result<PathBuf, StoreError> {
        check_key(action, key)?;
        Ok(self.root.join(key))
    }

    fn note(&self, _call: &str, _path: &Path) {
        #[cfg(test)]
        if let Ok(mut calls) = self.calls.lock() {
            let name = _path
                .strip_prefix(&self.root)
                .unwrap_or(_path)
                .to_string_lossy()
                .into_owned();
            let name = match name.split_once(TEMPORARY) {
                Some((folder, _)) => format!("{folder}<new>"),
                None => name,
            };
            calls.push(format!("{_call} {name}"));
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()?;
        self.note("syncdir", dir);
        Ok(())
    }

    /// Makes a folder and its missing parents, each made durable in its parent.
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.as_os_str().is_empty() || dir.is_dir() {
            return Ok(());
        }
        let parent = match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.make_dir(parent)?;
        match fs::create_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        self.sync_dir(parent)
    }

    /// Writes a complete, synced file under a temporary name beside its target.
    fn write_beside(&self, target: &Path, mut content: impl Read) -> io::Result<PathBuf> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let dir = target.parent().unwrap_or(&self.root);
        self.make_dir(dir)?;
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let new = dir.join(format!("{TEMPORARY}{}-{n}", std::process::id()));
        // A process of the same number may have died here: its leftover is ours to replace.
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&new)?;
        let written = io::copy(&mut content, &mut file)
            .and_then(|_| file.flush())
            .and_then(|()| file.sync_all());
        if let Err(e) = written {
            // The error that matters is the first one.
            let _ = fs::remove_file(&new);
            return Err(e);
        }
        self.note("syncfile", &new);
        Ok(new)
    }

    fn create(&self, target: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = self.write_beside(target, bytes)?;
        // A hard link is the one call of a file system that both refuses an existing name and shows only whole files.
        let linked = fs::hard_link(&new, target);
        self.note("link", target);
        let _ = fs::remove_file(&new);
        linked?;
        self.sync_dir(target.parent().unwrap_or(&self.root))
    }

    fn replace(&self, target: &Path, content: impl Read) -> io::Result<()> {
        let new = self.write_beside(target, content)?;
        fs::rename(&new, target)?;
        self.note("rename", target);
        self.sync_dir(target.parent().unwrap_or(&self.root))
    }

    fn walk(&self, dir: &Path, found: &mut Vec<ObjectInfo>) -> io::Result<()> {
        let entries = match fs::read_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.walk(&path, found)?;
            } else if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                let old = entry
                    .metadata()
                    .and_then(|m| m.modified())
                    .ok()
                    .and_then(|t| t.elapsed().ok());
                if old.is_some_and(|age| age > ABANDONED) {
                    let _ = fs::remove_file(&path);
                }
            } else if let Some(info) = entry.metadata().ok().and_then(|m| self.info(&path, &m)) {
                // A file that vanishes during the walk is not listed.
                found.push(info);
            }
        }
        Ok(())
    }

    fn info(&self, path: &Path, meta: &fs::Metadata) -> Option<ObjectInfo> {
        let parts: Option<Vec<_>> = path.strip_prefix(&self.root).ok()?.iter().map(|p| p.to_str()).collect();
        Some(ObjectInfo {
            key: parts?.join("/"),
            size: meta.len(),
            modified: meta
                .modified()
                .ok()
                .and_then(|t| Timestamp::try_from(t).ok())
                .unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }

    /// Runs file system calls away from the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &str,
        work: impl FnOnce(&Self, PathBuf) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (this, path) = (self.clone(), self.path(action, key)?);
        let done = tokio::task::spawn_blocking(move || work(&this, path)).await;
        match done {
            Ok(done) => done.map_err(|e| wrap(action, key, &e)),
            Err(_) => Err(StoreError::new(action, key, Kind::Transient, "the task was stopped")),
        }
    }
}

fn wrap(action: &'static str, key: &str, e: &io::Error) -> StoreError {
    let kind = match e.kind() {
        io::ErrorKind::NotFound => Kind::NotFound,
        io::ErrorKind::AlreadyExists => Kind::AlreadyExists,
        io::ErrorKind::Interrupted | io::ErrorKind::TimedOut => Kind::Transient,
        _ => Kind::Permanent,
    };
    StoreError::new(action, key, kind, e.to_string())
}

#[async_trait]
impl Store for LocalStore {
    fn url(&self) -> String {
        format!("file:{}", self.root.display())
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.blocking("create", key, move |this, path| this.create(&path, &bytes))
            .await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.blocking("write", key, move |this, path| this.replace(&path, &bytes[..]))
            .await
    }

    async fn put_file(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        let file = file.to_path_buf();
        self.blocking("write", key, move |this, path| this.replace(&path, File::open(file)?))
            .await
    }

    async fn stream(&self, key: &str) -> Result<ByteStream, StoreError> {
        let file = self.blocking("read", key, |_, path| regular::open(&path)).await?;
        let key = key.to_owned();
        let pieces = futures::stream::unfold(Some(file), move |file| {
            let key = key.clone();
            async move {
                let mut file = file?;
                let read = tokio::task::spawn_blocking(move || {
                    let mut piece = Vec::new();
                    let n = Read::by_ref(&mut file).take(1 << 20).read_to_end(&mut piece)?;
                    io::Result::Ok((n, piece, file))
                });
                match read.await {
                    Ok(Ok((0, ..))) => None,
                    Ok(Ok((_, piece, file))) => Some((Ok(piece.into()), Some(file))),
                    Ok(Err(e)) => Some((Err(wrap("read", &key, &e)), None)),
                    Err(_) => Some((Err(StoreError::new("read", &key, Kind::Transient, "stopped")), None)),
                }
            }
        });
        Ok(pieces.boxed())
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo, StoreError> {
        self.blocking("look at", key, |this, path| {
            let meta = fs::metadata(&path)?;
            let found = meta.is_file().then(|| this.info(&path, &meta)).flatten();
            found.ok_or_else(|| io::ErrorKind::NotFound.into())
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        if !prefix.is_empty() {
            check_key("list", prefix)?;
        }
        let (this, prefix) = (self.clone(), prefix.to_owned());
        let from = this.root.join(&prefix);
        let walk = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            this.walk(&from, &mut found).map(|()| found)
        });
        let mut found = match walk.await {
            Ok(found) => found.map_err(|e| wrap("list", &prefix, &e))?,
            Err(_) => return Err(StoreError::new("list", &prefix, Kind::Transient, "stopped")),
        };
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.blocking("delete", key, |this, path| match fs::remove_file(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
            Ok(()) => this.sync_dir(path.parent().unwrap_or(&this.root)),
        })
        .await
    }

    async fn sync(&self, key: &str) -> Result<(), StoreError> {
        self.blocking("sync", key, |this, path| {
            File::open(&path)?.sync_all()?;
            this.sync_dir(path.parent().unwrap_or(&this.root))
        })
        .await
    }

    fn local_path(&self, key: &str) -> Option<PathBuf> {
        self.path("read", key).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_is_synced_before_its_name_appears_and_the_name_before_success() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::new(dir.path());
        store
            .put_if_absent("_releases/1.json", Bytes::from_static(b"{}"))
            .await
            .unwrap();
        let calls = std::mem::take(&mut *store.calls.lock().unwrap());
        assert_eq!(
            calls,
            [
                "syncdir ", // the root now names the new folder
                "syncfile _releases/<new>",
                "link _releases/1.json",
                "syncdir _releases"
            ]
        );
        store
            .put("_releases/latest.json", Bytes::from_static(b"{}"))
            .await
            .unwrap();
        let calls = std::mem::take(&mut *store.calls.lock().unwrap());
        assert_eq!(
            calls,
            [
                "syncfile _releases/<new>",
                "rename _releases/latest.json",
                "syncdir _releases"
            ]
        );
    }

    #[tokio::test]
    async fn unfinished_files_are_not_objects() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::new(dir.path());
        fs::write(dir.path().join(".tmp-1-1"), b"half").unwrap();
        assert!(store.list("").await.unwrap().is_empty());
        assert!(dir.path().join(".tmp-1-1").exists());
    }
}
