//! The codes of `notes`, and what each means. No message holds a value of a record.

use clinmill_sdk::{Locator, PluginError, Rejection};

/// The text is empty or white space only.
pub const EMPTY: &str = "NOTES_EMPTY";
/// The record is longer than `max_note`.
pub const TOO_LONG: &str = "NOTES_TOO_LONG";
/// The bytes do not fit the encoding.
pub const ENCODING: &str = "NOTES_ENCODING";
/// The line is not a JSON object.
pub const JSON: &str = "NOTES_JSON";
/// The field of the text is absent or no text.
pub const NO_TEXT: &str = "NOTES_NO_TEXT";
/// The identifier of the subject is absent or empty.
pub const NO_SUBJECT: &str = "NOTES_NO_SUBJECT";
/// A field of the key is absent.
pub const NO_KEY: &str = "NOTES_NO_KEY";
/// The row has another number of cells than the header.
pub const RAGGED_ROW: &str = "NOTES_RAGGED_ROW";
/// A quote is opened and not closed.
pub const UNCLOSED_QUOTE: &str = "NOTES_UNCLOSED_QUOTE";
/// The table has no usable header, or lacks a column that the options name.
pub const HEADER: &str = "NOTES_HEADER";
/// The path did not capture a value that the options name.
pub const NO_CAPTURE: &str = "NOTES_NO_CAPTURE";
/// Option findings.
pub const OPTIONS: &str = "NOTES_OPTIONS";

/// A rejection of the one record kind.
pub fn rejection(code: &str, message: impl Into<String>, at: Locator) -> Rejection {
    Rejection {
        kind: Some(0),
        code: code.into(),
        message: message.into(),
        at,
    }
}

/// The same failure to decode, under this plugin's code.
pub fn encoding(error: PluginError) -> PluginError {
    PluginError {
        code: ENCODING.into(),
        ..error
    }
}
