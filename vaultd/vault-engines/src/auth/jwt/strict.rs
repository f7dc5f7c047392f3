//! JSON as a token may spell it: duplicate member names and deep nesting are refused.
//!
//! Two parsers that disagree on which of two `sub` members counts are two different logins.

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt;

/// The text is not the JSON that was asked for. Says nothing of its content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Parses one JSON object, at most `depth` levels deep.
pub(super) fn object(text: &str, depth: usize) -> Result<Map<String, Value>, Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed)?;
    let members = whole(text, |d| d.deserialize_map(Members))?;
    let mut map = Map::new();
    for (name, raw) in members {
        if map.insert(name, value(raw, depth)?).is_some() {
            return Err(Malformed);
        }
    }
    Ok(map)
}

fn value(raw: &RawValue, depth: usize) -> Result<Value, Malformed> {
    let text = raw.get();
    match text.bytes().next() {
        Some(b'{') => object(text, depth).map(Value::Object),
        Some(b'[') => {
            let depth = depth.checked_sub(1).ok_or(Malformed)?;
            let items = whole(text, |d| d.deserialize_seq(Items))?;
            items.into_iter().map(|raw| value(raw, depth)).collect::<Result<_, _>>().map(Value::Array)
        }
        // Strings, numbers and words hold no members.
        _ => serde_json::from_str(text).map_err(|_| Malformed),
    }
}

fn whole<'a, T>(
    text: &'a str,
    parse: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::StrRead<'a>>) -> serde_json::Result<T>,
) -> Result<T, Malformed> {
    let mut d = serde_json::Deserializer::from_str(text);
    let t = parse(&mut d).map_err(|_| Malformed)?;
    d.end().map_err(|_| Malformed)?;
    Ok(t)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

struct Items;

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_two_parsers_may_read_differently() {
        for bad in [
            "",
            "[]",
            "null",
            "{",
            "{}x",
            "{} {}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"b":[{"a":1,"a":2}]}"#,
            r#"{"a":01}"#,
            r#"{"a":1,}"#,
            r#"{'a':1}"#,
            r#"{"a":NaN}"#,
            r#"{"a":"\ud800"}"#,
        ] {
            assert!(object(bad, 8).is_err(), "{bad}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| format!("{}1{}", r#"{"a":"#.repeat(n), "}".repeat(n));
        assert!(object(&nested(8), 8).is_ok());
        assert!(object(&nested(9), 8).is_err());
        let lists = format!("{{\"a\":{}{}}}", "[".repeat(8), "]".repeat(8));
        assert!(object(&lists, 8).is_err());
    }

    #[test]
    fn a_member_named_like_the_librarys_marker_stays_an_object() {
        let m = object(r#"{"exp":{"$serde_json::private::Number":"99"}}"#, 8).unwrap();
        assert!(m["exp"].is_object());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn agrees_with_the_library_where_both_accept(s in r#"\{("[ab]":([0-9]{1,3}|"x"|\[1,2\]|\{"c":null\}),?){0,3}\}"#) {
            if let Ok(mine) = object(&s, 8) {
                prop_assert_eq!(Value::Object(mine), serde_json::from_str::<Value>(&s).unwrap());
            }
        }
    }
}
