//! Segments: lines of JSON, compressed, immutable, named by the digest of the stored bytes. The ledger and the
//! quarantine are lists of them.

use super::{
    error::{Context, Result, VaultError},
    fs::{Temporary, create_temporary, publish, sync_dir},
};
use crate::hashed::Hashed;
use clinmill_model::Digest;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    marker::PhantomData,
    path::{Path, PathBuf},
};

/// The longest line that is read back.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// A folder of segments whose lines are `T`s.
#[derive(Debug)]
pub(super) struct Segments<T> {
    root: PathBuf,
    folder: &'static str,
    kind: &'static str,
    lines: PhantomData<fn() -> T>,
}

impl<T> Segments<T> {
    pub(super) fn new(root: &Path, folder: &'static str, kind: &'static str) -> Self {
        Self {
            root: root.to_owned(),
            folder,
            kind,
            lines: PhantomData,
        }
    }

    fn name(&self, digest: &Digest) -> String {
        format!("{}/{digest}.jsonl.zst", self.folder)
    }
}

impl<T: Serialize> Segments<T> {
    /// Begins a segment; nothing is visible before it is finished.
    pub(super) fn create(&self) -> Result<SegmentWriter<T>> {
        let (file, temporary) = create_temporary(&self.root.join("staging")).vault("create", "staging")?;
        let to = zstd::Encoder::new(Hashed::new(file), 3).vault("write", "staging")?;
        let (root, folder) = (self.root.clone(), self.folder);
        Ok(SegmentWriter {
            to,
            temporary,
            root,
            folder,
            lines: 0,
            kind: PhantomData,
        })
    }
}

impl<T: DeserializeOwned> Segments<T> {
    /// Reads a segment line by line. A digest that does not fit is found at its end, so nothing may be relied on
    /// before this returns.
    pub(super) fn read(&self, digest: &Digest, mut each: impl FnMut(T)) -> Result<()> {
        let corrupt = |reason: &str| VaultError::Corrupt {
            kind: self.kind,
            digest: *digest,
            reason: reason.to_owned(),
        };
        let file = match File::open(self.root.join(self.name(digest))) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(VaultError::Missing {
                    kind: self.kind,
                    digest: *digest,
                });
            }
            other => other.vault("read", self.name(digest))?,
        };
        let mut hashing = Hashed::new(file);
        let decoder = zstd::Decoder::new(&mut hashing).vault("read", self.name(digest))?;
        let mut lines = BufReader::new(decoder);
        let mut line = Vec::new();
        loop {
            line.clear();
            let n = lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
            match n {
                Ok(0) => break,
                Ok(_) if line.ends_with(b"\n") => {
                    each(serde_json::from_slice(&line).map_err(|_| corrupt("a line is not readable"))?);
                }
                Ok(_) => return Err(corrupt("a line is cut")),
                Err(_) => return Err(corrupt("it does not decompress")),
            }
        }
        drop(lines);
        io::copy(&mut hashing, &mut io::sink()).vault("read", self.name(digest))?;
        if hashing.finish().2 != *digest {
            return Err(corrupt("its content has another digest"));
        }
        Ok(())
    }
}

/// Writes one segment.
pub struct SegmentWriter<T> {
    to: zstd::Encoder<'static, Hashed<File>>,
    temporary: Temporary,
    root: PathBuf,
    folder: &'static str,
    lines: u64,
    kind: PhantomData<fn(T)>,
}

impl<T: Serialize> SegmentWriter<T> {
    /// Appends a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn push(&mut self, line: &T) -> Result<()> {
        let mut text = serde_json::to_vec(line)
            .map_err(io::Error::from)
            .vault("write", self.folder)?;
        text.push(b'\n');
        self.to.write_all(&text).vault("write", "staging")?;
        self.lines += 1;
        Ok(())
    }

    /// How many lines it has.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Makes the segment durable under its digest; none, and no file, for a segment without lines.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> Result<Option<Digest>> {
        if self.lines == 0 {
            return Ok(None);
        }
        let (file, _, digest) = self.to.finish().vault("write", "staging")?.finish();
        let folder = self.root.join(self.folder);
        publish(&file, self.temporary, &folder.join(format!("{digest}.jsonl.zst")))
            .and_then(|()| sync_dir(&folder))
            .vault("write", self.folder)?;
        Ok(Some(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::testing::{flip, vault};

    #[test]
    fn writes_reads_and_names_damage() {
        let (_dir, vault) = vault();
        let segments: Segments<Vec<u32>> = Segments::new(vault.root(), "ledger", "ledger segment");
        assert_eq!(segments.create().unwrap().finish().unwrap(), None);
        let mut writer = segments.create().unwrap();
        let lines: Vec<Vec<u32>> = (0..500).map(|i| vec![i, i * i]).collect();
        lines.iter().for_each(|l| writer.push(l).unwrap());
        let digest = writer.finish().unwrap().unwrap();
        let read = |digest| {
            let mut all = Vec::new();
            segments.read(digest, |l| all.push(l)).map(|()| all)
        };
        assert_eq!(read(&digest).unwrap(), lines);

        let path = vault.root().join(format!("ledger/{digest}.jsonl.zst"));
        let good = std::fs::read(&path).unwrap();
        assert_eq!(Digest::of(&good), digest);
        for at in (0..good.len()).step_by(7) {
            flip(&path, at);
            let error = read(&digest).unwrap_err();
            assert!(
                matches!(error, VaultError::Corrupt { digest: d, .. } if d == digest),
                "{at}: {error}"
            );
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(matches!(read(&digest), Err(VaultError::Corrupt { .. })), "cut at {at}");
            std::fs::write(&path, &good).unwrap();
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(read(&digest), Err(VaultError::Missing { .. })));
    }
}
