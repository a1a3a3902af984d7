//! An instance of a component, released once and watched.

use super::{Frame, Native};
use clinmill_abi::tables::Instance;
use std::{ffi::c_void, sync::Arc};

/// An instance of a component.
pub struct Bound {
    pub native: Arc<Native>,
    pub instance: *mut Instance,
}

// SAFETY: the header says that an instance is immutable and used from several threads at once.
unsafe impl Send for Bound {}
// SAFETY: as above.
unsafe impl Sync for Bound {}

impl Drop for Bound {
    fn drop(&mut self) {
        type Slot = unsafe extern "C-unwind" fn(*mut Instance);
        unsafe extern "C-unwind" fn run(frame: *mut c_void) -> i32 {
            // SAFETY: called with the frame below.
            unsafe {
                let frame = frame.cast::<Frame<(Slot, *mut Instance)>>();
                ((*frame).args.0)((*frame).args.1);
            }
            0
        }
        if let Some(slot) = self.native.lifecycle.release {
            // What cannot be released any more is left where it is.
            // SAFETY: once, and no call of it is under way.
            let released = unsafe {
                self.native
                    .call_of_task("release", Frame::new((slot, self.instance)), run)
            };
            self.native.unreleased(released.map(drop));
        }
    }
}
