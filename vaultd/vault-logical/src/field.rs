//! Reading typed fields out of a request body, with Vault's coercions: durations as seconds or
//! `"1h"`, numbers and booleans as strings, lists as JSON arrays or comma-separated strings.

use crate::limits::MAX_DURATION_SECS;
use crate::{Data, Error, Result};
use serde_json::Value;
use std::time::Duration;

fn bad(name: &str, want: &str) -> Error {
    Error::invalid(format!("field \"{name}\" must be {want}"))
}

/// A string field; numbers and booleans are accepted as their text.
pub fn string(data: &Data, name: &str) -> Result<Option<String>> {
    match data.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok(Some(s.clone())),
        Some(Value::Number(n)) => Ok(Some(n.to_string())),
        Some(Value::Bool(b)) => Ok(Some(b.to_string())),
        Some(_) => Err(bad(name, "a string")),
    }
}

/// A string field that must be present and not empty.
pub fn required(data: &Data, name: &str) -> Result<String> {
    match string(data, name)? {
        Some(s) if !s.is_empty() => Ok(s),
        _ => Err(Error::invalid(format!("missing required field \"{name}\""))),
    }
}

pub fn boolean(data: &Data, name: &str) -> Result<Option<bool>> {
    match data.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(b)) => Ok(Some(*b)),
        Some(Value::String(s)) => match s.as_str() {
            "true" | "True" | "TRUE" | "1" | "t" => Ok(Some(true)),
            "false" | "False" | "FALSE" | "0" | "f" | "" => Ok(Some(false)),
            _ => Err(bad(name, "a boolean")),
        },
        Some(Value::Number(n)) => match n.as_u64() {
            Some(0) => Ok(Some(false)),
            Some(1) => Ok(Some(true)),
            _ => Err(bad(name, "a boolean")),
        },
        Some(_) => Err(bad(name, "a boolean")),
    }
}

pub fn unsigned(data: &Data, name: &str) -> Result<Option<u64>> {
    match data.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(n)) => n.as_u64().map(Some).ok_or_else(|| bad(name, "a non-negative integer")),
        Some(Value::String(s)) => s.trim().parse().map(Some).map_err(|_| bad(name, "a non-negative integer")),
        Some(_) => Err(bad(name, "a non-negative integer")),
    }
}

/// Seconds, `"90"`, `"1h30m"`, `"2d"`, `"500ms"`.
pub fn duration(data: &Data, name: &str) -> Result<Option<Duration>> {
    match data.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(n)) => match n.as_u64() {
            Some(s) if s <= MAX_DURATION_SECS => Ok(Some(Duration::from_secs(s))),
            _ => Err(bad(name, "a duration in seconds or like \"1h\"")),
        },
        Some(Value::String(s)) => {
            parse_duration(s).map(Some).ok_or_else(|| bad(name, "a duration in seconds or like \"1h\""))
        }
        Some(_) => Err(bad(name, "a duration in seconds or like \"1h\"")),
    }
}

/// Parses Go's duration form with `d` added; a bare number is seconds; `""` is zero.
pub fn parse_duration(s: &str) -> Option<Duration> {
    let s = s.trim();
    if s.is_empty() {
        return Some(Duration::ZERO);
    }
    if let Ok(secs) = s.parse::<u64>() {
        return (secs <= MAX_DURATION_SECS).then(|| Duration::from_secs(secs));
    }
    let mut rest = s;
    let mut total = 0f64;
    while !rest.is_empty() {
        let n = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest.get(..n)?.parse().ok()?;
        rest = rest.get(n..)?;
        let u = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += value
            * match rest.get(..u)? {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return None,
            };
        rest = rest.get(u..)?;
    }
    (total.is_finite() && total <= MAX_DURATION_SECS as f64)
        .then(|| Duration::from_nanos((total * 1e9).round() as u64))
}

/// A list of strings: JSON array of strings, or one comma-separated string.
pub fn strings(data: &Data, name: &str) -> Result<Option<Vec<String>>> {
    match data.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => {
            Ok(Some(s.split(',').map(str::trim).filter(|x| !x.is_empty()).map(str::to_string).collect()))
        }
        Some(Value::Array(a)) => a
            .iter()
            .map(|v| match v {
                Value::String(s) => Ok(s.clone()),
                Value::Number(n) => Ok(n.to_string()),
                _ => Err(bad(name, "a list of strings")),
            })
            .collect::<Result<_>>()
            .map(Some),
        Some(_) => Err(bad(name, "a list of strings")),
    }
}

/// A list of non-negative integers: array or comma-separated string.
pub fn integers(data: &Data, name: &str) -> Result<Option<Vec<u64>>> {
    match data.get(name) {
        Some(Value::Number(n)) => {
            n.as_u64().map(|n| Some(vec![n])).ok_or_else(|| bad(name, "a list of integers"))
        }
        _ => match strings(data, name)? {
            None => Ok(None),
            Some(v) => v
                .iter()
                .map(|s| s.parse().map_err(|_| bad(name, "a list of integers")))
                .collect::<Result<_>>()
                .map(Some),
        },
    }
}

/// A JSON object of strings (`meta`, `options`, `custom_metadata`).
pub fn string_map(data: &Data, name: &str) -> Result<Option<std::collections::BTreeMap<String, String>>> {
    match data.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(m)) => m
            .iter()
            .map(|(k, v)| match v {
                Value::String(s) => Ok((k.clone(), s.clone())),
                Value::Number(n) => Ok((k.clone(), n.to_string())),
                Value::Bool(b) => Ok((k.clone(), b.to_string())),
                _ => Err(bad(name, "an object of strings")),
            })
            .collect::<Result<_>>()
            .map(Some),
        Some(_) => Err(bad(name, "an object of strings")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(v: Value) -> Data {
        let mut m = Data::new();
        m.insert("f".into(), v);
        m
    }

    #[test]
    fn durations_as_vault_takes_them() {
        for (text, secs) in [
            ("0", 0.0),
            ("90", 90.0),
            ("1h30m", 5400.0),
            ("2d", 172_800.0),
            ("500ms", 0.5),
            ("1.5h", 5400.0),
            ("", 0.0),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_secs_f64(secs)), "{text}");
        }
        for text in ["-1", "h", "1x", "1h-", "1e9", "999999999999999999999", "9999999999h", "1 h", "."] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn coercions() {
        assert_eq!(unsigned(&d("7".into()), "f").ok().flatten(), Some(7));
        assert!(unsigned(&d((-1).into()), "f").is_err());
        assert!(boolean(&d("yes".into()), "f").is_err());
        assert_eq!(
            strings(&d("a, b,,c".into()), "f").ok().flatten(),
            Some(vec!["a".into(), "b".into(), "c".into()])
        );
        assert_eq!(integers(&d(serde_json::json!([1, "2"])), "f").ok().flatten(), Some(vec![1, 2]));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_duration_parser_panic(s in ".{0,40}") {
            let _ = parse_duration(&s);
        }
    }
}
