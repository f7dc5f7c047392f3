//! An async client of HashiCorp Vault's HTTP API v1.
//!
//! ```no_run
//! use serde_json::json;
//! use vault_client::Builder;
//!
//! # async fn run() -> vault_client::Result<()> {
//! let client = Builder::new("https://vault.internal:8200")
//!     .ca_file("/etc/vault/ca.pem")
//!     .token("hvs.…")
//!     .build()?;
//!
//! let kv = client.kv2("secret");
//! kv.put("app", &json!({ "password": "s3cret" }), None).await?;
//! let version = kv.get("app").await?;
//! let password = version.and_then(|v| v.data).and_then(|d| d.secret("password"));
//! # let _ = password;
//! # Ok(())
//! # }
//! ```
//!
//! - **One server, one client.** [`Client`] is cheap to clone; clones share connections and token.
//!   [`Client::with_token`] makes one with a token of its own.
//! - **Settings** come from code ([`Builder::new`]) or from Vault's environment variables
//!   ([`Builder::from_env`]). TLS 1.3, a private CA, client certificates, HTTP/2 or 1.1; a unix
//!   socket as `unix:///path`. What switches protection off starts with `danger_`.
//! - **Retries** happen only where a repeated call changes nothing, see [`Call`].
//! - **Secrets** do not print and are wiped when dropped: [`SecretString`], [`SecretMap`].
//! - **Errors** have a [`Kind`] to act on and the server's own messages.
//! - [`Client::keep_token_alive`] renews in the background, [`Cache`] answers reads from memory.
//!
//! Keep a token alive, and log in again when it ends:
//!
//! ```no_run
//! # async fn run(client: vault_client::Client, jwt: vault_client::SecretString) -> vault_client::Result<()> {
//! use vault_client::TokenState;
//! loop {
//!     client.login_jwt("jwt", "app", jwt.clone()).await?;
//!     let mut renewal = client.keep_token_alive();
//!     while let Some(state) = renewal.changed().await {
//!         match state {
//!             TokenState::Gone => break,
//!             TokenState::Final { ttl } => tokio::time::sleep(ttl).await,
//!             _ => {}
//!         }
//!     }
//! }
//! # }
//! ```
#![warn(missing_docs)]

mod buffer;
mod cache;
mod call;
mod client;
mod config;
mod connect;
mod error;
pub mod limits;
mod path;
mod renew;
mod retry;
mod secret;
mod secrets;
mod sys;
mod tls;
mod token;
mod transport;

#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use call::Call;
pub use client::{Client, Preview};
pub use config::{Builder, DEFAULT_ADDRESS};
pub use error::{Error, Kind, Result};
pub use renew::{Renewal, TokenState};
pub use secret::{SecretMap, ShapeError};
pub use secrets::gateway::Gateway;
pub use secrets::kv1::Kv1;
pub use secrets::kv2::{Kv2, Version};
pub use secrets::totp::Totp;
pub use sys::Sys;
pub use token::Tokens;
pub use vault_api as api;
pub use vault_api::{ExposeSecret, SecretString};
