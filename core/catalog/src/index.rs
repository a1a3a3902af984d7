//! The row index: for every row of the dataset its identity, its subject and the hash of its content. What a refresh
//! makes is compared with it, so that only what differs is published.

use crate::{
    CatalogError,
    shards::{self, Constants, SUBJECT, Shard, ShardFilter, ShardPlace, ShardWriter},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use serde::{Deserialize, Serialize};
use std::{path::Path, sync::Arc};

const ROW_ID: &str = "_row_id";
const HASH: &str = "_hash";

/// One row of the dataset, as the index knows it. The order of the fields is the order of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexEntry {
    /// Keyed id of the canonical subject; zero for tables without a subject.
    pub subject: [u8; 16],
    /// The row's identity.
    pub row_id: [u8; 16],
    /// The row hash.
    pub hash: u128,
}

/// One shard of a table's index, as the vault's state lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFile {
    /// The table.
    pub table: String,
    /// The file.
    #[serde(flatten)]
    pub shard: Shard,
}

fn schema() -> SchemaRef {
    let id = |name| Field::new(name, DataType::FixedSizeBinary(16), false);
    Arc::new(Schema::new(vec![id(SUBJECT), id(ROW_ID), id(HASH)]))
}

/// Writes one shard of a table's index; the entries must be sorted.
///
/// # Errors
/// When it cannot be written.
pub fn write(
    vault: &Path,
    staging: &Path,
    table: &str,
    (lo, hi): (u16, u16),
    entries: &[IndexEntry],
) -> Result<IndexFile, CatalogError> {
    let name = format!("index-{table}-{lo:03x}.parquet");
    let mut writer = ShardWriter::create(staging, &name, schema(), Constants::new());
    for chunk in entries.chunks(65_536) {
        let mut columns: [FixedSizeBinaryBuilder; 3] =
            std::array::from_fn(|_| FixedSizeBinaryBuilder::with_capacity(chunk.len(), 16));
        for entry in chunk {
            columns[0].append_value(entry.subject)?;
            columns[1].append_value(entry.row_id)?;
            columns[2].append_value(entry.hash.to_be_bytes())?;
        }
        let arrays = columns.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef).collect();
        writer.write(&RecordBatch::try_new(schema(), arrays)?)?;
    }
    let place = ShardPlace {
        folder: format!("index/{table}"),
        lo,
        hi,
    };
    Ok(IndexFile {
        table: table.to_owned(),
        shard: writer.finish(vault, &place)?,
    })
}

/// The entries of these shards that the filter wants, sorted.
///
/// # Errors
/// When a shard is missing or damaged.
pub fn read<'a>(
    vault: &Path,
    files: impl IntoIterator<Item = &'a IndexFile>,
    filter: &ShardFilter,
) -> Result<Vec<IndexEntry>, CatalogError> {
    let mut entries = Vec::new();
    for file in files {
        let path = vault.join(&file.shard.path);
        for batch in shards::read(&path, filter)? {
            let column = |i: usize| batch.column(i).as_fixed_size_binary();
            let (subjects, rows, hashes) = (column(0), column(1), column(2));
            entries.reserve(batch.num_rows());
            for i in 0..rows.len() {
                let bytes = |array: &arrow::array::FixedSizeBinaryArray| -> Result<[u8; 16], CatalogError> {
                    array
                        .value(i)
                        .try_into()
                        .map_err(|_| CatalogError::damaged(path.display().to_string(), "an id is not 16 bytes long"))
                };
                entries.push(IndexEntry {
                    subject: bytes(subjects)?,
                    row_id: bytes(rows)?,
                    hash: u128::from_be_bytes(bytes(hashes)?),
                });
            }
        }
    }
    entries.sort_unstable();
    Ok(entries)
}

/// The entry of one row, wherever it stands.
///
/// # Errors
/// When a shard is missing or damaged.
pub fn find<'a>(
    vault: &Path,
    files: impl IntoIterator<Item = &'a IndexFile>,
    row_id: &[u8; 16],
) -> Result<Option<IndexEntry>, CatalogError> {
    let everything = ShardFilter {
        lo: 0,
        hi: u16::MAX,
        subjects: None,
    };
    for file in files {
        if let Some(found) = read(vault, [file], &everything)?
            .into_iter()
            .find(|e| e.row_id == *row_id)
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
