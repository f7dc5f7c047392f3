//! What an engine answers.

use crate::Data;
use std::collections::BTreeMap;
use std::time::Duration;

/// An engine's answer. `Response::default()` is 204 No Content.
#[derive(Default)]
pub struct Response {
    pub data: Option<Data>,
    pub warnings: Vec<String>,
    /// An identity that logged in; the core mints the token for it.
    pub auth: Option<Auth>,
    /// Answer 404 although `data` is present: KV v2's reading of a deleted version.
    pub not_found: bool,
    /// `lease_duration` of the envelope, for answers that carry one without a lease (KV v1).
    pub lease_duration: Duration,
    /// A body that is not an envelope (a PNG, a PEM).
    pub raw: Option<RawBody>,
}

impl Response {
    pub fn empty() -> Self {
        Self::default()
    }
    pub fn data(data: Data) -> Self {
        Response { data: Some(data), ..Self::default() }
    }
    /// `keys` of a LIST; answered 404 by the core when there are none, as in Vault.
    pub fn keys(keys: Vec<String>) -> Self {
        let mut d = Data::new();
        d.insert("keys".into(), keys.into());
        Self::data(d)
    }
    #[must_use]
    pub fn warn(mut self, text: impl Into<String>) -> Self {
        self.warnings.push(text.into());
        self
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("data", &self.data.as_ref().map(|d| d.keys().collect::<Vec<_>>()))
            .field("warnings", &self.warnings)
            .field("auth", &self.auth.is_some())
            .finish_non_exhaustive()
    }
}

pub struct RawBody {
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

/// A login's result: who it is and what the token for it may be. Also the
/// identity of a gateway caller, where no token is minted.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Auth {
    /// Stable name of the subject within the mount (the `user_claim`'s value).
    pub alias: String,
    pub display_name: String,
    pub policies: Vec<String>,
    pub metadata: BTreeMap<String, String>,
    pub groups: Vec<String>,
    /// Zero: the mount's default.
    pub ttl: Duration,
    pub max_ttl: Duration,
    pub explicit_max_ttl: Duration,
    pub period: Duration,
    pub num_uses: u64,
    pub no_default_policy: bool,
    /// The credential's own `sub` and `jti`, for the record.
    #[serde(default)]
    pub subject: Option<String>,
    #[serde(default)]
    pub token_id: Option<String>,
    /// From here on the credential itself is refused; nothing granted on it lasts longer.
    pub expires: Option<crate::Timestamp>,
}
