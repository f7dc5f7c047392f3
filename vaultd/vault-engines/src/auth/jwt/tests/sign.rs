//! An issuer: keys made here, tokens of any text signed with them.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::sync::OnceLock;

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) enum Key {
    Rsa(RsaKeyPair, &'static str),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// One of each, made once.
pub(super) fn rsa() -> &'static Key {
    static K: OnceLock<Key> = OnceLock::new();
    K.get_or_init(|| Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap(), "RS256"))
}
pub(super) fn p256() -> &'static Key {
    static K: OnceLock<Key> = OnceLock::new();
    K.get_or_init(|| Key::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()))
}
pub(super) fn other_p256() -> &'static Key {
    static K: OnceLock<Key> = OnceLock::new();
    K.get_or_init(|| Key::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()))
}
pub(super) fn p384() -> &'static Key {
    static K: OnceLock<Key> = OnceLock::new();
    K.get_or_init(|| Key::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()))
}
pub(super) fn ed() -> &'static Key {
    static K: OnceLock<Key> = OnceLock::new();
    K.get_or_init(|| Key::Ed(Ed25519KeyPair::generate().unwrap()))
}

impl Key {
    pub(super) fn alg(&self) -> &'static str {
        match self {
            Key::Rsa(_, alg) => alg,
            Key::P256(_) => "ES256",
            Key::P384(_) => "ES384",
            Key::Ed(_) => "EdDSA",
        }
    }

    pub(super) fn sign(&self, message: &[u8], alg: &str) -> Vec<u8> {
        let rng = SystemRandom::new();
        match self {
            Key::Rsa(k, _) => {
                let encoding: &'static dyn RsaEncoding = match alg {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut s = vec![0; k.public_modulus_len()];
                k.sign(encoding, &rng, message, &mut s).unwrap();
                s
            }
            Key::P256(k) | Key::P384(k) => k.sign(&rng, message).unwrap().as_ref().to_vec(),
            Key::Ed(k) => k.sign(message).as_ref().to_vec(),
        }
    }

    /// SubjectPublicKeyInfo.
    pub(super) fn der(&self) -> Vec<u8> {
        match self {
            Key::Rsa(k, _) => {
                AsDer::<PublicKeyX509Der<'_>>::as_der(k.public_key()).unwrap().as_ref().to_vec()
            }
            Key::P256(k) | Key::P384(k) => {
                AsDer::<PublicKeyX509Der<'_>>::as_der(k.public_key()).unwrap().as_ref().to_vec()
            }
            // RFC 8410, 4: a fixed head before the 32 bytes.
            Key::Ed(k) => {
                let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
                [&head[..], k.public_key().as_ref()].concat()
            }
        }
    }

    pub(super) fn pem(&self) -> String {
        pem("PUBLIC KEY", &self.der())
    }

    pub(super) fn jwk(&self, kid: &str) -> Value {
        let mut k = match self {
            Key::Rsa(k, _) => {
                let c = RsaPublicKeyComponents::<Vec<u8>>::from(k.public_key());
                json!({"kty": "RSA", "n": b64(c.n), "e": b64(c.e)})
            }
            Key::P256(k) => {
                let p = k.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": b64(&p[1..33]), "y": b64(&p[33..])})
            }
            Key::P384(k) => {
                let p = k.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-384", "x": b64(&p[1..49]), "y": b64(&p[49..])})
            }
            Key::Ed(k) => json!({"kty": "OKP", "crv": "Ed25519", "x": b64(k.public_key().as_ref())}),
        };
        k["kid"] = kid.into();
        k
    }
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A token of exactly these two texts.
pub(super) fn token(key: &Key, header: &str, claims: &str) -> String {
    segments(key, &b64(header), &b64(claims))
}

/// A token of exactly these two segments.
pub(super) fn segments(key: &Key, header: &str, claims: &str) -> String {
    let alg = key.alg();
    let stated = URL_SAFE_NO_PAD.decode(header).ok().and_then(|h| serde_json::from_slice::<Value>(&h).ok());
    let alg = stated.as_ref().and_then(|h| h["alg"].as_str()).unwrap_or(alg);
    let message = format!("{header}.{claims}");
    let signature = key.sign(message.as_bytes(), alg);
    format!("{message}.{}", b64(signature))
}
