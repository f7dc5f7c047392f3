//! Secrets engines.

pub mod gateway;
pub mod kv1;
pub mod kv2;
pub mod totp;
