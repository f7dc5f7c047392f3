//! When a call is tried again, and after how long.

use crate::error::{Error, Kind};
use crate::limits::{RETRY_AFTER_MAX, RETRY_WAIT_MAX, RETRY_WAIT_MIN};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// How long to wait before attempt `attempt + 2`, or `None` to give up. Only calls that change
/// nothing when repeated get here.
pub(crate) fn wait(error: &Error, attempt: u32) -> Option<Duration> {
    let asked = match error {
        Error::Server { retry_after, .. } => *retry_after,
        _ => None,
    };
    let worth_it = match (error.kind(), error.status()) {
        (Kind::Connect, _) | (Kind::RateLimited, _) => true,
        // A sealed server stays sealed until an operator acts.
        (Kind::Sealed, _) => false,
        (_, Some(412 | 503)) => true,
        _ => false,
    };
    match asked {
        _ if !worth_it => None,
        Some(after) if after > RETRY_AFTER_MAX => None,
        Some(after) => Some(after.max(RETRY_WAIT_MIN)),
        None => {
            let ceiling = RETRY_WAIT_MIN.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX));
            Some(spread(ceiling.min(RETRY_WAIT_MAX)))
        }
    }
}

/// Between half of a duration and all of it, so that many clients do not come back at once.
pub(crate) fn spread(d: Duration) -> Duration {
    // The standard library's only randomness; good enough to spread load.
    let percent = RandomState::new().hash_one(0u8) % 51;
    d / 2 + (d / 100) * u32::try_from(percent).unwrap_or(0)
}

/// `Retry-After` in seconds; the date form is not used by this API.
pub(crate) fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let value = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn server(status: u16, text: &str, after: Option<u64>) -> Error {
        let body = format!("{{\"errors\":[{text:?}]}}");
        let status = StatusCode::from_u16(status).unwrap();
        Error::from_answer(status, "GET", "x", body.as_bytes(), after.map(Duration::from_secs))
    }

    #[test]
    fn only_what_may_pass_is_waited_for() {
        assert!(wait(&server(503, "audit device", None), 0).is_some());
        assert!(wait(&server(412, "", None), 0).is_some());
        assert!(wait(&server(429, "", None), 0).is_some());
        for error in [
            server(503, "Vault is sealed", None),
            server(500, "", None),
            server(400, "check-and-set parameter did not match", None),
            server(403, "", Some(1)),
            Error::Timeout { address: String::new(), after: Duration::ZERO },
        ] {
            assert!(wait(&error, 0).is_none(), "{error}");
        }
    }

    #[test]
    fn waits_grow_to_a_bound_and_follow_the_server() {
        assert_eq!(wait(&server(429, "", Some(7)), 0), Some(Duration::from_secs(7)));
        assert_eq!(wait(&server(429, "", Some(3600)), 0), None);
        for attempt in [0, 1, 5, 31, 32, 1000] {
            let w = wait(&server(429, "", None), attempt).unwrap();
            assert!(w >= RETRY_WAIT_MIN / 2 && w <= RETRY_WAIT_MAX, "{attempt}: {w:?}");
        }
        assert!(spread(Duration::from_secs(2)) <= Duration::from_secs(2));
    }
}
