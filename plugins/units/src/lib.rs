//! The `units` transform: values to one unit per analyte, by UCUM, exactly, with the factor beside the result.
//!
//! - [`UnitsConfig`]: the options
//! - [`Units`]: the transform itself
//! - `core`: from a written unit to a code, from a pair of codes to a conversion
//! - `local`: the spellings of hospitals; `bridge`: what one mole of an analyte weighs
//! - [`targets`]: the units of other tables' targets
//! - `capitals`: units in other capitals than UCUM's; [`ask`]: one value at a time
//! - [`ucum`]: the code system; [`suite`]: published tests of it
//! - `error`: the codes

pub mod ask;
mod bridge;
mod capitals;
mod config;
mod core;
mod error;
mod local;
mod rule;
pub mod suite;
pub mod targets;
mod transform;
pub mod ucum;
mod xml;

pub use config::{OnError, UnitsConfig};
pub use transform::Units;

use clinmill_sdk::Registry;

/// Adds the plugin to a registry.
pub fn register(registry: &mut Registry) {
    registry.transform::<Units>();
}
