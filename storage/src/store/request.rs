//! What callers send to the committer.

use super::committer::change::Change;
use crate::barrier::{HEADER_BYTES, Label};
use crate::head::PartitionId;
use crate::limits::{MAX_READS, MAX_WRITE_BYTES, MAX_WRITES};
use crate::physical::{Key as StorageKey, MAX_TXN_OPS};
use crate::{CommitError, Error, Space};
use secmem::Zeroizing;
use std::collections::HashSet;
use tokio::sync::oneshot;

/// What a write is called, as authenticated with it.
pub enum Title {
    Record(String),
    /// A fence, by its stripe.
    Fence([u8; 4]),
    /// A deletion by storage key alone.
    Unknown,
}

impl Title {
    pub fn label(&self) -> Label {
        match self {
            Title::Fence(_) => Label::Fence,
            Title::Record(_) | Title::Unknown => Label::Record,
        }
    }
    pub fn path(&self) -> &[u8] {
        match self {
            Title::Record(path) => path.as_bytes(),
            Title::Fence(stripe) => stripe,
            Title::Unknown => &[],
        }
    }
}

/// One record to write (`None`: to delete).
pub struct Write {
    pub space: Space,
    pub title: Title,
    pub value: Option<Zeroizing<Vec<u8>>>,
}

/// A fact: this record had this revision, or was absent.
pub type Read = (StorageKey, Option<u64>);

/// A transaction as the committer sees it. Each storage key occurs once in `reads` and once in `writes`.
#[derive(Default)]
pub struct Batch {
    pub reads: Vec<Read>,
    pub writes: Vec<(StorageKey, Write)>,
    pub riders: Vec<Zeroizing<Vec<u8>>>,
    /// Acknowledged only once the anchor is at its sequence.
    pub anchored: bool,
}

/// Bytes that one rider takes besides its own.
pub const RIDER_OVERHEAD: usize = 4 + HEADER_BYTES;

impl Batch {
    /// Bytes in the physical transaction, as sealed.
    pub fn bytes(&self) -> usize {
        let writes = self
            .writes
            .iter()
            .map(|(key, w)| key.as_bytes().len() + w.value.as_ref().map_or(0, |v| HEADER_BYTES + v.len()));
        let riders = self.riders.iter().map(|r| RIDER_OVERHEAD + r.len());
        writes.chain(riders).sum()
    }

    /// Whether one physical transaction can hold it, with its index records and the head.
    pub fn fits(&self) -> bool {
        let partitions: HashSet<_> = self.writes.iter().filter_map(|(key, _)| partition_of(key)).collect();
        self.reads.len() <= MAX_READS
            && self.writes.len() <= MAX_WRITES
            && self.writes.len() + partitions.len() < MAX_TXN_OPS
            && self.bytes() <= MAX_WRITE_BYTES
    }
}

/// The partition that a storage key belongs to.
pub fn partition_of(key: &StorageKey) -> Option<PartitionId> {
    key.segments().next()?.try_into().ok()
}

/// A transaction and who waits for it: the sequence it was committed at.
pub struct Request {
    pub batch: Batch,
    pub reply: oneshot::Sender<Result<u64, CommitError>>,
}

pub enum Command {
    Commit(Request),
    /// A change of keys or of the head alone.
    Change(Change, oneshot::Sender<Result<(), Error>>),
    /// The last command. `initialised`: the anchor is to say so from now on.
    Seal {
        initialised: bool,
        reply: oneshot::Sender<Result<(), Error>>,
    },
}
