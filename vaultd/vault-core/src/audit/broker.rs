//! The set of devices and the way every record takes to them.

use super::{
    AuditError, Audited, DeviceConfig, IdentityHashes, Opened, PublicKey, Recorded, RequestEntry,
    ResponseEntry, SealedRing,
};
use secmem::Key;
use std::path::PathBuf;
use std::sync::Arc;
use vault_logical::{Clock, Completion, RequestId};

/// What the audit needs from the configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The only directories that audit files may lie in.
    pub audit_dirs: Vec<PathBuf>,
}

/// Where a device's chain stands: stored in the barrier, checked at the next start.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Head {
    pub device: String,
    pub seq: u64,
    /// Lower-case hex of the chain value of line `seq`.
    pub chain: String,
}

/// A device's state for `sys/audit` and seal-status.
#[derive(Clone, Debug)]
pub struct DeviceStatus {
    pub name: String,
    pub healthy: bool,
    /// The last failure, in the system's words.
    pub error: Option<String>,
    pub seq: u64,
    /// Records that this device did not take since the unseal.
    pub missed: u64,
    /// Findings at open: `torn_line`, `tail_missing`, `foreign_tail`, `new_file`.
    pub flags: Vec<&'static str>,
}

/// The audit of one unsealed period. Cheap to clone.
#[derive(Clone)]
pub struct Audit(pub(super) Arc<Inner>);

pub(super) struct Inner {}

impl Inner {
    pub(super) fn complete(&self, _id: RequestId, _completion: &Completion) {}
}

impl Audit {
    /// Starts without devices. `signing` is the 32-byte Ed25519 seed (`KeyName::AuditSigning`).
    pub fn start(_settings: Settings, _signing: Key, _clock: Arc<dyn Clock>) -> Result<Audit, AuditError> {
        Err(AuditError::NotRecorded)
    }

    /// Opens a device and adds it. `hmac` is `KeyName::AuditHmac(config.name)`; `expected` the
    /// head that the barrier holds for it, if any.
    pub fn enable(
        &self,
        _config: DeviceConfig,
        _hmac: Key,
        _expected: Option<&Head>,
    ) -> Result<(), AuditError> {
        Err(AuditError::NotRecorded)
    }

    /// Takes a device out, after a last checkpoint.
    pub fn disable(&self, _name: &str) -> Result<(), AuditError> {
        Err(AuditError::NotRecorded)
    }

    /// Puts a request on record. Call it for refused requests as well.
    pub fn request(&self, _entry: &RequestEntry<'_>) -> Result<Audited, AuditError> {
        Err(AuditError::NotRecorded)
    }

    /// Puts the answer on record; on failure the outcome comes back so that it can be undone.
    pub fn response<T>(
        &self,
        _audited: Audited,
        _entry: &ResponseEntry<'_>,
        outcome: T,
    ) -> Result<Recorded<T>, (AuditError, T)> {
        Err((AuditError::NotRecorded, outcome))
    }

    /// Reserves the completion record of a streamed answer.
    pub fn open(&self, _audited: Audited) -> Result<Opened, AuditError> {
        Err(AuditError::NotRecorded)
    }

    /// Keyed hashes of a token and its accessor for every device, to be cached with the token.
    pub fn hash_identity(&self, _token: &str, _accessor: &str) -> Result<IdentityHashes, AuditError> {
        Err(AuditError::NotRecorded)
    }

    /// Changes with the set of devices: hashes of an older generation should be renewed.
    pub fn generation(&self) -> u64 {
        0
    }

    /// `sys/audit-hash/<device>`: `hmac-sha256:<hex>` of `input`.
    pub fn hash(&self, _device: &str, _input: &str) -> Result<String, AuditError> {
        Err(AuditError::NoSuchDevice)
    }

    /// Writes what was tried while sealed. Call it after the devices are enabled, before requests.
    pub fn drain_sealed(&self, _ring: &SealedRing) -> Result<(), AuditError> {
        Err(AuditError::NotRecorded)
    }

    /// Where every device's chain stands now.
    pub fn heads(&self) -> Vec<Head> {
        Vec::new()
    }

    pub fn status(&self) -> Vec<DeviceStatus> {
        Vec::new()
    }

    /// Opens every file anew under its name (SIGHUP after logrotate); the chain goes on.
    pub fn reopen(&self) -> Result<(), AuditError> {
        Err(AuditError::NotRecorded)
    }

    /// The key that verifies the checkpoints.
    pub fn public_key(&self) -> PublicKey {
        PublicKey([0; 32])
    }

    /// Last checkpoint, sync, stop. Later records fail with `Sealed`. Answers the final heads.
    pub fn close(&self) -> Vec<Head> {
        Vec::new()
    }
}
