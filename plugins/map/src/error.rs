//! The codes of `map`.

/// A value does not fit the type it is cast to.
pub const CAST: &str = "MAP_CAST";
/// An expression has no value: division by zero, or a number that is too large.
pub const VALUE: &str = "MAP_VALUE";
/// An expression does not parse or its types do not fit.
pub const EXPR: &str = "MAP_EXPR";
/// A column is not there, or stands twice.
pub const COLUMN: &str = "MAP_COLUMN";
/// Options that exclude each other.
pub const OPTIONS: &str = "MAP_OPTIONS";
