//! Appending: one frame, one write, one sync.

use super::frame::{Builder, JournalId, Link};
use super::fs::{Dir, File};
use super::log::Segment;
use super::segment::{HEADER, Header, SEGMENT_MAGIC, segment_name};
use crate::descriptors;
use crate::physical::Seq;
use std::io;
use std::sync::Arc;

/// Why a frame was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// No space for it. Nothing was written; it may be tried again.
    Full,
    /// No file descriptor for it. Nothing was written; it may be tried again.
    Busy,
    /// What the disk now holds is unknown: nothing may be acknowledged any more.
    Fatal(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(e: io::Error) -> Self {
        WriteError::Fatal(e)
    }
}

/// Before anything of a round is written, running out of space or of descriptors harms nothing.
fn harmless(e: io::Error) -> WriteError {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    match e.kind() {
        StorageFull | QuotaExceeded => WriteError::Full,
        _ if descriptors::exhausted(&e) => WriteError::Busy,
        _ => WriteError::Fatal(e),
    }
}

/// A zeroed file that waits to become the next segment.
pub(crate) struct Spare {
    name: String,
    file: Box<dyn File>,
    size: u64,
}

impl Spare {
    /// Name of the spare with this serial number.
    pub(crate) fn name(serial: u64) -> String {
        format!("spare-{serial}.tmp")
    }

    pub(crate) fn create(dir: &dyn Dir, serial: u64, size: u64) -> Result<Self, WriteError> {
        let name = Self::name(serial);
        let file = dir.create(&name).map_err(harmless)?;
        if let Err(e) = file.allocate(size) {
            drop(file);
            // Half a spare must not keep the disk full.
            dir.remove(&name)?;
            return Err(harmless(e));
        }
        file.sync()?;
        Ok(Spare { name, file, size })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn discard(self, dir: &dyn Dir) -> io::Result<()> {
        drop(self.file);
        dir.remove(&self.name)
    }
}

/// The end of the journal.
pub(crate) struct Writer {
    dir: Arc<dyn Dir>,
    id: JournalId,
    link: Link,
    next: Seq,
    next_number: u64,
    active: Option<Active>,
}

struct Active {
    file: Box<dyn File>,
    segment: Segment,
}

impl Writer {
    /// Goes on behind sequence `last`. Nothing is written until the first frame.
    pub(crate) fn new(dir: Arc<dyn Dir>, id: JournalId, last: Seq, link: Link, next_number: u64) -> Self {
        Writer { dir, id, link, next: last + 1, next_number, active: None }
    }

    pub(crate) fn next_seq(&self) -> Seq {
        self.next
    }

    pub(crate) fn id(&self) -> JournalId {
        self.id
    }

    pub(crate) fn link(&self) -> Link {
        self.link
    }

    /// The segment written to now.
    pub(crate) fn active(&self) -> Option<&Segment> {
        self.active.as_ref().map(|a| &a.segment)
    }

    /// Whether a frame of `len` bytes fits into the segment written to now.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        let len = len.next_multiple_of(super::frame::ALIGN) as u64;
        self.active().is_some_and(|s| s.end + len <= s.size)
    }

    /// Bytes a segment must have for a frame of `len` bytes.
    pub(crate) fn segment_for(len: usize) -> u64 {
        (HEADER + len.next_multiple_of(super::frame::ALIGN)) as u64
    }

    /// Makes `spare` the segment written to. Durable, with its header, before it returns.
    pub(crate) fn advance(&mut self, spare: Spare) -> Result<(), WriteError> {
        let header = Header {
            magic: SEGMENT_MAGIC,
            id: self.id,
            number: self.next_number,
            seq: self.next,
            before: self.link,
        };
        spare.file.write_at(0, &header.encode())?;
        spare.file.sync()?;
        let renamed = self.dir.rename(&spare.name, &segment_name(self.next_number));
        if let Err(e) = renamed {
            drop(spare.file);
            self.dir.remove(&spare.name)?;
            return Err(harmless(e));
        }
        self.dir.sync()?;
        let segment = Segment {
            number: self.next_number,
            first: self.next,
            last: self.next - 1,
            end: HEADER as u64,
            size: spare.size,
            last_rider: 0,
        };
        self.next_number += 1;
        self.active = Some(Active { file: spare.file, segment });
        Ok(())
    }

    /// Writes the frame and syncs it. On an error the journal must not be written again.
    pub(crate) fn append(&mut self, frame: &mut Builder, has_rider: bool) -> Result<Seq, WriteError> {
        let Some(active) = &mut self.active else {
            return Err(WriteError::Fatal(io::Error::other("no segment is open")));
        };
        let seq = self.next;
        let (bytes, link) = frame.seal(&self.id, seq, &self.link);
        active.file.write_at(active.segment.end, bytes)?;
        active.file.sync()?;
        active.segment.end += bytes.len() as u64;
        active.segment.last = seq;
        if has_rider {
            active.segment.last_rider = seq;
        }
        self.link = link;
        self.next += 1;
        Ok(seq)
    }
}
