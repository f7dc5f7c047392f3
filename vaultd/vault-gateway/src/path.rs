//! The one canonical form of a data-plane path: the same bytes go to the policy, the
//! allow-list, the audit and the upstream.

use crate::error::Code;
use crate::limits::MAX_TARGET_BYTES;

/// A target split into service, canonical path and query.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    pub service: String,
    /// Starts with `/`.
    pub path: String,
    pub query: Option<String>,
}

/// Splits and checks `/<service>/<path>[?query]`, as it stood on the wire.
///
/// Refused: empty, `.` and `..` segments, `\`, `;`, controls, anything outside printable ASCII,
/// and percent-escapes of slashes, backslashes, dots that make a relative segment, percent
/// signs, controls and invalid UTF-8. An escape of an unreserved character (RFC 3986, 2.3) is
/// replaced by the character, so that there is one spelling.
pub fn parse(path: &str, query: Option<&str>) -> Result<Target, Code> {
    if path.len() + query.map_or(0, str::len) > MAX_TARGET_BYTES {
        return Err(Code::BadPath);
    }
    let rest = path.strip_prefix('/').ok_or(Code::BadPath)?;
    let (service, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if service.is_empty() || service.starts_with('.') || !service.chars().all(plain) {
        return Err(Code::BadPath);
    }
    let path = canonical(rest)?;
    if query.is_some_and(|q| !q.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'\\')) {
        return Err(Code::BadPath);
    }
    Ok(Target { service: service.to_string(), path, query: query.map(str::to_string) })
}

fn canonical(rest: &str) -> Result<String, Code> {
    let mut out = String::with_capacity(rest.len() + 1);
    let mut segments = rest.split('/').peekable();
    while let Some(raw) = segments.next() {
        out.push('/');
        let start = out.len();
        segment(raw, &mut out)?;
        let made = out.get(start..).unwrap_or("");
        let last = segments.peek().is_none();
        if matches!(made, "." | "..") || (made.is_empty() && !last) {
            return Err(Code::BadPath);
        }
    }
    Ok(out)
}

fn segment(raw: &str, out: &mut String) -> Result<(), Code> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'%' => {
                let hex = |b: Option<u8>| b.and_then(|b| (b as char).to_digit(16)).map(|d| d as u8);
                let (Some(high), Some(low)) = (hex(bytes.next()), hex(bytes.next())) else {
                    return Err(Code::BadPath);
                };
                let byte = high << 4 | low;
                if byte < 0x20 || byte == 0x7f || matches!(byte, b'/' | b'\\' | b'%' | b';') {
                    return Err(Code::BadPath);
                }
                decoded.push(byte);
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                    out.push(byte as char);
                } else {
                    out.push_str(&format!("%{byte:02X}"));
                }
            }
            b if b.is_ascii_graphic()
                && !matches!(b, b'\\' | b';' | b'?' | b'#' | b'"' | b'<' | b'>' | b'`') =>
            {
                decoded.push(b);
                out.push(b as char);
            }
            _ => return Err(Code::BadPath),
        }
    }
    let text = String::from_utf8(decoded).map_err(|_| Code::BadPath)?;
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{ff0e}' | '\u{ff0f}' | '\u{ff3c}' | '\u{2215}' | '\u{2044}' | '\u{feff}')) {
        return Err(Code::BadPath);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_spelling() {
        for (raw, want) in [
            ("/openai/v1/chat/completions", "/v1/chat/completions"),
            ("/openai", "/"),
            ("/openai/", "/"),
            ("/openai/a/", "/a/"),
            ("/openai/%61b", "/ab"),
            ("/openai/a%20b", "/a%20b"),
            ("/openai/a%2bb", "/a%2Bb"),
            ("/openai/%C3%BC", "/%C3%BC"),
            ("/openai/v1:run@x,y=(z)!$&'*+~", "/v1:run@x,y=(z)!$&'*+~"),
            ("/openai/...", "/..."),
        ] {
            assert_eq!(parse(raw, None).map(|t| t.path), Ok(want.to_string()), "{raw}");
        }
        assert_eq!(parse("/s/p", Some("a=1&b=%2F")).unwrap().query.as_deref(), Some("a=1&b=%2F"));
    }

    #[test]
    fn second_spellings_are_refused() {
        for raw in [
            "",
            "x",
            "//a",
            "/a//b",
            "/a/./b",
            "/a/../b",
            "/a/..",
            "/a/%2e%2e/b",
            "/a/.%2E",
            "/a/%2e",
            "/a/b%2fc",
            "/a/b%2Fc",
            "/a/b%5cc",
            "/a/b\\c",
            "/a/b%00",
            "/a/b%0d%0a",
            "/a/b;x",
            "/a/b%3bx",
            "/a/%252e",
            "/a/%25",
            "/a/%",
            "/a/%4",
            "/a/%zz",
            "/a/%c0%af",
            "/a/%ff",
            "/a/\u{fc}",
            "/a/b c",
            "/a/%ef%bc%8f",
            "/a/%e2%80%ae",
            "/.a/b",
            "/a%2f/b",
            "/a b/c",
            "/a/b#c",
            "/a/%7f",
        ] {
            assert_eq!(parse(raw, None), Err(Code::BadPath), "{raw:?}");
        }
        for query in ["a b", "a\r\nb", "a#b", "\u{fc}", "a\\b"] {
            assert_eq!(parse("/a/b", Some(query)), Err(Code::BadPath), "{query:?}");
        }
        assert!(parse(&format!("/a/{}", "x".repeat(MAX_TARGET_BYTES)), None).is_err());
    }

    proptest! {
        /// What comes out is a fixed point, and no decoding of it can climb.
        #[test]
        fn canonical_is_a_fixed_point(raw in "/s/[a-z0-9./%~\\\\;A-F2-5+ -]{0,40}") {
            if let Ok(t) = parse(&raw, None) {
                let again = parse(&format!("/s{}", t.path), None).unwrap();
                prop_assert_eq!(&again.path, &t.path);
                prop_assert!(!t.path.contains("//") || t.path == "/");
                prop_assert!(t.path.split('/').all(|s| s != "." && s != ".."));
                let lower = t.path.to_ascii_lowercase();
                prop_assert!(!lower.contains("%2f") && !lower.contains("%5c") && !lower.contains("%2e") && !lower.contains("%25"));
            }
        }
    }
}
