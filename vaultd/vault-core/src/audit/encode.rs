//! Records as bytes. Texts to be hashed leave a gap in the output and are hashed afterwards, all
//! of a record in one use of the key, so that the key schedule is computed once.

use super::identity::DeviceHashes;
use super::limits::{MAX_LIST_BYTES, MAX_TEXT_BYTES};
use super::{AuditError, DeviceConfig, json};
use hmac::{Hmac, KeyInit, Mac};
use secmem::Key;
use sha2::Sha256;
use std::collections::BTreeMap;
use vault_logical::Timestamp;

const HASH_PREFIX: &[u8] = b"hmac-sha256:";
/// Last entry of a list or map that was cut at [`MAX_LIST_BYTES`].
const CUT: &str = "vaultd:cut";

pub(super) enum Input<'a> {
    Text(&'a [u8]),
    Digest([u8; 32]),
}

/// A hash still to be written at `at`.
pub(super) struct Gap<'a> {
    at: usize,
    input: Input<'a>,
}

/// One record in the making, for one device.
pub(super) struct Encoder<'a> {
    pub(super) out: Vec<u8>,
    pub(super) gaps: Vec<Gap<'a>>,
    config: &'a DeviceConfig,
}

impl<'a> Encoder<'a> {
    /// Starts a record: `{"type":kind,"time":…`.
    pub fn new(config: &'a DeviceConfig, kind: &str, time: Timestamp) -> Self {
        let mut e = Encoder { out: Vec::with_capacity(1536), gaps: Vec::with_capacity(16), config };
        e.out.extend_from_slice(b"{\"type\":\"");
        e.out.extend_from_slice(kind.as_bytes());
        e.out.push(b'"');
        e.text("time", &time.rfc3339());
        e
    }

    /// Hashes what is to be hashed and hands out the body, still without its closing tail.
    pub fn finish(mut self, key: &Key) -> Result<Vec<u8>, AuditError> {
        if self.gaps.is_empty() {
            return Ok(self.out);
        }
        let (out, gaps) = (&mut self.out, &self.gaps);
        let filled = key.with(|k| {
            let Ok(mac) = Hmac::<Sha256>::new_from_slice(k) else { return false };
            gaps.iter().all(|gap| {
                let mut mac = mac.clone();
                mac.update(match &gap.input {
                    Input::Text(t) => t,
                    Input::Digest(d) => d,
                });
                fill(out, gap.at, &mac.finalize().into_bytes())
            })
        })?;
        if filled { Ok(self.out) } else { Err(AuditError::Key("hashing failed".into())) }
    }

    /// The body of a line that has nothing to hash.
    pub fn plain(self) -> Vec<u8> {
        debug_assert!(self.gaps.is_empty());
        self.out
    }

    // --- structure ---

    /// `,"name":`, without the comma after an opening brace.
    pub fn name(&mut self, name: &str) {
        self.comma();
        json::string(&mut self.out, name);
        self.out.push(b':');
    }

    pub fn object(&mut self, name: &str, members: impl FnOnce(&mut Self)) {
        self.name(name);
        self.out.push(b'{');
        members(self);
        self.out.push(b'}');
    }

    /// An object as an array's element.
    pub fn element(&mut self, members: impl FnOnce(&mut Self)) {
        self.comma();
        self.out.push(b'{');
        members(self);
        self.out.push(b'}');
    }

    pub fn array(&mut self, name: &str, elements: impl FnOnce(&mut Self)) {
        self.name(name);
        self.out.push(b'[');
        elements(self);
        self.out.push(b']');
    }

    pub(super) fn comma(&mut self) {
        if !matches!(self.out.last(), Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }

    // --- members in clear ---

    pub fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        json::string(&mut self.out, cut(text));
    }

    /// Left out when empty.
    pub fn text_if(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.text(name, text);
        }
    }

    pub fn number(&mut self, name: &str, n: u64) {
        self.name(name);
        json::number(&mut self.out, n);
    }

    /// Left out when zero.
    pub fn number_if(&mut self, name: &str, n: u64) {
        if n != 0 {
            self.number(name, n);
        }
    }

    pub fn flag(&mut self, name: &str, on: bool) {
        self.name(name);
        self.out.extend_from_slice(if on { b"true" } else { b"false" });
    }

    /// An array of strings, left out when empty, cut when long.
    pub fn texts_if<S: AsRef<str>>(&mut self, name: &str, texts: &[S]) {
        if texts.is_empty() {
            return;
        }
        self.array(name, |e| {
            let start = e.out.len();
            for t in texts {
                e.comma();
                if e.out.len() - start > MAX_LIST_BYTES {
                    json::string(&mut e.out, CUT);
                    return;
                }
                json::string(&mut e.out, cut(t.as_ref()));
            }
        });
    }

    /// A map of strings, left out when empty, cut when long.
    pub fn map_if(&mut self, name: &str, map: Option<&BTreeMap<String, String>>) {
        let Some(map) = map.filter(|m| !m.is_empty()) else { return };
        self.object(name, |e| {
            let start = e.out.len();
            for (k, v) in map {
                if e.out.len() - start > MAX_LIST_BYTES {
                    e.flag(CUT, true);
                    return;
                }
                e.text(cut(k), v);
            }
        });
    }

    // --- hashed members ---

    /// A text as its keyed hash (in clear on a device that logs raw).
    pub fn hashed(&mut self, name: &str, text: &'a str) {
        self.name(name);
        self.hash_value(text);
    }

    /// A token: precomputed where the caller had it.
    pub fn token_if(&mut self, name: &str, token: &'a str, known: Option<&DeviceHashes>) {
        match known {
            _ if token.is_empty() => {}
            Some(k) if !self.config.log_raw => self.known(name, &k.token),
            _ => self.hashed(name, token),
        }
    }

    /// An accessor: hashed unless the device says otherwise.
    pub fn accessor_if(&mut self, name: &str, accessor: &'a str, known: Option<&DeviceHashes>) {
        match known {
            _ if accessor.is_empty() => {}
            _ if !self.config.hmac_accessor => self.text(name, accessor),
            Some(k) if !self.config.log_raw => self.known(name, &k.accessor),
            _ => self.hashed(name, accessor),
        }
    }

    /// A path: in clear unless the device hashes paths.
    pub fn path(&mut self, name: &str, path: &'a str) {
        if self.config.hmac_paths { self.hashed(name, path) } else { self.text(name, path) }
    }

    fn known(&mut self, name: &str, hash: &[u8; 32]) {
        self.name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(HASH_PREFIX);
        json::hex(&mut self.out, hash);
        self.out.push(b'"');
    }

    pub(super) fn hash_value(&mut self, text: &'a str) {
        if self.config.log_raw {
            json::string(&mut self.out, text);
        } else {
            self.gap(Input::Text(text.as_bytes()));
        }
    }

    pub(super) fn gap(&mut self, input: Input<'a>) {
        self.out.push(b'"');
        self.out.extend_from_slice(HASH_PREFIX);
        self.gaps.push(Gap { at: self.out.len(), input });
        self.out.resize(self.out.len() + 64, b'0');
        self.out.push(b'"');
    }
}

/// HMAC-SHA256 of one text, as `hmac-sha256:<hex>`.
pub(super) fn hash(key: &Key, text: &[u8]) -> Result<[u8; 32], AuditError> {
    key.with(|k| {
        let mut mac = Hmac::<Sha256>::new_from_slice(k).ok()?;
        mac.update(text);
        Some(mac.finalize().into_bytes().into())
    })?
    .ok_or_else(|| AuditError::Key("hashing failed".into()))
}

fn fill(out: &mut [u8], at: usize, mac: &[u8]) -> bool {
    match out.get_mut(at..at + 2 * mac.len()) {
        Some(place) => {
            json::hex_over(place, mac);
            true
        }
        None => false,
    }
}

/// The text up to [`MAX_TEXT_BYTES`], cut between characters.
fn cut(text: &str) -> &str {
    if text.len() <= MAX_TEXT_BYTES {
        return text;
    }
    let mut end = MAX_TEXT_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
