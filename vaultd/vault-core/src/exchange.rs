//! The boundary between the core and whatever speaks to the network: a decoded request in,
//! a recorded answer out. No HTTP and no TLS on this side of it.

use crate::core::Scraped;
use crate::metrics::Format;
use async_trait::async_trait;
use secmem::SecretString;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use vault_logical::{Connection, Data, Error, RequestId, Response};

/// What the verb asked for. POST and PUT are both `Write`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Read,
    Write,
    Patch,
    Delete,
    List,
    Help,
}

/// One decoded API request.
pub struct Incoming {
    pub id: RequestId,
    pub verb: Verb,
    /// Canonical (see `vault_logical::path::canonical`), below `/v1/`.
    pub path: String,
    pub token: Option<SecretString>,
    /// `X-Vault-Namespace`, trimmed of slashes; empty is the root namespace.
    pub namespace: String,
    /// Body object, or query parameters for verbs without a body.
    pub data: Data,
    /// `X-Vault-Wrap-TTL` as sent.
    pub wrap_ttl: Option<String>,
    /// PATCH with `application/merge-patch+json`.
    pub merge_patch: bool,
    pub connection: Connection,
}

/// The `auth` object of an answer to a login or token request.
pub struct IssuedAuth {
    pub client_token: SecretString,
    pub accessor: String,
    /// All policies, sorted.
    pub policies: Vec<String>,
    pub token_policies: Vec<String>,
    pub metadata: BTreeMap<String, String>,
    pub lease_duration: Duration,
    pub renewable: bool,
    pub entity_id: String,
    /// `service`
    pub token_type: &'static str,
    pub orphan: bool,
    pub num_uses: u64,
}

/// A file to be sent; it has no name any more and is gone with this.
pub struct Download {
    pub file: std::fs::File,
    /// Bytes of it.
    pub length: u64,
}

/// The one form of an answer. Only the pipeline makes one, from a recorded outcome.
pub struct Reply {
    pub request_id: RequestId,
    pub body: ReplyBody,
    /// The answer held key material (init, unseal, rekey): close the connection after it
    /// so that its buffers are dropped.
    pub close: bool,
}

// One value a request, moved and never stored: a box would only cost an allocation.
#[allow(clippy::large_enum_variant)]
pub enum ReplyBody {
    /// Vault's envelope; 204 when there is nothing in it, 404 when a LIST found no keys.
    Envelope {
        response: Response,
        auth: Option<IssuedAuth>,
        /// Also put the data's keys at top level (Vault does so for some sys paths).
        flatten: bool,
        /// Type of the mount that answered, `system` for sys.
        mount_type: String,
        list: bool,
    },
    /// Not enveloped: seal-status, health, init, leader.
    Bare {
        status: u16,
        json: Value,
    },
    /// A file, as it is.
    Download(Download),
    Error(Error),
}

/// The core, as the listener sees it.
#[async_trait]
pub trait Exchange: Send + Sync {
    async fn handle(&self, incoming: Incoming) -> Reply;
    /// What the server counts of itself, for somebody without a token.
    async fn scrape(&self, format: Format) -> Option<Scraped> {
        let _ = format;
        None
    }
    /// True while sealed or uninitialised: the codec caps bodies at the pre-unseal size.
    fn sealed(&self) -> bool;
}
