//! The daemon: sockets, TLS, configuration, signals and the wiring of core, engines and gateway.
//! The only crate that binds a socket or reads a config file.

mod audit_verify;
pub mod certificate;
pub mod cli;
pub mod codec;
pub mod config;
mod dataplane;
pub mod descriptors;
pub mod dev;
pub mod egress;
mod figures;
pub mod harden;
pub mod limits;
pub mod listener;
pub mod log;
pub mod notify;
pub mod run;
pub mod server;
pub mod signals;
pub mod stores;
pub mod tls;

#[cfg(test)]
mod seam_tests;
