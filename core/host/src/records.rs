//! The records of a source as columns: its own, and the nine that the host must know of each.

use clinmill_sdk::{
    PluginError, RecordKind, RecordMeta, Status,
    arrow::{
        array::{ArrayRef, AsArray},
        datatypes::{DataType, Field, FieldRef, UInt8Type, UInt32Type, UInt64Type},
    },
};
use std::sync::Arc;

/// How many kinds of records a source may have, and key columns a kind.
pub const MOST_KINDS: usize = 4096;
/// The most that is read of an input at once.
pub const LARGEST: usize = 4 << 20;
/// How many splits an input may have.
pub const MOST_SPLITS: usize = 1 << 20;

/// The nine columns, in their order, of a kind that is about subjects or not.
pub fn meta(of_subject: bool) -> [Field; 9] {
    [
        ("issuer", DataType::Utf8, false),
        ("subject", DataType::Utf8, !of_subject),
        ("version", DataType::Utf8, true),
        ("void", DataType::UInt8, false),
        ("offset", DataType::UInt64, false),
        ("length", DataType::UInt64, false),
        ("row", DataType::UInt64, false),
        ("part", DataType::UInt32, false),
        ("cell", DataType::UInt32, true),
    ]
    .map(|(name, t, nullable)| Field::new(name, t, nullable))
}

/// The columns of a kind, and the nine.
pub fn with_meta(kind: &RecordKind) -> Vec<FieldRef> {
    let meta = meta(kind.subject).map(Arc::new);
    kind.schema.fields().iter().cloned().chain(meta).collect()
}

/// The nine columns as the engine takes them. Their types were looked at before.
///
/// # Errors
/// When they are not nine, or a record is neither void nor not.
pub fn of_meta(meta: &[ArrayRef]) -> Result<RecordMeta, PluginError> {
    let bad = |code: &str, what: &str| PluginError::new(Status::Internal, code, what);
    let [issuer, subject, version, void, offset, length, row, part, cell] = meta else {
        return Err(bad(
            "ABI_SCHEMA",
            "a batch has another number of columns than its schema",
        ));
    };
    let void = void.as_primitive::<UInt8Type>().clone();
    if void.values().iter().any(|void| *void > 1) {
        return Err(bad("ABI_VOID", "a record is neither void nor not"));
    }
    Ok(RecordMeta {
        issuer: issuer.as_string::<i32>().clone(),
        subject: subject.as_string::<i32>().clone(),
        version: version.as_string::<i32>().clone(),
        void,
        offset: offset.as_primitive::<UInt64Type>().clone(),
        length: length.as_primitive::<UInt64Type>().clone(),
        row: row.as_primitive::<UInt64Type>().clone(),
        part: part.as_primitive::<UInt32Type>().clone(),
        cell: cell.as_primitive::<UInt32Type>().clone(),
    })
}
