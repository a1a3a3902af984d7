//! A function of the host that a plugin calls without the context that it was given: nobody knows of which call, but for the
//! thread that it came from.

use clinmill_abi::tables::ArrowArray;
use clinmill_sdk::{PluginError, Status};
use std::cell::Cell;

thread_local! {
    static WAS_NULL: Cell<bool> = const { Cell::new(false) };
}

/// Notes it, and says with which status it failed.
pub fn without_context() -> i32 {
    WAS_NULL.set(true);
    Status::Internal as i32
}

/// As [`without_context`], of what hands over a batch: that is released, whatever is returned.
///
/// # Safety
/// `moved` is null, or an array that is the plugin's to hand over.
pub unsafe fn batch_without_context(moved: *mut ArrowArray) -> i32 {
    // SAFETY: by this function's contract. Nothing here has a destructor: the release may end the thread.
    if let Some(release) = unsafe { moved.as_ref() }.and_then(|array| array.release) {
        // SAFETY: as above.
        unsafe { release(moved) };
    }
    without_context()
}

/// The failure of a slot that was called on this thread and has done so since the last question.
pub fn context_was_null() -> Option<PluginError> {
    let failure = || {
        PluginError::new(
            Status::Internal,
            "ABI_NULL",
            "the context of a function of the host is NULL",
        )
    };
    WAS_NULL.take().then(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_on_its_thread() {
        assert_eq!(without_context(), Status::Internal as i32);
        assert!(std::thread::spawn(|| context_was_null().is_none()).join().unwrap());
        assert_eq!(context_was_null().unwrap().code, "ABI_NULL");
        assert!(context_was_null().is_none());
    }
}
