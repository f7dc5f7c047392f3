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
        CommitError::Failed(e) => storage(e),
    }
}

pub fn sealed() -> Error {
    Error::new(ErrorKind::Sealed, "Vault is sealed")
}

fn full() -> Error {
    Error::new(ErrorKind::StorageFull, "storage is full: nothing was written")
}

fn busy(e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "storage cannot take this now, try again").with_source(e)
}

fn too_large() -> Error {
    Error::new(ErrorKind::TooLarge, "request writes more than one transaction may hold")
}
