//! What can go wrong between a request and its record.

use std::io;

/// Errors of the audit subsystem. None holds request data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Devices are enabled and none accepted the record: the request must fail.
    #[error("no audit device accepted the record")]
    NotRecorded,
    /// The vault is sealing or sealed; the keys are gone.
    #[error("sealed")]
    Sealed,
    /// All completion slots are taken.
    #[error("too many open streams")]
    Busy,
    /// A proof of one request was offered for another.
    #[error("audit proof belongs to another request")]
    Mismatch,
    /// The operator's device options are wrong; the text says how.
    #[error("{0}")]
    Config(String),
    #[error("no such audit device")]
    NoSuchDevice,
    /// A device's file could not be opened.
    #[error("audit device {device}: {source}")]
    File { device: String, source: io::Error },
    /// Locked memory is exhausted or the system has no randomness.
    #[error("audit key: {0}")]
    Key(String),
}

impl From<secmem::Wiped> for AuditError {
    fn from(_: secmem::Wiped) -> Self {
        AuditError::Sealed
    }
}

impl From<AuditError> for vault_logical::Error {
    fn from(e: AuditError) -> Self {
        use vault_logical::{Error, ErrorKind};
        match e {
            AuditError::NotRecorded | AuditError::Busy => {
                Error::new(ErrorKind::Unavailable, "audit: the request could not be recorded")
            }
            AuditError::Sealed => Error::new(ErrorKind::Sealed, "Vault is sealed"),
            AuditError::Config(text) => Error::invalid(text),
            AuditError::NoSuchDevice => Error::invalid("no such audit device"),
            AuditError::File { ref device, ref source } => {
                // The operator who enables a device needs the system's reason; it names no secret.
                Error::invalid(format!("audit device {device}: {source}")).with_source(e.to_string())
            }
            e @ (AuditError::Mismatch | AuditError::Key(_)) => Error::internal(e.to_string()),
        }
    }
}
