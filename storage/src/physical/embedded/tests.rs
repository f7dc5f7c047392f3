//! The power goes at every call; syncs fail at every call; the disk fills up.

use super::{Change, Embedded, Index, Opener, Threads, open};
use crate::config::JournalConfig;
use crate::journal::sim::{Call, Image, Rng, SimDisk};
use crate::physical::listing::Step;
use crate::physical::{Error, Fence, Key, Op, Outcome, Physical, Record, Result, Seq, Txn};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

mod crash;
mod first_version;
mod space;

#[derive(Clone, Default, PartialEq, Debug)]
pub(super) struct Table {
    pub records: BTreeMap<Vec<u8>, Record>,
    pub applied: Seq,
}

/// An index in memory whose durable state is what the last checkpoint stored. `SAFE` says
/// whether a power cut leaves that state or rubbish.
pub(super) struct SimIndex<const SAFE: bool> {
    table: Mutex<Table>,
    opener: SimOpener<SAFE>,
}

#[derive(Clone)]
pub(super) struct SimOpener<const SAFE: bool> {
    pub durable: Arc<Mutex<Table>>,
    /// A checkpoint that was written and not synced: there after a kill, gone after a power cut.
    cached: Arc<Mutex<Option<Table>>>,
    pub disk: SimDisk,
    dirt: Arc<Mutex<Dirt>>,
}

/// What a power cut could ruin.
#[derive(Clone, Copy, Default)]
struct Dirt {
    /// Opened or written since the last sync.
    open: bool,
    last: Seq,
}

impl<const SAFE: bool> SimOpener<SAFE> {
    pub fn new(disk: &SimDisk) -> Self {
        SimOpener {
            durable: Arc::default(),
            cached: Arc::default(),
            disk: disk.clone(),
            dirt: Arc::default(),
        }
    }

    /// What is found beside that image of the disk.
    pub fn crashed(&self, disk: &SimDisk, image: Image, seed: u64) -> Self {
        let mut table = self.durable.lock().clone();
        let dirt = *self.dirt.lock();
        if !SAFE && dirt.open && dirt.last > 0 {
            // Old records gone, made-up ones there, and a sequence that looks fine.
            table.records.retain(|k, _| k.len().is_multiple_of(2) == seed.is_multiple_of(2));
            table.records.insert(vec![0, 1, 7], Record { rev: 1, value: vec![7] });
            table.applied = if seed.is_multiple_of(2) { dirt.last } else { 1 + seed % 40 };
        }
        let dirt = Arc::new(Mutex::new(dirt));
        let cached = if matches!(image, Image::Killed) { self.cached.lock().clone() } else { None };
        let cached = Arc::new(Mutex::new(cached));
        SimOpener { durable: Arc::new(Mutex::new(table)), cached, disk: disk.clone(), dirt }
    }
}

impl<const SAFE: bool> Opener for SimOpener<SAFE> {
    type Index = SimIndex<SAFE>;
    fn open(&self) -> Result<Self::Index> {
        self.dirt.lock().open = true;
        let cached = self.cached.lock().clone().filter(|_| SAFE);
        let table = cached.unwrap_or_else(|| self.durable.lock().clone());
        Ok(SimIndex { table: Mutex::new(table), opener: self.clone() })
    }
    fn wipe(&self) -> Result<()> {
        *self.durable.lock() = Table::default();
        Ok(())
    }
}

impl<const SAFE: bool> Index for SimIndex<SAFE> {
    const NAME: &'static str = "sim";
    const SURVIVES_POWER_CUT: bool = SAFE;
    const OPENS_FILES: bool = !SAFE;

    fn size(&self) -> Result<u64> {
        Ok(0)
    }
    fn applied(&self) -> Result<Seq> {
        Ok(self.table.lock().applied)
    }
    fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        Ok(self.table.lock().records.get(key).cloned())
    }
    fn revision(&self, key: &[u8]) -> Result<Option<Seq>> {
        Ok(self.table.lock().records.get(key).map(|r| r.rev))
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Record)>> {
        let t = self.table.lock();
        let wanted = t.records.iter().filter(|(k, _)| k.starts_with(prefix));
        let wanted = wanted.filter(|(k, _)| after.is_none_or(|a| k.as_slice() > a));
        Ok(wanted.take(limit).map(|(k, r)| (k.clone(), r.clone())).collect())
    }
    fn walk(&self, from: &[u8], visit: &mut dyn FnMut(&[u8]) -> Step) -> Result<()> {
        let mut from = from.to_vec();
        let t = self.table.lock();
        while let Some((key, _)) = t.records.range(from.clone()..).next() {
            match visit(key) {
                Step::Next => from = [key.as_slice(), &[0]].concat(),
                Step::Seek(to) => from = to,
                Step::Stop => break,
            }
        }
        Ok(())
    }
    fn apply(&self, seq: Seq, changes: &[Change<'_>]) -> Result<()> {
        *self.opener.dirt.lock() = Dirt { open: true, last: seq };
        let mut t = self.table.lock();
        for c in changes {
            match c.value {
                Some(v) => t.records.insert(c.key.to_vec(), Record { rev: c.rev, value: v.to_vec() }),
                None => t.records.remove(c.key),
            };
        }
        t.applied = seq;
        Ok(())
    }
    fn sync(&self) -> Result<()> {
        *self.opener.cached.lock() = Some(self.table.lock().clone());
        self.opener.disk.sync_index()?;
        *self.opener.durable.lock() = self.table.lock().clone();
        self.opener.dirt.lock().open = false;
        Ok(())
    }
}

/// Segments, checkpoints and bases come around every few transactions.
pub(super) fn small() -> JournalConfig {
    JournalConfig {
        segment_bytes: 1024,
        checkpoint_bytes: 2500,
        reserve_bytes: 0,
        ballast_bytes: 0,
        ..JournalConfig::default()
    }
}

pub(super) fn start<const SAFE: bool>(opener: &SimOpener<SAFE>) -> Result<Embedded<SimIndex<SAFE>>> {
    open(Arc::new(opener.disk.clone()), opener, small(), Threads::One, None)
}

pub(super) fn key(n: u64) -> Key {
    Key::root().join(&n.to_be_bytes())
}

pub(super) fn put(n: u64, value: &[u8]) -> Op {
    Op::Put { key: key(n), value: value.to_vec() }
}
