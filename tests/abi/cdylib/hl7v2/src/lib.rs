//! The plugin `hl7v2` as a library that a host can load. The folder of the plugin itself is built without the exported
//! symbol, so that all plugins can be linked into one program.

clinmill_sdk::export_plugin! {
    name: "hl7v2",
    version: env!("CARGO_PKG_VERSION"),
    sources: [clinmill_plugin_hl7v2::Hl7v2],
}
