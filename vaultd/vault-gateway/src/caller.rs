//! Finds the caller's credential: in the first header of the service's list that the call has,
//! once, and nowhere else.

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

/// The credential with its scheme removed. `names`: where it may stand, in order; a later one of
/// these is not looked at and not forwarded.
pub fn credential(headers: &HeaderMap, names: &[String]) -> Result<SecretString, Code> {
    let name = names.iter().find(|n| headers.contains_key(n.as_str())).ok_or(Code::MissingCredential)?;
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(Code::MissingCredential)?;
    if values.next().is_some() {
        return Err(Code::AmbiguousCredential);
    }
    if CREDENTIAL_HEADERS.iter().any(|h| !names.iter().any(|n| n == h) && headers.contains_key(*h)) {
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
        let get = |pairs: &[(&'static str, &'static str)], name: &str| {
            credential(&headers(pairs), &[name.to_string()]).map(|s| s.expose_secret().to_string())
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
                get(&[("authorization", bad)], "authorization").err(),
                Some(Code::InvalidCredential),
                "{bad}"
            );
        }
    }

    #[test]
    fn several_headers_are_looked_at_in_their_order() {
        let names = ["x-api-key", "authorization", "x-app"].map(String::from);
        let get = |pairs: &[(&'static str, &'static str)]| {
            credential(&headers(pairs), &names).map(|s| s.expose_secret().to_string())
        };
        assert_eq!(get(&[("authorization", "Bearer abc")]), Ok("abc".into()));
        assert_eq!(get(&[("x-app", "abc")]), Ok("abc".into()));
        assert_eq!(get(&[("authorization", "Bearer abc"), ("x-api-key", "first")]), Ok("first".into()));
        // One that is there is the credential, even where the next would do.
        assert_eq!(get(&[("authorization", "Basic abc"), ("x-app", "b")]), Err(Code::InvalidCredential));
        assert_eq!(
            get(&[("x-api-key", "a"), ("x-api-key", "b"), ("x-app", "c")]),
            Err(Code::AmbiguousCredential)
        );
        // One that is not listed is still a second credential.
        assert_eq!(get(&[("x-app", "a"), ("x-vault-token", "b")]), Err(Code::AmbiguousCredential));
        assert_eq!(get(&[("accept", "a")]), Err(Code::MissingCredential));
    }
}
