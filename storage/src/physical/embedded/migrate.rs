//! Moving a store to another backend (or another place), with its revisions and its history.
//!
//! The journal does not depend on the index, so it is taken along as it is; the records are
//! copied from index to index with a stored cursor, and compared at the end. From the first step
//! on the source carries `MOVED` and is not opened for writing any more: two stores with one
//! identity would each lose what the other was told. The target carries `INCOMPLETE` until it is
//! whole. A stopped migration is run again and goes on where it was.

use super::check::pages;
use super::layout::{INCOMPLETE, MOVED};
use super::{Change, Index, Layout, Opener, Threads, open};
use crate::config::JournalConfig;
use crate::journal::base::BaseWriter;
use crate::journal::clean::Clean;
use crate::journal::fs::{Dir, RealDir};
use crate::journal::log::Journal;
use crate::journal::segment::segment_name;
use crate::physical::open::Moved;
use crate::physical::{Error, Result};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;

/// Records copied at a time.
const PAGE: usize = 256;
/// Bytes copied between two places a stopped migration can go on from.
const STRIDE: u64 = 32 * 1024 * 1024;
/// Bytes of a journal file copied at a time.
const BUFFER: usize = 256 * 1024;

/// One end of a migration.
pub(crate) struct Side<O> {
    pub layout: Layout,
    pub opener: O,
}

/// Blocks until the copy is whole. `go_on` is told how many records are copied, and ends it by
/// answering `false`.
pub(crate) fn migrate<A: Opener, B: Opener>(
    from: Side<A>,
    to: Side<B>,
    config: &JournalConfig,
    go_on: &dyn Fn(u64) -> bool,
) -> Result<Moved> {
    let there = to.layout.root().display().to_string();
    match from.layout.note(MOVED)? {
        Some(other) if other != there => {
            return Err(Error::Backend(format!("the store was moved, or is being moved, to {other}")));
        }
        Some(_) => {}
        None => {
            started_empty(&to)?;
            to.layout.leave(INCOMPLETE, "")?;
            from.layout.leave(MOVED, &there)?;
        }
    }
    if to.layout.note(INCOMPLETE)?.is_none() {
        return Err(Error::Backend(format!("the store is already moved to {there}")));
    }
    let source_dir: Arc<dyn Dir> = Arc::new(RealDir::open(&from.layout.journal())?);
    // Brings the index to the journal's end and closes in order.
    drop(open(source_dir.clone(), &from.opener, config.clone(), Threads::Two, None)?);
    let Some(journal) = Journal::read(&*source_dir)? else {
        to.layout.take(INCOMPLETE)?;
        return Ok(Moved::default());
    };
    if !journal.clean {
        return Err(Error::Backend("the source could not be closed in order".into()));
    }
    let clean = Clean { id: journal.id, seq: journal.last, link: journal.link, released: journal.released };
    // Opening may write to the index's files, so for that long the store is not closed in order.
    Clean::remove(&*source_dir)?;
    let source = from.opener.open()?;
    let moved = carry(&source, &*source_dir, &to, &journal, go_on).and_then(|moved| {
        let target_dir = RealDir::open(&to.layout.journal())?;
        clean.write(&target_dir)?;
        Ok(moved)
    });
    source.sync()?;
    drop(source);
    clean.write(&*source_dir)?;
    let moved = moved?;
    to.layout.take(INCOMPLETE)?;
    Ok(moved)
}

/// Records, comparison, journal.
fn carry<A: Index, B: Opener>(
    source: &A,
    source_dir: &dyn Dir,
    to: &Side<B>,
    journal: &Journal,
    go_on: &dyn Fn(u64) -> bool,
) -> Result<Moved> {
    let target = copy(source, to, journal, go_on)?;
    let moved = compare(source, &target, to, journal.last)?;
    target.sync()?;
    drop(target);
    let target_dir: Arc<dyn Dir> = Arc::new(RealDir::open(&to.layout.journal())?);
    take_journal_along::<_, B::Index>(source, source_dir, &target_dir, journal)?;
    Ok(moved)
}

fn started_empty<O>(to: &Side<O>) -> Result<()> {
    let dir = RealDir::open(&to.layout.journal())?;
    match Journal::read(&dir)? {
        None => Ok(()),
        Some(_) => Err(Error::Backend(format!("{} already holds a store", to.layout.root().display()))),
    }
}

/// Copies the records, from the stored place on.
fn copy<I: Index, O: Opener>(
    source: &I,
    to: &Side<O>,
    journal: &Journal,
    go_on: &dyn Fn(u64) -> bool,
) -> Result<O::Index> {
    let mut place = Place::parse(&to.layout.note(INCOMPLETE)?.unwrap_or_default(), journal.last);
    if place.copied == 0 {
        to.opener.wipe()?;
    }
    let target = to.opener.open()?;
    let mut unsaved = 0;
    loop {
        let page = source.scan(&[], place.after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { break };
        let changes: Vec<Change<'_>> =
            page.iter().map(|(key, r)| Change { key, value: Some(&r.value), rev: r.rev }).collect();
        target.apply(0, &changes)?;
        place.copied += page.len() as u64;
        place.after = Some(last.clone());
        unsaved += page.iter().map(|(k, r)| (k.len() + r.value.len()) as u64).sum::<u64>();
        let stop = !go_on(place.copied);
        if unsaved >= STRIDE || stop {
            target.sync()?;
            to.layout.leave(INCOMPLETE, &place.text(journal.last))?;
            unsaved = 0;
        }
        if stop {
            return Err(Error::Backend("stopped; run the migration again to go on".into()));
        }
    }
    target.apply(journal.last, &[])?;
    Ok(target)
}

/// How far the copy is. Void when the source has changed since.
#[derive(Default)]
struct Place {
    copied: u64,
    after: Option<Vec<u8>>,
}

impl Place {
    /// `sequence of the source, records copied, last key in hexadecimal`
    fn text(&self, seq: u64) -> String {
        let mut text = format!("{seq} {} ", self.copied);
        for byte in self.after.iter().flatten() {
            let _always = write!(text, "{byte:02x}");
        }
        text
    }

    fn parse(text: &str, seq: u64) -> Self {
        let read = || {
            let mut words = text.split(' ');
            (words.next()?.parse::<u64>().ok()? == seq).then_some(())?;
            let copied = words.next()?.parse().ok()?;
            let digits = words.next()?;
            let after = (0..digits.len()).step_by(2);
            let after = after.map(|i| digits.get(i..i + 2).and_then(|d| u8::from_str_radix(d, 16).ok()));
            Some(Place { copied, after: Some(after.collect::<Option<_>>()?) })
        };
        read().unwrap_or_default()
    }
}

/// Count and hash of all records with their revisions, on both sides.
fn compare<A: Index, O: Opener>(source: &A, target: &O::Index, to: &Side<O>, seq: u64) -> Result<Moved> {
    let (ours, theirs) = (digest(source)?, digest(target)?);
    if ours != theirs {
        to.layout.leave(INCOMPLETE, "")?;
        return Err(Error::Corrupt(format!(
            "the copy has {} records, the source {}, or they differ; run the migration again to start over",
            theirs.0, ours.0
        )));
    }
    Ok(Moved { records: ours.0, bytes: ours.1, seq })
}

fn digest<I: Index>(index: &I) -> Result<(u64, u64, [u8; 32])> {
    let (mut count, mut bytes, mut hash) = (0, 0, Sha256::new());
    pages(index, |key, record| {
        count += 1;
        bytes += (key.len() + record.value.len()) as u64;
        hash.update((key.len() as u64).to_le_bytes());
        hash.update(key);
        hash.update(record.rev.to_le_bytes());
        hash.update((record.value.len() as u64).to_le_bytes());
        hash.update(&record.value);
        Ok(())
    })?;
    Ok((count, bytes, hash.finalize().into()))
}

/// The journal as it is, and a base where the new index needs one.
fn take_journal_along<A: Index, B: Index>(
    source: &A,
    from: &dyn Dir,
    to: &Arc<dyn Dir>,
    journal: &Journal,
) -> Result<()> {
    for name in to.list()? {
        to.remove(&name)?;
    }
    if !B::SURVIVES_POWER_CUT {
        let mut base = BaseWriter::create(to.clone(), journal.id, journal.last)?;
        pages(source, |key, record| Ok(base.record(record.rev, key, &record.value)?))?;
        base.finish(journal.released)?;
    }
    let mut buf = vec![0; BUFFER];
    for s in &journal.segments {
        let name = segment_name(s.number);
        let (old, new) = (from.open(&name)?, to.create(&name)?);
        let mut at = 0;
        while at < s.end {
            let n = old.read_at(at, &mut buf)?.min(usize::try_from(s.end - at).unwrap_or(BUFFER));
            if n == 0 {
                return Err(Error::Corrupt(format!("{name} is shorter than it was")));
            }
            new.write_at(at, buf.get(..n).unwrap_or_default())?;
            at += n as u64;
        }
        new.sync()?;
    }
    Ok(to.sync()?)
}
