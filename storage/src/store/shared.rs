//! What the unsealed store's handles and its committer share.

use super::{ChangeSink, Changed, FatalSink};
use crate::barrier::{self, Label, Subject};
use crate::keyring::Keyring;
use crate::names::Names;
use crate::physical::{Key as StorageKey, Physical};
use crate::seal::SealConfig;
use crate::{Error, Space};
use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use secmem::{Arena, Key, Zeroizing};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use uuid::Uuid;

/// The keys above the keyring file.
#[derive(Clone)]
pub struct Master {
    pub unseal: Key,
    pub root: Key,
}

pub struct Shared {
    pub physical: Arc<dyn Physical>,
    pub store_id: Uuid,
    /// Holds every key of this unsealed period; closed at seal.
    pub scope: Arena,
    pub keyring: ArcSwap<Keyring>,
    pub names: Names,
    pub master: Mutex<Master>,
    /// Shared with the sealed store, which answers for it without keys.
    pub config: Arc<RwLock<Option<SealConfig>>>,
    pub clock: crate::Clock,
    pub meters: Arc<crate::Meters>,
    /// What to add to a backend's sequence to get the store's. Zero unless the store was moved between backends.
    pub offset: u64,
    pub progress: Progress,
    pub sinks: Sinks,
    /// No more requests: the store is being sealed or is sealed.
    pub sealed: AtomicBool,
    /// The committer has ended: keys wiped, anchor written.
    pub ended: watch::Sender<bool>,
}

/// How far the committer is.
#[derive(Default)]
pub struct Progress {
    /// The last sequence whose changes are durable and readable.
    seq: AtomicU64,
    /// Odd while a round is being applied: what two reads see may then be of two rounds.
    version: AtomicU64,
    pub term_writes: AtomicU64,
    pub raised: AtomicBool,
    pub anchor: AnchorGauge,
}

/// What became of the anchor's writes, and of those who waited for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnchorFigures {
    /// Writes of the anchor file that ended well, and that did not.
    pub written: u64,
    /// See `written`.
    pub failed: u64,
    /// Acknowledgements that waited for the anchor.
    pub waited: u64,
    /// How long they waited, all together.
    pub wait_total: Duration,
    /// How long the one waited that waited longest.
    pub wait_max: Duration,
}

/// [`AnchorFigures`] as they are counted.
#[derive(Default)]
pub struct AnchorGauge(Mutex<AnchorFigures>);

impl AnchorGauge {
    pub fn figures(&self) -> AnchorFigures {
        *self.0.lock()
    }
    pub fn wrote(&self, well: bool) {
        let mut f = self.0.lock();
        if well { f.written += 1 } else { f.failed += 1 }
    }
    pub fn waited(&self, time: Duration) {
        let mut f = self.0.lock();
        f.waited += 1;
        f.wait_total += time;
        f.wait_max = f.wait_max.max(time);
    }
}

impl Progress {
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::SeqCst)
    }
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }
    pub fn applying(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }
    pub fn applied(&self, seq: Option<u64>) {
        if let Some(seq) = seq {
            self.seq.store(seq, Ordering::SeqCst);
        }
        self.version.fetch_add(1, Ordering::SeqCst);
    }
    pub fn start_at(&self, seq: u64) {
        self.seq.store(seq, Ordering::SeqCst);
    }
}

/// Who wants to be told.
#[derive(Default)]
pub struct Sinks {
    change: RwLock<Vec<ChangeSink>>,
    fatal: RwLock<Vec<FatalSink>>,
}

impl Sinks {
    pub fn on_change(&self, f: ChangeSink) {
        self.change.write().push(f);
    }
    pub fn on_fatal(&self, f: FatalSink) {
        self.fatal.write().push(f);
    }
    pub fn wants_changes(&self) -> bool {
        !self.change.read().is_empty()
    }
    pub fn changed(&self, seq: u64, changes: &[Changed]) {
        // Called without the lock, so that a sink may register another.
        let sinks = self.change.read().clone();
        for sink in sinks {
            sink(seq, changes);
        }
    }
    pub fn fatal(&self, why: &str) {
        let sinks = self.fatal.read().clone();
        for sink in sinks {
            sink(why);
        }
    }
}

impl Shared {
    pub fn check_open(&self) -> Result<(), Error> {
        if self.sealed.load(Ordering::SeqCst) { Err(Error::Sealed) } else { Ok(()) }
    }

    /// Wipes every key and what was decrypted with them.
    pub fn forget(&self) {
        self.scope.close();
        self.names.clear();
    }

    /// Reads and opens a record; absent when the backend has none.
    pub async fn read(
        &self,
        space: Space,
        key: &StorageKey,
        path: &[u8],
    ) -> Result<Option<(Zeroizing<Vec<u8>>, u64)>, Error> {
        let started = Instant::now();
        let found = self.read_record(space, key, path).await;
        self.meters.reads.since(started);
        found
    }

    async fn read_record(
        &self,
        space: Space,
        key: &StorageKey,
        path: &[u8],
    ) -> Result<Option<(Zeroizing<Vec<u8>>, u64)>, Error> {
        let Some(stored) = self.physical.get(key).await? else { return Ok(None) };
        let subject = Subject { store: self.store_id, label: Label::Record, space, path };
        let (plain, seq) = self.open(&subject, stored.value)?;
        Ok(Some((plain, seq)))
    }

    /// Opens a stored record with the key of its namespace and term.
    pub fn open(&self, subject: &Subject<'_>, stored: Vec<u8>) -> Result<(Zeroizing<Vec<u8>>, u64), Error> {
        open_with(&self.keyring.load(), subject, stored)
    }
}

/// Opens a stored record with the key of its namespace and term: plaintext and sequence.
pub fn open_with(
    keyring: &Keyring,
    subject: &Subject<'_>,
    stored: Vec<u8>,
) -> Result<(Zeroizing<Vec<u8>>, u64), Error> {
    let forged = || Error::Integrity(format!("a record of {} is not what was written", subject.space));
    let (header, _) = barrier::Header::parse(&stored).ok_or_else(forged)?;
    let key = keyring.term(subject.space.namespace, header.term).ok_or_else(forged)?;
    let plain = barrier::open(key, subject, stored)?.ok_or_else(forged)?;
    Ok((plain, header.seq))
}
