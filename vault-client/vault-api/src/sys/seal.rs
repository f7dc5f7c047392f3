//! Initialise, unseal, health. `/system/init`, `/system/unseal`, `/system/seal-status`,
//! `/system/health`, `/system/leader`. None of these answers is enveloped.

use crate::sensitive::{expose_option, nullable, secrets, secrets_option};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// `GET sys/init`. `/system/init`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct InitStatus {
    /// The store has been initialised.
    pub initialized: bool,
}

/// `PUT sys/init`. `/system/init`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct InitRequest {
    /// How many shares, 1 to 255.
    pub secret_shares: u8,
    /// How many of them open the vault.
    pub secret_threshold: u8,
}

/// The one answer that shows the shares and the root token. `/system/init`.
#[derive(Debug, Deserialize)]
pub struct InitResponse {
    /// Shares in hex.
    #[serde(default, deserialize_with = "secrets")]
    pub keys: Vec<SecretString>,
    /// The same shares in base64.
    #[serde(default, deserialize_with = "secrets")]
    pub keys_base64: Vec<SecretString>,
    /// A token with the root policy.
    #[serde(default, deserialize_with = "secrets_option")]
    pub root_token: Option<SecretString>,
}

/// `PUT sys/unseal`. `/system/unseal`.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct UnsealRequest {
    /// One share, hex or base64.
    #[serde(
        default,
        serialize_with = "expose_option",
        deserialize_with = "secrets_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub key: Option<SecretString>,
    /// Forget the shares given so far.
    #[serde(default)]
    pub reset: bool,
    /// Open a store that is older than its anchor, knowing what that means. An extension.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept_rollback: bool,
}

/// `GET sys/seal-status`, and the answer to an unseal. `/system/seal-status`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SealStatus {
    /// `shamir`
    #[serde(rename = "type")]
    pub seal_type: String,
    /// The store has been initialised.
    pub initialized: bool,
    /// Nothing but the seal can be used.
    pub sealed: bool,
    /// Threshold.
    pub t: u32,
    /// Shares.
    pub n: u32,
    /// Shares given so far.
    pub progress: u32,
    /// Names the unseal in progress.
    #[serde(deserialize_with = "nullable")]
    pub nonce: String,
    /// Of the server.
    #[serde(deserialize_with = "nullable")]
    pub version: String,
    /// RFC 3339.
    #[serde(deserialize_with = "nullable")]
    pub build_date: String,
    /// A seal migration is under way.
    pub migration: bool,
    /// Shares are recovery shares (auto-unseal).
    pub recovery_seal: bool,
    /// Empty when sealed.
    #[serde(deserialize_with = "nullable")]
    pub cluster_name: String,
    /// Empty when sealed.
    #[serde(deserialize_with = "nullable")]
    pub cluster_id: String,
    /// `sled`, `redb`, `raft`, …
    #[serde(deserialize_with = "nullable")]
    pub storage_type: String,
    /// How keys are held in memory: `memfd_secret`, `mlock` or `none`. An extension.
    #[serde(deserialize_with = "nullable")]
    pub key_memory: String,
    /// What an operator should know.
    #[serde(deserialize_with = "nullable")]
    pub warnings: Vec<String>,
}

/// `GET sys/health`. `/system/health`. The status code says the same.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Health {
    /// The store has been initialised.
    pub initialized: bool,
    /// Nothing but the seal can be used.
    pub sealed: bool,
    /// Another node is active.
    pub standby: bool,
    /// A standby that answers reads.
    pub performance_standby: bool,
    /// Unix seconds.
    pub server_time_utc: i64,
    /// Of the server.
    #[serde(deserialize_with = "nullable")]
    pub version: String,
    /// Empty when sealed.
    #[serde(deserialize_with = "nullable")]
    pub cluster_name: String,
    /// Empty when sealed.
    #[serde(deserialize_with = "nullable")]
    pub cluster_id: String,
}

/// `GET sys/leader`. `/system/leader`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Leader {
    /// More than one node can serve this store.
    pub ha_enabled: bool,
    /// The node asked is the active one.
    pub is_self: bool,
    /// RFC 3339.
    #[serde(deserialize_with = "nullable")]
    pub active_time: String,
    /// API address of the active node.
    #[serde(deserialize_with = "nullable")]
    pub leader_address: String,
}
