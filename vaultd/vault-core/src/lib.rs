//! The vault without its network: seal, request pipeline, tokens, policies, audit, mounts, sys.

pub mod audit;
mod binding;
mod broken;
mod ceremony;
mod charge;
mod core;
mod devices;
mod dispatch;
pub mod exchange;
mod fault;
mod help;
pub mod limits;
pub mod metrics;
mod mounts;
mod pgp;
mod pipeline;
mod policies;
pub mod policy;
mod record;
mod seal;
#[cfg(test)]
mod seams;
mod snapshots;
mod status;
mod sys;
pub mod token;
mod unsealed;
mod view;

pub use crate::core::{Core, CoreConfig, CoreHandle, HeadExport, Hooks, ProcessReport};
pub use dispatch::LocalDispatch;
pub use mounts::SystemTtl;
pub use snapshots::{SnapshotConfig, SnapshotFigures};
