//! Calls into a plugin on a thread of their own, so that one that does not come back, or ends its thread, is an error and
//! not the end of the host.
//!
//! A thread that does not come back cannot be ended: it is left alone with everything it was given, which is never freed,
//! and the plugin is not called again. While a slot runs, nothing on this thread's stack has a destructor: a plugin that
//! ends the thread (`pthread_exit`) unwinds through it.

use crate::calls;
use std::{
    ffi::c_void,
    ptr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Calls one slot with arguments that lie behind the pointer. Holds nothing that would have to be dropped.
pub type Trampoline = unsafe extern "C-unwind" fn(*mut c_void) -> i32;

/// How a call was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It did not come back in time.
    Time,
    /// It ended its thread.
    Thread,
    /// It gave signs of life and did not get on.
    Stuck,
    /// It did not come back when it was told to stop.
    Cancelled,
    /// There is no thread to run it on.
    Spawn,
}

/// What the caller knows of a call that lasts.
#[derive(Clone, Copy, Default)]
pub struct Sign {
    /// It gave a sign of life: its time starts anew.
    pub alive: bool,
    /// It is to stop: from here on it has [`GRACE`].
    pub cancelled: bool,
    /// Its signs of life lead nowhere.
    pub stuck: bool,
}

/// How long a call that is to stop is waited for.
pub const GRACE: Duration = Duration::from_secs(2);

#[derive(Default)]
struct State {
    /// What to run with which argument, and which call of a plugin it is.
    job: Option<(Trampoline, usize, u32)>,
    status: Option<i32>,
    dead: bool,
    closing: bool,
    rung: bool,
    /// The thread, and the caller, sleep until `changed` is notified.
    thread_sleeps: bool,
    caller_sleeps: bool,
}

/// Where the caller and the thread meet.
#[derive(Default)]
struct Meeting {
    state: Mutex<State>,
    changed: Condvar,
    /// There may be something for the thread, and for the caller: looked at without the lock before going to sleep.
    for_thread: AtomicBool,
    for_caller: AtomicBool,
}

/// Looks for a short while: to sleep and be woken costs more than most calls do. Not with one processor, where who is
/// waited for cannot run meanwhile.
fn look(news: &AtomicBool) {
    static TURNS: OnceLock<u32> = OnceLock::new();
    let turns = *TURNS.get_or_init(|| match std::thread::available_parallelism() {
        Ok(n) if n.get() > 1 => 2_000,
        _ => 0,
    });
    for _ in 0..turns {
        if news.load(Ordering::Acquire) {
            return;
        }
        std::hint::spin_loop();
    }
}

impl Meeting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what both see, and wakes who sleeps.
    fn change(&self, news: &AtomicBool, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        news.store(true, Ordering::Release);
        let sleeps = state.thread_sleeps || state.caller_sleeps;
        drop(state);
        if sleeps {
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<(Trampoline, usize, u32)> {
        look(&self.for_thread);
        let mut state = self.lock();
        self.for_thread.store(false, Ordering::Relaxed);
        loop {
            if let Some(job) = state.job.take() {
                return Some(job);
            }
            if state.closing {
                return None;
            }
            state.thread_sleeps = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.thread_sleeps = false;
        }
    }

    fn done(&self, status: i32) {
        self.change(&self.for_caller, |state| state.status = Some(status));
    }
}

/// Wakes the caller of a [`Worker`] that waits in [`Worker::call`].
#[derive(Clone)]
pub struct Bell(Arc<Meeting>);

impl Bell {
    /// The caller looks at what there is to serve.
    pub fn ring(&self) {
        self.0.change(&self.0.for_caller, |state| state.rung = true);
    }
}

/// A thread that runs one call at a time.
pub struct Worker {
    meeting: Arc<Meeting>,
    lost: bool,
}

/// The key whose destructor says that a thread ended, by whatever way.
fn key() -> Option<libc::pthread_key_t> {
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `key` is a place for one, and the destructor takes what `start` sets.
        (unsafe { libc::pthread_key_create(&raw mut key, Some(ended)) } == 0).then_some(key)
    })
}

unsafe extern "C" fn ended(meeting: *mut c_void) {
    // SAFETY: the pointer is the reference that the thread was given.
    let meeting = unsafe { Arc::from_raw(meeting.cast::<Meeting>()) };
    meeting.change(&meeting.for_caller, |state| state.dead = true);
}

unsafe extern "C-unwind" fn start(meeting: *mut c_void) -> *mut c_void {
    // Where the system lets it: a folder of its own to work in, so that a plugin that changes it does not move ours.
    #[cfg(target_os = "linux")]
    // SAFETY: a plain call, about this thread alone.
    unsafe {
        libc::unshare(libc::CLONE_FS);
    }
    // The reference belongs to the key from here on.
    if let Some(key) = key() {
        // SAFETY: the key was made; the value is freed by its destructor.
        unsafe { libc::pthread_setspecific(key, meeting) };
    }
    // SAFETY: the reference is freed when the thread ends.
    unsafe { serve(meeting.cast()) };
    ptr::null_mut()
}

/// Nothing here has a destructor.
unsafe fn serve(meeting: *const Meeting) {
    // SAFETY: by the caller.
    while let Some((run, argument, call)) = unsafe { (*meeting).next() } {
        calls::enter(call);
        // SAFETY: the caller of `Worker::call` vouches for both.
        let status = unsafe { run(argument as *mut c_void) };
        // SAFETY: as above.
        unsafe { (*meeting).done(status) };
    }
}

impl Worker {
    /// Starts a thread.
    ///
    /// # Errors
    /// [`Lost::Spawn`] when the system has none.
    pub fn spawn() -> Result<Self, Lost> {
        let meeting = Arc::new(Meeting::default());
        if key().is_none() {
            return Err(Lost::Spawn);
        }
        let given = Arc::into_raw(meeting.clone());
        // SAFETY: the calling conventions are the same but for what unwinding may do, and `pthread_exit` may.
        let start = unsafe {
            std::mem::transmute::<
                unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void,
                extern "C" fn(*mut c_void) -> *mut c_void,
            >(start)
        };
        // SAFETY: plain pthread calls on values that live here.
        let made = unsafe {
            let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
            let mut thread: libc::pthread_t = std::mem::zeroed();
            let made = libc::pthread_attr_init(&raw mut attributes) == 0
                && libc::pthread_attr_setdetachstate(&raw mut attributes, libc::PTHREAD_CREATE_DETACHED) == 0
                && libc::pthread_attr_setstacksize(&raw mut attributes, 8 << 20) == 0
                && libc::pthread_create(&raw mut thread, &raw const attributes, start, given.cast_mut().cast()) == 0;
            libc::pthread_attr_destroy(&raw mut attributes);
            made
        };
        if !made {
            // SAFETY: no thread took the reference.
            drop(unsafe { Arc::from_raw(given) });
            return Err(Lost::Spawn);
        }
        Ok(Self { meeting, lost: false })
    }

    /// Wakes the caller while a call lasts.
    pub fn bell(&self) -> Bell {
        Bell(self.meeting.clone())
    }

    /// Whether the thread has ended in the call that was begun.
    pub fn has_died(&self) -> bool {
        self.meeting.lock().dead
    }

    /// Begins a call that [`wait`](Self::wait) waits for.
    ///
    /// # Safety
    /// As [`call`](Self::call).
    pub unsafe fn begin(&mut self, run: Trampoline, argument: *mut c_void) {
        let job = (run, argument as usize, calls::current());
        self.meeting.change(&self.meeting.for_thread, |state| {
            state.status = None;
            state.job = Some(job);
        });
    }

    /// Runs a call and waits for it. `tick` is called about every 10 ms, when the bell rings and at the end.
    ///
    /// # Errors
    /// When the call is lost; then nothing behind `argument` may ever be freed or looked at again.
    ///
    /// # Safety
    /// `run` may be called with `argument` on any thread.
    pub unsafe fn call(
        &mut self,
        run: Trampoline,
        argument: *mut c_void,
        limit: Option<Duration>,
        tick: impl FnMut() -> Sign,
    ) -> Result<i32, Lost> {
        if self.lost {
            return Err(Lost::Thread);
        }
        // SAFETY: by this function's contract.
        unsafe { self.begin(run, argument) };
        self.wait(limit, tick)
    }

    /// Waits for a call that was begun.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn wait(&mut self, limit: Option<Duration>, mut tick: impl FnMut() -> Sign) -> Result<i32, Lost> {
        let mut began = Instant::now();
        let mut told = None;
        loop {
            look(&self.meeting.for_caller);
            let (status, dead) = {
                let mut state = self.meeting.lock();
                self.meeting.for_caller.store(false, Ordering::Relaxed);
                let mut state = match state.status.is_none() && !state.dead && !state.rung {
                    true => {
                        state.caller_sleeps = true;
                        let wait = self.meeting.changed.wait_timeout(state, Duration::from_millis(10));
                        let mut state = wait.unwrap_or_else(PoisonError::into_inner).0;
                        state.caller_sleeps = false;
                        state
                    }
                    false => state,
                };
                state.rung = false;
                (state.status.take(), state.dead)
            };
            let sign = tick();
            if let Some(status) = status {
                return Ok(status);
            }
            if dead {
                self.lost = true;
                return Err(Lost::Thread);
            }
            if sign.alive {
                began = Instant::now();
            }
            if sign.cancelled && told.get_or_insert_with(Instant::now).elapsed() > GRACE {
                self.lost = true;
                return Err(Lost::Cancelled);
            }
            if sign.stuck {
                self.lost = true;
                return Err(Lost::Stuck);
            }
            if limit.is_some_and(|limit| began.elapsed() > limit) {
                self.lost = true;
                return Err(Lost::Time);
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.meeting
            .change(&self.meeting.for_thread, |state| state.closing = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C-unwind" fn add(argument: *mut c_void) -> i32 {
        // SAFETY: the tests pass a number.
        unsafe {
            *argument.cast::<i32>() += 1;
            *argument.cast::<i32>()
        }
    }

    unsafe extern "C-unwind" fn exit(_: *mut c_void) -> i32 {
        unsafe extern "C-unwind" {
            fn pthread_exit(value: *mut c_void) -> !;
        }
        // SAFETY: nothing on this stack is dropped.
        unsafe { pthread_exit(ptr::null_mut()) }
    }

    unsafe extern "C-unwind" fn sleep(_: *mut c_void) -> i32 {
        // SAFETY: a plain call.
        unsafe { libc::usleep(300_000) };
        0
    }

    #[test]
    fn calls_come_back_or_are_lost() {
        let mut n = 41_i32;
        let argument = (&raw mut n).cast();
        let mut worker = Worker::spawn().unwrap();
        // SAFETY: the functions take what they are given.
        unsafe {
            assert_eq!(worker.call(add, argument, None, Sign::default), Ok(42));
            assert_eq!(worker.call(add, argument, None, Sign::default), Ok(43));
            let mut ending = Worker::spawn().unwrap();
            assert_eq!(
                ending.call(exit, ptr::null_mut(), None, Sign::default),
                Err(Lost::Thread)
            );
            assert_eq!(ending.call(add, argument, None, Sign::default), Err(Lost::Thread));
            let mut slow = Worker::spawn().unwrap();
            let limit = Some(Duration::from_millis(30));
            assert_eq!(slow.call(sleep, ptr::null_mut(), limit, Sign::default), Err(Lost::Time));
        }
    }
}
