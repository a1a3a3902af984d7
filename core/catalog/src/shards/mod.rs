//! Shards: Parquet files of the vault, immutable, named by their digest, sorted by subject, each for a contiguous
//! range of buckets. Events and row indexes are kept in them.

mod constant;
mod dictionary;
mod digits;
mod ids;
mod packed;
mod read;
mod write;

pub use constant::Constants;
pub use dictionary::Dictionaries;
pub use digits::Digits;
pub use packed::{Packed, PackedColumns};
pub use read::{ShardFilter, read, read_as};
pub use write::{ShardPlace, ShardWriter};

use clinmill_model::Digest;
use serde::{Deserialize, Serialize};

/// Keyed 128-bit id of a subject, the sort column of every shard.
pub const SUBJECT: &str = "_subject";

/// One shard, as the vault's state lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Lowest bucket it may hold.
    pub lo: u16,
    /// Highest bucket it may hold, inclusive.
    pub hi: u16,
    /// Path below the vault.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Rows in it.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
}
