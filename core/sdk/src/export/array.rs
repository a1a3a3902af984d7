//! Arrays across the boundary: the Arrow C Data Interface without a copy, both ways. What comes from a plugin is checked
//! as far as memory can be: lengths, offsets, UTF-8, nulls. That a pointer leads to as many bytes as it should, nobody can.

use super::abi::ArrowArray;
use crate::{PluginError, Status};
use arrow::{
    array::{
        Array, ArrayData, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, StringArray,
        downcast_primitive, make_array,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, FieldRef},
};
use std::{
    ffi::c_void,
    panic::RefUnwindSafe,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How many rows a batch may have.
pub const MOST_ROWS: usize = 1 << 24;

struct Exported {
    /// Keep the memory alive that `pointers` lead to.
    _data: ArrayData,
    _bits: Option<Buffer>,
    pointers: Vec<*const c_void>,
    children: Vec<*mut ArrowArray>,
}

/// A batch and its plain columns in one piece: small batches are many, and each would pay for a piece per column.
struct Block {
    /// How many of the batch and its columns are not released: a receiver may keep columns one by one.
    left: AtomicUsize,
    /// Keep the memory alive that `pointers` lead to.
    _arrays: Vec<ArrayRef>,
    _data: Vec<ArrayData>,
    _bits: Vec<Buffer>,
    pointers: Vec<*const c_void>,
    columns: Vec<ArrowArray>,
    children: Vec<*mut ArrowArray>,
}

/// Columns of equal length as one struct array, owned by who gets it. Takes columns of plain types.
pub fn export_columns(columns: &[ArrayRef], rows: usize) -> ArrowArray {
    let mut block = Box::new(Block {
        left: AtomicUsize::new(1),
        _arrays: columns.to_vec(),
        _data: Vec::new(),
        _bits: Vec::new(),
        pointers: Vec::with_capacity(1 + 3 * columns.len()),
        columns: Vec::with_capacity(columns.len()),
        children: Vec::with_capacity(columns.len()),
    });
    // The batch has a validity, and it is absent.
    block.pointers.push(std::ptr::null());
    for column in columns {
        let start = block.pointers.len();
        if plain_pointers(column, &mut block.pointers) {
            block.columns.push(ArrowArray {
                length: number(column.len()),
                null_count: number(column.null_count()),
                n_buffers: number(block.pointers.len() - start),
                // An index until all pointers are there.
                buffers: std::ptr::without_provenance_mut(start),
                release: Some(release_column),
                ..ArrowArray::EMPTY
            });
            *block.left.get_mut() += 1;
            continue;
        }
        let data = column.to_data();
        if !data.child_data().is_empty() {
            block.columns.push(export(&data));
            continue;
        }
        let bits = push_pointers(&data, &mut block.pointers);
        block._bits.extend(bits);
        block.columns.push(ArrowArray {
            length: number(data.len()),
            null_count: number(data.null_count()),
            offset: number(data.offset()),
            n_buffers: number(block.pointers.len() - start),
            buffers: std::ptr::without_provenance_mut(start),
            release: Some(release_column),
            ..ArrowArray::EMPTY
        });
        *block.left.get_mut() += 1;
        block._data.push(data);
    }
    let block = Box::into_raw(block);
    // SAFETY: the block was just made; its vectors do not grow any more.
    let parts = unsafe { &mut *block };
    for column in &mut parts.columns {
        if column.private_data.is_null() {
            // SAFETY: the index was taken from this vector.
            column.buffers = unsafe { parts.pointers.as_mut_ptr().add(column.buffers.addr()) };
            column.private_data = block.cast();
        }
    }
    let columns = parts.columns.as_mut_ptr();
    // SAFETY: within the vector.
    parts
        .children
        .extend((0..parts.columns.len()).map(|index| unsafe { columns.add(index) }));
    ArrowArray {
        length: number(rows),
        n_buffers: 1,
        n_children: number(parts.children.len()),
        buffers: parts.pointers.as_mut_ptr(),
        children: parts.children.as_mut_ptr(),
        release: Some(release_batch),
        private_data: block.cast(),
        ..ArrowArray::EMPTY
    }
}

/// Appends what the buffers of a text or number column lead to; false, and nothing appended, for any other column.
fn plain_pointers(column: &ArrayRef, pointers: &mut Vec<*const c_void>) -> bool {
    let validity = match column.nulls() {
        Some(nulls) if nulls.null_count() > 0 && nulls.offset() > 0 => return false,
        Some(nulls) if nulls.null_count() > 0 => nulls.buffer().as_ptr().cast(),
        _ => std::ptr::null(),
    };
    if let Some(texts) = column.as_string_opt::<i32>() {
        pointers.extend([
            validity,
            texts.value_offsets().as_ptr().cast(),
            texts.values().as_ptr().cast(),
        ]);
        return true;
    }
    macro_rules! numbers {
        ($type:ty) => {
            match column.as_primitive_opt::<$type>() {
                Some(numbers) => pointers.extend([validity, numbers.values().as_ptr().cast()]),
                None => return false,
            }
        };
    }
    downcast_primitive! {
        column.data_type() => (numbers),
        _ => return false,
    }
    true
}

fn number(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

unsafe extern "C-unwind" fn release_column(array: *mut ArrowArray) {
    // SAFETY: the caller passes a column of `export_columns`, once; the block is there while one of its parts is.
    unsafe {
        let block = (*array).private_data.cast::<Block>();
        (*array).release = None;
        (*array).private_data = std::ptr::null_mut();
        if (*block).left.fetch_sub(1, Ordering::AcqRel) == 1 {
            drop(Box::from_raw(block));
        }
    }
}

unsafe extern "C-unwind" fn release_batch(array: *mut ArrowArray) {
    // SAFETY: the caller passes a batch of `export_columns`, once; columns that were moved away have no release any more.
    unsafe {
        let block = (*array).private_data.cast::<Block>();
        let parts = &*block;
        for child in &parts.children {
            if let Some(release) = (**child).release {
                release(*child);
            }
        }
        release_column(array);
    }
}

/// A batch as a struct array, owned by who gets it.
pub fn export_batch(batch: &RecordBatch) -> ArrowArray {
    export_columns(batch.columns(), batch.num_rows())
}

/// Appends what the buffers of an array lead to; returns the validity where it had to be made anew.
fn push_pointers(data: &ArrayData, pointers: &mut Vec<*const c_void>) -> Option<Buffer> {
    let mut made = None;
    if data.data_type() != &DataType::Null {
        match data.nulls() {
            // The C interface has one offset for values and validity.
            Some(nulls) if nulls.null_count() > 0 && nulls.offset() != data.offset() => {
                let mut bits = arrow::array::BooleanBufferBuilder::new(data.offset() + data.len());
                bits.append_n(data.offset(), false);
                bits.append_buffer(nulls.inner());
                let bits = bits.finish().into_inner();
                pointers.push(bits.as_ptr().cast());
                made = Some(bits);
            }
            Some(nulls) if nulls.null_count() > 0 => pointers.push(nulls.buffer().as_ptr().cast()),
            _ => pointers.push(std::ptr::null()),
        }
    }
    pointers.extend(data.buffers().iter().map(|buffer| buffer.as_ptr().cast::<c_void>()));
    made
}

/// A nested column, with a piece for each array in it.
fn export(data: &ArrayData) -> ArrowArray {
    let mut pointers = Vec::with_capacity(data.buffers().len() + 1);
    let bits = push_pointers(data, &mut pointers);
    let children = data.child_data().iter().map(export);
    let mut exported = Box::new(Exported {
        _data: data.clone(),
        _bits: bits,
        pointers,
        children: children.map(|child| Box::into_raw(Box::new(child))).collect(),
    });
    ArrowArray {
        length: number(data.len()),
        null_count: number(data.null_count()),
        offset: number(data.offset()),
        n_buffers: number(exported.pointers.len()),
        n_children: number(exported.children.len()),
        buffers: exported.pointers.as_mut_ptr(),
        children: exported.children.as_mut_ptr(),
        release: Some(release),
        private_data: Box::into_raw(exported).cast(),
        ..ArrowArray::EMPTY
    }
}

unsafe extern "C-unwind" fn release(array: *mut ArrowArray) {
    // SAFETY: the caller passes an array of `export`, once; children that were moved away have no release any more.
    unsafe {
        let exported = Box::from_raw((*array).private_data.cast::<Exported>());
        for child in &exported.children {
            let mut child = Box::from_raw(*child);
            if let Some(release) = child.release {
                release(&raw mut *child);
            }
        }
        (*array).release = None;
        (*array).private_data = std::ptr::null_mut();
    }
}

/// An array that was moved here: released when its last buffer is dropped.
pub struct Moved(ArrowArray);

impl Moved {
    /// Takes an array over; the one that `array` points to counts as released from now on.
    ///
    /// # Errors
    /// `ABI_RELEASED` when it was released before, or there is none.
    ///
    /// # Safety
    /// `array` is null or points to an array as the Arrow specification has it.
    pub unsafe fn take(array: *mut ArrowArray) -> Result<Self, PluginError> {
        if array.is_null() {
            return Err(bad("ABI_NULL", "an array is NULL"));
        }
        // SAFETY: not null, and good by this function's contract.
        let taken = unsafe { std::ptr::read(array) };
        if taken.release.is_none() {
            return Err(bad("ABI_RELEASED", "an array was released already"));
        }
        // SAFETY: as above.
        unsafe { (*array).release = None };
        Ok(Self(taken))
    }

    /// Rows, as it says.
    pub fn rows(&self) -> i64 {
        self.0.length
    }

    /// Columns, as it says.
    pub fn columns(&self) -> i64 {
        self.0.n_children
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        if let Some(release) = self.0.release {
            // SAFETY: this value owns the array; the specification lets any thread release it.
            unsafe { release(&raw mut self.0) };
        }
    }
}

// SAFETY: the array is read-only data after it was moved, and may be released on any thread.
unsafe impl Send for Moved {}
// SAFETY: as above.
unsafe impl Sync for Moved {}
impl RefUnwindSafe for Moved {}

/// Whether the other side is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The host, by a plugin.
    Host,
    /// A plugin, by the host: everything is checked that can be.
    Plugin,
}

fn bad(code: &str, what: &str) -> PluginError {
    PluginError::new(Status::Internal, code, what)
}

/// Columns lent to a plugin. One that comes back untouched is known by its pointers, and the lender's own is taken again
/// instead of a new one that would have to be checked.
#[derive(Default)]
pub struct Lent(Vec<LentColumn>);

/// No plain type has more buffers than these.
const MOST_BUFFERS: usize = 3;

struct LentColumn {
    column: ArrayRef,
    /// How many of `pointers` count; 0: nested columns are checked like any other.
    n: usize,
    pointers: [*const c_void; MOST_BUFFERS],
    offset: i64,
    nulls: i64,
}

// SAFETY: the pointers are compared, never followed.
unsafe impl Send for Lent {}

impl Lent {
    /// Remembers what the columns of an array point to, before it is moved away.
    ///
    /// # Safety
    /// `array` was made by [`export_columns`] from these columns and is not released.
    pub unsafe fn remember(&mut self, array: &ArrowArray, columns: &[ArrayRef]) {
        self.0.clear();
        self.0.extend(columns.iter().enumerate().map(|(index, column)| {
            // SAFETY: by this function's contract there is one child for each column.
            let child = unsafe { &**array.children.add(index) };
            let n = usize::try_from(child.n_buffers).unwrap_or(0);
            let mut lent = LentColumn {
                column: column.clone(),
                n: if child.n_children == 0 && n <= MOST_BUFFERS {
                    n
                } else {
                    0
                },
                pointers: [std::ptr::null(); MOST_BUFFERS],
                offset: child.offset,
                nulls: child.null_count,
            };
            // SAFETY: the column has so many buffers.
            let pointers = unsafe { std::slice::from_raw_parts(child.buffers, lent.n) };
            for (place, pointer) in lent.pointers.iter_mut().zip(pointers) {
                *place = *pointer;
            }
            lent
        }));
    }

    /// Forgets the columns.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn find(&self, child: &ArrowArray, data_type: &DataType) -> Option<ArrayRef> {
        let n = usize::try_from(child.n_buffers).ok()?;
        if child.buffers.is_null() || child.n_children != 0 || !child.dictionary.is_null() {
            return None;
        }
        let lent = self.0.iter().find(|lent| {
            lent.n == n
                && n > 0
                && i64::try_from(lent.column.len()) == Ok(child.length)
                && lent.offset == child.offset
                && lent.nulls == child.null_count
                && lent.column.data_type() == data_type
                // SAFETY: the array says that it has `n` buffers.
                && unsafe { std::slice::from_raw_parts(child.buffers, n) } == &lent.pointers[..n]
        })?;
        Some(lent.column.clone())
    }
}

/// The columns of a struct array.
///
/// # Errors
/// `ABI_ARRAY`, `ABI_NULL`, `ABI_RELEASED` or `ABI_TOO_LARGE` when it is not what the fields say.
pub fn import_columns(
    array: impl Into<Arc<Moved>>,
    fields: &[FieldRef],
    trust: Trust,
    lent: Option<&Lent>,
) -> Result<Vec<ArrayRef>, PluginError> {
    let owner: Arc<Moved> = array.into();
    let root = &owner.0;
    let rows = size(root.length)?;
    if rows > MOST_ROWS {
        return Err(bad("ABI_TOO_LARGE", "a batch has more rows than a batch may have"));
    }
    if size(root.n_children)? != fields.len() {
        return Err(bad(
            "ABI_SCHEMA",
            "a batch has another number of columns than its schema",
        ));
    }
    if root.offset != 0 || (root.null_count > 0) || !root.dictionary.is_null() {
        return Err(bad("ABI_ARRAY", "a batch has an offset, null rows or a dictionary"));
    }
    if !fields.is_empty() && root.children.is_null() {
        return Err(bad("ABI_NULL", "the columns of a batch are NULL"));
    }
    let mut columns = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        // SAFETY: the array has as many children as fields, as checked.
        let child = unsafe { *owner.0.children.add(index) };
        if child.is_null() {
            return Err(bad("ABI_NULL", "a column of a batch is NULL"));
        }
        // SAFETY: not null; the owner keeps it.
        let child = unsafe { &*child };
        if let Some(column) = lent.and_then(|lent| lent.find(child, field.data_type())) {
            columns.push(column);
            continue;
        }
        // SAFETY: as above.
        if let Some(column) = unsafe { import_plain(child, field.data_type(), &owner, trust, rows) }
            && (field.is_nullable() || column.null_count() == 0)
        {
            columns.push(column);
            continue;
        }
        // SAFETY: as above.
        let data = unsafe { import(child, field.data_type(), &owner, trust) }?;
        if data.len() != rows {
            return Err(bad("ABI_ARRAY", "a column has another length than its batch"));
        }
        if !field.is_nullable() && data.null_count() > 0 {
            return Err(bad("ABI_ARRAY", "a column that may not hold nulls does"));
        }
        columns.push(make_array(data));
    }
    Ok(columns)
}

fn size(n: i64) -> Result<usize, PluginError> {
    let n = usize::try_from(n).map_err(|_| bad("ABI_ARRAY", "a length is negative"))?;
    match n > (1 << 31) {
        true => Err(bad("ABI_TOO_LARGE", "an array is too long")),
        false => Ok(n),
    }
}

/// One buffer of the layout of a type.
enum Part {
    /// Bits.
    Bits,
    /// So many bytes for each element.
    Width(usize),
    /// 32-bit or 64-bit offsets, one more than elements.
    Offsets(usize),
    /// As many bytes as the last offset says.
    Bytes,
}

/// The buffers after the validity, and how many children.
fn layout(data_type: &DataType) -> Result<(&'static [Part], usize), PluginError> {
    use Part::{Bits, Bytes, Offsets, Width};
    Ok(match data_type {
        DataType::Null => (&[], 0),
        DataType::Boolean => (&[Bits], 0),
        DataType::Utf8 | DataType::Binary => (&[Offsets(4), Bytes], 0),
        DataType::LargeUtf8 | DataType::LargeBinary => (&[Offsets(8), Bytes], 0),
        DataType::List(_) | DataType::Map(_, _) => (&[Offsets(4)], 1),
        DataType::LargeList(_) => (&[Offsets(8)], 1),
        DataType::FixedSizeList(_, _) => (&[], 1),
        DataType::Struct(fields) => (&[], fields.len()),
        // Its width is no constant: see `import`.
        DataType::FixedSizeBinary(_) => (&[Width(0)], 0),
        plain => match plain.primitive_width() {
            Some(1) => (&[Width(1)], 0),
            Some(2) => (&[Width(2)], 0),
            Some(4) => (&[Width(4)], 0),
            Some(8) => (&[Width(8)], 0),
            Some(16) => (&[Width(16)], 0),
            Some(32) => (&[Width(32)], 0),
            _ => {
                return Err(PluginError::new(
                    Status::Unsupported,
                    "ABI_TYPE",
                    format!("the type {plain} does not cross the plugin boundary"),
                ));
            }
        },
    })
}

fn fields_of(data_type: &DataType) -> &[FieldRef] {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => std::slice::from_ref(item),
        DataType::Struct(fields) => fields,
        _ => &[],
    }
}

/// A column of numbers, or one of texts where the host is believed, which is in order; `None`: [`import`] takes it, or says
/// what is wrong.
///
/// # Safety
/// As [`import`].
unsafe fn import_plain(
    array: &ArrowArray,
    data_type: &DataType,
    owner: &Arc<Moved>,
    trust: Trust,
    rows: usize,
) -> Option<ArrayRef> {
    let in_order = usize::try_from(array.length) == Ok(rows)
        && rows > 0
        && array.offset == 0
        && array.n_children == 0
        && array.dictionary.is_null()
        && !array.buffers.is_null();
    let n = if data_type == &DataType::Utf8 { 3 } else { 2 };
    if !in_order || array.n_buffers != n {
        return None;
    }
    // SAFETY: the array has so many buffers.
    let pointer = |index: usize| NonNull::new(unsafe { *array.buffers.add(index) }.cast_mut().cast::<u8>());
    // SAFETY: the other side says that so many bytes are there; the owner keeps them.
    let view = |pointer, bytes| unsafe { Buffer::from_custom_allocation(pointer, bytes, owner.clone()) };
    let nulls = match pointer(0) {
        Some(bits) => Some(NullBuffer::new(BooleanBuffer::new(
            view(bits, rows.div_ceil(8)),
            0,
            rows,
        ))),
        None if array.null_count > 0 => return None,
        None => None,
    };
    if data_type == &DataType::Utf8 {
        let offsets = pointer(1)?;
        if trust == Trust::Plugin || !offsets.cast::<i32>().is_aligned() {
            return None;
        }
        // SAFETY: aligned, and there is one more than rows.
        let last = unsafe { *offsets.cast::<i32>().as_ptr().add(rows) };
        let bytes = usize::try_from(last).ok()?;
        let values = match bytes {
            0 => Buffer::from(Vec::<u8>::new()),
            _ => view(pointer(2)?, bytes),
        };
        let offsets = ScalarBuffer::<i32>::new(view(offsets, (rows + 1) * size_of::<i32>()), 0, rows + 1);
        // SAFETY: the host is believed.
        let texts = unsafe { StringArray::new_unchecked(OffsetBuffer::new_unchecked(offsets), values, nulls) };
        return Some(Arc::new(texts));
    }
    macro_rules! numbers {
        ($type:ty) => {{
            let values = pointer(1)?;
            if !values.cast::<<$type as ArrowPrimitiveType>::Native>().is_aligned() {
                return None;
            }
            let width = size_of::<<$type as ArrowPrimitiveType>::Native>();
            let values = ScalarBuffer::new(view(values, rows * width), 0, rows);
            let numbers = PrimitiveArray::<$type>::try_new(values, nulls).ok()?;
            Some(Arc::new(numbers.with_data_type(data_type.clone())))
        }};
    }
    downcast_primitive! {
        data_type => (numbers),
        _ => None,
    }
}

/// # Safety
/// `array` is kept by `owner`; where the other side is the host, it is right.
unsafe fn import(
    array: &ArrowArray,
    data_type: &DataType,
    owner: &Arc<Moved>,
    trust: Trust,
) -> Result<ArrayData, PluginError> {
    let (length, offset) = (size(array.length)?, size(array.offset)?);
    let end = length + offset;
    let (parts, n_children) = layout(data_type)?;
    let validity = usize::from(data_type != &DataType::Null);
    if size(array.n_buffers)? != parts.len() + validity || !array.dictionary.is_null() {
        return Err(bad("ABI_SCHEMA", "a column is of another type than its schema says"));
    }
    if size(array.n_children)? != n_children {
        return Err(bad("ABI_SCHEMA", "a column is of another type than its schema says"));
    }
    if (array.n_buffers > 0 && array.buffers.is_null()) || (n_children > 0 && array.children.is_null()) {
        return Err(bad("ABI_NULL", "the buffers of a column are NULL"));
    }
    // SAFETY: the array has so many buffers.
    let pointer = |index: usize| unsafe { *array.buffers.add(index) };
    let view = |pointer: *const c_void, bytes: usize| -> Result<Buffer, PluginError> {
        match NonNull::new(pointer.cast_mut().cast::<u8>()) {
            _ if bytes == 0 => Ok(Buffer::from(Vec::<u8>::new())),
            None => Err(bad("ABI_NULL", "a buffer of a column is NULL")),
            // SAFETY: the other side says that so many bytes are there; the owner keeps them.
            Some(pointer) => Ok(unsafe { Buffer::from_custom_allocation(pointer, bytes, owner.clone()) }),
        }
    };
    let bits = end.div_ceil(8);
    let nulls = match validity {
        1 if !pointer(0).is_null() => Some(view(pointer(0), bits)?),
        _ => None,
    };
    if validity == 1 && nulls.is_none() && array.null_count > 0 && length > 0 {
        return Err(bad("ABI_NULL", "a column has nulls and no validity"));
    }
    let mut buffers: Vec<Buffer> = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let at = pointer(index + validity);
        let buffer = match part {
            Part::Bits => view(at, bits)?,
            Part::Width(0) => match data_type {
                DataType::FixedSizeBinary(width) => view(at, end * size(i64::from(*width))?)?,
                _ => return Err(bad("ABI_TYPE", "a column of an unknown width")),
            },
            Part::Width(width) => view(at, end * width)?,
            // An array without elements may have no offsets at all.
            Part::Offsets(width) if end == 0 && at.is_null() => Buffer::from(vec![0_u8; *width]),
            Part::Offsets(width) => view(at, (end + 1) * width)?,
            Part::Bytes => {
                let bytes = buffers
                    .first()
                    .map_or(Ok(0), |offsets| last_offset(offsets, data_type))?;
                view(at, bytes)?
            }
        };
        buffers.push(buffer);
    }
    let mut children = Vec::with_capacity(n_children);
    for (index, field) in fields_of(data_type).iter().enumerate() {
        // SAFETY: the array has so many children.
        let child = unsafe { *array.children.add(index) };
        if child.is_null() {
            return Err(bad("ABI_NULL", "a child of a column is NULL"));
        }
        // SAFETY: not null; the owner keeps it.
        children.push(unsafe { import(&*child, field.data_type(), owner, trust) }?);
    }
    let builder = ArrayData::builder(data_type.clone())
        .len(length)
        .offset(offset)
        .null_bit_buffer(nulls)
        .buffers(buffers)
        .child_data(children)
        .align_buffers(true);
    match trust {
        // SAFETY: the host is believed.
        Trust::Host => Ok(unsafe { builder.build_unchecked() }),
        // Arrow's messages may quote what they found: only that it did may leave.
        Trust::Plugin => builder
            .build()
            .map_err(|_| bad("ABI_ARRAY", "the buffers of a column do not hold what its type needs")),
    }
}

fn last_offset(offsets: &Buffer, data_type: &DataType) -> Result<usize, PluginError> {
    let bytes = offsets.as_slice();
    let large = matches!(data_type, DataType::LargeUtf8 | DataType::LargeBinary);
    let last = match large {
        true => bytes.last_chunk().map(|b| i64::from_ne_bytes(*b)),
        false => bytes.last_chunk().map(|b| i64::from(i32::from_ne_bytes(*b))),
    };
    size(last.unwrap_or(0))
}
