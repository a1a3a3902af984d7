//! The C table of a [`Sink`].

use super::{
    abi::{ArrowArray, Bind, Buf, Component, Error, Instance, Run, SinkVt, StatusCode, Str, Task, Writer},
    array::{self, Moved, Trust},
    component::{Probe, Slots, Table, context, task},
    guard::{Handle, give, null, text, with, with_mut},
    schema as schemas,
};
use crate::{Caps, Findings, PluginError, Sink, SinkRun, SinkWriter, TaskContext};
use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
};
use std::{ffi::c_void, marker::PhantomData, sync::Arc};

/// The table of a sink, all of it constant.
pub struct SinkTable<S>(PhantomData<S>);

pub struct Bound<S> {
    sink: S,
    input: SchemaRef,
}

struct Open {
    writer: Box<dyn SinkWriter>,
    input: SchemaRef,
}

impl<S: Sink> Table for SinkTable<S> {
    type Config = S::Config;
    type Instance = Bound<S>;
    const KIND: u32 = super::abi::KIND_SINK;
    const NAME: &'static str = S::NAME;
    const VERSION: &'static str = S::VERSION;
    const SUMMARY: &'static str = S::SUMMARY;
    const CAPS: Caps = S::CAPS;
    const VT: *const c_void = (&raw const *{ &Self::SLOTS }).cast();
    const PROBE: Option<Probe> = Some(Self::probe);

    fn check(config: &S::Config, findings: &mut Findings) {
        S::check(config, findings);
    }

    unsafe fn bind(config: S::Config, bind: &Bind) -> Result<*mut Instance, PluginError> {
        // SAFETY: by the header's contract.
        let (input, context) = unsafe { (Arc::new(schemas::read(bind.input)?), context(bind)?) };
        let sink = S::bind(config, &input, &context)?;
        Ok(Handle::give(Bound { sink, input }))
    }
}

impl<S: Sink> SinkTable<S> {
    const SLOTS: SinkVt = SinkVt {
        struct_size: size_of::<SinkVt>() as u32,
        reserved: 0,
        open: Some(Self::open),
        write: Some(Self::write),
        prepare: Some(Self::prepare),
        commit: Some(Self::commit),
        resolve: Some(Self::resolve),
        abort: Some(Self::abort),
        release: Some(Self::release),
    };
    /// The component.
    pub const COMPONENT: Component = Slots::<Self>::COMPONENT;

    unsafe extern "C-unwind" fn probe(
        instance: *mut Instance,
        of: *const Task,
        report: *mut Buf,
        error: *mut Error,
    ) -> StatusCode {
        // SAFETY: by the header's contract.
        unsafe {
            with::<Bound<S>, _>(instance, error, |bound| {
                let said = bound.sink.probe(&task(of)?)?;
                give(report, said.to_string().into_bytes())
            })
        }
    }

    unsafe extern "C-unwind" fn open(
        instance: *const Instance,
        of: *const Run,
        out: *mut *mut Writer,
        error: *mut Error,
    ) -> StatusCode {
        // SAFETY: by the header's contract: the instance outlives its writers, and the task too.
        unsafe {
            with::<Bound<S>, _>(instance, error, |bound| {
                let (run_id, task) = run(of)?;
                let writer = bound.sink.open(&SinkRun { run_id, task: &task })?;
                let writer = std::mem::transmute::<Box<dyn SinkWriter + '_>, Box<dyn SinkWriter>>(writer);
                *out.as_mut().ok_or_else(|| null("the writer's place"))? = Handle::give(Open {
                    writer,
                    input: bound.input.clone(),
                });
                Ok(())
            })
        }
    }

    unsafe extern "C-unwind" fn write(writer: *mut Writer, moved: *mut ArrowArray, error: *mut Error) -> StatusCode {
        // SAFETY: by the header's contract.
        unsafe {
            with_mut::<Open, _>(writer, error, |open| {
                let moved = Moved::take(moved)?;
                let rows = usize::try_from(moved.rows()).unwrap_or(0);
                let columns = array::import_columns(moved, open.input.fields(), Trust::Host, None)?;
                let rows = RecordBatchOptions::new().with_row_count(Some(rows));
                let batch = RecordBatch::try_new_with_options(open.input.clone(), columns, &rows)?;
                open.writer.write(&batch)
            })
        }
    }

    unsafe extern "C-unwind" fn prepare(writer: *mut Writer, token: *mut Buf, error: *mut Error) -> StatusCode {
        // SAFETY: by the header's contract.
        unsafe { with_mut::<Open, _>(writer, error, |open| give(token, open.writer.prepare()?)) }
    }

    unsafe extern "C-unwind" fn commit(
        instance: *const Instance,
        of: *const Run,
        tokens: *const Str,
        n: usize,
        receipt: *mut Buf,
        error: *mut Error,
    ) -> StatusCode {
        // SAFETY: by the header's contract.
        unsafe {
            with::<Bound<S>, _>(instance, error, |bound| {
                let (run_id, task) = run(of)?;
                let said = bound
                    .sink
                    .commit(&SinkRun { run_id, task: &task }, &self::tokens(tokens, n)?)?;
                give(receipt, said.to_string().into_bytes())
            })
        }
    }

    unsafe extern "C-unwind" fn resolve(
        instance: *const Instance,
        of: *const Run,
        landed: *mut i32,
        receipt: *mut Buf,
        error: *mut Error,
    ) -> StatusCode {
        // SAFETY: by the header's contract.
        unsafe {
            with::<Bound<S>, _>(instance, error, |bound| {
                let (run_id, task) = run(of)?;
                let landed = landed.as_mut().ok_or_else(|| null("the answer's place"))?;
                let said = bound.sink.resolve(&SinkRun { run_id, task: &task })?;
                *landed = i32::from(said.is_some());
                said.map_or(Ok(()), |said| give(receipt, said.to_string().into_bytes()))
            })
        }
    }

    unsafe extern "C-unwind" fn abort(
        instance: *const Instance,
        of: *const Run,
        tokens: *const Str,
        n: usize,
        error: *mut Error,
    ) -> StatusCode {
        // SAFETY: by the header's contract.
        unsafe {
            with::<Bound<S>, _>(instance, error, |bound| {
                let (run_id, task) = run(of)?;
                bound
                    .sink
                    .abort(&SinkRun { run_id, task: &task }, &self::tokens(tokens, n)?)
            })
        }
    }

    unsafe extern "C-unwind" fn release(writer: *mut Writer) {
        // SAFETY: by the header's contract.
        unsafe { Handle::<Open>::release(writer) }
    }
}

unsafe fn run<'a>(run: *const Run) -> Result<(&'a str, TaskContext<'a>), PluginError> {
    // SAFETY: by the header's contract.
    unsafe {
        let run = run.as_ref().ok_or_else(|| null("a run"))?;
        Ok((text(run.run_id)?, task(run.task)?))
    }
}

unsafe fn tokens(tokens: *const Str, n: usize) -> Result<Vec<Vec<u8>>, PluginError> {
    if n > 0 && tokens.is_null() {
        return Err(null("the tokens"));
    }
    let each = (0..n).map(|index| {
        // SAFETY: there are so many.
        let token = unsafe { *tokens.add(index) };
        match (token.ptr.is_null(), token.len) {
            (_, 0) => Ok(Vec::new()),
            (true, _) => Err(null("a token")),
            // SAFETY: there are so many bytes.
            (false, len) => Ok(unsafe { std::slice::from_raw_parts(token.ptr.cast::<u8>(), len) }.to_vec()),
        }
    });
    each.collect()
}
