//! Secrets engines and auth methods.
//!
//! Each is one folder and one line in [`factories`]. An engine sees a request, a view of its
//! own storage prefix and a clock; it never sees the core, the store or a socket.

mod auth;
pub mod limits;
mod params;
mod pem;
mod secrets;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod testing;

use vault_logical::Factory;

/// Every engine type that can be mounted.
pub fn factories() -> &'static [Factory] {
    &[
        secrets::kv::FACTORY,
        secrets::gateway::FACTORY,
        secrets::cubbyhole::FACTORY,
        secrets::totp::FACTORY,
        auth::jwt::FACTORY,
    ]
}
