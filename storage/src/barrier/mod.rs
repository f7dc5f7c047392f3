//! The barrier: what turns plaintext records into stored bytes and back.

mod record;
#[cfg(test)]
mod tests;
mod xaes;

pub use record::{
    HEADER_BYTES, Header, Label, Place, Sealing, Subject, open, open_into, seal, seal_all, seal_key,
};

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use serde::{Deserialize, Serialize};

/// Bytes of a record key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce, drawn at random for each record.
pub const NONCE_BYTES: usize = 24;
/// Bytes of a tag.
pub const TAG_BYTES: usize = 16;

/// A tag did not fit its data: altered, moved, of another time, or under another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// The cipher that seals records, chosen once at init. Both take 24 random bytes a record and keep no counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cipher {
    /// XAES-256-GCM (C2SP).
    #[default]
    #[serde(rename = "xaes-256-gcm")]
    XAes256Gcm,
    /// XChaCha20-Poly1305.
    #[serde(rename = "xchacha20-poly1305")]
    XChaCha20Poly1305,
}

impl Cipher {
    /// As stored in each header.
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Cipher::XAes256Gcm => 1,
            Cipher::XChaCha20Poly1305 => 2,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Cipher> {
        match byte {
            1 => Some(Cipher::XAes256Gcm),
            2 => Some(Cipher::XChaCha20Poly1305),
            _ => None,
        }
    }

    /// Encrypts `data` in place and returns its tag. `key` must have [`KEY_BYTES`]; call it on an arena stack.
    fn encrypt(
        self,
        key: &[u8],
        nonce: &[u8; NONCE_BYTES],
        ad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; 16], Forged> {
        let key: &[u8; KEY_BYTES] = key.try_into().map_err(|_| Forged)?;
        match self {
            Cipher::XAes256Gcm => xaes::seal(key, nonce, ad, data),
            Cipher::XChaCha20Poly1305 => {
                let cipher = XChaCha20Poly1305::new(key.into());
                let tag = cipher.encrypt_inout_detached(nonce.into(), ad, data.into()).map_err(|_| Forged)?;
                Ok(tag.into())
            }
        }
    }

    /// Decrypts `data` in place; leaves it as it was when it is not genuine.
    fn decrypt(
        self,
        key: &[u8],
        nonce: &[u8; NONCE_BYTES],
        ad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), Forged> {
        let key: &[u8; KEY_BYTES] = key.try_into().map_err(|_| Forged)?;
        match self {
            Cipher::XAes256Gcm => xaes::open(key, nonce, ad, data, tag),
            Cipher::XChaCha20Poly1305 => {
                let cipher = XChaCha20Poly1305::new(key.into());
                cipher.decrypt_inout_detached(nonce.into(), ad, data.into(), tag.into()).map_err(|_| Forged)
            }
        }
    }
}
