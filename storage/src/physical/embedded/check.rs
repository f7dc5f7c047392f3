//! A structural check of a closed store: every frame, every base file, every record.

use super::open::recover;
use super::{Index, IndexCheck, Layout, Opener};
use crate::journal::base;
use crate::journal::clean::Clean;
use crate::journal::fs::{Dir, RealDir};
use crate::journal::log::{self, Journal};
use crate::physical::memory::stored_key;
use crate::physical::open::{Checked, IndexState};
use crate::physical::{Error, Result};
use std::path::Path;
use std::{fs, io};

/// Beside the store, while it is checked.
const SCRATCH: &str = "check.tmp";
/// Records read at a time.
const PAGE: usize = 256;

/// Changes nothing but the index's own files, as opening them does; a store that was not closed in order, such as the
/// copy of a running one, is as sound as what the next open would make of it.
pub(crate) fn check<O: Opener>(layout: &Layout, make: impl Fn(&Layout) -> O) -> Result<Checked> {
    let opener = &make(layout);
    let dir = RealDir::open(&layout.journal())?;
    let Some(journal) = Journal::read(&dir)? else {
        let index = opener.open()?;
        return match index.applied()? {
            0 => Ok(Checked::default()),
            _ => Err(Error::Corrupt("the index holds records, but the journal is gone".into())),
        };
    };
    let mut checked = Checked {
        seq: journal.last,
        segments: journal.segments.len() as u64,
        riders: log::riders(&dir, &journal.segments, journal.released)?.len() as u64,
        ..Checked::default()
    };
    journal.replay(&dir, journal.first().saturating_sub(1), |_| {
        checked.rounds += 1;
        Ok(())
    })?;
    for (_, name) in &journal.bases {
        checked.base_records = base::read(&dir, name, &journal.id, |_, key, _| {
            stored_key(key.to_vec())?;
            Ok(())
        })?
        .count;
    }
    if !journal.clean {
        covered::<O::Index>(&journal)?;
        checked.index = IndexState::Behind;
        let found = recovered(&dir, layout, make, &journal)?;
        (checked.records, checked.bytes, checked.strays) = (found.records, found.bytes, found.strays);
        return Ok(checked);
    }
    let found = match index(&dir, opener, &journal) {
        // The next open builds it again.
        Err(Error::Corrupt(_)) if !O::Index::SURVIVES_POWER_CUT => {
            covered::<O::Index>(&journal)?;
            checked.index = IndexState::Behind;
            recovered(&dir, layout, make, &journal)?
        }
        found => {
            checked.index = IndexState::Current;
            found?
        }
    };
    (checked.records, checked.bytes, checked.strays) = (found.records, found.bytes, found.strays);
    Ok(checked)
}

/// What the index holds by itself says nothing: so the recovery of the next open is carried out on a copy, and only its
/// outcome counts.
fn recovered<O: Opener>(
    dir: &dyn Dir,
    layout: &Layout,
    make: impl Fn(&Layout) -> O,
    journal: &Journal,
) -> Result<IndexCheck> {
    let scratch = layout.root().join(SCRATCH);
    remove_all(&scratch)?;
    let done = recovered_in(&scratch, dir, layout, make, journal);
    remove_all(&scratch)?;
    done
}

fn recovered_in<O: Opener>(
    scratch: &Path,
    dir: &dyn Dir,
    layout: &Layout,
    make: impl Fn(&Layout) -> O,
    journal: &Journal,
) -> Result<IndexCheck> {
    let copy = Layout::open_any(scratch, O::Index::NAME)?;
    let index = layout.index(O::Index::NAME);
    if O::Index::SURVIVES_POWER_CUT && index.is_file() {
        fs::copy(index, copy.index(O::Index::NAME))?;
    }
    let ready = recover(dir, &make(&copy), journal)?;
    let applied = ready.index.applied()?;
    if applied != journal.last {
        return Err(Error::Corrupt(format!(
            "the index is at sequence {applied}, the journal ends at {}",
            journal.last
        )));
    }
    walk(&ready.index, journal)
}

pub(super) fn remove_all(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

/// Every record, in order, none of it newer than the journal.
fn walk<I: Index>(index: &I, journal: &Journal) -> Result<IndexCheck> {
    let mut found = IndexCheck::default();
    pages(index, |key, record| {
        stored_key(key.to_vec())?;
        if record.rev > journal.last {
            return Err(Error::Corrupt("a record is newer than the journal".into()));
        }
        found.records += 1;
        found.bytes += (key.len() + record.value.len()) as u64;
        Ok(())
    })?;
    found.strays = index.strays()?;
    Ok(found)
}

/// Whether base and journal hold every change, where the index alone would not do.
fn covered<I: Index>(journal: &Journal) -> Result<()> {
    let base = journal.bases.last().map_or(0, |(seq, _)| *seq);
    if !I::SURVIVES_POWER_CUT && journal.first() > base + 1 {
        return Err(Error::Corrupt(format!(
            "nothing holds the changes between sequences {base} and {}",
            journal.first()
        )));
    }
    Ok(())
}

fn index<O: Opener>(dir: &dyn Dir, opener: &O, journal: &Journal) -> Result<IndexCheck> {
    // Opening may write to the index's files, so for that long the store is not closed in order.
    let clean = Clean { id: journal.id, seq: journal.last, link: journal.link, released: journal.released };
    Clean::remove(dir)?;
    let index = opener.open()?;
    if index.applied()? != journal.last {
        return Err(Error::Corrupt(format!(
            "the index is at sequence {}, the journal ends at {}",
            index.applied()?,
            journal.last
        )));
    }
    let found = walk(&index, journal)?;
    index.sync()?;
    drop(index);
    clean.write(dir)?;
    Ok(found)
}

/// Gives every record to `each`, in key order.
pub(super) fn pages<I: Index>(
    index: &I,
    mut each: impl FnMut(&[u8], &crate::physical::Record) -> Result<()>,
) -> Result<()> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let mut page = index.scan(&[], after.as_deref(), PAGE)?;
        for (key, record) in &page {
            each(key, record)?;
        }
        match page.pop() {
            Some((key, _)) => after = Some(key),
            None => return Ok(()),
        }
    }
}
