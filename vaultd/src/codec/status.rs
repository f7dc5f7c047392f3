//! The one place where an error's kind becomes an HTTP status, and its text Vault's text.

use http::StatusCode;
use std::borrow::Cow;
use vault_logical::{Error, ErrorKind};

/// The status of an error kind (vault-api: errors and codes).
pub fn of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidRequest => StatusCode::BAD_REQUEST,
        // The API itself never challenges: a missing or unknown token is 403, as in Vault.
        ErrorKind::Unauthenticated | ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::NotFound | ErrorKind::UnsupportedPath => StatusCode::NOT_FOUND,
        ErrorKind::UnsupportedOperation => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Upstream => StatusCode::BAD_GATEWAY,
        ErrorKind::Sealed | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        // `Internal`, and kinds that this build does not know.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The messages that Vault wraps in its multi-error form. An unknown token is told `permission
/// denied` plainly ([`ErrorKind::Unauthenticated`]).
const MULTI: [&str; 3] = ["permission denied", "unsupported operation", "unsupported path"];

/// The text in `errors`; empty for a plain "nothing there".
pub fn message(error: &Error) -> Cow<'_, str> {
    match error.kind() {
        // What Vault's core says without a text of its own comes as a list of one.
        ErrorKind::PermissionDenied | ErrorKind::UnsupportedOperation | ErrorKind::UnsupportedPath
            if MULTI.contains(&error.message()) =>
        {
            Cow::Owned(format!("1 error occurred:\n\t* {}\n\n", error.message()))
        }
        ErrorKind::Internal => Cow::Borrowed("internal error"),
        ErrorKind::Sealed => Cow::Borrowed("Vault is sealed"),
        _ => Cow::Borrowed(error.message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_vaults_status() {
        for (kind, status) in [
            (ErrorKind::InvalidRequest, 400),
            (ErrorKind::Unauthenticated, 403),
            (ErrorKind::PermissionDenied, 403),
            (ErrorKind::NotFound, 404),
            (ErrorKind::UnsupportedPath, 404),
            (ErrorKind::UnsupportedOperation, 405),
            (ErrorKind::Conflict, 409),
            (ErrorKind::PreconditionFailed, 412),
            (ErrorKind::TooLarge, 413),
            (ErrorKind::UnsupportedMediaType, 415),
            (ErrorKind::RateLimited, 429),
            (ErrorKind::Internal, 500),
            (ErrorKind::Upstream, 502),
            (ErrorKind::Sealed, 503),
            (ErrorKind::Unavailable, 503),
            (ErrorKind::StorageFull, 507),
        ] {
            assert_eq!(of(kind).as_u16(), status, "{kind:?}");
        }
    }

    #[test]
    fn internal_causes_stay_inside() {
        let e = Error::internal("disk path and secret");
        assert_eq!(message(&e), "internal error");
        let e = Error::new(ErrorKind::Internal, "mistaken detail");
        assert_eq!(message(&e), "internal error");
    }
}
