//! Whether a store keeps the one promise that commits rest on.

use super::{Store, StoreErrorKind};
use crate::env::Env;
use crate::{CatalogError, Result};
use bytes::Bytes;
use futures::future::join_all;
use std::sync::Arc;

/// Keys of races begin so; one that was cut off leaves a key behind, which means nothing.
pub(crate) const PROBE: &str = "_probe/";
/// Writers that race for one key.
const RACERS: usize = 8;
/// Races; one that happens to be run one after the other proves little.
const ROUNDS: usize = 3;

/// Races create-if-absent writes. Refuses a store that lets more than one of them win, lets none win, or keeps
/// another's bytes. Leaves nothing behind. Call it before the first release is written to a store.
pub async fn probe(store: &Arc<dyn Store>, env: &Env) -> Result<()> {
    for _ in 0..ROUNDS {
        let key = format!("{PROBE}{}", env.uuid());
        let outcome = race(store, &key).await;
        store.delete(&key).await?;
        outcome?;
    }
    Ok(())
}

async fn race(store: &Arc<dyn Store>, key: &str) -> Result<()> {
    let racers = (0..RACERS).map(|n| {
        let (store, key) = (store.clone(), key.to_owned());
        // Tasks, so that the calls overlap on a runtime with several threads.
        tokio::spawn(async move { store.put_if_absent(&key, Bytes::from(n.to_string())).await })
    });
    let mut winners = Vec::new();
    for (n, outcome) in join_all(racers).await.into_iter().enumerate() {
        match outcome.map_err(|_| CatalogError::invalid("probe", "a writer was stopped"))? {
            Ok(()) => winners.push(n),
            Err(e) if matches!(e.kind, StoreErrorKind::AlreadyExists | StoreErrorKind::Conflict) => {}
            Err(e) if e.kind == StoreErrorKind::Permanent => {
                return Err(unsafe_store(store, &format!("create-if-absent fails: {}", e.reason)));
            }
            Err(e) => return Err(e.into()),
        }
    }
    match winners.as_slice() {
        [winner] if store.get(key).await? == winner.to_string().as_bytes() => Ok(()),
        [_] => Err(unsafe_store(store, "a later writer replaced the winner's bytes")),
        many => Err(unsafe_store(
            store,
            &format!("{} of {RACERS} writers were told that they had won", many.len()),
        )),
    }
}

fn unsafe_store(store: &Arc<dyn Store>, what: &str) -> CatalogError {
    CatalogError::refused(
        format!("{}: this store does not honour conditional writes: {what}", store.url()),
        "publish to a store or file system with create-if-absent (hard links, or If-None-Match), \
         otherwise two refreshes could commit the same release",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CloudStore, FaultStore, Faults};

    #[tokio::test]
    async fn refuses_a_store_without_conditional_writes() {
        let env = Env::seeded(3);
        let inner = Arc::new(CloudStore::new(Arc::new(object_store::memory::InMemory::new())));
        let store = FaultStore::new(inner, &env, 3, Faults::default());
        store.ignore_conditions(true);
        let store: Arc<dyn Store> = Arc::new(store);
        let refusal = probe(&store, &env).await.unwrap_err();
        assert!(
            refusal.to_string().contains("does not honour conditional writes"),
            "{refusal}"
        );
        assert!(matches!(refusal, CatalogError::Refused { .. }));
    }
}
