//! The folder, the cases and the laws that every source keeps.

#[test]
fn cases() {
    clinmill_sdk::testing::source_cases::<clinmill_plugin_table::Table>(env!("CARGO_MANIFEST_DIR"));
}
