//! Files of the inbox, read where they lie.

use clinmill_catalog::vault::FoundFile;
use clinmill_sdk::Input;
use std::{collections::BTreeMap, fs::File, os::unix::fs::FileExt, path::Path};

/// One file.
pub struct FileInput {
    file: File,
    size: u64,
    name: String,
    captures: BTreeMap<String, String>,
}

impl FileInput {
    /// The file, if it can be opened.
    pub fn open(found: &FoundFile) -> Option<Self> {
        Some(Self {
            file: File::open(found.path.expose()).ok()?,
            size: found.stamp.size,
            name: found.relative.expose().clone(),
            captures: found.captures.expose().clone(),
        })
    }

    /// The file of a path, if it can be opened.
    pub fn at(path: &Path, name: &str, captures: &BTreeMap<String, String>) -> Option<Self> {
        let file = File::open(path).ok()?;
        Some(Self {
            size: file.metadata().ok()?.len(),
            file,
            name: name.to_owned(),
            captures: captures.clone(),
        })
    }
}

impl Input for FileInput {
    fn name(&self) -> &str {
        &self.name
    }
    fn captures(&self) -> &BTreeMap<String, String> {
        &self.captures
    }
    fn size(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        self.file.read_at(buf, offset)
    }
}
