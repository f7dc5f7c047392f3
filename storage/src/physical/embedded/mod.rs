//! The backends that live in this process: a journal that is the truth, and an index of it.
//!
//! ```text
//! apply -> bounded queue -> committer thread: gather a round, judge it, append one frame,
//!          fdatasync, apply to the index, tell the watcher, acknowledge
//! ```
//! Nothing is visible before it is durable, because the index learns of a round only after the
//! sync. After the first write or sync that fails, nothing is acknowledged any more and every
//! call answers [`Error::Poisoned`]: what the disk holds is then unknown until the next open.
//!
//! **What an index is trusted with** is its own [`Index::SURVIVES_POWER_CUT`]:
//! - redb does. A checkpoint is a durable commit that carries the applied sequence; the journal
//!   behind it is dropped, and opening replays the rest.
//! - sled does not. Its log is written without a sync, segments are reused before what moved
//!   out of them is on disk, and some damage panics at open: a store written for seconds between
//!   two syncs could not be opened in 6 of 30 simulated power cuts, and then a checkpoint before
//!   does not help either, since the damage is to old records too. So with sled the journal is
//!   only dropped once a *base*, a copy of all records in the journal's own format, covers it.
//!   After an orderly close sled is opened as it is; after anything else it is built again from
//!   base and journal. sled is then fast storage for reads, and no promise rests on it.

mod check;
mod committer;
mod index;
mod layout;
mod migrate;
mod open;
mod snapshot;
mod upkeep;

#[cfg(test)]
mod tests;

pub(crate) use check::check;
pub(crate) use index::{Change, Index, IndexCheck, Opener};
pub(crate) use layout::{Layout, private};
pub(crate) use migrate::{Side, migrate};
pub(crate) use open::{Threads, open};

use super::listing::Listing;
use super::round::{op_bytes, too_large};
use super::watch::Watch;
use super::{
    Child, Error, Fence, Key, Op, Outcome, Physical, PhysicalFigures, Record, Result, Seq, Snapshot, Txn,
    WatchSink,
};
use crate::journal::fs::Dir;
use crate::journal::log::{self, Segment};
use crate::limits::{JOURNAL_QUEUE, MAX_APPLY_BYTES, MAX_APPLY_TXNS, RELIEF_TXN_BYTES, RIDER_BACKLOG_BYTES};
use async_trait::async_trait;
use committer::{Command, Committer, Job};
use parking_lot::{Mutex, RwLock};
use snapshot::{Frozen, Snapshots};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use vault_metrics::Times;

/// A store with journal and index.
pub(crate) struct Embedded<I: Index> {
    shared: Arc<Shared<I>>,
    queue: Mutex<Option<mpsc::Sender<Command>>>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

/// What readers, the committer and the upkeep thread have in common.
pub(crate) struct Shared<I> {
    /// `None` once closed.
    index: RwLock<Option<Arc<I>>>,
    seq: AtomicU64,
    watch: Watch,
    snapshots: Snapshots,
    failed: AtomicBool,
    /// Why, once `failed`.
    reason: Mutex<String>,
    dir: Arc<dyn Dir>,
    segments: Mutex<Vec<Segment>>,
    released: AtomicU64,
    scans: Arc<Semaphore>,
    /// Rounds written to the journal, synced.
    syncs: Times,
}

impl<I: Index> Shared<I> {
    fn index(&self) -> Result<Arc<I>> {
        if self.failed.load(Ordering::Acquire) {
            return Err(self.failure());
        }
        self.index.read().clone().ok_or_else(closed)
    }

    fn failure(&self) -> Error {
        Error::Poisoned(self.reason.lock().clone())
    }

    /// From here on nothing is acknowledged.
    fn poison(&self, why: &str) -> Error {
        let mut reason = self.reason.lock();
        if !self.failed.load(Ordering::Acquire) {
            tracing::error!(why, "storage failed; no further write is accepted");
            *reason = why.to_owned();
            self.failed.store(true, Ordering::Release);
        }
        Error::Poisoned(reason.clone())
    }

    /// Runs `f` off the async threads, a bounded number at a time.
    async fn blocking<R: Send + 'static>(
        self: &Arc<Self>,
        f: impl FnOnce(&Self) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let permit = self.scans.clone().acquire_owned().await.map_err(|_| closed())?;
        let shared = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let out = f(&shared);
            drop(permit);
            out
        });
        done.await.map_err(|_| Error::Backend("a read was cut off".into()))?
    }
}

fn closed() -> Error {
    Error::Poisoned("the store was closed".into())
}

impl<I: Index> Embedded<I> {
    fn start(
        shared: Arc<Shared<I>>,
        make: impl FnOnce(mpsc::Receiver<Command>) -> Committer<I>,
    ) -> Result<Self> {
        let (queue, commands) = mpsc::channel(JOURNAL_QUEUE);
        let committer = make(commands);
        let thread = std::thread::Builder::new().name("storage-commit".into()).spawn(|| committer.run())?;
        Ok(Embedded { shared, queue: Mutex::new(Some(queue)), committer: Mutex::new(Some(thread)) })
    }

    /// Sends a command; the answer comes through its own channel.
    async fn send<R>(&self, make: impl FnOnce(oneshot::Sender<R>) -> Command) -> Result<R> {
        let queue = self.queue.lock().clone().ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        let gone = |_| {
            if self.shared.failed.load(Ordering::Acquire) { self.shared.failure() } else { closed() }
        };
        queue.send(make(reply)).await.map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))
    }
}

fn job(txns: Vec<Txn>, bytes: usize, reply: oneshot::Sender<Result<Vec<Outcome>>>) -> Job {
    let ops = || txns.iter().flat_map(|t| &t.ops);
    let put_bytes: usize = ops().map(|op| if let Op::Put { value, .. } = op { value.len() } else { 0 }).sum();
    let relief = put_bytes <= RELIEF_TXN_BYTES && ops().any(|op| matches!(op, Op::Delete { .. }));
    Job { bytes, relief, txns, reply }
}

/// Bytes that may end up in the journal: a transaction that is too large is refused on its own.
fn bytes(txns: &[Txn]) -> usize {
    let one = |t: &Txn| op_bytes(t) + t.rider.as_ref().map_or(0, Vec::len);
    txns.iter().filter(|t| !too_large(t)).map(one).sum()
}

#[async_trait]
impl<I: Index> Physical for Embedded<I> {
    fn backend(&self) -> &'static str {
        I::NAME
    }

    fn seq(&self) -> Seq {
        self.shared.seq.load(Ordering::Acquire)
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        self.shared.index()?.get(key.as_bytes())
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Key, Record)>> {
        let (prefix, after) = (prefix.to_vec(), after.map(<[u8]>::to_vec));
        self.shared
            .blocking(move |s| {
                let found = s.index()?.scan(&prefix, after.as_deref(), limit)?;
                found.into_iter().map(|(k, r)| Ok((super::memory::stored_key(k)?, r))).collect()
            })
            .await
    }

    async fn children(&self, folder: &Key, after: Option<&[u8]>, limit: usize) -> Result<Vec<Child>> {
        let (folder, after) = (folder.clone(), after.map(<[u8]>::to_vec));
        self.shared
            .blocking(move |s| {
                let mut listing = Listing::new(&folder, limit);
                let from = listing.start(after.as_deref());
                s.index()?.walk(&from, &mut |key| listing.visit(key))?;
                listing.finish()
            })
            .await
    }

    async fn apply(&self, _fence: Fence, txns: Vec<Txn>) -> Result<Vec<Outcome>> {
        if txns.len() > MAX_APPLY_TXNS {
            return Err(Error::Backend(format!("{} transactions in one call", txns.len())));
        }
        let bytes = bytes(&txns);
        if bytes > MAX_APPLY_BYTES {
            return Err(Error::Backend(format!("{bytes} bytes in one call")));
        }
        self.send(|reply| Command::Apply(job(txns, bytes, reply))).await?
    }

    fn watch(&self, after: Seq, sink: Arc<dyn WatchSink>) -> Result<()> {
        self.shared.watch.subscribe(after, sink)
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        let index = self.shared.index()?;
        let overlay = self.shared.snapshots.take(self.shared.dir.clone(), || self.seq());
        Ok(Arc::new(Frozen::new(self.shared.clone(), index, overlay)))
    }

    async fn riders(&self) -> Result<Vec<(Seq, Vec<u8>)>> {
        self.shared
            .blocking(|s| {
                s.index()?;
                // Held over the reading, so that no segment is removed meanwhile.
                let segments = s.segments.lock();
                log::riders(&*s.dir, &segments, s.released.load(Ordering::Acquire))
            })
            .await
    }

    async fn release_riders(&self, through: Seq) -> Result<()> {
        self.shared.index()?;
        self.shared.released.fetch_max(through.min(self.seq()), Ordering::AcqRel);
        Ok(())
    }

    async fn figures(&self) -> PhysicalFigures {
        let (journal_bytes, journal_segments) = {
            let segments = self.shared.segments.lock();
            (segments.iter().map(|s| s.size).sum(), segments.len() as u64)
        };
        // Of an index that has failed nothing is known.
        let index_bytes = self.shared.blocking(|s| s.index()?.size()).await.unwrap_or(0);
        let failed = self.shared.failed.load(Ordering::Acquire);
        let syncs = self.shared.syncs.read();
        PhysicalFigures { journal_bytes, journal_segments, index_bytes, syncs, failed }
    }

    async fn close(&self) -> Result<()> {
        let outcome = match self.send(Command::Close).await {
            Ok(outcome) => outcome,
            // Closed before: there is nothing left to do.
            Err(_) if self.shared.index.read().is_none() => Ok(()),
            Err(e) => Err(e),
        };
        self.queue.lock().take();
        let thread = self.committer.lock().take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                return Err(self.shared.poison("the committer ended in a panic"));
            }
        }
        outcome
    }
}

impl<I: Index> Drop for Embedded<I> {
    /// Closes in an orderly way too, so that the files are free once the last handle is gone.
    fn drop(&mut self) {
        self.queue.lock().take();
        if let Some(thread) = self.committer.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the storage committer ended in a panic");
        }
    }
}

/// Bytes of segments that are kept only for their riders.
fn rider_backlog(segments: &[Segment], released: Seq, covered: Seq) -> u64 {
    segments.iter().filter(|s| s.last <= covered && s.last_rider > released).map(|s| s.size).sum()
}

fn riders_allowed(segments: &[Segment], released: Seq, covered: Seq) -> bool {
    rider_backlog(segments, released, covered) < RIDER_BACKLOG_BYTES
}
