//! The unsealed store.
mod transaction;
use crate::keyring::KeyName;
use crate::{Error, Space};
use secmem::{Key, SecretBytes, Zeroizing};
use std::sync::Arc;
pub use transaction::Transaction;
use uuid::Uuid;

/// A value and the sequence of the transaction that wrote it.
pub struct Versioned {
    pub value: Zeroizing<Vec<u8>>,
    pub rev: u64,
}

/// One changed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub space: Space,
    pub path: String,
}

/// Told of the changes of a round, durable and readable, before any of them is acknowledged.
pub type ChangeSink = Arc<dyn Fn(u64, &[Changed]) + Send + Sync>;
/// Told once why nothing is acknowledged any more.
pub type FatalSink = Arc<dyn Fn(&str) + Send + Sync>;

/// The term that seals new records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    pub term: u32,
    /// Unix nanoseconds.
    pub installed: i64,
    pub writes_this_term: u64,
}

/// New shares, not in force before `commit_rekey`.
pub struct RekeyProposal(Vec<SecretBytes>);
impl RekeyProposal {
    #[must_use]
    pub fn shares(&self) -> &[SecretBytes] {
        &self.0
    }
}

/// The unsealed store. Clones share it.
#[derive(Clone)]
pub struct Store;
impl Store {
    pub async fn get(&self, _space: Space, _path: &str) -> Result<Option<Versioned>, Error> {
        Err(Error::Sealed)
    }
    pub async fn list(
        &self,
        _space: Space,
        _dir: &str,
        _after: Option<&str>,
        _limit: usize,
    ) -> Result<Vec<String>, Error> {
        Err(Error::Sealed)
    }
    #[must_use]
    pub fn begin(&self) -> Transaction {
        Transaction
    }
    pub fn on_change(&self, _f: ChangeSink) {}
    pub fn on_fatal(&self, _f: FatalSink) {}
    pub async fn purge(&self, _space: Space, _limit: usize) -> Result<usize, Error> {
        Err(Error::Sealed)
    }
    #[must_use]
    pub fn key_status(&self) -> KeyStatus {
        KeyStatus { term: 0, installed: 0, writes_this_term: 0 }
    }
    pub async fn rotate(&self) -> Result<KeyStatus, Error> {
        Err(Error::Sealed)
    }
    pub async fn rotate_root(&self) -> Result<(), Error> {
        Err(Error::Sealed)
    }
    pub fn propose_rekey(&self, _shares: u8, _threshold: u8) -> Result<RekeyProposal, Error> {
        Err(Error::Sealed)
    }
    pub async fn commit_rekey(&self, _p: RekeyProposal) -> Result<(), Error> {
        Err(Error::Sealed)
    }
    #[must_use]
    pub fn check_shares(&self, _shares: &[SecretBytes]) -> bool {
        false
    }
    pub fn key(&self, _name: &KeyName) -> Result<Key, Error> {
        Err(Error::Sealed)
    }
    pub async fn ensure_key(&self, _name: &KeyName) -> Result<Key, Error> {
        Err(Error::Sealed)
    }
    pub async fn riders(&self) -> Result<Vec<(u64, Zeroizing<Vec<u8>>)>, Error> {
        Err(Error::Sealed)
    }
    pub async fn release_riders(&self, _through: u64) -> Result<(), Error> {
        Err(Error::Sealed)
    }
    #[must_use]
    pub fn namespace_root(&self) -> Uuid {
        Uuid::nil()
    }
    #[must_use]
    pub fn store_id(&self) -> Uuid {
        Uuid::nil()
    }
    /// The last sequence whose changes are durable and readable.
    #[must_use]
    pub fn seq(&self) -> u64 {
        0
    }
    /// The store was opened by accepting a rollback and `settle_epoch` has not been called since: what must not
    /// go backwards (tokens, leases, used codes) is to be revoked first.
    #[must_use]
    pub fn epoch_raised(&self) -> bool {
        false
    }
    pub async fn settle_epoch(&self) -> Result<(), Error> {
        Err(Error::Sealed)
    }
    pub async fn seal(&self) {}
}
