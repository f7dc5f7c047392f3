//! Token ids and accessors: how they look, and the keyed hashes they are stored under.

use crate::fault;
use crate::limits::{ACCESSOR_CHARS, MAX_TOKEN_BYTES, TOKEN_RANDOM_CHARS};
use hmac::{Hmac, KeyInit, Mac};
use secmem::{ExposeSecret, SecretString, Zeroizing, random};
use sha2::Sha256;
use std::fmt;
use vault_logical::{Error, Result};

/// Prefix of the ids made here.
pub const PREFIX: &str = "hvs.";
/// Prefixes accepted from callers: ours and the one of older servers.
const ACCEPTED: &[&str] = &[PREFIX, "s."];

/// HMAC-SHA256 of a token id under the token key: the token's name in storage and caches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    pub(super) fn hex(&self) -> String {
        hex::encode(self.0)
    }
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let mut out = [0; 32];
        hex::decode_to_slice(text, &mut out).ok()?;
        Some(TokenHash(out))
    }
    /// Evenly spread bits, for choosing a shard or a lock.
    pub(super) fn spread(&self) -> usize {
        let [a, b, c, d, ..] = self.0;
        usize::from(u16::from_le_bytes([a, b])) | usize::from(u16::from_le_bytes([c, d])) << 16
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, ..] = self.0;
        write!(f, "TokenHash({a:02x}{b:02x}..)")
    }
}

/// The token key and what is derived with it.
pub(super) struct Hasher {
    key: secmem::Key,
}

impl Hasher {
    pub(super) fn new(key: secmem::Key) -> Self {
        Hasher { key }
    }

    /// The hash of a token id that [`well_formed`] accepted.
    pub(super) fn token(&self, id: &str) -> Result<TokenHash> {
        self.mac(b"token:", id).map(TokenHash)
    }

    /// Storage name of an accessor, in hex.
    pub(super) fn accessor(&self, accessor: &str) -> Result<String> {
        self.mac(b"accessor:", accessor).map(hex::encode)
    }

    /// The name of the token's cubbyhole.
    pub(super) fn cubbyhole(&self, id: &str) -> Result<String> {
        self.mac(b"cubbyhole:", id).map(hex::encode)
    }

    fn mac(&self, label: &[u8], text: &str) -> Result<[u8; 32]> {
        self.key
            .with(|key| {
                let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
                mac.update(label);
                mac.update(text.as_bytes());
                Some(mac.finalize().into_bytes().into())
            })
            .map_err(|_| fault::sealed())?
            .ok_or_else(|| Error::internal("token key has no length"))
    }
}

/// True for text that can be a service token's id; anything else is no token, whatever it holds.
pub(super) fn well_formed(presented: &str) -> bool {
    presented.len() <= MAX_TOKEN_BYTES
        && ACCEPTED.iter().any(|prefix| presented.strip_prefix(prefix).is_some_and(is_base62))
}

/// True for text that can be an accessor.
pub(super) fn well_formed_accessor(text: &str) -> bool {
    text.len() <= MAX_TOKEN_BYTES && is_base62(text)
}

fn is_base62(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// A new token id.
pub(super) fn new_token() -> Result<SecretString> {
    let random = random::base62(TOKEN_RANDOM_CHARS).map_err(Error::internal)?;
    // Its whole length at once: a string that grows leaves copies behind.
    let mut id = Zeroizing::new(String::with_capacity(PREFIX.len() + TOKEN_RANDOM_CHARS));
    id.push_str(PREFIX);
    id.push_str(random.expose_secret());
    Ok(SecretString::from(std::mem::take(&mut *id)))
}

/// A new accessor.
pub(super) fn new_accessor() -> Result<String> {
    let random = random::base62(ACCESSOR_CHARS).map_err(Error::internal)?;
    Ok(random.expose_secret().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn new_ids_are_well_formed_and_long_enough() {
        let id = new_token().unwrap();
        assert!(well_formed(id.expose_secret()));
        assert_eq!(id.expose_secret().len(), PREFIX.len() + TOKEN_RANDOM_CHARS);
        assert!(TOKEN_RANDOM_CHARS as f64 * 62f64.log2() > 128.0);
        assert!(well_formed_accessor(&new_accessor().unwrap()));
    }

    #[test]
    fn only_the_accepted_forms_are_tokens() {
        for ok in ["hvs.abcDEF123", "s.abcdefghijklmnopqrstuvwx"] {
            assert!(well_formed(ok), "{ok}");
        }
        let long = format!("hvs.{}", "a".repeat(MAX_TOKEN_BYTES));
        for bad in [
            "",
            "hvs.",
            "s.",
            "hvb.abc",
            "b.abc",
            "HVS.abc",
            "hvs.a b",
            "hvs.abc\n",
            "\nhvs.abc",
            "hvs.ab.c",
            "hvs.ä",
            &long,
        ] {
            assert!(!well_formed(bad), "{bad:?}");
        }
    }

    #[test]
    fn hashes_depend_on_key_kind_and_text() {
        let arena = secmem::Arena::open(None).unwrap();
        let a = Hasher::new(arena.from_slice(&[1; 32]).unwrap());
        let b = Hasher::new(arena.from_slice(&[2; 32]).unwrap());
        // HMAC-SHA256 of "token:hvs.x" under 32 bytes of 0x01, computed with Python's hmac module.
        assert_eq!(
            a.token("hvs.x").unwrap().hex(),
            "567b4594596d63c360a0d901a9ed7476667bb9295b9f3780d4fa5c3e39b16dfe"
        );
        assert_ne!(a.token("hvs.x").unwrap(), b.token("hvs.x").unwrap());
        assert_ne!(a.token("hvs.x").unwrap().hex(), a.accessor("hvs.x").unwrap());
        assert_ne!(a.token("hvs.x").unwrap().hex(), a.cubbyhole("hvs.x").unwrap());
        let h = a.token("hvs.x").unwrap();
        assert_eq!(TokenHash::from_hex(&h.hex()), Some(h));
        assert_eq!(TokenHash::from_hex("00"), None);
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_plain_ascii(s in "(hvs\\.|s\\.|)\\PC{0,40}") {
            if well_formed(&s) {
                let at = s.find('.').unwrap();
                prop_assert!(s[at + 1..].bytes().all(|b| b.is_ascii_alphanumeric()));
            }
        }
    }
}
