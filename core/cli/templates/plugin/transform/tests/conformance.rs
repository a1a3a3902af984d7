//! The folder, the cases and the laws that every transform keeps. `CLINMILL_UPDATE=1 cargo test` rewrites what is expected and
//! the README's tables.

#[test]
fn cases() {
    clinmill_sdk::testing::transform_cases::<clinmill_plugin_newplugin::NewpluginPlugin>(env!("CARGO_MANIFEST_DIR"));
}
