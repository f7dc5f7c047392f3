//! The default backend: a journal indexed by sled.
//!
//! ```text
//! 0x00 "applied"                       sequence u64
//! 0x01 key                             revision u64 | length u32 | first 8 KiB of the value
//! 0x02 key ff ff revision u64 n u16    the n-th further 8 KiB
//! ```
//! Integers in keys are big-endian, in values little-endian. sled 0.34.7 turns nodes above
//! 128 KiB into files of their own that it never syncs, hence the chunks. It is not trusted to
//! survive a power cut; see the documentation of the engine in `embedded`.

use super::embedded::{self, Change, Embedded, Index, Layout, Opener, Threads};
use super::listing::Step;
use super::{Error, Record, Result, Seq};
use crate::config::JournalConfig;
use crate::journal::fs::RealDir;
use crate::limits::SLED_CHUNK_BYTES;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NAME: &str = "sled";
const APPLIED: &[u8] = b"\x00applied";
const RECORDS: u8 = 1;
const CHUNKS: u8 = 2;
/// Revision and length before the value.
const HEAD: usize = 12;
/// A record that changes under a reader more often than this is taken for damage.
const READ_TRIES: usize = 64;

/// Opens stores with a sled index.
pub struct Sled;

impl Sled {
    /// Blocks until the index is at the journal's end.
    pub fn open(path: &Path, config: &JournalConfig) -> Result<impl super::Physical + use<>> {
        let layout = Layout::open(path, NAME)?;
        let dir = Arc::new(RealDir::open(&layout.journal())?);
        let opener = SledOpener::new(&layout, config);
        let store: Embedded<SledIndex> =
            embedded::open(dir, &opener, config.clone(), Threads::Two, Some(layout))?;
        Ok(store)
    }
}

pub(crate) struct SledOpener {
    path: PathBuf,
    cache_bytes: u64,
}

impl SledOpener {
    pub(crate) fn new(layout: &Layout, config: &JournalConfig) -> Self {
        SledOpener { path: layout.index(NAME), cache_bytes: config.cache_bytes }
    }
}

impl Opener for SledOpener {
    type Index = SledIndex;

    fn open(&self) -> Result<SledIndex> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let config =
            ::sled::Config::new().path(&self.path).cache_capacity(self.cache_bytes).flush_every_ms(None);
        let db = guarded(|| config.open())?;
        Ok(SledIndex { db, dir: File::open(&self.path)? })
    }

    fn wipe(&self) -> Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }
}

/// sled panics on some damage; a store must say so instead.
fn guarded<R>(f: impl FnOnce() -> ::sled::Result<R>) -> Result<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(r)) => Ok(r),
        Ok(Err(e)) => Err(error(e)),
        Err(_) => Err(Error::Corrupt("sled gave up on its files".into())),
    }
}

fn error(e: ::sled::Error) -> Error {
    match e {
        // Its word for a file lock held by another.
        ::sled::Error::Io(e) if e.kind() == io::ErrorKind::WouldBlock => Error::Locked,
        ::sled::Error::Io(e) if e.to_string().contains("could not acquire lock") => Error::Locked,
        ::sled::Error::Io(e) => Error::Io(e),
        ::sled::Error::Corruption { .. } => Error::Corrupt("sled found its files damaged".into()),
        other => Error::Backend(format!("sled: {other}")),
    }
}

pub(crate) struct SledIndex {
    db: ::sled::Db,
    /// For `syncfs`: `flush` leaves file sizes and side files unsynced.
    dir: File,
}

struct Head<'a> {
    rev: Seq,
    len: usize,
    first: &'a [u8],
}

fn head(bytes: &[u8]) -> Result<Head<'_>> {
    let bad = || Error::Corrupt("a record of the sled index is damaged".into());
    let (rev, rest) = bytes.split_first_chunk::<8>().ok_or_else(bad)?;
    let (len, first) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
    let len = u32::from_le_bytes(*len) as usize;
    if first.len() != len.min(SLED_CHUNK_BYTES) {
        return Err(bad());
    }
    Ok(Head { rev: u64::from_le_bytes(*rev), len, first })
}

fn record_key(key: &[u8]) -> Vec<u8> {
    let mut k = Vec::with_capacity(1 + key.len());
    k.push(RECORDS);
    k.extend_from_slice(key);
    k
}

/// `ff ff` cannot begin a segment, so no two keys share a chunk.
fn chunk_key(key: &[u8], rev: Seq, n: usize) -> Vec<u8> {
    let mut k = Vec::with_capacity(key.len() + 13);
    k.push(CHUNKS);
    k.extend_from_slice(key);
    k.extend_from_slice(&[0xff, 0xff]);
    k.extend_from_slice(&rev.to_be_bytes());
    k.extend_from_slice(&(n as u16).to_be_bytes());
    k
}

/// How many chunks follow the head.
fn further(len: usize) -> usize {
    len.saturating_sub(SLED_CHUNK_BYTES).div_ceil(SLED_CHUNK_BYTES)
}

impl SledIndex {
    /// The whole record, or `None` when it changed while it was put together.
    fn join(&self, key: &[u8], stored: &[u8]) -> Result<Option<Record>> {
        let h = head(stored)?;
        let mut value = Vec::with_capacity(h.len);
        value.extend_from_slice(h.first);
        for n in 0..further(h.len) {
            match guarded(|| self.db.get(chunk_key(key, h.rev, n)))? {
                Some(chunk) => value.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
        if value.len() != h.len {
            return Err(Error::Corrupt("a record of the sled index is damaged".into()));
        }
        Ok(Some(Record { rev: h.rev, value }))
    }

    /// Whether a chunk is part of the record it names.
    fn belongs(&self, stored_at: &[u8]) -> Result<bool> {
        let Some((rest, n)) = stored_at.split_last_chunk::<2>() else { return Ok(false) };
        let Some((rest, rev)) = rest.split_last_chunk::<8>() else { return Ok(false) };
        let Some(key) = rest.strip_suffix(&[0xff, 0xff]).and_then(|k| k.get(1..)) else { return Ok(false) };
        let Some(stored) = guarded(|| self.db.get(record_key(key)))? else { return Ok(false) };
        let head = head(&stored)?;
        Ok(head.rev == Seq::from_be_bytes(*rev) && usize::from(u16::from_be_bytes(*n)) < further(head.len))
    }

    fn put(&self, batch: &mut ::sled::Batch, c: &Change<'_>, value: &[u8]) {
        let (first, rest) = value.split_at(value.len().min(SLED_CHUNK_BYTES));
        let mut stored = Vec::with_capacity(HEAD + first.len());
        stored.extend_from_slice(&c.rev.to_le_bytes());
        stored.extend_from_slice(&(value.len() as u32).to_le_bytes());
        stored.extend_from_slice(first);
        batch.insert(record_key(c.key), stored);
        for (n, chunk) in rest.chunks(SLED_CHUNK_BYTES).enumerate() {
            batch.insert(chunk_key(c.key, c.rev, n), chunk);
        }
    }
}

impl Index for SledIndex {
    const NAME: &'static str = NAME;
    const SURVIVES_POWER_CUT: bool = false;
    const OPENS_FILES: bool = true;

    fn applied(&self) -> Result<Seq> {
        let stored = guarded(|| self.db.get(APPLIED))?;
        Ok(stored.and_then(|v| v.first_chunk().copied()).map_or(0, u64::from_le_bytes))
    }

    fn size(&self) -> Result<u64> {
        guarded(|| self.db.size_on_disk())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        let stored_at = record_key(key);
        for _ in 0..READ_TRIES {
            let Some(stored) = guarded(|| self.db.get(&stored_at))? else { return Ok(None) };
            if let Some(record) = self.join(key, &stored)? {
                return Ok(Some(record));
            }
        }
        Err(Error::Corrupt("a record of the sled index has lost a part".into()))
    }

    fn revision(&self, key: &[u8]) -> Result<Option<Seq>> {
        match guarded(|| self.db.get(record_key(key)))? {
            Some(stored) => Ok(Some(head(&stored)?.rev)),
            None => Ok(None),
        }
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Record)>> {
        let mut found = Vec::new();
        let mut from = record_key(prefix);
        if let Some(after) = after.filter(|a| *a >= prefix) {
            from = record_key(after);
            from.push(0);
        }
        let mut records = self.db.range(from..vec![CHUNKS]);
        while found.len() < limit {
            let Some((stored_at, stored)) = guarded(|| records.next().transpose())? else { break };
            let key = stored_at.get(1..).unwrap_or_default();
            if !key.starts_with(prefix) {
                break;
            }
            let record = match self.join(key, &stored)? {
                Some(r) => Some(r),
                None => self.get(key)?,
            };
            found.extend(record.map(|r| (key.to_vec(), r)));
        }
        Ok(found)
    }

    fn walk(&self, from: &[u8], visit: &mut dyn FnMut(&[u8]) -> Step) -> Result<()> {
        let mut from = record_key(from);
        'seek: loop {
            let mut records = self.db.range(from..vec![CHUNKS]);
            while let Some((stored_at, _)) = guarded(|| records.next().transpose())? {
                match visit(stored_at.get(1..).unwrap_or_default()) {
                    Step::Next => {}
                    Step::Seek(to) => {
                        from = record_key(&to);
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
        let mut batch = ::sled::Batch::default();
        for c in changes {
            // Chunks first: a new state of the same revision then wins over its removal.
            if let Some(old) = guarded(|| self.db.get(record_key(c.key)))? {
                let old = head(&old)?;
                for n in 0..further(old.len) {
                    batch.remove(chunk_key(c.key, old.rev, n));
                }
            }
            match c.value {
                Some(value) => self.put(&mut batch, c, value),
                None => batch.remove(record_key(c.key)),
            }
        }
        batch.insert(APPLIED, &seq.to_le_bytes());
        guarded(|| self.db.apply_batch(batch))
    }

    fn sync(&self) -> Result<()> {
        guarded(|| self.db.flush())?;
        nix::unistd::syncfs(&self.dir).map_err(|e| Error::Io(e.into()))
    }

    fn strays(&self) -> Result<u64> {
        let mut strays = 0;
        let mut chunks = self.db.range(vec![CHUNKS]..vec![CHUNKS + 1]);
        while let Some((stored_at, _)) = guarded(|| chunks.next().transpose())? {
            if !self.belongs(&stored_at)? {
                strays += 1;
            }
        }
        Ok(strays)
    }
}
