//! Arrays that are taken.

use super::MOST_ROWS;
use crate::{PluginError, Status, decimal, export::abi::ArrowArray};
use arrow::{
    array::{
        Array, ArrayData, ArrayRef, ArrowPrimitiveType, PrimitiveArray, StringArray, downcast_primitive, make_array,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, FieldRef},
};
use std::{ffi::c_void, panic::RefUnwindSafe, ptr::NonNull, sync::Arc};

/// Who calls the releases of arrays that were moved here, where they are not simply called: a release is the other side's
/// code, and may not come back.
pub trait Releases: Send + Sync {
    /// Takes an array whose release is to be called, once, on any thread.
    fn take(&self, array: ArrowArray);
}

/// An array that was moved here: released when its last buffer is dropped.
pub struct Moved {
    array: ArrowArray,
    by: Option<Arc<dyn Releases>>,
}

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
        Ok(Self { array: taken, by: None })
    }

    /// Has it released by somebody else.
    #[must_use]
    pub fn released_by(mut self, by: Arc<dyn Releases>) -> Self {
        self.by = Some(by);
        self
    }

    /// Rows, as it says.
    pub fn rows(&self) -> i64 {
        self.array.length
    }

    /// Columns, as it says.
    pub fn columns(&self) -> i64 {
        self.array.n_children
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        let mut array = std::mem::replace(&mut self.array, ArrowArray::EMPTY);
        match (array.release, &self.by) {
            (None, _) => {}
            (Some(_), Some(by)) => by.take(array),
            // SAFETY: this value owned the array; the specification lets any thread release it.
            (Some(release), None) => unsafe { release(&raw mut array) },
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
    let root = &owner.array;
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
    if root.offset != 0 || root.null_count > 0 || !root.dictionary.is_null() || holds_null_rows(root, rows) {
        return Err(bad("ABI_ARRAY", "a batch has an offset, null rows or a dictionary"));
    }
    if !fields.is_empty() && root.children.is_null() {
        return Err(bad("ABI_NULL", "the columns of a batch are NULL"));
    }
    let mut columns = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        // SAFETY: the array has as many children as fields, as checked.
        let child = unsafe { *owner.array.children.add(index) };
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
            columns.push(checked(column, trust)?);
            continue;
        }
        // SAFETY: as above.
        if let Some(column) = unsafe { import_texts(child, field.data_type(), &owner, rows) }
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
        columns.push(checked(make_array(data), trust)?);
    }
    Ok(columns)
}

/// Whether a batch has a validity by which rows are null: how many, it need not say (-1).
fn holds_null_rows(root: &ArrowArray, rows: usize) -> bool {
    if root.n_buffers < 1 || root.buffers.is_null() {
        return false;
    }
    // SAFETY: the array has at least one buffer.
    let bits = unsafe { *root.buffers }.cast::<u8>();
    if bits.is_null() {
        return false;
    }
    // SAFETY: the other side says that there is a bit for each row; the owner keeps them for this call.
    let bytes = unsafe { std::slice::from_raw_parts(bits, rows.div_ceil(8)) };
    BooleanBuffer::new(Buffer::from(bytes), 0, rows).count_set_bits() < rows
}

/// A column whose memory is in order, unless its values are not what its type says.
fn checked(column: ArrayRef, trust: Trust) -> Result<ArrayRef, PluginError> {
    match trust == Trust::Host || decimal::fits(column.as_ref()) {
        true => Ok(column),
        false => Err(bad("ABI_ARRAY", "a decimal has more digits than its type says")),
    }
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

/// A column of texts, looked at where its rows are and nowhere else: of many slices of one buffer, each would be looked at
/// from its begin. `None`: as [`import_plain`].
///
/// # Safety
/// As [`import`].
unsafe fn import_texts(array: &ArrowArray, data_type: &DataType, owner: &Arc<Moved>, rows: usize) -> Option<ArrayRef> {
    let (length, offset) = (size(array.length).ok()?, size(array.offset).ok()?);
    let is_plain = data_type == &DataType::Utf8
        && array.n_buffers == 3
        && array.n_children == 0
        && array.dictionary.is_null()
        && !array.buffers.is_null();
    if !is_plain || length != rows || rows == 0 {
        return None;
    }
    // SAFETY: the array has so many buffers.
    let pointer = |index: usize| NonNull::new(unsafe { *array.buffers.add(index) }.cast_mut().cast::<u8>());
    // SAFETY: the other side says that so many bytes are there; the owner keeps them.
    let view = |pointer, bytes| unsafe { Buffer::from_custom_allocation(pointer, bytes, owner.clone()) };
    let end = offset + length;
    let nulls = match pointer(0) {
        Some(bits) => Some(NullBuffer::new(BooleanBuffer::new(
            view(bits, end.div_ceil(8)),
            offset,
            length,
        ))),
        None if array.null_count > 0 => return None,
        None => None,
    };
    let ends = pointer(1).filter(|ends| ends.cast::<i32>().is_aligned())?;
    let ends = ScalarBuffer::<i32>::new(view(ends, (end + 1) * size_of::<i32>()), offset, length + 1);
    let first = usize::try_from(*ends.first()?).ok()?;
    let last = usize::try_from(*ends.last()?).ok().filter(|last| *last >= first)?;
    let values = match last {
        0 => Buffer::from(Vec::<u8>::new()),
        _ => view(pointer(2)?, last),
    };
    let text = std::str::from_utf8(values.as_slice().get(first..)?).ok()?;
    let is_text = |pair: &[i32]| pair[0] <= pair[1] && text.is_char_boundary((pair[1] as usize).wrapping_sub(first));
    if !ends.windows(2).all(is_text) {
        return None;
    }
    // SAFETY: the ends are in order, from the first to the last, within the values, and lie between characters.
    let texts = unsafe { StringArray::new_unchecked(OffsetBuffer::new_unchecked(ends), values, nulls) };
    Some(Arc::new(texts))
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
        let child = unsafe { import(&*child, field.data_type(), owner, trust) }?;
        // Arrow looks at offsets of lists, and panics over children that are shorter than what has no offsets.
        let needs = match data_type {
            DataType::Struct(_) => end,
            DataType::FixedSizeList(_, n) => end.saturating_mul(size(i64::from(*n))?),
            _ => 0,
        };
        if child.len() < needs {
            return Err(bad("ABI_ARRAY", "a child of a column is shorter than the column"));
        }
        children.push(child);
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
