//! Serialisable optimistic transactions.
use crate::{CommitError, Error, Space};
use secmem::Zeroizing;

/// Reads and writes that become durable together or not at all.
pub struct Transaction;

impl Transaction {
    pub async fn get(&mut self, _space: Space, _path: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        Err(Error::Sealed)
    }
    pub fn put(&mut self, _space: Space, _path: &str, _value: Zeroizing<Vec<u8>>) -> Result<(), Error> {
        Err(Error::Sealed)
    }
    pub fn delete(&mut self, _space: Space, _path: &str) -> Result<(), Error> {
        Err(Error::Sealed)
    }
    pub async fn list(
        &mut self,
        _space: Space,
        _dir: &str,
        _after: Option<&str>,
        _limit: usize,
    ) -> Result<Vec<String>, Error> {
        Err(Error::Sealed)
    }
    pub async fn fence(&mut self, _space: Space, _dir: &str) -> Result<(), Error> {
        Err(Error::Sealed)
    }
    pub fn expect(&mut self, _space: Space, _path: &str, _rev: Option<u64>) {}
    pub fn rider(&mut self, _bytes: Zeroizing<Vec<u8>>) {}
    #[must_use]
    pub fn is_empty(&self) -> bool {
        true
    }
    pub async fn commit(self) -> Result<u64, CommitError> {
        Err(CommitError::Sealed)
    }
}
