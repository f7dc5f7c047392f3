//! Storage failures as the API's errors: the one place that translates them.

use storage::CommitError;
use vault_logical::{Error, ErrorKind};

/// Translates a storage error. Details stay in the source, for the log.
pub fn storage(e: storage::Error) -> Error {
    let kind = e.kind();
    match kind {
        storage::ErrorKind::Sealed => sealed(),
        storage::ErrorKind::Full => full(),
        storage::ErrorKind::TooLarge => too_large(),
        storage::ErrorKind::Unavailable => busy(e),
        storage::ErrorKind::Unanchored => unanchored(e),
        _ => Error::internal(e),
    }
}

/// Translates a refused commit; `Conflict` only reaches this after the last attempt.
pub fn commit(e: CommitError) -> Error {
    match e {
        CommitError::Conflict => {
            Error::new(ErrorKind::Unavailable, "too much contention on this path, try again")
        }
        CommitError::TooLarge => too_large(),
        CommitError::Full => full(),
        CommitError::Busy => busy(CommitError::Busy),
        CommitError::Sealed => sealed(),
        CommitError::Unanchored(why) => unanchored(storage::Error::Unanchored(why)),
        CommitError::Failed(e) => storage(e),
    }
}

fn unanchored(e: storage::Error) -> Error {
    tracing::error!(error = %e, "an acknowledged rollback protection is missing");
    Error::new(
        ErrorKind::Unanchored,
        "the change was made and is in force, but the anchor in the state directory could not be written: until it \
         can, whoever can write to the disk could undo the change unnoticed",
    )
    .with_source(e)
}

pub fn sealed() -> Error {
    Error::new(ErrorKind::Sealed, "Vault is sealed")
}

fn full() -> Error {
    Error::new(
        ErrorKind::StorageFull,
        "storage is full, or down to its reserve: nothing was written; free space where the store lies (the server's log \
         has the figures)",
    )
}

fn busy(e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "storage cannot take this now, try again").with_source(e)
}

fn too_large() -> Error {
    Error::new(ErrorKind::TooLarge, "request writes more than one transaction may hold")
}
