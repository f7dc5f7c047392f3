//! Durable bytes, encrypted: physical backends, journal, barrier, keyring.
//!
//! [`SealedStore`] is what can be known without the keys; [`Store`] exists only while unsealed. Neither names nor
//! values are readable at rest, and every record that is missing, old or foreign is noticed.

mod anchor;
mod barrier;
mod config;
pub mod descriptors;
mod error;
#[cfg(test)]
mod fixture;
mod head;
pub(crate) mod journal;
mod keyring;
pub mod limits;
mod meters;
mod names;
pub mod physical;
mod seal;
mod shamir;
mod snapshot;
mod space;
mod store;
mod worker;

pub use barrier::Cipher;
pub use config::{Backend, JournalConfig, StoreConfig};
pub use error::{CommitError, Error, ErrorKind, UnsealError};
pub use keyring::KeyName;
pub use meters::{Meters, StoreFigures};
pub use physical::open_physical;
pub use seal::{Clock, InitParams, Initialising, SealConfigStatus, SealedStore, stage_restore};
pub use snapshot::{Manifest, Saved, Summary, inspect as inspect_snapshot};
pub use space::{Partition, Space};
pub use store::{
    AnchorFigures, ChangeSink, Changed, FatalSink, KeyStatus, RekeyProposal, Store, Transaction, Versioned,
};
