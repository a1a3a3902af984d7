//! What a transform emits: taken, checked and kept until its call is over.

use super::{
    Native,
    context::{batch_without_context, context_was_null, without_context},
};
use crate::{limits::Account, texts::LONGEST_NAME};
use clinmill_abi::tables::{ArrowArray, ArrowSchema, Str};
use clinmill_sdk::{
    Origin, PluginError, RejectedRow, Status,
    arrow::{
        array::{Array, ArrayData, ArrayRef, AsArray, RecordBatch, RecordBatchOptions},
        buffer::NullBuffer,
        datatypes::{DataType, Field, FieldRef, SchemaRef, UInt32Type, UInt64Type},
    },
    export::{
        abi::{PORT_MAIN, PORT_REJECTED},
        array::{self, Lent, Moved, Trust},
        schema as schemas,
    },
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a plugin has emitted in the call that is under way.
pub struct Taken {
    output: SchemaRef,
    main: Vec<FieldRef>,
    rejected: Vec<FieldRef>,
    account: Arc<Account>,
    /// Of whom its rejections are, and what the schema of its options says of their codes.
    plugin: String,
    schema: Arc<Value>,
    state: Mutex<State>,
}

/// It, as far as the call has come.
#[derive(Default)]
pub struct State {
    pub closed: bool,
    /// Of the batch in process; `None` in *finish*.
    pub input_rows: Option<usize>,
    pub lent: Lent,
    bytes: u64,
    pub batches: Vec<(RecordBatch, Origin)>,
    pub rejected: Vec<RejectedRow>,
    pub counts: BTreeMap<String, u64>,
    pub failure: Option<PluginError>,
    /// Rows of the input that it has rejected.
    refused: HashSet<u32>,
    seen: HashSet<Identity>,
    /// Where buffers begin that it handed over, and how far each is held: slices share them.
    held: HashMap<usize, usize>,
    /// What was seen in this call: kept, so that no other array of it lies in the same place.
    kept: Vec<Arc<Moved>>,
}

impl State {
    /// The call is over, and what it emitted was taken away.
    pub fn clear(&mut self) {
        self.lent.clear();
        self.bytes = 0;
        self.refused.clear();
        self.seen.clear();
        self.held.clear();
        self.kept.clear();
    }

    /// Counts what is kept of it until the call is over.
    fn hold(&mut self, bytes: usize, account: &Account) -> Result<(), PluginError> {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        match self.bytes > account.limits.memory {
            true => Err(bad("ABI_TOO_LARGE", "its batches hold more bytes than it may use")),
            false => Ok(()),
        }
    }

    /// Counts columns, and each of their buffers once: as long as the call lasts, what lies in one place is one buffer.
    fn hold_columns(&mut self, columns: &[ArrayRef], account: &Account) -> Result<(), PluginError> {
        let mut bytes = 0_usize;
        for column in columns {
            bytes += column
                .get_array_memory_size()
                .saturating_sub(column.get_buffer_memory_size());
            bytes = bytes.saturating_add(self.more_held(&column.to_data()));
        }
        self.hold(bytes, account)
    }

    /// How many bytes of the buffers of an array are held anew.
    fn more_held(&mut self, data: &ArrayData) -> usize {
        let validity = data.nulls().map(NullBuffer::buffer);
        let mut more = 0_usize;
        for buffer in data.buffers().iter().chain(validity) {
            let held = self.held.entry(buffer.data_ptr().as_ptr() as usize).or_default();
            more = more.saturating_add(buffer.capacity().saturating_sub(*held));
            *held = buffer.capacity().max(*held);
        }
        let children = data.child_data().iter();
        children.fold(more, |more, child| more.saturating_add(self.more_held(child)))
    }
}

/// All that an array says. Two arrays of a plugin may share their owner and their buffers; one that is alike in all is the
/// same once more.
type Identity = [usize; 10];

fn identity(array: &ArrowArray) -> Identity {
    [
        array.length as usize,
        array.null_count as usize,
        array.offset as usize,
        array.n_buffers as usize,
        array.n_children as usize,
        array.buffers as usize,
        array.children as usize,
        array.dictionary as usize,
        array.release.map_or(0, |release| release as usize),
        array.private_data as usize,
    ]
}

/// What is kept of an array beside its buffers, about.
const ARRAY_BYTES: usize = 512;

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

impl Taken {
    /// For batches of this schema; `main` has their columns and where they come from.
    pub fn new(output: SchemaRef, main: Vec<FieldRef>, native: &Native) -> Self {
        Self {
            output,
            main,
            rejected: rejected(),
            account: native.account.clone(),
            plugin: native.plugin.clone(),
            schema: native.schema_of_options(),
            state: Mutex::new(State::default()),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call is over: what it did without the context is a failure of it.
    pub fn blame_for_context(&self) {
        if let Some(failure) = context_was_null() {
            self.lock().failure.get_or_insert(failure);
        }
    }

    /// # Safety
    /// As the header says of `emit`.
    unsafe fn take(&self, port: u32, moved: *mut ArrowArray, schema: *const ArrowSchema) -> Result<(), PluginError> {
        let mut state = self.lock();
        // SAFETY: by this function's contract.
        if let Some(array) = unsafe { moved.as_mut() }
            && array.release.is_some()
            && !array.private_data.is_null()
            && !state.seen.insert(identity(array))
        {
            // Its memory is the first one's: it is moved, and not released again.
            array.release = None;
            return Err(bad("ABI_RELEASED", "it handed one array over twice"));
        }
        // SAFETY: by this function's contract.
        let moved = Arc::new(unsafe { self.account.moved(moved) }?);
        state.kept.push(moved.clone());
        if state.closed {
            return Err(PluginError::cancelled());
        }
        state.hold(ARRAY_BYTES, &self.account)?;
        let rows = usize::try_from(moved.rows()).unwrap_or(usize::MAX);
        if rows > self.account.limits.batch_rows {
            return Err(bad("ABI_TOO_LARGE", "a batch has more rows than a batch may have"));
        }
        match port {
            PORT_MAIN => {
                if !schema.is_null() {
                    // SAFETY: by this function's contract.
                    let given = unsafe { schemas::read(schema) }?;
                    if given.fields() != self.output.fields() {
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
                state.hold_columns(batch.columns(), &self.account)?;
                state.batches.push((batch, origin));
            }
            PORT_REJECTED => {
                let input = state.input_rows.unwrap_or(0);
                if rows > input.saturating_sub(state.rejected.len()) {
                    return Err(bad("ABI_ROW", "it rejects more rows than the batch has"));
                }
                let columns = array::import_columns(moved, &self.rejected, Trust::Plugin, None)?;
                let (row, code, message) = (
                    columns[0].as_primitive::<UInt32Type>(),
                    columns[1].as_string::<i32>(),
                    columns[2].as_string::<i32>(),
                );
                state.hold_columns(&columns, &self.account)?;
                for index in 0..rows {
                    if row.value(index) as usize >= input {
                        return Err(bad("ABI_ROW", "it rejects a row that is not in the batch"));
                    }
                    if !state.refused.insert(row.value(index)) {
                        return Err(bad("ABI_ROW", "it rejects a row twice"));
                    }
                    let code = code.value(index);
                    let known = &self.account.known;
                    let message = known.rejection(&self.schema, &self.plugin, code, message.value(index))?;
                    // The texts are copied, and may overlap in the columns.
                    let copied = code.len() + message.len() + size_of::<RejectedRow>();
                    state.hold(copied, &self.account)?;
                    state.rejected.push(RejectedRow {
                        row: row.value(index),
                        code: code.to_owned(),
                        message,
                    });
                }
            }
            _ => return Err(bad("ABI_PORT", "it emits to a port that does not exist")),
        }
        Ok(())
    }
}

/// What is said of rows that name no batch they could come from.
pub const ROWS_IN_FINISH: &str = "it yields rows; they are to come in the call of the batch that they come from";

/// The rows that rows come from, by the column `_in`.
fn origin(lineage: Option<&ArrayRef>, rows: usize, input_rows: Option<usize>) -> Result<Origin, PluginError> {
    let same = match input_rows {
        None if rows == 0 => return Ok(Origin::Rows(Vec::new())),
        None => return Err(bad("ABI_STATE", ROWS_IN_FINISH)),
        Some(input) if input != rows => Err(bad(
            "ABI_LINEAGE",
            "a batch has another number of rows than its input, and they do not say where they come from",
        )),
        Some(_) => Ok(Origin::Same),
    };
    let Some(lists) = lineage.map(|column| column.as_list::<i32>()) else {
        return same;
    };
    let values = lists.values().as_primitive::<UInt64Type>();
    if lists.null_count() + values.null_count() > 0 {
        return Err(bad("ABI_LINEAGE", "the column _in holds a null"));
    }
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

pub unsafe extern "C-unwind" fn emit(
    ctx: *mut c_void,
    port: u32,
    moved: *mut ArrowArray,
    schema: *const ArrowSchema,
) -> i32 {
    // SAFETY: the context is a run's, which lives while its calls do.
    let Some(taken) = (unsafe { ctx.cast::<Taken>().as_ref() }) else {
        // SAFETY: by the header's contract.
        return unsafe { batch_without_context(moved) };
    };
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

pub unsafe extern "C-unwind" fn count(ctx: *mut c_void, name: Str, n: u64) {
    // SAFETY: as `emit`.
    let Some(taken) = (unsafe { ctx.cast::<Taken>().as_ref() }) else {
        without_context();
        return;
    };
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: by the header's contract.
        let name = unsafe { super::copied(name, LONGEST_NAME + 1) }.unwrap_or_default();
        let is_known = taken.account.known.name(&name);
        let mut state = taken.lock();
        if let Err(failure) = is_known {
            state.failure.get_or_insert(failure);
            return;
        }
        let count = state.counts.entry(name).or_default();
        *count = count.saturating_add(n);
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
        let nulls: ArrayRef = Arc::new(ListArray::from_iter_primitive::<UInt64Type, _, _>([
            Some(vec![Some(1)]),
            Some(vec![None]),
        ]));
        assert_eq!(origin(Some(&nulls), 2, Some(2)).unwrap_err().code, "ABI_LINEAGE");
        assert_eq!(origin(None, 2, Some(2)), Ok(Origin::Same));
        assert_eq!(origin(None, 2, None).unwrap_err().code, "ABI_STATE");
        assert_eq!(origin(None, 0, None), Ok(Origin::Rows(vec![])));
        assert_eq!(
            origin(Some(&lists(vec![0, 1, 2], vec![1, 0])), 2, None)
                .unwrap_err()
                .code,
            "ABI_STATE"
        );
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
