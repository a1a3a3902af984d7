//! Hashes of files that were not touched since they were read, so that a large inbox is not read every time.

use super::{
    discover::{FoundFile, Stamp},
    error::{Context, Result},
    fs::{atomic_write, create_private_dir},
};
use clinmill_model::Digest;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// `<vault>/cache/hashes.json`. Only a cache: when it is missing or damaged, files are read again.
pub struct HashCache {
    file: PathBuf,
    known: BTreeMap<String, Known>,
    changed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Known {
    #[serde(flatten)]
    stamp: Stamp,
    sha256: Digest,
}

impl HashCache {
    pub(super) fn load(root: &Path) -> Self {
        let file = root.join("cache/hashes.json");
        let known = std::fs::read(&file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        Self {
            file,
            known: known.unwrap_or_default(),
            changed: false,
        }
    }

    /// The hash of the file's content, if it was not touched since it was computed.
    pub fn get(&self, file: &FoundFile) -> Option<Digest> {
        let known = self.known.get(file.path.expose().to_str()?)?;
        (known.stamp == file.stamp).then_some(known.sha256)
    }

    /// Remembers the hash of a file whose stamp was taken before it was read; `hashing_began` is when reading began.
    pub fn put(&mut self, file: &FoundFile, sha256: Digest, hashing_began: SystemTime) {
        let Some(path) = file.path.expose().to_str() else {
            return;
        };
        let known = Known {
            stamp: file.stamp,
            sha256,
        };
        self.changed |= if file.stamp.is_settled(hashing_began) {
            self.known.insert(path.to_owned(), known.clone()) != Some(known)
        } else {
            self.known.remove(path).is_some()
        };
    }

    /// Writes what changed, and forgets files that are gone.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&mut self) -> Result<()> {
        let before = self.known.len();
        self.known.retain(|path, _| std::fs::symlink_metadata(path).is_ok());
        if !self.changed && before == self.known.len() {
            return Ok(());
        }
        let write = || {
            if let Some(folder) = self.file.parent() {
                create_private_dir(folder)?;
            }
            atomic_write(&self.file, &serde_json::to_vec(&self.known)?)
        };
        write().vault("write", "cache/hashes.json")?;
        self.changed = false;
        Ok(())
    }
}

impl fmt::Debug for HashCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashCache({} files)", self.known.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{glob, testing::vault};
    use std::{fs, time::Duration};

    #[test]
    fn trusts_only_what_was_not_touched() {
        let (dir, vault) = vault();
        let path = dir.path().join("a.csv");
        let find = || glob(dir.path(), "*.csv").unwrap().files.remove(0);
        fs::write(&path, "one").unwrap();
        let digest = Digest::of(b"one");
        let later = SystemTime::now() + Duration::from_secs(10);

        let mut cache = vault.hash_cache();
        cache.put(&find(), digest, SystemTime::now());
        assert_eq!(
            cache.get(&find()),
            None,
            "written less than two seconds before it was read"
        );
        cache.put(&find(), digest, later);
        cache.save().unwrap();
        let mut cache = vault.hash_cache();
        assert_eq!(cache.get(&find()), Some(digest));

        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "two").unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        assert_eq!(cache.get(&find()), None, "same size and time, but the entry changed");

        fs::remove_file(&path).unwrap();
        cache.save().unwrap();
        assert!(vault.hash_cache().known.is_empty());
        fs::write(vault.root().join("cache/hashes.json"), "{").unwrap();
        assert!(vault.hash_cache().known.is_empty());
    }
}
