//! Barrier keys and shares. `/system/key-status`, `/system/rotate`, `/system/rekey`,
//! `/system/generate-root`.

use crate::sensitive::{expose, expose_option, nullable, secrets, secrets_option};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// `GET sys/key-status`. `/system/key-status`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct KeyStatus {
    /// Number of the key that new records are sealed with.
    pub term: u64,
    /// RFC 3339.
    pub install_time: String,
    /// Records sealed in this term.
    pub encryptions: u64,
}

/// `PUT sys/rekey/init`. `/system/rekey`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RekeyInit {
    /// How many new shares.
    pub secret_shares: u8,
    /// How many of them open the vault.
    pub secret_threshold: u8,
    /// The new shares replace the old ones only after they have been given back.
    #[serde(default)]
    pub require_verification: bool,
}

/// `GET sys/rekey/init`, `GET sys/rekey/verify`. `/system/rekey`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RekeyStatus {
    /// Names the rekey in progress.
    #[serde(deserialize_with = "nullable")]
    pub nonce: String,
    /// A rekey is in progress.
    pub started: bool,
    /// New threshold.
    pub t: u32,
    /// New shares.
    pub n: u32,
    /// Shares given so far.
    pub progress: u32,
    /// Shares needed.
    pub required: u32,
    /// See [`RekeyInit::require_verification`].
    pub verification_required: bool,
    /// Names the verification in progress.
    #[serde(deserialize_with = "nullable")]
    pub verification_nonce: String,
}

/// `PUT sys/rekey/update`, `PUT sys/rekey/verify`. `/system/rekey`.
#[derive(Debug, Deserialize, Serialize)]
pub struct RekeyKey {
    /// One share, hex or base64.
    #[serde(serialize_with = "expose")]
    pub key: SecretString,
    /// From [`RekeyStatus`].
    pub nonce: String,
}

/// The answer to one share: progress, or the new shares. `/system/rekey`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RekeyUpdate {
    /// Names the rekey.
    #[serde(deserialize_with = "nullable")]
    pub nonce: String,
    /// Done: the new shares are here, or have been verified.
    pub complete: bool,
    /// Shares given so far.
    pub progress: u32,
    /// Shares needed.
    pub required: u32,
    /// New threshold.
    pub t: u32,
    /// New shares in hex.
    #[serde(deserialize_with = "secrets")]
    pub keys: Vec<SecretString>,
    /// New shares in base64.
    #[serde(deserialize_with = "secrets")]
    pub keys_base64: Vec<SecretString>,
    /// The new shares take effect only after `sys/rekey/verify`.
    pub verification_required: bool,
    /// For `sys/rekey/verify`.
    #[serde(deserialize_with = "nullable")]
    pub verification_nonce: String,
}

/// `PUT sys/generate-root/attempt`. `/system/generate-root`.
#[derive(Debug, Default, Serialize)]
pub struct GenerateRootInit {
    /// As long as a token ([`GenerateRootStatus::otp_length`] bytes); made by the server when absent.
    #[serde(serialize_with = "expose_option", skip_serializing_if = "Option::is_none")]
    pub otp: Option<SecretString>,
    /// Instead of a one-time password: an OpenPGP public key, base64 or ASCII armor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgp_key: Option<String>,
}

/// `GET sys/generate-root/attempt`, and the answer to a share. `/system/generate-root`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct GenerateRootStatus {
    /// Names the attempt.
    #[serde(deserialize_with = "nullable")]
    pub nonce: String,
    /// An attempt is under way.
    pub started: bool,
    /// Shares given so far.
    pub progress: u32,
    /// Shares needed.
    pub required: u32,
    /// The token was made: [`encoded_token`](Self::encoded_token) holds it.
    pub complete: bool,
    /// Of the PGP key that the token will be encrypted to, if there is one.
    #[serde(deserialize_with = "nullable")]
    pub pgp_fingerprint: String,
    /// Base64 without padding of the new token XOR the one-time password, or base64 of a PGP message.
    #[serde(deserialize_with = "nullable")]
    pub encoded_token: String,
    /// The one-time password, only where the server made it and only in the answer to the start.
    #[serde(deserialize_with = "secrets_option")]
    pub otp: Option<SecretString>,
    /// Bytes that a one-time password must have.
    pub otp_length: usize,
}
