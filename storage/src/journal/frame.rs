//! Frames: the unit that is written, synced and replayed whole.
//!
//! ```text
//! frame   = magic(4) | payload length u32 | sequence u64 | hash of the frame before (16)
//!         | check (16) | payload | zeros up to a multiple of 8
//! check   = SHA-256(journal id | length | sequence | hash before | payload), first 16 bytes
//! payload = entries; all integers little-endian
//! entry   = kind u8 | fields
//!   1 put      key length u32, value length u32, key, value
//!   2 delete   key length u32, key
//!   3 rider    length u32, bytes
//!   4 release  sequence u64: riders up to it are no longer needed
//!   5 record   revision u64, key length u32, value length u32, key, value    (base files)
//!   6 end      count of records u64, released sequence u64                   (base files)
//! ```
//!
//! A frame's own check is the hash the next one carries.

use crate::limits::MAX_FRAME_BYTES;
use crate::physical::Seq;
use sha2::{Digest, Sha256};

pub(crate) const MAGIC: [u8; 4] = *b"VJf1";
pub(crate) const HEADER: usize = 48;
/// Frames start at multiples of this.
pub(crate) const ALIGN: usize = 8;

/// The check of a frame, and the link to it.
pub(crate) type Link = [u8; 16];
/// Random, one per store: a frame of another store never checks.
pub(crate) type JournalId = [u8; 16];

const PUT: u8 = 1;
const DELETE: u8 = 2;
const RIDER: u8 = 3;
const RELEASE: u8 = 4;
const RECORD: u8 = 5;
const END: u8 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    Put { key: &'a [u8], value: &'a [u8] },
    Delete { key: &'a [u8] },
    Rider(&'a [u8]),
    Release(Seq),
    Record { rev: Seq, key: &'a [u8], value: &'a [u8] },
    End { count: u64, released: Seq },
}

/// Builds one frame at a time in a buffer that is kept.
pub(crate) struct Builder {
    buf: Vec<u8>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Builder { buf: vec![0; HEADER] }
    }

    pub(crate) fn clear(&mut self) {
        // A rare large frame does not keep its memory.
        if self.buf.capacity() > 2 * crate::limits::FRAME_BYTES {
            self.buf = Vec::new();
        }
        self.buf.clear();
        self.buf.resize(HEADER, 0);
    }

    /// Bytes so far, header included.
    pub(crate) fn len(&self) -> usize {
        self.buf.len()
    }

    pub(crate) fn push(&mut self, entry: Entry<'_>) {
        match entry {
            Entry::Put { key, value } => {
                self.buf.push(PUT);
                self.pair(key, value);
            }
            Entry::Delete { key } => {
                self.buf.push(DELETE);
                self.u32(key.len());
                self.buf.extend_from_slice(key);
            }
            Entry::Rider(bytes) => {
                self.buf.push(RIDER);
                self.u32(bytes.len());
                self.buf.extend_from_slice(bytes);
            }
            Entry::Release(seq) => {
                self.buf.push(RELEASE);
                self.u64(seq);
            }
            Entry::Record { rev, key, value } => {
                self.buf.push(RECORD);
                self.u64(rev);
                self.pair(key, value);
            }
            Entry::End { count, released } => {
                self.buf.push(END);
                self.u64(count);
                self.u64(released);
            }
        }
    }

    fn pair(&mut self, key: &[u8], value: &[u8]) {
        self.u32(key.len());
        self.u32(value.len());
        self.buf.extend_from_slice(key);
        self.buf.extend_from_slice(value);
    }

    /// Lengths are bounded far below 4 GiB by the limits on keys, values and frames.
    fn u32(&mut self, n: usize) {
        self.buf.extend_from_slice(&(n as u32).to_le_bytes());
    }

    fn u64(&mut self, n: u64) {
        self.buf.extend_from_slice(&n.to_le_bytes());
    }

    /// The finished frame, padded, and its link.
    pub(crate) fn seal(&mut self, id: &JournalId, seq: Seq, before: &Link) -> (&[u8], Link) {
        let len = (self.buf.len() - HEADER) as u32;
        let link = check(id, len, seq, before, self.buf.get(HEADER..).unwrap_or_default());
        let mut head = [0; HEADER];
        let fields: [&[u8]; 5] = [&MAGIC, &len.to_le_bytes(), &seq.to_le_bytes(), before, &link];
        for (to, from) in head.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        if let Some(h) = self.buf.first_chunk_mut::<HEADER>() {
            *h = head;
        }
        self.buf.resize(self.buf.len().next_multiple_of(ALIGN), 0);
        (&self.buf, link)
    }
}

fn check(id: &JournalId, len: u32, seq: Seq, before: &Link, payload: &[u8]) -> Link {
    let mut h = Sha256::new();
    h.update(id);
    h.update(len.to_le_bytes());
    h.update(seq.to_le_bytes());
    h.update(before);
    h.update(payload);
    truncated(&h.finalize())
}

/// The first 16 bytes of a hash.
pub(crate) fn truncated(hash: &[u8]) -> Link {
    hash.first_chunk().copied().unwrap_or_default()
}

/// A frame that checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub seq: Seq,
    pub before: Link,
    pub link: Link,
    payload: &'a [u8],
    /// Bytes it takes, padding included.
    pub size: usize,
}

/// The frame at the start of `bytes`; `None` when there is none, or a broken one.
pub(crate) fn read<'a>(bytes: &'a [u8], id: &JournalId) -> Option<Frame<'a>> {
    let mut head = Cursor(bytes);
    if head.take(4)? != MAGIC {
        return None;
    }
    let len = head.u32()?;
    if len == 0 || len as usize > MAX_FRAME_BYTES {
        return None;
    }
    let seq = head.u64()?;
    let before: Link = *head.take(16)?.first_chunk()?;
    let link: Link = *head.take(16)?.first_chunk()?;
    let payload = head.take(len as usize)?;
    if check(id, len, seq, &before, payload) != link {
        return None;
    }
    let size = (HEADER + payload.len()).next_multiple_of(ALIGN);
    Some(Frame { seq, before, link, payload, size })
}

impl<'a> Frame<'a> {
    /// The entries; `None` in place of one that cannot be understood (a newer format).
    pub(crate) fn entries(&self) -> impl Iterator<Item = Option<Entry<'a>>> + use<'a> {
        let mut rest = Cursor(self.payload);
        std::iter::from_fn(move || {
            if rest.0.is_empty() {
                return None;
            }
            let entry = rest.entry();
            if entry.is_none() {
                rest = Cursor(&[]);
            }
            Some(entry)
        })
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }
    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }
    fn pair(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let (k, v) = (self.u32()? as usize, self.u32()? as usize);
        Some((self.take(k)?, self.take(v)?))
    }
    fn entry(&mut self) -> Option<Entry<'a>> {
        let kind = *self.take(1)?.first()?;
        Some(match kind {
            PUT => {
                let (key, value) = self.pair()?;
                Entry::Put { key, value }
            }
            DELETE => {
                let n = self.u32()? as usize;
                Entry::Delete { key: self.take(n)? }
            }
            RIDER => {
                let n = self.u32()? as usize;
                Entry::Rider(self.take(n)?)
            }
            RELEASE => Entry::Release(self.u64()?),
            RECORD => {
                let rev = self.u64()?;
                let (key, value) = self.pair()?;
                Entry::Record { rev, key, value }
            }
            END => Entry::End { count: self.u64()?, released: self.u64()? },
            _ => return None,
        })
    }
}
