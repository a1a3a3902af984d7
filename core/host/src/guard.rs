//! A process that answers for another one of the same program. A library that calls `_exit(0)`, or crashes, ends the process
//! that loaded it, and no code of ours runs after it: only who waits for that process can tell.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Command, ExitStatus},
    sync::atomic::{AtomicBool, Ordering},
};

/// The exit code by which the guarded process says that it is done: one that a library does not happen to end with.
pub const DONE: u8 = 93;

/// The constructors of a library do not come back: the system's loader is locked, also for a regular end.
static LOADER_IS_LOST: AtomicBool = AtomicBool::new(false);

pub(crate) fn loader_is_lost() {
    LOADER_IS_LOST.store(true, Ordering::Relaxed);
}

/// Ends the process at once where a regular end would wait for a library that does not come back.
pub fn leave(code: u8) {
    if LOADER_IS_LOST.load(Ordering::Relaxed) {
        // SAFETY: a plain call; what is to be written was written.
        unsafe { libc::_exit(i32::from(code)) }
    }
}

/// Runs a command and waits for it. It has a group of its own; what would end this process is passed on to it, and it ends
/// with this process. To be called on the thread that lives as long as the process, before there are others.
///
/// # Errors
/// When it cannot be started.
pub fn stand(mut command: Command) -> io::Result<ExitStatus> {
    let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD];
    // SAFETY: plain calls on a set that lives here.
    let set = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        set
    };
    // SAFETY: a plain call.
    let own = unsafe { libc::getpid() };
    command.process_group(0);
    // SAFETY: between fork and exec only plain system calls are made.
    unsafe {
        command.pre_exec(move || {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 || libc::getppid() != own {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let mut signal = 0;
        // SAFETY: the signals of the set are blocked, and wait.
        let waited = unsafe { libc::sigwait(&raw const set, &raw mut signal) };
        if waited == 0 && signal != libc::SIGCHLD {
            // SAFETY: a plain call; nobody has waited for the child yet.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_how_the_other_one_ended() {
        let ended = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            // The signals of this thread alone are blocked.
            std::thread::spawn(|| stand(command)).join().unwrap().unwrap()
        };
        assert_eq!(ended("exit 93").code(), Some(i32::from(DONE)));
        assert_eq!(ended("exit 0").code(), Some(0));
        assert_eq!(ended("kill -9 $$").code(), None);
    }
}
