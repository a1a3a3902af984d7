//! What every other crate of clinmill speaks of: digests, diagnostics, sensitive values, reserved column names.
//! No I/O, no clock, no async.

pub mod columns;
mod diagnostic;
mod digest;
pub mod equal;
pub mod keywords;
pub mod omop;
mod prehashed;
mod sensitive;

pub use diagnostic::{Diagnostic, Place, Severity};
pub use digest::{Digest, ParseDigestError};
pub use prehashed::{Ids, Prehashed};
pub use sensitive::Sensitive;

/// The number of subject buckets; fixed for the life of a vault.
pub const BUCKETS: u16 = 4096;

/// The bucket of a subject's keyed 128-bit id: its first twelve bits.
pub fn bucket_of(id: &[u8; 16]) -> u16 {
    u16::from_be_bytes([id[0], id[1]]) >> 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_the_first_twelve_bits() {
        let mut id = [0u8; 16];
        assert_eq!(bucket_of(&id), 0);
        id[0] = 0xff;
        id[1] = 0xff;
        assert_eq!(bucket_of(&id), BUCKETS - 1);
    }
}
