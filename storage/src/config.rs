//! Which backend holds the store, and where.

use std::path::PathBuf;
use std::time::Duration;

/// The backends built in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    #[default]
    Sled,
    Redb,
    Memory,
}

impl Backend {
    /// The name in the configuration, in `FORMAT` and in `sys/seal-status`.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Sled => "sled",
            Backend::Redb => "redb",
            Backend::Memory => "memory",
        }
    }
}

/// Settings of the journal in front of an embedded backend. The defaults suit most disks.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// Size of a preallocated segment.
    pub segment_bytes: u64,
    /// Journal bytes after which the index is brought up to date on disk and old segments go.
    pub checkpoint_bytes: u64,
    /// The same by time, looked at when something is written.
    pub checkpoint_interval: Duration,
    /// Free disk space below which only small deletions are accepted.
    pub reserve_bytes: u64,
    /// Space kept allocated, and given up when the disk is full, so that deletions still work.
    pub ballast_bytes: u64,
    /// Cache of the index, in bytes.
    pub cache_bytes: u64,
}

impl Default for JournalConfig {
    fn default() -> Self {
        JournalConfig {
            segment_bytes: 8 << 20,
            checkpoint_bytes: 16 << 20,
            checkpoint_interval: Duration::from_secs(60),
            reserve_bytes: 12 << 20,
            ballast_bytes: 8 << 20,
            cache_bytes: 32 << 20,
        }
    }
}

/// Where a store lies.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    pub backend: Backend,
    pub path: PathBuf,
    /// Holds the anchor: best on another device than `path`.
    pub state_dir: PathBuf,
    pub journal: JournalConfig,
}
