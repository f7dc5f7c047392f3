//! The unsealed store: it exists only while the keys do.

pub mod committer;
mod list;
mod rekey;
pub mod request;
mod riders;
pub mod shared;
#[cfg(test)]
mod tests;
mod transaction;

pub use rekey::RekeyProposal;
pub use shared::AnchorFigures;
pub use transaction::Transaction;

use crate::anchor::{AnchorFile, Phase};
use crate::keyring::{KeyName, Keyring};
use crate::limits::{COMMIT_QUEUE, PURGE_BATCH, SEAL_WAIT};
use crate::names::Names;
use crate::physical::Physical;
use crate::seal::SealConfig;
use crate::{Clock, CommitError, Error, Meters, Partition, Space};
use arc_swap::ArcSwap;
use committer::Committer;
use committer::change::Change;
use committer::state::State;
use parking_lot::{Mutex, RwLock};
use request::{Batch, Command, Request, Title, Write};
use secmem::{Arena, Key, Zeroizing};
use shared::{Master, Shared};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use uuid::Uuid;

/// A value and the sequence of the transaction that wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct Versioned {
    /// Plaintext.
    pub value: Zeroizing<Vec<u8>>,
    /// For [`Transaction::expect`].
    pub rev: u64,
}

impl std::fmt::Debug for Versioned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Versioned").field("rev", &self.rev).finish_non_exhaustive()
    }
}

/// One changed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its partition.
    pub space: Space,
    /// It is gone.
    pub deleted: bool,
    /// Its plaintext path.
    pub path: String,
}

/// Told of the changes of a round, durable and readable, before any of them is acknowledged.
pub type ChangeSink = Arc<dyn Fn(u64, &[Changed]) + Send + Sync>;
/// Told once why nothing is acknowledged any more.
pub type FatalSink = Arc<dyn Fn(&str) + Send + Sync>;

/// The term that seals new records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its number, from 1.
    pub term: u32,
    /// Unix nanoseconds.
    pub installed: i64,
    /// Records sealed under it, the store's own bookkeeping included.
    pub writes_this_term: u64,
}

/// What an unsealed store is made from.
pub struct Start {
    pub physical: Arc<dyn Physical>,
    pub store_id: Uuid,
    pub scope: Arena,
    pub keyring: Keyring,
    pub master: Master,
    pub config: Arc<RwLock<Option<SealConfig>>>,
    pub clock: Clock,
    pub anchor: AnchorFile,
    pub phase: Phase,
    pub state: State,
    pub meters: Arc<Meters>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Command>,
}

/// The unsealed store. Clones share it; when the last one goes, it seals itself.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("id", &self.store_id()).finish_non_exhaustive()
    }
}

impl Store {
    /// Starts the committer. `place` is the right to be the only writer.
    pub(crate) fn start(start: Start, place: OwnedSemaphorePermit) -> Result<Store, Error> {
        let head = &start.state.head;
        let shared = Shared {
            offset: head.seq.wrapping_sub(start.physical.seq()),
            physical: start.physical,
            store_id: start.store_id,
            names: Names::new(start.keyring.names.clone(), start.keyring.index.clone()),
            keyring: ArcSwap::from_pointee(start.keyring),
            scope: start.scope,
            master: Mutex::new(start.master),
            config: start.config,
            clock: start.clock,
            meters: start.meters,
            progress: Default::default(),
            sinks: Default::default(),
            sealed: AtomicBool::new(false),
            ended: watch::Sender::new(false),
        };
        shared.progress.start_at(head.seq);
        shared.progress.term_writes.store(head.term_writes, Ordering::SeqCst);
        shared.progress.raised.store(head.raised, Ordering::SeqCst);
        let shared = Arc::new(shared);
        let (queue, commands) = mpsc::channel(COMMIT_QUEUE);
        Committer::start(shared.clone(), start.state, commands, start.anchor, start.phase, place)?;
        Ok(Store { inner: Arc::new(Inner { shared, queue }) })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// Reads a record. What it returns is durable.
    pub async fn get(&self, space: Space, path: &str) -> Result<Option<Versioned>, Error> {
        let shared = self.shared();
        shared.check_open()?;
        let key = shared.names.record(space, path)?;
        let read = shared.read(space, &key, path.as_bytes()).await?;
        Ok(read.map(|(value, rev)| Versioned { value, rev }))
    }

    /// The names in a folder: sorted, folders ending in `/`, those greater than `after`, at most `limit`.
    /// `dir` is empty for the root, with or without a trailing slash otherwise.
    pub async fn list(
        &self,
        space: Space,
        dir: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        self.shared().check_open()?;
        let started = std::time::Instant::now();
        let names = list::names(self.shared(), space, dir, after, limit).await;
        self.shared().meters.lists.since(started);
        names
    }

    /// How many records there are below a folder, `most` at most: counted without their names or values, and not of one
    /// moment where others write meanwhile.
    pub async fn count(&self, space: Space, dir: &str, most: u64) -> Result<u64, Error> {
        self.shared().check_open()?;
        list::count(self.shared(), space, dir, most).await
    }

    /// A transaction on what is durable now.
    #[must_use]
    pub fn begin(&self) -> Transaction {
        Transaction::new(self.clone())
    }

    /// Calls `f` with the changes of each round before any of them is acknowledged, in order, on the thread that
    /// writes: it must not block.
    pub fn on_change(&self, f: ChangeSink) {
        self.shared().sinks.on_change(f);
    }

    /// Calls `f` once if storage fails so that nothing is acknowledged any more: seal and exit.
    pub fn on_fatal(&self, f: FatalSink) {
        self.shared().sinks.on_fatal(f);
    }

    /// Deletes up to `limit` records of a mount's partition and says how many; 0 when there is none left. Nobody may
    /// write to the partition meanwhile. No change is told: there are no plaintext paths.
    pub async fn purge(&self, space: Space, limit: usize) -> Result<usize, Error> {
        if space.partition == Partition::Core {
            return Err(Error::Path("the core's partition cannot be purged"));
        }
        let prefix = self.shared().names.folder(space, "")?;
        let mut deleted = 0;
        while deleted < limit {
            self.shared().check_open()?;
            let batch = PURGE_BATCH.min(limit - deleted);
            let page = self.shared().physical.scan(prefix.as_bytes(), None, batch).await?;
            if page.is_empty() {
                break;
            }
            deleted += page.len();
            let write = |key| (key, Write { space, title: Title::Unknown, value: None });
            let writes = page.into_iter().map(|(key, _)| write(key)).collect();
            self.submit(Batch { writes, ..Batch::default() }).await.map_err(into_error)?;
        }
        Ok(deleted)
    }

    /// The term in force.
    #[must_use]
    pub fn key_status(&self) -> KeyStatus {
        let keyring = self.shared().keyring.load();
        let writes_this_term = self.shared().progress.term_writes.load(Ordering::SeqCst);
        let current = keyring.current(Uuid::nil());
        let (term, installed) = current.map_or((0, 0), |t| (t.term, t.installed));
        KeyStatus { term, installed, writes_this_term }
    }

    /// Starts a new term; what is stored stays readable under the old ones.
    pub async fn rotate(&self) -> Result<KeyStatus, Error> {
        self.change(Change::Rotate).await?;
        Ok(self.key_status())
    }

    /// Replaces the root key: the keyring file is sealed anew, no record is.
    pub async fn rotate_root(&self) -> Result<(), Error> {
        self.change(Change::RotateRoot).await
    }

    /// A key of the keyring file, if it has been made.
    pub fn key(&self, name: &KeyName) -> Result<Key, Error> {
        self.shared().check_open()?;
        let keyring = self.shared().keyring.load();
        keyring.named.get(name).map(|named| named.key.clone()).ok_or(Error::NoKey("key of this name"))
    }

    /// The same, made and stored first when there is none.
    pub async fn ensure_key(&self, name: &KeyName) -> Result<Key, Error> {
        match self.key(name) {
            Err(Error::NoKey(_)) => {
                self.change(Change::EnsureKey(name.clone())).await?;
                self.key(name)
            }
            found => found,
        }
    }

    /// The uuid of the root namespace: nil.
    #[must_use]
    pub fn namespace_root(&self) -> Uuid {
        Uuid::nil()
    }

    /// The uuid given to this vault at init.
    #[must_use]
    pub fn store_id(&self) -> Uuid {
        self.shared().store_id
    }

    /// The last sequence whose changes are durable and readable.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.shared().progress.seq()
    }

    /// The store was opened by accepting a rollback, and [`settle_epoch`](Self::settle_epoch) has not been called since
    /// (also over restarts): what must not go backwards (tokens, leases, used codes) is to be revoked first.
    #[must_use]
    pub fn epoch_raised(&self) -> bool {
        self.shared().progress.raised.load(Ordering::SeqCst)
    }

    /// What an accepted rollback brought back has been revoked.
    pub async fn settle_epoch(&self) -> Result<(), Error> {
        self.change(Change::Settled).await
    }

    /// Finishes what is waiting, wipes every key and writes the anchor; later calls say `Sealed`. Returns when done; a
    /// write that hangs is given [`SEAL_WAIT`], an anchor that hangs [`SEAL_ANCHOR_WAIT`](crate::limits::SEAL_ANCHOR_WAIT).
    pub async fn seal(&self) {
        if let Err(e) = self.end(false).await {
            tracing::warn!(error = %e, "sealed, but not cleanly");
        }
    }

    /// Seals; `initialised`: the anchor is to say so.
    pub(crate) async fn end(&self, initialised: bool) -> Result<(), Error> {
        let shared = self.shared();
        shared.sealed.store(true, Ordering::SeqCst);
        let drained = async {
            let (reply, done) = oneshot::channel();
            let sent = self.inner.queue.send(Command::Seal { initialised, reply }).await;
            let result = match sent {
                Ok(()) => done.await.unwrap_or(Err(Error::Sealed)),
                Err(_) => Err(Error::Sealed),
            };
            let mut ended = shared.ended.subscribe();
            // The sender lives as long as `shared`.
            let _ = ended.wait_for(|ended| *ended).await;
            result
        };
        match tokio::time::timeout(SEAL_WAIT, drained).await {
            // Somebody else sealed it first: that is what was asked for, unless more was.
            Ok(Err(Error::Sealed)) if !initialised => Ok(()),
            Ok(result) => result,
            Err(_) => {
                // A write hangs. The keys go now; what was not acknowledged stays that way.
                let scope = shared.scope.clone();
                let _ = tokio::task::spawn_blocking(move || scope.close()).await;
                shared.names.clear();
                Err(Error::Failed("a write did not end in time".into()))
            }
        }
    }

    /// Sends a transaction to the committer and waits. Dropping the future does not undo it.
    pub(crate) async fn submit(&self, batch: Batch) -> Result<u64, CommitError> {
        self.shared().check_open()?;
        let (reply, done) = oneshot::channel();
        let request = Request { batch, reply };
        self.inner.queue.send(Command::Commit(request)).await.map_err(|_| CommitError::Sealed)?;
        done.await
            .unwrap_or_else(|_| Err(CommitError::Failed(Error::Failed("the committer has ended".into()))))
    }

    pub(crate) async fn change(&self, change: Change) -> Result<(), Error> {
        self.shared().check_open()?;
        let (reply, done) = oneshot::channel();
        self.inner.queue.send(Command::Change(change, reply)).await.map_err(|_| Error::Sealed)?;
        done.await.unwrap_or_else(|_| Err(Error::Failed("the committer has ended".into())))
    }

    /// How the anchor has kept up since the store was opened.
    #[must_use]
    pub fn anchor_figures(&self) -> AnchorFigures {
        self.shared().progress.anchor.figures()
    }
}

fn into_error(e: CommitError) -> Error {
    match e {
        CommitError::Sealed => Error::Sealed,
        CommitError::Full => Error::Physical(crate::physical::Error::Full),
        CommitError::Busy => Error::Physical(crate::physical::Error::Busy),
        CommitError::TooLarge => Error::TooLarge("transaction"),
        CommitError::Conflict => Error::Failed("a deletion met a conflict".into()),
        CommitError::Unanchored(why) => Error::Unanchored(why),
        CommitError::Failed(e) => e,
    }
}
