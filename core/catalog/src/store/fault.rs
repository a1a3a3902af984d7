//! A store that fails on purpose, repeatably from a seed: for the tests of everything that commits.

use super::{ByteStream, ObjectInfo, Store, StoreError, StoreErrorKind as Kind};
use crate::env::{Clock, Env, SeededRandom};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// One way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error, and nothing happened.
    FailBefore,
    /// It happened, and an error.
    ApplyThenFail,
    /// An error, and it happens some operations later.
    ApplyLate,
    /// It happened, and the answer says that the object was there already (a retry inside a client).
    SaysExists,
    /// HTTP 409, and nothing happened.
    Conflict,
    /// A read that breaks off, or with one bit flipped.
    TornRead,
}

/// How often each fault happens, per thousand operations it applies to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// [`Fault::FailBefore`], all operations including lists.
    pub fail_before: u64,
    /// [`Fault::ApplyThenFail`], writes and deletes.
    pub apply_then_fail: u64,
    /// [`Fault::ApplyLate`], writes and deletes.
    pub apply_late: u64,
    /// [`Fault::SaysExists`], create-if-absent.
    pub says_exists: u64,
    /// [`Fault::Conflict`], writes.
    pub conflict: u64,
    /// [`Fault::TornRead`], reads.
    pub torn_read: u64,
}

impl Faults {
    /// Every fault, often.
    pub fn all(per_thousand: u64) -> Self {
        Self {
            fail_before: per_thousand,
            apply_then_fail: per_thousand,
            apply_late: per_thousand,
            says_exists: per_thousand,
            conflict: per_thousand,
            torn_read: per_thousand,
        }
    }
}

/// A store around another one that injects faults, yields to other tasks at random before and after each operation,
/// and dates objects by the given clock.
#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: SeededRandom,
    faults: Faults,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    operation: u64,
    unconditional: bool,
    calm: bool,
    late: Vec<(u64, Write)>,
    modified: BTreeMap<String, Timestamp>,
    injected: Vec<Fault>,
}

#[derive(Clone, Debug)]
enum Write {
    Create(String, Bytes),
    Put(String, Bytes),
    Delete(String),
}

impl FaultStore {
    /// Wraps a store.
    pub fn new(inner: Arc<dyn Store>, env: &Env, seed: u64, faults: Faults) -> Self {
        Self {
            inner,
            clock: env.clock.clone(),
            random: SeededRandom::new(seed),
            faults,
            state: Mutex::default(),
        }
    }

    /// Makes create-if-absent overwrite, as stores do that ignore `If-None-Match`.
    pub fn ignore_conditions(&self, on: bool) {
        self.state().unconditional = on;
    }

    /// Stops (or starts again) injecting, for looking at the outcome. Writes that are still to come late stay.
    pub fn calm(&self, on: bool) {
        self.state().calm = on;
    }

    /// The faults injected so far.
    pub fn injected(&self) -> Vec<Fault> {
        self.state().injected.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn pick(&self, choices: &[(u64, Fault)]) -> Option<Fault> {
        if self.state().calm {
            return None;
        }
        let mut n = self.random.below(1000);
        for (weight, fault) in choices {
            if n < *weight {
                self.state().injected.push(*fault);
                return Some(*fault);
            }
            n -= weight;
        }
        None
    }

    /// Lets others run, and lets late writes arrive.
    async fn turn(&self) {
        for _ in 0..self.random.below(4) {
            tokio::task::yield_now().await;
        }
        let due: Vec<Write> = {
            let mut state = self.state();
            state.operation += 1;
            let now = state.operation;
            let (due, later) = std::mem::take(&mut state.late)
                .into_iter()
                .partition(|(at, _)| *at <= now);
            state.late = later;
            let due: Vec<(u64, Write)> = due;
            due.into_iter().map(|(_, write)| write).collect()
        };
        for write in due {
            // Nobody waits for this answer any more.
            let _ = self.apply(&write).await;
        }
    }

    async fn apply(&self, write: &Write) -> Result<(), StoreError> {
        let (key, done) = match write {
            Write::Create(key, bytes) if self.state().unconditional => (key, self.inner.put(key, bytes.clone()).await),
            Write::Create(key, bytes) => (key, self.inner.put_if_absent(key, bytes.clone()).await),
            Write::Put(key, bytes) => (key, self.inner.put(key, bytes.clone()).await),
            Write::Delete(key) => (key, self.inner.delete(key).await),
        };
        if done.is_ok() {
            let now = self.clock.now();
            self.state().modified.insert(key.clone(), now);
        }
        done
    }

    async fn write(&self, action: &'static str, key: &str, write: Write) -> Result<(), StoreError> {
        self.turn().await;
        let f = &self.faults;
        let create = matches!(write, Write::Create(..));
        let fault = self.pick(&[
            (f.fail_before, Fault::FailBefore),
            (f.apply_then_fail, Fault::ApplyThenFail),
            (f.apply_late, Fault::ApplyLate),
            (f.conflict, Fault::Conflict),
            (if create { f.says_exists } else { 0 }, Fault::SaysExists),
        ]);
        let fail = |kind, reason: &str| Err(StoreError::new(action, key, kind, reason));
        let done = match fault {
            None => self.apply(&write).await,
            Some(Fault::Conflict) => fail(Kind::Conflict, "injected: 409"),
            Some(Fault::ApplyThenFail) => {
                self.apply(&write).await?;
                fail(Kind::Transient, "injected: applied, then failed")
            }
            Some(Fault::SaysExists) => {
                self.apply(&write).await?;
                fail(Kind::AlreadyExists, "injected: 412 after an inner retry")
            }
            Some(Fault::ApplyLate) => {
                let at = self.state().operation + 1 + self.random.below(20);
                self.state().late.push((at, write));
                fail(Kind::Transient, "injected: time-out")
            }
            Some(_) => fail(Kind::Transient, "injected: 503"),
        };
        self.turn().await;
        done
    }

    async fn before_read(&self, action: &'static str, key: &str) -> Result<(), StoreError> {
        self.turn().await;
        match self.pick(&[(self.faults.fail_before, Fault::FailBefore)]) {
            Some(_) => Err(StoreError::new(action, key, Kind::Transient, "injected: 503")),
            None => Ok(()),
        }
    }

    fn dated(&self, mut info: ObjectInfo) -> ObjectInfo {
        if let Some(at) = self.state().modified.get(&info.key) {
            info.modified = *at;
        }
        info
    }
}

#[async_trait]
impl Store for FaultStore {
    fn url(&self) -> String {
        self.inner.url()
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.write("create", key, Write::Create(key.to_owned(), bytes)).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.write("write", key, Write::Put(key.to_owned(), bytes)).await
    }

    async fn put_file(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        let bytes = std::fs::read(file).map_err(|e| StoreError::new("write", key, Kind::Permanent, e.to_string()))?;
        self.write("write", key, Write::Put(key.to_owned(), bytes.into())).await
    }

    async fn stream(&self, key: &str) -> Result<ByteStream, StoreError> {
        self.before_read("read", key).await?;
        let mut bytes = self.inner.get(key).await?.to_vec();
        let mut broken = None;
        if self.pick(&[(self.faults.torn_read, Fault::TornRead)]).is_some() {
            let at = self.random.below(bytes.len() as u64) as usize;
            match self.random.below(3) {
                0 => bytes.truncate(at),
                1 => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.random.below(8);
                    }
                }
                _ => {
                    bytes.truncate(at);
                    broken = Some(Err(StoreError::new(
                        "read",
                        key,
                        Kind::Transient,
                        "injected: broke off",
                    )));
                }
            }
        }
        Ok(futures::stream::iter([Ok(Bytes::from(bytes))].into_iter().chain(broken)).boxed())
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo, StoreError> {
        self.before_read("look at", key).await?;
        self.inner.head(key).await.map(|info| self.dated(info))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.before_read("list", prefix).await?;
        let all = self.inner.list(prefix).await?;
        Ok(all.into_iter().map(|info| self.dated(info)).collect())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.write("delete", key, Write::Delete(key.to_owned())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CloudStore;

    #[tokio::test]
    async fn repeats_by_seed_and_injects_each_fault() {
        let run = |seed| async move {
            let env = Env::seeded(seed);
            let inner = Arc::new(CloudStore::new(Arc::new(object_store::memory::InMemory::new())));
            let store = FaultStore::new(inner, &env, seed, Faults::all(100));
            for n in 0..200u32 {
                let key = format!("k/{}", n % 7);
                let _ = store.put_if_absent(&key, Bytes::from(vec![n as u8; 9])).await;
                let _ = store.get(&key).await;
            }
            store.injected()
        };
        let injected = run(5).await;
        assert_eq!(injected, run(5).await);
        for fault in [
            Fault::FailBefore,
            Fault::ApplyThenFail,
            Fault::ApplyLate,
            Fault::SaysExists,
            Fault::Conflict,
            Fault::TornRead,
        ] {
            assert!(injected.contains(&fault), "{fault:?}");
        }
    }
}
