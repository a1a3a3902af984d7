//! The plugin `map` as a library that a host can load. The folder of the plugin itself is built without the exported
//! symbol, so that all plugins can be linked into one program.

clinmill_sdk::export_plugin! {
    name: "map",
    version: env!("CARGO_PKG_VERSION"),
    transforms: [clinmill_plugin_map::Map],
}
