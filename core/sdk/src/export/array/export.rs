//! Arrays that are handed over.

use crate::export::abi::ArrowArray;
use arrow::{
    array::{Array, ArrayData, ArrayRef, AsArray, RecordBatch, downcast_primitive},
    buffer::Buffer,
    datatypes::DataType,
};
use std::{
    ffi::c_void,
    sync::atomic::{AtomicUsize, Ordering},
};

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
