//! The one integration binary: every test of the daemon starts the real process, over TLS, on
//! port 0.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod anchored;
mod audit;
mod audit_down;
mod descriptors;
mod examples;
mod fixtures;
mod gateway;
mod gateway_ops;
mod generate_root;
mod life;
mod memory;
mod metrics;
mod names;
mod process;
mod snapshots;
mod support;
mod tidy;
mod wire;
