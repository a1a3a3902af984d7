//! The `newplugin` transform: texts without needless white space.
//!
//! - [`NewpluginConfig`]: the options
//! - [`NewpluginPlugin`]: the transform itself
//! - `core`: what it does, without Arrow
//! - `error`: the codes

mod config;
mod core;
mod error;
mod transform;

pub use config::NewpluginConfig;
pub use transform::NewpluginPlugin;

clinmill_sdk::export_plugin! {
    name: "newplugin",
    version: env!("CARGO_PKG_VERSION"),
    transforms: [NewpluginPlugin],
}
