//! Durable bytes, unaware of what they mean: the contract of every backend.

use async_trait::async_trait;
use std::sync::Arc;

pub mod key;
pub use key::{Child, Key};

#[doc(hidden)]
pub mod conformance;
pub mod memory;
pub mod redb;
pub mod sled;

mod embedded;
pub(crate) mod home;
mod listing;
mod open;
mod round;
mod watch;

pub use open::{Checked, IndexState, Moved, check, migrate, open_physical};

/// Position in the store's history: each applied round of transactions takes the next one.
pub type Seq = u64;

/// Most operations one transaction may hold, so that etcd (128) fits.
pub const MAX_TXN_OPS: usize = 100;
/// Most bytes (keys and values) one transaction may hold, so that etcd (1.5 MiB) fits.
pub const MAX_TXN_BYTES: usize = 1024 * 1024;

/// A stored value and the sequence of the transaction that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub rev: Seq,
    pub value: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put { key: Key, value: Vec<u8> },
    Delete { key: Key },
}

/// Atomic: all of it or nothing, accepted or refused on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// Each key must still have this revision (`None`: be absent), else the transaction is refused.
    pub expect: Vec<(Key, Option<Seq>)>,
    pub ops: Vec<Op>,
    /// Opaque bytes made durable with the transaction and kept, in order, until
    /// [`Physical::release_riders`]: the audit records of a state change.
    pub rider: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Durable, at this sequence. All transactions of one `apply` may share a sequence.
    Applied { seq: Seq },
    /// `expect[index]` did not hold; nothing of this transaction was written.
    Conflict { index: usize },
    /// Larger than [`MAX_TXN_OPS`] or [`MAX_TXN_BYTES`].
    TooLarge,
}

/// Told of changes after they are durable and readable and before `apply` returns, in order.
pub trait WatchSink: Send + Sync {
    fn applied(&self, seq: Seq, keys: &[Key]);
}

/// Proof of being the only writer. Embedded backends hold a file lock and ignore it; a shared
/// backend compares it inside every transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence(pub u64);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk (or quota) is full; nothing was written.
    #[error("storage is full")]
    Full,
    /// No file descriptor was left; nothing was written.
    #[error("no file descriptor is left")]
    Busy,
    /// A write or sync failed earlier: nothing is acknowledged any more by this process.
    #[error("storage failed earlier and accepts no writes: {0}")]
    Poisoned(String),
    /// What is on disk is not what was written.
    #[error("storage is corrupt: {0}")]
    Corrupt(String),
    /// Another process holds the store.
    #[error("storage is in use by another process")]
    Locked,
    #[error("fence is stale: another node writes now")]
    Fenced,
    /// `watch(after)` asks for changes that are no longer kept.
    #[error("history before this sequence is gone")]
    Compacted,
    #[error("storage I/O: {0}")]
    Io(#[from] std::io::Error),
    #[error("storage backend: {0}")]
    Backend(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A point-in-time, read-only copy of the store.
#[async_trait]
pub trait Snapshot: Send + Sync {
    fn seq(&self) -> Seq;
    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Key, Record)>>;
}

/// What a backend holds and does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhysicalFigures {
    /// Bytes of the journal's segments on disk.
    pub journal_bytes: u64,
    /// How many they are.
    pub journal_segments: u64,
    /// Bytes of the index on disk.
    pub index_bytes: u64,
    /// Writing one round to the journal, synced.
    pub syncs: vault_metrics::Reading,
    /// A write or sync has failed: nothing is acknowledged any more.
    pub failed: bool,
}

/// A backend. `apply` is durable on return and nothing is visible before it is durable.
#[async_trait]
pub trait Physical: Send + Sync {
    /// `sled`, `redb`, `memory`.
    fn backend(&self) -> &'static str;
    /// The last applied sequence; 0 for an empty store.
    fn seq(&self) -> Seq;
    async fn get(&self, key: &Key) -> Result<Option<Record>>;
    /// Records whose key starts with `prefix`, in key order, after `after`, at most `limit`.
    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Key, Record)>>;
    /// Immediate children of a folder (see [`Key`]), in stored order, after the segment `after`.
    async fn children(&self, folder: &Key, after: Option<&[u8]>, limit: usize) -> Result<Vec<Child>>;
    async fn apply(&self, fence: Fence, txns: Vec<Txn>) -> Result<Vec<Outcome>>;
    /// Registers `sink` for every change after `after` (the ones already applied are replayed
    /// from a bounded history first). One sink per store.
    fn watch(&self, after: Seq, sink: Arc<dyn WatchSink>) -> Result<()>;
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>>;
    /// Riders not released yet, oldest first.
    async fn riders(&self) -> Result<Vec<(Seq, Vec<u8>)>>;
    /// The riders up to and including `through` are no longer needed.
    async fn release_riders(&self, through: Seq) -> Result<()>;
    /// What there is to know of it; zero where it has no disk.
    async fn figures(&self) -> PhysicalFigures {
        PhysicalFigures::default()
    }
    /// Syncs everything and lets go of the files; later calls fail with `Poisoned`.
    async fn close(&self) -> Result<()>;
}

#[cfg(test)]
mod tests;
