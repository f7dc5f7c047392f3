use super::*;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { depth: 8, values: 100, number_bytes: 64 };

fn reason(body: &str) -> &'static str {
    object(body, &BOUNDS).expect_err(body).reason
}

fn sized(body: &[u8]) -> Result<Map, JsonError> {
    let text = std::str::from_utf8(body).map_err(|_| JsonError { reason: "UTF-8", offset: 0 })?;
    object(text, &Bounds::SIZED)
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
}

#[test]
fn depth_and_size_are_bounded() {
    let nest = |n: usize| format!("{{\"a\":{}1{}}}", "[".repeat(n), "]".repeat(n));
    assert!(object(&nest(BOUNDS.depth - 1), &BOUNDS).is_ok());
    assert_eq!(reason(&nest(BOUNDS.depth)), "nested too deeply");
    assert_eq!(reason(&format!("{{\"a\":{}", "[".repeat(1_000_000))), "nested too deeply");
    assert_eq!(reason(&format!("{{\"a\":[{}1]}}", "1,".repeat(BOUNDS.values))), "too many values");
    assert_eq!(reason(&format!("{{\"a\":{}}}", "9".repeat(BOUNDS.number_bytes + 1))), "number is too long");
    assert!(object(&nest(1_000_000), &Bounds::SIZED).is_err());
}

#[test]
fn numbers_are_numbers() {
    let d = sized(br#" {"a":12345678901234567890123,"c":-0,"d":18446744073709551615,"e":1E2} "#).unwrap();
    assert_eq!(d.get("a").map(ToString::to_string).as_deref(), Some("12345678901234567890123"));
    assert_eq!(d.get("d").and_then(Value::as_u64), Some(u64::MAX));
    assert_eq!(d.get("e").and_then(Value::as_f64), Some(100.0));
}

/// Names that a library gives a meaning of its own, and those near them.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("$serde_json::private::Number".to_owned()),
        Just("$serde_json::private::RawValue".to_owned()),
        Just("$toml::private::datetime".to_owned()),
        Just("$hcl::private".to_owned()),
        Just("__proto__".to_owned()),
        Just(String::new()),
        "\\PC{0,6}",
    ]
}

fn under_hostile_names() -> impl Strategy<Value = Map> {
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(Value::from("99")),
        Just(Value::from("abc")),
        Just(Value::from("{\"a\":1}")),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let any = leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(hostile(), inner, 0..3)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    });
    prop::collection::btree_map(hostile(), any, 0..4).prop_map(|m| m.into_iter().collect())
}

#[derive(serde::Serialize, Deserialize)]
struct Holder {
    #[serde(deserialize_with = "member")]
    m: Map,
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

fn document() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("\\PC{0,6}", json(), 0..6)
        .prop_map(|m| Value::Object(m.into_iter().collect()))
}

/// `serde_json` as the oracle: it keeps the last of two equal keys, everything else must agree.
fn agrees_with_serde(body: &[u8]) -> Result<(), TestCaseError> {
    let oracle = serde_json::from_slice::<Value>(body);
    match (sized(body), oracle) {
        (Ok(ours), Ok(Value::Object(theirs))) => {
            // Read again by the oracle, which spells exponents its own way.
            let again: Value = serde_json::from_str(&serde_json::to_string(&ours).unwrap()).unwrap();
            prop_assert_eq!(again, Value::Object(theirs));
        }
        (Ok(_), _) => prop_assert!(false, "accepted alone"),
        (Err(e), Ok(Value::Object(_))) => prop_assert_eq!(e.reason, DUPLICATE_KEY),
        (Err(_), _) => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn equals_serde_on_documents(v in document(), pretty in any::<bool>()) {
        let body = if pretty { serde_json::to_vec_pretty(&v).unwrap() } else { serde_json::to_vec(&v).unwrap() };
        prop_assert_eq!(Value::Object(sized(&body).unwrap()), v);
        agrees_with_serde(&body)?;
    }

    #[test]
    fn agrees_with_serde_on_damaged_documents(
        v in document(),
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
    fn numbers_keep_their_text(n in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?") {
        let text = format!("{{\"n\":{n}}}");
        let d = sized(text.as_bytes()).unwrap();
        prop_assert_eq!(d.get("n").unwrap().to_string(), n);
        prop_assert_eq!(serde_json::to_string(&d).unwrap(), text);
    }

    /// Whatever a member is named, what was accepted comes back as it was: read alone, as a
    /// member of a stored record, and out of a `Value`.
    #[test]
    fn no_name_has_a_meaning(v in under_hostile_names()) {
        let text = serde_json::to_string(&v).unwrap();
        prop_assert_eq!(&sized(text.as_bytes()).unwrap(), &v);
        prop_assert_eq!(value(&text, &Bounds::SIZED).unwrap(), Value::Object(v.clone()));
        let held = serde_json::to_string(&Holder { m: v.clone() }).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Holder>(&held).unwrap().m, &v);
        let tree = serde_json::to_value(Holder { m: v.clone() }).unwrap();
        prop_assert_eq!(&serde_json::from_value::<Holder>(tree).unwrap().m, &v);
    }
}
