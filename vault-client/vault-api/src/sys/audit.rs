//! Audit devices. `/system/audit`.

use crate::sensitive::nullable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One entry of `GET sys/audit`. `/system/audit`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AuditDevice {
    /// `file`
    #[serde(rename = "type")]
    pub device_type: String,
    /// Where it is mounted, with a trailing slash.
    #[serde(deserialize_with = "nullable")]
    pub path: String,
    /// Free text.
    #[serde(deserialize_with = "nullable")]
    pub description: String,
    /// Of the device; a file has `file_path`.
    #[serde(deserialize_with = "nullable")]
    pub options: BTreeMap<String, String>,
    /// Not replicated.
    pub local: bool,
}

/// `GET sys/audit-head`, of this server only: what proves its audit logs to a stranger.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AuditHeads {
    /// Signs the logs' checkpoints; 64 hex digits.
    pub public_key: String,
    /// When it was taken; RFC 3339.
    pub time: String,
    /// One for each device.
    pub heads: Vec<AuditHead>,
}

/// Where one device's log stood.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AuditHead {
    /// With a trailing slash.
    pub device: String,
    /// Number of the last line.
    pub seq: u64,
    /// Its chain value; 64 hex digits.
    pub chain: String,
}

/// `PUT sys/audit/:path`. `/system/audit`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct EnableAudit {
    /// `file`
    #[serde(rename = "type")]
    pub device_type: String,
    /// Free text.
    pub description: String,
    /// Of the device; a file has `file_path`.
    pub options: BTreeMap<String, String>,
    /// Not replicated.
    pub local: bool,
}
