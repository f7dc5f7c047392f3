//! TOTP. `/secret/totp`.

use crate::sensitive::{expose, expose_option, nullable, secrets_option};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// `POST :mount/keys/:name`. `/secret/totp`, "Create key". Absent fields take the server's defaults.
#[derive(Debug, Default, Serialize)]
pub struct CreateKey {
    /// The server makes the key; otherwise `key` or `url` holds it.
    pub generate: bool,
    /// `false`: a generated key is not shown, not even once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exported: Option<bool>,
    /// Bytes of a generated key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_size: Option<u32>,
    /// Width of a generated key's QR code, in pixels; 0 gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qr_size: Option<u32>,
    /// An imported key, in base32.
    #[serde(serialize_with = "expose_option", skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretString>,
    /// An imported key, as `otpauth://totp/…`.
    #[serde(serialize_with = "expose_option", skip_serializing_if = "Option::is_none")]
    pub url: Option<SecretString>,
    /// Who asks for the codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Whose codes they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    /// Seconds or a duration such as `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
    /// `SHA1`, `SHA256` or `SHA512`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// 6 or 8
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digits: Option<u8>,
    /// Periods before and after the current one whose codes are accepted: 0 or 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skew: Option<u8>,
}

/// `data` of the answer that shows a generated key, once. `/secret/totp`, "Create key".
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NewKey {
    /// `otpauth://totp/…`, with the key in it.
    #[serde(deserialize_with = "secrets_option")]
    pub url: Option<SecretString>,
    /// The URL as a QR code: a PNG in base64.
    #[serde(deserialize_with = "secrets_option")]
    pub barcode: Option<SecretString>,
}

/// `data` of `GET :mount/keys/:name`; the key itself is never read back. `/secret/totp`, "Read key".
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Key {
    /// Whose codes they are.
    #[serde(deserialize_with = "nullable")]
    pub account_name: String,
    /// `SHA1`, `SHA256` or `SHA512`
    pub algorithm: String,
    /// 6 or 8
    pub digits: u8,
    /// Who asks for the codes.
    #[serde(deserialize_with = "nullable")]
    pub issuer: String,
    /// Seconds.
    pub period: u64,
}

/// `data` of `GET :mount/code/:name`, and the body of `POST`. `/secret/totp`, "Generate code".
#[derive(Debug, Deserialize, Serialize)]
pub struct Code {
    /// As many digits as the key has.
    #[serde(serialize_with = "expose")]
    pub code: SecretString,
}

/// `data` of `POST :mount/code/:name`. `/secret/totp`, "Validate code".
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Validity {
    /// The code is of this time and was not used before.
    pub valid: bool,
}
