//! What the vault's tests share.

use super::{Captures, LedgerEntry, RecordCounts, Vault};
use crate::env::Env;
use clinmill_model::{Digest, Sensitive};
use std::path::Path;
use tempfile::TempDir;

/// A new vault in a folder of its own.
pub(crate) fn vault() -> (TempDir, Vault) {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::create(dir.path().join("vault"), &Env::seeded(7)).unwrap();
    (dir, vault)
}

/// Changes one bit of a file.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// An input as the ledger lists it.
pub(crate) fn entry(number: u32, source: &str, parse: &str, content: &[u8], path: &str) -> LedgerEntry {
    LedgerEntry {
        number,
        source: source.into(),
        parse_id: Digest::of(parse.as_bytes()),
        sha256: Digest::of(content),
        path: Sensitive::new(path.into()),
        captures: Sensitive::new(Captures::new()),
        as_of: None,
        arrival: None,
        size: content.len() as u64,
        referenced: false,
        counts: RecordCounts::default(),
        error: None,
    }
}
