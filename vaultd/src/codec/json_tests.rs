use super::*;
use proptest::prelude::*;

fn reason(body: &str) -> &'static str {
    parse_object(body.as_bytes()).expect_err(body).reason
}

#[test]
fn refuses_what_two_readers_could_read_differently() {
    for (body, want) in [
        (r#"{"a":1,"a":2}"#, DUPLICATE_KEY),
        (r#"{"a":1,"\u0061":2}"#, DUPLICATE_KEY),
        (r#"{"x":{"a":1,"a":1}}"#, DUPLICATE_KEY),
        (r#"{"a":1} {}"#, "trailing characters"),
        (r#"[1]"#, "the body must be an object"),
        (r#"null"#, "the body must be an object"),
        (r#"{"a":01}"#, "expected ',' or the closing bracket"),
        (r#"{"a":.5}"#, "unexpected character"),
        (r#"{"a":+1}"#, "unexpected character"),
        (r#"{"a":1.}"#, "invalid number"),
        (r#"{"a":1e}"#, "invalid number"),
        (r#"{"a":-}"#, "invalid number"),
        (r#"{"a":NaN}"#, "unexpected character"),
        (r#"{"a":"\x41"}"#, "invalid escape"),
        (r#"{"a":"\ud800"}"#, "lone surrogate"),
        (r#"{"a":"\ud800\u0041"}"#, "lone surrogate"),
        (r#"{"a":"\udc00"}"#, "lone surrogate"),
        ("{\"a\":\"\n\"}", "control character in a string"),
        (r#"{"a":1,}"#, "expected a key"),
        (r#"{a:1}"#, "expected a key"),
        (r#"{'a':1}"#, "expected a key"),
        (r#"{"a" 1}"#, "expected ':'"),
        (r#"{"a":[1 2]}"#, "expected ',' or the closing bracket"),
        (r#"{"a":tru}"#, "unexpected character"),
        (r#"{"a":"#, "unexpected end"),
        (r#"{"a":"b"#, "unexpected end"),
        ("{\"a\":1}//", "trailing characters"),
        ("\u{feff}{}", "the body must be an object"),
    ] {
        assert_eq!(reason(body), want, "{body}");
    }
    assert_eq!(parse_object(b"{\"a\":\"\xff\"}").expect_err("bytes").reason, "invalid UTF-8");
}

#[test]
fn depth_and_size_are_bounded() {
    let nest = |n: usize| format!("{{\"a\":{}1{}}}", "[".repeat(n), "]".repeat(n));
    assert!(parse_object(nest(MAX_JSON_DEPTH - 1).as_bytes()).is_ok());
    assert_eq!(reason(&nest(MAX_JSON_DEPTH)), "nested too deeply");
    assert_eq!(reason(&format!("{{\"a\":{}", "[".repeat(1_000_000))), "nested too deeply");
    assert_eq!(reason(&format!("{{\"a\":[{}1]}}", "1,".repeat(MAX_JSON_VALUES))), "too many values");
    assert_eq!(reason(&format!("{{\"a\":{}}}", "9".repeat(MAX_JSON_NUMBER_BYTES + 1))), "number is too long");
}

#[test]
fn numbers_and_empty_bodies() {
    let d =
        parse_object(br#" {"a":12345678901234567890123,"b":1.50,"c":-0,"d":18446744073709551615} "#).unwrap();
    let text = |k: &str| d.get(k).map(ToString::to_string);
    assert_eq!(text("a").as_deref(), Some("12345678901234567890123"));
    assert_eq!(text("b").as_deref(), Some("1.50"));
    assert_eq!(text("c").as_deref(), Some("-0"));
    assert_eq!(d.get("d").and_then(Value::as_u64), Some(u64::MAX));
    for empty in ["", " \n", "{}", " { } "] {
        assert_eq!(parse_object(empty.as_bytes()).unwrap(), Data::new());
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}|[\\x00-\\x7f]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-c\\\\\"é]{0,3}", inner, 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("\\PC{0,6}", json(), 0..6)
        .prop_map(|m| Value::Object(m.into_iter().collect()))
}

/// `serde_json` as the oracle: it keeps the last of two equal keys, everything else must agree.
fn agrees_with_serde(body: &[u8]) -> Result<(), TestCaseError> {
    let oracle = serde_json::from_slice::<Value>(body);
    match (parse_object(body), oracle) {
        (Ok(ours), Ok(Value::Object(theirs))) => prop_assert_eq!(ours, theirs),
        (Ok(ours), _) => prop_assert!(ours.is_empty() && body.trim_ascii().is_empty(), "accepted alone"),
        (Err(e), Ok(Value::Object(_))) => prop_assert_eq!(e.reason, DUPLICATE_KEY),
        (Err(_), _) => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn equals_serde_on_documents(v in object(), pretty in any::<bool>()) {
        let body = if pretty { serde_json::to_vec_pretty(&v).unwrap() } else { serde_json::to_vec(&v).unwrap() };
        prop_assert_eq!(Value::Object(parse_object(&body).unwrap()), v);
        agrees_with_serde(&body)?;
    }

    #[test]
    fn agrees_with_serde_on_damaged_documents(
        v in object(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4),
    ) {
        let mut body = serde_json::to_vec(&v).unwrap();
        for (at, byte, what) in edits {
            let i = at.index(body.len().max(1)).min(body.len().saturating_sub(1));
            let b = *b"{}[]\",:\\u0123eE+-. ntf/\n\x00\xff".get(usize::from(byte) % 26).unwrap();
            match what {
                0 => body.insert(i, b),
                1 if body.len() > 1 => { body.remove(i); }
                _ => if let Some(slot) = body.get_mut(i) { *slot = b },
            }
        }
        agrees_with_serde(&body)?;
    }

    #[test]
    fn numbers_keep_their_text(n in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?") {
        let d = parse_object(format!("{{\"n\":{n}}}").as_bytes()).unwrap();
        prop_assert_eq!(d.get("n").unwrap().to_string(), n);
    }
}
