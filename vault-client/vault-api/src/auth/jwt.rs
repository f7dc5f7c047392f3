//! `auth/jwt/`. `/auth/jwt`.

use crate::sensitive::expose;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// `POST auth/jwt/login`. `/auth/jwt`, "JWT login".
#[derive(Debug, Deserialize, Serialize)]
pub struct Login {
    /// Empty for the mount's default role.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// The signed token.
    #[serde(serialize_with = "expose")]
    pub jwt: SecretString,
}
