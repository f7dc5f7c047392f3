//! The head of the store: what authenticates the set of records, written with every round.
//!
//! Two levels, so that a round writes a few hundred bytes whatever the number of mounts: an index record per partition
//! holds that partition's tally, and the head holds the tally of the index records.

pub mod mac;
pub mod tally;
pub mod verify;

use crate::Space;
use crate::barrier::Header;
use crate::physical::Key as StorageKey;
use crate::space::SPACE_BYTES;
use mac::PARTITION_ID_BYTES;
use sha2::{Digest, Sha256};
use tally::{TALLY_BYTES, Tally};

/// The id of a partition in storage keys.
pub type PartitionId = [u8; PARTITION_ID_BYTES];

const FORMAT: u8 = 1;
/// The store has been unsealed at least once: from then on nothing may take it for half-made.
const OPENED: u8 = 1;
/// A rollback was accepted and not yet settled by the core.
const RAISED: u8 = 2;
/// Bytes before the sealed part, authenticated with it: format, flags, epoch.
pub const CLEAR_BYTES: usize = 1 + 1 + 8;
const PLAIN_BYTES: usize = 8 + 8 + 32 + TALLY_BYTES;

/// The clear segments of the few records that must be found without keys. A partition's first segment has 16 bytes.
pub mod boot {
    use super::{PartitionId, StorageKey};

    /// Threshold, share hashes, cipher, store id: JSON.
    pub fn config() -> StorageKey {
        StorageKey::root().join(b"seal").join(b"config")
    }
    /// The root key, wrapped by the unseal key.
    pub fn root() -> StorageKey {
        StorageKey::root().join(b"seal").join(b"root")
    }
    /// The keyring file, sealed by the root key.
    pub fn keyring() -> StorageKey {
        StorageKey::root().join(b"seal").join(b"keyring")
    }
    pub fn head() -> StorageKey {
        StorageKey::root().join(b"head")
    }
    /// The index record of a partition.
    pub fn index(id: &PartitionId) -> StorageKey {
        StorageKey::root().join(b"index").join(id)
    }
    /// The prefix of a partition's records.
    pub fn partition(id: &PartitionId) -> StorageKey {
        StorageKey::root().join(id)
    }
}

/// What the head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub opened: bool,
    pub raised: bool,
    pub epoch: u64,
    pub seq: u64,
    /// Records sealed in the current term.
    pub term_writes: u64,
    /// SHA-256 over the boot records.
    pub boot: [u8; 32],
    /// Over the index records.
    pub index: Tally,
}

/// What can be read of a stored head without keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClearHead {
    pub opened: bool,
    pub epoch: u64,
    pub seq: u64,
    /// SHA-256 of the whole stored head.
    pub digest: [u8; 32],
}

impl Head {
    /// The part that stands before the sealed one and is its authenticated path.
    pub fn clear(&self) -> [u8; CLEAR_BYTES] {
        let flags = if self.opened { OPENED } else { 0 } | if self.raised { RAISED } else { 0 };
        let mut out = [0; CLEAR_BYTES];
        for (to, from) in out.iter_mut().zip([FORMAT, flags].into_iter().chain(self.epoch.to_be_bytes())) {
            *to = from;
        }
        out
    }

    /// The part that is sealed: sequence, writes of the term, boot digest, tally of the index.
    pub fn plain(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PLAIN_BYTES);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.term_writes.to_be_bytes());
        out.extend_from_slice(&self.boot);
        out.extend_from_slice(&self.index.to_bytes());
        out
    }

    /// Puts both parts together again, after the sealed one was opened with the clear one as its path.
    pub fn from_parts(clear: &[u8; CLEAR_BYTES], plain: &[u8]) -> Option<Head> {
        let (flags, epoch) = clear_parts(clear)?;
        let (seq, rest) = plain.split_first_chunk()?;
        let (term_writes, rest) = rest.split_first_chunk()?;
        let (boot, rest) = rest.split_first_chunk()?;
        let index = Tally::from_bytes(rest.try_into().ok()?)?;
        Some(Head {
            opened: flags & OPENED != 0,
            raised: flags & RAISED != 0,
            epoch,
            seq: u64::from_be_bytes(*seq),
            term_writes: u64::from_be_bytes(*term_writes),
            boot: *boot,
            index,
        })
    }
}

fn clear_parts(clear: &[u8; CLEAR_BYTES]) -> Option<(u8, u64)> {
    let (format, rest) = clear.split_first()?;
    let (flags, epoch) = rest.split_first()?;
    if *format != FORMAT || flags & !(OPENED | RAISED) != 0 {
        return None;
    }
    Some((*flags, u64::from_be_bytes(epoch.try_into().ok()?)))
}

/// Splits a stored head into its clear part and the sealed record.
pub fn split(stored: &[u8]) -> Option<(&[u8; CLEAR_BYTES], &[u8])> {
    stored.split_first_chunk()
}

impl ClearHead {
    pub fn read(stored: &[u8]) -> Option<ClearHead> {
        let (clear, record) = split(stored)?;
        let (flags, epoch) = clear_parts(clear)?;
        let (header, _) = Header::parse(record)?;
        Some(ClearHead { opened: flags & OPENED != 0, epoch, seq: header.seq, digest: digest(&[stored]) })
    }
}

/// SHA-256 over length-prefixed parts.
pub fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// An index record: which partition, and its tally.
pub fn index_plain(space: Space, tally: Tally) -> Vec<u8> {
    [space.to_bytes().as_slice(), &tally.to_bytes()].concat()
}

/// The inverse of [`index_plain`].
pub fn index_parts(plain: &[u8]) -> Option<(Space, Tally)> {
    let (space, tally) = plain.split_first_chunk::<SPACE_BYTES>()?;
    Some((Space::from_bytes(space)?, Tally::from_bytes(tally.try_into().ok()?)?))
}
