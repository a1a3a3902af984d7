//! Batches lent to plugins. The plugin gets a number and not a pointer to release them by, so that a second release is
//! counted and not a second free.

use crate::limits::Account;
use clinmill_abi::tables::ArrowArray;
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

/// The array as the plugin gets it.
pub fn lend(array: ArrowArray, account: &Arc<Account>) -> ArrowArray {
    let mut out = ArrowArray {
        release: Some(release),
        ..ArrowArray { ..copy(&array) }
    };
    account.count_lent();
    let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use clinmill_sdk::export::array;

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
