//! Releases of the arrays that a plugin handed over. Their columns are used without a copy and dropped wherever the last of
//! them goes, on threads that may not be lost; so the releases are called here, one after the other on a thread of their
//! own, and whoever calls the plugin next looks how they go.

use super::worker::{GRACE, Lost, Worker};
use crate::{calls, limits::interrupted};
use clinmill_abi::tables::ArrowArray;
use clinmill_sdk::export::array::Releases;
use std::{
    collections::VecDeque,
    ffi::c_void,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

/// How many arrays may wait while the plugin is called.
pub const MOST_WAITING: usize = 64;
/// So many wake the thread, or one of so many rows, whose memory the next batch can use; fewer it finds when it looks.
const WAKES: usize = 16;
const LARGE: i64 = 4096;
/// How often the thread looks, and how long it stays without work.
const LOOKS: Duration = Duration::from_millis(5);
const STAYS: Duration = Duration::from_millis(500);

/// An array whose release is to be called.
struct Waiting(ArrowArray);

// SAFETY: the specification lets any thread release an array.
unsafe impl Send for Waiting {}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Since when the thread is in a release.
    since: Option<Instant>,
    thread: Option<Worker>,
    /// The thread takes what waits.
    serves: bool,
    /// Somebody waits for the thread.
    is_awaited: bool,
    lost: Option<Lost>,
}

/// The releases of one plugin.
#[derive(Default)]
pub struct Reaper {
    state: Mutex<State>,
    changed: Condvar,
    plugin: OnceLock<String>,
}

impl Reaper {
    /// Says whose releases it calls.
    pub fn of(&self, plugin: &str) {
        self.plugin.get_or_init(|| plugin.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no more than `most` arrays wait for their release.
    ///
    /// # Errors
    /// When one took longer than `limit`, or ended its thread: then, and from then on, none is released any more.
    pub fn settle(&self, most: usize, limit: Duration) -> Result<(), Lost> {
        let mut state = self.lock();
        loop {
            if let Some(how) = state.lost {
                return Err(how);
            }
            let is_told = interrupted().load(Ordering::Relaxed);
            let how = match &state.thread {
                Some(thread) if state.since.is_some() && thread.has_died() => Some(Lost::Thread),
                _ if is_told && state.since.is_some_and(|since| since.elapsed() > GRACE) => Some(Lost::Cancelled),
                _ if state.since.is_some_and(|since| since.elapsed() > limit) => Some(Lost::Time),
                _ => None,
            };
            if let Some(how) = how {
                state.lost = Some(how);
                // What waits keeps its memory.
                std::mem::take(&mut state.waiting)
                    .into_iter()
                    .for_each(std::mem::forget);
                return Err(how);
            }
            if state.waiting.len() + usize::from(state.since.is_some()) <= most {
                state.is_awaited = false;
                return Ok(());
            }
            state.is_awaited = true;
            self.changed.notify_all();
            let wait = self.changed.wait_timeout(state, LOOKS);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next array, on the heap; null when there was none for long enough, and the thread may go.
    fn next(&self) -> *mut ArrowArray {
        let began = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(Waiting(array)) = state.waiting.pop_front() {
                state.since = Some(Instant::now());
                return Box::into_raw(Box::new(array));
            }
            if began.elapsed() > STAYS || state.lost.is_some() {
                state.serves = false;
                return std::ptr::null_mut();
            }
            let wait = self.changed.wait_timeout(state, LOOKS);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// # Safety
    /// The array came from [`next`](Self::next), and was released.
    unsafe fn done(&self, array: *mut ArrowArray) {
        // SAFETY: by this function's contract.
        drop(unsafe { Box::from_raw(array) });
        let mut state = self.lock();
        state.since = None;
        if state.is_awaited {
            self.changed.notify_all();
        }
    }
}

impl Reaper {
    /// Starts the thread, where it does not run.
    fn start(self: &Arc<Self>, state: &mut State) {
        if std::mem::replace(&mut state.serves, true) {
            return;
        }
        match Worker::spawn() {
            Ok(mut thread) => {
                let given = Arc::into_raw(self.clone()).cast_mut().cast();
                // SAFETY: `serve` takes a reference to a reaper.
                unsafe { thread.begin(serve, given) };
                state.thread = Some(thread);
            }
            Err(how) => state.lost = Some(how),
        }
    }
}

/// What an array is released by.
pub struct Watched(pub Arc<Reaper>);

impl Releases for Watched {
    fn take(&self, array: ArrowArray) {
        let mut state = self.0.lock();
        if state.lost.is_some() {
            // No code of the plugin is called any more: the array keeps its memory.
            return;
        }
        let is_large = array.length >= LARGE;
        state.waiting.push_back(Waiting(array));
        self.0.start(&mut state);
        if is_large || state.waiting.len() >= WAKES {
            self.0.changed.notify_all();
        }
    }
}

/// Nothing here has a destructor while a release runs: one that ends the thread unwinds through it.
unsafe extern "C-unwind" fn serve(reaper: *mut c_void) -> i32 {
    let reaper = reaper.cast::<Reaper>();
    // SAFETY: the reference that `start` gave away is held until the loop ends.
    unsafe {
        loop {
            let array = (*reaper).next();
            if array.is_null() {
                break;
            }
            let call = calls::make((*reaper).plugin.get().map_or("", String::as_str), "release");
            if let Some(release) = (*array).release {
                release(array);
            }
            calls::leave(call, 0);
            (*reaper).done(array);
        }
        drop(Arc::from_raw(reaper));
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static RELEASED: AtomicUsize = AtomicUsize::new(0);

    unsafe extern "C-unwind" fn count(_: *mut ArrowArray) {
        RELEASED.fetch_add(1, Ordering::SeqCst);
    }

    unsafe extern "C-unwind" fn endless(_: *mut ArrowArray) {
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }

    fn array(release: unsafe extern "C-unwind" fn(*mut ArrowArray)) -> ArrowArray {
        ArrowArray {
            release: Some(release),
            ..ArrowArray::EMPTY
        }
    }

    #[test]
    fn each_is_released_once_and_one_that_does_not_come_back_is_lost() {
        let limit = Duration::from_millis(100);
        let reaper = Arc::new(Reaper::default());
        let watched = Watched(reaper.clone());
        for _ in 0..100 {
            watched.take(array(count));
        }
        assert_eq!(reaper.settle(0, limit), Ok(()));
        // After its thread has gone for want of work, another one comes.
        std::thread::sleep(STAYS + 10 * LOOKS);
        watched.take(array(count));
        assert_eq!(reaper.settle(0, limit), Ok(()));
        assert_eq!(RELEASED.load(Ordering::SeqCst), 101);
        watched.take(array(endless));
        watched.take(array(count));
        assert_eq!(reaper.settle(0, limit), Err(Lost::Time));
        watched.take(array(count));
        assert_eq!(reaper.settle(MOST_WAITING, limit), Err(Lost::Time));
        assert_eq!(RELEASED.load(Ordering::SeqCst), 101, "nothing is released after that");
    }
}
