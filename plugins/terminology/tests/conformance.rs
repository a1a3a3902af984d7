//! The folder, the cases and the laws that every transform keeps; and the committed tables.

use clinmill_plugin_terminology::Terminology;

#[test]
fn cases() {
    clinmill_sdk::testing::transform_cases::<Terminology>(env!("CARGO_MANIFEST_DIR"));
}
