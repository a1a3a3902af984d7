//! The pipeline file: YAML text to a checked [`Pipeline`] and all its diagnostics.

pub mod pipeline;
