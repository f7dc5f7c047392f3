//! `key=value` arguments. A value is text, `@file`, or `-` for standard input; `\@x` is the text
//! `@x`. A lone `@file` or `-` is a JSON object with every field.

use crate::failure::Failure;
use crate::io::{Io, read_text};
use serde_json::Value;
use std::fs::File;
use vault_api::Map;
use vault_api::json::{self, Bounds};
use zeroize::Zeroizing;

/// Reads the arguments into an object, in which later ones win. Values are strings, except those
/// of a JSON object.
///
/// # Errors
/// Names the argument by its key, never by its value.
pub fn parse(arguments: &[String], io: &mut Io<'_>) -> Result<Map, Failure> {
    let mut out = Map::new();
    let mut input_used = false;
    for argument in arguments {
        match argument.split_once('=') {
            Some(("", _)) => return Err(Failure::local("an argument begins with =: write key=value")),
            Some((key, value)) => {
                let text = value_text(key, value, io, &mut input_used)?;
                out.insert(key.to_owned(), Value::String(text));
            }
            None => out.extend(object(argument, io, &mut input_used)?),
        }
    }
    Ok(out)
}

fn value_text(key: &str, value: &str, io: &mut Io<'_>, used: &mut bool) -> Result<String, Failure> {
    if value == "-" {
        return Ok(std::mem::take(&mut *input(io, used)?));
    }
    if let Some(literal) = value.strip_prefix("\\@") {
        return Ok(format!("@{literal}"));
    }
    match value.strip_prefix('@') {
        Some(path) => {
            let mut text =
                file(path).map_err(|f| Failure::local(format!("value of {key}: {}", f.message)))?;
            Ok(std::mem::take(&mut *text))
        }
        None => Ok(value.to_owned()),
    }
}

/// A lone argument: a JSON object from a file or from standard input.
fn object(argument: &str, io: &mut Io<'_>, used: &mut bool) -> Result<Map, Failure> {
    let text = match argument.strip_prefix('@') {
        Some(path) => file(path)?,
        None if argument == "-" => input(io, used)?,
        None => {
            let message = "an argument is neither key=value, nor @file, nor -";
            return Err(Failure::local(message).advise(
                "Write key=value. To keep a value out of the shell's history write key=@file, or key=- and \
                 give it on standard input.",
            ));
        }
    };
    let what = if argument == "-" { "standard input" } else { argument };
    json::object(&text, &Bounds::SIZED).map_err(|e| {
        let before = text.get(..e.offset).unwrap_or(&text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        Failure::local(format!("{what}: not a JSON object ({}, line {line}, column {column})", e.reason))
    })
}

fn input(io: &mut Io<'_>, used: &mut bool) -> Result<Zeroizing<String>, Failure> {
    if std::mem::replace(used, true) {
        return Err(Failure::local("standard input can be given for one value only"));
    }
    io.read_input()
}

/// The text of a file.
///
/// # Errors
/// When it cannot be read.
pub fn file(path: &str) -> Result<Zeroizing<String>, Failure> {
    let mut file = File::open(path).map_err(|e| Failure::local(format!("{path}: {e}")))?;
    read_text(&mut file, path)
}

/// `key=value` pairs of text, for flags such as `-metadata`.
///
/// # Errors
/// For one without `=`.
pub fn pairs(arguments: &[String]) -> Result<std::collections::BTreeMap<String, String>, Failure> {
    let pair = |a: &String| {
        a.split_once('=')
            .filter(|(k, _)| !k.is_empty())
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .ok_or_else(|| Failure::local(format!("{a:?}: write key=value")))
    };
    arguments.iter().map(pair).collect()
}

/// Version numbers: `1,2` or several arguments.
///
/// # Errors
/// For what is no number, and for none at all.
pub fn versions(arguments: &[String]) -> Result<Vec<u64>, Failure> {
    let all: Result<Vec<u64>, _> =
        arguments.iter().flat_map(|a| a.split(',')).map(|v| v.trim().parse()).collect();
    match all {
        Ok(v) if !v.is_empty() && !v.contains(&0) => Ok(v),
        _ => Err(Failure::local("-versions takes version numbers, such as 1,2")),
    }
}

/// Seconds of a duration such as `90`, `5m`, `24h` or `7d`.
///
/// # Errors
/// For anything else.
pub fn seconds(text: &str) -> Result<u64, Failure> {
    let wrong = || Failure::local(format!("{text:?} is not a duration: write 90s, 5m, 24h or 7d"));
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split).ok_or_else(wrong)?;
    let n: u64 = number.parse().map_err(|_| wrong())?;
    let each = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wrong()),
    };
    n.checked_mul(each).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn parsed(arguments: &[&str], input: &str) -> Result<Value, String> {
        let mut world = World::new().input(input);
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        world.with(|io| parse(&arguments, io)).map(Value::Object).map_err(|f| f.message)
    }

    #[test]
    fn values_come_from_text_files_and_input() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("v");
        std::fs::write(&text, "from file\n").unwrap();
        let object = dir.path().join("o.json");
        std::fs::write(&object, r#"{"n": 12345678901234567890123, "a": "old"}"#).unwrap();
        let at = |p: &std::path::Path| format!("@{}", p.display());
        let v =
            parsed(&[&at(&object), "a=b=c", &format!("f={}", at(&text)), "i=-", r"e=\@x", "empty="], "typed")
                .unwrap();
        assert_eq!(
            v.to_string(),
            r#"{"a":"b=c","e":"@x","empty":"","f":"from file\n","i":"typed","n":12345678901234567890123}"#
        );
        assert_eq!(parsed(&["-"], r#"{"x":[1]}"#).unwrap().to_string(), r#"{"x":[1]}"#);
    }

    #[test]
    fn errors_do_not_repeat_values() {
        for (arguments, input) in [
            (&["hunter2"][..], ""),
            (&["=hunter2"], ""),
            (&["k=@/nonexistent/hunter2x"], ""),
            (&["-"], "hunter2"),
            (&["-"], "[\"hunter2\"]"),
            (&["a=-", "b=-"], "hunter2"),
        ] {
            let e = parsed(arguments, input).unwrap_err();
            assert!(!e.contains("hunter2") || e.contains("/nonexistent"), "{e}");
        }
    }

    #[test]
    fn durations_and_versions() {
        assert_eq!(
            (seconds("90").unwrap(), seconds("5m").unwrap(), seconds("7d").unwrap()),
            (90, 300, 604_800)
        );
        for bad in ["", "x", "1y", "-1", "1.5h", "99999999999999999999h", "ü"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!(versions(&["1,2".into(), "3".into()]).unwrap(), [1, 2, 3]);
        for bad in [vec![], vec!["0".to_owned()], vec!["1,,2".to_owned()], vec!["x".to_owned()]] {
            assert!(versions(&bad).is_err());
        }
    }
}
