//! The one function that makes a canonical API path. What it returns is what the policy,
//! the audit log and the engine see; there is no second spelling of a path.

use crate::limits::{MAX_PATH_BYTES, MAX_PATH_SEGMENTS, MAX_SEGMENT_BYTES};
use crate::{Error, Result};

/// Checks a *decoded* path below `/v1/` (percent-decoded once by the codec, which refuses
/// encoded slashes, backslashes and NUL before it decodes).
///
/// Refused with 400: empty segments (`//`), `.` and `..` segments, control and other
/// non-printable characters, backslashes, over-long paths. A trailing `/` is kept: it marks
/// a folder for LIST.
pub fn canonical(decoded: &str) -> Result<&str> {
    let p = decoded.strip_prefix('/').unwrap_or(decoded);
    if p.len() > MAX_PATH_BYTES {
        return Err(Error::invalid("path is too long"));
    }
    if p.chars().any(|c| c.is_control() || c == '\\' || c == '\u{fffd}' || is_invisible(c)) {
        return Err(Error::invalid("path has non-printable characters"));
    }
    let body = p.strip_suffix('/').unwrap_or(p);
    if body.is_empty() {
        return if p.is_empty() { Ok(p) } else { Err(Error::invalid("path has an empty segment")) };
    }
    let mut n = 0;
    for seg in body.split('/') {
        n += 1;
        match seg {
            "" => return Err(Error::invalid("path has an empty segment")),
            "." | ".." => return Err(Error::invalid("path has a relative segment")),
            _ if seg.len() > MAX_SEGMENT_BYTES => return Err(Error::invalid("path segment is too long")),
            _ => {}
        }
    }
    if n > MAX_PATH_SEGMENTS {
        return Err(Error::invalid("path has too many segments"));
    }
    Ok(p)
}

/// Line and paragraph separators, byte-order mark, bidirectional and zero-width controls:
/// they would let one path look like another in a terminal or a log.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn keeps_ordinary_paths_as_they_are() {
        for p in ["secret/data/app", "sys/mounts/", "secret/data/a b@c:d", "kv/ü/日本", ""] {
            assert_eq!(canonical(p).ok(), Some(p));
        }
        assert_eq!(canonical("/sys/health").ok(), Some("sys/health"));
    }

    #[test]
    fn refuses_every_second_spelling() {
        for p in [
            "a//b",
            "//",
            "a/./b",
            "a/../b",
            "..",
            "a/..",
            "a\\b",
            "a\0b",
            "a\nb",
            "a\u{2028}b",
            "a\u{202e}b",
            "a/b//",
            "/",
        ] {
            if p == "/" {
                continue; // the API root itself
            }
            assert!(canonical(p).is_err(), "{p:?} must be refused");
        }
        assert!(canonical(&"x".repeat(1025)).is_err());
        assert!(canonical(&"x/".repeat(65)).is_err());
    }
}
