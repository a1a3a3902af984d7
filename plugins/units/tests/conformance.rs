//! The folder, the cases, the laws that every transform keeps, and the published tests of UCUM.

use clinmill_plugin_units::suite::run_suite;
use std::{fs, path::Path};

#[test]
fn cases() {
    clinmill_sdk::testing::transform_cases::<clinmill_plugin_units::Units>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn functional_tests() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ucum/UcumFunctionalTests.xml");
    let Ok(xml) = fs::read(&path) else {
        println!("skipped: no published tests at ../../../shared/data");
        return;
    };
    let report = run_suite(&xml).unwrap();
    let failed: Vec<_> = report.failed().collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let passed: Vec<_> = report
        .by_kind()
        .into_iter()
        .map(|(kind, (passed, _))| (kind, passed))
        .collect();
    assert_eq!(
        passed,
        [
            ("conversion", 30),
            ("displayNameGeneration", 9),
            ("division", 3),
            ("multiplication", 2),
            ("validation", 529)
        ]
    );
}
