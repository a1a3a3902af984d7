//! A sink behind a C table.

use super::{Bound, Frame, Native, lent::lend, worker::Trampoline};
use clinmill_abi::tables::{ArrowArray, Buf, Error, Instance, Run, SinkVt, Str, Task, Writer};
use clinmill_sdk::{
    BindContext, BoundSink, Descriptor, Finding, PluginError, SinkPlugin, SinkRun, SinkWriter, Status, TaskContext,
    arrow::{array::RecordBatch, datatypes::Schema},
    export::array,
};
use serde_json::Value;
use std::{
    ffi::c_void,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A sink plugin that was loaded.
pub struct NativeSink(pub Arc<Native>);

impl SinkPlugin for NativeSink {
    fn descriptor(&self) -> Descriptor {
        self.0.descriptor()
    }
    fn check(&self, options: &Value) -> Vec<Finding> {
        self.0.check(options)
    }
    fn bind(&self, options: &Value, input: &Schema, context: &BindContext) -> Result<Arc<dyn BoundSink>, PluginError> {
        let vt: &'static SinkVt = self.0.vt(size_of::<SinkVt>())?;
        let all = vt.open.is_some()
            && vt.write.is_some()
            && vt.prepare.is_some()
            && vt.commit.is_some()
            && vt.resolve.is_some()
            && vt.abort.is_some()
            && vt.release.is_some();
        if !all {
            return Err(self.0.blame(
                "bind",
                Status::Internal,
                "ABI_NULL",
                "a slot that must be there is NULL",
            ));
        }
        Ok(Arc::new(Sink {
            bound: self.0.instance(options, Some(input), context)?,
            vt,
        }))
    }
}

struct Sink {
    bound: Bound,
    vt: &'static SinkVt,
}

/// What the calls of a sink point to. The task lives as long as the writer does.
struct Args {
    vt: &'static SinkVt,
    instance: *const Instance,
    run_id: String,
    stop: AtomicBool,
    task: Task,
    run: Run,
    tokens: Vec<Vec<u8>>,
    token_table: Vec<Str>,
    writer: *mut Writer,
    array: ArrowArray,
    out: Buf,
    landed: i32,
}

macro_rules! trampolines {
    ($($name:ident($args:ident, $error:ident, $slot:ident) => $call:expr;)*) => {
        $(unsafe extern "C-unwind" fn $name(frame: *mut c_void) -> i32 {
            // SAFETY: called with a frame of a sink's arguments.
            unsafe {
                let frame = frame.cast::<Frame<Args>>();
                let $args = &raw mut (*frame).args;
                let $error: *mut Error = &raw mut (*frame).error;
                match (*$args).vt.$name {
                    Some($slot) => $call,
                    None => Status::Unsupported as i32,
                }
            }
        })*
    };
}

trampolines! {
    open(args, error, slot) => slot((*args).instance, &raw const (*args).run, &raw mut (*args).writer, error);
    write(args, error, slot) => slot((*args).writer, &raw mut (*args).array, error);
    prepare(args, error, slot) => slot((*args).writer, &raw mut (*args).out, error);
    commit(args, error, slot) => slot((*args).instance, &raw const (*args).run, (*args).token_table_ptr(),
        (*args).token_count(), &raw mut (*args).out, error);
    resolve(args, error, slot) => slot((*args).instance, &raw const (*args).run, &raw mut (*args).landed,
        &raw mut (*args).out, error);
    abort(args, error, slot) => slot((*args).instance, &raw const (*args).run, (*args).token_table_ptr(),
        (*args).token_count(), error);
    release(args, _error, slot) => { slot((*args).writer); 0 };
}

impl Args {
    /// Releases a batch that the plugin did not come to taking.
    fn drop_array(&mut self) {
        let mut left = std::mem::replace(&mut self.array, ArrowArray::EMPTY);
        if let Some(release) = left.release {
            // SAFETY: the call is over: what is there was not moved.
            unsafe { release(&raw mut left) };
        }
    }
    fn token_table_ptr(&self) -> *const Str {
        self.token_table.as_ptr()
    }
    fn token_count(&self) -> usize {
        self.token_table.len()
    }
}

impl Sink {
    fn frame(&self, run: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Box<Frame<Args>> {
        let mut frame = Frame::new(Args {
            vt: self.vt,
            instance: self.bound.instance,
            run_id: run.run_id.to_owned(),
            stop: AtomicBool::new(run.task.cancelled.load(Ordering::Relaxed)),
            task: Task {
                struct_size: size_of::<Task>() as u32,
                target_batch_rows: u32::try_from(run.task.batch_rows.max(1)).unwrap_or(u32::MAX),
                cancelled: std::ptr::null(),
            },
            run: Run {
                struct_size: size_of::<Run>() as u32,
                reserved: 0,
                run_id: Str::NONE,
                task: std::ptr::null(),
            },
            tokens: tokens.to_vec(),
            token_table: Vec::new(),
            writer: std::ptr::null_mut(),
            array: ArrowArray::EMPTY,
            out: Buf::EMPTY,
            landed: 0,
        });
        let args = &mut frame.args;
        args.task.cancelled = args.stop.as_ptr().cast::<u8>();
        args.run.run_id = Str::of(&args.run_id);
        args.run.task = &raw const args.task;
        args.token_table = args
            .tokens
            .iter()
            .map(|token| Str {
                ptr: token.as_ptr().cast(),
                len: token.len(),
            })
            .collect();
        frame
    }

    fn call(&self, phase: &str, frame: Box<Frame<Args>>, run: Trampoline) -> Result<Box<Frame<Args>>, PluginError> {
        // SAFETY: the trampolines of this module take these frames.
        unsafe { self.bound.native.call_of_task(phase, frame, run) }
    }

    fn receipt(&self, phase: &str, frame: &mut Frame<Args>) -> Result<Value, PluginError> {
        // SAFETY: the plugin filled it.
        let bytes = unsafe { self.bound.native.bytes_of(phase, &mut frame.args.out) }?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| {
            self.bound
                .native
                .blame(phase, Status::Internal, "ABI_RECEIPT", "its receipt is not JSON")
        })
    }
}

type Probe = unsafe extern "C-unwind" fn(*mut Instance, *const Task, *mut Buf, *mut Error) -> i32;

/// Calls the slot `probe`, which stands in the table of the phases.
unsafe extern "C-unwind" fn probe(frame: *mut c_void) -> i32 {
    // SAFETY: called with the frame below.
    unsafe {
        let frame = frame.cast::<Frame<(Probe, Box<Frame<Args>>)>>();
        let args = &raw mut (*frame).args.1.args;
        ((*frame).args.0)(
            (*args).instance.cast_mut(),
            &raw const (*args).task,
            &raw mut (*args).out,
            &raw mut (*frame).error,
        )
    }
}

impl BoundSink for Sink {
    fn probe(&self, task: &TaskContext<'_>) -> Result<Value, PluginError> {
        let Some(slot) = self.bound.native.lifecycle.probe else {
            return Ok(Value::Null);
        };
        let inner = self.frame(&SinkRun { run_id: "", task }, &[]);
        // SAFETY: the frame is what `probe` takes.
        let mut frame = unsafe {
            self.bound
                .native
                .call_of_task("probe", Frame::new((slot as Probe, inner)), probe)
        }?;
        self.receipt("probe", &mut frame.args.1)
    }

    fn open(&self, run: &SinkRun<'_>) -> Result<Box<dyn SinkWriter + '_>, PluginError> {
        let frame = self.call("open", self.frame(run, &[]), open)?;
        match frame.args.writer.is_null() {
            true => Err(self
                .bound
                .native
                .blame("open", Status::Internal, "ABI_NULL", "the writer is NULL")),
            false => Ok(Box::new(Open {
                sink: self,
                frame: Some(frame),
                failed: false,
            })),
        }
    }

    fn commit(&self, run: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Result<Value, PluginError> {
        // A commit that is lost may have landed.
        self.call("commit", self.frame(run, tokens), commit)
            .and_then(|mut frame| self.receipt("commit", &mut frame))
            .map_err(|error| match error.code.as_str() {
                "PLUGIN_TIMEOUT" | "PLUGIN_THREAD" | "PANIC" => PluginError {
                    status: Status::CommitUnknown,
                    ..error
                },
                _ => error,
            })
    }

    fn resolve(&self, run: &SinkRun<'_>) -> Result<Option<Value>, PluginError> {
        let mut frame = self.call("resolve", self.frame(run, &[]), resolve)?;
        let receipt = self.receipt("resolve", &mut frame)?;
        Ok((frame.args.landed == 1).then_some(receipt))
    }

    fn abort(&self, run: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Result<(), PluginError> {
        self.call("abort", self.frame(run, tokens), abort).map(drop)
    }
}

struct Open<'a> {
    sink: &'a Sink,
    /// `None` once a call was lost.
    frame: Option<Box<Frame<Args>>>,
    /// A failed call of a writer is its last but for its release.
    failed: bool,
}

// SAFETY: one call at a time, on any thread, as the header says of a writer.
unsafe impl Send for Open<'_> {}

impl Open<'_> {
    fn call(&mut self, phase: &str, run: Trampoline) -> Result<(), PluginError> {
        let native = &self.sink.bound.native;
        if self.failed {
            return Err(native.blame(
                phase,
                Status::InvalidState,
                "PLUGIN_POISONED",
                "an earlier call of it failed",
            ));
        }
        // SAFETY: the trampolines of this module take these frames.
        let outcome = unsafe { native.call_keeping(phase, &mut self.frame, run) };
        self.failed = outcome.is_err();
        if let Some(frame) = &mut self.frame {
            frame.args.drop_array();
        }
        outcome
    }
}

impl SinkWriter for Open<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), PluginError> {
        if let Some(frame) = &mut self.frame {
            frame.args.array = lend(array::export_batch(batch), &self.sink.bound.native.account);
        }
        self.call("write", write)
    }

    fn prepare(&mut self) -> Result<Vec<u8>, PluginError> {
        self.call("prepare", prepare)?;
        match &mut self.frame {
            // SAFETY: the plugin filled it.
            Some(frame) => unsafe { self.sink.bound.native.bytes_of("prepare", &mut frame.args.out) },
            None => Ok(Vec::new()),
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.frame.is_some() {
            self.failed = false;
            let released = self.call("release", release);
            self.sink.bound.native.unreleased(released);
        }
    }
}
