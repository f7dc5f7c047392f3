//! Who is calling, and over what.

use std::net::SocketAddr;

/// How the request reached the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tls,
    /// Plain HTTP, only where the operator asked for it by its `danger`/`tls_disable` name.
    Plain,
    /// The operator's unix socket: trusted as local.
    Unix,
}

/// The connection a request came on.
#[derive(Clone, Debug)]
pub struct Connection {
    pub transport: Transport,
    /// `None` on a unix socket.
    pub remote: Option<SocketAddr>,
}

impl Connection {
    /// True for the unix socket and for loopback addresses.
    pub fn is_local(&self) -> bool {
        match (self.transport, self.remote) {
            (Transport::Unix, _) => true,
            (_, Some(a)) => a.ip().to_canonical().is_loopback(),
            (_, None) => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    Service,
    Batch,
    /// An identity established for this one request (gateway JWT), without any token.
    Inline,
}

/// The verified identity behind a request, as engines may see it. Holds no credential.
#[derive(Clone, Debug)]
pub struct Caller {
    pub display_name: String,
    pub kind: TokenKind,
    /// Empty for inline identities.
    pub accessor: String,
    pub entity_id: String,
    pub policies: Vec<String>,
    pub metadata: std::collections::BTreeMap<String, String>,
    /// Stable per-token id for cubbyholes; `None` where the identity has no cubbyhole.
    pub cubbyhole: Option<String>,
    /// True for tokens that hold the root policy.
    pub root: bool,
}
