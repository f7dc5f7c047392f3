//! The one error type that crosses the engine boundary.

use crate::limits::MAX_ERROR_CHAIN;
use std::borrow::Cow;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was; the HTTP status is derived from it in one
/// place, the codec of `vaultd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// 400: the request itself is wrong.
    InvalidRequest,
    /// 401 on the gateway's data plane, 403 in the API: the caller's credential was refused.
    Unauthenticated,
    /// 403
    PermissionDenied,
    /// 404 with an empty error list: nothing is there.
    NotFound,
    /// 404 with a message: no such route.
    UnsupportedPath,
    /// 405: the path exists, the operation on it does not.
    UnsupportedOperation,
    /// 409
    Conflict,
    /// 412
    PreconditionFailed,
    /// 413
    TooLarge,
    /// 415
    UnsupportedMediaType,
    /// 429
    RateLimited,
    /// 500: details go to the log, never to the caller.
    Internal,
    /// 500: the change was made and is in force, but a rollback of it might go unnoticed.
    Unanchored,
    /// 502: somebody else's server failed.
    Upstream,
    /// 503: sealed.
    Sealed,
    /// 503: temporarily unable (contention, audit device down, shutting down).
    Unavailable,
    /// 507: the disk is full.
    StorageFull,
}

impl ErrorKind {
    /// The HTTP status that a gateway call of this outcome is answered with.
    pub fn call_status(self) -> u16 {
        match self {
            ErrorKind::Unauthenticated => 401,
            ErrorKind::PermissionDenied => 403,
            ErrorKind::NotFound | ErrorKind::UnsupportedPath => 404,
            ErrorKind::RateLimited => 429,
            ErrorKind::Sealed | ErrorKind::Unavailable | ErrorKind::StorageFull => 503,
            ErrorKind::Upstream => 502,
            ErrorKind::InvalidRequest => 400,
            _ => 500,
        }
    }
}

/// An error with a message that is safe to show the caller. It never holds a
/// secret: values from the request do not go into messages, only field names.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Error { kind, message: message.into(), source: None }
    }
    /// Attach the cause, for the operational log only.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }
    pub fn denied() -> Self {
        Self::new(ErrorKind::PermissionDenied, "permission denied")
    }
    /// The same words for a caller whose token is missing or unknown.
    pub fn unknown_caller() -> Self {
        Self::new(ErrorKind::Unauthenticated, "permission denied")
    }
    pub fn not_found() -> Self {
        Self::new(ErrorKind::NotFound, "")
    }
    pub fn unsupported_operation() -> Self {
        Self::new(ErrorKind::UnsupportedOperation, "unsupported operation")
    }
    pub fn unsupported_path() -> Self {
        Self::new(ErrorKind::UnsupportedPath, "unsupported path")
    }
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Internal, "internal error").with_source(source)
    }
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
    /// The text for the caller.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}

/// An error and what caused it, outermost first, each once.
pub fn chain(e: &(dyn std::error::Error + 'static)) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    for _ in 0..MAX_ERROR_CHAIN {
        let Some(c) = cause else { break };
        let words = c.to_string();
        // Some libraries repeat their cause in their own words.
        if !words.is_empty() && !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = c.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Step(&'static str, Option<Box<Step>>);

    impl fmt::Display for Step {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Step {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|s| s as _)
        }
    }

    #[test]
    fn the_chain_names_every_cause_once() {
        let io = Step("certificate has expired", None);
        let tls = Step("the handshake failed: certificate has expired", Some(Box::new(io)));
        assert_eq!(
            chain(&Step("client error", Some(Box::new(tls)))),
            "client error: the handshake failed: certificate has expired"
        );
    }
}
