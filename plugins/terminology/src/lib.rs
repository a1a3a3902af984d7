//! The `terminology` transform: looks codes or names up in a mapping table.
//!
//! - [`TerminologyConfig`]: the options
//! - [`Terminology`]: the transform itself
//! - `core`: the table in memory and the lookup
//! - `error`: the codes

mod config;
mod core;
mod error;
mod transform;

pub use config::{By, TerminologyConfig, Unmapped};
pub use transform::Terminology;

use clinmill_sdk::Registry;

/// Adds the plugin to a registry.
pub fn register(registry: &mut Registry) {
    registry.transform::<Terminology>();
}
