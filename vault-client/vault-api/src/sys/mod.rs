//! `sys/`: seal, keys, mounts, policies, audit, health. `/system`.

mod audit;
mod keys;
mod mounts;
mod policies;
mod seal;

pub use audit::{AuditDevice, AuditHead, AuditHeads, EnableAudit};
pub use keys::{
    GenerateRootInit, GenerateRootStatus, KeyStatus, RekeyInit, RekeyKey, RekeyStatus, RekeyUpdate,
};
pub use mounts::{EnableMount, MountConfig, MountEntry, TuneMount};
pub use policies::{AclPolicy, CapabilitiesRequest, PolicyText};
pub use seal::{Health, InitRequest, InitResponse, InitStatus, Leader, SealStatus, UnsealRequest};
