//! Hash tables of ids that are hashes already: their own bits find their place.

use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hasher},
};

/// Keyed ids of subjects, and other ids that are hashes.
pub type Ids = HashSet<[u8; 16], Prehashed>;

/// For keys that are keyed ids or hashes.
pub type Prehashed = BuildHasherDefault<OwnBits>;

/// Takes the last eight bytes of a key as its hash.
#[derive(Default)]
pub struct OwnBits(u64);

impl Hasher for OwnBits {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.0 = u64::from_le_bytes(*last);
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
    fn write_u128(&mut self, n: u128) {
        self.0 = n as u64;
    }
    fn write_usize(&mut self, _: usize) {
        // The length of an id, which is always the same.
    }
}
