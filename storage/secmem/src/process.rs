//! Hardening of the whole process.

pub mod calls;

use nix::errno::Errno;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use crate::error::HardenError;

/// Bit 14 of capabilities(7).
const CAP_IPC_LOCK: u64 = 1 << 14;

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

/// Makes the process undumpable and untraceable by its own user, bars it from gaining privileges, and locks memory as
/// asked. Call before any thread starts. The key arena locks itself and reports its own protection.
///
/// # Errors
/// A call that must work did not, or `MemoryLock::All` is not to be had: reasons not to start.
pub fn harden(lock: MemoryLock) -> Result<Report, HardenError> {
    prctl::set_dumpable(false).map_err(failed("prctl(PR_SET_DUMPABLE)"))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed("setrlimit(RLIMIT_CORE)"))?;
    prctl::set_no_new_privs().map_err(failed("prctl(PR_SET_NO_NEW_PRIVS)"))?;
    let mut warnings = Vec::new();
    let locked = lock_memory(lock, &mut warnings)?;
    if locked != MemoryLocked::All && swap_is_on() {
        warnings
            .push("swap is on and not all memory is locked: secrets in transit may reach the disk".into());
    }
    // What is reported is read back, not assumed.
    Ok(Report {
        dumpable: prctl::get_dumpable().map_err(failed("prctl(PR_GET_DUMPABLE)"))?,
        core_limit_zero: getrlimit(Resource::RLIMIT_CORE).map_err(failed("getrlimit(RLIMIT_CORE)"))?
            == (0, 0),
        no_new_privs: prctl::get_no_new_privs().map_err(failed("prctl(PR_GET_NO_NEW_PRIVS)"))?,
        locked,
        warnings,
    })
}

fn failed(call: &'static str) -> impl FnOnce(Errno) -> HardenError {
    move |errno| HardenError::System { call, errno }
}

fn lock_memory(lock: MemoryLock, warnings: &mut Vec<String>) -> Result<MemoryLocked, HardenError> {
    match lock {
        MemoryLock::Keys => return Ok(MemoryLocked::Keys),
        MemoryLock::Off => {
            warnings.push("memory locking is switched off".into());
            return Ok(MemoryLocked::None);
        }
        MemoryLock::Auto | MemoryLock::All => {}
    }
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(failed("getrlimit(RLIMIT_MEMLOCK)"))?;
    if !may_lock_all(limit, effective_capabilities()) {
        // With a finite limit mlockall succeeds, and some later thread fails to start.
        return refused(lock, HardenError::CannotLockAll, warnings);
    }
    // ONFAULT: pages are locked once touched, else 128 thread stacks alone would pin 1 GiB.
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    match mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault) {
        Ok(()) => Ok(MemoryLocked::All),
        Err(errno) => refused(lock, HardenError::System { call: "mlockall", errno }, warnings),
    }
}

/// All memory cannot be locked: an error where it was demanded, a warning where it was wished for.
fn refused(
    lock: MemoryLock,
    why: HardenError,
    warnings: &mut Vec<String>,
) -> Result<MemoryLocked, HardenError> {
    if lock == MemoryLock::All {
        return Err(why);
    }
    warnings.push(format!("only the key memory is locked: {why}"));
    Ok(MemoryLocked::Keys)
}

/// Whether locking everything cannot run into `RLIMIT_MEMLOCK` later.
fn may_lock_all(limit: u64, capabilities: u64) -> bool {
    limit == RLIM_INFINITY || capabilities & CAP_IPC_LOCK != 0
}

/// The effective capability set, `CapEff` of proc_pid_status(5); empty if it cannot be read.
fn effective_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    value.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

/// Whether proc_swaps(5) lists any swap.
fn swap_is_on() -> bool {
    std::fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().nth(1).is_some())
}

#[cfg(test)]
pub(crate) mod tests;
