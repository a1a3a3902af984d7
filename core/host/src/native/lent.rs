//! Batches and schemas lent to plugins. A batch and each of its columns, at all depths, has a number and not a pointer to be
//! released by, so that a second release is counted and not a second free; the release of a schema does nothing.

use crate::limits::Account;
use clinmill_abi::tables::{ArrowArray, ArrowSchema};
use clinmill_sdk::{PluginError, arrow::datatypes::Schema, export::schema as schemas};
use std::{
    ffi::c_void,
    sync::{Arc, Mutex, PoisonError},
};

struct Entry {
    /// How often this place was used: the upper half of the number.
    turn: u32,
    account: Arc<Account>,
    array: Option<ArrowArray>,
}

// SAFETY: an array may be released on any thread.
unsafe impl Send for Entry {}

#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

static TABLE: Mutex<Table> = Mutex::new(Table {
    entries: Vec::new(),
    free: Vec::new(),
});

/// The array as the plugin gets it. It was made by the SDK and is not released.
pub fn lend(array: ArrowArray, account: &Arc<Account>) -> ArrowArray {
    let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    lend_by(&mut table, array, account)
}

fn lend_by(table: &mut Table, array: ArrowArray, account: &Arc<Account>) -> ArrowArray {
    for index in 0..usize::try_from(array.n_children).unwrap_or(0) {
        // SAFETY: the array has so many children, and each is its own; what is read is written back under a number.
        unsafe {
            let child = *array.children.add(index);
            std::ptr::write(child, lend_by(table, std::ptr::read(child), account));
        }
    }
    let mut out = ArrowArray {
        release: Some(release),
        ..ArrowArray { ..copy(&array) }
    };
    account.count_lent();
    let place = table.free.pop();
    let (index, turn) = match place.and_then(|index| Some((index, table.entries.get_mut(index as usize)?))) {
        Some((index, entry)) => {
            entry.turn = entry.turn.wrapping_add(1);
            entry.array = Some(array);
            if !Arc::ptr_eq(&entry.account, account) {
                entry.account = account.clone();
            }
            (index, entry.turn)
        }
        None => {
            let index = u32::try_from(table.entries.len()).unwrap_or(u32::MAX);
            table.entries.push(Entry {
                turn: 1,
                account: account.clone(),
                array: Some(array),
            });
            (index, 1)
        }
    };
    out.private_data = ((u64::from(turn) << 32) | u64::from(index)) as usize as *mut c_void;
    out
}

fn copy(array: &ArrowArray) -> ArrowArray {
    ArrowArray {
        length: array.length,
        null_count: array.null_count,
        offset: array.offset,
        n_buffers: array.n_buffers,
        n_children: array.n_children,
        buffers: array.buffers,
        children: array.children,
        dictionary: array.dictionary,
        release: None,
        private_data: std::ptr::null_mut(),
    }
}

unsafe extern "C-unwind" fn release(array: *mut ArrowArray) {
    // SAFETY: the plugin passes the struct that it was given, or a copy of it.
    let Some(array) = (unsafe { array.as_mut() }) else {
        return;
    };
    let number = array.private_data as usize as u64;
    array.release = None;
    let (index, turn) = ((number & 0xffff_ffff) as u32, (number >> 32) as u32);
    let lent = {
        let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = table.entries.get_mut(index as usize) else {
            return;
        };
        let lent = match entry.turn == turn {
            true => entry.array.take(),
            false => None,
        };
        match lent.is_some() {
            true => {
                entry.account.count_release();
                table.free.push(index);
            }
            false => entry.account.count_double_release(),
        }
        lent
    };
    if let Some(mut lent) = lent
        && let Some(release) = lent.release
    {
        // SAFETY: the table owned it, and it was taken out once.
        unsafe { release(&raw mut lent) };
    }
}

/// The schema of *bind*: the plugin's to read, and not to release.
pub struct LentSchema {
    schema: Box<ArrowSchema>,
    release: Option<unsafe extern "C-unwind" fn(*mut ArrowSchema)>,
}

/// The release of a lent schema.
unsafe extern "C-unwind" fn keep(schema: *mut ArrowSchema) {
    // SAFETY: the plugin passes what it was lent, or a copy of it.
    if let Some(schema) = unsafe { schema.as_mut() } {
        schema.release = None;
    }
}

/// # Safety
/// A schema of [`schemas::export`], whose parts all have one release and were not released by it.
unsafe fn release_by(schema: &mut ArrowSchema, release: Option<unsafe extern "C-unwind" fn(*mut ArrowSchema)>) {
    schema.release = release;
    for index in 0..usize::try_from(schema.n_children).unwrap_or(0) {
        // SAFETY: there are so many children, each its own.
        unsafe { release_by(&mut **schema.children.add(index), release) };
    }
}

impl LentSchema {
    /// # Errors
    /// `ABI_TYPE` for a type that does not cross the boundary.
    pub fn new(schema: &Schema) -> Result<Self, PluginError> {
        let mut schema = Box::new(schemas::export(schema)?);
        let release = schema.release;
        // SAFETY: just exported.
        unsafe { release_by(&mut schema, Some(keep)) };
        Ok(Self { schema, release })
    }

    /// Where it lies.
    pub fn as_ptr(&self) -> *const ArrowSchema {
        &raw const *self.schema
    }
}

impl Drop for LentSchema {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: exported by `new`, and released here alone.
            unsafe {
                release_by(&mut self.schema, self.release);
                release(&raw mut *self.schema);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use clinmill_sdk::{
        arrow::{
            array::{Array, ArrayRef, ListArray, StringArray},
            buffer::OffsetBuffer,
            datatypes::{DataType, Field},
        },
        export::array,
    };

    #[test]
    fn columns_are_released_once_each() {
        let account = Account::new(Limits::default());
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let item = Arc::new(Field::new("item", DataType::Utf8, true));
        let lists = ListArray::new(item, OffsetBuffer::new(vec![0, 1, 2].into()), texts.clone(), None);
        let columns: [ArrayRef; 2] = [texts.clone(), Arc::new(lists)];
        let mut lent = lend(array::export_columns(&columns, 2), &account);
        let taken = |of: &mut ArrowArray| {
            let out = ArrowArray {
                release: of.release,
                private_data: of.private_data,
                ..copy(of)
            };
            (out, of.release.unwrap())
        };
        // SAFETY: what a plugin may do with columns that it was lent, and what it may not.
        unsafe {
            let (texts, lists) = (&mut **lent.children, &mut **lent.children.add(1));
            let (mut again, release) = taken(texts);
            release(texts);
            release(&raw mut again);
            // The column of a column is moved away: whoever has it releases it, now twice.
            let inner = &mut **lists.children;
            let (mut moved, release_inner) = taken(inner);
            let (mut copied, _) = taken(inner);
            inner.release = None;
            lent.release.unwrap()(&raw mut lent);
            release_inner(&raw mut moved);
            release_inner(&raw mut copied);
        }
        assert_eq!(account.releases(), (4, 4, 2));
        drop(columns);
        assert_eq!(
            Arc::strong_count(&texts),
            1,
            "nothing of it is kept, and nothing was freed twice"
        );
        assert_eq!(texts.len(), 2);
    }

    #[test]
    fn a_lent_schema_is_not_the_plugins_to_release() {
        let schema = Schema::new(vec![Field::new("a", DataType::Utf8, true)]);
        let lent = LentSchema::new(&schema).unwrap();
        // SAFETY: what a plugin may not do.
        unsafe {
            let given = lent.as_ptr().cast_mut();
            let child = *(*given).children;
            for schema in [child, given] {
                let (release, mut again) = ((*schema).release.unwrap(), std::ptr::read(schema));
                release(schema);
                release(&raw mut again);
            }
        }
        drop(lent);
    }

    #[test]
    fn a_second_release_is_counted() {
        let account = Account::new(Limits::default());
        let mut lent = lend(array::export_columns(&[], 3), &account);
        let mut copy = ArrowArray {
            release: lent.release,
            private_data: lent.private_data,
            ..copy(&lent)
        };
        let release = lent.release.unwrap();
        // SAFETY: what a plugin may do, and what it may not.
        unsafe {
            release(&raw mut lent);
            assert_eq!(account.double_releases(), 0);
            release(&raw mut copy);
        }
        assert_eq!(account.double_releases(), 1);
    }
}
