//! API paths: checked here, percent-encoded once.

use crate::error::{Error, Result};
use crate::limits::MAX_PATH_BYTES;
use std::fmt::Write as _;

/// Checks a path below `/v1/` and encodes it. A leading slash is dropped, a trailing one kept.
///
/// # Errors
/// `Config` for an empty, relative or over-long path, or one with empty segments or control
/// characters: the server would refuse it, or a proxy rewrite it.
pub(crate) fn encode(path: &str) -> Result<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let body = path.strip_suffix('/').unwrap_or(path);
    let bad = |why: &str| Err(Error::Config(format!("invalid path {path:?}: {why}")));
    if body.is_empty() {
        return bad("it is empty");
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(Error::Config(format!("invalid path: longer than {MAX_PATH_BYTES} bytes")));
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return bad("it has a control character or a backslash");
    }
    for segment in body.split('/') {
        match segment {
            "" => return bad("it has an empty segment"),
            "." | ".." => return bad("it has a relative segment"),
            _ => {}
        }
    }
    Ok(escape(path, b"-._~!$&'()*+,=:@/"))
}

/// Appends a name, such as a policy's to `sys/policies/acl`. Encoding comes later.
pub(crate) fn join(prefix: &str, name: &str) -> String {
    format!("{prefix}/{}", name.trim_matches('/'))
}

/// Encodes query parameters; empty for none.
pub(crate) fn query(parameters: &[(String, String)]) -> String {
    let mut out = String::new();
    for (i, (k, v)) in parameters.iter().enumerate() {
        let sign = if i == 0 { '?' } else { '&' };
        let _ = write!(out, "{sign}{}={}", escape(k, b"-._~"), escape(v, b"-._~"));
    }
    out
}

fn escape(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || keep.contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded_once_and_never_relative() {
        assert_eq!(encode("/secret/data/a b?#%/ü").unwrap(), "secret/data/a%20b%3F%23%25/%C3%BC");
        assert_eq!(encode("secret/metadata/").unwrap(), "secret/metadata/");
        for bad in ["", "/", "//", "a//b", "a/../b", "..", "a/.", "a\\b", "a\nb", &"x".repeat(2049)] {
            assert_eq!(encode(bad).unwrap_err().kind(), crate::Kind::Config, "{bad:?}");
        }
        let q = [("list".to_owned(), "true".to_owned()), ("after".to_owned(), "a&b=/".to_owned())];
        assert_eq!(query(&q), "?list=true&after=a%26b%3D%2F");
        assert_eq!(query(&[]), "");
    }
}
