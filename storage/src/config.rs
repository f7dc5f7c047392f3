//! Which backend holds the store, and where.

use std::path::PathBuf;

/// The backends built in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    #[default]
    Sled,
    Redb,
    Memory,
}

/// Settings of the journal.
#[derive(Clone, Debug, Default)]
pub struct JournalConfig {}

/// Where a store lies.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    pub backend: Backend,
    pub path: PathBuf,
    /// Holds the anchor: best on another device than `path`.
    pub state_dir: PathBuf,
    pub journal: JournalConfig,
}
