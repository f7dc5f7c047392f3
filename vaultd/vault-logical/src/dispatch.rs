//! How the gateway reaches the vault: it asks for the use of a credential and
//! reports what became of it. In process today, through `vault-client` from
//! another machine later; either way the same ACL, audit and limits apply and
//! there is no second way to a secret.

use crate::{Connection, Result};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A service record of the `gateway` mount: no secret in it, only where the secret lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceConfig {
    /// Version of this record's form.
    pub v: u8,
    /// `scheme://host[:port]`, nothing else.
    pub upstream: String,
    /// PEM roots for the upstream, replacing the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<String>,
    pub credential: Binding,
    pub inject_header: String,
    /// Contains `{{credential}}` exactly once.
    pub inject_template: String,
    /// Deny by default: (methods, path pattern) pairs; path may end in `*`, `+` is one segment.
    pub allow: Vec<AllowRule>,
    pub auth: Vec<CallerAuth>,
    /// Lower-case name of the header where the caller's credential stands: the first of
    /// `caller_headers`, and all there is in a record written before there were several.
    pub caller_header: String,
    /// Where the caller's credential may stand, in the order in which it is looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caller_headers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Until the response head, and between two chunks of a body.
    pub timeout: Duration,
    /// Explicit grant for upstream addresses that are not public (loopback, private, link-local).
    #[serde(default)]
    pub allow_private: bool,
    /// Request headers forwarded beside the usual ones, lower-case: `anthropic-version`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub request_headers: Vec<String>,
    /// `Range` and `If-Range` go upstream, too.
    #[serde(default)]
    pub forward_range: bool,
    /// Statuses by which the upstream says that it does not accept the injected key.
    #[serde(default = "rejected_by_default")]
    pub credential_rejected_status: Vec<u16>,
}

/// What most providers mean by 401, and only by it.
pub const CREDENTIAL_REJECTED: u16 = 401;

fn rejected_by_default() -> Vec<u16> {
    vec![CREDENTIAL_REJECTED]
}

impl ServiceConfig {
    /// The headers in which the caller's credential is looked for, in order; never empty.
    pub fn caller_headers(&self) -> &[String] {
        if self.caller_headers.is_empty() {
            std::slice::from_ref(&self.caller_header)
        } else {
            &self.caller_headers
        }
    }
}

/// Where the provider's key lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Binding {
    /// API path below `/v1/`: `secret/data/openai` for KV v2, `kv/openai` for v1.
    pub path: String,
    pub field: String,
    /// `None`: the current version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowRule {
    /// Upper-case HTTP methods; empty = every method the gateway forwards.
    #[serde(default)]
    pub methods: Vec<String>,
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerAuth {
    #[serde(rename = "type")]
    pub kind: CallerAuthKind,
    /// Auth mount for `jwt`, without `auth/`: `jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallerAuthKind {
    Jwt,
    Token,
}

/// `requests` per `window`, per caller and service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    pub requests: u64,
    pub window: Duration,
}

/// The caller's credential, as found in the service's caller header with the scheme removed.
/// Its kind is told by its shape in the core; wiped when dropped.
pub struct CallerCredential(pub secmem::SecretString);

/// One data-plane call, before anything is sent upstream.
pub struct Call {
    pub request_id: crate::RequestId,
    /// Path of the gateway mount, `gateway/`.
    pub mount: String,
    pub service: String,
    /// Upper-case HTTP method.
    pub method: String,
    /// Canonical path below the service, starting with `/`, no query.
    pub path: String,
    pub credential: CallerCredential,
    pub connection: Connection,
    /// The caller's `User-Agent`, cut to a bound and free of its credential; empty without one.
    pub user_agent: String,
    /// When the request's head was read.
    pub started: std::time::Instant,
}

/// A call that the gateway refused before it could ask who makes it.
pub struct RefusedCall<'a> {
    pub request_id: crate::RequestId,
    /// API path for the record: the mount's own where the call's may be what is wrong.
    pub path: &'a str,
    pub method: &'a str,
    pub user_agent: &'a str,
    pub connection: &'a Connection,
    /// Machine-readable: `ambiguous_credential`, …
    pub reason: &'static str,
    /// HTTP status of the answer.
    pub status: u16,
}

/// The provider's key, in locked memory.
pub type CredentialHandle = secmem::Key;

/// Resolves once the caller's token or JWT is over: expired, revoked, or its issuer is gone.
pub type Over = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The right to make one upstream call. The request is on record and a completion slot is
/// reserved; dropping the guard without [`InvokeGuard::complete`] records the call as cut.
pub struct Grant {
    pub service: Arc<ServiceConfig>,
    pub credential: CredentialHandle,
    /// Version of the secret that `credential` came from; 0 for unversioned ones.
    pub credential_version: u64,
    /// Of the service's record and of its credential; changes whenever one of them does: part of the
    /// upstream pool's key.
    pub config_epoch: (u64, u64),
    /// Stable id of the caller for rate limits; no credential.
    pub caller_id: String,
    /// Ends the call when the right to it does.
    pub over: Over,
    pub guard: Box<dyn InvokeGuard>,
}

/// What became of a call.
#[derive(Clone, Debug, Default)]
pub struct Completion {
    pub outcome: Outcome,
    /// Status sent to the caller.
    pub status: u16,
    /// Status the upstream answered, 0 when it did not.
    pub upstream_status: u16,
    /// Version of the secret that was injected, 0 for an unversioned one; `None`: none was used.
    pub credential_version: Option<u64>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// Times the provider's key was replaced in the answer.
    pub redactions: u64,
    /// Machine-readable reason of a refusal (`rate_limited`, `upstream_credential_rejected`, …).
    pub error: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The whole answer was delivered.
    #[default]
    Done,
    /// Refused by the gateway after the grant; nothing or not everything reached the upstream.
    Refused,
    /// The stream was cut by either side.
    Cut,
}

/// Finishes the audit trail of one call.
pub trait InvokeGuard: Send + Sync {
    /// Writes the completion record. Called once; later calls do nothing.
    fn complete(&self, completion: Completion);
}

/// The gateway's only way into the vault.
#[async_trait]
pub trait Dispatch: Send + Sync {
    /// The service's configuration, from memory. `None`: no such mount or service.
    /// It is needed before the caller is known, to find the caller's header; it decides nothing.
    async fn service(&self, mount: &str, service: &str) -> Result<Option<Arc<ServiceConfig>>>;

    /// Identifies the caller, checks `invoke` on `<mount>proxy/<service>/<path>` and the
    /// service's allow-list, records the request and hands out the credential.
    /// Refusals are on record too. Kinds: `Unauthenticated`, `PermissionDenied`, `NotFound`,
    /// `Sealed`, `Unavailable` (audit), `RateLimited`.
    async fn authorize(&self, call: Call) -> Result<Grant>;

    /// Records a refusal that the gateway decided before it could ask (two credentials, bad path).
    async fn refuse(&self, call: RefusedCall<'_>) -> Result<()>;
}

/// One call of a service made for its operator, step by step.
pub struct ProbeCall {
    pub service: Arc<ServiceConfig>,
    pub credential: CredentialHandle,
    /// Upper-case; one that changes nothing upstream.
    pub method: String,
    /// Canonical path below the service; `None`: connect only.
    pub target: Option<String>,
    /// Headers as an app would send them.
    pub headers: Vec<(String, String)>,
}

/// What one step of such a call came to.
#[derive(Clone, Debug)]
pub struct ProbeStep {
    pub step: &'static str,
    pub outcome: ProbeOutcome,
    /// For the operator; holds no key and nothing of a body.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    Ok,
    /// It works, and something about it is worth knowing.
    Warning,
    Failed,
    Skipped,
}

impl ProbeOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeOutcome::Ok => "ok",
            ProbeOutcome::Warning => "warning",
            ProbeOutcome::Failed => "failed",
            ProbeOutcome::Skipped => "skipped",
        }
    }
}
