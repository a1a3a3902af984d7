//! A process that answers for another one of the same program. A library that calls `_exit(0)`, or crashes, ends the process
//! that loaded it, and no code of ours runs after it: only who waits for that process can tell.
//!
//! The two share a socket. Over it the guarded one gets a token before it loads anything, and sends it back with its exit
//! code when it is done: who ends without that was ended.

use crate::{
    calls::{self, Shared},
    streams,
};
use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, RawFd},
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _},
            net::UnixStream,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    process::{Child, Command},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Names the socket of a guarded process and the memory that it shares, by their numbers: `7,8`.
const GUARDED: &str = "CLINMILL_GUARDED";

/// What the guarded process proves by that it is the one to say how it ended.
pub type Token = [u8; 16];

/// The guarded process's end of the socket.
struct Line {
    socket: File,
    /// Device and number of the file: a library may close what is not its own, and another file get the number.
    file: (u64, u64),
    token: Token,
}

static LINE: OnceLock<Line> = OnceLock::new();

impl Line {
    fn of(number: RawFd) -> Option<Self> {
        // SAFETY: plain calls on a number, which need not be open.
        unsafe {
            if number <= libc::STDERR_FILENO || libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) != 0 {
                return None;
            }
        }
        // SAFETY: it is open, and nobody else of this process has it.
        let socket = unsafe { File::from_raw_fd(number) };
        let found = socket.metadata().ok().filter(|found| found.file_type().is_socket())?;
        let mut token = Token::default();
        // SAFETY: the token lives here. It was sent before this process began.
        let got = unsafe { libc::recv(number, token.as_mut_ptr().cast(), token.len(), libc::MSG_DONTWAIT) };
        (usize::try_from(got) == Ok(token.len())).then_some(Self {
            socket,
            file: (found.dev(), found.ino()),
            token,
        })
    }

    fn answer(&self, code: u8) -> io::Result<()> {
        let found = self.socket.metadata()?;
        if (found.dev(), found.ino()) != self.file {
            return Ok(());
        }
        let mut said = self.token.to_vec();
        said.push(code);
        (&self.socket).write_all(&said)
    }
}

/// Whether a library was loaded here.
static LOADED: AtomicBool = AtomicBool::new(false);

pub(crate) fn library_is_loaded() {
    LOADED.store(true, Ordering::Relaxed);
}

/// Learns whether this process is guarded. To be called first, while it has one thread: nothing of it is left in the
/// environment, which a library may change.
pub fn begin() {
    let Some(said) = std::env::var_os(GUARDED) else { return };
    // SAFETY: there is no other thread.
    unsafe { std::env::remove_var(GUARDED) };
    let numbers = said.to_str().and_then(|said| {
        let (socket, memory) = said.split_once(',')?;
        Some((socket.parse().ok()?, memory.parse().ok()?))
    });
    let Some((socket, memory)) = numbers else { return };
    if let Some(line) = Line::of(socket)
        && LINE.set(line).is_ok()
    {
        calls::begin(memory);
        // Without descriptors to spare, libraries have the streams as they are.
        let _ = streams::keep();
    }
}

/// Whether another process answers for this one.
pub fn is_guarded() -> bool {
    LINE.get().is_some()
}

/// Ends the process at once where it has loaded a library, and says that it is done: what a library does at a regular end may
/// not come back, or end with another code.
pub fn leave(code: u8) {
    let line = LINE.get();
    if line.is_none() && !LOADED.load(Ordering::Relaxed) {
        return;
    }
    let _ = streams::out().flush();
    let _ = streams::err().flush();
    if let Some(line) = line {
        let _ = line.answer(code);
    }
    // SAFETY: a plain call; what is to be written was written.
    unsafe { libc::_exit(i32::from(code)) }
}

/// How a guarded process ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was done, with this exit code.
    Done(u8),
    /// By this signal, which was passed on to it.
    Asked(i32),
    /// Without a word.
    Lost {
        /// How, to be said of "the process".
        how: String,
        /// The calls into plugins that may have done that: `the plugin "own" in process`.
        under_way: Vec<String>,
    },
}

/// What is seen of a child that was not waited for.
enum Sight {
    Runs,
    Stopped,
    Ended,
}

fn look(pid: libc::pid_t) -> io::Result<Sight> {
    let which = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
    let id = libc::id_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: the answer lives here; what it holds is read as the call says.
    unsafe {
        let mut seen: libc::siginfo_t = std::mem::zeroed();
        if libc::waitid(libc::P_PID, id, &raw mut seen, which) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(match seen.si_code {
            _ if seen.si_pid() == 0 => Sight::Runs,
            // Other signals that stop are those of a terminal, after which it goes on.
            libc::CLD_STOPPED if seen.si_status() == libc::SIGSTOP => Sight::Stopped,
            libc::CLD_STOPPED => Sight::Runs,
            _ => Sight::Ended,
        })
    }
}

/// Runs a command and waits for it. It has a group of its own, of which nothing is left afterwards; what would end this
/// process is passed on to it, and it ends with this process. To be called on the thread that lives as long as the process,
/// before there are others.
///
/// # Errors
/// When it cannot be started.
pub fn stand(command: Command, token: Token) -> io::Result<Ended> {
    let (mut own, given) = UnixStream::pair()?;
    own.write_all(&token)?;
    own.set_nonblocking(true)?;
    let shared = Shared::new()?;
    let set = signals();
    // SAFETY: a plain call on a set that lives here.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    let started = start(command, given.as_raw_fd(), shared.fd());
    drop(given);
    let mut child = started.inspect_err(|_| {
        // SAFETY: as above.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
    })?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let mut asked = None;
    let is_stopped = loop {
        match look(pid)? {
            Sight::Ended => break false,
            Sight::Stopped => break true,
            Sight::Runs => {}
        }
        // A look from time to time: another thread may have taken the signal that it ended.
        let wait = libc::timespec {
            tv_sec: 0,
            tv_nsec: Duration::from_millis(250).as_nanos() as libc::c_long,
        };
        // SAFETY: the signals of the set are blocked, and wait.
        let signal = unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const wait) };
        if signal > 0 && signal != libc::SIGCHLD {
            asked.get_or_insert(signal);
            // SAFETY: a plain call; nobody has waited for the child yet.
            unsafe { libc::kill(pid, signal) };
        }
    };
    // SAFETY: as above: until it is waited for, the number of the group is its own.
    unsafe { libc::kill(-pid, libc::SIGKILL) };
    let status = child.wait()?;
    // What else was in it is ended in a moment, and gives back its locks.
    // SAFETY: as above; nothing is sent.
    let is_left = || unsafe { libc::kill(-pid, 0) } == 0;
    (0..200)
        .take_while(|_| is_left())
        .for_each(|_| std::thread::sleep(Duration::from_millis(1)));
    if let Some(code) = answer(&own, token) {
        return Ok(Ended::Done(code));
    }
    let how = match (asked, is_stopped, status.signal()) {
        (Some(signal), ..) => return Ok(Ended::Asked(signal)),
        (_, true, _) => "was stopped".to_owned(),
        (_, _, Some(signal)) => format!("was ended by signal {signal}"),
        _ => "ended in the midst of it".to_owned(),
    };
    let under_way = shared.under_way();
    Ok(Ended::Lost { how, under_way })
}

/// What is passed on, and the one that tells of the child's end.
fn signals() -> libc::sigset_t {
    // SAFETY: plain calls on a set that lives here.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD] {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

fn start(mut command: Command, socket: RawFd, memory: RawFd) -> io::Result<Child> {
    // SAFETY: a plain call.
    let own = unsafe { libc::getpid() };
    command.env(GUARDED, format!("{socket},{memory}")).process_group(0);
    // SAFETY: between fork and exec only plain system calls are made.
    unsafe {
        command.pre_exec(move || {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            let ends_with_it = libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 && libc::getppid() == own;
            let hands_on = |fd| libc::fcntl(fd, libc::F_SETFD, 0) == 0;
            if !ends_with_it || !hands_on(socket) || !hands_on(memory) {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command.spawn()
}

/// The exit code that was sent with the token.
fn answer(mut own: &UnixStream, token: Token) -> Option<u8> {
    let mut said = [0; size_of::<Token>() + 1];
    own.read_exact(&mut said).ok()?;
    let [first @ .., code] = said;
    (first == token).then_some(code)
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
            std::thread::spawn(|| stand(command, [7; 16])).join().unwrap().unwrap()
        };
        let lost = |how: &str| Ended::Lost {
            how: how.to_owned(),
            under_way: Vec::new(),
        };
        assert_eq!(ended("exit 0"), lost("ended in the midst of it"));
        assert_eq!(ended("exit 93"), lost("ended in the midst of it"));
        assert_eq!(ended("kill -9 $$"), lost("was ended by signal 9"));
        assert_eq!(ended("kill -STOP $$"), lost("was stopped"));
    }

    #[test]
    fn nothing_of_its_group_is_left() {
        let file = std::env::temp_dir().join(format!("clinmill-group-{}", std::process::id()));
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("sleep 1000 & echo $! > {}", file.display())]);
        std::thread::spawn(|| stand(command, [7; 16])).join().unwrap().unwrap();
        let pid = std::fs::read_to_string(&file).unwrap();
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn who_has_the_token_is_heard() {
        let (own, other) = UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        assert_eq!(answer(&own, [7; 16]), None);
        let socket = File::from(std::os::fd::OwnedFd::from(other));
        let found = socket.metadata().unwrap();
        let line = Line {
            socket,
            file: (found.dev(), found.ino()),
            token: [7; 16],
        };
        line.answer(3).unwrap();
        assert_eq!(answer(&own, [7; 16]), Some(3));
        line.answer(0).unwrap();
        assert_eq!(answer(&own, [8; 16]), None);
    }
}
