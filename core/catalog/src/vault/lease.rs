//! One refresh at a time: an exclusive lock on `<vault>/lease`, given back by the system when the holder dies.

use super::error::{Context, Result, VaultError};
use super::fs::private;
use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
};

/// Proof that this process alone works on the vault; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    file: File,
}

impl Lease {
    /// Takes the lock, and writes who holds it.
    ///
    /// # Errors
    /// [`VaultError::LeaseHeld`] when another holds it.
    pub(super) fn take(path: &Path, now: jiff::Timestamp) -> Result<Self> {
        let mut file = private()
            .read(true)
            .create(true)
            .truncate(false)
            .open(path)
            .vault("open", "lease")?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(&mut file)),
            Err(TryLockError::Error(e)) => return Err(e).vault("lock", "lease"),
        }
        let lease = Self { file };
        lease
            .write(&format!("{} {now}\n", std::process::id()))
            .vault("write", "lease")?;
        Ok(lease)
    }

    fn write(&self, text: &str) -> std::io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(text.as_bytes())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // An old name left in it would only mislead people.
        let _ = self.file.set_len(0);
        // Closing would not do where a child process has the file, too.
        let _ = self.file.unlock();
    }
}

fn held(file: &mut File) -> VaultError {
    let mut text = String::new();
    // What cannot be read is simply not told.
    let _ = file.take(256).read_to_string(&mut text);
    let mut words = text.split_ascii_whitespace();
    VaultError::LeaseHeld {
        pid: words.next().and_then(|w| w.parse().ok()),
        started: words.next().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_holder_and_the_second_learns_who() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lease");
        let now: jiff::Timestamp = "2026-11-23T02:00:00Z".parse().unwrap();
        let first = Lease::take(&path, now).unwrap();
        match Lease::take(&path, now).unwrap_err() {
            VaultError::LeaseHeld { pid, started } => {
                assert_eq!(pid, Some(std::process::id()));
                assert_eq!(started.as_deref(), Some("2026-11-23T02:00:00Z"));
            }
            other => panic!("{other}"),
        }
        // As a child process has it.
        let inherited = first.file.try_clone().unwrap();
        drop(first);
        Lease::take(&path, now).unwrap();
        drop(inherited);
    }
}
