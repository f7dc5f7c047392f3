//! The `data` member: the walk that leaves keys, numbers and booleans readable and nothing else.

use super::encode::{Encoder, Input};
use super::limits::{MAX_DATA_BYTES, MAX_DATA_DEPTH, MAX_TEXT_BYTES};
use super::{Body, ClearKeys, json};
use serde_json::Value;
use sha2::{Digest, Sha256};
use vault_logical::Data;

/// Stands where nesting went deeper than [`MAX_DATA_DEPTH`].
const TOO_DEEP: &str = "vaultd:nested-too-deep";

/// Marks data too large to be written value by value.
struct TooLarge;

impl<'a> Encoder<'a> {
    /// The `data` member. With `elide`, the `keys` and `key_info` of a LIST become their counts.
    pub fn body(&mut self, body: Body<'a>, clear: ClearKeys<'a>, elide: bool) {
        match body {
            Body::None => {}
            Body::Raw(bytes) => self.object("data", |e| {
                e.object("raw", |e| {
                    e.number("bytes", bytes.len() as u64);
                    e.name("hmac");
                    e.gap(Input::Text(bytes));
                });
            }),
            Body::Fields(data) => {
                let (out, gaps) = (self.out.len(), self.gaps.len());
                if self.fields(data, clear, elide).is_err() {
                    self.out.truncate(out);
                    self.gaps.truncate(gaps);
                    self.elided(data);
                }
            }
        }
    }

    fn fields(&mut self, data: &'a Data, clear: ClearKeys<'a>, elide: bool) -> Result<(), TooLarge> {
        self.name("data");
        let limit = self.out.len() + MAX_DATA_BYTES;
        self.out.push(b'{');
        for (k, v) in data {
            self.key(k)?;
            match v {
                Value::Array(a) if elide && k == "keys" => json::number(&mut self.out, a.len() as u64),
                Value::Object(o) if elide && k == "key_info" => json::number(&mut self.out, o.len() as u64),
                v => {
                    let open = clear.engine.contains(&k.as_str()) || in_clear(clear, k);
                    self.value(v, clear, open, 1, limit)?;
                }
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Writes one value. `open`: its strings (and those of an array right here) stay in clear.
    fn value(
        &mut self,
        v: &'a Value,
        clear: ClearKeys<'a>,
        open: bool,
        depth: usize,
        limit: usize,
    ) -> Result<(), TooLarge> {
        match v {
            Value::Null => self.out.extend_from_slice(b"null"),
            Value::Bool(true) => self.out.extend_from_slice(b"true"),
            Value::Bool(false) => self.out.extend_from_slice(b"false"),
            Value::Number(n) => {
                let text = n.as_str();
                if text.len() > MAX_TEXT_BYTES {
                    return Err(TooLarge);
                }
                self.out.extend_from_slice(text.as_bytes());
            }
            Value::String(s) if open => {
                if s.len() > MAX_TEXT_BYTES {
                    return Err(TooLarge);
                }
                json::string(&mut self.out, s);
            }
            Value::String(s) => self.hash_value(s),
            Value::Array(_) | Value::Object(_) if depth >= MAX_DATA_DEPTH => {
                json::string(&mut self.out, TOO_DEEP)
            }
            Value::Array(a) => {
                self.out.push(b'[');
                for v in a {
                    self.comma();
                    let open = open && v.is_string();
                    self.value(v, clear, open, depth + 1, limit)?;
                }
                self.out.push(b']');
            }
            Value::Object(o) => {
                self.out.push(b'{');
                for (k, v) in o {
                    self.key(k)?;
                    self.value(v, clear, in_clear(clear, k), depth + 1, limit)?;
                }
                self.out.push(b'}');
            }
        }
        if self.out.len() > limit { Err(TooLarge) } else { Ok(()) }
    }

    fn key(&mut self, key: &str) -> Result<(), TooLarge> {
        if key.len() > MAX_TEXT_BYTES {
            return Err(TooLarge);
        }
        self.name(key);
        Ok(())
    }

    /// Stands for data beyond [`MAX_DATA_BYTES`]: the keyed hash of its SHA-256 and its size.
    fn elided(&mut self, data: &Data) {
        let mut sink = Hasher(Sha256::new(), 0);
        // The sink takes everything; a map of JSON values always serialises.
        let _ = serde_json::to_writer(&mut sink, data);
        self.object("data", |e| {
            e.object("elided", |e| {
                e.number("fields", data.len() as u64);
                e.number("bytes", sink.1);
                e.name("hmac");
                e.gap(Input::Digest(sink.0.finalize().into()));
            });
        });
    }
}

fn in_clear(clear: ClearKeys<'_>, key: &str) -> bool {
    clear.mount.iter().any(|k| k == key)
}

struct Hasher(Sha256, u64);

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        self.1 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
