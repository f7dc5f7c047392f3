//! The keyring file's plaintext.
//!
//! Format (1), cipher (1), name key (64), index key (32); namespaces (4), each: uuid (16), terms (4), each: term (4),
//! installed (8), key (32); named keys (4), each: kind (1), label length (2), label, generation (4), installed (8),
//! key (32). Numbers are big-endian.

use super::{KeyName, Keyring, NAME_KEY_BYTES, Named, Term};
use crate::Error;
use crate::barrier::{Cipher, KEY_BYTES};
use crate::limits::{MAX_KEY_LABEL, MAX_KEYRINGS, MAX_NAMED_KEYS, MAX_TERMS};
use secmem::{Arena, Key, Zeroizing};
use std::collections::BTreeMap;
use uuid::Uuid;

const FORMAT: u8 = 1;

/// The plaintext, in a buffer of exactly its size so that no copy is left behind by growing.
pub fn encode(keyring: &Keyring) -> Result<Zeroizing<Vec<u8>>, Error> {
    let size = size(keyring);
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    out.extend([FORMAT, keyring.cipher.byte()]);
    put_key(&mut out, &keyring.names)?;
    put_key(&mut out, &keyring.index)?;
    out.extend((keyring.rings.len() as u32).to_be_bytes());
    for (namespace, ring) in &keyring.rings {
        out.extend_from_slice(namespace.as_bytes());
        out.extend((ring.len() as u32).to_be_bytes());
        for term in ring {
            out.extend(term.term.to_be_bytes());
            out.extend(term.installed.to_be_bytes());
            put_key(&mut out, &term.key)?;
        }
    }
    out.extend((keyring.named.len() as u32).to_be_bytes());
    for (name, named) in &keyring.named {
        let (kind, label) = name_parts(name);
        out.push(kind);
        out.extend((label.len() as u16).to_be_bytes());
        out.extend_from_slice(label.as_bytes());
        out.extend(named.generation.to_be_bytes());
        out.extend(named.installed.to_be_bytes());
        put_key(&mut out, &named.key)?;
    }
    debug_assert_eq!(out.len(), size);
    Ok(out)
}

fn size(keyring: &Keyring) -> usize {
    let rings: usize = keyring.rings.values().map(|ring| 16 + 4 + ring.len() * (4 + 8 + KEY_BYTES)).sum();
    let named: usize = keyring.named.keys().map(|n| 1 + 2 + name_parts(n).1.len() + 4 + 8 + KEY_BYTES).sum();
    2 + NAME_KEY_BYTES + KEY_BYTES + 4 + rings + 4 + named
}

fn put_key(out: &mut Zeroizing<Vec<u8>>, key: &Key) -> Result<(), Error> {
    Ok(key.attempt(|bytes| out.extend_from_slice(bytes))?)
}

fn name_parts(name: &KeyName) -> (u8, &str) {
    match name {
        KeyName::Token => (1, ""),
        KeyName::BatchToken => (2, ""),
        KeyName::AuditHmac(device) => (3, device),
        KeyName::AuditSigning => (4, ""),
    }
}

/// Reads the plaintext, each key straight into the arena. The caller's buffer is the only copy left, and is wiped.
pub fn decode(arena: &Arena, plain: &[u8]) -> Result<Keyring, Error> {
    let mut input = Input { rest: plain, arena };
    let keyring = input.keyring()?;
    if input.rest.is_empty() { Ok(keyring) } else { Err(damaged()) }
}

fn damaged() -> Error {
    Error::Integrity("the keyring file is damaged".into())
}

struct Input<'a> {
    rest: &'a [u8],
    arena: &'a Arena,
}

impl<'a> Input<'a> {
    fn keyring(&mut self) -> Result<Keyring, Error> {
        let [format, cipher] = self.array()?;
        let cipher = Cipher::from_byte(cipher).filter(|_| format == FORMAT).ok_or_else(damaged)?;
        let (names, index) = (self.key(NAME_KEY_BYTES)?, self.key(KEY_BYTES)?);
        let mut rings = BTreeMap::new();
        for _ in 0..self.count(MAX_KEYRINGS)? {
            let namespace = Uuid::from_bytes(self.array()?);
            let ring = self.ring()?;
            if rings.insert(namespace, ring).is_some() {
                return Err(damaged());
            }
        }
        let mut named = BTreeMap::new();
        for _ in 0..self.count(MAX_NAMED_KEYS)? {
            let (name, key) = self.named()?;
            if named.insert(name, key).is_some() {
                return Err(damaged());
            }
        }
        Ok(Keyring { cipher, names, index, rings, named })
    }

    fn ring(&mut self) -> Result<Vec<Term>, Error> {
        let mut ring: Vec<Term> = Vec::new();
        for _ in 0..self.count(MAX_TERMS)? {
            let term = u32::from_be_bytes(self.array()?);
            let installed = i64::from_be_bytes(self.array()?);
            if ring.last().is_some_and(|last| last.term >= term) {
                return Err(damaged());
            }
            ring.push(Term { term, installed, key: self.key(KEY_BYTES)? });
        }
        if ring.is_empty() { Err(damaged()) } else { Ok(ring) }
    }

    fn named(&mut self) -> Result<(KeyName, Named), Error> {
        let [kind] = self.array()?;
        let length = usize::from(u16::from_be_bytes(self.array()?));
        let label = self.take(length)?;
        let name = match (kind, label) {
            (1, []) => KeyName::Token,
            (2, []) => KeyName::BatchToken,
            (3, device) if !device.is_empty() && device.len() <= MAX_KEY_LABEL => {
                KeyName::AuditHmac(std::str::from_utf8(device).map_err(|_| damaged())?.to_owned())
            }
            (4, []) => KeyName::AuditSigning,
            _ => return Err(damaged()),
        };
        let generation = u32::from_be_bytes(self.array()?);
        let installed = i64::from_be_bytes(self.array()?);
        Ok((name, Named { generation, installed, key: self.key(KEY_BYTES)? }))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or_else(damaged)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(damaged)?;
        self.rest = rest;
        Ok(*head)
    }

    fn count(&mut self, most: usize) -> Result<usize, Error> {
        let n = usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| damaged())?;
        if n > most { Err(damaged()) } else { Ok(n) }
    }

    fn key(&mut self, len: usize) -> Result<Key, Error> {
        let bytes = self.take(len)?;
        Ok(self.arena.from_slice(bytes)?)
    }
}
