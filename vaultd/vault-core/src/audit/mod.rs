//! The audit: every request and every answer on record before it counts, in files that prove
//! themselves (chained line by line, checkpoints signed with Ed25519).
//!
//! The pipeline gives an [`Audit`] borrowed views of what happened and gets proofs back: a mount
//! is called only with [`Audited`], an answer encoded only from [`Recorded`], a stream's head only
//! from [`Opened`]. Without a device, proofs are issued freely; with one or more, only when a
//! device has accepted the record.

mod broker;
mod chain;
mod checkpoint;
mod config;
mod data;
mod device;
mod encode;
mod entry;
mod error;
mod file;
mod identity;
mod json;
mod lane;
pub mod limits;
mod proof;
mod record;
mod sealed;
mod source;
mod start;
mod status;
mod tail;
#[cfg(test)]
mod tests;
mod ticker;
mod ticket;
pub mod verify;
mod writer;

pub use broker::{Audit, Meters, Settings};
pub use checkpoint::PublicKey;
pub use config::{DeviceConfig, Origin, SyncMode};
pub use entry::{
    Body, CallEntry, CallFacts, ClearKeys, Credential, Identity, IssuedEntry, MountEntry, RequestEntry,
    ResponseEntry, WrapEntry,
};
pub use error::AuditError;
pub use identity::IdentityHashes;
pub use proof::{Audited, Exempt, Opened, Recorded, Unaudited};
pub use sealed::{SealedAttempt, SealedRing};
pub use status::{DeviceStatus, Head, Heads};
pub use verify::verify;
