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
