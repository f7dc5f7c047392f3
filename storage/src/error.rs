//! What can go wrong in the store. No message carries a secret or a plaintext path.

use crate::physical;
use secmem::{ArenaError, RandomError, Wiped};

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The keys are gone from memory.
    #[error("vault is sealed")]
    Sealed,
    /// What is stored is not what was written; names the record or partition as far as that tells no secret.
    #[error("integrity: {0}")]
    Integrity(String),
    /// The store is older than its anchor, or lost it: only an explicit acceptance opens it.
    #[error("{0}")]
    Rollback(String),
    /// State directory and store do not belong together; starting would hide a loss.
    #[error("{0}")]
    Mismatch(String),
    /// The anchor file cannot be read or written.
    #[error("anchor {path}: {source}")]
    Anchor { path: String, source: std::io::Error },
    /// The change is durable and in force, but the anchor could not be brought up to it: whoever can write to the disk
    /// could undo it unnoticed.
    #[error("the change is in force, but the anchor was not written: {0}")]
    Unanchored(String),
    /// A snapshot file cannot be read or written.
    #[error("snapshot {path}: {source}")]
    SnapshotFile { path: String, source: std::io::Error },
    #[error("the vault is not initialised")]
    NotInitialised,
    #[error("the vault is already initialised")]
    AlreadyInitialised,
    /// One opened store at a time: two would write over each other.
    #[error("the store is already open")]
    AlreadyOpen,
    /// Share count or threshold out of range.
    #[error("shares: {0}")]
    Shares(&'static str),
    /// A path with empty, too long or too many segments.
    #[error("path: {0}")]
    Path(&'static str),
    /// A value, key or keyring beyond its bound in `limits.rs`.
    #[error("{0} is too large")]
    TooLarge(&'static str),
    /// No keyring for this namespace, or no key of this name yet.
    #[error("no such key: {0}")]
    NoKey(&'static str),
    /// The scan that checks the store, or the thread that writes it, could not run.
    #[error("storage worker: {0}")]
    Worker(String),
    /// The store's own bookkeeping contradicts itself: nothing is written any more.
    #[error("storage bookkeeping: {0}")]
    Bookkeeping(&'static str),
    /// Writes stopped after an earlier failure of this process.
    #[error("storage failed earlier: {0}")]
    Failed(String),
    #[error(transparent)]
    Arena(ArenaError),
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error(transparent)]
    Physical(physical::Error),
}

/// What a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The keys are gone.
    Sealed,
    /// No space: nothing was written.
    Full,
    /// Beyond a bound.
    TooLarge,
    /// What is stored is not what was written, or not where it belongs.
    Integrity,
    /// The store may be an old copy.
    Rollback,
    /// The change is in force; only its protection against a rollback failed.
    Unanchored,
    /// The request itself is wrong (path, share counts, state of the vault).
    Invalid,
    /// Another process, a stale fence, an exhausted arena: try again or elsewhere.
    Unavailable,
    /// Everything else: look at the log.
    Internal,
}

impl Error {
    /// Its kind, for whoever translates it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Sealed => ErrorKind::Sealed,
            Error::Integrity(_) | Error::Mismatch(_) | Error::Physical(physical::Error::Corrupt(_)) => {
                ErrorKind::Integrity
            }
            Error::Rollback(_) => ErrorKind::Rollback,
            Error::Unanchored(_) => ErrorKind::Unanchored,
            Error::NotInitialised
            | Error::AlreadyInitialised
            | Error::AlreadyOpen
            | Error::Shares(_)
            | Error::Path(_) => ErrorKind::Invalid,
            Error::TooLarge(_) => ErrorKind::TooLarge,
            Error::Physical(physical::Error::Full) => ErrorKind::Full,
            Error::Physical(physical::Error::Locked | physical::Error::Fenced | physical::Error::Busy) => {
                ErrorKind::Unavailable
            }
            Error::Arena(ArenaError::Busy | ArenaError::Full) => ErrorKind::Unavailable,
            Error::Anchor { .. }
            | Error::SnapshotFile { .. }
            | Error::NoKey(_)
            | Error::Worker(_)
            | Error::Bookkeeping(_)
            | Error::Failed(_)
            | Error::Arena(_)
            | Error::Random(_)
            | Error::Physical(_) => ErrorKind::Internal,
        }
    }
}

impl From<Wiped> for Error {
    fn from(_: Wiped) -> Self {
        Error::Sealed
    }
}

impl From<ArenaError> for Error {
    fn from(e: ArenaError) -> Self {
        match e {
            ArenaError::Wiped(_) => Error::Sealed,
            e => Error::Arena(e),
        }
    }
}

impl From<physical::Error> for Error {
    fn from(e: physical::Error) -> Self {
        Error::Physical(e)
    }
}

/// Why a transaction was not committed. Nothing of it was written, except possibly after `Failed` and certainly after
/// `Unanchored`.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Something it read has changed: run it again.
    #[error("another transaction changed what this one read")]
    Conflict,
    /// More than one transaction may hold (`limits.rs`).
    #[error("the transaction is too large")]
    TooLarge,
    #[error("storage is full")]
    Full,
    /// No file descriptor was left: try again.
    #[error("storage has no file descriptor left")]
    Busy,
    #[error("vault is sealed")]
    Sealed,
    /// It was committed and is in force; see [`Error::Unanchored`].
    #[error("the change is in force, but the anchor was not written: {0}")]
    Unanchored(String),
    #[error(transparent)]
    Failed(Error),
}

impl From<Error> for CommitError {
    fn from(e: Error) -> Self {
        match e.kind() {
            ErrorKind::Sealed => CommitError::Sealed,
            ErrorKind::Full => CommitError::Full,
            _ => match e {
                Error::Unanchored(why) => CommitError::Unanchored(why),
                e => CommitError::Failed(e),
            },
        }
    }
}

/// Why the vault stays sealed.
#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    /// Too few, damaged, or of another vault: never said which.
    #[error("the shares do not open this vault")]
    WrongShares,
    #[error(transparent)]
    Storage(#[from] Error),
}
