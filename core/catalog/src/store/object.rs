//! A store on any `object_store`.

use super::{ByteStream, ObjectInfo, Store, StoreError, StoreErrorKind as Kind, check_key};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::path::Path as Location;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// An object store, with the root at its prefix.
#[derive(Clone, Debug)]
pub struct CloudStore(Arc<dyn ObjectStore>);

impl CloudStore {
    /// Wraps an object store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self(store)
    }
}

fn location(action: &'static str, key: &str) -> Result<Location, StoreError> {
    check_key(action, key)?;
    Location::parse(key).map_err(|e| StoreError::new(action, key, Kind::Permanent, e.to_string()))
}

fn wrap(action: &'static str, key: &str) -> impl Fn(Error) -> StoreError + use<> {
    let key = key.to_owned();
    move |e| {
        let kind = match &e {
            Error::NotFound { .. } => Kind::NotFound,
            Error::AlreadyExists { .. } | Error::Precondition { .. } => Kind::AlreadyExists,
            Error::Generic { .. } | Error::JoinError { .. } => Kind::Transient,
            _ => Kind::Permanent,
        };
        StoreError::new(action, &key, kind, e.to_string())
    }
}

fn info(meta: ObjectMeta) -> ObjectInfo {
    ObjectInfo {
        key: meta.location.to_string(),
        size: meta.size,
        modified: Timestamp::from_microsecond(meta.last_modified.timestamp_micros()).unwrap_or(Timestamp::UNIX_EPOCH),
    }
}

#[async_trait]
impl Store for CloudStore {
    fn url(&self) -> String {
        self.0.to_string()
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let options = PutOptions::from(PutMode::Create);
        let at = location("create", key)?;
        let put = self.0.put_opts(&at, PutPayload::from(bytes), options).await;
        put.map(drop).map_err(wrap("create", key))
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let put = self.0.put(&location("write", key)?, PutPayload::from(bytes)).await;
        put.map(drop).map_err(wrap("write", key))
    }

    async fn put_file(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        let local = |e: std::io::Error| StoreError::new("write", key, Kind::Permanent, format!("local file: {e}"));
        let to = location("write", key)?;
        let mut file = std::fs::File::open(file).map_err(local)?;
        let upload = self.0.put_multipart(&to).await.map_err(wrap("write", key))?;
        let mut upload = WriteMultipart::new(upload);
        let mut piece = vec![0; 1 << 20];
        loop {
            let n = file.read(&mut piece).map_err(local)?;
            let Some(read) = piece.get(..n).filter(|p| !p.is_empty()) else {
                break;
            };
            upload.wait_for_capacity(4).await.map_err(wrap("write", key))?;
            upload.write(read);
        }
        upload.finish().await.map(drop).map_err(wrap("write", key))
    }

    async fn stream(&self, key: &str) -> Result<ByteStream, StoreError> {
        let got = self.0.get(&location("read", key)?).await.map_err(wrap("read", key))?;
        Ok(got.into_stream().map_err(wrap("read", key)).boxed())
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo, StoreError> {
        let meta = self.0.head(&location("look at", key)?).await;
        meta.map(info).map_err(wrap("look at", key))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let at = match prefix {
            "" => None,
            prefix => Some(location("list", prefix)?),
        };
        let mut all: Vec<_> = self
            .0
            .list(at.as_ref())
            .map_ok(info)
            .try_collect()
            .await
            .map_err(wrap("list", prefix))?;
        all.sort_by(|a: &ObjectInfo, b| a.key.cmp(&b.key));
        Ok(all)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        match self.0.delete(&location("delete", key)?).await {
            Err(Error::NotFound { .. }) => Ok(()),
            done => done.map_err(wrap("delete", key)),
        }
    }
}
