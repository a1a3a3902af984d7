//! What a process that is a plugin starts ends with it.

use crate::process::{folder, limits, registered};
use clinmill_tests_abi::{python, runs};
use std::{fs, time::Duration};

#[test]
fn what_a_process_has_started_is_ended_with_it() {
    let Some(python) = python("json") else { return };
    for exits in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let pid = place.path().join("pid");
        let mut command = vec![python.clone(), folder("hostile.py"), "daemon".into(), pid.clone()];
        // It ends and leaves its daemon behind, which nobody's child is any more.
        command.extend(exits.then(|| "exit".into()));
        let outcome = registered("hostile", command, limits(Duration::from_secs(20)));
        assert_eq!(outcome.is_err(), exits);
        let pid = fs::read_to_string(&pid).unwrap();
        assert!(pid.parse::<u32>().is_ok(), "{pid}");
        assert!(!runs(&pid), "{exits}: it runs on");
    }
}
