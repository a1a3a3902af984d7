//! Libraries in C that are not loaded, and why.

use super::hostile;
use clinmill_host::{LoadError, Loaded, Loader, file::FileError, lock::Lock};
use clinmill_sdk::Status;
use clinmill_tests_abi::{limits, load, lock_of};
use std::path::Path;

fn refused(path: &Path, lock: Lock, root: &Path) -> LoadError {
    Loader::new([root.to_path_buf()], lock, limits())
        .load(path)
        .err()
        .expect("it is refused")
}

#[test]
fn a_library_whose_begin_fails_is_not_loaded_again() {
    let dir = tempfile::tempdir().unwrap();
    let loads = dir.path().join("loads");
    let flag = format!("-DLOADED_FILE=\"{}\"", loads.display());
    let Some(path) = hostile(dir.path(), &[&flag]) else {
        return;
    };
    for _ in 0..3 {
        let error = refused(&path, lock_of(&[&path]), dir.path());
        assert!(
            matches!(&error, LoadError::Plugin(said) if said.status == Status::Unsupported),
            "{error}"
        );
    }
    assert_eq!(std::fs::read(&loads).unwrap(), b"x", "it was loaded once");
}

#[test]
fn what_may_not_be_loaded_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let Some(good) = hostile(dir.path(), &[]) else { return };
    let lock = lock_of(&[&good]);
    let code = |error: LoadError| error.code().to_owned();
    let root = dir.path();
    assert!(
        Loader::new([root.to_path_buf()], lock.clone(), limits())
            .load(&good)
            .is_ok()
    );

    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(code(refused(&good, lock.clone(), elsewhere.path())), "PLUGIN_ROOT");
    let link = elsewhere.path().join("link.so");
    std::os::unix::fs::symlink(&good, &link).unwrap();
    assert_eq!(
        code(refused(&link, lock.clone(), elsewhere.path())),
        "PLUGIN_ROOT",
        "a link leads out"
    );
    assert_eq!(code(refused(&root.join("none.so"), lock.clone(), root)), "PLUGIN_READ");
    assert_eq!(code(refused(&good, Lock::default(), root)), "PLUGIN_NOT_LOCKED");

    let mut other = lock.clone();
    other.plugins.get_mut("hostile_c").unwrap().version = "2.0.0".into();
    assert_eq!(code(refused(&good, other, root)), "PLUGIN_VERSION");
    let mut other = lock.clone();
    other.plugins.get_mut("hostile_c").unwrap().files.clear();
    assert_eq!(code(refused(&good, other, root)), "PLUGIN_NO_DIGEST");

    let mut bytes = std::fs::read(&good).unwrap();
    bytes.push(0);
    let changed = root.join("changed.so");
    std::fs::write(&changed, &bytes).unwrap();
    assert_eq!(code(refused(&changed, lock.clone(), root)), "PLUGIN_DIGEST");

    let text = root.join("text.so");
    std::fs::write(&text, "not a library").unwrap();
    assert_eq!(code(refused(&text, lock.clone(), root)), "PLUGIN_NOT_A_LIBRARY");
    let cut = root.join("cut.so");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(code(refused(&cut, lock.clone(), root)), "PLUGIN_DAMAGED");

    for (flags, expected) in [
        (["-DMAGIC=0x12345678u"], "PLUGIN_MAGIC"),
        (["-DMAJOR=2u"], "PLUGIN_MAJOR"),
        (
            ["-DCLINMILL_TARGET_TRIPLE=\"riscv64gc-unknown-linux-gnu\""],
            "PLUGIN_TRIPLE",
        ),
        (["-DNO_SYMBOL"], "PLUGIN_SYMBOL"),
        (["-DNO_BIND"], "ABI_NULL"),
        (["-DNAME=\"wrong name\""], "ABI_NAME"),
        (["-DCAPS=CLINMILL_CAP_DATASET_WISE"], "ABI_CAPS"),
        (["-DCAPS=CLINMILL_CAP_SUBJECT_WISE"], "ABI_CAPS"),
        (["-DDEED=\"{\\\"pattern\\\":\\\"x\\\"}\""], "ABI_SCHEMA"),
    ] {
        let path = hostile(root, &flags).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let mut lock = Lock::default();
        let triple = clinmill_abi::TARGET_TRIPLE;
        for name in ["hostile_c", "wrong name"] {
            lock.note(name, "1.0.0", triple, clinmill_model::Digest::of(&bytes));
        }
        let error = refused(&path, lock, root);
        assert_eq!(error.code(), expected, "{error}");
    }

    // A name that is taken.
    let mut registry = clinmill_sdk::Registry::default();
    let loaded: Loaded = load(&good, limits());
    loaded.register(&mut registry).unwrap();
    let taken = loaded.register(&mut registry).unwrap_err();
    assert!(taken.to_string().ends_with("another plugin has it"), "{taken}");
    let built_in = clinmill_tests_abi::registry();
    assert_eq!(clinmill_host::holder(&built_in, "map"), Some("a built-in plugin"));
    assert_eq!(clinmill_host::holder(&built_in, "hostile_c"), None);
    assert_eq!(code(taken), "PLUGIN_NAME_TAKEN");
    assert!(matches!(FileError::Major(2).to_string().as_str(), said if said.contains("ABI 2")));
}
