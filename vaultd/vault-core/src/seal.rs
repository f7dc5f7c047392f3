//! Unseal and rekey progress: shares as they come in, bounded, and wiped when they are stale.

use crate::fault;
use crate::limits::{CEREMONY_TTL, MAX_SHARE_CHARS, MAX_SHARE_GIVERS};
use base64::Engine as _;
use secmem::{Arena, Key, SecretBytes, Zeroizing};
use std::net::IpAddr;
use std::time::Instant;
use uuid::Uuid;
use vault_logical::{Connection, Error, Result};

/// Shares gathered so far, in the arena: a ceremony may stand open for minutes. Every share was
/// checked against the stored share hashes before it got here, so junk can neither fill nor stall it.
#[derive(Default)]
pub struct Progress {
    shares: Vec<Given>,
    nonce: Option<Uuid>,
    touched: Option<Instant>,
}

/// A share and where it came from.
struct Given {
    share: Key,
    /// Everyone who gave it; it stays while one of them has not taken it back.
    from: Vec<Giver>,
}

/// Whose share it is: all that can be known of someone without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Giver {
    Address(IpAddr),
    /// The operator's unix socket, or an operation that asks for a token.
    Operator,
}

impl Giver {
    pub fn of(connection: &Connection) -> Giver {
        connection.remote.map_or(Giver::Operator, |a| Giver::Address(a.ip().to_canonical()))
    }
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
        self.add_from(arena, share, Giver::Operator)
    }

    /// The same, remembering who gave it.
    pub fn add_from(&mut self, arena: &Arena, share: &SecretBytes, giver: Giver) -> Result<()> {
        for known in &mut self.shares {
            if known.share.with(|k| secmem::ct::eq(k, share.as_slice())).map_err(|_| fault::sealed())? {
                if known.from.len() < MAX_SHARE_GIVERS && !known.from.contains(&giver) {
                    known.from.push(giver);
                }
                return Ok(());
            }
        }
        let share = arena.from_slice(share.as_slice()).map_err(Error::internal)?;
        self.nonce.get_or_insert_with(Uuid::new_v4);
        self.touched = Some(Instant::now());
        self.shares.push(Given { share, from: vec![giver] });
        Ok(())
    }

    /// Takes back what `giver` gave. What others gave stays, under the same nonce.
    pub fn take_back(&mut self, giver: Giver) {
        self.shares.iter_mut().for_each(|s| s.from.retain(|g| *g != giver));
        self.shares.retain(|s| !s.from.is_empty());
        if self.shares.is_empty() {
            self.reset();
        }
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
        self.shares.iter().map(|s| copy(&s.share)).collect()
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
    fn a_share_is_taken_back_by_those_who_gave_it() {
        let arena = Arena::open(None).unwrap();
        let (a, b) = (Giver::Address([10, 0, 0, 1].into()), Giver::Address([10, 0, 0, 2].into()));
        let mut p = Progress::default();
        let add = |p: &mut Progress, byte, giver| {
            p.add_from(&arena, &SecretBytes::from(vec![byte; 33]), giver).unwrap();
        };
        add(&mut p, 1, a);
        add(&mut p, 2, b);
        add(&mut p, 3, a);
        add(&mut p, 3, b);
        let nonce = p.nonce();
        p.take_back(Giver::Address([10, 0, 0, 3].into()));
        assert_eq!(p.len(), 3, "a stranger takes nothing");
        p.take_back(a);
        assert_eq!((p.len(), p.nonce()), (2, nonce), "what both gave stays");
        p.take_back(b);
        assert_eq!((p.len(), p.nonce().as_str(), arena.used()), (0, "", 0));
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
