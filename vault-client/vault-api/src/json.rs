//! The one reader of JSON whose values are kept: strict (RFC 8259), bounded, and exact.
//!
//! `serde_json::Value` cannot be read with `serde_json` itself here: it takes an object whose first
//! member is named like one of its own markers (`$serde_json::private::Number`, `…::RawValue`) for
//! a number or for raw text, so that a secret would come back as something else or not at all; it
//! also keeps the last of two equal names, and rewrites exponents. So whatever holds values of any
//! shape (request bodies, stored secrets, claims, answers) is read by [`object`] and [`value`], or
//! as a member of a larger type by [`member`]. Types of known shape may be derived.

use crate::Map;
use secrecy::zeroize::Zeroize;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Number, Value};
use std::fmt;

/// Why a text was refused. Holds no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// What is wrong.
    pub reason: &'static str,
    /// Bytes from the start of the text.
    pub offset: usize,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to parse JSON input: {} at byte {}", self.reason, self.offset)
    }
}

impl std::error::Error for JsonError {}

/// The reason of a text that names one member of an object twice.
pub const DUPLICATE_KEY: &str = "duplicate key";

/// How much a text may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Levels of objects and lists; bounds the reader's stack.
    pub depth: usize,
    /// Objects, lists, strings, numbers and words together, the outermost object not counted.
    pub values: usize,
    /// Digits, signs and points of one number.
    pub number_bytes: usize,
}

impl Bounds {
    /// For a text whose size somebody has already bounded: a stored record, an answer, a file.
    pub const SIZED: Bounds = Bounds { depth: 128, values: usize::MAX, number_bytes: usize::MAX };
}

/// Reads one object.
///
/// # Errors
/// Anything that is not one object, or that two readers could read differently.
pub fn object(text: &str, bounds: &Bounds) -> Result<Map, JsonError> {
    whole(text, bounds, |p| match p.peek() {
        Some(b'{') => p.object(1),
        _ => Err(p.fail("the body must be an object")),
    })
}

/// Reads one value of any kind.
///
/// # Errors
/// As [`object`].
pub fn value(text: &str, bounds: &Bounds) -> Result<Value, JsonError> {
    whole(text, bounds, |p| p.value(1))
}

/// For `#[serde(deserialize_with = "…")]` on a member that holds an object of any shape.
///
/// # Errors
/// As [`object`]; the message quotes nothing.
pub fn member<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
    // The text may be a secret.
    let mut text = Box::<str>::from(Box::<RawValue>::deserialize(deserializer)?);
    let found = object(&text, &Bounds::SIZED).map_err(serde::de::Error::custom);
    text.zeroize();
    found
}

fn whole<'a, T>(
    text: &'a str,
    bounds: &'a Bounds,
    read: impl FnOnce(&mut Parser<'a>) -> Result<T, JsonError>,
) -> Result<T, JsonError> {
    let mut p = Parser { text, at: 0, values: 0, bounds };
    p.space();
    let found = read(&mut p)?;
    p.space();
    match p.peek() {
        None => Ok(found),
        Some(_) => Err(p.fail("trailing characters")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    values: usize,
    bounds: &'a Bounds,
}

impl<'a> Parser<'a> {
    fn fail(&self, reason: &'static str) -> JsonError {
        JsonError { reason, offset: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.values += 1;
        if self.values > self.bounds.values {
            return Err(self.fail("too many values"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth).map(Value::Object),
            Some(b'[') => self.array(depth).map(Value::Array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) => Err(self.fail("unexpected character")),
            None => Err(self.fail("unexpected end")),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.fail("unexpected character"))
    }

    fn enter(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > self.bounds.depth {
            return Err(self.fail("nested too deeply"));
        }
        self.at += 1; // the bracket the caller saw
        self.space();
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<Map, JsonError> {
        self.enter(depth)?;
        let mut map = Map::new();
        if self.eat(b'}') {
            return Ok(map);
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.fail("expected a key"));
            }
            let start = self.at;
            let key = self.string()?;
            if map.contains_key(&key) {
                return Err(JsonError { reason: DUPLICATE_KEY, offset: start });
            }
            self.space();
            if !self.eat(b':') {
                return Err(self.fail("expected ':'"));
            }
            self.space();
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            if self.separator(b'}')? {
                return Ok(map);
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value>, JsonError> {
        self.enter(depth)?;
        let mut list = Vec::new();
        if self.eat(b']') {
            return Ok(list);
        }
        loop {
            list.push(self.value(depth + 1)?);
            if self.separator(b']')? {
                return Ok(list);
            }
        }
    }

    /// After an element: `true` at the closing bracket, `false` after a comma.
    fn separator(&mut self, close: u8) -> Result<bool, JsonError> {
        self.space();
        if self.eat(close) {
            return Ok(true);
        }
        if !self.eat(b',') {
            return Err(self.fail("expected ',' or the closing bracket"));
        }
        self.space();
        Ok(false)
    }

    fn number(&mut self) -> Result<Number, JsonError> {
        let start = self.at;
        let _ = self.eat(b'-');
        if !self.eat(b'0') && self.digits() == 0 {
            return Err(self.fail("invalid number"));
        }
        if self.eat(b'.') && self.digits() == 0 {
            return Err(self.fail("invalid number"));
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            if self.digits() == 0 {
                return Err(self.fail("invalid number"));
            }
        }
        let text = self.since(start);
        if text.len() > self.bounds.number_bytes {
            return Err(JsonError { reason: "number is too long", offset: start });
        }
        // As it was written: the library's own parser would spell `1E5` as `1e+5`. The text has just
        // been checked, which is all that the name asks for.
        Ok(Number::from_string_unchecked(text.to_owned()))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1; // the opening quote the caller saw
        let mut out = String::new();
        loop {
            let start = self.at;
            while let Some(b) = self.peek() {
                if b == b'"' || b == b'\\' || b < 0x20 {
                    break;
                }
                self.at += 1;
            }
            let run = self.since(start);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    if out.is_empty() {
                        return Ok(run.to_owned());
                    }
                    out.push_str(run);
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(run);
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(_) => return Err(self.fail("control character in a string")),
                None => return Err(self.fail("unexpected end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.fail("invalid escape")),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let first = self.hex4()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !(self.eat(b'\\') && self.eat(b'u')) {
                    return Err(self.fail("lone surrogate"));
                }
                let second = self.hex4()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(self.fail("lone surrogate"));
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| self.fail("lone surrogate"))
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.fail("invalid escape"))?;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests;
