//! What the journal's engine needs of an index.

use crate::physical::listing::Step;
use crate::physical::{Record, Result, Seq};

/// A key's new state.
pub(crate) struct Change<'a> {
    pub key: &'a [u8],
    /// `None`: deleted.
    pub value: Option<&'a [u8]>,
    pub rev: Seq,
}

/// What a walk over all of an index found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexCheck {
    pub records: u64,
    /// Of keys and values.
    pub bytes: u64,
    /// Parts of values that belong to no record.
    pub strays: u64,
}

/// Ordered records by key. One writer; readers at any time.
pub(crate) trait Index: Send + Sync + 'static {
    const NAME: &'static str;
    /// Whether a power cut at any moment leaves the state of the last [`Index::sync`] or a later
    /// one, openable. If not, the index is built again after anything but an orderly close.
    const SURVIVES_POWER_CUT: bool;
    /// Whether reading or applying may open files, and so fail for want of a descriptor.
    const OPENS_FILES: bool;

    /// The sequence given with the last `apply` that is in the index; 0 for an empty one.
    fn applied(&self) -> Result<Seq>;
    fn get(&self, key: &[u8]) -> Result<Option<Record>>;
    fn revision(&self, key: &[u8]) -> Result<Option<Seq>>;
    /// As in [`Physical::scan`](crate::physical::Physical::scan).
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Record)>>;
    /// Visits keys at and after `from` in order, as told by `visit`.
    fn walk(&self, from: &[u8], visit: &mut dyn FnMut(&[u8]) -> Step) -> Result<()>;
    /// All changes and the sequence at once, visible at once, not necessarily on disk. Each key
    /// comes up once.
    fn apply(&self, seq: Seq, changes: &[Change<'_>]) -> Result<()>;
    /// Makes everything applied durable.
    fn sync(&self) -> Result<()>;
    /// Bytes of its files.
    fn size(&self) -> Result<u64>;
    /// Parts of values that belong to no record, for an index that splits values.
    fn strays(&self) -> Result<u64> {
        Ok(0)
    }
}

/// Opens an index, or makes room for a new one.
pub(crate) trait Opener: Send + 'static {
    type Index: Index;
    fn open(&self) -> Result<Self::Index>;
    /// Removes it from the disk.
    fn wipe(&self) -> Result<()>;
}
