//! The wall around every slot: panics are caught, also those of formatting and dropping an error; handles that one passed
//! through are poisoned; what is said about it holds no value.

use super::abi::{Buf, Error, StatusCode, Str};
use crate::{PluginError, Status};
use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes panics inside slots silent: their texts may hold values of rows. The place is kept for the error.
pub fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !INSIDE.try_with(Cell::get).unwrap_or(false) {
                return before(info);
            }
            let place = info.location().map(|at| format!("{}:{}", short(at.file()), at.line()));
            let _ = PLACE.try_with(|kept| kept.try_borrow_mut().map(|mut kept| *kept = place));
        }));
    });
}

/// The end of a source path, which may begin with a folder of one machine.
fn short(file: &str) -> &str {
    let start = file.rmatch_indices('/').nth(2).map_or(0, |(at, _)| at + 1);
    file.get(start..).unwrap_or(file)
}

/// Runs the body of a slot and says how it ended.
///
/// # Safety
/// `error` is null, or points to an error that the caller initialised as the header says.
pub unsafe fn slot(error: *mut Error, body: impl FnOnce() -> Result<(), PluginError>) -> StatusCode {
    let outer = INSIDE.try_with(|inside| inside.replace(true)).unwrap_or(false);
    let status = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(failure)) => {
            let status = failure.status as StatusCode;
            // SAFETY: by this function's contract.
            let filled = catch_unwind(AssertUnwindSafe(|| unsafe { fill(error, failure) }));
            filled.map_or(Status::Panic as StatusCode, |()| status)
        }
        Err(payload) => {
            let failure = PluginError::new(Status::Panic, "PANIC", what_panicked(payload));
            // SAFETY: by this function's contract.
            let _ = catch_unwind(AssertUnwindSafe(|| unsafe { fill(error, failure) }));
            Status::Panic as StatusCode
        }
    };
    let _ = INSIDE.try_with(|inside| inside.set(outer));
    status
}

/// Runs what has no error to return; the host is told of a panic.
pub fn quiet(body: impl FnOnce()) {
    if let Err(payload) = silent(body) {
        super::component::panicked(&what_panicked(payload));
    }
}

/// Runs what may panic; nothing is printed of it.
///
/// # Errors
/// What it panicked with.
pub(crate) fn silent<T>(body: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    hush();
    let outer = INSIDE.try_with(|inside| inside.replace(true)).unwrap_or(false);
    let outcome = catch_unwind(AssertUnwindSafe(body));
    let _ = INSIDE.try_with(|inside| inside.set(outer));
    outcome
}

/// What there is to say of a panic: where it was.
fn what_panicked(payload: Box<dyn Any + Send>) -> String {
    drop_quietly(payload);
    match PLACE.try_with(|kept| kept.take()).ok().flatten() {
        Some(place) => format!("the plugin panicked at {place}"),
        None => "the plugin panicked".to_owned(),
    }
}

/// A payload whose drop panics is left where it is.
fn drop_quietly(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}

struct Texts {
    code: String,
    message: String,
    pointer: Option<String>,
}

unsafe fn fill(error: *mut Error, failure: PluginError) {
    // SAFETY: by the callers' contract; a caller with a smaller struct gets the status alone.
    if error.is_null() || unsafe { (*error).struct_size } < size_of::<Error>() as u32 {
        return;
    }
    let texts = Box::new(Texts {
        code: failure.code,
        message: failure.message,
        pointer: failure.pointer,
    });
    // SAFETY: as above.
    let error = unsafe { &mut *error };
    error.retry = failure.retry as i32;
    error.has_offset = u32::from(failure.offset.is_some());
    error.offset = failure.offset.unwrap_or(0);
    error.code = Str::of(&texts.code);
    error.message = Str::of(&texts.message);
    error.config_pointer = texts.pointer.as_deref().map_or(Str::NONE, present);
    error.private_data = Box::into_raw(texts).cast();
    error.release = Some(release_error);
}

/// A text that is there, even if it is empty.
pub fn present(text: &str) -> Str {
    Str::of(text)
}

unsafe extern "C-unwind" fn release_error(error: *mut Error) {
    // SAFETY: the caller passes an error of `fill`, once.
    unsafe {
        let texts = Box::from_raw((*error).private_data.cast::<Texts>());
        (*error).release = None;
        (*error).private_data = std::ptr::null_mut();
        quiet(move || drop(texts));
    }
}

/// Hands bytes over.
///
/// # Safety
/// `out` points to an empty buffer.
pub unsafe fn give(out: *mut Buf, bytes: Vec<u8>) -> Result<(), PluginError> {
    if out.is_null() {
        return Err(null("a buffer"));
    }
    let mut bytes = Box::new(bytes);
    // SAFETY: by this function's contract.
    unsafe {
        (*out).ptr = bytes.as_mut_ptr();
        (*out).len = bytes.len();
        (*out).private_data = Box::into_raw(bytes).cast();
        (*out).release = Some(release_buf);
    }
    Ok(())
}

unsafe extern "C-unwind" fn release_buf(buf: *mut Buf) {
    // SAFETY: the caller passes a buffer of `give`, once.
    unsafe {
        drop(Box::from_raw((*buf).private_data.cast::<Vec<u8>>()));
        *buf = Buf::EMPTY;
    }
}

/// The error of a NULL where the header allows none.
pub fn null(what: &str) -> PluginError {
    PluginError::new(Status::InvalidState, "ABI_NULL", format!("{what} is NULL"))
}

/// A borrowed text.
///
/// # Safety
/// `text` is as the header says, and lives as long as it is used.
pub unsafe fn text<'a>(text: Str) -> Result<&'a str, PluginError> {
    // SAFETY: by this function's contract.
    Ok(unsafe { maybe_text(text) }?.unwrap_or_default())
}

/// A borrowed text that may be absent.
///
/// # Safety
/// As [`text`].
pub unsafe fn maybe_text<'a>(text: Str) -> Result<Option<&'a str>, PluginError> {
    match (text.ptr.is_null(), text.len) {
        (true, 0) => Ok(None),
        (true, _) => Err(null("a text")),
        (false, len) => {
            // SAFETY: by the callers' contract.
            let bytes = unsafe { std::slice::from_raw_parts(text.ptr.cast::<u8>(), len) };
            let text = std::str::from_utf8(bytes)
                .map_err(|_| PluginError::new(Status::InvalidState, "ABI_UTF8", "a text is not UTF-8"))?;
            Ok(Some(text))
        }
    }
}

/// What a handle leads to.
pub struct Handle<T> {
    poisoned: AtomicBool,
    value: T,
}

impl<T> Handle<T> {
    /// Puts a value behind a handle.
    pub fn give<H>(value: T) -> *mut H {
        Box::into_raw(Box::new(Self {
            poisoned: AtomicBool::new(false),
            value,
        }))
        .cast()
    }

    /// Changes a value before its handle is given away.
    ///
    /// # Safety
    /// `handle` came from [`Handle::give`] of the same type, and nobody else has it.
    pub unsafe fn prepare<H>(handle: *mut H, change: impl FnOnce(&mut T)) {
        // SAFETY: by this function's contract.
        if let Some(handle) = unsafe { handle.cast::<Self>().as_mut() } {
            change(&mut handle.value);
        }
    }

    /// Takes the value behind a handle back and drops it.
    ///
    /// # Safety
    /// `handle` came from [`Handle::give`] of the same type and is not used again.
    pub unsafe fn release<H>(handle: *mut H) {
        if !handle.is_null() {
            // SAFETY: by this function's contract.
            quiet(|| drop(unsafe { Box::from_raw(handle.cast::<Self>()) }));
        }
    }
}

/// Runs the body of a slot on what a handle leads to. A panic poisons it: each later call is refused.
///
/// # Safety
/// `handle` came from [`Handle::give`] of this type; `error` as [`slot`].
pub unsafe fn with<T, H>(
    handle: *const H,
    error: *mut Error,
    body: impl FnOnce(&T) -> Result<(), PluginError>,
) -> StatusCode {
    // SAFETY: by this function's contract.
    let Some(handle) = (unsafe { handle.cast::<Handle<T>>().as_ref() }) else {
        // SAFETY: as above.
        return unsafe { slot(error, || Err(null("a handle"))) };
    };
    let refuse = || {
        PluginError::new(
            Status::InvalidState,
            crate::error::POISONED,
            "the plugin panicked before",
        )
    };
    // SAFETY: as above.
    let status = unsafe {
        slot(error, || match handle.poisoned.load(Ordering::Acquire) {
            true => Err(refuse()),
            false => body(&handle.value),
        })
    };
    if status == Status::Panic as StatusCode {
        handle.poisoned.store(true, Ordering::Release);
    }
    status
}

/// As [`with`], for a handle that is used by one call at a time.
///
/// # Safety
/// As [`with`], and no other call of the handle is under way.
pub unsafe fn with_mut<T, H>(
    handle: *mut H,
    error: *mut Error,
    body: impl FnOnce(&mut T) -> Result<(), PluginError>,
) -> StatusCode {
    // SAFETY: by this function's contract.
    let Some(handle) = (unsafe { handle.cast::<Handle<T>>().as_mut() }) else {
        // SAFETY: as above.
        return unsafe { slot(error, || Err(null("a handle"))) };
    };
    let poisoned = *handle.poisoned.get_mut();
    let value = &mut handle.value;
    let refuse = || {
        PluginError::new(
            Status::InvalidState,
            crate::error::POISONED,
            "the plugin panicked before",
        )
    };
    // SAFETY: as above.
    let status = unsafe { slot(error, || if poisoned { Err(refuse()) } else { body(value) }) };
    if status == Status::Panic as StatusCode {
        *handle.poisoned.get_mut() = true;
    }
    status
}
