//! The `terminology` transform: looks codes or names up in a mapping table. And what works on such tables.
//!
//! - [`TerminologyConfig`]: the options
//! - [`Terminology`]: the transform itself
//! - `core`: the table in memory and the lookup
//! - [`table`]: the rows of a table, checked
//! - [`sheet`]: a table that can be written; [`exchange`]: as other tools write it
//! - [`search`]: candidates for a name; [`review`]: coverage and suggestions; [`merge`]: what was reviewed, into a table
//! - `measure`: what a unit measures; `specimen`: what a specimen is
//! - [`fold`]: names without differences that carry no meaning
//! - `error`: the codes

mod config;
mod core;
mod error;
pub mod exchange;
pub mod fold;
mod measure;
pub mod merge;
pub mod review;
pub mod search;
pub mod sheet;
mod specimen;
pub mod table;
mod transform;
mod units;

pub use crate::core::{Found, Kind, Lookup, Told};
pub use config::{By, TerminologyConfig, Unmapped};
pub use transform::Terminology;

use clinmill_sdk::Registry;

/// Adds the plugin to a registry.
pub fn register(registry: &mut Registry) {
    registry.transform::<Terminology>();
}
