//! The ids of subjects: a keyed hash of issuer and identifier, remembered while one thread reads.

use crate::fold::Id;
use arrow::array::{Array, StringArray};
use clinmill_catalog::vault::VaultKey;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

/// The keyed id of a subject identifier: event bucket and subject are derived from it.
pub fn subject_id(key: &VaultKey, issuer: &str, id: &str) -> Id {
    key.hmac128("subject", &[issuer.as_bytes(), id.as_bytes()])
}

/// How many ids are remembered; a lookup is cheaper than an HMAC.
const REMEMBERED: usize = 1 << 18;
/// Rows whose slots are looked at together: their memory is waited for once.
const TOGETHER: usize = 64;

/// Tells subjects' ids.
pub struct Subjects<'a> {
    key: &'a VaultKey,
    /// A power of two, at least twice as many as are taken.
    slots: Vec<Slot>,
    taken: usize,
}

/// Half a cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Slot {
    /// Hash of issuer and identifier; 0: free.
    name: u128,
    id: Id,
}

impl<'a> Subjects<'a> {
    /// Under this key.
    pub fn new(key: &'a VaultKey) -> Self {
        Self {
            key,
            slots: vec![Slot::default(); 2 * TOGETHER],
            taken: 0,
        }
    }

    /// The id of each row's subject.
    pub fn ids(&mut self, issuers: &StringArray, subjects: &StringArray) -> Vec<Id> {
        let names = names(issuers, subjects);
        let mut out: Vec<Id> = Vec::with_capacity(names.len());
        for names in names.chunks(TOGETHER) {
            let mut slots = [Slot::default(); TOGETHER];
            for (slot, name) in slots.iter_mut().zip(names) {
                *slot = self.slots[self.place(*name)];
            }
            for (slot, name) in slots.iter().zip(names) {
                let row = out.len();
                out.push(match slot.name == *name {
                    true => slot.id,
                    false => self.id(*name, issuers.value(row), subjects.value(row)),
                });
            }
        }
        out
    }

    fn id(&mut self, name: u128, issuer: &str, subject: &str) -> Id {
        let slot = self.slots[self.find(name)];
        if slot.name == name {
            return slot.id;
        }
        let id = subject_id(self.key, issuer, subject);
        if self.taken >= REMEMBERED {
            self.slots.fill(Slot::default());
            self.taken = 0;
        }
        if (self.taken + 1) * 2 > self.slots.len() {
            let more = vec![Slot::default(); self.slots.len() * 2];
            let all = std::mem::replace(&mut self.slots, more);
            for slot in all.into_iter().filter(|slot| slot.name != 0) {
                let place = self.find(slot.name);
                self.slots[place] = slot;
            }
        }
        let place = self.find(name);
        self.slots[place] = Slot { name, id };
        self.taken += 1;
        id
    }

    /// The slot of a name, or the free one where it belongs.
    fn find(&self, name: u128) -> usize {
        let mut place = self.place(name);
        while ![0, name].contains(&self.slots[place].name) {
            place = (place + 1) % self.slots.len();
        }
        place
    }

    fn place(&self, name: u128) -> usize {
        name as usize & (self.slots.len() - 1)
    }
}

/// A hash of issuer and identifier of each row, never 0.
fn names(issuers: &StringArray, subjects: &StringArray) -> Vec<u128> {
    let mut out: Vec<u128> = Vec::with_capacity(subjects.len());
    let (mut issuer_hash, mut last) = (0, None);
    for i in 0..subjects.len() {
        let (issuer, subject) = (issuers.value(i), subjects.value(i));
        let same_issuer = last.is_some_and(|(last, _)| last == issuer);
        if !same_issuer {
            issuer_hash = xxh3_64(issuer.as_bytes());
        }
        let name = match (out.last(), last == Some((issuer, subject))) {
            (Some(name), true) => *name,
            _ => xxh3_128_with_seed(subject.as_bytes(), issuer_hash).max(1),
        };
        out.push(name);
        last = Some((issuer, subject));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_key_however_many_are_remembered() {
        let key = VaultKey::from_secret("8c2d7f10e5a94b36c1f07d28a3be4956f1d0c9b8a7e6532410fedcba98765432".as_bytes())
            .unwrap();
        let mut subjects = Subjects::new(&key);
        let rows: Vec<(String, String)> = (0..3000u32)
            .map(|i| (format!("issuer {}", i % 2), (i * 7 % 1009).to_string()))
            .chain([("".to_owned(), "".to_owned()), ("".to_owned(), "".to_owned())])
            .collect();
        let expected: Vec<Id> = rows.iter().map(|(issuer, id)| subject_id(&key, issuer, id)).collect();
        for part in [&rows[..], &rows[..1], &rows[..65]] {
            let issuers = StringArray::from_iter_values(part.iter().map(|(issuer, _)| issuer));
            let ids = StringArray::from_iter_values(part.iter().map(|(_, id)| id));
            assert_eq!(subjects.ids(&issuers, &ids), expected[..part.len()]);
        }
        assert_eq!(subjects.taken, 2 * 1009 + 1);
    }
}
