//! What the store counts of itself, over unsealed periods.

use crate::physical::PhysicalFigures;
use vault_metrics::{Counter, Times};

/// Counted as it happens, without a lock.
#[derive(Debug, Default)]
pub struct Meters {
    /// Reading one record: finding, decrypting and checking it.
    pub reads: Times,
    /// Listing one folder.
    pub lists: Times,
    /// Records written, with the time until the round that they were written in was durable and readable.
    pub puts: Times,
    /// The same of records deleted.
    pub deletes: Times,
    /// Rounds written, from their gathering to the acknowledgements.
    pub rounds: Times,
    /// Transactions refused because what they read had changed; most are tried again.
    pub conflicts: Counter,
}

/// What the disk holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    pub physical: PhysicalFigures,
}
