//! What every enveloped answer looks like.
//! <https://developer.hashicorp.com/vault/api-docs>, "Reading, writing, and listing secrets" and "Error response".

use crate::sensitive::nullable;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;

/// An answer. `data` is `None` where the server had nothing to say.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Envelope<T> {
    /// Empty in wrapped answers.
    #[serde(default, deserialize_with = "nullable")]
    pub request_id: String,
    /// Empty without a lease.
    #[serde(default, deserialize_with = "nullable")]
    pub lease_id: String,
    /// The lease may be renewed.
    #[serde(default, deserialize_with = "nullable")]
    pub renewable: bool,
    /// Seconds; also given by KV v1, without a lease.
    #[serde(default, deserialize_with = "nullable")]
    pub lease_duration: u64,
    /// The answer itself.
    #[serde(default = "none")]
    pub data: Option<T>,
    /// Set instead of `data` when the answer was wrapped.
    #[serde(default)]
    pub wrap_info: Option<WrapInfo>,
    /// What the server wants the caller to know.
    #[serde(default, deserialize_with = "nullable")]
    pub warnings: Vec<String>,
    /// Set by logins and token creation.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// Type of the mount that answered, since Vault 1.16.
    #[serde(default, deserialize_with = "nullable")]
    pub mount_type: String,
}

fn none<T>() -> Option<T> {
    None
}

/// The `auth` object of an answer. `/auth/token`, "Create token".
#[derive(Debug, Deserialize)]
pub struct Auth {
    /// The token.
    pub client_token: SecretString,
    /// Names the token without giving its powers.
    #[serde(default)]
    pub accessor: String,
    /// All policies of the token.
    #[serde(default, deserialize_with = "nullable")]
    pub policies: Vec<String>,
    /// Those of the token itself.
    #[serde(default, deserialize_with = "nullable")]
    pub token_policies: Vec<String>,
    /// Those of its entity and groups.
    #[serde(default, deserialize_with = "nullable")]
    pub identity_policies: Vec<String>,
    /// What the login method tells about the caller.
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: BTreeMap<String, String>,
    /// Time to live, in seconds; 0 never expires.
    #[serde(default)]
    pub lease_duration: u64,
    /// The token may be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// Empty without an entity.
    #[serde(default, deserialize_with = "nullable")]
    pub entity_id: String,
    /// `service` or `batch`.
    #[serde(default, deserialize_with = "nullable")]
    pub token_type: String,
    /// Not revoked with a parent.
    #[serde(default)]
    pub orphan: bool,
    /// Uses left; 0 is unlimited.
    #[serde(default)]
    pub num_uses: u64,
}

/// A wrapped answer. `/system/wrapping-unwrap`.
#[derive(Debug, Deserialize)]
pub struct WrapInfo {
    /// Unwraps the answer once.
    pub token: SecretString,
    /// Names the wrapping token.
    #[serde(default)]
    pub accessor: String,
    /// Seconds.
    #[serde(default)]
    pub ttl: u64,
    /// RFC 3339.
    #[serde(default)]
    pub creation_time: String,
    /// The path that was asked.
    #[serde(default)]
    pub creation_path: String,
}

/// The body of an error. An empty list with 404 says that nothing is there.
#[derive(Debug, Default, Deserialize)]
pub struct ErrorBody {
    /// For people; matched on only where Vault has fixed the words.
    #[serde(default, deserialize_with = "nullable")]
    pub errors: Vec<String>,
    /// May come with an error.
    #[serde(default, deserialize_with = "nullable")]
    pub warnings: Vec<String>,
}

/// `data` of a LIST.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Keys {
    /// Sorted; folders end in `/`.
    #[serde(default, deserialize_with = "nullable")]
    pub keys: Vec<String>,
}
