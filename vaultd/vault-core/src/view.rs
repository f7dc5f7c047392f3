//! An engine's window on the request's transaction: its own partition, nothing else.

use crate::fault;
use async_trait::async_trait;
use secmem::Zeroizing;
use storage::{Space, Transaction};
use vault_logical::{Result, View};

/// A [`View`] over one mount's partition.
pub struct MountView<'a> {
    txn: &'a mut Transaction,
    space: Space,
    /// Paths that were looked at.
    looked_at: Vec<String>,
}

impl<'a> MountView<'a> {
    pub fn new(txn: &'a mut Transaction, space: Space) -> Self {
        MountView { txn, space, looked_at: Vec::new() }
    }

    /// The records that what was read here hangs on, present or not.
    pub fn looked_at(self) -> Vec<String> {
        self.looked_at
    }
}

#[async_trait]
impl View for MountView<'_> {
    async fn get(&mut self, path: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.looked_at.push(path.to_owned());
        match self.txn.get(self.space, path).await {
            // No record can have this name.
            Err(storage::Error::Path(_)) => Ok(None),
            got => got.map_err(fault::storage),
        }
    }
    async fn put(&mut self, path: &str, value: Zeroizing<Vec<u8>>) -> Result<()> {
        if value.len() > crate::limits::MAX_RECORD_BYTES {
            return Err(vault_logical::Error::new(
                vault_logical::ErrorKind::TooLarge,
                "secret is larger than this server stores",
            ));
        }
        self.txn.put(self.space, path, value).map_err(|e| match e {
            storage::Error::Path(why) => {
                vault_logical::Error::invalid(format!("this path cannot be stored: {why}"))
            }
            e => fault::storage(e),
        })
    }
    async fn delete(&mut self, path: &str) -> Result<()> {
        match self.txn.delete(self.space, path) {
            Err(storage::Error::Path(_)) => Ok(()),
            done => done.map_err(fault::storage),
        }
    }
    async fn list(&mut self, dir: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        self.txn.list(self.space, dir, after, limit).await.map_err(fault::storage)
    }
    async fn fence(&mut self, dir: &str) -> Result<()> {
        self.txn.fence(self.space, dir).await.map_err(fault::storage)
    }
}
