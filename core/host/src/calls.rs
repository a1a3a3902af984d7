//! Which calls into plugins are under way, in memory that a process shares with the one that answers for it: so that it can
//! be said of a process that ended in the midst of it which plugin was called, and in which phase.

use crate::texts::said;
use std::{
    cell::Cell,
    ffi::c_int,
    fs::File,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, RawFd},
    sync::{
        OnceLock,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
};

/// How many calls are told at once, and how long the text of each may be.
const CALLS: usize = 256;
const LONGEST: usize = 124;

/// One call: whether it is under way, and of whom.
#[repr(C)]
struct Call {
    is_taken: AtomicU32,
    text: [AtomicU8; LONGEST],
}

/// What both processes see. All of it begins as zeros.
#[repr(C)]
struct Page {
    /// Of the call whose thread got a signal that ends the process: its place and one; [`NOBODY`]: of no call.
    fatal: AtomicU32,
    calls: [Call; CALLS],
}

const NOBODY: u32 = u32::MAX;

impl Page {
    /// The memory behind a file of its size. It stays as long as the process.
    fn of(file: RawFd) -> Option<&'static Self> {
        let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a plain call; the file has this size, and all of a page may be any number.
        unsafe {
            let at = libc::mmap(std::ptr::null_mut(), size_of::<Self>(), access, shared, file, 0);
            (at != libc::MAP_FAILED).then(|| &*at.cast::<Self>())
        }
    }

    fn text(&self, place: usize) -> Option<String> {
        let call = self.calls.get(place)?;
        let bytes = call.text.iter().map(|byte| byte.load(Ordering::Relaxed));
        let bytes: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
        Some(said(&String::from_utf8_lossy(&bytes), LONGEST))
    }

    /// The calls that may have ended the process: the one whose thread did, or all that were under way.
    fn under_way(&self) -> Vec<String> {
        let mut all: Vec<String> = match self.fatal.load(Ordering::Acquire) {
            0 => (0..CALLS)
                .filter(|place| self.calls[*place].is_taken.load(Ordering::Acquire) == 1)
                .filter_map(|place| self.text(place))
                .collect(),
            NOBODY => Vec::new(),
            place => self.text(place as usize - 1).into_iter().collect(),
        };
        all.sort();
        all.dedup();
        all
    }
}

static PAGE: OnceLock<&'static Page> = OnceLock::new();

thread_local! {
    /// The place of the call that this thread is in, and one.
    static CURRENT: Cell<u32> = const { Cell::new(0) };
}

/// The memory that is shared, as the process sees it that waits for the other one.
pub struct Shared {
    page: &'static Page,
    file: File,
}

impl Shared {
    /// New memory.
    ///
    /// # Errors
    /// When the system has none.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a plain call; what was made is owned by nobody else.
        let file = unsafe {
            let fd = libc::memfd_create(c"clinmill-calls".as_ptr(), libc::MFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(fd)
        };
        file.set_len(size_of::<Page>() as u64)?;
        let page = Page::of(file.as_raw_fd()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { page, file })
    }

    /// The descriptor to hand on.
    pub fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// What was under way when the other process ended.
    pub fn under_way(&self) -> Vec<String> {
        self.page.under_way()
    }
}

/// Takes the memory behind the descriptor that was handed on, and tells there what ends this process.
pub fn begin(fd: RawFd) {
    if fd <= libc::STDERR_FILENO {
        return;
    }
    // SAFETY: it was handed on to this process, and nobody else of it has it.
    let file = unsafe { File::from_raw_fd(fd) };
    let fits = file
        .metadata()
        .is_ok_and(|found| found.len() == size_of::<Page>() as u64);
    match Page::of(file.as_raw_fd()).filter(|_| fits) {
        Some(page) if PAGE.set(page).is_ok() => listen(),
        _ => {}
    }
}

/// What ends a process that is broken.
const FATAL: [c_int; 5] = [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// How each was handled before.
static BEFORE: OnceLock<[libc::sigaction; FATAL.len()]> = OnceLock::new();

fn listen() {
    // SAFETY: plain calls on values that live here; the handler does what a handler may.
    unsafe {
        let before: [libc::sigaction; FATAL.len()] = FATAL.map(|signal| {
            let mut before = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut before);
            before
        });
        if BEFORE.set(before).is_err() {
            return;
        }
        let mut handling: libc::sigaction = std::mem::zeroed();
        handling.sa_sigaction = fatal as *const () as usize;
        handling.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut handling.sa_mask);
        for signal in FATAL {
            libc::sigaction(signal, &raw const handling, std::ptr::null_mut());
        }
    }
}

/// Tells whose thread it is, and leaves the rest to what was there before: only atomics, and calls that a handler may make.
unsafe extern "C" fn fatal(signal: c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    if let Some(page) = PAGE.get() {
        let place = match CURRENT.get() {
            0 => NOBODY,
            place => place,
        };
        let _ = page
            .fatal
            .compare_exchange(0, place, Ordering::AcqRel, Ordering::Relaxed);
    }
    let before = BEFORE
        .get()
        .and_then(|all| all.iter().zip(FATAL).find(|(_, known)| *known == signal));
    // SAFETY: plain calls; what was there before handles it.
    unsafe {
        match before {
            Some((before, _)) => libc::sigaction(signal, before, std::ptr::null_mut()),
            None => 0,
        };
        // An instruction that fails fails again; what was sent is sent again.
        if info.is_null() || (*info).si_code <= 0 {
            libc::raise(signal);
        }
    }
}

/// A call of a plugin, from when it is made until it is dropped. On the thread that makes it, and on the one that it is
/// handed to (see [`current`]).
pub struct Under {
    place: u32,
    before: u32,
}

/// This thread makes a call: it is told where there is somebody to tell, and to be [`left`](leave).
pub fn make(plugin: &str, phase: &str) -> u32 {
    let place = PAGE.get().map_or(0, |page| {
        let take = |call: &Call| {
            call.is_taken
                .compare_exchange(0, 2, Ordering::AcqRel, Ordering::Relaxed)
        };
        let Some(place) = page.calls.iter().position(|call| take(call).is_ok()) else {
            return 0;
        };
        let call = &page.calls[place];
        let parts = ["the plugin \"", plugin, "\" in ", phase];
        let bytes = parts.iter().flat_map(|part| part.bytes()).take(LONGEST - 1).chain([0]);
        for (to, byte) in call.text.iter().zip(bytes) {
            to.store(byte, Ordering::Relaxed);
        }
        call.is_taken.store(1, Ordering::Release);
        place as u32 + 1
    });
    CURRENT.set(place);
    place
}

/// It is over, and this thread is again in the one before it.
pub fn leave(place: u32, before: u32) {
    CURRENT.set(before);
    if let Some(page) = PAGE.get()
        && let Some(call) = (place as usize).checked_sub(1).and_then(|at| page.calls.get(at))
    {
        call.is_taken.store(0, Ordering::Release);
    }
}

impl Under {
    /// As [`make`].
    pub fn new(plugin: &str, phase: &str) -> Self {
        let before = CURRENT.get();
        Self {
            place: make(plugin, phase),
            before,
        }
    }

    /// The call was lost: it is under way for ever.
    pub fn lost(self) {
        CURRENT.set(self.before);
        std::mem::forget(self);
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        leave(self.place, self.before);
    }
}

/// The call that this thread is in.
pub fn current() -> u32 {
    CURRENT.get()
}

/// This thread makes a call that another one told of.
pub fn enter(call: u32) {
    CURRENT.set(call);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_told_until_it_is_over() {
        let shared = Shared::new().unwrap();
        let copy = shared.file.try_clone().unwrap();
        begin(std::os::fd::IntoRawFd::into_raw_fd(copy));
        assert!(shared.under_way().is_empty());
        let outer = Under::new("own", "read");
        let inner = Under::new(&"x".repeat(1000), "read");
        assert_eq!(shared.under_way().len(), 2);
        drop(inner);
        assert_eq!(shared.under_way(), ["the plugin \"own\" in read"]);
        let place = current();
        let there = std::thread::spawn(move || {
            enter(place);
            current()
        });
        assert_eq!(there.join().unwrap(), place);
        shared.page.fatal.store(place, Ordering::Release);
        Under::new("other", "open").lost();
        assert_eq!(shared.under_way(), ["the plugin \"own\" in read"]);
        shared.page.fatal.store(NOBODY, Ordering::Release);
        assert!(shared.under_way().is_empty());
        drop(outer);
        shared.page.fatal.store(0, Ordering::Release);
        assert_eq!(shared.under_way(), ["the plugin \"other\" in open"]);
        assert_eq!(current(), 0);
    }
}
