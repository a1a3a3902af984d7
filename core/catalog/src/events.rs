//! Event files: parsed records as they came, immutable, sorted by the keyed id of the subject identifier they name.
//!
//! One file holds one record kind of one source, for a contiguous range of buckets. The columns that begin with `_`
//! are the engine's; the rest are the record's own.

use crate::{
    CatalogError,
    shards::{self, Shard, ShardFilter},
};
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use clinmill_model::Digest;
use serde::{Deserialize, Serialize};
use std::{path::Path, sync::Arc};

pub use crate::shards::SUBJECT;
/// Who issued the identifier.
pub const ISSUER: &str = "_issuer";
/// The identifier itself.
pub const ID: &str = "_id";
/// 128-bit hash of the record's key.
pub const KEY: &str = "_key";
/// Ordinal among equal records of one input, for records identified by their content.
pub const ORDINAL: &str = "_ordinal";
/// The time the input speaks of, comparable as text.
pub const AS_OF: &str = "_as_of";
/// The record's own version, comparable as text.
pub const VERSION: &str = "_version";
/// 1 where the record says that it is void.
pub const VOID: &str = "_void";
/// 64-bit hash of the record's own columns.
pub const CONTENT: &str = "_content";
/// Number of the input in the ledger.
pub const INPUT: &str = "_input";
/// Byte offset in the input.
pub const OFFSET: &str = "_offset";
/// Length in bytes.
pub const LENGTH: &str = "_length";
/// 1-based row or message.
pub const ROW: &str = "_row";
/// Sheet or segment index.
pub const PART: &str = "_part";
/// 1-based column of a cell.
pub const CELL: &str = "_cell";

/// How many engine columns an event file has; they come first.
pub const SYSTEM_COLUMNS: usize = 15;

/// The schema of the event files of a record with these columns of its own.
pub fn schema(record: &Schema) -> SchemaRef {
    let required = |name, data_type| Field::new(name, data_type, false);
    let optional = |name, data_type| Field::new(name, data_type, true);
    let mut fields = vec![
        required(SUBJECT, DataType::FixedSizeBinary(16)),
        required(ISSUER, DataType::Utf8),
        optional(ID, DataType::Utf8),
        required(KEY, DataType::FixedSizeBinary(16)),
        required(ORDINAL, DataType::UInt32),
        optional(AS_OF, DataType::Utf8),
        optional(VERSION, DataType::Utf8),
        required(VOID, DataType::UInt8),
        required(CONTENT, DataType::UInt64),
        required(INPUT, DataType::UInt32),
        required(OFFSET, DataType::UInt64),
        required(LENGTH, DataType::UInt64),
        required(ROW, DataType::UInt64),
        required(PART, DataType::UInt32),
        optional(CELL, DataType::UInt32),
    ];
    fields.extend(record.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new(fields))
}

/// One event file, as the vault's state lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFile {
    /// The source's name.
    pub source: String,
    /// The record kind; empty for a source with one unnamed kind.
    pub kind: String,
    /// The parse generation of the source that made it.
    pub parse_id: Digest,
    /// The file.
    #[serde(flatten)]
    pub shard: Shard,
}

impl EventFile {
    /// The events of this file that the filter wants, with the columns of a schema ([`schema`], or a part of it).
    ///
    /// # Errors
    /// When the file is missing or damaged, or lacks a column.
    pub fn read(
        &self,
        vault: &Path,
        schema: &SchemaRef,
        filter: &ShardFilter,
    ) -> Result<Vec<RecordBatch>, CatalogError> {
        shards::read_as(&vault.join(&self.shard.path), schema, filter)
    }
}

/// The schema of these engine columns alone.
pub fn engine_columns(names: &[&str]) -> SchemaRef {
    let all = schema(&Schema::empty());
    let named = all.fields().iter().filter(|f| names.contains(&f.name().as_str()));
    Arc::new(Schema::new(named.cloned().collect::<Vec<_>>()))
}
