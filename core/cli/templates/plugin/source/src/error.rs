//! The codes of `newplugin`.

/// The line has no identifier and tab.
pub const LINE: &str = "NEWPLUGIN_LINE";
/// The line is not UTF-8.
pub const UTF8: &str = "NEWPLUGIN_UTF8";
/// A line is longer than a line may be.
pub const LONG: &str = "NEWPLUGIN_LONG";
/// The input cannot be read.
pub const READ: &str = "NEWPLUGIN_READ";
