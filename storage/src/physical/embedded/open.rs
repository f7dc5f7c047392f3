//! Opening: take stock of the journal, bring the index to its end, start the threads.

use super::committer::Committer;
use super::snapshot::Snapshots;
use super::upkeep::{BALLAST, Task, Upkeep, remove_if_there};
use super::{Change, Embedded, Index, Layout, Opener, Shared};
use crate::config::JournalConfig;
use crate::journal::base;
use crate::journal::clean::Clean;
use crate::journal::frame::{Entry, JournalId};
use crate::journal::fs::Dir;
use crate::journal::log::{Journal, unknown_entry};
use crate::journal::writer::Writer;
use crate::limits::SCAN_THREADS;
use crate::physical::watch::Watch;
use crate::physical::{Error, Result, Seq};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use tokio::sync::Semaphore;

/// Bytes of changes put together before they go to the index, while replaying.
const REPLAY_BYTES: usize = 4 * 1024 * 1024;
/// More segments than this, left by many restarts, are cleared with the first write.
const MANY_SEGMENTS: usize = 8;

/// Who does the upkeep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// A thread of its own.
    Two,
    /// The committer, after it answered: a test then sees every file system call in a fixed order.
    #[cfg(test)]
    One,
}

/// Opens the store in `dir`; `layout` is let go of when it is closed. Blocks: replaying may take
/// seconds.
pub(crate) fn open<O: Opener>(
    dir: Arc<dyn Dir>,
    opener: &O,
    config: JournalConfig,
    threads: Threads,
    layout: Option<Layout>,
) -> Result<Embedded<O::Index>> {
    prepare(&*dir, &config)?;
    let mut journal = Journal::read(&*dir)?;
    if let Some(j) = &mut journal {
        j.settle(&*dir)?;
        Clean::remove(&*dir)?;
    }
    let Ready { index, covered, base_bytes, released } = match &journal {
        Some(j) => recover(&*dir, opener, j)?,
        None => fresh(opener)?,
    };
    let (id, last, link, segments) = match journal {
        Some(j) => {
            for name in &j.stale {
                dir.remove(name)?;
            }
            (j.id, j.last, j.link, j.segments)
        }
        None => (JournalId::from(*uuid::Uuid::new_v4().as_bytes()), 0, Default::default(), Vec::new()),
    };
    let next_number = segments.last().map_or(1, |s| s.number + 1);
    let since = match segments.len() {
        0..=MANY_SEGMENTS => segments.iter().filter(|s| s.last > covered).map(|s| s.end).sum(),
        _ => u64::MAX / 2,
    };
    let shared = Arc::new(Shared {
        index: RwLock::new(Some(Arc::new(index))),
        seq: AtomicU64::new(last),
        watch: Watch::new(last),
        snapshots: Snapshots::default(),
        failed: AtomicBool::new(false),
        reason: Mutex::new(String::new()),
        dir: dir.clone(),
        segments: Mutex::new(segments),
        released: AtomicU64::new(released),
        scans: Arc::new(Semaphore::new(SCAN_THREADS)),
        syncs: Default::default(),
    });
    let upkeep = Upkeep::start(shared.clone(), config.clone(), id, covered, base_bytes, threads)?;
    if dir.available().is_ok_and(|free| free >= config.reserve_bytes + 2 * config.ballast_bytes) {
        upkeep.ask(Task::Ballast);
    }
    let writer = Writer::new(dir, id, last, link, next_number);
    Embedded::start(shared.clone(), |commands| {
        Committer::new(shared, commands, writer, upkeep, config, since, layout)
    })
}

/// Clears what an earlier process left half done, and makes room on a full disk.
fn prepare(dir: &dyn Dir, config: &JournalConfig) -> Result<()> {
    for name in dir.list()?.iter().filter(|n| n.ends_with(".tmp")) {
        dir.remove(name)?;
    }
    if dir.available().is_ok_and(|free| free < config.reserve_bytes) {
        remove_if_there(dir, BALLAST)?;
    }
    Ok(())
}

/// An index that is at the journal's end.
pub(super) struct Ready<I> {
    pub(super) index: I,
    covered: Seq,
    base_bytes: u64,
    released: Seq,
}

/// Nothing was ever written here.
fn fresh<O: Opener>(opener: &O) -> Result<Ready<O::Index>> {
    let index = match opener.open() {
        Err(Error::Corrupt(_)) if !O::Index::SURVIVES_POWER_CUT => {
            opener.wipe()?;
            opener.open()?
        }
        other => other?,
    };
    if index.applied()? != 0 {
        return Err(Error::Corrupt("the index holds records, but the journal is gone".into()));
    }
    Ok(Ready { index, covered: 0, base_bytes: 0, released: 0 })
}

pub(super) fn recover<O: Opener>(dir: &dyn Dir, opener: &O, journal: &Journal) -> Result<Ready<O::Index>> {
    if O::Index::SURVIVES_POWER_CUT {
        let index = opener.open()?;
        let applied = index.applied()?;
        replay(dir, journal, &index, applied)?;
        // Even if nothing was replayed: a killed process may have left its last checkpoint in the
        // page cache only, and the journal before it goes.
        if !journal.clean {
            index.sync()?;
        }
        return Ok(Ready { index, covered: journal.last, base_bytes: 0, released: journal.released });
    }
    let newest = journal.bases.last();
    if journal.clean {
        match opener.open() {
            Ok(index) if index.applied().is_ok_and(|seq| seq == journal.last) => {
                let covered = newest.map_or(0, |(seq, _)| *seq);
                // Its size is only needed to time the next one.
                let base_bytes = newest.map_or(Ok(0), |(_, name)| dir.open(name)?.len())?;
                return Ok(Ready { index, covered, base_bytes, released: journal.released });
            }
            Err(Error::Locked) => return Err(Error::Locked),
            Ok(_) => tracing::warn!("the index is not at the journal's end; building it again"),
            Err(e) => tracing::warn!(error = %e, "the index does not open; building it again"),
        }
    }
    rebuild(dir, opener, journal)
}

/// Builds the index from the newest base and the journal.
fn rebuild<O: Opener>(dir: &dyn Dir, opener: &O, journal: &Journal) -> Result<Ready<O::Index>> {
    opener.wipe()?;
    let index = opener.open()?;
    let (mut covered, mut base_bytes, mut released) = (0, 0, journal.released);
    if let Some((_, name)) = journal.bases.last() {
        let mut batch = Batch::default();
        let base = base::read(dir, name, &journal.id, |rev, key, value| {
            batch.set(key, Some(value), rev);
            batch.flush_if_large(&index, 0)
        })?;
        batch.flush(&index, base.seq)?;
        (covered, base_bytes, released) = (base.seq, base.bytes, released.max(base.released));
    }
    replay(dir, journal, &index, covered)?;
    Ok(Ready { index, covered, base_bytes, released })
}

/// Applies every frame after `after`, many at a time.
fn replay<I: Index>(dir: &dyn Dir, journal: &Journal, index: &I, after: Seq) -> Result<()> {
    let mut batch = Batch::default();
    let mut seq = after;
    journal.replay(dir, after, |frame| {
        for entry in frame.entries() {
            match entry.ok_or_else(|| unknown_entry(frame.seq))? {
                Entry::Put { key, value } => batch.set(key, Some(value), frame.seq),
                Entry::Delete { key } => batch.set(key, None, frame.seq),
                Entry::Rider(_) | Entry::Release(_) => {}
                Entry::Record { .. } | Entry::End { .. } => return Err(unknown_entry(frame.seq)),
            }
        }
        seq = frame.seq;
        batch.flush_if_large(index, seq)
    })?;
    if seq > after { batch.flush(index, seq) } else { Ok(()) }
}

#[derive(Default)]
struct Batch {
    last: HashMap<Vec<u8>, (Option<Vec<u8>>, Seq)>,
    bytes: usize,
}

impl Batch {
    fn set(&mut self, key: &[u8], value: Option<&[u8]>, rev: Seq) {
        self.bytes += key.len() + value.map_or(0, <[u8]>::len);
        self.last.insert(key.to_vec(), (value.map(<[u8]>::to_vec), rev));
    }

    fn flush_if_large<I: Index>(&mut self, index: &I, seq: Seq) -> Result<()> {
        if self.bytes < REPLAY_BYTES { Ok(()) } else { self.flush(index, seq) }
    }

    fn flush<I: Index>(&mut self, index: &I, seq: Seq) -> Result<()> {
        let changes: Vec<Change<'_>> = self
            .last
            .iter()
            .map(|(key, (value, rev))| Change { key, value: value.as_deref(), rev: *rev })
            .collect();
        index.apply(seq, &changes)?;
        self.last.clear();
        self.bytes = 0;
        Ok(())
    }
}
