//! The `datetime` transform: text to local timestamps or dates, by named formats tried in order.
//!
//! - [`DatetimeConfig`]: the options
//! - [`Datetime`]: the transform itself
//! - `core`: the formats and their parsers
//! - `error`: the codes

mod config;
mod core;
mod error;
mod transform;

pub use config::{DatetimeConfig, Format, OnError};
pub use transform::Datetime;

use clinmill_sdk::Registry;

/// Adds the plugin to a registry.
pub fn register(registry: &mut Registry) {
    registry.transform::<Datetime>();
}
