//! The gateway's services: which upstreams apps may call with a key they cannot read. Of this
//! project, not of Vault: `ARCHITECTURE.md`.

use crate::sensitive::nullable;
use serde::{Deserialize, Serialize};

/// `POST|GET :mount/services/:name`. A write states the whole service.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Service {
    /// `scheme://host[:port]`
    pub upstream: String,
    /// PEM of the CA that signed the upstream's certificate; empty for the server's own roots.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub ca_cert: String,
    /// Where the provider's key lies.
    pub credential: Credential,
    /// How the key goes into a call.
    pub inject: Inject,
    /// What may be called; empty for nothing.
    pub allow: Vec<AllowRule>,
    /// How a caller proves who it is; empty for nobody.
    pub auth: Vec<CallerAuth>,
    /// Header with the caller's token; empty for `authorization`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub caller_header: String,
    /// Headers in which the caller's token is looked for, in order; empty for `authorization`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub caller_headers: Vec<String>,
    /// Further headers of the caller that go upstream.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub request_headers: Vec<String>,
    /// Calls of one caller; `None` for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Seconds a call may take; 0 for the server's default.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// The upstream may have a private address.
    pub allow_private: bool,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Where a provider's key lies. Whoever writes a service must be able to read it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Credential {
    /// API path, such as `secret/data/openai`.
    pub path: String,
    /// Field of the secret.
    pub field: String,
    /// Version of the secret; `None` for the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// How the key goes into a call.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Inject {
    /// Name of the header.
    pub header: String,
    /// Its value, with `{{credential}}` once.
    pub template: String,
}

/// Methods on paths that may be called.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AllowRule {
    /// `GET`, `POST`, …
    pub methods: Vec<String>,
    /// A path: `+` is one segment, a final `*` any rest.
    pub path: String,
}

/// How a caller proves who it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct CallerAuth {
    /// `jwt` or `token`
    #[serde(rename = "type")]
    pub auth_type: String,
    /// Of `jwt`: the login method's mount.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub mount: String,
    /// Of `jwt`: the role.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub role: String,
}

/// So many calls in a window.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct RateLimit {
    /// Calls.
    pub requests: u64,
    /// Seconds.
    pub window: u64,
}
