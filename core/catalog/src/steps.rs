//! Named steps of a refresh, for tests that kill the real program at each of them.
//!
//! Both switches are read from the environment once; without them a step costs one load:
//! - `CLINMILL_STEPS_LOG=<file>` appends the name of each step passed, one per line;
//! - `CLINMILL_KILL_AT=<step>:<nth>` ends this process with SIGKILL when it passes that step for the nth time
//!   (from 1), as a power cut or the kernel's memory guard would.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The steps that this crate passes in a commit, in order.
pub const COMMIT_STEPS: [&str; 7] = [
    "files.before-put",
    "files.after-put",
    "commit.before-list",
    "commit.before-put",
    "commit.after-put",
    "commit.before-hint",
    "commit.done",
];

#[derive(Default)]
struct Switches {
    log: Option<std::ffi::OsString>,
    kill: Option<(String, u64)>,
    seen: AtomicU64,
}

/// Says that a step is reached.
pub fn step(name: &str) {
    static SWITCHES: OnceLock<Option<Switches>> = OnceLock::new();
    if let Some(switches) = SWITCHES.get_or_init(read) {
        pass(switches, name);
    }
}

fn read() -> Option<Switches> {
    let log = std::env::var_os("CLINMILL_STEPS_LOG");
    let kill = std::env::var("CLINMILL_KILL_AT")
        .ok()
        .map(|text| match text.rsplit_once(':') {
            Some((step, nth)) => (step.to_owned(), nth.parse().unwrap_or(1)),
            None => (text, 1),
        });
    (log.is_some() || kill.is_some()).then(|| Switches {
        log,
        kill,
        seen: AtomicU64::new(0),
    })
}

#[cold]
fn pass(switches: &Switches, name: &str) {
    if let Some(path) = &switches.log
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path)
    {
        // A log of the tests: it must not change what the program does.
        let _ = writeln!(file, "{name}");
    }
    if let Some((step, nth)) = &switches.kill
        && step == name
        && switches.seen.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        let pid = std::process::id().to_string();
        let _ = std::process::Command::new("kill").args(["-9", &pid]).status();
        // Where there is no kill command the process still ends without any clean-up.
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_each_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("steps");
        let switches = Switches {
            log: Some(path.clone().into()),
            kill: Some(("b".into(), 2)),
            ..Switches::default()
        };
        pass(&switches, "a");
        pass(&switches, "b");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "a\nb\n");
        assert_eq!(switches.seen.load(Ordering::SeqCst), 1);
    }
}
