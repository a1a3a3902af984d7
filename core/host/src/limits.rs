//! What a plugin may use, and the host's table that it is told by.

use crate::{
    native::{
        reaper::{MOST_WAITING, Reaper, Watched},
        told,
        worker::Lost,
    },
    texts::{Known, LONGEST_TEXT},
};
use clinmill_abi::{
    PANICKED,
    tables::{ArrowArray, Host, Panicked, Str},
};
use clinmill_sdk::{PluginError, Status, export::array::Moved};
use serde_json::Value;
use std::{
    ffi::c_void,
    sync::{
        Arc, LazyLock, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What a plugin may use. Memory that it allocates without saying so is not seen: a process plugin's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time for one call into the plugin; one *read* of a source counts from its last sign of life. `None`: calls run on
    /// the caller's thread and are waited for without end.
    pub call: Option<Duration>,
    /// Time in which a *read* that gives signs of life must get on: hand over a record, a rejection or a link, or read of
    /// its input what it had not read. What it has filtered is a sign of life alone.
    pub progress: Option<Duration>,
    /// Rows of one batch that it hands over.
    pub batch_rows: usize,
    /// Bytes that it may have reserved, and that its batches of one call may have.
    pub memory: u64,
    /// Bytes that may follow one message of a process: the host holds them while it looks at them.
    pub message: u64,
    /// Whether its texts are shown in phases that see rows: where the rows are nobody's, as in a check of the plugin.
    pub shows_texts: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call: Some(Duration::from_secs(60)),
            progress: Some(Duration::from_secs(600)),
            batch_rows: 1 << 20,
            memory: 2 << 30,
            message: 256 << 20,
            shows_texts: false,
        }
    }
}

/// One loaded plugin as the host sees it: its limits, what it has reserved, whether it can still be called.
pub struct Account {
    /// What it may use.
    pub limits: Limits,
    /// The plugin's name.
    name: OnceLock<String>,
    /// The address of its table to tell of panics, once it was asked for.
    panicked: OnceLock<usize>,
    reserved: AtomicI64,
    lent: AtomicU64,
    released: AtomicU64,
    released_twice: AtomicU64,
    poisoned: AtomicBool,
    /// What was lost in the release of a run or an instance, before anything was asked of it again.
    not_released: Mutex<Option<PluginError>>,
    /// Releases what it hands over.
    pub(crate) reaper: Arc<Reaper>,
    /// What it has said of rows.
    pub(crate) known: Known,
}

impl Account {
    /// A new one. It lives as long as the process: plugins are never unloaded.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            name: OnceLock::new(),
            panicked: OnceLock::new(),
            reserved: AtomicI64::new(0),
            lent: AtomicU64::new(0),
            released: AtomicU64::new(0),
            released_twice: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
            not_released: Mutex::default(),
            reaper: Arc::default(),
            known: Known::new(&limits),
        })
    }

    /// Whose it is.
    pub(crate) fn named(&self, name: &str) {
        let _ = self.name.set(name.to_owned());
    }

    /// Grants or refuses memory.
    pub fn reserve(&self, delta: i64) -> bool {
        let most = i64::try_from(self.limits.memory).unwrap_or(i64::MAX);
        let grant = |now: i64| Some(now.saturating_add(delta).max(0)).filter(|next| delta <= 0 || *next <= most);
        self.reserved
            .try_update(Ordering::AcqRel, Ordering::Acquire, grant)
            .is_ok()
    }

    /// Bytes that it says it holds.
    pub fn reserved(&self) -> u64 {
        u64::try_from(self.reserved.load(Ordering::Acquire)).unwrap_or(0)
    }

    /// It can no longer be called: one of its calls was lost.
    pub fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    /// Whether a call of it was lost.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    pub(crate) fn not_released(&self, error: &PluginError) {
        let mut kept = self.not_released.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert_with(|| error.clone());
    }

    /// What was lost in a release, where that was not told yet: who takes it tells it.
    pub(crate) fn take_not_released(&self) -> Option<PluginError> {
        let kept = self
            .not_released
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        let mut all = UNRELEASED.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|error| error != &kept);
        Some(kept)
    }

    /// Batches that it was lent, those that it has released, and releases of what it had released before.
    pub fn releases(&self) -> (u64, u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Acquire);
        (of(&self.lent), of(&self.released), of(&self.released_twice))
    }

    /// An array that it handed over: where calls have a limit of time, so has its release.
    ///
    /// # Safety
    /// As [`Moved::take`].
    pub(crate) unsafe fn moved(&self, array: *mut ArrowArray) -> Result<Moved, PluginError> {
        // SAFETY: by this function's contract.
        let moved = unsafe { Moved::take(array) }?;
        Ok(match self.limits.call {
            Some(_) => moved.released_by(Arc::new(Watched(self.reaper.clone()))),
            None => moved,
        })
    }

    /// Waits while too many of its arrays wait for their release.
    pub(crate) fn is_settled(&self) -> Result<(), Lost> {
        match self.limits.call {
            Some(limit) => self.reaper.settle(MOST_WAITING, limit),
            None => Ok(()),
        }
    }

    pub(crate) fn count_lent(&self) {
        self.lent.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn count_release(&self) {
        self.released.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn count_double_release(&self) {
        self.released_twice.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn double_releases(&self) -> u64 {
        self.released_twice.load(Ordering::Acquire)
    }

    /// The host's table for this plugin. It is never freed.
    pub(crate) fn table(self: &Arc<Self>) -> *const Host {
        let table = Host {
            struct_size: size_of::<Host>() as u32,
            abi_minor: clinmill_abi::ABI_MINOR,
            ctx: Arc::into_raw(self.clone()).cast_mut().cast(),
            mem_reserve: Some(mem_reserve),
            get_extension: Some(get_extension),
        };
        Box::leak(Box::new(table))
    }
}

/// Set when the command was told to stop, for calls that belong to no task: the release of what is dropped at its end.
pub fn interrupted() -> &'static Arc<AtomicBool> {
    static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
    &INTERRUPTED
}

static UNRELEASED: Mutex<Vec<PluginError>> = Mutex::new(Vec::new());

pub(crate) fn unreleased(error: PluginError) {
    let mut all = UNRELEASED.lock().unwrap_or_else(PoisonError::into_inner);
    // The same of every run of a step is said once.
    if !all.contains(&error) {
        all.push(error);
    }
}

/// What went wrong since the last question when plugins released what was dropped: nobody else was told.
pub fn take_unreleased() -> Vec<PluginError> {
    std::mem::take(&mut UNRELEASED.lock().unwrap_or_else(PoisonError::into_inner))
}

unsafe extern "C-unwind" fn mem_reserve(ctx: *mut c_void, delta: i64) -> i32 {
    // SAFETY: the context is an account that is never freed.
    match unsafe { ctx.cast::<Account>().as_ref() } {
        Some(account) if account.reserve(delta) => 0,
        _ => 1,
    }
}

unsafe extern "C-unwind" fn get_extension(ctx: *mut c_void, name: Str) -> *const c_void {
    // SAFETY: the context is an account that is never freed; the name is as the header says.
    let (account, name) = unsafe { (ctx.cast::<Account>().as_ref(), told(name, 64)) };
    match account {
        Some(account) if name.as_deref() == Some(PANICKED) => {
            let make = || {
                let table = Panicked {
                    struct_size: size_of::<Panicked>() as u32,
                    reserved: 0,
                    ctx,
                    panicked: Some(panicked),
                };
                &raw const *Box::leak(Box::new(table)) as usize
            };
            *account.panicked.get_or_init(make) as *const c_void
        }
        _ => std::ptr::null(),
    }
}

/// Keeps what a plugin tells of a panic in a slot that returns no error.
unsafe extern "C-unwind" fn panicked(ctx: *mut c_void, what: Str) {
    // SAFETY: as above.
    let (account, what) = unsafe { (ctx.cast::<Account>().as_ref(), told(what, LONGEST_TEXT)) };
    if let Some(account) = account {
        let name = account.name.get().map_or("", String::as_str);
        let error = PluginError::new(Status::Panic, "PANIC", what.unwrap_or_default());
        unreleased(account.known.shown(&Value::Null, name, "release", error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_granted_up_to_the_limit() {
        let account = Account::new(Limits {
            memory: 100,
            ..Limits::default()
        });
        assert!(account.reserve(60) && !account.reserve(41) && account.reserve(40));
        assert!(account.reserve(-1000), "giving back is always allowed");
        assert_eq!(account.reserved(), 0);
        assert!(!account.reserve(i64::MAX));
    }
}
