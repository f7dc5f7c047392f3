//! Reading a public key: which of its parts encrypts, and by which numbers.

use super::unusable;
use crate::limits::MAX_PGP_KEY_BYTES;
use aws_lc_rs::digest;
use base64::Engine as _;
use vault_logical::Result;

const PUBLIC_KEY: u8 = 6;
const PUBLIC_SUBKEY: u8 = 14;
const SIGNATURE: u8 = 2;
const SUBKEY_BINDING: u8 = 0x18;
const SUBKEY_REVOCATION: u8 = 0x28;
const KEY_REVOCATION: u8 = 0x20;
/// Subpacket "key flags", and its bits for encryption of messages and of storage.
const KEY_FLAGS: u8 = 27;
const MAY_ENCRYPT: u8 = 0x04 | 0x08;
/// Curve25519 in OpenPGP (1.3.6.1.4.1.3029.1.5.1).
pub(super) const CURVE25519: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x97, 0x55, 0x01, 0x05, 0x01];
/// Shortest RSA modulus that is accepted, in bytes.
const MIN_RSA_BYTES: usize = 256;

/// An operator's public key, and the part of it that encrypts.
pub struct PublicKey {
    /// Of the whole key, lower-case hex.
    pub fingerprint: String,
    pub(super) part: Part,
}

pub(super) struct Part {
    pub fingerprint: [u8; 20],
    pub numbers: Numbers,
}

pub(super) enum Numbers {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// ECDH over Curve25519; `hash` and `cipher` are the identifiers of RFC 4880, section 9.
    X25519 {
        point: [u8; 32],
        hash: u8,
        cipher: u8,
    },
}

struct Candidate {
    part: Part,
    primary: bool,
    /// What a binding signature says; keys without one may do what their algorithm can.
    may_encrypt: Option<bool>,
    revoked: bool,
}

impl PublicKey {
    /// Reads a key as Vault's clients send it: base64 of the binary form, or ASCII armor.
    ///
    /// # Errors
    /// 400 for anything else, and for a key that cannot encrypt.
    pub fn parse(text: &str) -> Result<PublicKey> {
        if text.len() > MAX_PGP_KEY_BYTES {
            return Err(unusable("it is too long"));
        }
        let bytes = decode(text)?;
        let mut reader = Reader(&bytes);
        let mut fingerprint = None;
        let mut found: Vec<Candidate> = Vec::new();
        while !reader.0.is_empty() {
            let (tag, body) = reader.packet().ok_or_else(|| unusable("a packet is cut short"))?;
            match tag {
                PUBLIC_KEY if fingerprint.is_some() => return Err(unusable("more than one key is given")),
                PUBLIC_KEY | PUBLIC_SUBKEY => {
                    let print = print_of(body);
                    if tag == PUBLIC_KEY {
                        fingerprint = Some(hex::encode(print));
                    }
                    // A part that only signs, or of an unknown kind, is passed over.
                    let numbers = numbers(body);
                    let part = numbers.map(|numbers| Part { fingerprint: print, numbers });
                    found.extend(part.map(|part| Candidate {
                        part,
                        primary: tag == PUBLIC_KEY,
                        may_encrypt: None,
                        revoked: false,
                    }));
                    // Signatures that follow belong to this part, or to nothing that counts.
                    if tag == PUBLIC_SUBKEY && found.last().is_none_or(|c| c.part.fingerprint != print) {
                        reader.skip_signatures();
                    }
                }
                SIGNATURE => apply_signature(body, found.last_mut()),
                _ => {}
            }
        }
        let fingerprint = fingerprint.ok_or_else(|| unusable("it is not a public key"))?;
        if found.iter().any(|c| c.primary && c.revoked) {
            return Err(unusable("it is revoked"));
        }
        let usable = |c: &Candidate| !c.revoked && c.may_encrypt.unwrap_or(true);
        // The newest subkey for encryption, as gpg chooses; else the key itself.
        let at = found
            .iter()
            .rposition(|c| !c.primary && usable(c))
            .or_else(|| found.iter().position(|c| c.primary && usable(c)))
            .ok_or_else(|| unusable("no part of it encrypts by RSA (2048 bits or more) or Curve25519"))?;
        Ok(PublicKey { fingerprint, part: found.swap_remove(at).part })
    }
}

fn decode(text: &str) -> Result<Vec<u8>> {
    let engine = base64::engine::general_purpose::STANDARD;
    let bad = || unusable("it is neither base64 nor ASCII armor");
    let Some((_, rest)) = text.split_once("-----BEGIN PGP PUBLIC KEY BLOCK-----") else {
        let joined: String = text.split_whitespace().collect();
        return engine.decode(joined).map_err(|_| bad());
    };
    let (block, _) = rest.split_once("-----END PGP PUBLIC KEY BLOCK-----").ok_or_else(bad)?;
    // Headers end at an empty line; a line that begins with = holds a checksum.
    let lines = block.lines().map(str::trim).skip_while(|l| l.is_empty());
    let body = lines.skip_while(|l| l.contains(": ")).filter(|l| !l.starts_with('='));
    engine.decode(body.collect::<String>()).map_err(|_| bad())
}

/// The fingerprint of a version 4 key.
fn print_of(body: &[u8]) -> [u8; 20] {
    let mut h = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    h.update(&[0x99]);
    h.update(&u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
    h.update(body);
    let mut out = [0; 20];
    for (o, b) in out.iter_mut().zip(h.finish().as_ref()) {
        *o = *b;
    }
    out
}

/// What a key's body holds, if it is one that encrypts.
fn numbers(body: &[u8]) -> Option<Numbers> {
    let mut r = Reader(body);
    if r.byte()? != 4 {
        return None;
    }
    r.take(4)?;
    match r.byte()? {
        1 | 2 => {
            let (modulus, exponent) = (r.number()?.to_vec(), r.number()?.to_vec());
            (modulus.len() >= MIN_RSA_BYTES).then_some(Numbers::Rsa { modulus, exponent })
        }
        18 => {
            let length = usize::from(r.byte()?);
            if r.take(length)? != CURVE25519 {
                return None;
            }
            let point = r.number()?;
            let point = point.strip_prefix(&[0x40])?.try_into().ok()?;
            let [3, 1, hash, cipher] = r.take(4)? else { return None };
            Some(Numbers::X25519 { point, hash: *hash, cipher: *cipher })
        }
        _ => None,
    }
}

/// What a signature of version 4 says of the key before it. It is not verified: the key is the operator's own word.
fn apply_signature(body: &[u8], key: Option<&mut Candidate>) {
    let Some(key) = key else { return };
    let mut r = Reader(body);
    if r.byte() != Some(4) {
        return;
    }
    match r.byte() {
        Some(KEY_REVOCATION | SUBKEY_REVOCATION) => key.revoked = true,
        // Binding of a subkey, or a certification of the primary key (0x10 to 0x13, 0x1f).
        Some(SUBKEY_BINDING | 0x10..=0x13 | 0x1f) => {
            if let Some(flags) = key_flags(&mut r) {
                key.may_encrypt = Some(flags & MAY_ENCRYPT != 0);
            }
        }
        _ => {}
    }
}

fn key_flags(r: &mut Reader<'_>) -> Option<u8> {
    r.take(2)?;
    let length = usize::from(u16::from_be_bytes(r.take(2)?.try_into().ok()?));
    let mut hashed = Reader(r.take(length)?);
    while !hashed.0.is_empty() {
        let length = hashed.length()?;
        let (kind, content) = hashed.take(length)?.split_first()?;
        if kind & 0x7f == KEY_FLAGS {
            return content.first().copied();
        }
    }
    None
}

/// Bytes as they come; every method is `None` at the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A multiprecision integer (RFC 4880, section 3.2).
    fn number(&mut self) -> Option<&'a [u8]> {
        let bits = usize::from(u16::from_be_bytes(self.take(2)?.try_into().ok()?));
        self.take(bits.div_ceil(8))
    }

    /// A length in the new format, which subpackets share. Partial lengths hold no keys.
    fn length(&mut self) -> Option<usize> {
        let first = usize::from(self.byte()?);
        match first {
            0..=191 => Some(first),
            192..=223 => Some((first - 192) * 256 + usize::from(self.byte()?) + 192),
            255 => usize::try_from(u32::from_be_bytes(self.take(4)?.try_into().ok()?)).ok(),
            _ => None,
        }
    }

    /// The next packet's tag and body, in the old or the new format.
    fn packet(&mut self) -> Option<(u8, &'a [u8])> {
        let head = self.byte()?;
        if head & 0x80 == 0 {
            return None;
        }
        if head & 0x40 != 0 {
            let length = self.length()?;
            return Some((head & 0x3f, self.take(length)?));
        }
        let length = match head & 3 {
            0 => usize::from(self.byte()?),
            1 => usize::from(u16::from_be_bytes(self.take(2)?.try_into().ok()?)),
            2 => usize::try_from(u32::from_be_bytes(self.take(4)?.try_into().ok()?)).ok()?,
            _ => self.0.len(),
        };
        Some((head >> 2 & 0x0f, self.take(length)?))
    }

    fn skip_signatures(&mut self) {
        let mut ahead = Reader(self.0);
        while let Some((SIGNATURE, _)) = ahead.packet() {
            self.0 = ahead.0;
        }
    }
}
