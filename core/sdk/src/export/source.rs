//! The C table of a [`Source`].

use super::{
    abi::{
        ArrowSchema, Bind, Component, Error, Input as InputTable, Instance, Link, Locator as LocatorOut, Record,
        Records, Rejection as RejectionOut, SourceVt, Split as SplitOut, Splits, StatusCode, Str, Task,
    },
    array,
    component::{Slots, Table, context, stopped, task},
    guard::{Handle, null, present, quiet, text, with},
    schema as schemas,
};
use crate::{
    Caps, Findings, Fold, IdentityLink, Input, Locator, PluginError, RecordBatchOf, RecordKey, RecordSink, Rejection,
    Source, Split,
};
use arrow::{array::ArrayRef, datatypes::SchemaRef};
use std::{collections::BTreeMap, ffi::c_void, io, marker::PhantomData, sync::Arc};

/// The table of a source, all of it constant.
pub struct SourceTable<S>(PhantomData<S>);

pub struct Bound<S> {
    source: S,
    schemas: Vec<SchemaRef>,
    /// The key columns of each kind, as the table hands them out: they point into `source`'s kinds, which do not change.
    keys: Vec<Keys>,
}

struct Keys(Vec<Str>);
// SAFETY: the texts are read-only and live as long as the instance.
unsafe impl Send for Keys {}
// SAFETY: as above.
unsafe impl Sync for Keys {}

impl<S: Source> Table for SourceTable<S> {
    type Config = S::Config;
    type Instance = Bound<S>;
    const KIND: u32 = super::abi::KIND_SOURCE;
    const NAME: &'static str = S::NAME;
    const VERSION: &'static str = S::VERSION;
    const SUMMARY: &'static str = S::SUMMARY;
    const CAPS: Caps = S::CAPS;
    const VT: *const c_void = (&raw const *{ &Self::SLOTS }).cast();

    fn check(config: &S::Config, findings: &mut Findings) {
        S::check(config, findings);
    }

    unsafe fn bind(config: S::Config, bind: &Bind) -> Result<*mut Instance, PluginError> {
        // SAFETY: by the header's contract.
        let source = S::bind(config, &unsafe { context(bind) }?)?;
        let schemas = source.records().iter().map(|kind| kind.schema.clone()).collect();
        let handle: *mut Instance = Handle::give(Bound {
            source,
            schemas,
            keys: Vec::new(),
        });
        // The texts are pointed to only after the source stands where it stays.
        // SAFETY: just given, and nobody else has it.
        unsafe {
            Handle::<Bound<S>>::prepare(handle, |bound| {
                bound.keys = bound.source.records().iter().map(|kind| keys(&kind.key)).collect();
            });
        }
        Ok(handle)
    }
}

impl<S: Source> SourceTable<S> {
    const SLOTS: SourceVt = SourceVt {
        struct_size: size_of::<SourceVt>() as u32,
        reserved: 0,
        n_records: Some(Self::n_records),
        record: Some(Self::record),
        splits: Some(Self::splits),
        read: Some(Self::read),
    };
    /// The component.
    pub const COMPONENT: Component = Slots::<Self>::COMPONENT;

    unsafe extern "C-unwind" fn n_records(instance: *const Instance) -> u32 {
        let mut count = 0;
        // SAFETY: by the header's contract.
        quiet(|| unsafe {
            with::<Bound<S>, _>(instance, std::ptr::null_mut(), |bound| {
                count = u32::try_from(bound.schemas.len()).unwrap_or(u32::MAX);
                Ok(())
            });
        });
        count
    }

    unsafe extern "C-unwind" fn record(
        instance: *const Instance,
        index: u32,
        out: *mut Record,
        error: *mut Error,
    ) -> StatusCode {
        // SAFETY: by the header's contract.
        unsafe {
            with::<Bound<S>, _>(instance, error, |bound| {
                let kinds = bound.source.records();
                let index = index as usize;
                let (Some(kind), Some(keys)) = (kinds.get(index), bound.keys.get(index)) else {
                    return Err(null("a record kind of this index"));
                };
                let out = out.as_mut().ok_or_else(|| null("the record's place"))?;
                out.key = match kind.key {
                    RecordKey::Content => clinmill_abi::Key::Content.code() as u32,
                    RecordKey::Columns(_) => clinmill_abi::Key::Columns.code() as u32,
                };
                out.fold = match kind.fold {
                    Fold::Replace => clinmill_abi::Fold::Replace.code() as u32,
                    Fold::Patch => clinmill_abi::Fold::Patch.code() as u32,
                };
                out.subject = u32::from(kind.subject);
                out.name = Str::of(&kind.name);
                out.key_columns = keys.0.as_ptr();
                out.n_key_columns = keys.0.len();
                out.schema = schemas::export(&kind.schema)?;
                Ok(())
            })
        }
    }

    unsafe extern "C-unwind" fn splits(
        instance: *const Instance,
        input: *const InputTable,
        out: *const Splits,
        error: *mut Error,
    ) -> StatusCode {
        // SAFETY: by the header's contract.
        unsafe {
            with::<Bound<S>, _>(instance, error, |bound| {
                let input = Bytes::new(input)?;
                let out = out.as_ref().ok_or_else(|| null("where splits are put"))?;
                let add = out.add.ok_or_else(|| null("a slot of the host"))?;
                for split in bound.source.splits(&input)? {
                    let split = SplitOut {
                        start: split.start,
                        end: split.end,
                    };
                    match add(out.ctx, split) {
                        0 => {}
                        status => return Err(stopped(status)),
                    }
                }
                Ok(())
            })
        }
    }

    unsafe extern "C-unwind" fn read(
        instance: *const Instance,
        input: *const InputTable,
        split: *const SplitOut,
        context: *const Task,
        out: *const Records,
        error: *mut Error,
    ) -> StatusCode {
        // SAFETY: by the header's contract.
        unsafe {
            with::<Bound<S>, _>(instance, error, |bound| {
                let input = Bytes::new(input)?;
                let split = split.as_ref().ok_or_else(|| null("a split"))?;
                let split = Split {
                    start: split.start,
                    end: split.end,
                };
                let table = out.as_ref().ok_or_else(|| null("where records are put"))?;
                let mut out = Out {
                    table,
                    schemas: &bound.schemas,
                };
                bound.source.read(&input, &split, &task(context)?, &mut out)
            })
        }
    }
}

fn keys(key: &RecordKey) -> Keys {
    Keys(match key {
        RecordKey::Content => Vec::new(),
        RecordKey::Columns(columns) => columns.iter().map(|column| present(column)).collect(),
    })
}

/// The host's input as the plugin sees it.
struct Bytes<'a> {
    table: &'a InputTable,
    name: &'a str,
    captures: BTreeMap<String, String>,
}

// SAFETY: the host lets its input be read from the thread it called on only; a source that reads from others waits for
// them within the call, and the host's slot takes a lock.
unsafe impl Send for Bytes<'_> {}
// SAFETY: as above.
unsafe impl Sync for Bytes<'_> {}

impl Bytes<'_> {
    unsafe fn new(table: *const InputTable) -> Result<Self, PluginError> {
        // SAFETY: by the header's contract, here and below.
        let table = unsafe { table.as_ref() }.ok_or_else(|| null("an input"))?;
        let mut captures = BTreeMap::new();
        if table.n_captures > 0 && table.captures.is_null() {
            return Err(null("what was captured"));
        }
        for index in 0..table.n_captures as usize {
            // SAFETY: there are so many.
            let capture = unsafe { *table.captures.add(index) };
            // SAFETY: as above.
            let (name, value) = unsafe { (text(capture.name)?, text(capture.value)?) };
            captures.insert(name.to_owned(), value.to_owned());
        }
        Ok(Self {
            table,
            // SAFETY: as above.
            name: unsafe { text(table.name) }?,
            captures,
        })
    }
}

impl Input for Bytes<'_> {
    fn name(&self) -> &str {
        self.name
    }
    fn captures(&self) -> &BTreeMap<String, String> {
        &self.captures
    }
    fn size(&self) -> u64 {
        self.table.size
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let Some(read_at) = self.table.read_at else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        // SAFETY: the host's table is good while the call lasts.
        let read = unsafe { read_at(self.table.ctx, offset, buf.as_mut_ptr(), buf.len()) };
        match usize::try_from(read) {
            Ok(read) if read <= buf.len() => Ok(read),
            _ => Err(io::Error::other("the input cannot be read")),
        }
    }
}

/// The host's table as the plugin sees it.
struct Out<'a> {
    table: &'a Records,
    schemas: &'a [SchemaRef],
}

fn done(status: StatusCode) -> Result<(), PluginError> {
    match status {
        0 => Ok(()),
        status => Err(stopped(status)),
    }
}

fn locator(at: &Locator) -> LocatorOut {
    LocatorOut {
        offset: at.offset,
        length: at.length,
        row: at.row,
        part: at.part,
        cell: at.cell.unwrap_or(0),
    }
}

impl RecordSink for Out<'_> {
    fn rows(&mut self, batch: RecordBatchOf) -> Result<(), PluginError> {
        let rows = self.table.rows.ok_or_else(|| null("a slot of the host"))?;
        let meta = batch.meta;
        let meta: [ArrayRef; 9] = [
            Arc::new(meta.issuer),
            Arc::new(meta.subject),
            Arc::new(meta.version),
            Arc::new(meta.void),
            Arc::new(meta.offset),
            Arc::new(meta.length),
            Arc::new(meta.row),
            Arc::new(meta.part),
            Arc::new(meta.cell),
        ];
        let schema = batch.rows.schema();
        let promised = self
            .schemas
            .get(batch.kind)
            .is_some_and(|kind| Arc::ptr_eq(kind, &schema) || *kind == schema);
        let mut said: Option<ArrowSchema> = (!promised).then(|| schemas::export(&schema)).transpose()?;
        let mut columns = batch.rows.columns().to_vec();
        columns.extend(meta);
        let mut moved = array::export_columns(&columns, batch.rows.num_rows());
        let kind = u32::try_from(batch.kind).unwrap_or(u32::MAX);
        let pointer = said.as_ref().map_or(std::ptr::null(), |schema| &raw const *schema);
        // SAFETY: the host's table is good while the call lasts, and takes the array over.
        let status = unsafe { rows(self.table.ctx, kind, &raw mut moved, pointer) };
        if let Some(schema) = &mut said
            && let Some(release) = schema.release
        {
            // SAFETY: the schema was lent.
            unsafe { release(schema) };
        }
        done(status)
    }

    fn reject(&mut self, rejection: Rejection) -> Result<(), PluginError> {
        let reject = self.table.reject.ok_or_else(|| null("a slot of the host"))?;
        let out = RejectionOut {
            struct_size: size_of::<RejectionOut>() as u32,
            kind: rejection.kind.and_then(|kind| i32::try_from(kind).ok()).unwrap_or(-1),
            code: Str::of(&rejection.code),
            message: Str::of(&rejection.message),
            at: locator(&rejection.at),
        };
        // SAFETY: the host's table is good while the call lasts.
        done(unsafe { reject(self.table.ctx, &raw const out) })
    }

    fn filtered(&mut self, rule: &str, count: u64) {
        if let Some(filtered) = self.table.filtered {
            // SAFETY: as above.
            unsafe { filtered(self.table.ctx, Str::of(rule), count) };
        }
    }

    fn link(&mut self, link: IdentityLink) -> Result<(), PluginError> {
        let put = self.table.link.ok_or_else(|| null("a slot of the host"))?;
        let out = Link {
            struct_size: size_of::<Link>() as u32,
            reserved: 0,
            survivor_issuer: Str::of(&link.survivor.issuer),
            survivor_id: Str::of(&link.survivor.id),
            retired_issuer: Str::of(&link.retired.issuer),
            retired_id: Str::of(&link.retired.id),
            version: link.version.as_deref().map_or(Str::NONE, present),
            at: locator(&link.at),
        };
        // SAFETY: as above.
        done(unsafe { put(self.table.ctx, &raw const out) })
    }

    fn progress(&mut self, bytes: u64) {
        if let Some(progress) = self.table.progress {
            // SAFETY: as above.
            unsafe { progress(self.table.ctx, bytes) };
        }
    }
}
