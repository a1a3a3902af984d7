//! All that a plugin's process has started, found in `/proc`: also what left its group and its session, and what it left
//! behind when it ended.
//!
//! Three things tell that a process belongs to a plugin: it descends from it, and the plugin's process is made the parent of
//! its orphans while it lives (`PR_SET_CHILD_SUBREAPER`, which an `exec` keeps); it is in its group or session; it has its
//! mark, a limit of the size of files that no file reaches, which is inherited and cannot be raised (setrlimit(2)). What
//! lowers its own mark, leaves group and session, and outlives the plugin's process, is not found any more.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The mark of a plugin's process and of what it starts: no other process of this machine has it.
pub fn mark() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let host = u64::from(std::process::id());
    (1 << 62) | host << 24 | (NEXT.fetch_add(1, Ordering::Relaxed) & 0xff_ffff)
}

/// A plugin's process, and how what it started is known.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub main: i32,
    pub mark: u64,
}

/// One line of `/proc`.
struct Seen {
    pid: i32,
    parent: i32,
    group: i32,
    session: i32,
}

/// A process that runs; `None` for one that has ended.
fn seen(pid: i32) -> Option<Seen> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let mut number = || fields.next()?.parse().ok();
    let seen = Seen {
        pid,
        parent: number()?,
        group: number()?,
        session: number()?,
    };
    (!state.starts_with(['Z', 'X'])).then_some(seen)
}

impl Family {
    fn is_marked(&self, pid: i32) -> bool {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: a plain call that fills what it is given; of another user's process it says nothing.
        let said = unsafe { libc::prlimit(pid, libc::RLIMIT_FSIZE, std::ptr::null(), &raw mut limit) };
        said == 0 && limit.rlim_max == self.mark
    }

    /// Those that run.
    fn members(&self) -> Vec<i32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let all: Vec<Seen> = pids.filter_map(seen).collect();
        let own = |one: &Seen| {
            one.pid == self.main || one.group == self.main || one.session == self.main || self.is_marked(one.pid)
        };
        let mut found: Vec<i32> = all.iter().filter(|one| own(one)).map(|one| one.pid).collect();
        let mut at = 0;
        // The plugin's process itself may have ended: its children are found by its number while nobody waited for it.
        let mut parents = vec![self.main];
        parents.extend(&found);
        while let Some(parent) = parents.get(at).copied() {
            let children = all.iter().filter(|one| one.parent == parent).map(|one| one.pid);
            for child in children {
                if !parents.contains(&child) {
                    parents.push(child);
                    found.push(child);
                }
            }
            at += 1;
        }
        found
    }

    /// Ends all of them. The plugin's process was not waited for: its number is its own.
    pub fn end(&self) {
        // SAFETY: plain calls: the group is the process's own.
        unsafe { libc::killpg(self.main, libc::SIGKILL) };
        let began = Instant::now();
        // What is being started while others are ended is found the next time.
        while began.elapsed() < Duration::from_secs(2) {
            let members = self.members();
            if members.is_empty() {
                return;
            }
            for pid in members {
                // SAFETY: a plain call.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Bytes of memory that they hold together. What they share is counted once, where the system says so.
    pub fn memory(&self, most: u64) -> u64 {
        let members = self.members();
        let resident = |pid: &i32| {
            let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
            let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
            Some(pages.saturating_mul(4096))
        };
        let shares = |pid: &i32| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
            Some(kilobytes.saturating_mul(1024))
        };
        let all: u64 = members.iter().filter_map(resident).fold(0, u64::saturating_add);
        match all > most {
            true => members
                .iter()
                .filter_map(|pid| shares(pid).or_else(|| resident(pid)))
                .fold(0, u64::saturating_add),
            false => all,
        }
    }
}
