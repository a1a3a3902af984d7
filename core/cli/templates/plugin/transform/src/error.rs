//! The codes of `newplugin`.

/// The text holds nothing but white space.
pub const EMPTY: &str = "NEWPLUGIN_EMPTY";
/// The column is not there or holds no text, or the new one would hide another.
pub const COLUMN: &str = "NEWPLUGIN_COLUMN";
