//! An engine's storage: its own prefix, inside the request's transaction.

use crate::{Error, Result};
use async_trait::async_trait;
use secmem::Zeroizing;

/// A stored value; wiped when dropped.
pub type Entry = Zeroizing<Vec<u8>>;

/// A serialisable optimistic transaction over one mount's records.
///
/// Reads record key and revision (or absence); reads and lists see the
/// transaction's own writes. Nothing is written before the engine returns
/// `Ok`; on a conflict the core runs the engine again, so an engine does no
/// I/O and has no side effects of its own. Paths are relative, `/`-separated,
/// without a leading slash; a record may have the same name as a folder.
#[async_trait]
pub trait View: Send {
    async fn get(&mut self, path: &str) -> Result<Option<Entry>>;
    /// At most [`crate::limits::MAX_SECRET_BYTES`] plus framing, else `TooLarge`.
    async fn put(&mut self, path: &str, value: Entry) -> Result<()>;
    async fn delete(&mut self, path: &str) -> Result<()>;
    /// Child names of folder `dir` (`""` or ending in `/`) in byte order, folders ending in
    /// `/`, starting after `after`, at most `limit`. Names are not part of the read set: a
    /// listing that guards a write must go through [`View::fence`].
    async fn list(&mut self, dir: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>>;
    /// Makes this transaction conflict with every other that fences the same folder.
    async fn fence(&mut self, dir: &str) -> Result<()>;
}

/// Typed records over a [`View`].
#[async_trait]
pub trait ViewExt: View {
    async fn get_json<T: serde::de::DeserializeOwned>(&mut self, path: &str) -> Result<Option<T>> {
        match self.get(path).await? {
            None => Ok(None),
            Some(v) => serde_json::from_slice(&v).map(Some).map_err(|_| {
                // serde's message may quote the record: leave it out.
                Error::internal(format!("stored record has an unknown form ({} bytes)", v.len()))
            }),
        }
    }
    async fn put_json<T: serde::Serialize + Sync>(&mut self, path: &str, value: &T) -> Result<()> {
        let mut buf = Zeroizing::new(Vec::with_capacity(512));
        serde_json::to_writer(&mut *buf, value).map_err(|_| Error::internal("record cannot be encoded"))?;
        self.put(path, buf).await
    }
}
impl<V: View + ?Sized> ViewExt for V {}
