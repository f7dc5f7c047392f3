//! Secrets engines. `/secret`.

pub mod kv2;
