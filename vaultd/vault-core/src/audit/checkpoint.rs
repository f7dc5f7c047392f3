//! Signed checkpoints: Ed25519 over the chain so far.
//!
//! A checkpoint's body ends in `,"signature":"<128 hex digits>"`, over
//! `"vaultd-audit-checkpoint-v1\0" || chain(n-1) || seq as u64 BE || SHA-256(body before it)`.

use super::chain::Link;
use super::{AuditError, json};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use secmem::Key;
use sha2::{Digest, Sha256};
use std::fmt;

const DOMAIN: &[u8] = b"vaultd-audit-checkpoint-v1\0";
const SIGNATURE: &[u8] = b",\"signature\":\"";
const SIGNATURE_DIGITS: usize = 128;

/// An audit signing key's public half, for offline verification.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Reads 64 hex digits.
    pub fn from_hex(text: &str) -> Option<PublicKey> {
        json::unhex(text.trim().to_ascii_lowercase().as_bytes()).map(PublicKey)
    }

    /// The key's name in checkpoints: the first 8 bytes of its SHA-256, in hex.
    pub fn id(&self) -> String {
        let digest: [u8; 32] = Sha256::digest(self.0).into();
        digest.iter().take(8).map(|b| format!("{b:02x}")).collect()
    }

    pub(super) fn verifying(&self) -> Option<VerifyingKey> {
        VerifyingKey::from_bytes(&self.0).ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Signs checkpoints; the seed never leaves the arena.
pub(super) struct Signer {
    seed: Key,
    pub public: PublicKey,
    pub id: String,
}

impl Signer {
    /// `seed` is the 32-byte Ed25519 secret key (RFC 8032).
    pub fn new(seed: Key) -> Result<Signer, AuditError> {
        let public = seed
            .with(|s| {
                <&[u8; 32]>::try_from(s).ok().map(|s| SigningKey::from_bytes(s).verifying_key().to_bytes())
            })?
            .map(PublicKey)
            .ok_or_else(|| AuditError::Key("the signing seed must be 32 bytes".into()))?;
        Ok(Signer { seed, id: public.id(), public })
    }

    /// Ends a checkpoint's body with the signature for line `seq` after `previous`.
    pub fn sign(&self, body: &mut Vec<u8>, previous: &Link, seq: u64) -> Result<(), AuditError> {
        let message = message(body, previous, seq);
        let signature = self
            .seed
            .with(|s| {
                <&[u8; 32]>::try_from(s).ok().map(|s| SigningKey::from_bytes(s).sign(&message).to_bytes())
            })?
            .ok_or(AuditError::Sealed)?;
        body.extend_from_slice(SIGNATURE);
        json::hex(body, &signature);
        body.push(b'"');
        Ok(())
    }
}

fn message(body: &[u8], previous: &Link, seq: u64) -> Vec<u8> {
    let digest: [u8; 32] = Sha256::digest(body).into();
    [DOMAIN, previous, &seq.to_be_bytes(), &digest].concat()
}

/// Splits a checkpoint's body into what is signed and the signature.
pub(super) fn split(body: &[u8]) -> Option<(&[u8], [u8; 64])> {
    let rest = body.strip_suffix(b"\"")?;
    let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(SIGNATURE_DIGITS)?)?;
    Some((rest.strip_suffix(SIGNATURE)?, json::unhex(digits)?))
}

/// Checks the signature of the checkpoint `body` at line `seq` after `previous`.
pub(super) fn verify(key: &VerifyingKey, body: &[u8], previous: &Link, seq: u64) -> bool {
    split(body).is_some_and(|(signed, signature)| {
        key.verify_strict(&message(signed, previous, seq), &Signature::from_bytes(&signature)).is_ok()
    })
}
