//! Writing a message that one key can read: a session key for it, and the secret under the session key.

use super::key::{CURVE25519, Numbers, Part, PublicKey};
use super::unusable;
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::key_wrap::{AES_128 as KW_128, AES_256 as KW_256, AesKek, KeyWrap};
use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::{agreement, digest, rand::SystemRandom};
use secmem::{ExposeSecret, SecretString, Zeroizing};
use vault_logical::{Error, Result};

const ENCRYPTED_SESSION_KEY: u8 = 1;
const LITERAL: u8 = 11;
const PROTECTED_DATA: u8 = 18;
/// Head of the packet that ends the protected data: the SHA-1 of all before it.
const DIGEST_HEAD: [u8; 2] = [0xd3, 20];
/// AES with a key of 256 bits (RFC 4880, section 9.2).
const AES256: u8 = 9;
const SESSION_KEY_BYTES: usize = 32;
const BLOCK: usize = 16;
/// Twenty bytes that stand for "nobody in particular" in the key derivation (RFC 6637, section 8).
const ANONYMOUS: &[u8; 20] = b"Anonymous Sender    ";

impl PublicKey {
    /// A binary OpenPGP message that holds `secret`.
    ///
    /// # Errors
    /// When the key's numbers are not a usable key.
    pub fn encrypt(&self, secret: &SecretString) -> Result<Vec<u8>> {
        let mut session = Zeroizing::new([0u8; SESSION_KEY_BYTES]);
        secmem::random::fill(session.as_mut_slice()).map_err(Error::internal)?;
        let mut out = Vec::new();
        packet(&mut out, ENCRYPTED_SESSION_KEY, &session_key(&self.part, &session)?);
        packet(&mut out, PROTECTED_DATA, &protected(secret.expose_secret().as_bytes(), &session)?);
        Ok(out)
    }
}

fn broken(_: impl std::fmt::Debug) -> Error {
    unusable("its numbers are not a key")
}

fn packet(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(0xc0 | tag);
    // The five-byte form holds any length.
    out.push(255);
    out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(body);
}

fn number(out: &mut Vec<u8>, bytes: &[u8]) {
    let at = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    let bytes = bytes.get(at..).unwrap_or_default();
    let zeros = bytes.first().map_or(0, |b| b.leading_zeros());
    let bits = (bytes.len() * 8).saturating_sub(usize::try_from(zeros).unwrap_or(0));
    out.extend_from_slice(&u16::try_from(bits).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The body of the packet that carries the session key.
fn session_key(part: &Part, session: &[u8; SESSION_KEY_BYTES]) -> Result<Vec<u8>> {
    let sum = session.iter().fold(0u16, |sum, b| sum.wrapping_add(u16::from(*b)));
    let mut plain = Zeroizing::new(Vec::with_capacity(SESSION_KEY_BYTES + 8));
    plain.push(AES256);
    plain.extend_from_slice(session);
    plain.extend_from_slice(&sum.to_be_bytes());
    let mut body = vec![3];
    // The key's id: the end of its fingerprint.
    body.extend_from_slice(part.fingerprint.get(12..).unwrap_or_default());
    match &part.numbers {
        Numbers::Rsa { modulus, exponent } => {
            body.push(1);
            let key = PublicEncryptingKey::from_der(&rsa_der(modulus, exponent)).map_err(broken)?;
            let key = Pkcs1PublicEncryptingKey::new(key).map_err(broken)?;
            let mut sealed = vec![0; key.ciphertext_size()];
            let sealed = key.encrypt(&plain, &mut sealed).map_err(broken)?;
            number(&mut body, sealed);
        }
        Numbers::X25519 { point, hash, cipher } => {
            body.push(18);
            let random = SystemRandom::new();
            let own =
                agreement::EphemeralPrivateKey::generate(&agreement::X25519, &random).map_err(broken)?;
            let public = own.compute_public_key().map_err(broken)?;
            let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, point);
            let wrapped = agreement::agree_ephemeral(own, peer, broken(()), |shared| {
                wrap(&mut plain, shared, *hash, *cipher, &part.fingerprint)
            })?;
            let mut given = vec![0x40];
            given.extend_from_slice(public.as_ref());
            number(&mut body, &given);
            body.push(u8::try_from(wrapped.len()).map_err(broken)?);
            body.extend_from_slice(&wrapped);
        }
    }
    Ok(body)
}

/// The session key under the key that both sides derive (RFC 6637, sections 7 and 8).
fn wrap(
    plain: &mut Zeroizing<Vec<u8>>,
    shared: &[u8],
    hash: u8,
    cipher: u8,
    fingerprint: &[u8; 20],
) -> Result<Vec<u8>> {
    let algorithm = match hash {
        8 => &digest::SHA256,
        9 => &digest::SHA384,
        10 => &digest::SHA512,
        _ => return Err(unusable("its key derivation names an unknown hash")),
    };
    let mut h = digest::Context::new(algorithm);
    h.update(&[0, 0, 0, 1]);
    h.update(shared);
    h.update(&[u8::try_from(CURVE25519.len()).unwrap_or(0)]);
    h.update(CURVE25519);
    h.update(&[18, 3, 1, hash, cipher]);
    h.update(ANONYMOUS);
    h.update(fingerprint);
    let derived = h.finish();
    let key = |n| derived.as_ref().get(..n).ok_or_else(|| broken(()));
    // Padded to whole blocks of eight, each byte saying how many there are.
    let padding = 8 - plain.len() % 8;
    plain.extend(std::iter::repeat_n(u8::try_from(padding).unwrap_or(8), padding));
    let mut out = vec![0; plain.len() + 8];
    match cipher {
        7 => AesKek::new(&KW_128, key(16)?).map_err(broken)?.wrap(plain, &mut out),
        9 => AesKek::new(&KW_256, key(32)?).map_err(broken)?.wrap(plain, &mut out),
        _ => return Err(unusable("its key derivation names an unknown cipher")),
    }
    .map_err(broken)?;
    Ok(out)
}

/// The body of the packet with the secret (RFC 4880, section 5.13): CFB with a digest inside.
fn protected(secret: &[u8], session: &[u8; SESSION_KEY_BYTES]) -> Result<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(secret.len() + 80));
    let mut prefix = [0u8; BLOCK];
    secmem::random::fill(&mut prefix).map_err(Error::internal)?;
    plain.extend_from_slice(&prefix);
    plain.extend_from_slice(prefix.get(BLOCK - 2..).unwrap_or_default());
    // Binary, no name, no date.
    let mut literal = Zeroizing::new(Vec::with_capacity(secret.len() + 6));
    literal.extend_from_slice(&[b'b', 0, 0, 0, 0, 0]);
    literal.extend_from_slice(secret);
    packet(&mut plain, LITERAL, &literal);
    plain.extend_from_slice(&DIGEST_HEAD);
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &plain);
    plain.extend_from_slice(digest.as_ref());
    let failed = |_| Error::internal("AES is not available");
    let key = UnboundCipherKey::new(&AES_256, session).map_err(failed)?;
    let key = EncryptingKey::cfb128(key).map_err(failed)?;
    let iv = EncryptionContext::Iv128(FixedLength::from([0u8; BLOCK]));
    key.less_safe_encrypt(&mut plain, iv).map_err(failed)?;
    let mut body = vec![1];
    body.extend_from_slice(&plain);
    Ok(body)
}

/// An RSA public key as SubjectPublicKeyInfo (RFC 5280, RFC 8017).
fn rsa_der(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    const RSA_ENCRYPTION: &[u8] =
        &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let integer = |n: &[u8]| {
        let mut positive = Vec::with_capacity(n.len() + 1);
        if n.first().is_some_and(|b| b & 0x80 != 0) {
            positive.push(0);
        }
        positive.extend_from_slice(n);
        der(0x02, &positive)
    };
    let key = der(0x30, &[integer(modulus), integer(exponent)].concat());
    let bits = der(0x03, &[&[0], key.as_slice()].concat());
    der(0x30, &[RSA_ENCRYPTION, &bits].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let bytes = content.len().to_be_bytes();
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let at = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len() - 1);
            let significant = bytes.get(at..).unwrap_or_default();
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or(0));
            out.extend_from_slice(significant);
        }
    }
    out.extend_from_slice(content);
    out
}
