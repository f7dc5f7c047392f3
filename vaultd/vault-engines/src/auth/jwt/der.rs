//! Public keys out of PEM and DER: SubjectPublicKeyInfo (RFC 5280), PKCS#1 (RFC 8017), and the key
//! of a certificate. Only what is needed to tell kind and size; the numbers are checked where they
//! are used.

use super::keys::PublicKey;
use super::token::Family;
use crate::limits::RSA_BITS;
use crate::pem;
use vault_logical::der::{BIT_STRING, INTEGER, OID, Reader, SEQUENCE};

/// `version` of a certificate.
const CONTEXT_0: u8 = 0xa0;

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// A positive integer without its sign byte.
fn unsigned(r: &mut Reader<'_>) -> Option<Vec<u8>> {
    match r.take(INTEGER)? {
        [0, rest @ ..] => Some(rest.to_vec()),
        [first, ..] if *first >= 0x80 => None,
        n => Some(n.to_vec()),
    }
}

fn pkcs1(der: &[u8]) -> Option<PublicKey> {
    let mut outer = Reader(der);
    let mut r = Reader(outer.take(SEQUENCE)?);
    outer.end()?;
    let key = PublicKey::rsa(unsigned(&mut r)?, unsigned(&mut r)?)?;
    r.end()?;
    Some(key)
}

fn spki(der: &[u8]) -> Option<PublicKey> {
    let mut outer = Reader(der);
    let mut r = Reader(outer.take(SEQUENCE)?);
    outer.end()?;
    let mut algorithm = Reader(r.take(SEQUENCE)?);
    let bits = r.take(BIT_STRING)?.strip_prefix(&[0])?;
    r.end()?;
    match algorithm.take(OID)? {
        RSA_ENCRYPTION => pkcs1(bits),
        EC_PUBLIC_KEY => match algorithm.take(OID)? {
            PRIME256V1 => PublicKey::point(Family::P256, bits),
            SECP384R1 => PublicKey::point(Family::P384, bits),
            _ => None,
        },
        ED25519 => PublicKey::point(Family::Ed25519, bits),
        _ => None,
    }
}

/// The SubjectPublicKeyInfo of a certificate, with its own tag and length.
fn certificate(der: &[u8]) -> Option<PublicKey> {
    let mut outer = Reader(der);
    let mut tbs = Reader(Reader(outer.take(SEQUENCE)?).take(SEQUENCE)?);
    if tbs.0.first() == Some(&CONTEXT_0) {
        tbs.next()?;
    }
    for _ in ["serial", "signature", "issuer", "validity", "subject"] {
        tbs.next()?;
    }
    let start = tbs.0;
    tbs.take(SEQUENCE)?;
    spki(start.get(..start.len().checked_sub(tbs.0.len())?)?)
}

/// A public key as PEM: `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE`.
pub(super) fn public_key(text: &str) -> Option<PublicKey> {
    match pem::block(text)? {
        ("PUBLIC KEY", der) => spki(&der),
        ("RSA PUBLIC KEY", der) => pkcs1(&der),
        ("CERTIFICATE", der) => certificate(&der),
        _ => None,
    }
}

/// Bits of a big-endian number without leading zero bytes.
pub(super) fn bits(n: &[u8]) -> usize {
    match n.first() {
        None => 0,
        Some(first) => n.len() * 8 - first.leading_zeros() as usize,
    }
}

/// True for a modulus and exponent that RFC 8725 lets us use.
pub(super) fn rsa_is_strong(n: &[u8], e: &[u8]) -> bool {
    let odd = |x: &[u8]| x.last().is_some_and(|b| b & 1 == 1);
    let canonical = |x: &[u8]| x.first().is_some_and(|b| *b != 0);
    canonical(n)
        && canonical(e)
        && odd(n)
        && odd(e)
        && RSA_BITS.contains(&bits(n))
        && (2..=32).contains(&bits(e))
}
