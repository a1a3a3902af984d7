//! A transform behind a C table.

use super::{
    Bound, Frame, Native, blame_for,
    emitted::{Taken, count, emit},
    lent::lend,
    worker::{GRACE, Lost, Sign, Trampoline, Worker},
};
use crate::{calls::Under, limits::interrupted};
use clinmill_abi::tables::{ArrowArray, ArrowSchema, Emit as EmitTable, Error, Instance, Task, TransformVt, Xform};
use clinmill_sdk::{
    BindContext, BoundTransform, Descriptor, Emit, Finding, PluginError, Status, TaskContext, TransformPlugin,
    TransformRun,
    arrow::{
        array::RecordBatch,
        datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    },
    export::array,
};
use serde_json::Value;
use std::{
    ffi::c_void,
    mem::offset_of,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A transform plugin that was loaded.
pub struct NativeTransform(pub Arc<Native>);

impl TransformPlugin for NativeTransform {
    fn descriptor(&self) -> Descriptor {
        self.0.descriptor()
    }
    fn check(&self, options: &Value) -> Vec<Finding> {
        self.0.check(options)
    }
    fn bind(
        &self,
        options: &Value,
        input: &Schema,
        context: &BindContext,
    ) -> Result<Arc<dyn BoundTransform>, PluginError> {
        // 1.0 ends before `cancel`.
        let vt: &'static TransformVt = self.0.vt(offset_of!(TransformVt, cancel))?;
        let bound = self.0.instance(options, Some(input), context)?;
        let output = output(&bound, vt)?;
        Ok(Arc::new(Step {
            bound,
            vt,
            input: Arc::new(input.clone()),
            main: fields(&output, &lineage()),
            output,
        }))
    }
}

fn output(bound: &Bound, vt: &TransformVt) -> Result<SchemaRef, PluginError> {
    type Slot = unsafe extern "C-unwind" fn(*const Instance, *mut ArrowSchema, *mut Error) -> i32;
    struct Args {
        slot: Slot,
        instance: *const Instance,
        out: ArrowSchema,
    }
    unsafe extern "C-unwind" fn run(frame: *mut c_void) -> i32 {
        // SAFETY: called with the frame below.
        unsafe {
            let frame = frame.cast::<Frame<Args>>();
            let args = &raw mut (*frame).args;
            ((*args).slot)((*args).instance, &raw mut (*args).out, &raw mut (*frame).error)
        }
    }
    let slot = vt.output.ok_or_else(|| missing(&bound.native, "bind"))?;
    let args = Args {
        slot,
        instance: bound.instance,
        out: ArrowSchema::EMPTY,
    };
    // SAFETY: the frame is what `run` takes.
    let mut frame = unsafe { bound.native.call("bind", Frame::new(args), run) }?;
    // SAFETY: the plugin filled it.
    let schema = unsafe { bound.native.schema_of("bind", &mut frame.args.out) }?;
    Ok(Arc::new(schema))
}

fn missing(native: &Native, phase: &str) -> PluginError {
    native.blame(phase, Status::Internal, "ABI_NULL", "a slot that must be there is NULL")
}

/// The column of the rows that a row comes from.
fn lineage() -> FieldRef {
    let item = Arc::new(Field::new("item", DataType::UInt64, true));
    Arc::new(Field::new("_in", DataType::List(item), true))
}

fn fields(schema: &Schema, more: &FieldRef) -> Vec<FieldRef> {
    schema.fields().iter().cloned().chain([more.clone()]).collect()
}

struct Step {
    bound: Bound,
    vt: &'static TransformVt,
    input: SchemaRef,
    output: SchemaRef,
    /// The output's columns and the lineage.
    main: Vec<FieldRef>,
}

impl BoundTransform for Step {
    fn output(&self) -> SchemaRef {
        self.output.clone()
    }

    fn settle(&self) -> Result<(), PluginError> {
        self.bound.native.settle()
    }

    fn open<'a>(&'a self, task: &TaskContext<'a>) -> Result<Box<dyn TransformRun + 'a>, PluginError> {
        let native = &self.bound.native;
        native.refuse_poisoned("open")?;
        let (Some(open), Some(process), Some(finish), Some(release)) =
            (self.vt.open, self.vt.process, self.vt.finish, self.vt.release)
        else {
            return Err(missing(native, "open"));
        };
        let cancel = match self.vt.struct_size as usize >= size_of::<TransformVt>() {
            true => self.vt.cancel,
            false => None,
        };
        let mut args = Box::new(Args {
            slots: Slots {
                open,
                process,
                finish,
                release,
                cancel,
            },
            instance: self.bound.instance,
            xform: std::ptr::null_mut(),
            stop: AtomicBool::new(task.cancelled.load(Ordering::Relaxed)),
            task: Task {
                struct_size: size_of::<Task>() as u32,
                target_batch_rows: u32::try_from(task.batch_rows.max(1)).unwrap_or(u32::MAX),
                cancelled: std::ptr::null(),
            },
            array: ArrowArray::EMPTY,
            emit: EmitTable {
                struct_size: size_of::<EmitTable>() as u32,
                reserved: 0,
                ctx: std::ptr::null_mut(),
                emit: Some(emit),
                count: Some(count),
            },
            error: Error::EMPTY,
            taken: Taken::new(self.output.clone(), self.main.clone(), native),
        });
        args.task.cancelled = args.stop.as_ptr().cast::<u8>();
        args.emit.ctx = (&raw const args.taken).cast_mut().cast();
        let worker = match native.account.limits.call {
            None => None,
            Some(_) => Some(Worker::spawn().map_err(|how| native.lost("open", how))?),
        };
        let mut run = Run {
            step: self,
            args: Some(args),
            worker,
            cancelled: task.cancelled,
        };
        run.call("open", call_open)?;
        match run.args.as_ref().is_some_and(|args| args.xform.is_null()) {
            true => Err(native.blame("open", Status::Internal, "ABI_NULL", "the run is NULL")),
            false => Ok(Box::new(run)),
        }
    }
}

struct Slots {
    open: unsafe extern "C-unwind" fn(*const Instance, *const Task, *mut *mut Xform, *mut Error) -> i32,
    process: unsafe extern "C-unwind" fn(*mut Xform, *mut ArrowArray, *const EmitTable, *mut Error) -> i32,
    finish: unsafe extern "C-unwind" fn(*mut Xform, *const EmitTable, *mut Error) -> i32,
    release: unsafe extern "C-unwind" fn(*mut Xform),
    cancel: Option<unsafe extern "C-unwind" fn(*mut Xform)>,
}

/// Everything that a call of a run points to. It is never freed once a call is lost.
struct Args {
    slots: Slots,
    instance: *const Instance,
    xform: *mut Xform,
    stop: AtomicBool,
    task: Task,
    array: ArrowArray,
    emit: EmitTable,
    error: Error,
    taken: Taken,
}

unsafe extern "C-unwind" fn call_open(args: *mut c_void) -> i32 {
    // SAFETY: called with a run's arguments; so below.
    unsafe {
        let args = args.cast::<Args>();
        ((*args).slots.open)(
            (*args).instance,
            &raw const (*args).task,
            &raw mut (*args).xform,
            &raw mut (*args).error,
        )
    }
}

unsafe extern "C-unwind" fn call_process(args: *mut c_void) -> i32 {
    // SAFETY: as above.
    unsafe {
        let args = args.cast::<Args>();
        let status = ((*args).slots.process)(
            (*args).xform,
            &raw mut (*args).array,
            &raw const (*args).emit,
            &raw mut (*args).error,
        );
        (*args).taken.blame_for_context();
        status
    }
}

unsafe extern "C-unwind" fn call_finish(args: *mut c_void) -> i32 {
    // SAFETY: as above.
    unsafe {
        let args = args.cast::<Args>();
        let status = ((*args).slots.finish)((*args).xform, &raw const (*args).emit, &raw mut (*args).error);
        (*args).taken.blame_for_context();
        status
    }
}

unsafe extern "C-unwind" fn call_release(args: *mut c_void) -> i32 {
    // SAFETY: as above.
    unsafe {
        let args = args.cast::<Args>();
        ((*args).slots.release)((*args).xform);
    }
    0
}

unsafe extern "C-unwind" fn call_cancel(args: *mut c_void) -> i32 {
    // SAFETY: as above, while another call of the run lasts.
    unsafe {
        let args = args.cast::<Args>();
        if let Some(cancel) = (*args).slots.cancel {
            cancel((*args).xform);
        }
    }
    0
}

struct Run<'a> {
    step: &'a Step,
    /// `None` once a call was lost.
    args: Option<Box<Args>>,
    worker: Option<Worker>,
    cancelled: &'a AtomicBool,
}

// SAFETY: one call at a time, on any thread, as the header says of a run.
unsafe impl Send for Run<'_> {}

impl Run<'_> {
    fn native(&self) -> &Arc<Native> {
        &self.step.bound.native
    }

    fn call(&mut self, phase: &str, run: Trampoline) -> Result<(), PluginError> {
        let native = self.step.bound.native.clone();
        if let Err(error) = native.refuse_poisoned(phase) {
            // Another run of it may have been given up when both were told to stop.
            return Err(match self.cancelled.load(Ordering::Relaxed) {
                true => PluginError::cancelled(),
                false => error,
            });
        }
        let Some(args) = self.args.as_deref_mut() else {
            return Err(native.blame(
                phase,
                Status::InvalidState,
                "PLUGIN_POISONED",
                "an earlier call of it was lost",
            ));
        };
        let cancelled = self.cancelled;
        if cancelled.load(Ordering::Relaxed) {
            args.stop.store(true, Ordering::Relaxed);
        }
        let argument: *mut c_void = std::ptr::from_mut(args).cast();
        let under = Under::new(&native.plugin, phase);
        let status = match &mut self.worker {
            // SAFETY: the arguments are what the trampolines take.
            None => Ok(unsafe { run(argument) }),
            Some(worker) => {
                let stop = &raw const args.stop;
                // Not while the run is released: there may be none any more.
                let can_cancel = phase != "release" && !args.xform.is_null() && args.slots.cancel.is_some();
                // Also `cancel` may not come back: it has a thread of its own.
                let mut canceller = None;
                let tick = || {
                    let is_last = phase == "release" && interrupted().load(Ordering::Relaxed);
                    let cancelled = cancelled.load(Ordering::Relaxed) || is_last;
                    // SAFETY: the arguments live while the call lasts.
                    if cancelled && !unsafe { &*stop }.swap(true, Ordering::Relaxed) && can_cancel {
                        canceller = Worker::spawn().ok();
                        if let Some(canceller) = &mut canceller {
                            // SAFETY: from another thread while a call lasts, as the header says.
                            unsafe { canceller.begin(call_cancel, argument) };
                        }
                    }
                    Sign {
                        cancelled,
                        ..Sign::default()
                    }
                };
                // SAFETY: as above.
                let ended = unsafe { worker.call(run, argument, native.account.limits.call, tick) };
                // The run is not released while `cancel` has it; of a lost call nothing is.
                match canceller.filter(|_| ended.is_ok()) {
                    Some(mut canceller) => match canceller.wait(Some(GRACE), Sign::default) {
                        Ok(_) => ended,
                        Err(Lost::Time) => Err(Lost::Cancelled),
                        Err(how) => Err(how),
                    },
                    None => ended,
                }
            }
        };
        let status = match status {
            Ok(status) => status,
            Err(how) => {
                if let Some(args) = self.args.take() {
                    args.taken.lock().closed = true;
                    std::mem::forget(args);
                }
                under.lost();
                return Err(native.lost(phase, how));
            }
        };
        let Some(args) = self.args.as_deref_mut() else {
            return Ok(());
        };
        drop(under);
        // SAFETY: the call is over.
        let ended = unsafe { native.ended(phase, status, &mut args.error) }
            .map_err(|error| native.unless_asked(phase, cancelled.load(Ordering::Relaxed), error));
        // What the host refused is the reason, whatever the plugin made of it.
        match args.taken.lock().failure.take() {
            Some(failure) => Err(blame_for(&native.plugin, phase, failure)),
            None => ended,
        }
    }

    fn drain(&mut self, out: &mut dyn Emit) -> Result<(), PluginError> {
        let Some(args) = self.args.as_deref_mut() else {
            return Ok(());
        };
        let mut state = args.taken.lock();
        let (batches, rejected, counts) = (
            std::mem::take(&mut state.batches),
            std::mem::take(&mut state.rejected),
            std::mem::take(&mut state.counts),
        );
        state.clear();
        drop(state);
        for row in rejected {
            out.reject(row)?;
        }
        for (name, n) in counts {
            out.count(&name, n);
        }
        for (batch, origin) in batches {
            out.rows(batch, origin)?;
        }
        Ok(())
    }
}

impl TransformRun for Run<'_> {
    fn process(&mut self, batch: &RecordBatch, out: &mut dyn Emit) -> Result<(), PluginError> {
        let native = self.native().clone();
        if batch.schema_ref() != &self.step.input && batch.schema_ref().fields() != self.step.input.fields() {
            return Err(native.blame(
                "process",
                Status::InvalidState,
                "SCHEMA",
                "the batch is not what it was bound to",
            ));
        }
        if let Some(args) = self.args.as_deref_mut() {
            let exported = array::export_batch(batch);
            {
                let mut state = args.taken.lock();
                // SAFETY: just exported from these columns.
                unsafe { state.lent.remember(&exported, batch.columns()) };
                state.input_rows = Some(batch.num_rows());
            }
            args.array = lend(exported, &native.account);
        }
        let outcome = self.call("process", call_process);
        if let Some(args) = self.args.as_deref_mut() {
            // A plugin that fails may not have come to taking its input.
            // SAFETY: the call is over: what is there was not moved.
            if let Some(release) = args.array.release.take() {
                unsafe {
                    args.array.release = Some(release);
                    release(&raw mut args.array);
                }
            }
            args.array = ArrowArray::EMPTY;
        }
        outcome?;
        self.drain(out)
    }

    fn finish(&mut self, out: &mut dyn Emit) -> Result<(), PluginError> {
        if let Some(args) = &self.args {
            args.taken.lock().input_rows = None;
        }
        self.call("finish", call_finish)?;
        self.drain(out)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.args.as_ref().is_some_and(|args| !args.xform.is_null()) {
            // What cannot be released any more is left where it is.
            let released = self.call("release", call_release);
            self.native().unreleased(released);
        }
    }
}
