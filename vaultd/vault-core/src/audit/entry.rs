//! What the pipeline tells the audit: borrowed views, copied nowhere but into the record.

use super::IdentityHashes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vault_logical::{Data, RequestId, Timestamp};

/// Fields or bytes of a request or response.
#[derive(Clone, Copy, Default)]
pub enum Body<'a> {
    #[default]
    None,
    /// Every string value is written as its keyed hash.
    Fields(&'a Data),
    /// Written as length and keyed hash only.
    Raw(&'a [u8]),
}

/// Keys whose values stay readable.
#[derive(Clone, Copy, Default)]
pub struct ClearKeys<'a> {
    /// The engine's `Descriptor::audit_clear`: top-level keys only, since deeper ones may be the
    /// user's own.
    pub engine: &'a [&'a str],
    /// The mount's `audit_non_hmac_*_keys`: at any depth, as in Vault.
    pub mount: &'a [String],
}

/// The credential of a request. The keyed hashes come from `hashes` where it has them and are
/// computed from the texts otherwise.
#[derive(Clone, Copy, Default)]
pub struct Credential<'a> {
    /// Token (or JWT, API key) as sent.
    pub token: &'a str,
    /// Empty when the token is unknown or has none.
    pub accessor: &'a str,
    /// From the token's cache entry.
    pub hashes: Option<&'a IdentityHashes>,
}

/// A verified caller and the decision on its request: the `auth` object.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    pub display_name: &'a str,
    /// A JWT's own `sub` and `jti`; empty for tokens.
    pub subject: &'a str,
    pub jwt_id: &'a str,
    pub policies: &'a [String],
    pub token_policies: &'a [String],
    pub identity_policies: &'a [String],
    pub metadata: Option<&'a BTreeMap<String, String>>,
    pub entity_id: &'a str,
    /// `service`, `batch`, `inline`
    pub token_type: &'a str,
    /// Zero: the token does not expire.
    pub token_ttl: Duration,
    pub token_issue_time: Option<Timestamp>,
    pub num_uses: u64,
    pub remaining_uses: u64,
    pub allowed: bool,
    /// Names of the policies that granted the operation.
    pub granting_policies: &'a [Arc<str>],
}

impl Default for Identity<'_> {
    fn default() -> Self {
        Identity {
            display_name: "",
            subject: "",
            jwt_id: "",
            policies: &[],
            token_policies: &[],
            identity_policies: &[],
            metadata: None,
            entity_id: "",
            token_type: "service",
            token_ttl: Duration::ZERO,
            token_issue_time: None,
            num_uses: 0,
            remaining_uses: 0,
            allowed: false,
            granting_policies: &[],
        }
    }
}

/// The mount a request goes to.
#[derive(Clone, Copy, Default)]
pub struct MountEntry<'a> {
    /// `secret/`, `auth/jwt/`
    pub point: &'a str,
    pub type_name: &'a str,
    pub accessor: &'a str,
    /// `secret`, `auth`, `system`
    pub class: &'a str,
}

/// What a gateway call's request record says beside the usual.
#[derive(Clone, Copy, Default)]
pub struct CallEntry<'a> {
    pub method: &'a str,
    pub user_agent: &'a str,
    /// HTTP status of a refusal; 0 for a call that goes on and is completed by a record of its own.
    pub status: u16,
}

/// What a gateway call's completion record repeats of the call, so that it stands on its own.
#[derive(Clone, Debug)]
pub struct CallFacts {
    pub started: Instant,
    pub method: String,
    /// Full API path below `/v1/`, canonical.
    pub path: String,
    pub user_agent: String,
    pub remote: Option<SocketAddr>,
    pub display_name: String,
    pub subject: String,
    pub jwt_id: String,
}

/// One request: the record of type `request`, repeated inside `response`.
#[derive(Clone, Copy)]
pub struct RequestEntry<'a> {
    pub id: RequestId,
    /// `create`, `read`, … (`Operation::as_str`), `help`.
    pub operation: &'a str,
    /// Full API path below `/v1/`, canonical.
    pub path: &'a str,
    /// Namespace id and path: `root` and the empty path for the root namespace.
    pub namespace: (&'a str, &'a str),
    pub mount: Option<MountEntry<'a>>,
    /// `None` for requests without a credential.
    pub credential: Option<Credential<'a>>,
    /// `None`: no valid identity. Such requests are recorded up to a rate, then summed up.
    pub identity: Option<Identity<'a>>,
    pub data: Body<'a>,
    pub clear: ClearKeys<'a>,
    pub remote: Option<SocketAddr>,
    /// `None` for everything but gateway calls.
    pub call: Option<CallEntry<'a>>,
    /// Zero: no wrapping asked for.
    pub wrap_ttl: Duration,
    /// Why the request was refused, in the words the caller gets; never a value from the request.
    pub error: Option<&'a str>,
}

impl<'a> RequestEntry<'a> {
    /// A request in the root namespace with everything optional absent.
    pub fn new(id: RequestId, operation: &'a str, path: &'a str) -> Self {
        RequestEntry {
            id,
            operation,
            path,
            namespace: ("root", ""),
            mount: None,
            credential: None,
            identity: None,
            data: Body::None,
            clear: ClearKeys::default(),
            remote: None,
            call: None,
            wrap_ttl: Duration::ZERO,
            error: None,
        }
    }
}

/// A token that the response hands out: the response's `auth` object.
#[derive(Clone, Copy, Default)]
pub struct IssuedEntry<'a> {
    pub client_token: &'a str,
    pub accessor: &'a str,
    pub display_name: &'a str,
    pub policies: &'a [String],
    pub token_policies: &'a [String],
    pub metadata: Option<&'a BTreeMap<String, String>>,
    pub entity_id: &'a str,
    pub token_type: &'a str,
    pub token_ttl: Duration,
    pub num_uses: u64,
}

/// `wrap_info` of a wrapped response.
#[derive(Clone, Copy, Default)]
pub struct WrapEntry<'a> {
    pub token: &'a str,
    pub accessor: &'a str,
    pub ttl: Duration,
    pub creation_time: Option<Timestamp>,
    pub creation_path: &'a str,
    pub wrapped_accessor: &'a str,
}

/// One answer: the record of type `response`.
#[derive(Clone, Copy)]
pub struct ResponseEntry<'a> {
    /// The request as it was recorded.
    pub request: &'a RequestEntry<'a>,
    pub data: Body<'a>,
    pub clear: ClearKeys<'a>,
    pub auth: Option<IssuedEntry<'a>>,
    pub wrap: Option<WrapEntry<'a>>,
    /// Empty: no lease.
    pub lease_id: &'a str,
    pub warnings: &'a [String],
    /// HTTP status of the answer; 0 when the pipeline does not know it yet.
    pub status: u16,
    /// The error the caller gets; never a value from the request.
    pub error: Option<&'a str>,
}

impl<'a> ResponseEntry<'a> {
    /// An answer with everything optional absent.
    pub fn new(request: &'a RequestEntry<'a>) -> Self {
        ResponseEntry {
            request,
            data: Body::None,
            clear: ClearKeys::default(),
            auth: None,
            wrap: None,
            lease_id: "",
            warnings: &[],
            status: 0,
            error: None,
        }
    }
}
