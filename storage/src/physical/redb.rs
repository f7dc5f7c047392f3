//! The backend for large stores: a journal indexed by redb.
//!
//! Table `records` holds `revision u64 little-endian | value` by key, table `meta` the applied
//! sequence. Rounds are committed without a sync, which redb keeps in memory and never mistakes
//! for durable; a checkpoint is one durable, two-phase commit with the allocator's state, so
//! that opening after a crash takes no repair.

use super::embedded::{self, Change, Embedded, Index, Layout, Opener, Threads, private};
use super::listing::Step;
use super::{Error, Record, Result, Seq};
use crate::config::JournalConfig;
use crate::journal::fs::RealDir;
use ::redb::{
    Builder, Database, Durability, ReadOnlyTable, ReadableDatabase, TableDefinition, WriteTransaction,
};
use parking_lot::RwLock;
use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NAME: &str = "redb";
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const APPLIED: &str = "applied";
/// Bytes of the revision before a value.
const REV: usize = 8;

/// Opens stores with a redb index.
pub struct Redb;

impl Redb {
    /// Blocks until the index is at the journal's end.
    pub fn open(path: &Path, config: &JournalConfig) -> Result<impl super::Physical + use<>> {
        let layout = Layout::open(path, NAME)?;
        let dir = Arc::new(RealDir::open(&layout.journal())?);
        let opener = RedbOpener::new(&layout, config);
        let store: Embedded<RedbIndex> =
            embedded::open(dir, &opener, config.clone(), Threads::Two, Some(layout))?;
        Ok(store)
    }
}

pub(crate) struct RedbOpener {
    path: PathBuf,
    cache_bytes: u64,
}

impl RedbOpener {
    pub(crate) fn new(layout: &Layout, config: &JournalConfig) -> Self {
        RedbOpener { path: layout.index(NAME), cache_bytes: config.cache_bytes }
    }
}

impl Opener for RedbOpener {
    type Index = RedbIndex;

    fn open(&self) -> Result<RedbIndex> {
        let file = private().create(true).truncate(false).open(&self.path)?;
        let cache = usize::try_from(self.cache_bytes).unwrap_or(usize::MAX);
        let db = guarded(|| Ok(Builder::new().set_cache_size(cache).create_file(file)?))?;
        let records = guarded(|| match records(&db) {
            Err(::redb::Error::TableDoesNotExist(_)) => {
                let txn = db.begin_write()?;
                txn.open_table(RECORDS)?;
                txn.open_table(META)?;
                commit(txn)?;
                records(&db)
            }
            there => there,
        })?;
        let index = RedbIndex { path: self.path.clone(), records: RwLock::new(records), db };
        if let Some(parent) = self.path.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(index)
    }

    fn wipe(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }
}

fn guarded<R>(f: impl FnOnce() -> Result<R, ::redb::Error>) -> Result<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(r)) => Ok(r),
        Ok(Err(e)) => Err(error(e)),
        Err(_) => Err(Error::Corrupt("redb gave up on its file".into())),
    }
}

fn error(e: ::redb::Error) -> Error {
    match e {
        ::redb::Error::DatabaseAlreadyOpen => Error::Locked,
        ::redb::Error::Io(e) => Error::Io(e),
        ::redb::Error::Corrupted(what) => Error::Corrupt(format!("redb: {what}")),
        other => Error::Backend(format!("redb: {other}")),
    }
}

type Records = Arc<ReadOnlyTable<&'static [u8], &'static [u8]>>;

pub(crate) struct RedbIndex {
    path: PathBuf,
    /// As of the last round: opening a transaction for each read would cost more than the read.
    /// Before `db`, so that it goes first.
    records: RwLock<Records>,
    db: Database,
}

fn records(db: &Database) -> Result<Records, ::redb::Error> {
    Ok(Arc::new(db.begin_read()?.open_table(RECORDS)?))
}

/// Durable on return.
fn commit(mut txn: WriteTransaction) -> Result<(), ::redb::Error> {
    txn.set_durability(Durability::Immediate)?;
    txn.set_quick_repair(true);
    Ok(txn.commit()?)
}

impl RedbIndex {
    fn records(&self) -> Records {
        self.records.read().clone()
    }
}

fn revision(stored: &[u8]) -> Result<(Seq, &[u8])> {
    let (rev, value) = stored
        .split_first_chunk::<REV>()
        .ok_or_else(|| Error::Corrupt("a record of the redb index is damaged".into()))?;
    Ok((u64::from_le_bytes(*rev), value))
}

fn record(stored: &[u8]) -> Result<Record> {
    let (rev, value) = revision(stored)?;
    Ok(Record { rev, value: value.to_vec() })
}

impl Index for RedbIndex {
    const NAME: &'static str = NAME;
    const SURVIVES_POWER_CUT: bool = true;
    const OPENS_FILES: bool = false;

    fn size(&self) -> Result<u64> {
        Ok(fs::metadata(&self.path)?.len())
    }

    fn applied(&self) -> Result<Seq> {
        guarded(|| {
            let meta = self.db.begin_read()?.open_table(META)?;
            Ok(meta.get(APPLIED)?.map_or(0, |v| v.value()))
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        let stored = guarded(|| Ok(self.records().get(key)?))?;
        stored.map(|s| record(s.value())).transpose()
    }

    fn revision(&self, key: &[u8]) -> Result<Option<Seq>> {
        let stored = guarded(|| Ok(self.records().get(key)?))?;
        stored.map(|s| Ok(revision(s.value())?.0)).transpose()
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Record)>> {
        let from = match after {
            Some(a) if a >= prefix => Bound::Excluded(a),
            _ => Bound::Included(prefix),
        };
        let table = self.records();
        let mut range = guarded(|| Ok(table.range::<&[u8]>((from, Bound::Unbounded))?))?;
        let mut found = Vec::new();
        while found.len() < limit {
            let Some((key, stored)) = guarded(|| Ok(range.next().transpose()?))? else { break };
            if !key.value().starts_with(prefix) {
                break;
            }
            found.push((key.value().to_vec(), record(stored.value())?));
        }
        Ok(found)
    }

    fn walk(&self, from: &[u8], visit: &mut dyn FnMut(&[u8]) -> Step) -> Result<()> {
        let table = self.records();
        let mut from = from.to_vec();
        'seek: loop {
            let bounds = (Bound::Included(from.as_slice()), Bound::Unbounded);
            let mut range = guarded(|| Ok(table.range::<&[u8]>(bounds)?))?;
            while let Some((key, _)) = guarded(|| Ok(range.next().transpose()?))? {
                match visit(key.value()) {
                    Step::Next => {}
                    Step::Seek(to) => {
                        from = to;
                        continue 'seek;
                    }
                    Step::Stop => break 'seek,
                }
            }
            break;
        }
        Ok(())
    }

    fn apply(&self, seq: Seq, changes: &[Change<'_>]) -> Result<()> {
        guarded(|| {
            let mut txn = self.db.begin_write()?;
            txn.set_durability(Durability::None)?;
            write(&txn, seq, changes)?;
            txn.commit()?;
            *self.records.write() = records(&self.db)?;
            Ok(())
        })
    }

    fn sync(&self) -> Result<()> {
        guarded(|| commit(self.db.begin_write()?))
    }
}

fn write(txn: &WriteTransaction, seq: Seq, changes: &[Change<'_>]) -> Result<(), ::redb::Error> {
    let mut records = txn.open_table(RECORDS)?;
    for c in changes {
        match c.value {
            Some(value) => {
                let mut place = records.insert_reserve(c.key, REV + value.len())?;
                let (rev, rest) = place.as_mut().split_at_mut(REV);
                rev.copy_from_slice(&c.rev.to_le_bytes());
                rest.copy_from_slice(value);
            }
            None => {
                records.remove(c.key)?;
            }
        }
    }
    txn.open_table(META)?.insert(APPLIED, seq)?;
    Ok(())
}
