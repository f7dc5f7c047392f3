//! The barrier: what turns plaintext records into stored bytes and back.

use serde::{Deserialize, Serialize};

/// The cipher that seals records, chosen once at init. Both take 24 random bytes a record and keep no counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cipher {
    /// XAES-256-GCM (C2SP).
    #[default]
    #[serde(rename = "xaes-256-gcm")]
    XAes256Gcm,
    /// XChaCha20-Poly1305.
    #[serde(rename = "xchacha20-poly1305")]
    XChaCha20Poly1305,
}
