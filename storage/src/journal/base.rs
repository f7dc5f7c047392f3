//! Base files: every record of the store, so that an index that a power cut may have broken can
//! be built again from base and journal.
//!
//! Same header and frames as a segment. The header's sequence S is the store's when the copy
//! began; frames are numbered from 1; the last entry is `end` with the count of records. The
//! copy is taken while writing goes on, so it may hold later states of some records; replaying
//! every frame after S onto it gives the state of any moment after the copy was finished.

use super::frame::{self, Builder, Entry, JournalId, Link};
use super::fs::{Dir, File};
use super::segment::{BASE_MAGIC, HEADER, Header, base_name};
use crate::limits::MAX_FRAME_BYTES;
use crate::physical::{Error, Result, Seq};
use std::io;
use std::sync::Arc;

const TEMPORARY: &str = "base.tmp";
/// A frame of a base file is written once it is this large.
const FRAME_BYTES: usize = 256 * 1024;

/// Writes one base file; it counts only once [`BaseWriter::finish`] returned.
pub(crate) struct BaseWriter {
    dir: Arc<dyn Dir>,
    file: Box<dyn File>,
    id: JournalId,
    seq: Seq,
    offset: u64,
    link: Link,
    frames: u64,
    count: u64,
    frame: Builder,
}

impl BaseWriter {
    pub(crate) fn create(dir: Arc<dyn Dir>, id: JournalId, seq: Seq) -> io::Result<Self> {
        Self::discard(&*dir)?;
        let file = dir.create(TEMPORARY)?;
        let header = Header { magic: BASE_MAGIC, id, number: 0, seq, before: Link::default() };
        file.write_at(0, &header.encode())?;
        Ok(BaseWriter {
            dir,
            file,
            id,
            seq,
            offset: HEADER as u64,
            link: Link::default(),
            frames: 0,
            count: 0,
            frame: Builder::new(),
        })
    }

    pub(crate) fn record(&mut self, rev: Seq, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.frame.push(Entry::Record { rev, key, value });
        self.count += 1;
        if self.frame.len() >= FRAME_BYTES { self.flush() } else { Ok(()) }
    }

    /// Makes the file durable under its name and returns its size in bytes.
    pub(crate) fn finish(mut self, released: Seq) -> io::Result<u64> {
        self.frame.push(Entry::End { count: self.count, released });
        self.flush()?;
        self.file.sync()?;
        self.dir.rename(TEMPORARY, &base_name(self.seq))?;
        self.dir.sync()?;
        Ok(self.offset)
    }

    /// Removes what an unfinished copy left.
    pub(crate) fn discard(dir: &dyn Dir) -> io::Result<()> {
        match dir.remove(TEMPORARY) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.frames += 1;
        let (bytes, link) = self.frame.seal(&self.id, self.frames, &self.link);
        self.file.write_at(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        self.link = link;
        self.frame.clear();
        Ok(())
    }
}

/// What a whole base file said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub seq: Seq,
    pub count: u64,
    pub released: Seq,
    pub bytes: u64,
}

/// Reads a base file from start to end, one frame in memory at a time.
pub(crate) fn read(
    dir: &dyn Dir,
    name: &str,
    id: &JournalId,
    mut each: impl FnMut(Seq, &[u8], &[u8]) -> Result<()>,
) -> Result<Base> {
    let bad = || Error::Corrupt(format!("{name} is damaged"));
    let file = dir.open(name)?;
    let mut head = [0; HEADER];
    file.read_at(0, &mut head)?;
    let header = Header::decode(&head, BASE_MAGIC, name)?;
    if header.id != *id {
        return Err(Error::Corrupt(format!("{name} belongs to another store")));
    }
    let (mut at, mut link, mut next, mut count) = (HEADER as u64, Link::default(), 1, 0);
    let mut buf = Vec::new();
    loop {
        let mut start = [0; frame::HEADER];
        file.read_at(at, &mut start)?;
        let len = start.get(4..).and_then(|b| b.first_chunk()).map(|b| u32::from_le_bytes(*b)).unwrap_or(0);
        if len == 0 || len as usize > MAX_FRAME_BYTES {
            return Err(bad());
        }
        buf.resize((frame::HEADER + len as usize).next_multiple_of(frame::ALIGN), 0);
        file.read_at(at, &mut buf)?;
        let f = frame::read(&buf, id).filter(|f| f.before == link && f.seq == next).ok_or_else(bad)?;
        for entry in f.entries() {
            match entry.ok_or_else(bad)? {
                Entry::Record { rev, key, value } => {
                    count += 1;
                    each(rev, key, value)?;
                }
                Entry::End { count: said, released } if said == count => {
                    let bytes = at + f.size as u64;
                    return Ok(Base { seq: header.seq, count, released, bytes });
                }
                _ => return Err(bad()),
            }
        }
        at += f.size as u64;
        link = f.link;
        next += 1;
    }
}
