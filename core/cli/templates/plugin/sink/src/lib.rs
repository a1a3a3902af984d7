//! The `newplugin` sink: rows as lines of text, one file for each release.
//!
//! - [`NewpluginConfig`]: the options
//! - [`NewpluginPlugin`]: the sink itself
//! - `core`: what it does, without Arrow
//! - `error`: the codes

mod config;
mod core;
mod error;
mod sink;

pub use config::NewpluginConfig;
pub use sink::NewpluginPlugin;

clinmill_sdk::export_plugin! {
    name: "newplugin",
    version: env!("CARGO_PKG_VERSION"),
    sinks: [NewpluginPlugin],
}
