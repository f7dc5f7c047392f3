//! A request body: one JSON object (RFC 8259), read strictly and within bounds.

use crate::limits::{MAX_JSON_NUMBER_BYTES, MAX_JSON_VALUES};
use vault_api::json::{self, Bounds, JsonError};
use vault_logical::Data;
use vault_logical::limits::MAX_JSON_DEPTH;

const BODY: Bounds =
    Bounds { depth: MAX_JSON_DEPTH, values: MAX_JSON_VALUES, number_bytes: MAX_JSON_NUMBER_BYTES };

/// Reads a body that is one JSON object; an empty body is an empty object.
pub fn parse_object(body: &[u8]) -> Result<Data, JsonError> {
    let text = std::str::from_utf8(body)
        .map_err(|e| JsonError { reason: "invalid UTF-8", offset: e.valid_up_to() })?;
    if text.bytes().all(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')) {
        return Ok(Data::new());
    }
    json::object(text, &BODY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_object_or_nothing_and_bounded() {
        for empty in ["", " \n", "{}", " { } "] {
            assert_eq!(parse_object(empty.as_bytes()).unwrap(), Data::new());
        }
        let reason = |body: &str| parse_object(body.as_bytes()).expect_err("refused").reason;
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}").expect_err("bytes").reason, "invalid UTF-8");
        let nest = |n: usize| format!("{{\"a\":{}1{}}}", "[".repeat(n), "]".repeat(n));
        assert!(parse_object(nest(MAX_JSON_DEPTH - 1).as_bytes()).is_ok());
        assert_eq!(reason(&nest(MAX_JSON_DEPTH)), "nested too deeply");
        assert_eq!(reason(&format!("{{\"a\":[{}1]}}", "1,".repeat(MAX_JSON_VALUES))), "too many values");
        assert_eq!(
            reason(&format!("{{\"a\":{}}}", "9".repeat(MAX_JSON_NUMBER_BYTES + 1))),
            "number is too long"
        );
    }
}
