//! What the committer knows of the store without reading it: head, partitions, boot records.

use crate::Space;
use crate::barrier::Header;
use crate::head::tally::Tally;
use crate::head::{Head, PartitionId, digest};
use std::collections::HashMap;

/// One partition: whose it is, its tally, and the header of its stored index record.
#[derive(Clone, Debug)]
pub struct Part {
    pub space: Space,
    pub tally: Tally,
    pub index: Option<Header>,
}

/// The boot records as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    pub config: Vec<u8>,
    pub root: Vec<u8>,
    pub keyring: Vec<u8>,
}

impl Boot {
    /// As kept in the head.
    pub fn digest(&self) -> [u8; 32] {
        digest(&[&self.config, &self.root, &self.keyring])
    }
}

#[derive(Clone, Debug)]
pub struct State {
    pub head: Head,
    /// SHA-256 of the stored head.
    pub digest: [u8; 32],
    pub partitions: HashMap<PartitionId, Part>,
    pub boot: Boot,
}
