//! A plugin as the C table of `clinmill_plugin.h`: [`export_plugin!`](crate::export_plugin) makes a `cdylib` of plugins
//! that are written against the traits of this crate. The only place of the SDK with unsafe code.
//!
//! Every slot catches panics, also those of formatting and dropping an error, and poisons the handle it was called on.
//! What it says about a panic is the place in the source, never the panic's text.
#![allow(unsafe_code, reason = "the C boundary")]

mod component;
pub(crate) mod guard;
mod sink;
mod source;
mod transform;

pub mod array;
pub mod schema;

pub use component::{init, reserve};
pub use sink::SinkTable;
pub use source::SourceTable;
pub use transform::{TransformTable, lineage};

/// The tables and numbers of the header.
pub mod abi {
    pub use clinmill_abi::{ABI_MAJOR, ABI_MINOR, Kind, MAGIC, PANICKED, Port, Status, tables::*};

    /// [`Kind::Source`] as the table holds it.
    pub const KIND_SOURCE: u32 = Kind::Source.code() as u32;
    /// [`Kind::Transform`] as the table holds it.
    pub const KIND_TRANSFORM: u32 = Kind::Transform.code() as u32;
    /// [`Kind::Sink`] as the table holds it.
    pub const KIND_SINK: u32 = Kind::Sink.code() as u32;
    /// [`Port::Main`] as slots take it.
    pub const PORT_MAIN: u32 = Port::Main.code() as u32;
    /// [`Port::Rejected`] as slots take it.
    pub const PORT_REJECTED: u32 = Port::Rejected.code() as u32;
}

/// The SDK's status of a number; `None` for a number that this version does not know, and for 0.
pub fn abi_status(code: i32) -> Option<crate::Status> {
    use crate::Status as To;
    use abi::Status as From;
    Some(match From::from_code(code)? {
        From::Ok => return None,
        From::Cancelled => To::Cancelled,
        From::InvalidConfig => To::InvalidConfig,
        From::InvalidData => To::InvalidData,
        From::InvalidState => To::InvalidState,
        From::Unsupported => To::Unsupported,
        From::NotFound => To::NotFound,
        From::Unauthenticated => To::Unauthenticated,
        From::Unauthorized => To::Unauthorized,
        From::Io => To::Io,
        From::Timeout => To::Timeout,
        From::ResourceExhausted => To::ResourceExhausted,
        From::Conflict => To::Conflict,
        From::CommitUnknown => To::CommitUnknown,
        From::Internal => To::Internal,
        From::Panic => To::Panic,
    })
}

/// The plugin table over these components.
#[doc(hidden)]
pub const fn plugin(name: &str, version: &str, components: &'static [&'static abi::Component]) -> abi::Plugin {
    abi::Plugin {
        magic: abi::MAGIC,
        struct_size: size_of::<abi::Plugin>() as u32,
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        target_triple: clinmill_abi::tables::padded(clinmill_abi::TARGET_TRIPLE),
        name: clinmill_abi::tables::padded(name),
        version: clinmill_abi::tables::padded(version),
        init: Some(init),
        n_components: components.len() as u32,
        reserved: 0,
        components: components.as_ptr().cast(),
    }
}

/// Exports plugins from a `cdylib`:
///
/// ```ignore
/// clinmill_sdk::export_plugin! {
///     name: "datetime",
///     version: env!("CARGO_PKG_VERSION"),
///     transforms: [clinmill_plugin_datetime::Datetime],
/// }
/// ```
///
/// It does not compile under `panic = "abort"`: a panic must be caught before it reaches the host.
#[macro_export]
macro_rules! export_plugin {
    (
        name: $name:expr, version: $version:expr
        $(, sources: [$($source:ty),* $(,)?])?
        $(, transforms: [$($transform:ty),* $(,)?])?
        $(, sinks: [$($sink:ty),* $(,)?])?
        $(,)?
    ) => {
        #[cfg(panic = "abort")]
        compile_error!("a plugin is compiled with panic = \"unwind\": its panics are caught at the boundary");

        /// The plugin's table, the one symbol that the host looks for.
        #[used]
        #[unsafe(no_mangle)]
        pub static CLINMILL_PLUGIN_V1: $crate::export::abi::Plugin = $crate::export::plugin($name, $version, &[
            $($(&$crate::export::SourceTable::<$source>::COMPONENT,)*)?
            $($(&$crate::export::TransformTable::<$transform>::COMPONENT,)*)?
            $($(&$crate::export::SinkTable::<$sink>::COMPONENT,)*)?
        ]);
    };
}
