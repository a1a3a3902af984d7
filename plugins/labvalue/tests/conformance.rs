//! The folder, the cases and the laws that every transform keeps.

#[test]
fn cases() {
    clinmill_sdk::testing::transform_cases::<clinmill_plugin_labvalue::Labvalue>(env!("CARGO_MANIFEST_DIR"));
}
