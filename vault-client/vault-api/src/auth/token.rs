//! `auth/token/`. `/auth/token`.

use crate::sensitive::{expose, expose_option, nullable, secrets_option};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `POST auth/token/create[-orphan]`. `/auth/token`, "Create token".
#[derive(Debug, Default, Serialize)]
pub struct Create {
    /// A chosen token (root and sudo callers only).
    #[serde(serialize_with = "expose_option", skip_serializing_if = "Option::is_none")]
    pub id: Option<SecretString>,
    /// Empty: those of the caller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Kept beside the token and in the audit log.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// Not a child of the caller.
    pub no_parent: bool,
    /// Without the policy `default`.
    pub no_default_policy: bool,
    /// `false` for a token that cannot be renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewable: Option<bool>,
    /// A duration such as `1h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// A duration such as `24h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explicit_max_ttl: Option<String>,
    /// A duration such as `24h`: renewed for ever, a period at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// 0 is unlimited.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_uses: u64,
    /// `service` or `batch`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A token in a request body. `/auth/token`, "Lookup a token".
#[derive(Debug, Serialize)]
pub struct ByToken {
    /// The token.
    #[serde(serialize_with = "expose")]
    pub token: SecretString,
}

/// An accessor in a request body. `/auth/token`, "Lookup a token (using an accessor)".
#[derive(Clone, Debug, Serialize)]
pub struct ByAccessor {
    /// The accessor.
    pub accessor: String,
}

/// `POST auth/token/renew[-self|-accessor]`. `/auth/token`, "Renew a token".
#[derive(Debug, Default, Serialize)]
pub struct Renew {
    /// For `renew`.
    #[serde(serialize_with = "expose_option", skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretString>,
    /// For `renew-accessor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accessor: Option<String>,
    /// Wanted time to live, a duration such as `1h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub increment: Option<String>,
}

/// `data` of a lookup. `/auth/token`, "Lookup a token".
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Lookup {
    /// Names the token.
    pub accessor: String,
    /// Unix seconds.
    pub creation_time: i64,
    /// Seconds.
    pub creation_ttl: u64,
    /// For people.
    #[serde(deserialize_with = "nullable")]
    pub display_name: String,
    /// Empty without an entity.
    #[serde(deserialize_with = "nullable")]
    pub entity_id: String,
    /// RFC 3339; `None` for a token that does not expire.
    pub expire_time: Option<String>,
    /// Seconds.
    pub explicit_max_ttl: u64,
    /// The token; absent when looked up by accessor.
    #[serde(deserialize_with = "secrets_option")]
    pub id: Option<SecretString>,
    /// RFC 3339.
    #[serde(deserialize_with = "nullable")]
    pub issue_time: String,
    /// Chosen at creation.
    #[serde(deserialize_with = "nullable")]
    pub meta: BTreeMap<String, String>,
    /// Uses left; 0 is unlimited.
    pub num_uses: u64,
    /// Not revoked with a parent.
    pub orphan: bool,
    /// The path that created it.
    #[serde(deserialize_with = "nullable")]
    pub path: String,
    /// Seconds; 0 when not periodic.
    pub period: u64,
    /// Of the token.
    #[serde(deserialize_with = "nullable")]
    pub policies: Vec<String>,
    /// Of its entity and groups.
    #[serde(deserialize_with = "nullable")]
    pub identity_policies: Vec<String>,
    /// The token may be renewed.
    pub renewable: bool,
    /// Seconds left; 0 when it does not expire.
    pub ttl: u64,
    /// `service` or `batch`.
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub token_type: String,
}
