//! How a library begins: the system loads it, and its `init` is called.

use super::{Caller, Frame};
use crate::{guard, limits::Account};
use clinmill_abi::tables::{Error, Host};
use clinmill_sdk::PluginError;
use std::{
    ffi::{CString, c_void},
    sync::Arc,
};

/// Has the system load a library; null when it does not. Its constructors run here, and have the time of a call.
pub(crate) fn open(path: &str, plugin: &str, account: &Arc<Account>) -> Result<*mut c_void, PluginError> {
    struct Args {
        path: CString,
        handle: *mut c_void,
    }
    unsafe extern "C-unwind" fn run(frame: *mut c_void) -> i32 {
        // SAFETY: called with the frame below.
        unsafe {
            let args = &raw mut (*frame.cast::<Frame<Args>>()).args;
            (*args).handle = libc::dlopen((*args).path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        }
        0
    }
    let caller = Caller {
        plugin: plugin.to_owned(),
        account: account.clone(),
        schema: Arc::default(),
    };
    let args = Args {
        path: CString::new(path).unwrap_or_default(),
        handle: std::ptr::null_mut(),
    };
    // SAFETY: the frame is what `run` takes.
    let opened = unsafe { caller.call("load", Frame::new(args), run) };
    guard::library_is_loaded(plugin);
    opened.map(|frame| frame.args.handle)
}

/// Calls the slot `init` of a plugin.
///
/// # Safety
/// The slot is as the header says.
pub(crate) unsafe fn init(
    slot: unsafe extern "C-unwind" fn(*const Host, *mut Error) -> i32,
    plugin: &str,
    account: &Arc<Account>,
) -> Result<(), PluginError> {
    type Slot = unsafe extern "C-unwind" fn(*const Host, *mut Error) -> i32;
    unsafe extern "C-unwind" fn run(frame: *mut c_void) -> i32 {
        // SAFETY: called with the frame below.
        unsafe {
            let frame = frame.cast::<Frame<(Slot, *const Host)>>();
            ((*frame).args.0)((*frame).args.1, &raw mut (*frame).error)
        }
    }
    let caller = Caller {
        plugin: plugin.to_owned(),
        account: account.clone(),
        schema: Arc::default(),
    };
    // SAFETY: the frame is what `run` takes.
    unsafe { caller.call("init", Frame::new((slot as Slot, account.table())), run) }.map(drop)
}
