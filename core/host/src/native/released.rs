//! What a plugin hands over with a release of its own: read, and released by a call that is watched as any other.
//!
//! Arrays are not: their columns are used without a copy and released wherever the last of them goes.

use super::{
    Caller, LONGEST_JSON, blame_for,
    worker::{Sign, Worker},
};
use crate::{calls::Under, limits::unreleased};
use clinmill_abi::tables::{ArrowSchema, Buf};
use clinmill_sdk::{PluginError, Status, arrow::datatypes::Schema, export::schema as schemas};
use std::ffi::c_void;

impl Caller {
    /// Calls the release that a plugin gave for what it handed over, as any other call: on a watched thread. What is
    /// released lies on the heap, and stays there when the call is lost.
    ///
    /// # Safety
    /// The plugin gave both, and `release` is called here once.
    pub(super) unsafe fn released<T>(
        &self,
        phase: &str,
        of: Box<T>,
        release: Option<unsafe extern "C-unwind" fn(*mut T)>,
    ) -> Result<(), PluginError> {
        struct Args<T> {
            release: unsafe extern "C-unwind" fn(*mut T),
            of: Box<T>,
        }
        unsafe extern "C-unwind" fn run<T>(args: *mut c_void) -> i32 {
            // SAFETY: called with the arguments below.
            unsafe {
                let args = args.cast::<Args<T>>();
                ((*args).release)(&raw mut *(*args).of);
            }
            0
        }
        let Some(release) = release else {
            return Ok(());
        };
        let mut args = Box::new(Args { release, of });
        let argument: *mut c_void = (&raw mut *args).cast();
        let Some(limit) = self.account.limits.call else {
            // SAFETY: by this function's contract.
            unsafe { run::<T>(argument) };
            return Ok(());
        };
        let under = Under::new(&self.plugin, phase);
        let outcome = Worker::spawn().and_then(|mut worker| {
            // SAFETY: as above.
            unsafe { worker.call(run::<T>, argument, Some(limit), Sign::default) }
        });
        outcome.map(drop).map_err(|how| {
            std::mem::forget(args);
            under.lost();
            self.lost(phase, how)
        })
    }

    /// Keeps what there is to say of a release: [`settle`](Self::settle) says it, where it is asked before something is
    /// published, else the end of the command. What was lost before was said.
    pub(super) fn unreleased(&self, released: Result<(), PluginError>) {
        match released {
            Err(error) if error.status == Status::Cancelled => {
                let what = "it did not come back when it was told to stop";
                unreleased(self.blame("release", Status::Timeout, "PLUGIN_TIMEOUT", what));
            }
            Err(error) if error.code != "PLUGIN_POISONED" => {
                self.account.not_released(&error);
                unreleased(error);
            }
            _ => {}
        }
    }

    /// What was lost in the release of a run or an instance: told once.
    ///
    /// # Errors
    /// The one that was lost.
    pub(super) fn all_released(&self) -> Result<(), PluginError> {
        self.account.take_not_released().map_or(Ok(()), Err)
    }

    /// Waits until no more than `most` of the arrays that it handed over wait for their release.
    pub(super) fn settle(&self, most: usize) -> Result<(), PluginError> {
        let Some(limit) = self.account.limits.call else {
            return Ok(());
        };
        let settled = self.account.reaper.settle(most, limit);
        settled.map_err(|how| self.lost("release", how))
    }

    /// What a plugin put into a buffer; the buffer is released.
    ///
    /// # Safety
    /// The buffer was filled by the plugin, or is empty.
    pub(super) unsafe fn bytes_of(&self, phase: &str, buf: &mut Buf) -> Result<Vec<u8>, PluginError> {
        let buf = Box::new(std::mem::replace(buf, Buf::EMPTY));
        let too_long = buf.len > LONGEST_JSON;
        let null = buf.ptr.is_null() && buf.len > 0;
        let bytes = match (buf.ptr.is_null(), too_long) {
            (_, true) | (true, _) => Vec::new(),
            // SAFETY: by this function's contract.
            (false, false) => unsafe { std::slice::from_raw_parts(buf.ptr, buf.len) }.to_vec(),
        };
        let release = buf.release;
        // SAFETY: once, as the header says.
        unsafe { self.released(phase, buf, release) }?;
        match (null, too_long) {
            (true, _) => Err(self.blame(phase, Status::Internal, "ABI_NULL", "a buffer is NULL")),
            (_, true) => Err(self.blame(phase, Status::Internal, "ABI_TOO_LARGE", "a text is too long")),
            _ => Ok(bytes),
        }
    }

    /// A schema that the plugin made; it is released.
    ///
    /// # Safety
    /// The schema was filled by the plugin, or is empty.
    pub(super) unsafe fn schema_of(&self, phase: &str, schema: &mut ArrowSchema) -> Result<Schema, PluginError> {
        let schema = Box::new(std::mem::replace(schema, ArrowSchema::EMPTY));
        // SAFETY: by this function's contract.
        let read = unsafe { schemas::read(&raw const *schema) };
        let release = schema.release;
        // SAFETY: once, as the header says.
        unsafe { self.released(phase, schema, release) }?;
        let read = read.and_then(|schema| schemas::promised(schema.fields()).map(|()| schema));
        read.map_err(|error| blame_for(&self.plugin, phase, error))
    }
}
