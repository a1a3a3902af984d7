//! The folder, the cases and the laws that every source keeps.

#[test]
fn cases() {
    clinmill_sdk::testing::source_cases::<clinmill_plugin_notes::Notes>(env!("CARGO_MANIFEST_DIR"));
}
