//! Public keys, and which of them may verify a token.

use super::der::{self, rsa_is_strong};
use super::token::{Alg, Family, Unverified};
use crate::limits::{JWKS_MAX_BYTES, JWKS_MAX_KEYS, JWT_MAX_KID_BYTES};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};
use vault_api::json;

pub(super) struct PublicKey {
    family: Family,
    key: DecodingKey,
    /// The numbers it is made of: equal for the same key.
    bytes: Vec<u8>,
}

impl PublicKey {
    pub fn rsa(n: Vec<u8>, e: Vec<u8>) -> Option<Self> {
        rsa_is_strong(&n, &e).then(|| PublicKey {
            family: Family::Rsa,
            key: DecodingKey::from_rsa_raw_components(&n, &e),
            bytes: [e, n].concat(),
        })
    }

    /// An uncompressed point of a curve, or the 32 bytes of an Ed25519 key.
    pub fn point(family: Family, bytes: &[u8]) -> Option<Self> {
        let uncompressed = |len: usize| bytes.len() == len && bytes.first() == Some(&4);
        let key = match family {
            // Parsing checks that the point lies on the curve.
            Family::P256 if uncompressed(65) => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes).ok()?;
                DecodingKey::from_ec_der(bytes)
            }
            Family::P384 if uncompressed(97) => {
                ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, bytes).ok()?;
                DecodingKey::from_ec_der(bytes)
            }
            Family::Ed25519 if is_sound_ed25519(bytes) => DecodingKey::from_ed_der(bytes),
            _ => return None,
        };
        Some(PublicKey { family, key, bytes: bytes.to_vec() })
    }
}

/// On the curve, in its one encoding, and not of small order: under such a key anybody can make a
/// signature that fits any text.
fn is_sound_ed25519(bytes: &[u8]) -> bool {
    let key = <&[u8; 32]>::try_from(bytes).ok().and_then(|b| VerifyingKey::from_bytes(b).ok());
    key.is_some_and(|k| !k.is_weak() && k.to_edwards().compress().as_bytes() == bytes)
}

struct Entry {
    kid: Option<String>,
    /// The only algorithm that the set allows for this key.
    alg: Option<Alg>,
    public: PublicKey,
}

impl Entry {
    /// The key pins the algorithm, never the other way round.
    fn may_verify(&self, alg: Alg) -> bool {
        alg.family() == self.public.family && self.alg.is_none_or(|a| a == alg)
    }
}

/// The keys of a mount.
pub(super) struct KeySet {
    entries: Vec<Entry>,
    /// Keys without names: each that fits may be tried.
    unnamed: bool,
}

/// What a lookup found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Valid,
    Invalid,
    /// The set does not know the key: a newer set might.
    UnknownKey,
}

impl KeySet {
    /// Keys given as PEM. `None`: one of them is not a usable public key.
    pub fn from_pem<'a>(keys: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let entry = |pem| der::public_key(pem).map(|public| Entry { kid: None, alg: None, public });
        Some(KeySet { entries: keys.into_iter().map(entry).collect::<Option<_>>()?, unnamed: true })
    }

    /// A JWK set (RFC 7517). Keys that are not for us are left out; `None`: this is no key set, or
    /// none of its keys is usable.
    pub fn from_jwks(body: &[u8]) -> Option<Self> {
        if body.len() > JWKS_MAX_BYTES {
            return None;
        }
        let set = json::object(std::str::from_utf8(body).ok()?, &super::token::STRICT).ok()?;
        let keys = set.get("keys")?.as_array()?;
        if keys.len() > JWKS_MAX_KEYS {
            return None;
        }
        let entries: Vec<Entry> = keys.iter().filter_map(Value::as_object).filter_map(jwk).collect();
        (!entries.is_empty()).then_some(KeySet { entries, unnamed: false })
    }

    /// The keys that may have made this token: those of its exact `kid` where keys have names.
    fn candidates<'a>(&'a self, alg: Alg, kid: Option<&'a str>) -> impl Iterator<Item = &'a Entry> {
        let named = move |e: &&Entry| self.unnamed || kid.is_none() || e.kid.as_deref() == kid;
        self.entries.iter().filter(move |e| e.may_verify(alg)).filter(named)
    }

    /// True when every key of `older` is here, under its name and for its algorithm.
    pub fn keeps(&self, older: &KeySet) -> bool {
        let same = |a: &Entry, b: &Entry| {
            (&a.kid, a.alg, a.public.family, &a.public.bytes)
                == (&b.kid, b.alg, b.public.family, &b.public.bytes)
        };
        older.entries.iter().all(|old| self.entries.iter().any(|e| same(old, e)))
    }

    /// Whether a newer set should be asked for.
    pub fn knows(&self, alg: Alg, kid: Option<&str>) -> bool {
        self.candidates(alg, kid).next().is_some()
    }

    /// Checks the signature. In a set with names exactly one key must fit: two are not told apart
    /// by trying.
    pub fn verify(&self, token: &Unverified<'_>) -> Verdict {
        let mut fits = self.candidates(token.alg, token.kid.as_deref()).peekable();
        if fits.peek().is_none() {
            return Verdict::UnknownKey;
        }
        let check = |e: &Entry| {
            let signed = token.signed.as_bytes();
            jsonwebtoken::crypto::verify(token.signature, signed, &e.public.key, token.alg.library())
                .unwrap_or(false)
        };
        let valid = if self.unnamed {
            fits.any(check)
        } else {
            fits.next().is_some_and(check) && fits.next().is_none()
        };
        if valid { Verdict::Valid } else { Verdict::Invalid }
    }
}

/// One JWK, if it is a public signature key of a kind we use.
fn jwk(k: &Map<String, Value>) -> Option<Entry> {
    let text = |name: &str| k.get(name).and_then(Value::as_str);
    let number = |name: &str| text(name).and_then(|s| URL_SAFE_NO_PAD.decode(s).ok());
    if k.get("use").is_some_and(|u| u.as_str() != Some("sig")) {
        return None;
    }
    if let Some(ops) = k.get("key_ops")
        && !ops.as_array()?.iter().any(|o| o.as_str() == Some("verify"))
    {
        return None;
    }
    let kid = match k.get("kid") {
        None => None,
        Some(Value::String(s)) if s.len() <= JWT_MAX_KID_BYTES => Some(s.clone()),
        Some(_) => return None,
    };
    let public = match (text("kty")?, text("crv")) {
        ("RSA", None) => PublicKey::rsa(number("n")?, number("e")?)?,
        ("EC", Some("P-256")) => ec(Family::P256, 32, &number("x")?, &number("y")?)?,
        ("EC", Some("P-384")) => ec(Family::P384, 48, &number("x")?, &number("y")?)?,
        ("OKP", Some("Ed25519")) => PublicKey::point(Family::Ed25519, &number("x")?)?,
        _ => return None,
    };
    let alg = match k.get("alg") {
        None => None,
        Some(a) => Some(Alg::parse(a.as_str()?).filter(|a| a.family() == public.family)?),
    };
    Some(Entry { kid, alg, public })
}

fn ec(family: Family, len: usize, x: &[u8], y: &[u8]) -> Option<PublicKey> {
    if x.len() != len || y.len() != len {
        return None;
    }
    PublicKey::point(family, &[&[4], x, y].concat())
}
