//! The C table of a [`Transform`].

use super::{
    abi::{
        ArrowArray, ArrowSchema, Bind, Component, Emit as EmitTable, Error, Instance, StatusCode, Str, Task,
        TransformVt, Xform,
    },
    array::{self, Moved, Trust},
    component::{Slots, Table, context, stopped, task},
    guard::{Handle, null, with, with_mut},
    schema as schemas,
};
use crate::{Caps, Emit, Findings, Origin, PluginError, RejectedRow, Transform, TransformRun};
use arrow::{
    array::{ArrayRef, ListArray, RecordBatch, RecordBatchOptions, StringArray, UInt32Array, UInt64Array},
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, Field, SchemaRef},
};
use std::{ffi::c_void, marker::PhantomData, sync::Arc};

/// The table of a transform, all of it constant.
pub struct TransformTable<T>(PhantomData<T>);

pub struct Step<T> {
    step: T,
    input: SchemaRef,
    output: SchemaRef,
}

struct Run {
    run: Box<dyn TransformRun>,
    input: SchemaRef,
    output: SchemaRef,
}

impl<T: Transform> Table for TransformTable<T> {
    type Config = T::Config;
    type Instance = Step<T>;
    const KIND: u32 = super::abi::KIND_TRANSFORM;
    const NAME: &'static str = T::NAME;
    const VERSION: &'static str = T::VERSION;
    const SUMMARY: &'static str = T::SUMMARY;
    const CAPS: Caps = T::CAPS;
    const VT: *const c_void = (&raw const *{ &Self::SLOTS }).cast();

    fn check(config: &T::Config, findings: &mut Findings) {
        T::check(config, findings);
    }

    unsafe fn bind(config: T::Config, bind: &Bind) -> Result<*mut Instance, PluginError> {
        // SAFETY: by the header's contract.
        let (input, context) = unsafe { (Arc::new(schemas::read(bind.input)?), context(bind)?) };
        let step = T::bind(config, &input, &context)?;
        let output = step.output();
        Ok(Handle::give(Step { step, input, output }))
    }
}

impl<T: Transform> TransformTable<T> {
    const SLOTS: TransformVt = TransformVt {
        struct_size: size_of::<TransformVt>() as u32,
        reserved: 0,
        output: Some(Self::output),
        open: Some(Self::open),
        process: Some(Self::process),
        finish: Some(Self::finish),
        release: Some(Self::release),
        // The flag of the task says it already.
        cancel: None,
    };
    /// The component.
    pub const COMPONENT: Component = Slots::<Self>::COMPONENT;

    unsafe extern "C-unwind" fn output(
        instance: *const Instance,
        out: *mut ArrowSchema,
        error: *mut Error,
    ) -> StatusCode {
        // SAFETY: by the header's contract.
        unsafe {
            with::<Step<T>, _>(instance, error, |step| {
                let exported = schemas::export(&step.output)?;
                *out.as_mut().ok_or_else(|| null("the schema's place"))? = exported;
                Ok(())
            })
        }
    }

    unsafe extern "C-unwind" fn open(
        instance: *const Instance,
        context: *const Task,
        out: *mut *mut Xform,
        error: *mut Error,
    ) -> StatusCode {
        // SAFETY: by the header's contract: the instance outlives its runs, and the task too.
        unsafe {
            with::<Step<T>, _>(instance, error, |step| {
                let run = step.step.open(&task(context)?)?;
                let run = std::mem::transmute::<Box<dyn TransformRun + '_>, Box<dyn TransformRun>>(run);
                *out.as_mut().ok_or_else(|| null("the run's place"))? = Handle::give(Run {
                    run,
                    input: step.input.clone(),
                    output: step.output.clone(),
                });
                Ok(())
            })
        }
    }

    unsafe extern "C-unwind" fn process(
        xform: *mut Xform,
        moved: *mut ArrowArray,
        emit: *const EmitTable,
        error: *mut Error,
    ) -> StatusCode {
        // SAFETY: by the header's contract.
        unsafe {
            with_mut::<Run, _>(xform, error, |run| {
                let moved = Moved::take(moved)?;
                let rows = usize::try_from(moved.rows()).unwrap_or(0);
                let columns = array::import_columns(moved, run.input.fields(), Trust::Host, None)?;
                let batch = RecordBatch::try_new_with_options(
                    run.input.clone(),
                    columns,
                    &RecordBatchOptions::new().with_row_count(Some(rows)),
                )?;
                let mut out = Out::new(emit, &run.output)?;
                run.run.process(&batch, &mut out)?;
                out.flush()
            })
        }
    }

    unsafe extern "C-unwind" fn finish(xform: *mut Xform, emit: *const EmitTable, error: *mut Error) -> StatusCode {
        // SAFETY: by the header's contract.
        unsafe {
            with_mut::<Run, _>(xform, error, |run| {
                let mut out = Out::new(emit, &run.output)?;
                run.run.finish(&mut out)?;
                out.flush()
            })
        }
    }

    unsafe extern "C-unwind" fn release(xform: *mut Xform) {
        // SAFETY: by the header's contract.
        unsafe { Handle::<Run>::release(xform) }
    }
}

/// How many rejections are handed over at once.
const REJECTED: usize = 1024;

/// The host's table as the plugin sees it.
struct Out<'a> {
    table: &'a EmitTable,
    output: &'a SchemaRef,
    rejected: Vec<RejectedRow>,
}

impl<'a> Out<'a> {
    unsafe fn new(table: *const EmitTable, output: &'a SchemaRef) -> Result<Self, PluginError> {
        // SAFETY: by the header's contract.
        let table = unsafe { table.as_ref() }.ok_or_else(|| null("where rows are put"))?;
        Ok(Self {
            table,
            output,
            rejected: Vec::new(),
        })
    }

    fn emit(
        &self,
        port: u32,
        columns: &[ArrayRef],
        rows: usize,
        schema: Option<&SchemaRef>,
    ) -> Result<(), PluginError> {
        let emit = self.table.emit.ok_or_else(|| null("a slot of the host"))?;
        let mut schema = schema.map(|schema| schemas::export(schema)).transpose()?;
        let said = schema.as_ref().map_or(std::ptr::null(), |schema| &raw const *schema);
        let mut moved = array::export_columns(columns, rows);
        // SAFETY: the host's table is good while the call lasts, and takes the array over.
        let status = unsafe { emit(self.table.ctx, port, &raw mut moved, said) };
        if let Some(schema) = &mut schema
            && let Some(release) = schema.release
        {
            // SAFETY: the schema was lent.
            unsafe { release(schema) };
        }
        match status {
            0 => Ok(()),
            status => Err(stopped(status)),
        }
    }

    fn flush(&mut self) -> Result<(), PluginError> {
        if self.rejected.is_empty() {
            return Ok(());
        }
        let rows: UInt32Array = self.rejected.iter().map(|r| Some(r.row)).collect();
        let codes: StringArray = self.rejected.iter().map(|r| Some(r.code.as_str())).collect();
        let messages: StringArray = self.rejected.iter().map(|r| Some(r.message.as_str())).collect();
        let columns: [ArrayRef; 3] = [Arc::new(rows), Arc::new(codes), Arc::new(messages)];
        let count = self.rejected.len();
        self.rejected.clear();
        self.emit(super::abi::PORT_REJECTED, &columns, count, None)
    }
}

/// The column `_in`.
pub fn lineage(rows: &[u32]) -> ArrayRef {
    let values: UInt64Array = rows.iter().map(|row| u64::from(*row)).collect::<Vec<_>>().into();
    let offsets: Vec<i32> = (0..=i32::try_from(rows.len()).unwrap_or(i32::MAX)).collect();
    Arc::new(ListArray::new(
        Arc::new(Field::new("item", DataType::UInt64, true)),
        OffsetBuffer::new(ScalarBuffer::from(offsets)),
        Arc::new(values),
        None,
    ))
}

impl Emit for Out<'_> {
    fn rows(&mut self, batch: RecordBatch, origin: Origin) -> Result<(), PluginError> {
        let rows = batch.num_rows();
        let schema = batch.schema();
        // A schema that is not the one that was promised is said, so that the host can say it.
        let said = match Arc::ptr_eq(&schema, self.output) || schema == *self.output {
            true => None,
            false => Some(&schema),
        };
        match origin {
            Origin::Same => self.emit(super::abi::PORT_MAIN, batch.columns(), rows, said),
            Origin::Rows(origins) => {
                let mut columns = batch.columns().to_vec();
                columns.push(lineage(&origins));
                self.emit(super::abi::PORT_MAIN, &columns, rows, said)
            }
        }
    }

    fn reject(&mut self, row: RejectedRow) -> Result<(), PluginError> {
        self.rejected.push(row);
        match self.rejected.len() >= REJECTED {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn count(&mut self, name: &str, n: u64) {
        if let Some(count) = self.table.count {
            // SAFETY: the host's table is good while the call lasts.
            unsafe { count(self.table.ctx, Str::of(name), n) };
        }
    }
}
