//! The codes of `terminology`.

/// The value is not in the table, or the table has no accepted target for it.
pub const UNMAPPED: &str = "TERMINOLOGY_UNMAPPED";
/// The value fits several rows of the table that have different targets.
pub const AMBIGUOUS: &str = "TERMINOLOGY_AMBIGUOUS";
/// The column is not there or of the wrong type, or a new one would hide another.
pub const COLUMN: &str = "TERMINOLOGY_COLUMN";
/// A row of the table contradicts another one or itself.
pub const TABLE: &str = "TERMINOLOGY_MAP";
/// The table has nothing for the value but candidates that a reviewer turned down.
pub const REJECTED: &str = "TERMINOLOGY_REJECTED";
