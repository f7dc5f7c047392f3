//! KV version 2. `/secret/kv/kv-v2`. Version 1 answers the secret itself as `data`.

use crate::sensitive::nullable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `data.metadata` of a read, and `data` of a write. `/secret/kv/kv-v2`, "Read secret version".
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct VersionMetadata {
    /// Counts from 1.
    pub version: u64,
    /// RFC 3339.
    pub created_time: String,
    /// RFC 3339; empty when not deleted.
    #[serde(deserialize_with = "nullable")]
    pub deletion_time: String,
    /// Gone for good.
    pub destroyed: bool,
    /// Of the key, for all versions.
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

/// `data` of a read, around the secret `T`. `/secret/kv/kv-v2`, "Read secret version".
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct ReadVersion<T> {
    /// `None` for a deleted or destroyed version.
    pub data: Option<T>,
    /// Of this version.
    #[serde(default)]
    pub metadata: VersionMetadata,
}

/// `POST|PATCH :mount/data/:path`. `/secret/kv/kv-v2`, "Create/Update secret".
#[derive(Debug, Serialize)]
pub struct WriteVersion<T> {
    /// See [`WriteOptions`].
    #[serde(skip_serializing_if = "WriteOptions::is_empty")]
    pub options: WriteOptions,
    /// The secret.
    pub data: T,
}

/// Conditions of a write. `/secret/kv/kv-v2`, "Create/Update secret".
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct WriteOptions {
    /// Write only if this is the current version; 0 means that there must be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cas: Option<u64>,
}

impl WriteOptions {
    /// True when nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.cas.is_none()
    }
}

/// `POST :mount/{delete,undelete,destroy}/:path`. `/secret/kv/kv-v2`, "Delete secret versions".
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Versions {
    /// Which ones.
    pub versions: Vec<u64>,
}

/// `data` of `GET :mount/metadata/:path`. `/secret/kv/kv-v2`, "Read secret metadata".
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Metadata {
    /// A write must state its version.
    pub cas_required: bool,
    /// RFC 3339.
    pub created_time: String,
    /// The newest.
    pub current_version: u64,
    /// Chosen by the user.
    pub custom_metadata: Option<BTreeMap<String, String>>,
    /// A duration; `0s` is never.
    pub delete_version_after: String,
    /// 0 is the mount's.
    pub max_versions: u64,
    /// The oldest that is kept.
    pub oldest_version: u64,
    /// RFC 3339.
    pub updated_time: String,
    /// By number.
    #[serde(deserialize_with = "nullable")]
    pub versions: BTreeMap<String, VersionState>,
}

/// One version in [`Metadata`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct VersionState {
    /// RFC 3339.
    pub created_time: String,
    /// RFC 3339; empty when not deleted.
    #[serde(deserialize_with = "nullable")]
    pub deletion_time: String,
    /// Gone for good.
    pub destroyed: bool,
}

/// `POST|PATCH :mount/metadata/:path`. `/secret/kv/kv-v2`, "Create/Update metadata". Absent fields
/// stay as they are.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct WriteMetadata {
    /// 0 is the mount's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_versions: Option<u64>,
    /// A write must state its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cas_required: Option<bool>,
    /// A duration; `0s` is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_version_after: Option<String>,
    /// Replaces all (POST) or merges, `null` removing one (PATCH).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_metadata: Option<BTreeMap<String, Option<String>>>,
}

/// `GET|POST :mount/config`. `/secret/kv/kv-v2`, "Configure the KV engine".
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    /// Versions kept of each key; 0 is 10.
    pub max_versions: u64,
    /// Every write must state its version.
    pub cas_required: bool,
    /// A duration; `0s` is never.
    #[serde(deserialize_with = "nullable")]
    pub delete_version_after: String,
}
