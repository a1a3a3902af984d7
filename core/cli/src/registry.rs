//! The built-in plugins: one visible list.

use clinmill_sdk::Registry;

/// Every plugin that is linked into this program, by kind and name.
pub fn built_in() -> Registry {
    let mut registry = Registry::default();
    registry
        .source::<clinmill_plugin_hl7v2::Hl7v2>()
        .source::<clinmill_plugin_notes::Notes>()
        .source::<clinmill_plugin_table::Table>()
        .transform::<clinmill_plugin_datetime::Datetime>()
        .transform::<clinmill_plugin_labvalue::Labvalue>()
        .transform::<clinmill_plugin_map::Map>()
        .transform::<clinmill_plugin_terminology::Terminology>()
        .transform::<clinmill_plugin_units::Units>();
    registry
}
