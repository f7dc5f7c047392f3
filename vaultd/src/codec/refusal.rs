//! Requests that the codec itself refuses: they never reach the core.

use http::StatusCode;
use std::borrow::Cow;

/// A refusal with a message that quotes nothing of the request.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub message: Cow<'static, str>,
    /// Seconds for `Retry-After`.
    pub retry_after: Option<u32>,
    /// The body was not read to its end: the connection cannot be used again.
    pub close: bool,
}

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Refusal { status, message: message.into(), retry_after: None, close: false }
    }
    pub fn bad(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }
    #[must_use]
    pub fn retry(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl From<vault_logical::Error> for Refusal {
    fn from(e: vault_logical::Error) -> Self {
        Refusal::new(super::status::of(e.kind()), e.message().to_owned())
    }
}
