//! Row hashes and table fingerprints: whether two rows, or two tables, say the same, whatever their encoding.
//!
//! The hash of a row is XXH3-128 over its non-null columns, sorted by name, each written as
//! (length of name, name, logical type, length of value, value), lengths as 32-bit little-endian. Columns whose name
//! begins with `_` take no part: they belong to the engine (`_release`, `_op`, `_prov`, `_cause`, …), and `_row_id`
//! is the key under which the hash is kept, not content.
//!
//! Values count by what they mean, so that a change of storage type or encoding is not a change of the row:
//!
//! | logical type | Arrow types | canonical bytes |
//! |---|---|---|
//! | `bool` | Boolean | 0 or 1 |
//! | `int` | Int8–64, UInt8–64 | i128 |
//! | `float` | Float16–64 | f64; -0 is 0; one NaN |
//! | `decimal` | Decimal32–256 | unscaled value without trailing zeros (i256), scale (i16) |
//! | `string` | Utf8, LargeUtf8, Utf8View, dictionaries of them | UTF-8 |
//! | `binary` | Binary, LargeBinary, BinaryView, FixedSizeBinary | the bytes |
//! | `date` | Date32, Date64 | days since 1970 (i64) |
//! | `time` | Time32, Time64 | microseconds (i64) |
//! | `timestamp`, `timestamp_utc` | Timestamp without, with time zone | microseconds since 1970 (i64) |
//! | `list` | List, LargeList, FixedSizeList | per item: length + 1 (0 for null), value |
//! | `struct` | Struct | per non-null field sorted by name: as a column |
//!
//! The fingerprint of a table is its row count and the sum of its row hashes modulo 2^128: the order of rows does not
//! matter, and rows can be added and removed.

mod canonical;

use crate::{CatalogError, Result};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use canonical::Column;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// Rows whose canonical bytes are built at a time: small enough to stay in the processor's cache.
const CHUNK: usize = 512;

/// The hash of each row. Errors for a column of a type that no table may have (durations, intervals, maps, unions).
pub fn row_hashes(batch: &RecordBatch) -> Result<Vec<u128>> {
    let schema = batch.schema_ref();
    let mut order: Vec<usize> = (0..batch.num_columns())
        .filter(|i| schema.fields().get(*i).is_some_and(|f| !f.name().starts_with('_')))
        .collect();
    order.sort_by_key(|i| schema.field(*i).name());
    let columns = order
        .into_iter()
        .map(|i| Column::new(schema.field(i).name(), batch.column(i)))
        .collect::<Result<Vec<_>>>()?;

    let mut hashes = Vec::with_capacity(batch.num_rows());
    let mut ends = [0usize; CHUNK];
    let mut bytes = Vec::new();
    let mut start = 0;
    while start < batch.num_rows() {
        let rows = CHUNK.min(batch.num_rows() - start);
        let ends = &mut ends[..rows];
        // Sizes first, column by column; then each column writes at its rows' cursors.
        ends.fill(0);
        for column in &columns {
            column.add_sizes(start, ends);
        }
        let mut total = 0;
        for end in ends.iter_mut() {
            // From here on a cursor: where the row's next column goes.
            total += std::mem::replace(end, total);
        }
        bytes.clear();
        bytes.resize(total, 0);
        for column in &columns {
            column.write(start, ends, &mut bytes);
        }
        let mut from = 0;
        for end in ends.iter() {
            hashes.push(xxh3_128(&bytes[from..*end]));
            from = *end;
        }
        start += rows;
    }
    Ok(hashes)
}

/// The hash of each value of one column; nulls are equal.
pub fn value_hashes(column: &ArrayRef) -> Result<Vec<u128>> {
    let field = Field::new("value", column.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    row_hashes(&RecordBatch::try_new(schema, vec![column.clone()])?)
}

/// The count and the sum of row hashes of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Rows.
    pub count: u64,
    /// Sum of the row hashes modulo 2^128.
    pub sum: u128,
}

impl Fingerprint {
    /// The fingerprint of all rows of a batch.
    pub fn of(batch: &RecordBatch) -> Result<Self> {
        let mut all = Self::default();
        for hash in row_hashes(batch)? {
            all.add(hash);
        }
        Ok(all)
    }

    /// Adds a row.
    pub fn add(&mut self, hash: u128) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(hash);
    }

    /// Takes a row out that was added before.
    pub fn remove(&mut self, hash: u128) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash);
    }

    /// Adds all rows of another fingerprint.
    pub fn merge(&mut self, other: Self) {
        self.count = self.count.wrapping_add(other.count);
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// `<count>-<sum as 32 hexadecimal digits>`.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}", self.count, self.sum)
    }
}

impl FromStr for Fingerprint {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('-').and_then(|(count, sum)| {
            Some(Self {
                count: count.parse().ok()?,
                sum: u128::from_str_radix(sum, 16).ok()?,
            })
        });
        parsed.ok_or_else(|| CatalogError::invalid("fingerprint", "not <count>-<32 hexadecimal digits>"))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The logical type under which a column's values are hashed; none for a type that no table may have.
pub fn logical_type(data_type: &DataType) -> Option<&'static str> {
    use DataType as T;
    Some(match data_type {
        T::Null => "null",
        T::Boolean => "bool",
        t if t.is_integer() => "int",
        t if t.is_floating() => "float",
        T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..) => "decimal",
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "string",
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => "binary",
        T::Date32 | T::Date64 => "date",
        T::Time32(_) | T::Time64(_) => "time",
        T::Timestamp(_, None) => "timestamp",
        T::Timestamp(_, Some(_)) => "timestamp_utc",
        T::Dictionary(_, value) => logical_type(value)?,
        T::List(_) | T::LargeList(_) | T::FixedSizeList(..) => "list",
        T::Struct(_) => "struct",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
