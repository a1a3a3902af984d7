//! A source behind a C table.
//!
//! A *read* always runs on a thread of its own. What it asks the host for (bytes of the input, taking records) is done on
//! the caller's thread, which waits for it: the input and the sink are the caller's and need not outlive a lost call.

use super::{
    Bound, Frame, Native, blame_for, copied,
    desk::{Desk, Out, add_split, filtered, link, progress, read_at, reject, rows},
    reaper::MOST_WAITING,
    worker::{Sign, Worker},
};
use crate::{
    calls::Under,
    limits::interrupted,
    records::{MOST_KINDS, misnamed, with_meta},
};
use clinmill_abi::tables::{
    ArrowSchema, Capture, Error, Input as InputTable, Instance, Record, Records, SourceVt, Split as SplitIn, Splits,
    Str, Task,
};
use clinmill_sdk::{
    BindContext, BoundSource, Descriptor, Finding, Fold, Input, PluginError, RecordKey, RecordKind, RecordSink,
    SourcePlugin, Split, Status, TaskContext, arrow::datatypes::FieldRef,
};
use serde_json::Value;
use std::{
    ffi::c_void,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
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
        if count as usize > MOST_KINDS || count == 0 {
            return Err(say("ABI_RECORDS", "it has no kinds of records, or too many"));
        }
        if index >= count {
            break;
        }
        // SAFETY: the plugin filled it.
        let schema = unsafe { native.schema_of("bind", &mut out.schema) }?;
        if out.n_key_columns > MOST_KINDS || (out.n_key_columns > 0 && out.key_columns.is_null()) {
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
            subject: match out.subject {
                0 | 1 => out.subject == 1,
                _ => return Err(say("ABI_RECORDS", "a record is neither about a subject nor about none")),
            },
        });
    }
    match misnamed(&kinds) {
        Some(what) => Err(say("ABI_RECORDS", &what)),
        None => Ok(kinds),
    }
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

unsafe extern "C-unwind" fn call_read(args: *mut c_void) -> i32 {
    // SAFETY: called with the arguments of a read.
    unsafe {
        let args = args.cast::<Args>();
        match (*args).vt.read {
            Some(read) => {
                let status = read(
                    (*args).instance,
                    &raw const (*args).input,
                    &raw const (*args).split,
                    &raw const (*args).task,
                    &raw const (*args).records,
                    &raw mut (*args).error,
                );
                (*args).desk.blame_for_context();
                status
            }
            None => Status::Unsupported as i32,
        }
    }
}

unsafe extern "C-unwind" fn call_splits(args: *mut c_void) -> i32 {
    // SAFETY: as above.
    unsafe {
        let args = args.cast::<Args>();
        match (*args).vt.splits {
            Some(splits) => {
                let status = splits(
                    (*args).instance,
                    &raw const (*args).input,
                    &raw const (*args).splits,
                    &raw mut (*args).error,
                );
                (*args).desk.blame_for_context();
                status
            }
            None => Status::Unsupported as i32,
        }
    }
}

impl Source {
    fn args(&self, input: &dyn Input, split: Split, batch_rows: usize) -> Box<Args> {
        let kinds = self.fields.iter().cloned().zip(self.kinds.iter().cloned());
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
            desk: Desk::new(kinds.collect(), &self.bound.native),
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
        cancelled: &AtomicBool,
        out: &mut Out<'_>,
    ) -> Result<(), PluginError> {
        let native = &self.bound.native;
        let is_cancelled = || cancelled.load(Ordering::Relaxed);
        if let Err(error) = native.refuse_poisoned(phase) {
            // Another read of it may have been given up when both were told to stop.
            return Err(match is_cancelled() {
                true => PluginError::cancelled(),
                false => error,
            });
        }
        let mut worker = Worker::spawn().map_err(|how| native.lost(phase, how))?;
        args.desk.hang(worker.bell());
        args.stop.store(is_cancelled(), Ordering::Relaxed);
        let argument: *mut c_void = (&raw mut *args).cast();
        let (desk, stop) = (&raw const args.desk, &raw const args.stop);
        let (progress, mut got_on) = (native.account.limits.progress, Instant::now());
        let tick = || {
            let cancelled = is_cancelled();
            // SAFETY: the arguments live while the call lasts.
            unsafe {
                if cancelled {
                    (*stop).store(true, Ordering::Relaxed);
                }
                let alive = (*desk).serve(input, out, cancelled);
                if out.reading.has_got_on() {
                    got_on = Instant::now();
                }
                Sign {
                    alive,
                    cancelled,
                    stuck: progress.is_some_and(|limit| got_on.elapsed() > limit),
                }
            }
        };
        let under = Under::new(&native.plugin, phase);
        // SAFETY: the arguments are what the trampolines take.
        let status = match unsafe { worker.call(run, argument, native.account.limits.call, tick) } {
            Ok(status) => status,
            Err(how) => {
                args.desk.close();
                std::mem::forget(args);
                under.lost();
                return Err(native.lost(phase, how));
            }
        };
        drop(under);
        // SAFETY: the call is over.
        let ended = unsafe { native.ended(phase, status, &mut args.error) }
            .map_err(|error| native.unless_asked(phase, is_cancelled(), error));
        native.caller.settle(MOST_WAITING)?;
        // What the host refused is the reason, whatever the plugin made of it.
        let failure = args.desk.failure();
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
        let mut out = Out::new(None, input.size(), &self.bound.native.account.limits);
        let args = self.args(input, Split::whole(input), 1);
        // It has no task that could tell it to stop: the host stops waiting for it.
        self.run("splits", call_splits, args, input, interrupted(), &mut out)?;
        Ok(out.splits)
    }

    fn read(
        &self,
        input: &dyn Input,
        split: &Split,
        task: &TaskContext<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        let mut out = Out::new(Some(out), input.size(), &self.bound.native.account.limits);
        let args = self.args(input, *split, task.batch_rows);
        self.run("read", call_read, args, input, task.cancelled, &mut out)
    }

    fn settle(&self) -> Result<(), PluginError> {
        self.bound.native.settle()
    }
}
