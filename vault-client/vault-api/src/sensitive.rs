//! Serialising secrets, only where a field says so.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serializer};

/// `serialize_with` for a secret that must go on the wire.
///
/// # Errors
/// The serializer's own.
pub fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// The same for an optional secret.
///
/// # Errors
/// The serializer's own.
pub fn expose_option<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(s) => serializer.serialize_str(s.expose_secret()),
        None => serializer.serialize_none(),
    }
}

/// `deserialize_with` for a list of secrets that may be absent or `null`.
///
/// # Errors
/// The deserializer's own.
pub fn secrets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SecretString>, D::Error> {
    Option::<Vec<SecretString>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// `deserialize_with` for a secret that may be absent, `null` or empty.
///
/// # Errors
/// The deserializer's own.
pub fn secrets_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    let secret = Option::<SecretString>::deserialize(deserializer)?;
    Ok(secret.filter(|s| !s.expose_secret().is_empty()))
}

/// `deserialize_with` for any field that Vault may answer as `null`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
