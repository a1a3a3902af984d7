//! The child process: started with nothing of ours, limited, and ended with all that it started.
//!
//! A message is one line of JSON; its key `bytes` says how many bytes follow the line. Both ways.

use super::{
    executable::Executable,
    family::{self, Family},
};
use crate::{limits::Limits, texts::said as told};
use clinmill_sdk::{PluginError, Status};
use serde_json::{Map, Value};
use std::{
    cell::Cell,
    io::{self, ErrorKind, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::process::CommandExt as _,
    },
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

/// How long the line of a message may be.
const LONGEST_LINE: usize = 4 << 20;
/// How often the flag to stop is looked at.
const TICK: Duration = Duration::from_millis(20);
/// How often the memory of all that it started is looked at while a call lasts.
const WEIGHS: Duration = Duration::from_millis(500);
/// How much of what it writes to its standard error is kept, where it may be told.
const LAST_WORDS: usize = 2048;

/// A message and the bytes that follow it.
#[derive(Debug)]
pub struct Message {
    pub head: Map<String, Value>,
    pub body: Vec<u8>,
}

impl Message {
    pub fn text(&self, key: &str) -> &str {
        self.head.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

/// What the child wrote to its standard error: how much, and never what once it was given rows that are somebody's.
#[derive(Default)]
struct Said {
    /// The end of it, where that may be told.
    last: Mutex<Option<Vec<u8>>>,
    bytes: AtomicU64,
    lines: AtomicU64,
    /// There is no more to come.
    is_closed: AtomicBool,
}

/// A running plugin.
pub struct Running {
    name: String,
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    /// Read from the child and not yet used.
    ahead: Vec<u8>,
    limits: Limits,
    said: Arc<Said>,
    family: Family,
    /// The number of the call that is under way.
    call: u64,
    /// When its memory is looked at next.
    weighed: Instant,
    /// It was ended, and its number may be another's.
    is_over: bool,
    /// How it ended by itself.
    ended: Option<ExitStatus>,
}

/// A program to start, and where to put it.
type Order = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts every child from one thread that never ends: `PR_SET_PDEATHSIG` is about the end of the thread that made the
/// child, not of its process (prctl(2)).
fn spawn(command: Command) -> io::Result<Child> {
    static ORDERS: Mutex<Option<mpsc::Sender<Order>>> = Mutex::new(None);
    let (give, take) = mpsc::sync_channel(1);
    let mut orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner);
    let sender = match orders.as_ref() {
        Some(sender) => sender,
        None => {
            let (sender, receiver) = mpsc::channel::<Order>();
            std::thread::Builder::new()
                .name("clinmill-spawn".into())
                .spawn(move || {
                    for (mut command, give) in receiver {
                        let _ = give.send(spawn_now(&mut command));
                    }
                })?;
            orders.insert(sender)
        }
    };
    let gone = || io::Error::from(ErrorKind::BrokenPipe);
    sender.send((command, give)).map_err(|_| gone())?;
    drop(orders);
    take.recv().map_err(|_| gone())?
}

fn spawn_now(command: &mut Command) -> io::Result<Child> {
    // Another child may hold the copy of the program as it was written, until it is its own program.
    for _ in 0..20 {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {}
            child => return child,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    command.spawn()
}

impl Running {
    /// Starts the program. It gets no environment, the folder `/`, three pipes, and limits of memory. `describes`: it will
    /// be given nothing, and what it writes to its standard error may be told; so it is where its texts are shown.
    pub fn start(name: &str, program: &Executable, limits: Limits, describes: bool) -> Result<Self, PluginError> {
        let failed = |what: &str| {
            let message = format!("the plugin {name:?} in start: {what}");
            PluginError::new(Status::NotFound, "PLUGIN_START", message)
        };
        let memory = limits.memory;
        let mark = family::mark();
        // SAFETY: a plain call.
        let host = unsafe { libc::getpid() };
        let mut command = program.command();
        command
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        // SAFETY: between fork and exec only plain system calls are made.
        unsafe {
            command.pre_exec(move || {
                let limit = |resource, most: u64| {
                    let limit = libc::rlimit {
                        rlim_cur: most,
                        rlim_max: most,
                    };
                    match libc::setrlimit(resource, &raw const limit) {
                        0 => Ok(()),
                        _ => Err(io::Error::last_os_error()),
                    }
                };
                limit(libc::RLIMIT_AS, memory)?;
                limit(libc::RLIMIT_CORE, 0)?;
                // Where files have a limit already, there is no mark.
                let _ = limit(libc::RLIMIT_FSIZE, mark);
                if libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // It ends with the host, however that ends, also if that was before the call.
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                match libc::getppid() == host {
                    true => Ok(()),
                    false => Err(ErrorKind::BrokenPipe.into()),
                }
            });
        }
        let mut child = spawn(command).map_err(|error| match (error.kind(), program.interpreter()) {
            (ErrorKind::NotFound, Some(missing)) => {
                failed(&format!("its interpreter {} is missing", missing.display()))
            }
            _ => failed("the program cannot be started"),
        })?;
        let (Some(stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("it has no pipes"));
        };
        for fd in [stdin.as_raw_fd(), stdout.as_raw_fd()] {
            // SAFETY: plain calls on descriptors that are open.
            unsafe { libc::fcntl(fd, libc::F_SETFL, libc::fcntl(fd, libc::F_GETFL) | libc::O_NONBLOCK) };
        }
        let said = Arc::new(Said {
            last: Mutex::new((describes || limits.shows_texts).then(Vec::new)),
            ..Said::default()
        });
        let counted = said.clone();
        std::thread::spawn(move || {
            let mut buf = [0; 8192];
            while let Ok(n) = stderr.read(&mut buf) {
                if n == 0 {
                    break;
                }
                let lines = buf[..n].iter().filter(|b| **b == b'\n').count();
                if let Some(last) = counted.last.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                    last.extend_from_slice(&buf[..n]);
                    let old = last.len().saturating_sub(LAST_WORDS);
                    last.drain(..old);
                }
                counted.bytes.fetch_add(n as u64, Ordering::Relaxed);
                counted.lines.fetch_add(lines as u64, Ordering::Relaxed);
            }
            counted.is_closed.store(true, Ordering::Release);
        });
        let family = Family {
            main: i32::try_from(child.id()).map_err(|_| failed("it has no number"))?,
            mark,
        };
        Ok(Self {
            name: name.to_owned(),
            family,
            call: 0,
            weighed: Instant::now(),
            child,
            stdin,
            stdout,
            ahead: Vec::new(),
            limits,
            said,
            is_over: false,
            ended: None,
        })
    }

    /// Whether it has ended, by itself or by the host. What it started is then ended too.
    pub fn has_ended(&mut self) -> bool {
        if !self.is_over {
            let mut found = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
            let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            // SAFETY: a plain call that fills what it is given, or leaves it zero. The child stays unwaited for, so that
            // its number is its own until its group was ended.
            let pid = unsafe {
                match libc::waitid(libc::P_PID, self.child.id(), found.as_mut_ptr(), flags) {
                    0 => found.assume_init().si_pid(),
                    _ => 0,
                }
            };
            if pid != 0 {
                self.ended = self.end();
            }
        }
        self.is_over
    }

    /// What the host says of it; with how it ended, and how much it wrote to its standard error.
    pub fn blame(&mut self, phase: &str, status: Status, code: &str, what: &str) -> PluginError {
        let mut message = format!("the plugin {:?} in {phase}: {what}", self.name);
        self.has_ended();
        if let Some(ended) = self.ended {
            message.push_str(&format!(" ({ended})"));
            // What it said last may still be in the pipe; a child of its own may hold that open.
            let until = Instant::now() + Duration::from_millis(200);
            while !self.said.is_closed.load(Ordering::Acquire) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let (bytes, lines) = (
            self.said.bytes.load(Ordering::Relaxed),
            self.said.lines.load(Ordering::Relaxed),
        );
        if bytes > 0 {
            message.push_str(&format!("; its standard error holds {lines} lines, {bytes} bytes"));
        }
        let last = self.said.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref().filter(|last| !last.is_empty()) {
            message.push_str(&format!(", which end:{}", self.last_words(last)));
        }
        drop(last);
        PluginError::new(status, code, message)
    }

    /// In one line; line by line for who wrote it, as a traceback is read.
    fn last_words(&self, last: &[u8]) -> String {
        let text = String::from_utf8_lossy(last);
        if !self.limits.shows_texts {
            return format!(" {}", told(&text, LAST_WORDS).trim());
        }
        let lines = text.lines().map(|line| format!("\n{}", told(line, LAST_WORDS)));
        lines.collect()
    }

    /// Ends it and everything that it started.
    pub fn kill(&mut self) {
        self.end();
    }

    fn end(&mut self) -> Option<ExitStatus> {
        if std::mem::replace(&mut self.is_over, true) {
            return None;
        }
        self.family.end();
        self.child.wait().ok()
    }

    /// Ends it when the call has to stop, also where it always has something to say.
    fn go_on(&mut self, until: &Until<'_>, phase: &str) -> Result<(), PluginError> {
        if until.is_cancelled() {
            self.kill();
            return Err(PluginError::cancelled());
        }
        if until.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            self.kill();
            return Err(self.blame(
                phase,
                Status::Timeout,
                "PLUGIN_TIMEOUT",
                "it did not answer in time (CLINMILL_PLUGIN_SECONDS says how long it has)",
            ));
        }
        if until.stuck.is_some_and(|stuck| Instant::now() > stuck) {
            self.kill();
            return Err(self.blame(phase, Status::Timeout, "PLUGIN_TIMEOUT", STUCK));
        }
        if self.weighed.elapsed() > WEIGHS {
            let began = Instant::now();
            let memory = self.family.memory(self.limits.memory);
            // Where there are many processes it takes its time, and is done less often.
            self.weighed = began + began.elapsed().saturating_mul(50);
            if memory > self.limits.memory {
                self.kill();
                let what = "it and what it started hold more memory than they may";
                return Err(self.blame(phase, Status::ResourceExhausted, "PLUGIN_MEMORY", what));
            }
        }
        Ok(())
    }

    fn wait(&mut self, fd: RawFd, events: i16, until: &Until<'_>, phase: &str) -> Result<(), PluginError> {
        loop {
            self.go_on(until, phase)?;
            let mut poll = libc::pollfd { fd, events, revents: 0 };
            // SAFETY: one descriptor that is open.
            let ready = unsafe { libc::poll(&raw mut poll, 1, TICK.as_millis() as i32) };
            if ready > 0 {
                return Ok(());
            }
        }
    }

    /// Begins a call: its messages have a number of their own, which the replies repeat.
    pub fn begin(&mut self) {
        self.call += 1;
    }

    /// Whether a reply belongs to the call that is under way.
    pub fn is_of_call(&self, message: &Message) -> bool {
        message.head.get("id").and_then(Value::as_u64) == Some(self.call)
    }

    /// Sends a message.
    pub fn send(&mut self, phase: &str, mut head: Value, body: &[u8], until: &Until<'_>) -> Result<(), PluginError> {
        if let Value::Object(head) = &mut head {
            head.insert("id".into(), self.call.into());
            if !body.is_empty() {
                head.insert("bytes".into(), body.len().into());
            }
        }
        self.write(phase, format!("{head}\n").as_bytes(), until)?;
        self.write(phase, body, until)
    }

    fn write(&mut self, phase: &str, mut rest: &[u8], until: &Until<'_>) -> Result<(), PluginError> {
        while !rest.is_empty() {
            self.go_on(until, phase)?;
            match self.stdin.write(rest) {
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(self.stdin.as_raw_fd(), libc::POLLOUT, until, phase)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(self.gone(phase)),
            }
        }
        Ok(())
    }

    fn gone(&mut self, phase: &str) -> PluginError {
        // It closed its pipes: what it still does, nobody needs.
        for _ in 0..20 {
            if self.has_ended() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let error = self.blame(phase, Status::Internal, "PLUGIN_PROCESS", "its process ended");
        self.kill();
        error
    }

    /// Reads what is there, as far as `most` bytes.
    fn fill(&mut self, phase: &str, most: usize, until: &Until<'_>) -> Result<(), PluginError> {
        let mut buf = vec![0; most.min(64 << 10)];
        loop {
            self.go_on(until, phase)?;
            match self.stdout.read(&mut buf) {
                Ok(0) => return Err(self.gone(phase)),
                Ok(n) => {
                    self.ahead.extend_from_slice(&buf[..n]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(self.stdout.as_raw_fd(), libc::POLLIN, until, phase)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(self.gone(phase)),
            }
        }
    }

    /// Takes the next message.
    pub fn receive(&mut self, phase: &str, until: &Until<'_>) -> Result<Message, PluginError> {
        self.go_on(until, phase)?;
        let mut searched = 0;
        let end = loop {
            if let Some(at) = self.ahead.iter().skip(searched).position(|b| *b == b'\n') {
                break searched + at;
            }
            searched = self.ahead.len();
            if searched > LONGEST_LINE {
                return Err(self.protocol(phase, "the line of a message is too long"));
            }
            self.fill(phase, LONGEST_LINE, until)?;
        };
        let line: Vec<u8> = self.ahead.drain(..=end).collect();
        let Ok(Value::Object(head)) = serde_json::from_slice(&line) else {
            return Err(self.protocol(phase, "a message is no JSON object"));
        };
        let length = match head.get("bytes") {
            None => 0,
            Some(n) => n.as_u64().unwrap_or(u64::MAX),
        };
        if length > self.limits.message.min(self.limits.memory) {
            return Err(self.protocol(phase, "a message is larger than a message may be"));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        while self.ahead.len() < length {
            self.fill(phase, length - self.ahead.len(), until)?;
        }
        // Mostly nothing follows: what was read is the body, and not copied.
        let after = self.ahead.split_off(length);
        let body = std::mem::replace(&mut self.ahead, after);
        Ok(Message { head, body })
    }

    /// It does not keep to the protocol: it is ended.
    pub fn protocol(&mut self, phase: &str, what: &str) -> PluginError {
        let error = self.blame(phase, Status::Internal, "PLUGIN_PROTOCOL", what);
        self.kill();
        error
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How long a call may take, and what stops it.
pub struct Until<'a> {
    deadline: Option<Instant>,
    /// Until when it must have got on, and whether it has: of calls that renew their time by signs of life.
    stuck: Option<Instant>,
    has_got_on: Option<&'a Cell<bool>>,
    cancelled: Option<&'a AtomicBool>,
}

/// What is said of signs of life without end.
pub const STUCK: &str = "it gives signs of life and does not get on";

impl<'a> Until<'a> {
    /// A call that begins now.
    pub fn of(limits: &Limits, cancelled: Option<&'a AtomicBool>) -> Self {
        Self {
            deadline: limits.call.map(|limit| Instant::now() + limit),
            stuck: None,
            has_got_on: None,
            cancelled,
        }
    }

    /// A call whose time counts from its last sign of life, as long as it gets on.
    pub fn of_signs(limits: &Limits, cancelled: &'a AtomicBool, has_got_on: &'a Cell<bool>) -> Self {
        Self {
            stuck: limits.progress.map(|limit| Instant::now() + limit),
            has_got_on: Some(has_got_on),
            ..Self::of(limits, Some(cancelled))
        }
    }

    /// Whether it is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// A sign of life came, and was handled.
    pub fn renew(&mut self, limits: &Limits) {
        let Some(has_got_on) = self.has_got_on else {
            return;
        };
        self.deadline = limits.call.map(|limit| Instant::now() + limit);
        if has_got_on.take() {
            self.stuck = limits.progress.map(|limit| Instant::now() + limit);
        }
    }
}
