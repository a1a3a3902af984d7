//! The plugin boundary: every first-party plugin through its own C table, plugins in C, hostile ones, processes.
//!
//! The crate does not need the engine, so it builds in a minute; what needs a pipeline stands in `tests/suite`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod c_plugin;
mod c_source;
mod conformance;
mod family;
mod fuzz;
mod hostile;
mod process;
mod sink;
