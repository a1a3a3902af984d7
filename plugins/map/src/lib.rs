//! The `map` transform: renames, keeps, drops, casts and computes columns, row by row.
//!
//! - [`MapConfig`]: the options
//! - [`Map`]: the transform itself
//! - `core`: values and casts
//! - `parse`: the expression language, text to tree
//! - `hint`: what to write instead of what other languages have
//! - `eval`: the tree with types, and its evaluation
//! - `error`: the codes

mod config;
mod core;
mod error;
mod eval;
mod hint;
mod parse;
mod transform;

pub use config::{Column, MapConfig, OnError, TypeName};
pub use transform::Map;

use clinmill_sdk::Registry;

/// Adds the plugin to a registry.
pub fn register(registry: &mut Registry) {
    registry.transform::<Map>();
}
