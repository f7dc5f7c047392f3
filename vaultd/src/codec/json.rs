//! A strict JSON reader for request bodies (RFC 8259): one object, no duplicate keys, bounded
//! depth and size, numbers kept as they were written.
//!
//! `serde_json` alone would keep the last of two equal keys, so that policy, audit and engine
//! could disagree with whatever looked at the body before us.

use crate::limits::{MAX_JSON_NUMBER_BYTES, MAX_JSON_VALUES};
use serde_json::{Number, Value};
use vault_logical::Data;
use vault_logical::limits::MAX_JSON_DEPTH;

/// Why a body was refused. Holds no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse JSON input: {reason} at byte {offset}")]
pub struct JsonError {
    pub reason: &'static str,
    /// Bytes from the start of the body.
    pub offset: usize,
}

pub(crate) const DUPLICATE_KEY: &str = "duplicate key";

/// Reads a body that is one JSON object; an empty body is an empty object.
pub fn parse_object(body: &[u8]) -> Result<Data, JsonError> {
    let text = std::str::from_utf8(body)
        .map_err(|e| JsonError { reason: "invalid UTF-8", offset: e.valid_up_to() })?;
    let mut p = Parser { text, at: 0, values: 0 };
    p.space();
    let data = match p.peek() {
        None => return Ok(Data::new()),
        Some(b'{') => p.object(1)?,
        Some(_) => return Err(p.fail("the body must be an object")),
    };
    p.space();
    match p.peek() {
        None => Ok(data),
        Some(_) => Err(p.fail("trailing characters")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    values: usize,
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
        if self.values > MAX_JSON_VALUES {
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
        if depth > MAX_JSON_DEPTH {
            return Err(self.fail("nested too deeply"));
        }
        self.at += 1; // the bracket the caller saw
        self.space();
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<Data, JsonError> {
        self.enter(depth)?;
        let mut map = Data::new();
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
        if text.len() > MAX_JSON_NUMBER_BYTES {
            return Err(JsonError { reason: "number is too long", offset: start });
        }
        text.parse().map_err(|_| JsonError { reason: "invalid number", offset: start })
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
#[path = "json_tests.rs"]
mod tests;
