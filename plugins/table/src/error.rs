//! The codes of this plugin. Messages name columns and positions, never values of a row.

use clinmill_sdk::{PluginError, Status};

/// A row has more or fewer fields than the header.
pub const RAGGED_ROW: &str = "TABLE_RAGGED_ROW";
/// A quoted field never closes, or text follows its closing quote (RFC 4180, section 2, rules 5 to 7).
pub const UNCLOSED_QUOTE: &str = "TABLE_UNCLOSED_QUOTE";
/// A row is longer than the reader holds.
pub const LONG_ROW: &str = "TABLE_LONG_ROW";
/// A row holds bytes that its encoding does not know.
pub const ENCODING: &str = "TABLE_ENCODING";
/// A cell holds an error (ECMA-376 part 1, 18.18.11: `t="e"`), a formula whose result is not stored, or what no cell holds;
/// or nobody knows which cell it is.
pub const CELL: &str = "TABLE_CELL";
/// A cell that becomes a record stands under an empty header.
pub const NO_NAME: &str = "TABLE_NO_NAME";
/// A value is not of its column's type.
pub const TYPE: &str = "TABLE_TYPE";
/// A row names no subject.
pub const NO_SUBJECT: &str = "TABLE_NO_SUBJECT";
/// All key columns of a record are empty.
pub const NO_KEY: &str = "TABLE_NO_KEY";
/// The row whose value an empty cell takes was itself rejected.
pub const FILL_UNKNOWN: &str = "TABLE_FILL_UNKNOWN";

/// The input has no header row.
pub const NO_HEADER: &str = "TABLE_NO_HEADER";
/// The header cannot be decoded: the encoding is wrong for the whole input.
pub const HEADER_ENCODING: &str = "ENCODING";
/// The header lacks columns that the options name.
pub const MISSING_COLUMN: &str = "TABLE_MISSING_COLUMN";
/// The header has a column twice that the options name.
pub const DUPLICATE_COLUMN: &str = "TABLE_DUPLICATE_COLUMN";
/// So many quotes stay open that reading on would take unbounded time.
pub const QUOTES: &str = "TABLE_QUOTES";
/// The input is no XLSX workbook.
pub const NOT_XLSX: &str = "TABLE_NOT_XLSX";
/// The workbook is cut off or damaged.
pub const XLSX_DAMAGED: &str = "TABLE_XLSX_DAMAGED";
/// The workbook unpacks to more than is allowed.
pub const XLSX_TOO_LARGE: &str = "TABLE_XLSX_TOO_LARGE";
/// The workbook has no such sheet.
pub const NO_SHEET: &str = "TABLE_NO_SHEET";
/// The input is no Parquet file, or a damaged one.
pub const PARQUET_DAMAGED: &str = "TABLE_PARQUET_DAMAGED";
/// A Parquet column has a type that is no table cell.
pub const PARQUET_TYPE: &str = "TABLE_PARQUET_TYPE";

/// A limit was met: the input is given up at this byte.
pub fn limit(offset: u64, code: &str, message: impl Into<String>) -> PluginError {
    PluginError {
        offset: Some(offset),
        ..PluginError::new(Status::ResourceExhausted, code, message)
    }
}
