//! The chain: every line ends in its number and a hash over the line before and itself.
//!
//! ```text
//! {"type":"request",…                ,"seq":17,"chain":"<64 hex digits>"}\n
//! |<------------- body ------------->|<----------- fixed tail ----------->|
//! chain(n) = SHA-256("vaultd-audit-chain-v1\0" || chain(n-1) || seq as u64 BE || SHA-256(body))
//! ```
//! It is not keyed, so that anybody can check a file; what ties it to the vault are the signed
//! checkpoints and the heads kept inside the barrier. The body is hashed before the writer's lock
//! is taken; only two hash blocks remain under it.

use super::json;
use sha2::{Digest, Sha256};

/// A chain value: 32 bytes.
pub(super) type Link = [u8; 32];

/// What the first line of a device's first file is chained to.
pub(super) const GENESIS: Link = [0; 32];

const DOMAIN: &[u8] = b"vaultd-audit-chain-v1\0";
const SEQ: &[u8] = b",\"seq\":";
const CHAIN: &[u8] = b",\"chain\":\"";
const END: &[u8] = b"\"}";

/// SHA-256 of a line's body.
pub(super) fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// The chain value of line `seq`.
pub(super) fn link(previous: &Link, seq: u64, digest: &[u8; 32]) -> Link {
    let mut h = Sha256::new();
    h.update(DOMAIN);
    h.update(previous);
    h.update(seq.to_be_bytes());
    h.update(digest);
    h.finalize().into()
}

/// Turns a body into a line.
pub(super) fn finish(body: &mut Vec<u8>, seq: u64, chain: &Link) {
    body.extend_from_slice(SEQ);
    json::number(body, seq);
    body.extend_from_slice(CHAIN);
    json::hex(body, chain);
    body.extend_from_slice(END);
    body.push(b'\n');
}

/// A line taken apart. Nothing is checked yet but its form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub body: &'a [u8],
    pub seq: u64,
    pub chain: Link,
}

impl<'a> Line<'a> {
    /// Reads a line without its newline, from the end.
    pub fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        let rest = line.strip_suffix(END)?;
        let (rest, chain) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
        let rest = rest.strip_suffix(CHAIN)?;
        let digits = rest.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let (rest, seq) = rest.split_at_checked(rest.len().checked_sub(digits)?)?;
        let body = rest.strip_suffix(SEQ)?;
        let seq_text = std::str::from_utf8(seq).ok()?;
        if !body.starts_with(b"{") || (seq_text.len() > 1 && seq_text.starts_with('0')) {
            return None;
        }
        Some(Line { body, seq: seq_text.parse().ok()?, chain: json::unhex(chain)? })
    }

    /// True when this line follows the one numbered `seq` with chain value `previous`.
    pub fn follows(&self, seq: u64, previous: &Link) -> bool {
        seq.checked_add(1) == Some(self.seq) && link(previous, self.seq, &digest(self.body)) == self.chain
    }

    /// True for lines of that type; the type is the first member of every line.
    pub fn is(&self, kind: &str) -> bool {
        self.body
            .strip_prefix(b"{\"type\":\"")
            .and_then(|b| b.strip_prefix(kind.as_bytes()))
            .is_some_and(|b| b.starts_with(b"\""))
    }
}
