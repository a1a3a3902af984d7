//! The `notes` source: clinical texts, one per file, per JSON line or per row of a CSV column.
//!
//! - [`NotesConfig`]: the options
//! - [`Notes`]: the source itself
//! - `core`: cuts bytes into lines and CSV records, in bounded memory
//! - `json`: the members of a JSON line, as they are written
//! - `error`: the codes

mod config;
mod core;
mod error;
mod json;
mod source;

pub use config::{Format, NotesConfig, Subject};
pub use source::Notes;

use clinmill_sdk::Registry;

/// Adds the plugin to a registry.
pub fn register(registry: &mut Registry) {
    registry.source::<Notes>();
}
