//! Heads on their way through: the caller's by allow-list, the upstream's without what is not
//! the caller's business.

use crate::error::Code;
use crate::passes::is_provider;
use crate::redact::Patterns;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use secmem::Zeroizing;
use vault_logical::ServiceConfig;
use vault_logical::header::{asks_for_range, never_forwarded};
use vault_logical::provider_key::PLACE;

/// Request headers that go upstream. Everything else stays here: cookies, every credential,
/// forwarding and trust headers in any spelling, method overrides, hop-by-hop headers.
const FORWARDED: &[&str] = &[
    "accept",
    "accept-language",
    "content-type",
    "content-language",
    "content-md5",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "user-agent",
    "cache-control",
    "prefer",
];

/// Response headers that end here (RFC 9110, 7.6.1, and what would speak of the upstream's own
/// sessions or authentication).
const DROPPED: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
    "proxy-authorization",
    "set-cookie",
    "www-authenticate",
    "alt-svc",
    "clear-site-data",
    "strict-transport-security",
    "content-encoding",
    "authentication-info",
    "proxy-authentication-info",
];

/// The caller's headers that are forwarded, with the service's own additions to the list.
pub fn forwarded(caller: &HeaderMap, service: &ServiceConfig) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(8);
    for (name, value) in caller {
        if passes(name.as_str(), service) {
            out.append(name.clone(), value.clone());
        }
    }
    out.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    out
}

/// True when the body cannot be searched: the upstream encoded it although it was asked not to, or
/// says so in a way that a client may read as an encoding. Only `identity` is none, and only
/// `chunked` is a transfer coding that is undone before the search.
pub fn encoded(headers: &HeaderMap) -> bool {
    let other = |name, known: &str| {
        headers
            .get_all(name)
            .iter()
            .any(|v| !v.as_bytes().trim_ascii().eq_ignore_ascii_case(known.as_bytes()))
    };
    other(header::CONTENT_ENCODING, "identity")
        || other(header::TRANSFER_ENCODING, "chunked")
        || headers.get_all(header::TRANSFER_ENCODING).iter().count() > 1
}

/// True for a header of the caller that goes upstream.
pub fn passes(name: &str, service: &ServiceConfig) -> bool {
    let listed = if asks_for_range(name) {
        service.forward_range && !name.contains('_')
    } else {
        FORWARDED.contains(&name) || is_provider(name) || service.request_headers.iter().any(|h| h == name)
    };
    // Asked again here: a service may have been stored when fewer names were refused.
    listed
        && !never_forwarded(name)
        && name != service.inject_header
        && !service.caller_headers().iter().any(|h| h == name)
}

/// Looks for the caller's credential in what is about to be sent upstream.
pub fn leaks(outgoing: &HeaderMap, target: &str, credential: &[u8]) -> bool {
    let holds = |text: &[u8]| {
        text.len() >= credential.len() && text.windows(credential.len()).any(|w| w == credential)
    };
    holds(target.as_bytes()) || outgoing.values().any(|v| holds(v.as_bytes()))
}

/// Puts the provider's key into the service's header: exactly one of that name.
pub fn inject(out: &mut HeaderMap, service: &ServiceConfig, key: &[u8]) -> Result<(), Code> {
    let name = HeaderName::from_bytes(service.inject_header.as_bytes()).map_err(|_| Code::Internal)?;
    let (before, after) = service.inject_template.split_once(PLACE).ok_or(Code::Internal)?;
    let mut text = Zeroizing::new(Vec::with_capacity(before.len() + key.len() + after.len()));
    text.extend_from_slice(before.as_bytes());
    text.extend_from_slice(key);
    text.extend_from_slice(after.as_bytes());
    let mut value = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text))
        .map_err(|_| Code::CredentialUnavailable)?;
    value.set_sensitive(true);
    out.insert(name, value);
    Ok(())
}

/// The upstream's head for the caller: without [`DROPPED`], without what `Connection` names,
/// with the upstream's own rate limits under a name of their own. Answers how often the key
/// was masked.
pub fn returned(upstream: HeaderMap, patterns: &Patterns) -> (HeaderMap, u64) {
    let named: Vec<String> = upstream
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|n| n.trim().to_ascii_lowercase())
        .collect();
    let mut out = HeaderMap::with_capacity(upstream.len());
    for (name, value) in &upstream {
        let n = name.as_str();
        if DROPPED.contains(&n) || named.iter().any(|x| x == n) {
            continue;
        }
        let limit = n.starts_with("x-ratelimit-") || n.starts_with("ratelimit");
        let renamed = limit
            .then(|| HeaderName::from_bytes(format!("x-upstream-{}", n.trim_start_matches("x-")).as_bytes()));
        match renamed {
            Some(Ok(r)) => out.append(r, value.clone()),
            _ => out.append(name.clone(), value.clone()),
        };
    }
    let hits = scrub(&mut out, patterns);
    (out, hits)
}

/// Masks the key in header values; a name that holds it is dropped.
pub fn scrub(headers: &mut HeaderMap, patterns: &Patterns) -> u64 {
    let mut hits = 0;
    let mut bad = Vec::new();
    for (name, value) in headers.iter_mut() {
        let mut bytes = value.as_bytes().to_vec();
        let found = patterns.mask(&mut bytes);
        if found > 0 {
            hits += found;
            *value = HeaderValue::from_bytes(&bytes).unwrap_or(HeaderValue::from_static("*"));
        }
        if patterns.is_named(name.as_str().as_bytes()) {
            hits += 1;
            bad.push(name.clone());
        }
    }
    for name in bad {
        headers.remove(name);
    }
    hits
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::time::Duration;

    pub(crate) fn service() -> ServiceConfig {
        ServiceConfig {
            v: 1,
            upstream: "https://api.example.com".into(),
            ca_cert: None,
            credential: vault_logical::Binding {
                path: "secret/data/x".into(),
                field: "key".into(),
                version: None,
            },
            inject_header: "authorization".into(),
            inject_template: "Bearer {{credential}}".into(),
            allow: Vec::new(),
            auth: Vec::new(),
            caller_header: "authorization".into(),
            caller_headers: Vec::new(),
            rate_limit: None,
            timeout: Duration::from_secs(1),
            allow_private: false,
            request_headers: vec!["x-own".into(), "x-user-id".into(), "x_role".into(), "range".into()],
            forward_range: false,
            credential_rejected_status: vec![401],
        }
    }

    #[test]
    fn only_listed_headers_go_upstream_and_one_credential() {
        let mut caller = HeaderMap::new();
        for (k, v) in [
            ("authorization", "Bearer caller"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "1.2.3.4"),
            ("forwarded", "for=1"),
            ("x_forwarded_user", "root"),
            ("x-http-method-override", "DELETE"),
            ("connection", "authorization"),
            ("x-vault-token", "t"),
            ("accept", "*/*"),
            ("content-type", "application/json"),
            ("host", "evil"),
            ("anthropic-version", "2023-06-01"),
            ("x-stainless-lang", "python"),
            ("x-own", "1"),
            ("x-other", "1"),
            ("stripe-account", "acct_1"),
            ("te", "trailers"),
            ("expect", "100-continue"),
            ("accept-encoding", "gzip"),
            // Listed by the service, as an older version may have stored it.
            ("x-user-id", "root"),
            ("x_role", "admin"),
            ("x-tenant-id", "1"),
            ("range", "bytes=0-9"),
            ("if-range", "\"e\""),
        ] {
            caller.append(HeaderName::from_static(k), HeaderValue::from_static(v));
        }
        let mut out = forwarded(&caller, &service());
        inject(&mut out, &service(), b"sk-key").unwrap();
        let mut names: Vec<&str> = out.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accept",
                "accept-encoding",
                "anthropic-version",
                "authorization",
                "content-type",
                "x-own",
                "x-stainless-lang"
            ]
        );
        assert_eq!(out.get_all("authorization").iter().count(), 1);
        assert_eq!(out["authorization"], "Bearer sk-key");
        assert!(out["authorization"].is_sensitive());
        assert_eq!(out["accept-encoding"], "identity");
    }

    #[test]
    fn ranges_go_upstream_only_where_the_service_says_so() {
        let mut caller = HeaderMap::new();
        caller.append("range", HeaderValue::from_static("bytes=0-9"));
        caller.append("if-range", HeaderValue::from_static("\"e\""));
        let mut s = service();
        assert!(!forwarded(&caller, &s).contains_key("range"));
        s.forward_range = true;
        let out = forwarded(&caller, &s);
        assert!(out.contains_key("range") && out.contains_key("if-range"));
    }

    #[test]
    fn a_service_may_set_an_identity_header_itself() {
        let mut caller = HeaderMap::new();
        caller.append("x-user-key", HeaderValue::from_static("mine"));
        let mut s = service();
        s.inject_header = "x-user-key".into();
        s.request_headers = vec!["x-user-key".into()];
        let mut out = forwarded(&caller, &s);
        inject(&mut out, &s, b"sk-key").unwrap();
        let set: Vec<_> = out.get_all("x-user-key").iter().collect();
        assert_eq!(set, ["Bearer sk-key"]);
    }

    #[test]
    fn a_key_with_a_line_break_is_not_sent() {
        let mut out = HeaderMap::new();
        assert_eq!(inject(&mut out, &service(), b"sk\r\nx-evil: 1"), Err(Code::CredentialUnavailable));
        assert!(out.is_empty());
    }

    #[test]
    fn only_what_can_be_searched_passes() {
        let encoded_by = |name: &'static str, values: &[&'static str]| {
            let mut h = HeaderMap::new();
            for v in values {
                h.append(name, HeaderValue::from_static(v));
            }
            encoded(&h)
        };
        assert!(!encoded(&HeaderMap::new()));
        for fine in ["identity", "Identity"] {
            assert!(!encoded_by("content-encoding", &[fine]), "{fine}");
        }
        assert!(!encoded_by("transfer-encoding", &["Chunked"]));
        for bad in ["", " ", "gzip", "br", "x-unheard-of", "identity, gzip", "identity,", "aws-chunked"] {
            assert!(encoded_by("content-encoding", &[bad]), "{bad:?}");
        }
        assert!(encoded_by("content-encoding", &["identity", "gzip"]));
        for bad in ["", "gzip", "gzip, chunked", "chunked, chunked", "identity", "deflate"] {
            assert!(encoded_by("transfer-encoding", &[bad]), "{bad:?}");
        }
        assert!(encoded_by("transfer-encoding", &["gzip", "chunked"]));
    }

    #[test]
    fn the_callers_credential_is_found_in_the_outgoing_head() {
        let mut out = HeaderMap::new();
        out.insert("user-agent", HeaderValue::from_static("x caller-token y"));
        assert!(leaks(&out, "/a", b"caller-token"));
        assert!(leaks(&HeaderMap::new(), "/a?k=caller-token", b"caller-token"));
        assert!(!leaks(&out, "/a", b"other-token"));
    }

    #[test]
    fn sessions_hops_and_the_key_stay_behind() {
        let key = b"sk-provider-key-1";
        let mut up = HeaderMap::new();
        for (k, v) in [
            ("set-cookie", "a=b"),
            ("www-authenticate", "Basic"),
            ("connection", "x-hop, close"),
            ("x-hop", "1"),
            ("x-ratelimit-remaining", "5"),
            ("location", "/next?k=sk-provider-key-1"),
            ("content-type", "text/plain"),
        ] {
            up.append(HeaderName::from_static(k), HeaderValue::from_static(v));
        }
        let (out, hits) = returned(up, &Patterns::new(key, "Bearer {{credential}}").unwrap());
        let mut names: Vec<&str> = out.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "location", "x-upstream-ratelimit-remaining"]);
        assert_eq!(out["location"], "/next?k=*****************");
        assert_eq!(hits, 1);
    }
}
