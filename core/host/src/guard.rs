//! A process that answers for another one of the same program. A library that calls `_exit(0)`, or crashes, ends the process
//! that loaded it, and no code of ours runs after it: only who waits for that process can tell.
//!
//! The two share a socket. Over it the guarded one gets a token before it loads anything, and sends it back with its exit
//! code when it is done: who ends without that was ended. With it comes which streams a library took away, and which
//! plugins were loaded, for who still has both streams to say so.

use crate::{
    calls::{self, Shared},
    streams,
    texts::said,
};
use std::{
    collections::BTreeSet,
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
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
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

    fn answer(&self, code: u8, lost: [bool; 2], loaded: &str) -> io::Result<()> {
        let found = self.socket.metadata()?;
        if (found.dev(), found.ino()) != self.file {
            return Ok(());
        }
        let mut said = self.token.to_vec();
        said.extend([code, u8::from(lost[0]), u8::from(lost[1])]);
        said.extend(loaded.bytes().take(LONGEST_LIST));
        (&self.socket).write_all(&said)
    }
}

/// How long the list of the plugins that were loaded may be, in bytes.
const LONGEST_LIST: usize = 2048;

/// The plugins whose libraries were loaded here.
static LOADED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn loaded() -> Vec<String> {
    let all = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().cloned().collect()
}

pub(crate) fn library_is_loaded(plugin: &str) {
    let mut all = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    all.insert(plugin.to_owned());
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
    let loaded = loaded();
    if line.is_none() && loaded.is_empty() {
        return;
    }
    let _ = streams::out().flush();
    let _ = streams::err().flush();
    if let Some(line) = line {
        let _ = line.answer(code, streams::lost(), &loaded.join("\n"));
    }
    // SAFETY: a plain call; what is to be written was written.
    unsafe { libc::_exit(i32::from(code)) }
}

/// How a guarded process ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was done, with this exit code.
    Done(u8),
    /// It was done, and could not say all: a library closed its streams, or put another file in their place.
    Mute {
        /// The exit code.
        code: u8,
        /// Whether it was standard output: the result.
        is_result: bool,
        /// The plugins whose libraries it had loaded.
        loaded: Vec<String>,
    },
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
            libc::CLD_STOPPED => Sight::Stopped,
            _ => Sight::Ended,
        })
    }
}

/// How long a process may take to end that was told to once, and again: a refresh first ends what it is at, and its plugins
/// are given up after two seconds of their own.
const PATIENCE: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(2)];

/// Runs a command and waits for it. It has a group of its own, of which nothing is left afterwards; what would end this
/// process is passed on to it, and it ends with this process. To be called on the thread that lives as long as the process,
/// before there are others.
///
/// # Errors
/// When it cannot be started.
pub fn stand(command: Command, token: Token) -> io::Result<Ended> {
    attend(command, token, PATIENCE)
}

fn attend(command: Command, token: Token, [once, again]: [Duration; 2]) -> io::Result<Ended> {
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
    let mut asked = Vec::new();
    let mut until: Option<Instant> = None;
    let ended_here = loop {
        match look(pid)? {
            Sight::Ended => break None,
            Sight::Stopped => break Some("was stopped"),
            Sight::Runs if until.is_some_and(|until| Instant::now() >= until) => {
                break Some("did not end when it was told to");
            }
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
            let patience = if asked.is_empty() { once } else { again };
            until = Some(until.map_or(Instant::now() + patience, |until| until.min(Instant::now() + patience)));
            asked.push(signal);
            // SAFETY: plain calls; nobody has waited for the child yet. Who was stopped in this moment hears it, too.
            unsafe {
                libc::kill(pid, signal);
                libc::kill(pid, libc::SIGCONT);
            }
        }
    };
    // SAFETY: as above: until it is waited for, its number and that of its group are its own. It may have left its group.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::kill(-pid, libc::SIGKILL);
    }
    let status = child.wait()?;
    // What else was in it is ended in a moment, and gives back its locks.
    // SAFETY: as above; nothing is sent.
    let is_left = || unsafe { libc::kill(-pid, 0) } == 0;
    (0..200)
        .take_while(|_| is_left())
        .for_each(|_| std::thread::sleep(Duration::from_millis(1)));
    if let Some(done) = answer(&own, token) {
        return Ok(done);
    }
    // Told to end, it ends by that signal, or with the code of such an end. Whatever else ended it is no answer to that.
    let is_orderly = match status.signal() {
        Some(signal) => asked.contains(&signal),
        None => matches!(status.code(), Some(130 | 143)),
    };
    if let Some(signal) = asked.first().filter(|_| is_orderly && ended_here.is_none()) {
        return Ok(Ended::Asked(*signal));
    }
    let how = match (ended_here, status.signal()) {
        (Some(how), _) => how.to_owned(),
        (_, Some(signal)) => format!("was ended by signal {signal}"),
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
            // Its group is none of the terminal's foreground: it may write there all the same, and what it reads there fails.
            let goes_on = [libc::SIGTTOU, libc::SIGTTIN, libc::SIGTSTP]
                .iter()
                .all(|signal| libc::signal(*signal, libc::SIG_IGN) != libc::SIG_ERR);
            if !goes_on || !ends_with_it || !hands_on(socket) || !hands_on(memory) {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command.spawn()
}

/// What was sent with the token.
fn answer(own: &UnixStream, token: Token) -> Option<Ended> {
    let mut all = Vec::new();
    // Where another process still has the other end, there is no end to read to: what has come is all.
    let most = size_of::<Token>() + 3 + LONGEST_LIST;
    let _ = own.take(most as u64).read_to_end(&mut all);
    let (first, rest) = all.split_at_checked(size_of::<Token>())?;
    let [code, of_result, of_error, loaded @ ..] = rest else {
        return None;
    };
    if first != token {
        return None;
    }
    if *of_result == 0 && *of_error == 0 {
        return Some(Ended::Done(*code));
    }
    let loaded = String::from_utf8_lossy(loaded);
    Some(Ended::Mute {
        code: *code,
        is_result: *of_result != 0,
        loaded: loaded.lines().map(|name| said(name, LONGEST_LIST)).collect(),
    })
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

    /// How a script ends that is told to end when its file is there.
    fn told(name: &str, script: &str) -> Ended {
        use std::os::unix::thread::JoinHandleExt as _;
        let file = std::env::temp_dir().join(format!("clinmill-told-{}-{name}", std::process::id()));
        let mut command = Command::new("/bin/sh");
        let waits = "while :; do sleep 0.02; done";
        command.args(["-c", &format!("{script}; : > {}; {waits}", file.display())]);
        let patience = [Duration::from_millis(600); 2];
        let stands = std::thread::spawn(move || attend(command, [7; 16], patience));
        while !file.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        // SAFETY: the thread lives until it is joined, and has blocked the signal: the file is there.
        assert_eq!(unsafe { libc::pthread_kill(stands.as_pthread_t(), libc::SIGTERM) }, 0);
        let ended = stands.join().unwrap().unwrap();
        std::fs::remove_file(&file).unwrap();
        ended
    }

    #[test]
    fn only_what_was_asked_for_is_an_answer_to_it() {
        let lost = |how: &str| Ended::Lost {
            how: how.to_owned(),
            under_way: Vec::new(),
        };
        assert_eq!(told("plain", ":"), Ended::Asked(libc::SIGTERM));
        assert_eq!(told("orderly", "trap 'exit 143' TERM"), Ended::Asked(libc::SIGTERM));
        assert_eq!(
            told("crash", "trap 'kill -SEGV $$' TERM"),
            lost("was ended by signal 11")
        );
        assert_eq!(told("exit", "trap 'exit 0' TERM"), lost("ended in the midst of it"));
        assert_eq!(told("deaf", "trap '' TERM"), lost("did not end when it was told to"));
        assert_eq!(told("stop", "trap 'kill -STOP $$' TERM"), lost("was stopped"));
    }

    #[test]
    fn a_terminal_does_not_stop_it() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "kill -TTIN $$; kill -TTOU $$; kill -TSTP $$; exit 3"]);
        let ended = std::thread::spawn(|| stand(command, [7; 16])).join().unwrap().unwrap();
        assert!(
            matches!(&ended, Ended::Lost { how, .. } if how == "ended in the midst of it"),
            "{ended:?}"
        );
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
        let line = |token: Token| {
            let (own, other) = UnixStream::pair().unwrap();
            own.set_nonblocking(true).unwrap();
            assert_eq!(answer(&own, token), None);
            let socket = File::from(std::os::fd::OwnedFd::from(other));
            let found = socket.metadata().unwrap();
            let file = (found.dev(), found.ino());
            (own, Line { socket, file, token })
        };
        let (own, other) = line([7; 16]);
        other.answer(3, [false; 2], "a").unwrap();
        assert_eq!(answer(&own, [7; 16]), Some(Ended::Done(3)));
        other.answer(0, [false; 2], "a").unwrap();
        assert_eq!(answer(&own, [8; 16]), None);
        // What it could not say, the other one is told.
        let (own, other) = line([7; 16]);
        other.answer(1, [false, true], "a\nb\u{202e}").unwrap();
        let mute = Ended::Mute {
            code: 1,
            is_result: false,
            loaded: vec!["a".to_owned(), "b".to_owned()],
        };
        assert_eq!(answer(&own, [7; 16]), Some(mute));
    }
}
