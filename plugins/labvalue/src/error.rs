//! The codes of `labvalue`.

/// The text fits no rule of the grammar.
pub const UNPARSED: &str = "LABVALUE_UNPARSED";
/// The column is not there or of the wrong type, or a new one would hide another.
pub const COLUMN: &str = "LABVALUE_COLUMN";
/// Option findings.
pub const OPTIONS: &str = "LABVALUE_OPTIONS";
