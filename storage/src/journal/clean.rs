//! The mark of an orderly close: where the journal ended, so that a lost end is noticed, and that
//! the index was synced, so that it can be trusted as it is.
//!
//! ```text
//! magic(8) | journal id (16) | sequence u64 | link (16) | released u64 | SHA-256, first 16 bytes
//! ```
//! It is removed, durably, before an opened store writes anything.

use super::frame::{self, JournalId, Link};
use super::fs::{Dir, replace};
use crate::physical::{Error, Result, Seq};
use sha2::{Digest, Sha256};
use std::io;

const NAME: &str = "CLEAN";
const TEMPORARY: &str = "CLEAN.tmp";
const MAGIC: [u8; 8] = *b"VLTCLEAN";
const HASHED: usize = 56;
const LEN: usize = HASHED + 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clean {
    pub id: JournalId,
    pub seq: Seq,
    pub link: Link,
    pub released: Seq,
}

impl Clean {
    pub(crate) fn write(&self, dir: &dyn Dir) -> io::Result<()> {
        let mut b = Vec::with_capacity(LEN);
        b.extend_from_slice(&MAGIC);
        b.extend_from_slice(&self.id);
        b.extend_from_slice(&self.seq.to_le_bytes());
        b.extend_from_slice(&self.link);
        b.extend_from_slice(&self.released.to_le_bytes());
        let check = frame::truncated(&Sha256::digest(&b));
        b.extend_from_slice(&check);
        replace(dir, NAME, TEMPORARY, &b)
    }

    pub(crate) fn read(dir: &dyn Dir) -> Result<Option<Self>> {
        let file = match dir.open(NAME) {
            Ok(f) => f,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let mut b = [0; LEN];
        let n = file.read_at(0, &mut b)?;
        let bad = || Error::Corrupt("CLEAN is damaged".into());
        let (body, check) = b.split_at(HASHED);
        if n < LEN || frame::truncated(&Sha256::digest(body)) != *check || !body.starts_with(&MAGIC) {
            return Err(bad());
        }
        let word = |at: usize| body.get(at..).and_then(|b| b.first_chunk::<8>()).copied().ok_or_else(bad);
        let half = |at: usize| body.get(at..).and_then(|b| b.first_chunk::<16>()).copied().ok_or_else(bad);
        Ok(Some(Clean {
            id: half(8)?,
            seq: u64::from_le_bytes(word(24)?),
            link: half(32)?,
            released: u64::from_le_bytes(word(48)?),
        }))
    }

    /// Removes the mark, durably.
    pub(crate) fn remove(dir: &dyn Dir) -> io::Result<()> {
        match dir.remove(NAME) {
            Ok(()) => dir.sync(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }
}
