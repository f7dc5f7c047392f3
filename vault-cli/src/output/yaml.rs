//! JSON values as YAML: block style, keys in order, and quotes wherever a plain word could be read
//! as something else.

use serde_json::Value;
use std::fmt::Write as _;

/// The document, with a line break at its end.
pub fn render(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(m) if !m.is_empty() => block(value, 0, &mut out),
        Value::Array(a) if !a.is_empty() => block(value, 0, &mut out),
        _ => {
            scalar(value, &mut out);
            out.push('\n');
        }
    }
    out
}

/// A collection that is not empty, each entry on its own line.
fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) => {
            for (key, v) in map {
                let _ = write!(out, "{:indent$}", "");
                text(key, out);
                out.push(':');
                nested(v, indent + 2, out);
            }
        }
        Value::Array(items) => {
            for v in items {
                let _ = write!(out, "{:indent$}-", "");
                nested(v, indent + 2, out);
            }
        }
        _ => {}
    }
}

fn nested(value: &Value, indent: usize, out: &mut String) {
    let empty = match value {
        Value::Object(m) => m.is_empty(),
        Value::Array(a) => a.is_empty(),
        _ => true,
    };
    if empty {
        out.push(' ');
        scalar(value, out);
        out.push('\n');
    } else {
        out.push('\n');
        block(value, indent, out);
    }
}

fn scalar(value: &Value, out: &mut String) {
    match value {
        Value::String(s) => text(s, out),
        // null, booleans, numbers, {} and [] are the same in both.
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// A JSON string is a YAML double-quoted scalar; plain words are left without quotes.
fn text(s: &str, out: &mut String) {
    if is_plain(s) {
        out.push_str(s);
    } else {
        // U+0085, U+2028 and U+2029 break lines in YAML but not in JSON.
        let quoted = Value::String(s.to_owned()).to_string();
        for c in quoted.chars() {
            match c {
                '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                    let _ = write!(out, "\\u{:04x}", u32::from(c));
                }
                c => out.push(c),
            }
        }
    }
}

fn is_plain(s: &str) -> bool {
    let word = s.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && s.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    word && !reserved.contains(&s.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_keep_their_type() {
        let v = json!({
            "a": "text", "b": true, "c": null, "d": 12, "e": "true", "f": "12", "g": "", "h": "x: y",
            "i": [], "j": {}, "k": ["a", {"z": 1, "y": [2]}, [3]], "l": "line\nbreak", "m/n": "hvs.a-b_c",
            "o": "- x", "p": "Yes", "q": "\u{85}\"", "r": "#c", "3": "*x"
        });
        assert_eq!(
            render(&v),
            "\"3\": \"*x\"\na: text\nb: true\nc: null\nd: 12\ne: \"true\"\nf: \"12\"\ng: \"\"\nh: \"x: y\"\n\
             i: []\nj: {}\nk:\n  - a\n  -\n    \"y\":\n      - 2\n    z: 1\n  -\n    - 3\nl: \"line\\nbreak\"\n\
             m/n: hvs.a-b_c\no: \"- x\"\np: \"Yes\"\nq: \"\\u0085\\\"\"\nr: \"#c\"\n"
        );
        assert_eq!(render(&json!("x")), "x\n");
        assert_eq!(render(&json!({})), "{}\n");
    }
}
