//! The `newplugin` source: lines of an identifier, a tab and a text.
//!
//! - [`NewpluginConfig`]: the options
//! - [`NewpluginPlugin`]: the source itself
//! - `core`: what it does, without Arrow
//! - `error`: the codes

mod config;
mod core;
mod error;
mod source;

pub use config::NewpluginConfig;
pub use source::NewpluginPlugin;

clinmill_sdk::export_plugin! {
    name: "newplugin",
    version: env!("CARGO_PKG_VERSION"),
    sources: [NewpluginPlugin],
}
