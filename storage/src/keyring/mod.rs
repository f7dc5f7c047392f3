//! The keyring: every key that lives longer than a request, as handles into the arena.
//!
//! Unseal key (shared by Shamir) wraps the root key; the root key seals the keyring file; the file holds the rest. No key
//! is derived from another, so that each can be replaced alone.

mod file;
#[cfg(test)]
mod tests;
mod wrap;

pub use file::{decode, encode};
pub use wrap::{open_file, seal_file, unwrap_root, wrap_root};

use crate::Error;
use crate::barrier::{Cipher, KEY_BYTES};
use crate::limits::{MAX_KEY_LABEL, MAX_NAMED_KEYS, MAX_TERMS};
use secmem::{Arena, Key};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Bytes of the name key: AES-256-SIV takes two keys.
pub const NAME_KEY_BYTES: usize = 64;

/// A key kept in the keyring file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyName {
    /// Hashes of tokens, accessors, API keys.
    Token,
    /// Seals batch tokens.
    BatchToken,
    /// Keyed hashes in one audit device's records, by the device's name.
    AuditHmac(String),
    /// Ed25519 seed that signs audit checkpoints.
    AuditSigning,
}

/// A record key and since when it seals.
#[derive(Clone, Debug)]
pub struct Term {
    pub term: u32,
    /// Unix nanoseconds.
    pub installed: i64,
    pub key: Key,
}

/// A named key and which of its generations this is.
#[derive(Clone, Debug)]
pub struct Named {
    pub generation: u32,
    /// Unix nanoseconds.
    pub installed: i64,
    pub key: Key,
}

/// All keys below the root key. Cheap to copy: the keys themselves stay in the arena.
#[derive(Clone, Debug)]
pub struct Keyring {
    pub cipher: Cipher,
    pub names: Key,
    pub index: Key,
    /// By namespace, oldest term first.
    pub rings: BTreeMap<Uuid, Vec<Term>>,
    pub named: BTreeMap<KeyName, Named>,
}

impl Keyring {
    /// A new vault's keyring: one term for the root namespace.
    pub fn generate(arena: &Arena, cipher: Cipher, now: i64) -> Result<Keyring, Error> {
        let first = Term { term: 1, installed: now, key: arena.random(KEY_BYTES)? };
        Ok(Keyring {
            cipher,
            names: arena.random(NAME_KEY_BYTES)?,
            index: arena.random(KEY_BYTES)?,
            rings: BTreeMap::from([(Uuid::nil(), vec![first])]),
            named: BTreeMap::new(),
        })
    }

    /// The term that seals new records of a namespace.
    pub fn current(&self, namespace: Uuid) -> Result<&Term, Error> {
        self.rings.get(&namespace).and_then(|ring| ring.last()).ok_or(Error::NoKey("namespace"))
    }

    /// The key of one term, by namespace and number, never by trial.
    pub fn term(&self, namespace: Uuid, term: u32) -> Option<&Key> {
        let ring = self.rings.get(&namespace)?;
        let at = ring.binary_search_by_key(&term, |t| t.term).ok()?;
        ring.get(at).map(|t| &t.key)
    }

    /// A copy with one more term for `namespace`.
    pub fn rotated(&self, arena: &Arena, namespace: Uuid, now: i64) -> Result<Keyring, Error> {
        let last = self.current(namespace)?.term;
        let term = last.checked_add(1).ok_or(Error::TooLarge("keyring"))?;
        let mut next = self.clone();
        let ring = next.rings.entry(namespace).or_default();
        if ring.len() >= MAX_TERMS {
            return Err(Error::TooLarge("keyring"));
        }
        ring.push(Term { term, installed: now, key: arena.random(KEY_BYTES)? });
        Ok(next)
    }

    /// A copy that has a key of this name.
    pub fn with_named(&self, arena: &Arena, name: &KeyName, now: i64) -> Result<Keyring, Error> {
        if matches!(name, KeyName::AuditHmac(device) if device.is_empty() || device.len() > MAX_KEY_LABEL) {
            return Err(Error::TooLarge("key name"));
        }
        let mut next = self.clone();
        if !next.named.contains_key(name) {
            if next.named.len() >= MAX_NAMED_KEYS {
                return Err(Error::TooLarge("keyring"));
            }
            let key = arena.random(KEY_BYTES)?;
            next.named.insert(name.clone(), Named { generation: 1, installed: now, key });
        }
        Ok(next)
    }
}
