//! The `units` transform: values to one unit per analyte, by UCUM, exactly, with the factor beside the result.
//!
//! - [`UnitsConfig`]: the options
//! - [`Units`]: the transform itself
//! - `core`: from a pair of codes to a conversion; `bridge`: what one mole of an analyte weighs
//! - [`targets`]: the units of other tables' targets
//! - [`ask`]: one value at a time; [`suite`]: published tests of the code system, which is the SDK's, as spellings are
//! - `error`: the codes

pub mod ask;
mod bridge;
mod config;
mod core;
mod error;
mod rule;
pub mod suite;
pub mod targets;
mod transform;

pub use clinmill_sdk::units::ucum;
pub use config::{OnError, UnitsConfig};
pub use transform::Units;

use clinmill_sdk::Registry;

/// Adds the plugin to a registry.
pub fn register(registry: &mut Registry) {
    registry.transform::<Units>();
}
