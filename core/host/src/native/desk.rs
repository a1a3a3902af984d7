//! Where a source's thread asks for bytes and pushes records, and the caller's thread answers.

use super::{
    Native,
    context::{batch_without_context, context_was_null, without_context},
    copied,
    worker::Bell,
};
use crate::{
    limits::{Account, Limits},
    records::{LARGEST, MOST_SPLITS, Reading, of_meta, too_many_splits},
    texts::LONGEST_TEXT,
};
use clinmill_abi::tables::{
    ArrowArray, ArrowSchema, Link, Locator as LocatorIn, Rejection as RejectionIn, Split as SplitIn, Str,
};
use clinmill_sdk::{
    IdentityLink, Input, Locator, PluginError, RecordBatchOf, RecordKind, RecordSink, Rejection, Split, Status,
    SubjectId,
    arrow::{
        array::{RecordBatch, RecordBatchOptions},
        datatypes::FieldRef,
    },
    export::{
        array::{self, Trust},
        schema as schemas,
    },
};
use serde_json::Value;
use std::{
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// Where the plugin's thread asks, and the caller's answers.
pub struct Desk {
    kinds: Vec<(Vec<FieldRef>, RecordKind)>,
    account: Arc<Account>,
    /// Of whom its rejections are, and what the schema of its options says of their codes.
    plugin: String,
    schema: Arc<Value>,
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn bad(code: &str, what: &str) -> PluginError {
    PluginError::new(Status::Internal, code, what)
}

impl Desk {
    /// For batches of these kinds.
    pub fn new(kinds: Vec<(Vec<FieldRef>, RecordKind)>, native: &Native) -> Self {
        Self {
            kinds,
            account: native.account.clone(),
            plugin: native.plugin.clone(),
            schema: native.schema_of_options(),
            turn: Mutex::new(()),
            state: Mutex::new(State::default()),
            answered: Condvar::new(),
            bell: Mutex::new(None),
        }
    }

    /// What tells the caller's thread of a question.
    pub fn hang(&self, bell: Bell) {
        *lock(&self.bell) = Some(bell);
    }

    /// What the host refused, if it did.
    pub fn failure(&self) -> Option<PluginError> {
        lock(&self.state).failure.take()
    }

    /// A call is over: what it did without the context is a failure of it.
    pub fn blame_for_context(&self) {
        if let Some(failure) = context_was_null() {
            lock(&self.state).failure.get_or_insert(failure);
        }
    }

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
    pub fn serve(&self, input: &dyn Input, out: &mut Out<'_>, cancelled: bool) -> bool {
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
                    out.reading.read(offset, n);
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

    /// No question is answered any more.
    pub fn close(&self) {
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
        let moved = unsafe { self.account.moved(moved) }?;
        let Some((fields, of)) = self.kinds.get(kind as usize) else {
            return Err(bad("ABI_KIND", "a batch of a kind that it does not have"));
        };
        let rows = usize::try_from(moved.rows()).unwrap_or(usize::MAX);
        if rows > self.account.limits.batch_rows {
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
        // Whoever called will say of what it was lost.
        self.account.is_settled().map_err(|_| PluginError::cancelled())?;
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

/// Where the caller puts what the plugin pushes.
pub struct Out<'a> {
    sink: Option<&'a mut dyn RecordSink>,
    pub splits: Vec<Split>,
    pub reading: Reading,
    size: u64,
}

impl<'a> Out<'a> {
    /// For an input of so many bytes; without a sink it takes splits alone.
    pub fn new(sink: Option<&'a mut dyn RecordSink>, size: u64, limits: &Limits) -> Self {
        Self {
            sink,
            splits: Vec::new(),
            reading: Reading::new(size, limits),
            size,
        }
    }

    fn put(&mut self, question: Question) -> Result<(), PluginError> {
        if let Question::Split(split) = question {
            if self.splits.len() >= MOST_SPLITS {
                return Err(bad("ABI_SPLIT", &too_many_splits()));
            }
            if split.start > split.end || split.end > self.size {
                return Err(bad("ABI_SPLIT", "a split is not within the input"));
            }
            self.splits.push(split);
            return Ok(());
        }
        let Some(sink) = &mut self.sink else {
            return Err(bad("ABI_STATE", "it pushes records while it makes splits"));
        };
        match question {
            Question::Rows(batch) => {
                self.reading.rows(&batch.meta)?;
                sink.rows(*batch)
            }
            Question::Reject(rejection) => {
                self.reading.reject(&rejection)?;
                sink.reject(rejection)
            }
            Question::Link(link) => {
                self.reading.link(&link)?;
                sink.link(link)
            }
            Question::Filtered(rule, count) => {
                sink.filtered(&rule, count);
                Ok(())
            }
            Question::Progress(bytes) => {
                sink.progress(self.reading.progress(bytes));
                Ok(())
            }
            Question::Read(..) | Question::Split(_) => Ok(()),
        }
    }
}

/// # Safety
/// The context is NULL or the desk of a call that is under way, or was lost.
unsafe fn desk<'a>(ctx: *mut c_void) -> Option<&'a Desk> {
    // SAFETY: by this function's contract.
    unsafe { ctx.cast::<Desk>().as_ref() }
}

pub unsafe extern "C-unwind" fn read_at(ctx: *mut c_void, offset: u64, buf: *mut u8, len: usize) -> i64 {
    // SAFETY: the host's own context.
    let Some(desk) = (unsafe { desk(ctx) }) else {
        return -i64::from(without_context());
    };
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

pub unsafe extern "C-unwind" fn rows(
    ctx: *mut c_void,
    kind: u32,
    moved: *mut ArrowArray,
    schema: *const ArrowSchema,
) -> i32 {
    // SAFETY: the host's own context; the rest by the header's contract. So below.
    let Some(desk) = (unsafe { desk(ctx) }) else {
        // SAFETY: as above.
        return unsafe { batch_without_context(moved) };
    };
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

pub unsafe extern "C-unwind" fn reject(ctx: *mut c_void, rejection: *const RejectionIn) -> i32 {
    // SAFETY: as above.
    let Some(desk) = (unsafe { desk(ctx) }) else {
        return without_context();
    };
    desk.slot(|| {
        // SAFETY: as above.
        let Some(said) = (unsafe { rejection.as_ref() }) else {
            return Err(bad("ABI_NULL", "a rejection is NULL"));
        };
        // SAFETY: as above.
        let text = |text: Str| unsafe { copied(text, LONGEST_TEXT) }.unwrap_or_default();
        let kind = usize::try_from(said.kind).ok().filter(|kind| *kind < desk.kinds.len());
        if kind.is_none() && said.kind != -1 {
            return Err(bad("ABI_KIND", "it rejects a record of a kind that it does not have"));
        }
        let (code, message) = (text(said.code), text(said.message));
        let known = &desk.account.known;
        let rejection = Rejection {
            kind,
            message: known.rejection(&desk.schema, &desk.plugin, &code, &message)?,
            code,
            at: locator(&said.at),
        };
        desk.ask(Question::Reject(rejection)).map(drop)
    })
}

/// The bytes of an identifier that a link may have.
const LONGEST_ID: usize = 4096;

/// A text of a link, as it is: an identifier that was cut or mended would be another one.
///
/// # Safety
/// As [`copied`].
unsafe fn exact(text: Str) -> Result<Option<String>, PluginError> {
    if text.ptr.is_null() {
        return Ok(None);
    }
    if text.len > LONGEST_ID {
        return Err(bad("ABI_TOO_LARGE", "an identifier of a link is too long"));
    }
    // SAFETY: by this function's contract.
    let bytes = unsafe { std::slice::from_raw_parts(text.ptr.cast::<u8>(), text.len) };
    let text = std::str::from_utf8(bytes).map_err(|_| bad("ABI_ARRAY", "a text of a link is not UTF-8"))?;
    Ok(Some(text.to_owned()))
}

pub unsafe extern "C-unwind" fn link(ctx: *mut c_void, link: *const Link) -> i32 {
    // SAFETY: as above.
    let Some(desk) = (unsafe { desk(ctx) }) else {
        return without_context();
    };
    desk.slot(|| {
        // SAFETY: as above.
        let Some(said) = (unsafe { link.as_ref() }) else {
            return Err(bad("ABI_NULL", "a link is NULL"));
        };
        if (said.struct_size as usize) < size_of::<Link>() {
            return Err(bad("ABI_SIZE", "a link is shorter than what the host reads of it"));
        }
        // SAFETY: as above.
        let text = |text: Str| unsafe { exact(text) };
        let subject = |issuer: Str, id: Str| -> Result<SubjectId, PluginError> {
            let (issuer, id) = (text(issuer)?.unwrap_or_default(), text(id)?.unwrap_or_default());
            Ok(SubjectId { issuer, id })
        };
        let link = IdentityLink {
            survivor: subject(said.survivor_issuer, said.survivor_id)?,
            retired: subject(said.retired_issuer, said.retired_id)?,
            version: text(said.version)?,
            at: locator(&said.at),
        };
        desk.ask(Question::Link(link)).map(drop)
    })
}

pub unsafe extern "C-unwind" fn filtered(ctx: *mut c_void, rule: Str, count: u64) {
    // SAFETY: as above.
    let Some(desk) = (unsafe { desk(ctx) }) else {
        without_context();
        return;
    };
    desk.slot(|| {
        // SAFETY: as above.
        let rule = unsafe { copied(rule, LONGEST_TEXT) }.unwrap_or_default();
        let kinds = desk.kinds.iter().map(|(_, kind)| kind.name.as_str());
        desk.account.known.rule(&rule, kinds)?;
        desk.ask(Question::Filtered(rule, count)).map(drop)
    });
}

pub unsafe extern "C-unwind" fn progress(ctx: *mut c_void, bytes: u64) {
    // SAFETY: as above.
    let Some(desk) = (unsafe { desk(ctx) }) else {
        without_context();
        return;
    };
    desk.slot(|| desk.ask(Question::Progress(bytes)).map(drop));
}

pub unsafe extern "C-unwind" fn add_split(ctx: *mut c_void, split: SplitIn) -> i32 {
    // SAFETY: as above.
    let Some(desk) = (unsafe { desk(ctx) }) else {
        return without_context();
    };
    let split = Split {
        start: split.start,
        end: split.end,
    };
    desk.slot(|| desk.ask(Question::Split(split)).map(drop))
}
