//! The codes of `datetime`.

/// The text fits none of the formats.
pub const FORMAT: &str = "DATETIME_FORMAT";
/// The text fits a format and names a day or time that does not exist.
pub const RANGE: &str = "DATETIME_RANGE";
/// The text has an offset and neither the step nor the pipeline names a time zone.
pub const NO_ZONE: &str = "DATETIME_NO_ZONE";
/// The column is not there or of the wrong type, or a new one would hide another.
pub const COLUMN: &str = "DATETIME_COLUMN";
/// The time zone is unknown.
pub const ZONE: &str = "DATETIME_ZONE";
/// Option findings.
pub const OPTIONS: &str = "DATETIME_OPTIONS";
