//! Provenance: what a row was made of and by. The vocabulary that traces are written in.

use clinmill_model::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that took part in making the rows of a table, in the order in which rows pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Relations from the sources to the table.
    pub made: Vec<Made>,
    /// Digest of the pipeline file that made the release.
    pub pipeline: Digest,
    /// Version of the engine that made the release.
    pub engine: String,
}

/// One relation of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its name in the pipeline.
    pub relation: String,
    /// What made it: the plugin, or `sql`, `union`, `table`.
    pub by: String,
    /// The relations it reads.
    pub reads: Vec<String>,
    /// The mappings it looks up, with the digest of their content.
    pub mappings: Vec<(String, Digest)>,
}

/// What a step did to what became the row, by rows of mapping tables or by a conversion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// `transform/step`.
    pub step: String,
    /// The column it began with.
    pub column: String,
    /// What that column said.
    pub from: String,
    /// The code or unit that it became; empty where it became nothing.
    pub to: String,
    /// How that went: `mapped`, `unmapped`, `converted`, …
    pub status: String,
    /// What numbers were multiplied by.
    pub factor: Option<String>,
    /// What the factor was reckoned by beside the rows below: a standard and its version.
    pub by: Option<String>,
    /// The rows that decided.
    pub rows: Vec<MappingRow>,
}

/// A row of a mapping table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingRow {
    /// The reference that the pipeline names the table by.
    pub mapping: String,
    /// Digest of the table's content.
    pub sha256: Digest,
    /// 1-based line of its `map.csv`.
    pub line: u32,
    /// Its cells that are not empty, by column: source and target, the equivalence, the origin, the note with its evidence.
    pub cells: BTreeMap<String, String>,
}

/// One record that a row was made of, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `source` or `source.kind`.
    pub relation: String,
    /// SHA-256 of the input.
    pub input: Digest,
    /// The input's path as the source found it.
    pub path: String,
    /// The time the input speaks of.
    pub as_of: Option<String>,
    /// The input's size in bytes.
    pub size: u64,
    /// Byte offset of the record in the input.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// 1-based row (as a spreadsheet shows it) or message.
    pub row: u64,
    /// Sheet index or segment index.
    pub part: u32,
    /// 1-based column of a cell.
    pub cell: Option<u32>,
    /// The record as its source read it, columns as text.
    pub record: BTreeMap<String, Option<String>>,
    /// The bytes themselves, in base64.
    pub bytes: Option<String>,
    /// True when there are more bytes than are shown.
    pub cut: bool,
}
