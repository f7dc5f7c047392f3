//! Taking stock of a journal directory, and replaying it.

use super::clean::Clean;
use super::frame::{Entry, Frame, JournalId, Link};
use super::fs::Dir;
use super::segment::{Contents, End, SEGMENT_MAGIC, number_of, segment_name};
use crate::physical::{Error, Result, Seq};

/// One segment of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub number: u64,
    /// Sequences `first..=last`; empty when `last < first`.
    pub first: Seq,
    pub last: Seq,
    /// Bytes up to the end of the last frame.
    pub end: u64,
    /// Bytes on disk.
    pub size: u64,
    /// Sequence of the last rider in it, 0 for none.
    pub last_rider: Seq,
}

/// What is in a journal directory.
#[derive(Debug)]
pub(crate) struct Journal {
    pub id: JournalId,
    /// Whole, in order, without gaps; never empty.
    pub segments: Vec<Segment>,
    pub link: Link,
    pub last: Seq,
    pub released: Seq,
    pub clean: bool,
    /// Names of base files, oldest first, with their sequence.
    pub bases: Vec<(Seq, String)>,
    /// Segments before a gap: what an unfinished clean-up left.
    pub stale: Vec<String>,
}

impl Journal {
    /// Reads and checks everything; `None` for a directory in which nothing was ever written.
    pub(crate) fn read(dir: &dyn Dir) -> Result<Option<Self>> {
        let mut bases = Vec::new();
        let mut numbers = Vec::new();
        for name in dir.list()? {
            numbers.extend(number_of(&name, "seg"));
            bases.extend(number_of(&name, "base").map(|seq| (seq, name)));
        }
        bases.sort();
        numbers.sort_unstable();
        let clean = Clean::read(dir)?;
        let Some(&newest) = numbers.last() else {
            return match (bases.is_empty(), clean) {
                (true, None) => Ok(None),
                _ => Err(Error::Corrupt("the journal's segments are gone".into())),
            };
        };
        // Segments are removed from the oldest on, so what stands before a gap is left-over.
        let gap =
            numbers.iter().rev().zip((0..=newest).rev()).take_while(|(have, want)| *have == want).count();
        let run = numbers.split_off(numbers.len() - gap);
        let stale = numbers.into_iter().map(segment_name).collect();
        let mut journal = Self::read_run(dir, &run, bases, stale)?;
        if let Some(clean) = clean {
            if (clean.id, clean.seq, clean.link) != (journal.id, journal.last, journal.link) {
                return Err(Error::Corrupt(format!(
                    "the journal ends at sequence {}, but the store was closed at {}",
                    journal.last, clean.seq
                )));
            }
            journal.clean = true;
            journal.released = journal.released.max(clean.released);
        }
        Ok(Some(journal))
    }

    fn read_run(dir: &dyn Dir, run: &[u64], bases: Vec<(Seq, String)>, stale: Vec<String>) -> Result<Self> {
        let mut segments = Vec::with_capacity(run.len());
        let mut released = 0;
        let mut before: Option<(Contents, End)> = None;
        for &number in run {
            let name = segment_name(number);
            let file = Contents::read(dir, &name, SEGMENT_MAGIC)?;
            if file.header.number != number {
                return Err(Error::Corrupt(format!("{name} is another segment's file")));
            }
            if let Some((prior, end)) = &before {
                if file.header.id != prior.header.id {
                    return Err(Error::Corrupt(format!("{name} belongs to another store")));
                }
                if (file.header.before, file.header.seq) != (end.link, end.next) {
                    return Err(prior.broken(end));
                }
            }
            let mut last_rider = 0;
            let end = file.frames(|f| {
                for entry in f.entries() {
                    match entry.ok_or_else(|| unknown_entry(f.seq))? {
                        Entry::Rider(_) => last_rider = f.seq,
                        Entry::Release(through) => released = released.max(through),
                        _ => {}
                    }
                }
                Ok(())
            })?;
            segments.push(Segment {
                number,
                first: file.header.seq,
                last: end.next.saturating_sub(1),
                end: end.offset as u64,
                size: file.len() as u64,
                last_rider,
            });
            before = Some((file, end));
        }
        let Some((file, end)) = before else {
            return Err(Error::Corrupt("the journal's segments are gone".into()));
        };
        file.check_tail(&end)?;
        Ok(Journal {
            id: file.header.id,
            segments,
            link: end.link,
            last: end.next.saturating_sub(1),
            released,
            clean: false,
            bases,
            stale,
        })
    }

    /// The first sequence that can be replayed.
    pub(crate) fn first(&self) -> Seq {
        self.segments.first().map_or(1, |s| s.first)
    }

    /// Gives every frame after `after` to `each`, in order. Fails when some of them are gone.
    pub(crate) fn replay(
        &self,
        dir: &dyn Dir,
        after: Seq,
        mut each: impl FnMut(Frame<'_>) -> Result<()>,
    ) -> Result<()> {
        if self.first() > after + 1 || self.last < after {
            return Err(Error::Corrupt(format!(
                "the journal holds sequences {} to {}, the index is at {after}",
                self.first(),
                self.last
            )));
        }
        for s in self.segments.iter().filter(|s| s.last > after) {
            let file = Contents::read(dir, &segment_name(s.number), SEGMENT_MAGIC)?;
            file.frames(|f| if f.seq > after { each(f) } else { Ok(()) })?;
        }
        Ok(())
    }

    /// Makes sure that what was read cannot vanish in a power cut after it was acted on, and cuts
    /// a torn tail off.
    ///
    /// A killed process may have left its last frame in the page cache only. If it ended because a
    /// sync failed, the kernel may count the frame as written although it is not; so the frame is
    /// written again, not only synced. All before it was synced when it was acknowledged.
    pub(crate) fn settle(&mut self, dir: &dyn Dir) -> Result<()> {
        if let Some(s) = self.segments.last_mut() {
            let name = segment_name(s.number);
            let contents = Contents::read(dir, &name, SEGMENT_MAGIC)?;
            let last = contents.frames(|_| Ok(()))?.last;
            let file = dir.open(&name)?;
            file.write_at(last as u64, contents.bytes(last, s.end as usize))?;
            file.truncate(s.end)?;
            file.sync()?;
            s.size = s.end;
        }
        Ok(dir.sync()?)
    }
}

pub(crate) fn unknown_entry(seq: Seq) -> Error {
    Error::Corrupt(format!("sequence {seq} holds an entry that this program cannot read"))
}

/// The riders in `segments` after `released`, oldest first.
pub(crate) fn riders(dir: &dyn Dir, segments: &[Segment], released: Seq) -> Result<Vec<(Seq, Vec<u8>)>> {
    let mut found = Vec::new();
    for s in segments.iter().filter(|s| s.last_rider > released) {
        let file = Contents::read(dir, &segment_name(s.number), SEGMENT_MAGIC)?;
        file.frames(|f| {
            if f.seq <= released || f.seq > s.last {
                return Ok(());
            }
            for entry in f.entries() {
                if let Entry::Rider(bytes) = entry.ok_or_else(|| unknown_entry(f.seq))? {
                    found.push((f.seq, bytes.to_vec()));
                }
            }
            Ok(())
        })?;
    }
    Ok(found)
}
