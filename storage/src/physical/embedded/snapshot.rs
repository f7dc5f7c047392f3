//! Snapshots of an index that has none: before a record changes, its old state is put aside for
//! the snapshots that are open.

use super::{Change, Index, Shared};
use crate::limits::SNAPSHOT_OVERLAY_BYTES;
use crate::physical::memory::stored_key;
use crate::physical::{Error, Key, Record, Result, Seq, Snapshot};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::BTreeMap;
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
    old: Mutex<Old>,
}

#[derive(Default)]
struct Old {
    /// `None`: absent when the snapshot was taken.
    records: BTreeMap<Vec<u8>, Option<Record>>,
    bytes: usize,
    void: bool,
}

impl Snapshots {
    /// A snapshot of now. `seq` is asked while no round can be published.
    pub(super) fn take(&self, seq: impl FnOnce() -> Seq) -> Arc<Overlay> {
        let mut open = self.open.lock();
        let overlay = Arc::new(Overlay { seq: seq(), old: Mutex::default() });
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
            if old.void || old.records.contains_key(c.key) {
                continue;
            }
            let record = index.get(c.key)?;
            old.bytes += c.key.len() + record.as_ref().map_or(0, |r| r.value.len());
            if old.bytes > SNAPSHOT_OVERLAY_BYTES {
                *old = Old { void: true, ..Old::default() };
                return Ok(());
            }
            old.records.insert(c.key.to_vec(), record);
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
        if old.void {
            return Err(Error::Backend("too much changed since the snapshot was taken".into()));
        }
        let from = match after {
            Some(a) if a >= prefix => Bound::Excluded(a),
            _ => Bound::Included(prefix),
        };
        for (key, record) in old.records.range::<[u8], _>((from, Bound::Unbounded)) {
            if !key.starts_with(prefix) || upto.is_some_and(|u| key.as_slice() > u) {
                break;
            }
            match record {
                Some(r) => page.insert(key.clone(), r.clone()),
                None => page.remove(key),
            };
        }
        match page.values().find(|r| r.rev > self.seq) {
            Some(_) => Err(Error::Corrupt("a snapshot met a later record".into())),
            None => Ok(()),
        }
    }
}
