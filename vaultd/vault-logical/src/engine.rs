//! What is mounted: secrets engines and auth methods.

use crate::{Auth, Clock, Egress, Operation, Request, Response, Result, View};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    Secret,
    Auth,
}

/// One documented path, for `?help=1` and path-help.
pub struct PathHelp {
    /// `config`, `data/:path`, …
    pub pattern: &'static str,
    pub summary: &'static str,
}

/// Static facts about an engine type. Paths are relative to the mount and may end in `*`.
pub struct Descriptor {
    /// The mount `type`: `kv`, `totp`, `jwt`, …
    pub type_name: &'static str,
    pub kind: EngineKind,
    pub description: &'static str,
    /// Served without a token (logins).
    pub unauthenticated: &'static [&'static str],
    /// Need `sudo` besides the ordinary capability.
    pub sudo: &'static [&'static str],
    /// Request and response fields written to the audit log in clear (`version`, for example).
    pub audit_clear: &'static [&'static str],
    pub paths: &'static [PathHelp],
}

/// A mount's tunable settings.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize, PartialEq)]
#[serde(default)]
pub struct MountConfig {
    /// Seconds; 0 = the system's default.
    pub default_lease_ttl: u64,
    pub max_lease_ttl: u64,
    pub force_no_cache: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listing_visibility: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audit_non_hmac_request_keys: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audit_non_hmac_response_keys: Vec<String>,
    /// Kept for clients that read their settings back: no engine here takes or sets headers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passthrough_request_headers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_response_headers: Vec<String>,
}

/// The mount an engine instance serves.
#[derive(Clone, Debug)]
pub struct Mount {
    pub uuid: uuid::Uuid,
    pub accessor: String,
    /// `secret/`, `auth/jwt/`: ends in `/`.
    pub path: String,
    pub type_name: String,
    /// `{"version": "2"}` for KV v2.
    pub options: std::collections::BTreeMap<String, String>,
    pub config: MountConfig,
    /// Effective TTLs after the system defaults.
    pub default_ttl: Duration,
    pub max_ttl: Duration,
}

/// What an engine may use while serving one request.
pub struct Context<'a> {
    pub view: &'a mut dyn View,
    pub clock: &'a dyn Clock,
    pub mount: &'a Mount,
    /// Reads other mounts' secrets with the *caller's own token*, policy checked and audited
    /// by the core; only the gateway's binding check needs it.
    pub secrets: &'a dyn SecretReader,
}

/// The core's answer to "may the caller of this very request read that path?"
#[async_trait]
pub trait SecretReader: Send + Sync {
    /// `Ok(true)` when the caller's policies grant `read` on API path `path`.
    async fn caller_may_read(&self, path: &str) -> Result<bool>;

    /// The text that `binding` points at, if the caller may read it. `Ok(None)`: there is none now.
    async fn bound_text(&self, binding: &crate::Binding) -> Result<Option<secmem::SecretString>>;

    /// The right spelling of a path that its own mount cannot serve as a secret, if the caller
    /// may read that: `secret/data/x` for `secret/x` on KV version 2.
    async fn spelling(&self, _path: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// Why there is no key at `binding` now; `None` when there is one. Ask it only for a caller
    /// that may read the path.
    async fn missing(&self, _binding: &crate::Binding) -> Result<Option<String>> {
        Ok(None)
    }
}

/// What a charge phase established, handed to `handle`.
pub struct Charge(pub Box<dyn std::any::Any + Send + Sync>);

/// A secrets engine or auth method instance: one per mount, shared by all requests.
#[async_trait]
pub trait Engine: Send + Sync {
    fn descriptor(&self) -> &'static Descriptor;

    /// Decides Create against Update for a write: `Some(true)` when what `path` names exists.
    /// `None`: the engine does not tell, the write is an Update.
    async fn exists(&self, _cx: &mut Context<'_>, _request: &Request) -> Result<Option<bool>> {
        Ok(None)
    }

    /// `Some(key)` when this request must be charged (attempt counters, used codes) before it
    /// is handled. Charges with one key run one at a time.
    fn charge_key(&self, _request: &Request) -> Option<String> {
        None
    }

    /// The charge itself: a small transaction of its own, durable before `handle` runs and
    /// never rolled back. An error ends the request, its writes are still kept.
    async fn charge(&self, _cx: &mut Context<'_>, _request: &Request) -> Result<Charge> {
        Ok(Charge(Box::new(())))
    }

    /// Serves the request. May run several times when the transaction conflicts.
    async fn handle(
        &self,
        cx: &mut Context<'_>,
        request: &Request,
        charge: Option<&Charge>,
    ) -> Result<Response>;

    /// Whether this request writes nothing but new values: then it is acknowledged as soon as it is durable. Anything
    /// that takes away, counts or grants waits until not even somebody with the disk in hand can undo it unnoticed.
    fn is_plain_write(&self, _request: &Request) -> bool {
        false
    }

    /// Whether requests of this kind only look something up in this mount's storage: nothing is written, counted or
    /// granted, nobody else is asked. Their two audit records may then reach a device in one write.
    fn only_looks_up(&self, _operation: Operation) -> bool {
        false
    }

    /// True while this instance has not read from its storage what [`Engine::prepare`] and
    /// [`AuthMethod::prepare_identify`] need: the core then calls [`Engine::load`] before them.
    fn cold(&self) -> bool {
        false
    }

    /// Reads what `prepare` needs, in a transaction of its own that writes nothing.
    async fn load(&self, _cx: &mut Context<'_>) -> Result<()> {
        Ok(())
    }

    /// Runs before the transaction, may do I/O through [`Egress`] (a JWKS refresh): never under a View.
    async fn prepare(&self, _request: &Request) -> Result<()> {
        Ok(())
    }

    /// A record of this mount changed (on this node or another): drop what was derived from it.
    fn invalidate(&self, _path: &str) {}

    /// The store was set back to an earlier state: whatever was counted or used up since is no longer known. Ends what
    /// would be accepted a second time because of that, before anything is served.
    async fn rolled_back(&self, _cx: &mut Context<'_>) -> Result<()> {
        Ok(())
    }

    /// Checks a mount's options when it is enabled or tuned.
    fn check_options(&self, _options: &std::collections::BTreeMap<String, String>) -> Result<()> {
        Ok(())
    }

    /// This engine as an auth method, if it is one.
    fn auth_method(&self) -> Option<&dyn AuthMethod> {
        None
    }
}

/// The part of an auth method the gateway uses: a credential in, an identity out, nothing written.
#[async_trait]
pub trait AuthMethod: Send + Sync {
    /// I/O that verification may need (key fetch), single-flight, before `identify`.
    async fn prepare_identify(&self, credential: &str) -> Result<()>;
    /// Verifies `credential` for `role`.
    async fn identify(&self, cx: &mut Context<'_>, credential: &str, role: Option<&str>) -> Result<Auth>;
    /// Raised when identities established before no longer hold for a reason outside the store (an
    /// issuer's key is gone). Read before `identify`, compared before a kept answer is used.
    fn epoch(&self) -> u64 {
        0
    }
}

/// Makes the engine of a mount.
pub type Make = fn(&Mount, Arc<dyn Egress>) -> Result<Arc<dyn Engine>>;

/// Makes engine instances of one type. Registering an engine is one entry in `vault-engines`.
pub struct Factory {
    pub type_name: &'static str,
    pub kind: EngineKind,
    pub make: Make,
}
