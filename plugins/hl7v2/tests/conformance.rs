//! The folder, the cases and the laws that every source keeps.

#[test]
fn cases() {
    clinmill_sdk::testing::source_cases::<clinmill_plugin_hl7v2::Hl7v2>(env!("CARGO_MANIFEST_DIR"));
}
