//! Unseal and rekey progress: shares as they come in, bounded, and wiped when they are stale.

use crate::fault;
use crate::limits::{CEREMONY_TTL, MAX_SHARE_CHARS};
use base64::Engine as _;
use secmem::{Arena, Key, SecretBytes, Zeroizing};
use std::time::Instant;
use uuid::Uuid;
use vault_logical::{Error, Result};

/// Shares gathered so far, in the arena: a ceremony may stand open for minutes. Every share was
/// checked against the stored share hashes before it got here, so junk can neither fill nor stall it.
#[derive(Default)]
pub struct Progress {
    shares: Vec<Key>,
    nonce: Option<Uuid>,
    touched: Option<Instant>,
}

impl Progress {
    /// Drops shares that nobody completed in time.
    pub fn expire(&mut self) {
        if self.touched.is_some_and(|t| t.elapsed() > CEREMONY_TTL) {
            self.reset();
        }
    }

    pub fn reset(&mut self) {
        *self = Progress::default();
    }

    /// Takes one more share; a share that is already there changes nothing.
    pub fn add(&mut self, arena: &Arena, share: &SecretBytes) -> Result<()> {
        for known in &self.shares {
            if known.with(|k| secmem::ct::eq(k, share.as_slice())).map_err(|_| fault::sealed())? {
                return Ok(());
            }
        }
        let share = arena.from_slice(share.as_slice()).map_err(Error::internal)?;
        self.nonce.get_or_insert_with(Uuid::new_v4);
        self.touched = Some(Instant::now());
        self.shares.push(share);
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.shares.len()
    }

    pub fn nonce(&self) -> String {
        self.nonce.map(|n| n.to_string()).unwrap_or_default()
    }

    /// Takes the shares out; the progress starts anew.
    pub fn take(&mut self) -> Result<Vec<SecretBytes>> {
        let shares = self.copies();
        self.reset();
        shares
    }

    /// The shares given so far, which stay.
    pub fn copies(&self) -> Result<Vec<SecretBytes>> {
        let copy = |k: &Key| k.with(|bytes| SecretBytes::from(bytes.to_vec())).map_err(|_| fault::sealed());
        self.shares.iter().map(copy).collect()
    }
}

/// Reads a share as hex or base64. The error never quotes the input.
pub fn decode_share(text: &str) -> Result<SecretBytes> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::invalid(
            "'key' must be specified in request body as JSON, or 'reset' set to true",
        ));
    }
    if text.len() > MAX_SHARE_CHARS {
        return Err(Error::invalid("'key' is longer than any share"));
    }
    let mut buf = Zeroizing::new(vec![0u8; MAX_SHARE_CHARS]);
    if text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        let n = text.len() / 2;
        if let Some(out) = buf.get_mut(..n)
            && hex::decode_to_slice(text, out).is_ok()
        {
            return Ok(SecretBytes::from(Zeroizing::new(out.to_vec())));
        }
    }
    match base64::engine::general_purpose::STANDARD.decode_slice(text, &mut buf) {
        Ok(n) => Ok(SecretBytes::from(Zeroizing::new(buf.get(..n).map(<[u8]>::to_vec).unwrap_or_default()))),
        Err(_) => Err(Error::invalid("'key' must be a valid hex or base64 string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_hex_or_base64_and_errors_do_not_quote_them() {
        let raw: Vec<u8> = (0..33).collect();
        let b64 = base64::engine::general_purpose::STANDARD.encode(&raw);
        for text in [hex::encode(&raw), hex::encode_upper(&raw), b64, format!(" {}\n", hex::encode(&raw))] {
            assert_eq!(decode_share(&text).unwrap().as_slice(), raw);
        }
        for text in ["", "zz", "not a share!", &"a".repeat(257)] {
            let e = decode_share(text).unwrap_err();
            assert!(text.is_empty() || !e.message().contains(text));
        }
    }

    #[test]
    fn a_repeated_share_does_not_count_twice() {
        let arena = Arena::open(None).unwrap();
        let mut p = Progress::default();
        let add = |p: &mut Progress, byte| p.add(&arena, &SecretBytes::from(vec![byte; 33])).unwrap();
        add(&mut p, 1);
        let nonce = p.nonce();
        add(&mut p, 1);
        assert_eq!(p.len(), 1);
        add(&mut p, 2);
        assert_eq!((p.len(), p.nonce()), (2, nonce));
        let shares = p.take().unwrap();
        assert_eq!(shares.iter().map(|s| s.as_slice().to_vec()).collect::<Vec<_>>(), [[1; 33], [2; 33]]);
        assert_eq!(arena.used(), 0, "taken means gone");
        assert_eq!((p.len(), p.nonce().as_str()), (0, ""));
    }
}
