//! The child process: started with nothing of ours, limited, and ended as a group.
//!
//! A message is one line of JSON; its key `bytes` says how many bytes follow the line. Both ways.

use crate::limits::Limits;
use clinmill_sdk::{PluginError, Status};
use serde_json::{Map, Value};
use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
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

/// What the child wrote to its standard error: how much, never what.
#[derive(Default)]
struct Said {
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
                        let _ = give.send(command.spawn());
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

impl Running {
    /// Starts the program. It gets no environment, the folder `/`, three pipes, and limits of memory.
    pub fn start(name: &str, command: &[PathBuf], limits: Limits) -> Result<Self, PluginError> {
        let failed = |what: &str| {
            let message = format!("the plugin {name:?} in start: {what}");
            PluginError::new(Status::NotFound, "PLUGIN_START", message)
        };
        let (program, arguments) = command.split_first().ok_or_else(|| failed("no program is named"))?;
        let memory = limits.memory;
        // SAFETY: a plain call.
        let host = unsafe { libc::getpid() };
        let mut command = Command::new(program);
        command
            .args(arguments)
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
        let mut child = spawn(command).map_err(|_| failed("the program cannot be started"))?;
        let (Some(stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("it has no pipes"));
        };
        for fd in [stdin.as_raw_fd(), stdout.as_raw_fd()] {
            // SAFETY: plain calls on descriptors that are open.
            unsafe { libc::fcntl(fd, libc::F_SETFL, libc::fcntl(fd, libc::F_GETFL) | libc::O_NONBLOCK) };
        }
        let said = Arc::new(Said::default());
        let counted = said.clone();
        std::thread::spawn(move || {
            let mut buf = [0; 8192];
            while let Ok(n) = stderr.read(&mut buf) {
                if n == 0 {
                    break;
                }
                let lines = buf[..n].iter().filter(|b| **b == b'\n').count();
                counted.bytes.fetch_add(n as u64, Ordering::Relaxed);
                counted.lines.fetch_add(lines as u64, Ordering::Relaxed);
            }
            counted.is_closed.store(true, Ordering::Release);
        });
        Ok(Self {
            name: name.to_owned(),
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
        PluginError::new(status, code, message)
    }

    /// Ends it and everything that it started.
    pub fn kill(&mut self) {
        self.end();
    }

    fn end(&mut self) -> Option<ExitStatus> {
        if std::mem::replace(&mut self.is_over, true) {
            return None;
        }
        if let Ok(group) = i32::try_from(self.child.id()) {
            // SAFETY: a plain call: the group is the child's own, which was not waited for.
            unsafe { libc::killpg(group, libc::SIGKILL) };
        }
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
            return Err(self.blame(phase, Status::Timeout, "PLUGIN_TIMEOUT", "it did not answer in time"));
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

    /// Sends a message.
    pub fn send(&mut self, phase: &str, mut head: Value, body: &[u8], until: &Until<'_>) -> Result<(), PluginError> {
        if let Value::Object(head) = &mut head
            && !body.is_empty()
        {
            head.insert("bytes".into(), body.len().into());
        }
        let mut bytes = head.to_string().into_bytes();
        bytes.push(b'\n');
        bytes.extend_from_slice(body);
        let mut rest = bytes.as_slice();
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

    fn fill(&mut self, phase: &str, until: &Until<'_>) -> Result<(), PluginError> {
        let mut buf = vec![0; 64 << 10];
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
            self.fill(phase, until)?;
        };
        let line: Vec<u8> = self.ahead.drain(..=end).collect();
        let Ok(Value::Object(head)) = serde_json::from_slice(&line) else {
            return Err(self.protocol(phase, "a message is no JSON object"));
        };
        let length = match head.get("bytes") {
            None => 0,
            Some(n) => n.as_u64().unwrap_or(u64::MAX),
        };
        if length > self.limits.memory {
            return Err(self.protocol(phase, "a message is larger than the memory it may use"));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        while self.ahead.len() < length {
            self.fill(phase, until)?;
        }
        let body = self.ahead.drain(..length).collect();
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
    cancelled: Option<&'a AtomicBool>,
    renews: bool,
}

impl<'a> Until<'a> {
    /// A call that begins now.
    pub fn of(limits: &Limits, cancelled: Option<&'a AtomicBool>) -> Self {
        Self {
            deadline: limits.call.map(|limit| Instant::now() + limit),
            cancelled,
            renews: false,
        }
    }

    /// A call whose time counts from its last sign of life.
    pub fn of_signs(limits: &Limits, cancelled: &'a AtomicBool) -> Self {
        Self {
            renews: true,
            ..Self::of(limits, Some(cancelled))
        }
    }

    /// Whether it is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// A sign of life came, and was handled.
    pub fn renew(&mut self, limits: &Limits) {
        if self.renews {
            *self = Self {
                renews: true,
                ..Self::of(limits, self.cancelled)
            };
        }
    }
}
