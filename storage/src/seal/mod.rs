//! The sealed store: what can be known and done without the keys.
use crate::{Cipher, Error, Store, StoreConfig, UnsealError};
use secmem::{Arena, SecretBytes};
use std::sync::Arc;
use uuid::Uuid;

/// Unix nanoseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What is known of the store without its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealConfigStatus {
    pub initialized: bool,
    pub shares: u8,
    pub threshold: u8,
    /// Nil before init.
    pub store_id: Uuid,
    pub backend: &'static str,
    /// Why unsealing needs an explicit acceptance, if it does.
    pub rollback: Option<String>,
    /// The anchor lies on another device than the store: a copy of one does not carry the other.
    pub anchor_on_other_device: bool,
}

/// What `begin_init` makes.
#[derive(Clone, Copy, Debug)]
pub struct InitParams {
    pub shares: u8,
    pub threshold: u8,
    pub cipher: Cipher,
}

/// A store without its keys. Clones share it.
#[derive(Clone)]
pub struct SealedStore;

impl SealedStore {
    pub async fn open(_cfg: StoreConfig, _arena: Arena, _clock: Clock) -> Result<SealedStore, Error> {
        Err(Error::Sealed)
    }
    #[must_use]
    pub fn status(&self) -> SealConfigStatus {
        SealConfigStatus {
            initialized: false,
            shares: 0,
            threshold: 0,
            store_id: Uuid::nil(),
            backend: "",
            rollback: None,
            anchor_on_other_device: false,
        }
    }
    pub async fn begin_init(&self, _p: InitParams) -> Result<Initialising, Error> {
        Err(Error::Sealed)
    }
    #[must_use]
    pub fn share_known(&self, _share: &[u8]) -> bool {
        false
    }
    pub async fn unseal(
        &self,
        _shares: &[SecretBytes],
        _accept_rollback: bool,
    ) -> Result<Store, UnsealError> {
        Err(UnsealError::WrongShares)
    }
}

/// A vault being made: usable for its first records, nothing until `finish`.
pub struct Initialising(Store, Vec<SecretBytes>);

impl Initialising {
    #[must_use]
    pub fn shares(&self) -> &[SecretBytes] {
        &self.1
    }
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0
    }
    /// Marks the vault initialised and seals it; returns the shares.
    pub async fn finish(self) -> Result<Vec<SecretBytes>, Error> {
        Ok(self.1)
    }
}
