//! The wire types of Vault's HTTP API v1, shared by client, command line, daemon and gateway.
//!
//! Only shapes live here: serde derives and no I/O. Each type names the page of the API it
//! follows, below <https://developer.hashicorp.com/vault/api-docs>. Answers are read tolerantly
//! (absent fields take their default, unknown ones are ignored), so that one set of types reads
//! every server that speaks the API. Tokens and shares are [`SecretString`]: they do not print
//! and are wiped when dropped.
#![warn(missing_docs)]

pub mod auth;
mod envelope;
pub mod json;
pub mod secrets;
mod sensitive;
pub mod sys;

#[cfg(test)]
mod tests;

pub use envelope::{Auth, Envelope, ErrorBody, Keys, WrapInfo};
pub use secrecy::{ExposeSecret, SecretString};
pub use sensitive::{expose, expose_option, secrets, secrets_option};

/// A JSON object.
pub type Map = serde_json::Map<String, serde_json::Value>;
