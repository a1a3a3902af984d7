//! Inputs kept in the vault under the SHA-256 of their content, so that any of them can be read again, at any offset,
//! whatever becomes of the inbox.

use super::{
    discover::Stamp,
    error::{Context, Result, VaultError},
    fs::{Temporary, atomic_write, create_private_dir, create_temporary, sync_all, sync_dir},
    seekable::{FRAME_BYTES, SeekableReader, SeekableWriter},
};
use crate::hashed::Hashed;
use clinmill_model::{Digest, Sensitive};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

const KIND: &str = "input";
/// Copies that are whole but may not survive a power loss wait here, so that what has its name in `inputs` always
/// does. Synchronizing many at once costs a fraction of doing so one by one.
const WAITING: &str = "inputs/.new";

/// What was kept of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// SHA-256 of the content: the input's name.
    pub sha256: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    /// Bytes the vault holds for it; 0 for an input that is only referenced.
    pub stored_size: u64,
}

/// `<vault>/inputs`.
#[derive(Clone, Debug)]
pub struct Inputs {
    folder: PathBuf,
    waiting: PathBuf,
    staging: PathBuf,
    /// The files behind referenced inputs whose content has been compared, as they were then.
    compared: Arc<Mutex<HashMap<Digest, Stamp>>>,
}

/// What stands in `<vault>/inputs/<sha256>.ref`.
#[derive(Serialize, Deserialize)]
struct Reference {
    path: PathBuf,
    size: u64,
}

impl Inputs {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            folder: root.join("inputs"),
            waiting: root.join(WAITING),
            staging: root.join("staging"),
            compared: Arc::default(),
        }
    }

    /// Forgets copies of a process that died before it made them durable.
    pub(super) fn clear_waiting(&self) -> Result<()> {
        match fs::remove_dir_all(&self.waiting) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).vault("remove", WAITING),
            _ => create_private_dir(&self.waiting).vault("create", WAITING),
        }
    }

    /// Copies a file into the vault in one pass: hashed and compressed (zstd seekable format). It can be opened at
    /// once and becomes durable by [`sync`](Self::sync). An input that is there already stays as it is.
    ///
    /// # Errors
    /// [`VaultError::Source`] when the file cannot be read, [`VaultError::Changed`] when it changes meanwhile.
    pub fn keep(&self, source: &Path) -> Result<Kept> {
        let (to, temporary) = create_temporary(&self.staging).vault("create", "staging")?;
        let mut writer = SeekableWriter::new(to).vault("write", "staging")?;
        let (sha256, size, _) = read_whole(source, |frame| writer.frame(frame).vault("write", "staging"))?;
        let (_, stored_size) = writer.finish().vault("write", "staging")?;
        if let Some(stored_size) = self.stored_size(&sha256)? {
            return Ok(Kept {
                sha256,
                size,
                stored_size,
            });
        }
        self.wait(temporary, &sha256)?;
        Ok(Kept {
            sha256,
            size,
            stored_size,
        })
    }

    /// Keeps bytes that are in memory, as [`keep`](Self::keep) does.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep_bytes(&self, content: &[u8]) -> Result<Kept> {
        let (sha256, size) = (Digest::of(content), content.len() as u64);
        if let Some(stored_size) = self.stored_size(&sha256)? {
            return Ok(Kept {
                sha256,
                size,
                stored_size,
            });
        }
        let (to, temporary) = create_temporary(&self.staging).vault("create", "staging")?;
        let mut writer = SeekableWriter::new(to).vault("write", "staging")?;
        content
            .chunks(FRAME_BYTES)
            .try_for_each(|f| writer.frame(f))
            .vault("write", "staging")?;
        let (_, stored_size) = writer.finish().vault("write", "staging")?;
        self.wait(temporary, &sha256)?;
        Ok(Kept {
            sha256,
            size,
            stored_size,
        })
    }

    /// Hashes a file that is declared immutable and remembers where it is; nothing is copied.
    ///
    /// # Errors
    /// [`VaultError::Source`] when the file cannot be read, [`VaultError::Changed`] when it changes meanwhile.
    pub fn reference(&self, source: &Path) -> Result<Kept> {
        let began = SystemTime::now();
        let (sha256, size, stamp) = read_whole(source, |_| Ok(()))?;
        let path = std::path::absolute(source).map_err(|e| VaultError::Source {
            path: Sensitive::new(source.to_owned()),
            source: e,
        })?;
        let text = serde_json::to_vec(&Reference { path, size })
            .map_err(io::Error::from)
            .vault("write", "inputs")?;
        atomic_write(&self.reference_path(&sha256), &text).vault("write", "inputs")?;
        self.remember(sha256, stamp, began);
        Ok(Kept {
            sha256,
            size,
            stored_size: 0,
        })
    }

    /// True when the content is kept or referenced.
    pub fn has(&self, sha256: &Digest) -> bool {
        self.path(sha256).exists() || self.waiting_path(sha256).exists() || self.reference_path(sha256).exists()
    }

    /// Makes everything kept so far durable. [`States::store`](super::States::store) calls this, so that no state can
    /// rely on an input that a power loss takes away.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync(&self) -> Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.waiting).vault("list", WAITING)? {
            names.push(entry.vault("list", WAITING)?.file_name());
        }
        if names.is_empty() {
            return Ok(());
        }
        sync_all(&names.iter().map(|n| self.waiting.join(n)).collect::<Vec<_>>()).vault("synchronize", WAITING)?;
        for name in names {
            fs::rename(self.waiting.join(&name), self.folder.join(&name)).vault("rename", WAITING)?;
        }
        sync_dir(&self.folder).vault("synchronize", "inputs")
    }

    /// Opens an input for reading at any offset.
    ///
    /// # Errors
    /// [`VaultError::Missing`] when it is neither kept nor referenced; [`VaultError::Corrupt`] when the copy is
    /// damaged; [`VaultError::Original`] when the referenced file is gone or has another content. That one is read whole,
    /// unless it is as it was when it was read last.
    pub fn open(&self, sha256: &Digest) -> Result<KeptInput> {
        // Twice, as a copy may become durable, and move, between two looks.
        for path in [self.path(sha256), self.waiting_path(sha256), self.path(sha256)] {
            let file = match File::open(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.vault("read", format!("inputs/{sha256}"))?,
            };
            let reader = SeekableReader::open(file).map_err(|e| read_error(*sha256, e))?;
            return Ok(KeptInput {
                sha256: *sha256,
                size: reader.size(),
                bytes: Bytes::Kept(reader),
            });
        }
        self.open_reference(sha256)
    }

    /// Reads an input whole and compares its digest.
    ///
    /// # Errors
    /// [`VaultError::Corrupt`] naming the input when any byte differs.
    pub fn verify(&self, sha256: &Digest) -> Result<()> {
        let input = self.open(sha256)?;
        let Bytes::Kept(reader) = &input.bytes else {
            return Ok(());
        };
        let mut hasher = Sha256::new();
        reader
            .each_frame(|f| hasher.update(f))
            .map_err(|e| read_error(*sha256, e))?;
        if Digest::from_bytes(hasher.finalize().into()) == *sha256 {
            Ok(())
        } else {
            Err(corrupt(*sha256, "its content has another digest"))
        }
    }

    fn open_reference(&self, sha256: &Digest) -> Result<KeptInput> {
        let text = match fs::read(self.reference_path(sha256)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(VaultError::Missing {
                    kind: KIND,
                    digest: *sha256,
                });
            }
            other => other.vault("read", format!("inputs/{sha256}.ref"))?,
        };
        let reference: Reference =
            serde_json::from_slice(&text).map_err(|_| corrupt(*sha256, "its reference is not readable"))?;
        let file = File::open(&reference.path).map_err(|_| changed(*sha256, "is not there any more"))?;
        let began = SystemTime::now();
        let stamp = Stamp::of(&file.metadata().map_err(|e| read_error(*sha256, e))?);
        if stamp.size != reference.size {
            return Err(changed(*sha256, "has another size now"));
        }
        let before = self.compared().get(sha256).copied();
        if before != Some(stamp) {
            let (_, content) = Hashed::file(&reference.path).map_err(|e| read_error(*sha256, e))?;
            if content != *sha256 {
                return Err(changed(*sha256, "has another content now"));
            }
            self.remember(*sha256, stamp, began);
        }
        Ok(KeptInput {
            sha256: *sha256,
            size: stamp.size,
            bytes: Bytes::Referenced(file),
        })
    }

    fn remember(&self, sha256: Digest, stamp: Stamp, reading_began: SystemTime) {
        if stamp.is_settled(reading_began) {
            self.compared().insert(sha256, stamp);
        }
    }

    fn compared(&self) -> MutexGuard<'_, HashMap<Digest, Stamp>> {
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, temporary: Temporary, sha256: &Digest) -> Result<()> {
        temporary
            .rename(&self.waiting_path(sha256))
            .vault("write", format!("inputs/{sha256}"))
    }

    fn stored_size(&self, sha256: &Digest) -> Result<Option<u64>> {
        for path in [self.path(sha256), self.waiting_path(sha256), self.path(sha256)] {
            match path.metadata() {
                Ok(metadata) => return Ok(Some(metadata.len())),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e).vault("read", format!("inputs/{sha256}")),
            }
        }
        Ok(None)
    }

    fn path(&self, sha256: &Digest) -> PathBuf {
        self.folder.join(sha256.to_string())
    }

    fn waiting_path(&self, sha256: &Digest) -> PathBuf {
        self.waiting.join(sha256.to_string())
    }

    fn reference_path(&self, sha256: &Digest) -> PathBuf {
        self.folder.join(format!("{sha256}.ref"))
    }
}

/// The bytes of a kept input, by offset, for several threads at once.
#[derive(Debug)]
pub struct KeptInput {
    sha256: Digest,
    size: u64,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Kept(SeekableReader),
    Referenced(File),
}

impl KeptInput {
    /// The input's name.
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// Size of the content in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads at an offset into `buf`; returns how many bytes, 0 only at the end.
    ///
    /// # Errors
    /// Damage is `InvalidData` around a [`VaultError::Corrupt`] that names the input.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        match &self.bytes {
            Bytes::Kept(reader) => reader.read_at(offset, buf).map_err(|e| match e.kind() {
                io::ErrorKind::InvalidData => io::Error::new(io::ErrorKind::InvalidData, read_error(self.sha256, e)),
                _ => e,
            }),
            Bytes::Referenced(file) => std::os::unix::fs::FileExt::read_at(file, buf, offset),
        }
    }
}

/// Reads a file in frames, hashing; refuses one that changes meanwhile. Digest, size, and what it was.
fn read_whole(source: &Path, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<(Digest, u64, Stamp)> {
    let failed = |e| VaultError::Source {
        path: Sensitive::new(source.to_owned()),
        source: e,
    };
    let mut file = File::open(source).map_err(failed)?;
    let before = file.metadata().map_err(failed)?;
    if !before.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
    }
    let mut hasher = Sha256::new();
    let mut frame = Vec::with_capacity(FRAME_BYTES.min(before.len() as usize + 1));
    let mut size = 0;
    loop {
        frame.clear();
        file.by_ref()
            .take(FRAME_BYTES as u64)
            .read_to_end(&mut frame)
            .map_err(failed)?;
        if frame.is_empty() {
            break;
        }
        hasher.update(&frame);
        each(&frame)?;
        size += frame.len() as u64;
    }
    let after = Stamp::of(&file.metadata().map_err(failed)?);
    let before = Stamp::of(&before);
    if size != before.size || (before.size, before.modified) != (after.size, after.modified) {
        return Err(VaultError::Changed {
            path: Sensitive::new(source.to_owned()),
        });
    }
    Ok((Digest::from_bytes(hasher.finalize().into()), size, after))
}

fn read_error(digest: Digest, error: io::Error) -> VaultError {
    match error.kind() {
        io::ErrorKind::InvalidData => VaultError::Corrupt {
            kind: KIND,
            digest,
            reason: error.to_string(),
        },
        _ => VaultError::Io {
            action: "read",
            what: format!("inputs/{digest}"),
            source: error,
        },
    }
}

fn changed(digest: Digest, reason: &'static str) -> VaultError {
    VaultError::Original { digest, reason }
}

fn corrupt(digest: Digest, reason: &str) -> VaultError {
    VaultError::Corrupt {
        kind: KIND,
        digest,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{
        VaultState,
        testing::{flip, vault},
    };

    fn text() -> Vec<u8> {
        (0..120_000)
            .flat_map(|i| format!("{i},order-{},血红蛋白,{}\n", i * 7, i % 90).into_bytes())
            .collect()
    }

    fn read_all(input: &KeptInput) -> io::Result<Vec<u8>> {
        let (mut all, mut buf) = (Vec::new(), vec![0; 70_000]);
        loop {
            match input.read_at(all.len() as u64, &mut buf)? {
                0 => return Ok(all),
                n => all.extend_from_slice(&buf[..n]),
            }
        }
    }

    #[test]
    fn keeps_once_and_reads_back() {
        let (dir, vault) = vault();
        let path = dir.path().join("lis.csv");
        std::fs::write(&path, text()).unwrap();
        let kept = vault.inputs().keep(&path).unwrap();
        assert_eq!(kept.sha256, Digest::of(&text()));
        assert!(kept.stored_size < kept.size / 2);
        assert_eq!(vault.inputs().keep(&path).unwrap(), kept);
        std::fs::remove_file(&path).unwrap();
        let input = vault.inputs().open(&kept.sha256).unwrap();
        assert_eq!(read_all(&input).unwrap(), text());
        vault.inputs().verify(&kept.sha256).unwrap();
        vault.inputs().sync().unwrap();
        assert_eq!(std::fs::read_dir(vault.root().join("staging")).unwrap().count(), 0);
    }

    #[test]
    fn bytes_in_memory_are_kept_under_the_same_name_as_a_file() {
        let (dir, vault) = vault();
        let path = dir.path().join("x");
        for content in [text(), Vec::new()] {
            std::fs::write(&path, &content).unwrap();
            let kept = vault.inputs().keep_bytes(&content).unwrap();
            assert_eq!(vault.inputs().keep(&path).unwrap(), kept);
            vault.inputs().verify(&kept.sha256).unwrap();
        }
    }

    #[test]
    fn a_damaged_copy_is_named() {
        let (dir, vault) = vault();
        let path = dir.path().join("x");
        std::fs::write(&path, text()).unwrap();
        let kept = vault.inputs().keep(&path).unwrap();
        vault.inputs().sync().unwrap();
        flip(&vault.root().join(format!("inputs/{}", kept.sha256)), 5000);
        let error = read_all(&vault.inputs().open(&kept.sha256).unwrap()).unwrap_err();
        assert!(error.to_string().contains(&kept.sha256.to_string()), "{error}");
        let error = vault.inputs().verify(&kept.sha256).unwrap_err();
        assert!(
            matches!(error, VaultError::Corrupt { digest, .. } if digest == kept.sha256),
            "{error}"
        );
        std::fs::write(vault.root().join(format!("inputs/{}", kept.sha256)), b"").unwrap();
        assert!(matches!(
            vault.inputs().open(&kept.sha256),
            Err(VaultError::Corrupt { .. })
        ));
    }

    #[test]
    fn what_is_not_durable_yet_has_no_name_and_is_forgotten_with_its_process() {
        let (_dir, vault) = vault();
        let names = || fs::read_dir(vault.root().join("inputs")).unwrap().count();
        let lost = vault.inputs().keep_bytes(b"lost").unwrap().sha256;
        assert!(vault.inputs().has(&lost) && vault.inputs().verify(&lost).is_ok());
        assert_eq!(names(), 1, "only the folder of those that wait");
        let _lease = vault.lease(jiff::Timestamp::UNIX_EPOCH).unwrap();
        assert!(!vault.inputs().has(&lost), "the next process cannot trust it");
        let kept: Vec<_> = (0..50u8)
            .map(|i| vault.inputs().keep_bytes(&[i]).unwrap().sha256)
            .collect();
        vault.states().store(&VaultState::new("")).unwrap();
        assert_eq!(names(), 51, "a state makes them durable");
        kept.iter().for_each(|sha256| vault.inputs().verify(sha256).unwrap());
    }

    #[test]
    fn a_reference_stays_where_it_is() {
        let (dir, vault) = vault();
        let path = dir.path().join("x");
        std::fs::write(&path, text()).unwrap();
        let kept = vault.inputs().reference(&path).unwrap();
        assert_eq!((kept.stored_size, vault.inputs().has(&kept.sha256)), (0, true));
        assert_eq!(read_all(&vault.inputs().open(&kept.sha256).unwrap()).unwrap(), text());
        flip(&path, 10);
        for refused in [
            vault.inputs().verify(&kept.sha256).err(),
            vault.inputs().open(&kept.sha256).err(),
        ] {
            let told = refused.unwrap().to_string();
            assert!(
                told.ends_with("which is only referenced, has another content now"),
                "{told}"
            );
        }
        flip(&path, 10);
        let written = SystemTime::now() - std::time::Duration::from_secs(60);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(written).unwrap();
        vault.inputs().open(&kept.sha256).unwrap();
        flip(&path, 10);
        // As a copy that keeps its times does.
        file.set_modified(written).unwrap();
        assert!(vault.inputs().open(&kept.sha256).is_err());
        assert!(vault.inputs().compared().is_empty(), "it was written this moment");
        let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let known = vault.inputs().reference(&old).unwrap().sha256;
        assert!(vault.inputs().compared().contains_key(&known));
        vault.inputs().open(&known).unwrap();
        std::fs::write(&path, b"short").unwrap();
        assert!(matches!(
            vault.inputs().open(&kept.sha256),
            Err(VaultError::Original { .. })
        ));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_without_its_path() {
        let (dir, vault) = vault();
        for name in ["patient-4711.csv", ""] {
            let error = vault.inputs().keep(&dir.path().join(name)).unwrap_err();
            assert!(matches!(error, VaultError::Source { .. }));
            assert!(!format!("{error} {error:?}").contains("4711"));
        }
        let missing = Digest::of(b"nothing");
        assert!(matches!(vault.inputs().open(&missing), Err(VaultError::Missing { digest, .. }) if digest == missing));
    }
}
