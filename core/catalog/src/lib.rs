//! The dataset and the vault: releases, their files, and what never leaves the hospital.

pub mod dataset;
pub mod env;
pub mod error;
pub mod events;
mod hashed;
pub mod index;
pub mod rowhash;
pub mod shards;
pub mod steps;
pub mod store;
pub mod vault;

pub use error::{CatalogError, Result};
