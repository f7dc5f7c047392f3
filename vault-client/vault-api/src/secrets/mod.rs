//! Secrets engines. `/secret`.

pub mod gateway;
pub mod kv2;
pub mod totp;
