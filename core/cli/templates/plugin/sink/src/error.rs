//! The codes of `newplugin`. No message holds a path.

/// The folder is not there, or is none.
pub const FOLDER: &str = "NEWPLUGIN_FOLDER";
/// A file cannot be read or written.
pub const IO: &str = "NEWPLUGIN_IO";
/// A run or token is not one of this sink.
pub const TOKEN: &str = "NEWPLUGIN_TOKEN";
