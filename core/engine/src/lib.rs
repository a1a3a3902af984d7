//! The engine: turns a pipeline into releases. The only crate that names DataFusion.
//!
//! [`bind`](bound::bind) finds everything a pipeline names; [`refresh`](refresh::refresh) makes a release of what is
//! new.

pub mod bound;
pub mod cases;
pub mod changes;
pub mod export;
pub mod gates;
pub mod ingest;
pub mod inspect;
pub mod notices;
pub mod refresh;
pub mod trace;

mod columns;
mod contract;
mod error;
mod exact;
mod fold;
mod graph;
mod mappings;
mod model;
mod rows;
mod sql;
mod tables;
mod troubled;
mod view;

pub use error::EngineError;
