//! Files that a later commit relies on: written aside, made durable, then given their name.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

/// Writes a file so that after a crash or a power loss it is either the old one or the new one, whole: a new file in
/// the same folder, synchronized, renamed, the folder synchronized.
///
/// # Errors
/// What the system says. The temporary file is removed as far as possible.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (mut file, temporary) = create_beside(path)?;
    file.write_all(bytes)?;
    publish(&file, temporary, path)?;
    sync_parent(path)
}

/// Makes a folder's entries durable: names given or removed in it before survive a power loss.
///
/// # Errors
/// What the system says.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes the entry of `path` in its folder durable.
///
/// # Errors
/// What the system says.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// A file under a temporary name; removed when dropped before it is published.
#[derive(Debug)]
pub(crate) struct Temporary(Option<PathBuf>);

impl Temporary {
    /// Gives the file its name.
    pub(crate) fn rename(mut self, to: &Path) -> io::Result<()> {
        if let Some(from) = &self.0 {
            fs::rename(from, to)?;
            self.0 = None;
        }
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // Nothing to be done about a leftover here; garbage collection of the staging folder finds it.
            let _ = fs::remove_file(path);
        }
    }
}

/// A new file, readable by its owner only, in `folder`.
pub(crate) fn create_temporary(folder: &Path) -> io::Result<(File, Temporary)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".tmp-{}-{n}", std::process::id()));
        match private().create_new(true).read(true).open(&path) {
            Ok(file) => return Ok((file, Temporary(Some(path)))),
            // Of an earlier process with the same number.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(e) => return Err(e),
        }
    }
}

fn create_beside(path: &Path) -> io::Result<(File, Temporary)> {
    create_temporary(path.parent().unwrap_or(Path::new(".")))
}

/// Makes the file's content durable and gives it its name. The folder is not synchronized yet.
pub(crate) fn publish(file: &File, temporary: Temporary, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    temporary.rename(path)
}

/// Makes the contents of many files durable. Several at a time: a journal takes those that wait together.
pub(crate) fn sync_all(files: &[PathBuf]) -> io::Result<()> {
    const AT_A_TIME: usize = 32;
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(e) = File::open(file).and_then(|f| f.sync_all()) {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
            }
        }
    };
    thread::scope(|scope| {
        (1..files.len().min(AT_A_TIME)).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    failed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .map_or(Ok(()), Err)
}

/// Creates a folder (and those above it) that only its owner may enter.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// How files of the vault are opened for writing: readable by their owner only.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_files_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        atomic_write(&path, b"one").unwrap();
        atomic_write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_unpublished_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        drop(create_temporary(dir.path()).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(atomic_write(&dir.path().join("no/such"), b"").is_err());
    }
}
