//! Secrets engines.

pub(crate) mod cubbyhole;
pub(crate) mod gateway;
pub(crate) mod kv;
pub(crate) mod totp;
