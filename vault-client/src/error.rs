//! What can go wrong, and what to make of it.

use crate::limits::{MAX_ERROR_CHARS, MAX_ERROR_MESSAGES};
use http::StatusCode;
use std::time::Duration;
use vault_api::ErrorBody;

/// Result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller may want to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Address, token or certificate files are unusable: nothing was sent.
    Config,
    /// The server could not be reached, or its certificate was refused.
    Connect,
    /// No answer in time. A write may have happened.
    Timeout,
    /// 400: the request is wrong.
    InvalidRequest,
    /// 403: no token, an unknown or expired one, or one that may not do this.
    PermissionDenied,
    /// 404
    NotFound,
    /// 300 to 399: the server names another place. It is not followed: see [`crate::Call`].
    Redirected,
    /// 405 or 501: the server cannot do this.
    Unsupported,
    /// 412, or 400 for a check-and-set that did not match.
    PreconditionFailed,
    /// 429
    RateLimited,
    /// 503: the server is sealed.
    Sealed,
    /// Any other status of 500 and above.
    Server,
    /// The answer was not understood, or too large.
    Protocol,
    /// Nothing was sent: the client only shows calls.
    Preview,
}

/// An error of the client. It never holds a token or a value of a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// See [`Kind::Config`].
    #[error("{0}")]
    Config(String),
    /// See [`Kind::Connect`].
    #[error("cannot reach {address}: {source}")]
    Connect {
        /// The server's address.
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// See [`Kind::Timeout`].
    #[error("no answer from {address} within {}s", after.as_secs_f32())]
    Timeout {
        /// The server's address.
        address: String,
        /// The bound that was passed.
        after: Duration,
    },
    /// The server said no.
    #[error("{}", server_text(*status, method, path, errors))]
    Server {
        /// HTTP status.
        status: u16,
        /// HTTP method.
        method: String,
        /// Path below `/v1/`.
        path: String,
        /// The server's own words.
        errors: Vec<String>,
        /// `Retry-After`, where sent.
        retry_after: Option<Duration>,
    },
    /// See [`Kind::Preview`].
    #[error("the call was shown, not sent")]
    Preview,
    /// See [`Kind::Protocol`].
    #[error("unusable answer to {path}: {reason}")]
    Protocol {
        /// Path below `/v1/`.
        path: String,
        /// What was wrong; never a part of the answer.
        reason: String,
    },
}

fn server_text(status: u16, method: &str, path: &str, errors: &[String]) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("");
    let mut text = format!("{method} {path}: {status} {reason}");
    for e in errors {
        text.push_str("\n  * ");
        text.push_str(e);
    }
    text
}

impl Error {
    /// What kind of failure it was.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Config(_) => Kind::Config,
            Error::Connect { .. } => Kind::Connect,
            Error::Timeout { .. } => Kind::Timeout,
            Error::Protocol { .. } => Kind::Protocol,
            Error::Preview => Kind::Preview,
            Error::Server { status, errors, .. } => match status {
                300..=399 => Kind::Redirected,
                400 if mentions(errors, "check-and-set") => Kind::PreconditionFailed,
                403 => Kind::PermissionDenied,
                404 => Kind::NotFound,
                405 | 501 => Kind::Unsupported,
                412 => Kind::PreconditionFailed,
                429 => Kind::RateLimited,
                503 if mentions(errors, "sealed") => Kind::Sealed,
                500.. => Kind::Server,
                _ => Kind::InvalidRequest,
            },
        }
    }

    /// The server's own messages; empty when it did not answer.
    pub fn messages(&self) -> &[String] {
        match self {
            Error::Server { errors, .. } => errors,
            _ => &[],
        }
    }

    /// The HTTP status, when the server answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Server { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub(crate) fn protocol(path: &str, reason: impl ToString) -> Error {
        Error::Protocol { path: path.to_owned(), reason: reason.to_string() }
    }

    /// Reads an error answer. A body that is not Vault's (a proxy's page) is not repeated.
    pub(crate) fn from_answer(
        status: StatusCode,
        method: &str,
        path: &str,
        body: &[u8],
        retry_after: Option<Duration>,
    ) -> Error {
        let ErrorBody { errors, .. } = serde_json::from_slice(body).unwrap_or_default();
        let errors = errors.iter().take(MAX_ERROR_MESSAGES).map(|e| plain(e)).collect();
        Error::Server {
            status: status.as_u16(),
            method: method.to_owned(),
            path: path.to_owned(),
            errors,
            retry_after,
        }
    }
}

/// What to say of a redirect, which is not followed.
pub(crate) fn redirected(location: &str) -> String {
    plain(&format!(
        "the server redirects to {location}; a redirect is not followed: give that server's address"
    ))
}

fn mentions(errors: &[String], word: &str) -> bool {
    errors.iter().any(|e| e.to_ascii_lowercase().contains(word))
}

/// Takes a message out of Vault's "1 error occurred" list and drops what could confuse a terminal.
fn plain(message: &str) -> String {
    let body = message.split_once("error occurred:").map_or(message, |(_, rest)| rest);
    let body = body.trim().strip_prefix("* ").unwrap_or(body.trim());
    body.chars()
        .map(|c| if c == '\n' || c == '\t' { ' ' } else { c })
        .filter(|c| !c.is_control())
        .take(MAX_ERROR_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(status: u16, body: &str) -> Error {
        let status = StatusCode::from_u16(status).unwrap();
        Error::from_answer(status, "GET", "secret/x", body.as_bytes(), None)
    }

    #[test]
    fn statuses_become_kinds() {
        for (status, body, kind) in [
            (307, "", Kind::Redirected),
            (400, r#"{"errors":["bad"]}"#, Kind::InvalidRequest),
            (400, r#"{"errors":["check-and-set parameter did not match"]}"#, Kind::PreconditionFailed),
            (403, r#"{"errors":["permission denied"]}"#, Kind::PermissionDenied),
            (404, r#"{"errors":[]}"#, Kind::NotFound),
            (405, "", Kind::Unsupported),
            (412, "", Kind::PreconditionFailed),
            (415, "", Kind::InvalidRequest),
            (429, "", Kind::RateLimited),
            (500, "<html>", Kind::Server),
            (501, "", Kind::Unsupported),
            (503, r#"{"errors":["Vault is sealed"]}"#, Kind::Sealed),
            (503, r#"{"errors":["try again"]}"#, Kind::Server),
        ] {
            assert_eq!(server(status, body).kind(), kind, "{status} {body}");
        }
    }

    #[test]
    fn messages_are_plain_and_bounded() {
        let e = server(403, r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#);
        assert_eq!(e.messages(), ["permission denied"]);
        assert_eq!(e.to_string(), "GET secret/x: 403 Forbidden\n  * permission denied");
        let e = server(500, r#"{"errors":["\u001b[31mred"]}"#);
        assert_eq!(e.messages(), ["[31mred"]);
        let long = format!("{{\"errors\":[\"{}\"]}}", "x".repeat(100_000));
        assert!(server(500, &long).to_string().len() < MAX_ERROR_CHARS + 100);
        assert!(server(502, "<html>secret page</html>").messages().is_empty());
    }
}
