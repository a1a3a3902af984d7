//! Counting and hashing what passes on its way into or out of a file.

use clinmill_model::Digest;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

/// A reader or writer, with the number and the SHA-256 of the bytes that passed.
pub(crate) struct Hashed<T> {
    inner: T,
    hasher: Sha256,
    bytes: u64,
}

impl<T> Hashed<T> {
    /// Nothing has passed yet.
    pub(crate) fn new(inner: T) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            bytes: 0,
        }
    }

    /// What it wrapped, the bytes that passed, and their digest.
    pub(crate) fn finish(self) -> (T, u64, Digest) {
        (
            self.inner,
            self.bytes,
            Digest::from_bytes(self.hasher.finalize().into()),
        )
    }

    fn passed(&mut self, bytes: &[u8], n: usize) -> usize {
        self.hasher.update(bytes.get(..n).unwrap_or(bytes));
        self.bytes += n as u64;
        n
    }
}

impl Hashed<io::Sink> {
    /// Bytes and digest of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn file(path: &Path) -> io::Result<(u64, Digest)> {
        let mut all = Self::new(io::sink());
        let mut file = io::BufReader::with_capacity(1 << 18, File::open(path)?);
        io::copy(&mut file, &mut all)?;
        let (_, bytes, digest) = all.finish();
        Ok((bytes, digest))
    }
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        Ok(self.passed(buf, n))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        Ok(self.passed(buf, n))
    }
}

impl<T> std::fmt::Debug for Hashed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hashed")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
