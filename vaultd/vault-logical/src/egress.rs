//! Calls out of the daemon on behalf of engines (a JWKS fetch). `vaultd`
//! provides the implementation: roots, address checks, time-outs.

use crate::Result;
use async_trait::async_trait;

pub struct EgressRequest {
    /// `https://…` (or `http://` to loopback).
    pub url: String,
    /// PEM roots that replace the system's, when given.
    pub ca_pem: Option<String>,
}

pub struct EgressResponse {
    pub status: u16,
    /// At most [`crate::limits::MAX_EGRESS_BODY`] bytes.
    pub body: Vec<u8>,
}

#[async_trait]
pub trait Egress: Send + Sync {
    /// A GET without redirects.
    async fn get(&self, request: EgressRequest) -> Result<EgressResponse>;
}
