//! The end-to-end tests, one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod authoring;
mod boundary;
mod cases;
mod fuzz;
mod gates;
mod hostile;
mod kills;
mod laws;
mod layout;
mod models;
mod pipelines;
mod plugins;
mod process;
mod reference;
mod regress;
mod schema;
mod secrecy;
mod standardize;
mod usage;
