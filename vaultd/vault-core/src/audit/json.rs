//! JSON text straight to bytes, on one line whatever the input holds.

use std::fmt::Write as _;

/// Appends `text` as a JSON string. Everything that could end a line, move a cursor or reorder
/// text in a terminal is escaped: C0, DEL and C1 controls, line and paragraph separators,
/// bidirectional and zero-width controls, the byte-order mark.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, text: &str) {
    // Plain ASCII needs no look at its characters.
    if text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\') {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if unsafe_to_show(c) => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.extend_from_slice(b"\\u");
                    hex(out, &unit.to_be_bytes());
                }
            }
            c => {
                let mut utf8 = [0u8; 4];
                out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
            }
        }
    }
}

fn unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Appends lower-case hex.
pub(super) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(2 * bytes.len());
    for b in bytes {
        out.extend_from_slice(&[digit(b >> 4), digit(b & 15)]);
    }
}

/// Lower-case hex in the place of `out`, which is twice as long.
pub(super) fn hex_over(out: &mut [u8], bytes: &[u8]) {
    for (pair, b) in out.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(b >> 4), digit(b & 15)]);
    }
}

fn digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        n => b'a' + (n - 10),
    }
}

/// Appends a whole number in decimal.
pub(super) fn number(out: &mut Vec<u8>, n: u64) {
    let mut text = String::with_capacity(20);
    // Writing to a String cannot fail.
    let _ = write!(text, "{n}");
    out.extend_from_slice(text.as_bytes());
}

/// Reads exactly `N` bytes of lower-case hex; any other spelling is refused, so that a record has
/// one form only.
pub(super) fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0u8; N];
    for (b, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *b = (value(*high)? << 4) | value(*low)?;
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_back_from_one_line(text in any::<String>(), extra in "[\u{0}-\u{a0}\u{2020}-\u{2030}\u{feff}]*") {
            let text = text + &extra;
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert!(out.iter().all(|b| *b >= 0x20 && *b != 0x7f));
            let seen = std::str::from_utf8(&out).unwrap();
            prop_assert!(!seen.chars().any(unsafe_to_show));
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn hex_has_one_spelling(bytes in any::<[u8; 32]>()) {
            let mut out = Vec::new();
            hex(&mut out, &bytes);
            prop_assert_eq!(&out, &hex::encode(bytes).into_bytes());
            prop_assert_eq!(unhex::<32>(&out), Some(bytes));
            let upper = out.to_ascii_uppercase();
            prop_assert!(upper == out || unhex::<32>(&upper).is_none());
        }
    }
}
