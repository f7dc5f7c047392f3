//! Files of frames: their header, their names, and reading them from start to end.
//!
//! ```text
//! header = magic(8) | format u32 | 0 u32 | journal id (16) | number u64 | sequence u64
//!        | link (16) | SHA-256 of the above, first 16 bytes | zeros up to 128
//! ```
//! In a segment, `sequence` is that of its first frame and `link` that of the frame before it.

use super::frame::{self, Frame, JournalId, Link};
use super::fs::{Dir, File};
use crate::physical::{Error, Result, Seq};
use sha2::{Digest, Sha256};

pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"VLTDJRNL";
pub(crate) const BASE_MAGIC: [u8; 8] = *b"VLTDBASE";
pub(crate) const HEADER: usize = 128;
/// Of frames and headers. A reader refuses what is newer.
pub(crate) const FORMAT: u32 = 1;
const HASHED: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub magic: [u8; 8],
    pub id: JournalId,
    pub number: u64,
    pub seq: Seq,
    pub before: Link,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut b = Vec::with_capacity(HEADER);
        b.extend_from_slice(&self.magic);
        b.extend_from_slice(&FORMAT.to_le_bytes());
        b.extend_from_slice(&[0; 4]);
        b.extend_from_slice(&self.id);
        b.extend_from_slice(&self.number.to_le_bytes());
        b.extend_from_slice(&self.seq.to_le_bytes());
        b.extend_from_slice(&self.before);
        let check = frame::truncated(&Sha256::digest(&b));
        b.extend_from_slice(&check);
        b.resize(HEADER, 0);
        let mut out = [0; HEADER];
        out.copy_from_slice(&b);
        out
    }

    pub(crate) fn decode(bytes: &[u8], magic: [u8; 8], name: &str) -> Result<Self> {
        let bad = || Error::Corrupt(format!("{name}: the header is not one of this store"));
        let (body, rest) = bytes.split_at_checked(HASHED).ok_or_else(bad)?;
        if rest.first_chunk() != Some(&frame::truncated(&Sha256::digest(body))) || !body.starts_with(&magic) {
            return Err(bad());
        }
        let word = |at: usize| body.get(at..).and_then(|b| b.first_chunk::<8>()).copied().ok_or_else(bad);
        let half = |at: usize| body.get(at..).and_then(|b| b.first_chunk::<16>()).copied().ok_or_else(bad);
        let format = u64::from_le_bytes(word(8)?);
        if format != u64::from(FORMAT) {
            return Err(Error::Corrupt(format!(
                "{name}: format {format} is newer than this program reads ({FORMAT})"
            )));
        }
        Ok(Header {
            magic,
            id: half(16)?,
            number: u64::from_le_bytes(word(32)?),
            seq: u64::from_le_bytes(word(40)?),
            before: half(48)?,
        })
    }
}

pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:08}.seg")
}

pub(crate) fn base_name(seq: Seq) -> String {
    format!("{seq:016}.base")
}

/// The number in a name made by [`segment_name`] or [`base_name`].
pub(crate) fn number_of(name: &str, extension: &str) -> Option<u64> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// A whole file and its header.
pub(crate) struct Contents {
    pub header: Header,
    bytes: Vec<u8>,
    name: String,
}

impl Contents {
    pub(crate) fn read(dir: &dyn Dir, name: &str, magic: [u8; 8]) -> Result<Self> {
        let file = dir.open(name)?;
        let bytes = read_all(&*file)?;
        Ok(Contents { header: Header::decode(&bytes, magic, name)?, bytes, name: name.to_owned() })
    }

    /// Gives each frame to `each` and returns where they end.
    pub(crate) fn frames(&self, mut each: impl FnMut(Frame<'_>) -> Result<()>) -> Result<End> {
        let mut end = End { offset: HEADER, last: 0, link: self.header.before, next: self.header.seq };
        while let Some(f) = self.bytes.get(end.offset..).and_then(|b| frame::read(b, &self.header.id)) {
            if f.before != end.link || f.seq != end.next {
                return Err(self.broken(&end));
            }
            each(f)?;
            end = End { offset: end.offset + f.size, last: end.offset, link: f.link, next: f.seq + 1 };
        }
        Ok(end)
    }

    /// Fails when what stands behind `end` cannot be one torn write and zeros: a frame that
    /// checks and is no older than the one missing.
    pub(crate) fn check_tail(&self, end: &End) -> Result<()> {
        let mut at = end.offset;
        while let Some(rest) = self.bytes.get(at..).filter(|r| !r.is_empty()) {
            if rest.starts_with(&frame::MAGIC)
                && frame::read(rest, &self.header.id).is_some_and(|f| f.seq >= end.next)
            {
                return Err(self.broken(end));
            }
            at += frame::ALIGN;
        }
        Ok(())
    }

    pub(crate) fn broken(&self, end: &End) -> Error {
        Error::Corrupt(format!("{}: sequence {} is damaged at byte {}", self.name, end.next, end.offset))
    }

    pub(crate) fn bytes(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Where the frames of a file end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub offset: usize,
    /// Where the last one begins; 0 if there is none.
    pub last: usize,
    pub link: Link,
    /// The sequence the next frame would have.
    pub next: Seq,
}

fn read_all(file: &dyn File) -> Result<Vec<u8>> {
    let len =
        usize::try_from(file.len()?).map_err(|_| Error::Corrupt("a journal file is too long".into()))?;
    let mut bytes = vec![0; len];
    let n = file.read_at(0, &mut bytes)?;
    bytes.truncate(n);
    Ok(bytes)
}
