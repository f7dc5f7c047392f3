//! Percent-decoding, once, for paths, query strings and forms.

use super::refusal::Refusal;
use crate::limits::MAX_PARAMETERS;
use serde_json::Value;
use vault_logical::Data;

/// Decodes the path of a request target below `/v1/`.
///
/// `%2F`, `%5C` and `%00` are refused: after decoding nobody could tell them from a separator.
/// What is decoded is not decoded again, so `%252e` stays the text `%2e`.
pub fn decode_path(raw: &str) -> Result<String, Refusal> {
    if !raw.contains('%') {
        return Ok(raw.to_owned());
    }
    let bytes = decode(raw, false).ok_or_else(|| Refusal::bad("invalid percent-encoding in the path"))?;
    // An encoded separator shows as one more of it after decoding than before.
    let count = |hay: &[u8], needle: u8| hay.iter().filter(|b| **b == needle).count();
    let hidden = [b'/', b'\\', 0].iter().any(|c| count(&bytes, *c) != count(raw.as_bytes(), *c));
    if hidden {
        return Err(Refusal::bad("encoded separator in the path"));
    }
    String::from_utf8(bytes).map_err(|_| Refusal::bad("the path is not UTF-8"))
}

/// Reads `a=1&b=2` into data: every value is a string, a repeated name becomes a list.
pub fn parse_parameters(raw: &str) -> Result<Data, Refusal> {
    let mut data = Data::new();
    for (n, pair) in raw.split('&').filter(|p| !p.is_empty()).enumerate() {
        if n >= MAX_PARAMETERS {
            return Err(Refusal::bad("too many parameters"));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode_text(name)?;
        let value = Value::String(decode_text(value)?);
        match data.get_mut(&name) {
            None => {
                data.insert(name, value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(first) => {
                let list = vec![first.take(), value];
                *first = Value::Array(list);
            }
        }
    }
    Ok(data)
}

fn decode_text(raw: &str) -> Result<String, Refusal> {
    let bytes = decode(raw, true).ok_or_else(|| Refusal::bad("invalid percent-encoding in a parameter"))?;
    String::from_utf8(bytes).map_err(|_| Refusal::bad("a parameter is not UTF-8"))
}

/// `None` for a `%` that two hexadecimal digits do not follow.
fn decode(raw: &str, plus_is_space: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_decoded_once_and_keep_their_separators() {
        for (raw, want) in [
            ("secret/data/a%20b", "secret/data/a b"),
            ("a%252e%252e/b", "a%2e%2e/b"),
            ("kv/%C3%BC", "kv/ü"),
            ("a+b", "a+b"),
            ("%2e%2e/x", "../x"), // refused by `canonical` afterwards
        ] {
            assert_eq!(decode_path(raw).ok().as_deref(), Some(want), "{raw}");
        }
        for raw in ["a%2Fb", "a%2fb", "a%5Cb", "a%5c", "a%00", "a%", "a%2", "a%zz", "a%C3", "a/b%2f"] {
            assert!(decode_path(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn parameters_become_strings_and_lists() {
        let d = parse_parameters("version=2&x=a&x=b&x=c&flag&s=a+b%26&&e=").ok();
        assert_eq!(
            d.map(Value::Object),
            Some(serde_json::json!({"version": "2", "x": ["a", "b", "c"], "flag": "", "s": "a b&", "e": ""}))
        );
        assert!(parse_parameters("a=%zz").is_err());
        assert!(parse_parameters("a=%ff").is_err());
        assert!(parse_parameters(&"a&".repeat(MAX_PARAMETERS + 1)).is_err());
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(s in "\\PC{0,20}") {
            let raw: String = s.bytes().map(|b| format!("%{b:02x}")).collect();
            prop_assert_eq!(decode(&raw, false).and_then(|b| String::from_utf8(b).ok()), Some(s.clone()));
            match decode_path(&raw) {
                Ok(d) => prop_assert_eq!(d, s),
                Err(_) => prop_assert!(s.contains(['/', '\\', '\0'])),
            }
        }
    }
}
