//! A transform behind a C table.

use super::{
    Bound, Frame, Native, blame_for,
    lent::lend,
    worker::{Trampoline, Worker},
};
use crate::limits::Account;
use clinmill_abi::tables::{
    ArrowArray, ArrowSchema, Emit as EmitTable, Error, Instance, Str, Task, TransformVt, Xform,
};
use clinmill_sdk::{
    BindContext, BoundTransform, Descriptor, Emit, Finding, Origin, PluginError, RejectedRow, Status, TaskContext,
    TransformPlugin, TransformRun,
    arrow::{
        array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions},
        datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, UInt32Type, UInt64Type},
    },
    export::{
        abi::{PORT_MAIN, PORT_REJECTED},
        array::{self, Lent, Moved, Trust},
        schema as schemas,
    },
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    ffi::c_void,
    mem::offset_of,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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
    let schema = std::mem::replace(&mut frame.args.out, ArrowSchema::EMPTY);
    // SAFETY: the plugin filled it.
    let schema = unsafe { schemas::take(schema) }.map_err(|e| blame_for(&bound.native.plugin, "bind", e))?;
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
            taken: Taken {
                output: self.output.clone(),
                main: self.main.clone(),
                rejected: rejected(),
                account: native.account.clone(),
                state: Mutex::new(State::default()),
            },
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
            cancel,
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
        ((*args).slots.process)(
            (*args).xform,
            &raw mut (*args).array,
            &raw const (*args).emit,
            &raw mut (*args).error,
        )
    }
}

unsafe extern "C-unwind" fn call_finish(args: *mut c_void) -> i32 {
    // SAFETY: as above.
    unsafe {
        let args = args.cast::<Args>();
        ((*args).slots.finish)((*args).xform, &raw const (*args).emit, &raw mut (*args).error)
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

struct Run<'a> {
    step: &'a Step,
    /// `None` once a call was lost.
    args: Option<Box<Args>>,
    worker: Option<Worker>,
    cancel: Option<unsafe extern "C-unwind" fn(*mut Xform)>,
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
        native.refuse_poisoned(phase)?;
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
        let status = match &mut self.worker {
            // SAFETY: the arguments are what the trampolines take.
            None => Ok(unsafe { run(argument) }),
            Some(worker) => {
                let (stop, xform, cancel) = (&raw const args.stop, args.xform, self.cancel);
                let tick = || {
                    // SAFETY: the arguments live while the call lasts.
                    if cancelled.load(Ordering::Relaxed)
                        && !unsafe { &*stop }.swap(true, Ordering::Relaxed)
                        && let Some(cancel) = cancel
                        && !xform.is_null()
                    {
                        // SAFETY: from another thread while a call lasts, as the header says.
                        unsafe { cancel(xform) };
                    }
                    false
                };
                // SAFETY: as above.
                unsafe { worker.call(run, argument, native.account.limits.call, tick) }
            }
        };
        let status = match status {
            Ok(status) => status,
            Err(how) => {
                if let Some(args) = self.args.take() {
                    args.taken.lock().closed = true;
                    std::mem::forget(args);
                }
                return Err(native.lost(phase, how));
            }
        };
        let Some(args) = self.args.as_deref_mut() else {
            return Ok(());
        };
        // SAFETY: the call is over.
        let ended = unsafe { native.ended(phase, status, &mut args.error) };
        // What the host refused is the reason, whatever the plugin made of it.
        match args.taken.lock().failure.take() {
            Some(failure) => Err(blame_for(&native.plugin, phase, failure)),
            None => ended,
        }
    }

    fn drain(&mut self, phase: &str, out: &mut dyn Emit) -> Result<(), PluginError> {
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
        let native = self.native();
        if native.account.double_releases() > 0 {
            native.account.poison();
            return Err(native.blame(phase, Status::Internal, "ABI_RELEASED", "it released an array twice"));
        }
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
        self.drain("process", out)
    }

    fn finish(&mut self, out: &mut dyn Emit) -> Result<(), PluginError> {
        if let Some(args) = &self.args {
            args.taken.lock().input_rows = None;
        }
        self.call("finish", call_finish)?;
        self.drain("finish", out)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.args.as_ref().is_some_and(|args| !args.xform.is_null()) {
            // What cannot be released any more is left where it is.
            let _ = self.call("release", call_release);
        }
    }
}

/// What a plugin has emitted in the call that is under way.
struct Taken {
    output: SchemaRef,
    main: Vec<FieldRef>,
    rejected: Vec<FieldRef>,
    account: Arc<Account>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// Of the batch in process; `None` in *finish*.
    input_rows: Option<usize>,
    lent: Lent,
    bytes: u64,
    batches: Vec<(RecordBatch, Origin)>,
    rejected: Vec<RejectedRow>,
    counts: BTreeMap<String, u64>,
    failure: Option<PluginError>,
    seen: Vec<(usize, usize)>,
    /// What was seen in this call: kept, so that no other array of it lies in the same place.
    kept: Vec<Arc<Moved>>,
}

impl State {
    fn clear(&mut self) {
        self.lent.clear();
        self.bytes = 0;
        self.seen.clear();
        self.kept.clear();
    }
}

fn rejected() -> Vec<FieldRef> {
    let field = |name: &str, t| Arc::new(Field::new(name, t, false));
    vec![
        field("row", DataType::UInt32),
        field("code", DataType::Utf8),
        field("message", DataType::Utf8),
    ]
}

fn bad(code: &str, what: &str) -> PluginError {
    PluginError::new(Status::Internal, code, what)
}

/// How many names may be counted.
const MOST_COUNTS: usize = 256;

impl Taken {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Safety
    /// As the header says of `emit`.
    unsafe fn take(&self, port: u32, moved: *mut ArrowArray, schema: *const ArrowSchema) -> Result<(), PluginError> {
        let mut state = self.lock();
        // SAFETY: by this function's contract.
        if let Some(array) = unsafe { moved.as_ref() }
            && array.release.is_some()
            && !array.private_data.is_null()
        {
            let identity = (array.private_data as usize, array.buffers as usize);
            if state.seen.contains(&identity) {
                // Its memory is the first one's: it is not released again.
                return Err(bad("ABI_RELEASED", "it handed one array over twice"));
            }
            state.seen.push(identity);
        }
        // SAFETY: by this function's contract.
        let moved = Arc::new(unsafe { Moved::take(moved) }?);
        state.kept.push(moved.clone());
        if state.closed {
            return Err(PluginError::cancelled());
        }
        let rows = usize::try_from(moved.rows()).unwrap_or(usize::MAX);
        if rows > self.account.limits.batch_rows {
            return Err(bad("ABI_TOO_LARGE", "a batch has more rows than a batch may have"));
        }
        match port {
            PORT_MAIN => {
                if !schema.is_null() {
                    // SAFETY: by this function's contract.
                    let said = unsafe { schemas::read(schema) }?;
                    if said.fields() != self.output.fields() {
                        return Err(bad("ABI_SCHEMA", "a batch has another schema than the one it promised"));
                    }
                }
                let columns = self.output.fields().len();
                let with_lineage = moved.columns() == i64::try_from(columns + 1).unwrap_or(-1);
                let fields = if with_lineage {
                    self.main.as_slice()
                } else {
                    self.output.fields()
                };
                let mut arrays = array::import_columns(moved, fields, Trust::Plugin, Some(&state.lent))?;
                let origins = if with_lineage { arrays.pop() } else { None };
                let origin = origin(origins.as_ref(), rows, state.input_rows)?;
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                let batch = RecordBatch::try_new_with_options(self.output.clone(), arrays, &options)
                    .map_err(|_| bad("ABI_SCHEMA", "a batch does not fit its schema"))?;
                state.bytes += batch.get_array_memory_size() as u64;
                if state.bytes > self.account.limits.memory {
                    return Err(bad("ABI_TOO_LARGE", "its batches hold more bytes than it may use"));
                }
                state.batches.push((batch, origin));
            }
            PORT_REJECTED => {
                let columns = array::import_columns(moved, &self.rejected, Trust::Plugin, None)?;
                let (row, code, message) = (
                    columns[0].as_primitive::<UInt32Type>(),
                    columns[1].as_string::<i32>(),
                    columns[2].as_string::<i32>(),
                );
                for index in 0..rows {
                    if row.value(index) as usize >= state.input_rows.unwrap_or(0) {
                        return Err(bad("ABI_ROW", "it rejects a row that is not in the batch"));
                    }
                    if code.value(index).is_empty() {
                        return Err(bad("ABI_CODE", "it rejects a row without a code"));
                    }
                    state.rejected.push(RejectedRow {
                        row: row.value(index),
                        code: code.value(index).to_owned(),
                        message: message.value(index).to_owned(),
                    });
                }
            }
            _ => return Err(bad("ABI_PORT", "it emits to a port that does not exist")),
        }
        Ok(())
    }
}

/// The rows that rows come from, by the column `_in`.
fn origin(lineage: Option<&ArrayRef>, rows: usize, input_rows: Option<usize>) -> Result<Origin, PluginError> {
    let same = match input_rows {
        Some(input) if input != rows => Err(bad(
            "ABI_LINEAGE",
            "a batch has another number of rows than its input, and they do not say where they come from",
        )),
        _ => Ok(Origin::Same),
    };
    let Some(lists) = lineage.map(|column| column.as_list::<i32>()) else {
        return same;
    };
    let values = lists.values().as_primitive::<UInt64Type>();
    let offsets = lists.value_offsets();
    let mut origins = Vec::with_capacity(rows);
    for row in 0..rows {
        let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
        match to - from {
            0 => {}
            1 => match u32::try_from(values.value(from)) {
                Ok(origin) if (origin as usize) < input_rows.unwrap_or(0) => origins.push(origin),
                _ => return Err(bad("ABI_ROW", "a row comes from a row that is not in the batch")),
            },
            _ => {
                return Err(PluginError::new(
                    Status::Unsupported,
                    "ABI_LINEAGE",
                    "a row comes from several rows, which this host does not take yet",
                ));
            }
        }
    }
    match origins.len() {
        0 if rows > 0 => same,
        n if n == rows => Ok(Origin::Rows(origins)),
        _ => Err(bad(
            "ABI_LINEAGE",
            "some rows say where they come from, and others do not",
        )),
    }
}

unsafe extern "C-unwind" fn emit(
    ctx: *mut c_void,
    port: u32,
    moved: *mut ArrowArray,
    schema: *const ArrowSchema,
) -> i32 {
    // SAFETY: the context is a run's, which lives while its calls do.
    let taken = unsafe { &*ctx.cast::<Taken>() };
    // SAFETY: by the header's contract.
    let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { taken.take(port, moved, schema) }));
    let failure = match outcome {
        Ok(Ok(())) => return 0,
        Ok(Err(failure)) => failure,
        Err(_) => bad("ABI_HOST", "the host could not take a batch"),
    };
    let status = failure.status as i32;
    taken.lock().failure.get_or_insert(failure);
    status
}

unsafe extern "C-unwind" fn count(ctx: *mut c_void, name: Str, n: u64) {
    // SAFETY: as `emit`.
    let taken = unsafe { &*ctx.cast::<Taken>() };
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: by the header's contract.
        let name = unsafe { super::copied(name, 256) }.unwrap_or_default();
        let mut state = taken.lock();
        if state.counts.len() < MOST_COUNTS || state.counts.contains_key(&name) {
            let count = state.counts.entry(name).or_default();
            *count = count.saturating_add(n);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinmill_sdk::arrow::array::{ListArray, UInt64Array};
    use clinmill_sdk::arrow::buffer::{OffsetBuffer, ScalarBuffer};

    #[test]
    fn origins_are_read_with_care() {
        let item = Arc::new(Field::new("item", DataType::UInt64, true));
        let lists = |offsets: Vec<i32>, values: Vec<u64>| -> ArrayRef {
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
            Arc::new(ListArray::new(
                item.clone(),
                offsets,
                Arc::new(UInt64Array::from(values)),
                None,
            ))
        };
        assert_eq!(origin(None, 2, Some(2)), Ok(Origin::Same));
        assert_eq!(origin(None, 2, None), Ok(Origin::Same));
        assert_eq!(origin(None, 2, Some(3)).unwrap_err().code, "ABI_LINEAGE");
        assert_eq!(
            origin(Some(&lists(vec![0, 1, 2], vec![1, 0])), 2, Some(2)),
            Ok(Origin::Rows(vec![1, 0]))
        );
        assert_eq!(
            origin(Some(&lists(vec![0, 0, 0], vec![])), 2, Some(2)),
            Ok(Origin::Same)
        );
        assert_eq!(
            origin(Some(&lists(vec![0], vec![])), 0, Some(2)),
            Ok(Origin::Rows(vec![]))
        );
        let code = |lists: &ArrayRef| origin(Some(lists), 2, Some(2)).unwrap_err().code;
        assert_eq!(code(&lists(vec![0, 1, 2], vec![1, 2])), "ABI_ROW");
        assert_eq!(code(&lists(vec![0, 2, 3], vec![0, 1, 1])), "ABI_LINEAGE");
        assert_eq!(code(&lists(vec![0, 1, 1], vec![0])), "ABI_LINEAGE");
    }
}
