//! Snapshots of an index that has none: before a record changes, its old state is put aside for
//! the snapshots that are open; in memory as long as it is little, then in a file, so that no rate
//! of writes makes a snapshot void. A record made after a snapshot needs nothing put aside: its
//! revision tells.

use super::{Change, Index, Shared};
use crate::journal::fs::{Dir, File};
use crate::limits::SNAPSHOT_OVERLAY_BYTES;
use crate::physical::memory::stored_key;
use crate::physical::{Error, Key, Record, Result, Seq, Snapshot};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Weak};

/// The open snapshots.
#[derive(Default)]
pub(super) struct Snapshots {
    open: Mutex<Vec<Weak<Overlay>>>,
}

/// What one snapshot must see instead of the index.
pub(super) struct Overlay {
    seq: Seq,
    dir: Arc<dyn Dir>,
    old: Mutex<Old>,
}

struct Old {
    records: BTreeMap<Vec<u8>, Kept>,
    /// Of values in memory.
    bytes: usize,
    spill: Option<Spill>,
    /// Why the snapshot can no longer be read.
    void: Option<String>,
}

enum Kept {
    Here(Record),
    /// In the file: revision, offset, length.
    Spilled(Seq, u64, usize),
}

/// Old values on disk. The file is gone with it, or at the next open.
struct Spill {
    dir: Arc<dyn Dir>,
    name: String,
    file: Box<dyn File>,
    end: u64,
}

impl Spill {
    fn create(dir: Arc<dyn Dir>) -> io::Result<Spill> {
        let name = format!("snapshot-{}.tmp", uuid::Uuid::new_v4());
        let file = dir.create(&name)?;
        Ok(Spill { dir, name, file, end: 0 })
    }

    fn push(&mut self, record: &Record) -> io::Result<Kept> {
        self.file.write_at(self.end, &record.value)?;
        let at = self.end;
        self.end += record.value.len() as u64;
        Ok(Kept::Spilled(record.rev, at, record.value.len()))
    }

    fn read(&self, rev: Seq, at: u64, length: usize) -> io::Result<Record> {
        let mut value = vec![0; length];
        if self.file.read_at(at, &mut value)? != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Record { rev, value })
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        let _gone = self.dir.remove(&self.name);
    }
}

impl Old {
    fn keep(&mut self, dir: &Arc<dyn Dir>, key: &[u8], record: Record) -> io::Result<()> {
        let kept = if self.bytes + record.value.len() <= SNAPSHOT_OVERLAY_BYTES {
            self.bytes += record.value.len();
            Kept::Here(record)
        } else {
            let spill = match &mut self.spill {
                Some(spill) => spill,
                None => self.spill.insert(Spill::create(dir.clone())?),
            };
            spill.push(&record)?
        };
        self.records.insert(key.to_vec(), kept);
        Ok(())
    }

    fn get(&self, kept: &Kept) -> Result<Record> {
        match (kept, &self.spill) {
            (Kept::Here(record), _) => Ok(record.clone()),
            (Kept::Spilled(rev, at, length), Some(spill)) => Ok(spill.read(*rev, *at, *length)?),
            (Kept::Spilled(..), None) => Err(Error::Corrupt("old values of a snapshot are gone".into())),
        }
    }
}

impl Snapshots {
    /// A snapshot of now. `seq` is asked while no round can be published.
    pub(super) fn take(&self, dir: Arc<dyn Dir>, seq: impl FnOnce() -> Seq) -> Arc<Overlay> {
        let mut open = self.open.lock();
        let old = Old { records: BTreeMap::new(), bytes: 0, spill: None, void: None };
        let overlay = Arc::new(Overlay { seq: seq(), dir, old: Mutex::new(old) });
        open.push(Arc::downgrade(&overlay));
        overlay
    }

    /// Applies a round by `apply`, after the old state of what it changes is put aside; no
    /// snapshot is taken meanwhile.
    pub(super) fn publish<I: Index>(
        &self,
        index: &I,
        changes: &[Change<'_>],
        apply: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut open = self.open.lock();
        open.retain(|o| o.strong_count() > 0);
        for overlay in open.iter().filter_map(Weak::upgrade) {
            overlay.keep(index, changes)?;
        }
        apply()
    }
}

impl Overlay {
    fn keep<I: Index>(&self, index: &I, changes: &[Change<'_>]) -> Result<()> {
        let mut old = self.old.lock();
        for c in changes {
            if old.void.is_some() || old.records.contains_key(c.key) {
                continue;
            }
            let Some(record) = index.get(c.key)?.filter(|r| r.rev <= self.seq) else { continue };
            // No room for it costs the snapshot, not the write.
            if let Err(e) = old.keep(&self.dir, c.key, record) {
                old.records.clear();
                old.spill = None;
                old.void = Some(e.to_string());
            }
        }
        Ok(())
    }
}

/// An open snapshot.
pub(super) struct Frozen<I> {
    shared: Arc<Shared<I>>,
    index: Weak<I>,
    overlay: Arc<Overlay>,
}

impl<I: Index> Frozen<I> {
    pub(super) fn new(shared: Arc<Shared<I>>, index: Arc<I>, overlay: Arc<Overlay>) -> Self {
        // Not held: an open snapshot must not keep the files of a closed store locked.
        Frozen { shared, index: Arc::downgrade(&index), overlay }
    }
}

#[async_trait]
impl<I: Index> Snapshot for Frozen<I> {
    fn seq(&self) -> Seq {
        self.overlay.seq
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Key, Record)>> {
        let (prefix, after) = (prefix.to_vec(), after.map(<[u8]>::to_vec));
        let (index, overlay) = (self.index.clone(), self.overlay.clone());
        self.shared
            .blocking(move |s| {
                s.index()?;
                let index = index.upgrade().ok_or_else(super::closed)?;
                scan(&*index, &overlay, &prefix, after, limit)
            })
            .await
    }
}

fn scan<I: Index>(
    index: &I,
    overlay: &Overlay,
    prefix: &[u8],
    mut after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Vec<(Key, Record)>> {
    let mut found = Vec::new();
    while found.len() < limit {
        let want = limit - found.len();
        // The index first: what it shows newer than the snapshot was put aside before.
        let page = index.scan(prefix, after.as_deref(), want)?;
        // A full page says nothing about what lies behind its last key.
        let upto = (page.len() == want).then(|| page.last().map(|(k, _)| k.clone())).flatten();
        let mut merged: BTreeMap<Vec<u8>, Record> = page.into_iter().collect();
        overlay.put_back(&mut merged, prefix, after.as_deref(), upto.as_deref())?;
        for (key, record) in merged.into_iter().take(want) {
            found.push((stored_key(key)?, record));
        }
        match upto {
            Some(key) if found.len() < limit => after = Some(key),
            _ => break,
        }
    }
    Ok(found)
}

impl Overlay {
    /// Replaces what changed since, for keys after `after` and up to `upto`.
    fn put_back(
        &self,
        page: &mut BTreeMap<Vec<u8>, Record>,
        prefix: &[u8],
        after: Option<&[u8]>,
        upto: Option<&[u8]>,
    ) -> Result<()> {
        let old = self.old.lock();
        if let Some(why) = &old.void {
            return Err(Error::Backend(format!("old values of the snapshot could not be kept: {why}")));
        }
        let from = match after {
            Some(a) if a >= prefix => Bound::Excluded(a),
            _ => Bound::Included(prefix),
        };
        for (key, record) in old.records.range::<[u8], _>((from, Bound::Unbounded)) {
            if !key.starts_with(prefix) || upto.is_some_and(|u| key.as_slice() > u) {
                break;
            }
            page.insert(key.clone(), old.get(record)?);
        }
        page.retain(|_, r| r.rev <= self.seq);
        Ok(())
    }
}
