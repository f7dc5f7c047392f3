//! What an audit tells of its devices.

use super::tail::Point;
use super::{DeviceConfig, json};

/// Where a device's chain stands: stored in the barrier, checked at the next start.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Head {
    pub device: String,
    pub seq: u64,
    /// Lower-case hex of the chain value of line `seq`.
    pub chain: String,
}

impl Head {
    pub(super) fn point(&self) -> Option<Point> {
        Some(Point { seq: self.seq, chain: json::unhex(self.chain.as_bytes())? })
    }
}

/// Every device's head and the key that signs their checkpoints: what a stranger needs to check
/// the logs, as `sys/audit-head` answers it and as it is exported. Nothing in it is secret; whoever
/// keeps it apart from the logs can prove them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Heads {
    /// 64 hex digits.
    pub public_key: String,
    /// When it was taken; RFC 3339.
    pub time: String,
    pub heads: Vec<Head>,
}

/// A device's state for `sys/audit` and seal-status.
#[derive(Clone, Debug)]
pub struct DeviceStatus {
    pub config: DeviceConfig,
    pub name: String,
    pub healthy: bool,
    /// The last failure, in the system's words.
    pub error: Option<String>,
    pub seq: u64,
    /// Records that this device did not take since the unseal.
    pub missed: u64,
    /// What was found when the file was opened: `torn_line`, `tail_missing`, `foreign_tail`,
    /// `new_file`, `head_not_checked`.
    pub flags: Vec<&'static str>,
}
