//! What can go wrong with locked memory. None of these carries a secret.

use std::fmt;

/// How the arena is protected, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protection {
    /// `memfd_secret(2)`: gone from the kernel's direct map, unreadable through `/proc/PID/mem` even for root.
    MemfdSecret,
    /// Locked anonymous memory: never swapped, never dumped, but readable by root.
    Mlock,
    /// Neither is available: not dumped, but the kernel may swap it.
    Unlocked,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MemfdSecret => "memfd_secret",
            Self::Mlock => "mlock",
            Self::Unlocked => "none",
        })
    }
}

/// The key behind a handle is gone: its scope was wiped (the vault is sealed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed")]
pub struct Wiped;

/// Why the arena cannot hold a key or cannot be had at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArenaError {
    /// The required protection is not to be had on this system.
    #[error("locked memory ({mode}) is not available: {errno}")]
    Unavailable {
        /// The protection that was tried.
        mode: Protection,
        /// The system's reason.
        errno: nix::errno::Errno,
    },
    /// No free slot of the needed size is left.
    #[error("the key memory is full")]
    Full,
    /// Keys have 1 to [`MAX_KEY_BYTES`](crate::limits::MAX_KEY_BYTES) bytes.
    #[error("a key of {0} bytes does not fit the key memory")]
    Length(usize),
    /// Every crypto stack stayed in use for the whole bounded wait.
    #[error("no crypto stack became free in time")]
    Busy,
    /// The closure that was to fill or use the key panicked; nothing was stored.
    #[error("an operation on a key failed internally")]
    Panicked,
    /// The source key or the scope is gone.
    #[error(transparent)]
    Wiped(#[from] Wiped),
    /// The system gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Why no random bytes could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RandomError {
    /// `getrandom(2)` failed.
    #[error("the system's random source failed")]
    Unavailable,
    /// More text was asked for than `limits.rs` allows.
    #[error("random text of {0} characters is longer than allowed")]
    TooLong(usize),
}

/// Why the process could not be hardened. Each is a reason not to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HardenError {
    /// A hardening call failed.
    #[error("{call} failed: {errno}")]
    System {
        /// The call, as named in its manual page.
        call: &'static str,
        /// The system's reason.
        errno: nix::errno::Errno,
    },
    /// All memory was to be locked, and the limits do not allow it.
    #[error(
        "cannot lock all memory: it needs CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK (LimitMEMLOCK=infinity in the unit)"
    )]
    CannotLockAll,
}
