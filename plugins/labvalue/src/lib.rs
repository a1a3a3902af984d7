//! The `labvalue` transform: results of laboratory tests, as laboratories write them, to operator, number, concept, range
//! and flag.
//!
//! - [`LabvalueConfig`]: the options
//! - [`Labvalue`]: the transform itself
//! - `core`: the grammar of values; `number`, `operator`, `fold`, `flag`, `unit`, `words`: its parts
//! - `beside`: what the unit and the range beside a result tell about it
//! - `range`: the grammar of reference ranges; `people`: the sexes and ages that they are for
//! - `pattern`: the shape of what does not parse
//! - `error`: the codes

mod beside;
mod config;
mod core;
mod error;
mod flag;
mod fold;
mod glued;
mod number;
mod operator;
mod pattern;
mod people;
mod range;
mod transform;
mod unit;
mod words;

pub use config::{Comma, LabvalueConfig, Unparsed};
pub use transform::Labvalue;

use clinmill_sdk::Registry;

/// Adds the plugin to a registry.
pub fn register(registry: &mut Registry) {
    registry.transform::<Labvalue>();
}
