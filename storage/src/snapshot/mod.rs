//! Snapshots: one file that holds a whole store as it was at one moment, encrypted as the store is.
//!
//! ```text
//! "VLTDSNAP" | format u32 | length u32 | manifest (JSON, readable to anyone who holds the file)
//! key length u32 | value length u32 | key | value        every record, in key order
//! 0xffffffff | count of records u64 | SHA-256 of all bytes before it
//! ```
//! All integers are big-endian. The hash tells rot and a cut file from a whole one. That the records are this vault's,
//! all of them and of one moment, is told by the head among them, with the keys: when a snapshot is saved, and again
//! before it replaces anything.

mod file;
mod save;

pub use file::{FileScan, Manifest, Reader, Summary, copy_whole, inspect, sync_parent};
pub use save::Saved;

#[cfg(test)]
mod tests;
