//! Mounts of engines and login methods. `/system/mounts`, `/system/auth`.

use crate::sensitive::nullable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One entry of `GET sys/mounts` or `GET sys/auth`. `/system/mounts`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MountEntry {
    /// `kv`, `token`, …
    #[serde(rename = "type")]
    pub mount_type: String,
    /// Free text.
    #[serde(deserialize_with = "nullable")]
    pub description: String,
    /// Names the mount, whatever its path.
    #[serde(deserialize_with = "nullable")]
    pub accessor: String,
    /// Names the mount's storage.
    #[serde(deserialize_with = "nullable")]
    pub uuid: String,
    /// See [`MountConfig`].
    pub config: MountConfig,
    /// Not replicated.
    pub local: bool,
    /// Extra wrapping by the seal.
    pub seal_wrap: bool,
    /// Entropy from outside.
    pub external_entropy_access: bool,
    /// Of the engine; KV has `version`.
    #[serde(deserialize_with = "nullable")]
    pub options: BTreeMap<String, String>,
}

/// Configuration that every mount has. `/system/mounts`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MountConfig {
    /// Seconds; 0 is the server's.
    pub default_lease_ttl: u64,
    /// Seconds; 0 is the server's.
    pub max_lease_ttl: u64,
    /// Never cached.
    pub force_no_cache: bool,
    /// Of login mounts: `default-service`, …
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub token_type: String,
    /// Shown to users who cannot see the mount otherwise.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub listing_visibility: String,
}

/// `POST sys/mounts/:path`, `POST sys/auth/:path`. `/system/mounts`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct EnableMount {
    /// `kv`, `jwt`, …
    #[serde(rename = "type")]
    pub mount_type: String,
    /// Free text.
    pub description: String,
    /// Leases and visibility.
    pub config: TuneMount,
    /// Of the engine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Not replicated.
    pub local: bool,
    /// Extra wrapping by the seal.
    pub seal_wrap: bool,
}

/// `POST sys/mounts/:path/tune`. `/system/mounts`. Absent fields stay as they are.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TuneMount {
    /// Seconds or a duration such as `1h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_lease_ttl: Option<String>,
    /// Seconds or a duration such as `1h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lease_ttl: Option<String>,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `unauth` or `hidden`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listing_visibility: Option<String>,
    /// Of the engine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}
