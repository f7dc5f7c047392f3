//! Finds the caller's credential: in the one header that the service names, once, and nowhere
//! else.

use crate::error::Code;
use crate::limits::MAX_CREDENTIAL_BYTES;
use http::HeaderMap;
use secmem::SecretString;

/// Headers that carry credentials by custom. Any of them beside the service's own is a second
/// credential, and the caller's intent is not ours to guess.
pub const CREDENTIAL_HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "x-vault-token",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-auth-token",
    "apikey",
];

/// The credential with its scheme removed.
pub fn credential(headers: &HeaderMap, name: &str) -> Result<SecretString, Code> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(Code::MissingCredential)?;
    if values.next().is_some() {
        return Err(Code::AmbiguousCredential);
    }
    if CREDENTIAL_HEADERS.iter().any(|h| *h != name && headers.contains_key(*h)) {
        return Err(Code::AmbiguousCredential);
    }
    let text = value.to_str().map_err(|_| Code::InvalidCredential)?;
    if text.contains(',') || text.contains('\t') {
        return Err(Code::AmbiguousCredential);
    }
    let text = if name == "authorization" { bearer(text)? } else { text };
    if text.is_empty() || text.len() > MAX_CREDENTIAL_BYTES || text.contains(' ') {
        return Err(Code::InvalidCredential);
    }
    Ok(SecretString::from(text))
}

/// RFC 6750: the scheme in any case, one space.
fn bearer(text: &str) -> Result<&str, Code> {
    let (scheme, rest) = text.split_once(' ').ok_or(Code::InvalidCredential)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(rest) } else { Err(Code::InvalidCredential) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use secmem::ExposeSecret;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut h = HeaderMap::new();
        for (k, v) in pairs {
            h.append(*k, HeaderValue::from_static(v));
        }
        h
    }

    #[test]
    fn exactly_one() {
        let get = |pairs: &[(&'static str, &'static str)], name| {
            credential(&headers(pairs), name).map(|s| s.expose_secret().to_string())
        };
        assert_eq!(get(&[("authorization", "Bearer abc")], "authorization"), Ok("abc".into()));
        assert_eq!(get(&[("authorization", "bEARER abc")], "authorization"), Ok("abc".into()));
        assert_eq!(get(&[("x-api-key", "abc")], "x-api-key"), Ok("abc".into()));
        assert_eq!(get(&[], "authorization"), Err(Code::MissingCredential));
        for two in [
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")][..],
            &[("authorization", "Bearer a"), ("x-api-key", "b")],
            &[("authorization", "Bearer a"), ("x-vault-token", "b")],
            &[("authorization", "Bearer a, Bearer b")],
            &[("authorization", "Bearer\ta")],
        ] {
            assert_eq!(get(two, "authorization"), Err(Code::AmbiguousCredential), "{two:?}");
        }
        for bad in ["Basic abc", "abc", "Bearer", "Bearer ", "Bearer  abc", "Bearer a b"] {
            assert_eq!(
                credential(&headers(&[("authorization", bad)]), "authorization").err(),
                Some(Code::InvalidCredential),
                "{bad}"
            );
        }
    }
}
