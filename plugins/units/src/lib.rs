//! The `units` transform.

pub mod suite;
pub mod ucum;
mod xml;
