//! The gateway's own refusals: a stable machine-readable code, never a secret, never the
//! upstream's words.

use crate::body::{BoxError, GatewayBody};
use crate::limits::BUSY_RETRY_SECS;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use vault_logical::{Error, ErrorKind, RequestId};

/// Why a call was refused or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    BadPath,
    BadRequest,
    MethodNotAllowed,
    NoSuchService,
    MissingCredential,
    AmbiguousCredential,
    InvalidCredential,
    Forbidden,
    CredentialInRequest,
    BodyTooLarge,
    RateLimited,
    /// The caller has as many calls under way as one may have.
    CallerBusy,
    /// The service, or the gateway, has.
    Busy,
    /// The caller's token or JWT ended while its call was under way.
    CredentialEnded,
    UpstreamAddressRefused,
    UpstreamUnreachable,
    UpstreamTimeout,
    UpstreamCredentialRejected,
    UpstreamEncoded,
    UpstreamInvalid,
    CredentialUnavailable,
    CredentialUnfit,
    Sealed,
    Unavailable,
    Internal,
}

impl Code {
    /// The `code` in the answer and in the audit record.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::BadPath => "bad_path",
            Code::BadRequest => "bad_request",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::NoSuchService => "no_such_service",
            Code::MissingCredential => "missing_credential",
            Code::AmbiguousCredential => "ambiguous_credential",
            Code::InvalidCredential => "invalid_credential",
            Code::Forbidden => "forbidden",
            Code::CredentialInRequest => "credential_in_request",
            Code::BodyTooLarge => "body_too_large",
            Code::RateLimited => "rate_limited",
            Code::CallerBusy => "too_many_calls",
            Code::Busy => "gateway_busy",
            Code::CredentialEnded => "credential_ended",
            Code::UpstreamAddressRefused => "upstream_address_refused",
            Code::UpstreamUnreachable => "upstream_unreachable",
            Code::UpstreamTimeout => "upstream_timeout",
            Code::UpstreamCredentialRejected => "upstream_credential_rejected",
            Code::UpstreamEncoded => "upstream_encoded",
            Code::UpstreamInvalid => "upstream_invalid",
            Code::CredentialUnavailable => "credential_unavailable",
            Code::CredentialUnfit => "credential_unfit",
            Code::Sealed => "sealed",
            Code::Unavailable => "unavailable",
            Code::Internal => "internal",
        }
    }

    pub fn status(self) -> StatusCode {
        match self {
            Code::BadPath | Code::BadRequest | Code::AmbiguousCredential | Code::CredentialInRequest => {
                StatusCode::BAD_REQUEST
            }
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::NoSuchService => StatusCode::NOT_FOUND,
            Code::MissingCredential | Code::InvalidCredential | Code::CredentialEnded => {
                StatusCode::UNAUTHORIZED
            }
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::RateLimited | Code::CallerBusy => StatusCode::TOO_MANY_REQUESTS,
            Code::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            // The upstream has answered, and its answer stays here. A status that client libraries
            // repeat a call for (408, 409, 429, 5xx) would have them do again what was done.
            Code::UpstreamCredentialRejected | Code::UpstreamEncoded | Code::UpstreamInvalid => {
                StatusCode::FAILED_DEPENDENCY
            }
            Code::UpstreamAddressRefused
            | Code::UpstreamUnreachable
            | Code::CredentialUnavailable
            | Code::CredentialUnfit => StatusCode::BAD_GATEWAY,
            Code::Sealed | Code::Unavailable | Code::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The upstream received the call and answered it.
    fn was_answered(self) -> bool {
        self.status() == StatusCode::FAILED_DEPENDENCY
    }

    /// True where the upstream, not the caller or the vault, is what failed.
    pub fn is_upstream(self) -> bool {
        matches!(
            self,
            Code::UpstreamAddressRefused
                | Code::UpstreamUnreachable
                | Code::UpstreamTimeout
                | Code::UpstreamCredentialRejected
                | Code::UpstreamEncoded
                | Code::UpstreamInvalid
        )
    }

    fn message(self) -> &'static str {
        match self {
            Code::BadPath => "the path is not in canonical form",
            Code::BadRequest => "the request is malformed",
            Code::MethodNotAllowed => "this method is not forwarded",
            Code::NoSuchService => "there is no such service",
            Code::MissingCredential => "the caller's credential is missing",
            Code::AmbiguousCredential => "more than one credential was sent",
            Code::InvalidCredential => "the caller's credential was refused",
            Code::Forbidden => "the caller may not make this call",
            Code::CredentialInRequest => "the caller's credential appears in a part that is forwarded",
            Code::BodyTooLarge => "the request body is too large",
            Code::RateLimited => "the caller's rate limit is used up",
            Code::CallerBusy => "the caller has too many calls under way",
            Code::Busy => "too many calls are under way",
            Code::CredentialEnded => "the caller's credential ended during the call",
            Code::UpstreamAddressRefused => "the upstream's address is not public",
            Code::UpstreamUnreachable => "the upstream could not be reached",
            Code::UpstreamTimeout => "the upstream did not answer in time",
            Code::UpstreamCredentialRejected => "the upstream rejected the service's credential",
            Code::UpstreamEncoded => "the upstream encoded its answer although it was asked not to",
            Code::UpstreamInvalid => "the upstream's answer was malformed",
            Code::CredentialUnavailable => "the service's credential is not in the vault",
            Code::CredentialUnfit => {
                "the service's credential cannot be masked in answers: too short, or with bytes that HTTP alters"
            }
            Code::Sealed => "the vault is sealed",
            Code::Unavailable => "the vault cannot decide or record the call now",
            Code::Internal => "internal error",
        }
    }
}

/// Headers by which client libraries (OpenAI's and Anthropic's, Stripe's) are told not to repeat a
/// call, whatever its status.
const NO_RETRY: &[&str] = &["x-should-retry", "stripe-should-retry"];

/// A refusal on its way to the caller.
#[derive(Debug)]
pub struct GatewayError {
    pub code: Code,
    /// Seconds for `Retry-After`.
    pub retry_after: Option<u64>,
    /// What the caller needs to know besides the code's own words; nothing that it did not send
    /// or that is secret.
    pub detail: Option<String>,
    /// Why, for the operator's log alone.
    pub cause: Option<BoxError>,
    /// How far the call had come: `identify`, `connect`, …
    pub phase: &'static str,
}

impl From<Code> for GatewayError {
    fn from(code: Code) -> Self {
        let busy = matches!(code, Code::Busy | Code::CallerBusy);
        let retry_after = busy.then_some(BUSY_RETRY_SECS);
        GatewayError { code, retry_after, detail: None, cause: None, phase: "" }
    }
}

impl From<Error> for GatewayError {
    fn from(e: Error) -> Self {
        let code = match e.kind() {
            ErrorKind::Unauthenticated => Code::InvalidCredential,
            ErrorKind::PermissionDenied => Code::Forbidden,
            ErrorKind::NotFound | ErrorKind::UnsupportedPath => Code::NoSuchService,
            ErrorKind::RateLimited => Code::RateLimited,
            ErrorKind::Sealed => Code::Sealed,
            ErrorKind::Unavailable | ErrorKind::StorageFull => Code::Unavailable,
            ErrorKind::Upstream => Code::CredentialUnavailable,
            ErrorKind::InvalidRequest => Code::BadRequest,
            _ => Code::Internal,
        };
        let phase = match code {
            Code::InvalidCredential => "identify",
            Code::CredentialUnavailable => "credential",
            _ => "authorize",
        };
        GatewayError { cause: Some(e.into()), phase, ..code.into() }
    }
}

impl GatewayError {
    /// With the step that failed and what made it fail, for the operator's log.
    pub fn caused(code: Code, phase: &'static str, cause: impl Into<BoxError>) -> Self {
        GatewayError { cause: Some(cause.into()), phase, ..code.into() }
    }

    pub fn response(&self, id: RequestId) -> Response<GatewayBody> {
        let message = match &self.detail {
            None => self.code.message().to_string(),
            Some(detail) => format!("{}: {detail}", self.code.message()),
        };
        let text = serde_json::json!({
            "error": {"code": self.code.as_str(), "message": message, "request_id": id.to_string()}
        })
        .to_string();
        let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.code.was_answered() {
            for name in NO_RETRY {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static("false"));
            }
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statuses for which OpenAI's, Anthropic's, Stripe's, Google's, AWS's and Azure's client
    /// libraries send a request again.
    fn is_repeated(status: StatusCode) -> bool {
        matches!(status.as_u16(), 408 | 409 | 425 | 429) || status.is_server_error()
    }

    #[test]
    fn no_answer_that_is_withheld_makes_a_client_call_again() {
        for code in [Code::UpstreamCredentialRejected, Code::UpstreamEncoded, Code::UpstreamInvalid] {
            let response = GatewayError::from(code).response(RequestId::nil());
            assert!(!is_repeated(response.status()), "{code:?}");
            for name in NO_RETRY {
                assert_eq!(response.headers()[*name], "false", "{code:?}");
            }
        }
        // Nobody has seen the call: trying again may help and does no harm.
        for code in [Code::UpstreamUnreachable, Code::UpstreamTimeout, Code::RateLimited] {
            let response = GatewayError::from(code).response(RequestId::nil());
            assert!(is_repeated(response.status()) && !response.headers().contains_key("x-should-retry"));
        }
    }

    #[test]
    fn the_status_on_record_is_the_one_that_is_sent() {
        use ErrorKind::*;
        for kind in [
            InvalidRequest,
            Unauthenticated,
            PermissionDenied,
            NotFound,
            UnsupportedPath,
            UnsupportedOperation,
            Conflict,
            PreconditionFailed,
            TooLarge,
            UnsupportedMediaType,
            RateLimited,
            Internal,
            Upstream,
            Sealed,
            Unavailable,
            StorageFull,
        ] {
            let sent = GatewayError::from(Error::new(kind, "")).code.status().as_u16();
            assert_eq!(kind.call_status(), sent, "{kind:?}");
        }
    }
}
