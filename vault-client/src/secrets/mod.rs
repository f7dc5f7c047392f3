//! Secrets engines.

pub mod kv1;
pub mod kv2;
