//! A source behind a C table.
//!
//! A *read* always runs on a thread of its own. What it asks the host for (bytes of the input, taking records) is done on
//! the caller's thread, which waits for it: the input and the sink are the caller's and need not outlive a lost call.

use super::{
    Bound, Frame, Native, blame_for, copied,
    worker::{Bell, Worker},
};
use clinmill_abi::tables::{
    ArrowArray, ArrowSchema, Capture, Error, Input as InputTable, Instance, Link, Locator as LocatorIn, Record,
    Records, Rejection as RejectionIn, SourceVt, Split as SplitIn, Splits, Str, Task,
};
use clinmill_sdk::{
    BindContext, BoundSource, Descriptor, Finding, Fold, IdentityLink, Input, Locator, PluginError, RecordBatchOf,
    RecordKey, RecordKind, RecordMeta, RecordSink, Rejection, SourcePlugin, Split, Status, SubjectId, TaskContext,
    arrow::{
        array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions},
        datatypes::{DataType, Field, FieldRef, UInt8Type, UInt32Type, UInt64Type},
    },
    export::{
        array::{self, Moved, Trust},
        schema as schemas,
    },
};
use serde_json::Value;
use std::{
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// A source plugin that was loaded.
pub struct NativeSource(pub Arc<Native>);

impl SourcePlugin for NativeSource {
    fn descriptor(&self) -> Descriptor {
        self.0.descriptor()
    }
    fn check(&self, options: &Value) -> Vec<Finding> {
        self.0.check(options)
    }
    fn bind(&self, options: &Value, context: &BindContext) -> Result<Arc<dyn BoundSource>, PluginError> {
        let vt: &'static SourceVt = self.0.vt(size_of::<SourceVt>())?;
        if vt.n_records.is_none() || vt.record.is_none() || vt.read.is_none() {
            return Err(self.0.blame(
                "bind",
                Status::Internal,
                "ABI_NULL",
                "a slot that must be there is NULL",
            ));
        }
        let bound = self.0.instance(options, None, context)?;
        let kinds = kinds(&bound, vt)?;
        let fields = kinds.iter().map(with_meta).collect();
        Ok(Arc::new(Source {
            bound,
            vt,
            kinds,
            fields,
        }))
    }
}

/// How many kinds of records a source may have, and key columns a kind.
const MOST: usize = 4096;

fn kinds(bound: &Bound, vt: &'static SourceVt) -> Result<Vec<RecordKind>, PluginError> {
    struct Args {
        vt: &'static SourceVt,
        instance: *const Instance,
        index: u32,
        count: u32,
        out: Record,
    }
    unsafe extern "C-unwind" fn run(frame: *mut c_void) -> i32 {
        // SAFETY: called with the frame below.
        unsafe {
            let frame = frame.cast::<Frame<Args>>();
            let args = &raw mut (*frame).args;
            if let Some(count) = (*args).vt.n_records {
                (*args).count = count((*args).instance);
            }
            match (*args).vt.record {
                Some(record) if (*args).index < (*args).count => record(
                    (*args).instance,
                    (*args).index,
                    &raw mut (*args).out,
                    &raw mut (*frame).error,
                ),
                _ => 0,
            }
        }
    }
    let native = &bound.native;
    let say = |code: &str, what: &str| native.blame("bind", Status::Internal, code, what);
    let mut kinds = Vec::new();
    for index in 0.. {
        let args = Args {
            vt,
            instance: bound.instance,
            index,
            count: 0,
            out: Record {
                struct_size: size_of::<Record>() as u32,
                key: 0,
                fold: 0,
                subject: 0,
                name: Str::NONE,
                key_columns: std::ptr::null(),
                n_key_columns: 0,
                schema: ArrowSchema::EMPTY,
            },
        };
        // SAFETY: the frame is what `run` takes.
        let mut frame = unsafe { native.call("bind", Frame::new(args), run) }?;
        let (count, out) = (frame.args.count, &mut frame.args.out);
        if count as usize > MOST || count == 0 {
            return Err(say("ABI_RECORDS", "it has no kinds of records, or too many"));
        }
        if index >= count {
            break;
        }
        let schema = std::mem::replace(&mut out.schema, ArrowSchema::EMPTY);
        // SAFETY: the plugin filled it.
        let schema = unsafe { schemas::take(schema) }.map_err(|e| blame_for(&native.plugin, "bind", e))?;
        if out.n_key_columns > MOST || (out.n_key_columns > 0 && out.key_columns.is_null()) {
            return Err(say("ABI_NULL", "the key columns of a record are NULL"));
        }
        let key = match clinmill_abi::Key::from_code(out.key as i32) {
            Some(clinmill_abi::Key::Content) => RecordKey::Content,
            Some(clinmill_abi::Key::Columns) => RecordKey::Columns(
                (0..out.n_key_columns)
                    // SAFETY: there are so many, and they live as long as the instance.
                    .map(|i| unsafe { copied(*out.key_columns.add(i), 4096) }.unwrap_or_default())
                    .collect(),
            ),
            None => return Err(say("ABI_RECORDS", "a record has a key of no known kind")),
        };
        if let RecordKey::Columns(columns) = &key
            && columns.iter().any(|column| schema.index_of(column).is_err())
        {
            return Err(say("ABI_RECORDS", "a record has a key column that it does not have"));
        }
        let fold = match clinmill_abi::Fold::from_code(out.fold as i32) {
            Some(clinmill_abi::Fold::Replace) => Fold::Replace,
            Some(clinmill_abi::Fold::Patch) => Fold::Patch,
            None => return Err(say("ABI_RECORDS", "a record folds in no known way")),
        };
        kinds.push(RecordKind {
            // SAFETY: it lives as long as the instance.
            name: unsafe { copied(out.name, 4096) }.unwrap_or_default(),
            schema: Arc::new(schema),
            key,
            fold,
            subject: out.subject != 0,
        });
    }
    Ok(kinds)
}

/// The columns of a kind, and the nine that the host must know.
fn with_meta(kind: &RecordKind) -> Vec<FieldRef> {
    let meta = [
        ("issuer", DataType::Utf8, false),
        ("subject", DataType::Utf8, !kind.subject),
        ("version", DataType::Utf8, true),
        ("void", DataType::UInt8, false),
        ("offset", DataType::UInt64, false),
        ("length", DataType::UInt64, false),
        ("row", DataType::UInt64, false),
        ("part", DataType::UInt32, false),
        ("cell", DataType::UInt32, true),
    ];
    let meta = meta.map(|(name, t, nullable)| Arc::new(Field::new(name, t, nullable)));
    kind.schema.fields().iter().cloned().chain(meta).collect()
}

struct Source {
    bound: Bound,
    vt: &'static SourceVt,
    kinds: Vec<RecordKind>,
    fields: Vec<Vec<FieldRef>>,
}

/// What a call of a source points to. Never freed once the call is lost.
struct Args {
    vt: &'static SourceVt,
    instance: *const Instance,
    name: String,
    captures: Vec<(String, String)>,
    capture_table: Vec<Capture>,
    input: InputTable,
    split: SplitIn,
    stop: AtomicBool,
    task: Task,
    records: Records,
    splits: Splits,
    error: Error,
    desk: Desk,
}

/// Where the plugin's thread asks, and the caller's answers.
struct Desk {
    kinds: Vec<(Vec<FieldRef>, RecordKind)>,
    batch_rows: usize,
    /// Held for one question at a time.
    turn: Mutex<()>,
    state: Mutex<State>,
    answered: Condvar,
    bell: Mutex<Option<Bell>>,
}

#[derive(Default)]
struct State {
    closed: bool,
    question: Option<Question>,
    answer: Option<Result<Vec<u8>, PluginError>>,
    failure: Option<PluginError>,
    /// The block of the input that was read last.
    block: (u64, Vec<u8>),
}

enum Question {
    Read(u64, usize),
    Rows(Box<RecordBatchOf>),
    Reject(Rejection),
    Link(IdentityLink),
    Filtered(String, u64),
    Progress(u64),
    Split(Split),
}

/// The least that is read of an input at once.
const BLOCK: usize = 64 << 10;
/// The most.
const LARGEST: usize = 4 << 20;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bad(code: &str, what: &str) -> PluginError {
    PluginError::new(Status::Internal, code, what)
}

impl Desk {
    fn ask(&self, question: Question) -> Result<Vec<u8>, PluginError> {
        let _turn = lock(&self.turn);
        let mut state = lock(&self.state);
        if state.closed {
            return Err(PluginError::cancelled());
        }
        state.answer = None;
        state.question = Some(question);
        drop(state);
        if let Some(bell) = lock(&self.bell).clone() {
            bell.ring();
        }
        let mut state = lock(&self.state);
        loop {
            if let Some(answer) = state.answer.take() {
                return answer;
            }
            if state.closed {
                return Err(PluginError::cancelled());
            }
            state = self.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Answers what was asked. Returns whether something was.
    fn serve(&self, input: &dyn Input, out: &mut Out<'_>, cancelled: bool) -> bool {
        let question = lock(&self.state).question.take();
        let Some(question) = question else {
            return false;
        };
        let answer = match (cancelled, question) {
            (true, _) => Err(PluginError::cancelled()),
            (_, Question::Read(offset, len)) => {
                let mut bytes = vec![0; len];
                let read = input.read_at(offset, &mut bytes).map_err(PluginError::from);
                read.map(|n| {
                    bytes.truncate(n);
                    bytes
                })
            }
            (_, question) => out.put(question).map(|()| Vec::new()),
        };
        lock(&self.state).answer = Some(answer);
        self.answered.notify_all();
        true
    }

    fn close(&self) {
        lock(&self.state).closed = true;
        self.answered.notify_all();
    }

    /// Reads through the block that was read last.
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, PluginError> {
        let from = |state: &State, buf: &mut [u8]| {
            let (start, block) = &state.block;
            let skip = usize::try_from(offset.checked_sub(*start)?).ok()?;
            let rest = block.get(skip..).filter(|rest| !rest.is_empty())?;
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            Some(n)
        };
        if buf.is_empty() {
            return Ok(0);
        }
        if let Some(n) = from(&lock(&self.state), buf) {
            return Ok(n);
        }
        let block = self.ask(Question::Read(offset, buf.len().clamp(BLOCK, LARGEST)))?;
        let mut state = lock(&self.state);
        state.block = (offset, block);
        Ok(from(&state, buf).unwrap_or(0))
    }

    /// # Safety
    /// As the header says of `rows`.
    unsafe fn rows(&self, kind: u32, moved: *mut ArrowArray, schema: *const ArrowSchema) -> Result<(), PluginError> {
        // SAFETY: by this function's contract.
        let moved = unsafe { Moved::take(moved) }?;
        let Some((fields, of)) = self.kinds.get(kind as usize) else {
            return Err(bad("ABI_KIND", "a batch of a kind that it does not have"));
        };
        let rows = usize::try_from(moved.rows()).unwrap_or(usize::MAX);
        if rows > self.batch_rows {
            return Err(bad("ABI_TOO_LARGE", "a batch has more rows than a batch may have"));
        }
        if !schema.is_null() {
            // SAFETY: by this function's contract.
            let said = unsafe { schemas::read(schema) }?;
            if said.fields() != of.schema.fields() {
                return Err(bad("ABI_SCHEMA", "a batch has another schema than the one it promised"));
            }
        }
        let mut columns = array::import_columns(moved, fields, Trust::Plugin, None)?;
        let meta = columns.split_off(of.schema.fields().len());
        let batch = RecordBatchOf {
            kind: kind as usize,
            rows: RecordBatch::try_new_with_options(
                of.schema.clone(),
                columns,
                &RecordBatchOptions::new().with_row_count(Some(rows)),
            )
            .map_err(|_| bad("ABI_SCHEMA", "a batch does not fit its schema"))?,
            meta: of_meta(&meta)?,
        };
        self.ask(Question::Rows(Box::new(batch))).map(drop)
    }

    /// Runs a slot's body; a failure is kept as the reason.
    fn slot(&self, body: impl FnOnce() -> Result<(), PluginError>) -> i32 {
        let failure = match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(())) => return 0,
            Ok(Err(failure)) => failure,
            Err(_) => bad("ABI_HOST", "the host could not take a record"),
        };
        let status = failure.status as i32;
        lock(&self.state).failure.get_or_insert(failure);
        status
    }
}

fn of_meta(meta: &[ArrayRef]) -> Result<RecordMeta, PluginError> {
    let [issuer, subject, version, void, offset, length, row, part, cell] = meta else {
        return Err(bad(
            "ABI_SCHEMA",
            "a batch has another number of columns than its schema",
        ));
    };
    let void = void.as_primitive::<UInt8Type>().clone();
    if void.values().iter().any(|void| *void > 1) {
        return Err(bad("ABI_VOID", "a record is neither void nor not"));
    }
    Ok(RecordMeta {
        issuer: issuer.as_string::<i32>().clone(),
        subject: subject.as_string::<i32>().clone(),
        version: version.as_string::<i32>().clone(),
        void,
        offset: offset.as_primitive::<UInt64Type>().clone(),
        length: length.as_primitive::<UInt64Type>().clone(),
        row: row.as_primitive::<UInt64Type>().clone(),
        part: part.as_primitive::<UInt32Type>().clone(),
        cell: cell.as_primitive::<UInt32Type>().clone(),
    })
}

/// Where the caller puts what the plugin pushes.
struct Out<'a> {
    sink: Option<&'a mut dyn RecordSink>,
    splits: Vec<Split>,
    bytes: u64,
    size: u64,
}

impl Out<'_> {
    fn put(&mut self, question: Question) -> Result<(), PluginError> {
        if let Question::Split(split) = question {
            if split.start > split.end || split.end > self.size || self.splits.len() >= 1 << 20 {
                return Err(bad("ABI_SPLIT", "a split is not within the input"));
            }
            self.splits.push(split);
            return Ok(());
        }
        let Some(sink) = &mut self.sink else {
            return Err(bad("ABI_STATE", "it pushes records while it makes splits"));
        };
        match question {
            Question::Rows(batch) => sink.rows(*batch),
            Question::Reject(rejection) => sink.reject(rejection),
            Question::Link(link) => sink.link(link),
            Question::Filtered(rule, count) => {
                sink.filtered(&rule, count);
                Ok(())
            }
            Question::Progress(bytes) => {
                // More than there is would only spoil the display.
                let bytes = bytes.min(self.size.saturating_sub(self.bytes));
                self.bytes += bytes;
                sink.progress(bytes);
                Ok(())
            }
            Question::Read(..) | Question::Split(_) => Ok(()),
        }
    }
}

unsafe extern "C-unwind" fn call_read(args: *mut c_void) -> i32 {
    // SAFETY: called with the arguments of a read.
    unsafe {
        let args = args.cast::<Args>();
        match (*args).vt.read {
            Some(read) => read(
                (*args).instance,
                &raw const (*args).input,
                &raw const (*args).split,
                &raw const (*args).task,
                &raw const (*args).records,
                &raw mut (*args).error,
            ),
            None => Status::Unsupported as i32,
        }
    }
}

unsafe extern "C-unwind" fn call_splits(args: *mut c_void) -> i32 {
    // SAFETY: as above.
    unsafe {
        let args = args.cast::<Args>();
        match (*args).vt.splits {
            Some(splits) => splits(
                (*args).instance,
                &raw const (*args).input,
                &raw const (*args).splits,
                &raw mut (*args).error,
            ),
            None => Status::Unsupported as i32,
        }
    }
}

impl Source {
    fn args(&self, input: &dyn Input, split: Split, batch_rows: usize) -> Box<Args> {
        let limits = self.bound.native.account.limits;
        let mut args = Box::new(Args {
            vt: self.vt,
            instance: self.bound.instance,
            name: input.name().to_owned(),
            captures: input.captures().iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            capture_table: Vec::new(),
            input: InputTable {
                struct_size: size_of::<InputTable>() as u32,
                n_captures: 0,
                ctx: std::ptr::null_mut(),
                name: Str::NONE,
                captures: std::ptr::null(),
                size: input.size(),
                read_at: Some(read_at),
            },
            split: SplitIn {
                start: split.start,
                end: split.end,
            },
            stop: AtomicBool::new(false),
            task: Task {
                struct_size: size_of::<Task>() as u32,
                target_batch_rows: u32::try_from(batch_rows.max(1)).unwrap_or(u32::MAX),
                cancelled: std::ptr::null(),
            },
            records: Records {
                struct_size: size_of::<Records>() as u32,
                reserved: 0,
                ctx: std::ptr::null_mut(),
                rows: Some(rows),
                reject: Some(reject),
                link: Some(link),
                filtered: Some(filtered),
                progress: Some(progress),
            },
            splits: Splits {
                ctx: std::ptr::null_mut(),
                add: Some(add_split),
            },
            error: Error::EMPTY,
            desk: Desk {
                kinds: self.fields.iter().cloned().zip(self.kinds.iter().cloned()).collect(),
                batch_rows: limits.batch_rows,
                turn: Mutex::new(()),
                state: Mutex::new(State::default()),
                answered: Condvar::new(),
                bell: Mutex::new(None),
            },
        });
        let table = args.captures.iter().map(|(name, value)| Capture {
            name: Str::of(name),
            value: Str::of(value),
        });
        args.capture_table = table.collect();
        args.input.captures = args.capture_table.as_ptr();
        args.input.n_captures = u32::try_from(args.capture_table.len()).unwrap_or(u32::MAX);
        args.input.name = Str::of(&args.name);
        args.task.cancelled = args.stop.as_ptr().cast::<u8>();
        let desk: *mut c_void = (&raw const args.desk).cast_mut().cast();
        args.input.ctx = desk;
        args.records.ctx = desk;
        args.splits.ctx = desk;
        args
    }

    fn run(
        &self,
        phase: &str,
        run: super::Trampoline,
        mut args: Box<Args>,
        input: &dyn Input,
        cancelled: Option<&AtomicBool>,
        out: &mut Out<'_>,
    ) -> Result<(), PluginError> {
        let native = &self.bound.native;
        native.refuse_poisoned(phase)?;
        let mut worker = Worker::spawn().map_err(|how| native.lost(phase, how))?;
        *lock(&args.desk.bell) = Some(worker.bell());
        let is_cancelled = || cancelled.is_some_and(|flag| flag.load(Ordering::Relaxed));
        args.stop.store(is_cancelled(), Ordering::Relaxed);
        let argument: *mut c_void = (&raw mut *args).cast();
        let (desk, stop) = (&raw const args.desk, &raw const args.stop);
        let tick = || {
            let cancelled = is_cancelled();
            // SAFETY: the arguments live while the call lasts.
            unsafe {
                if cancelled {
                    (*stop).store(true, Ordering::Relaxed);
                }
                (*desk).serve(input, out, cancelled)
            }
        };
        // SAFETY: the arguments are what the trampolines take.
        let status = match unsafe { worker.call(run, argument, native.account.limits.call, tick) } {
            Ok(status) => status,
            Err(how) => {
                args.desk.close();
                std::mem::forget(args);
                return Err(native.lost(phase, how));
            }
        };
        // SAFETY: the call is over.
        let ended = unsafe { native.ended(phase, status, &mut args.error) };
        // What the host refused is the reason, whatever the plugin made of it.
        let failure = lock(&args.desk.state).failure.take();
        match failure {
            Some(failure) if failure.code.starts_with("ABI_") => Err(blame_for(&native.plugin, phase, failure)),
            Some(failure) => Err(failure),
            None => ended,
        }
    }
}

impl BoundSource for Source {
    fn records(&self) -> &[RecordKind] {
        &self.kinds
    }

    fn splits(&self, input: &dyn Input) -> Result<Vec<Split>, PluginError> {
        if self.vt.splits.is_none() {
            return Ok(vec![Split::whole(input)]);
        }
        let mut out = Out {
            sink: None,
            splits: Vec::new(),
            bytes: 0,
            size: input.size(),
        };
        let args = self.args(input, Split::whole(input), 1);
        self.run("splits", call_splits, args, input, None, &mut out)?;
        Ok(out.splits)
    }

    fn read(
        &self,
        input: &dyn Input,
        split: &Split,
        task: &TaskContext<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        let mut out = Out {
            sink: Some(out),
            splits: Vec::new(),
            bytes: 0,
            size: input.size(),
        };
        let args = self.args(input, *split, task.batch_rows);
        self.run("read", call_read, args, input, Some(task.cancelled), &mut out)
    }
}

/// # Safety
/// The context is the desk of a call that is under way, or was lost.
unsafe fn desk<'a>(ctx: *mut c_void) -> &'a Desk {
    // SAFETY: by this function's contract.
    unsafe { &*ctx.cast::<Desk>() }
}

unsafe extern "C-unwind" fn read_at(ctx: *mut c_void, offset: u64, buf: *mut u8, len: usize) -> i64 {
    // SAFETY: the host's own context.
    let desk = unsafe { desk(ctx) };
    let mut read = 0;
    let status = desk.slot(|| {
        if len == 0 {
            return Ok(());
        }
        if buf.is_null() {
            return Err(bad("ABI_NULL", "a place to read into is NULL"));
        }
        // SAFETY: the plugin says that so many bytes may be written there.
        let buf = unsafe { std::slice::from_raw_parts_mut(buf, len.min(LARGEST)) };
        read = desk.read(offset, buf)?;
        Ok(())
    });
    match status {
        0 => i64::try_from(read).unwrap_or(i64::MAX),
        status => -i64::from(status),
    }
}

unsafe extern "C-unwind" fn rows(
    ctx: *mut c_void,
    kind: u32,
    moved: *mut ArrowArray,
    schema: *const ArrowSchema,
) -> i32 {
    // SAFETY: the host's own context; the rest by the header's contract. So below.
    let desk = unsafe { desk(ctx) };
    // SAFETY: as above.
    desk.slot(|| unsafe { desk.rows(kind, moved, schema) })
}

fn locator(at: &LocatorIn) -> Locator {
    Locator {
        offset: at.offset,
        length: at.length,
        row: at.row,
        part: at.part,
        cell: (at.cell > 0).then_some(at.cell),
    }
}

unsafe extern "C-unwind" fn reject(ctx: *mut c_void, rejection: *const RejectionIn) -> i32 {
    // SAFETY: as above.
    let desk = unsafe { desk(ctx) };
    desk.slot(|| {
        // SAFETY: as above.
        let Some(said) = (unsafe { rejection.as_ref() }) else {
            return Err(bad("ABI_NULL", "a rejection is NULL"));
        };
        // SAFETY: as above.
        let text = |text: Str| unsafe { copied(text, 4096) }.unwrap_or_default();
        let rejection = Rejection {
            kind: usize::try_from(said.kind).ok().filter(|kind| *kind < desk.kinds.len()),
            code: text(said.code),
            message: text(said.message),
            at: locator(&said.at),
        };
        if rejection.code.is_empty() {
            return Err(bad("ABI_CODE", "it rejects a record without a code"));
        }
        desk.ask(Question::Reject(rejection)).map(drop)
    })
}

unsafe extern "C-unwind" fn link(ctx: *mut c_void, link: *const Link) -> i32 {
    // SAFETY: as above.
    let desk = unsafe { desk(ctx) };
    desk.slot(|| {
        // SAFETY: as above.
        let Some(said) = (unsafe { link.as_ref() }) else {
            return Err(bad("ABI_NULL", "a link is NULL"));
        };
        // SAFETY: as above.
        let text = |text: Str| unsafe { copied(text, 4096) };
        let subject = |issuer: Str, id: Str| SubjectId {
            issuer: text(issuer).unwrap_or_default(),
            id: text(id).unwrap_or_default(),
        };
        let link = IdentityLink {
            survivor: subject(said.survivor_issuer, said.survivor_id),
            retired: subject(said.retired_issuer, said.retired_id),
            version: text(said.version),
            at: locator(&said.at),
        };
        desk.ask(Question::Link(link)).map(drop)
    })
}

unsafe extern "C-unwind" fn filtered(ctx: *mut c_void, rule: Str, count: u64) {
    // SAFETY: as above.
    let desk = unsafe { desk(ctx) };
    desk.slot(|| {
        // SAFETY: as above.
        let rule = unsafe { copied(rule, 256) }.unwrap_or_default();
        desk.ask(Question::Filtered(rule, count)).map(drop)
    });
}

unsafe extern "C-unwind" fn progress(ctx: *mut c_void, bytes: u64) {
    // SAFETY: as above.
    let desk = unsafe { desk(ctx) };
    desk.slot(|| desk.ask(Question::Progress(bytes)).map(drop));
}

unsafe extern "C-unwind" fn add_split(ctx: *mut c_void, split: SplitIn) -> i32 {
    // SAFETY: as above.
    let desk = unsafe { desk(ctx) };
    let split = Split {
        start: split.start,
        end: split.end,
    };
    desk.slot(|| desk.ask(Question::Split(split)).map(drop))
}
