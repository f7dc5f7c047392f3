//! Token records as stored: every one with a version, none of them a wire or domain type.
//!
//! ```text
//! token/id/<hash>              what the token is; written once, deleted when it is revoked
//! token/lease/<hash>           until when, last renewal; only for tokens that expire
//! token/uses/<hash>            uses left; only for tokens with a limit
//! token/accessor/<hash>        the accessor in clear and its token
//! token/child/<parent>/<hash>  empty link
//! token/expiry/<minute>/<hash> empty link; the minute after the one the token expires in
//! token/job/<hash>             a revoked token whose descendants and cubbyhole are to be removed
//! token/role/<name>            a token role
//! token/cursor                 the next minute the sweeper looks at
//! token/generation             tokens of earlier generations are dead; 0 when absent
//! token/purge                  how far the removal of earlier generations has come
//! ```

use super::id::TokenHash;
use crate::fault;
use secmem::Zeroizing;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use storage::{Space, Transaction};
use vault_logical::{Error, Result, Timestamp};

/// Where tokens are stored.
pub(super) fn space() -> Space {
    Space::core()
}

pub(super) const JOBS: &str = "token/job/";
/// One record for each token.
pub(crate) const ACCESSORS: &str = "token/accessor/";
pub(super) const ROLES: &str = "token/role/";
pub(super) const CURSOR: &str = "token/cursor";
pub(super) const GENERATION: &str = "token/generation";
pub(super) const PURGE: &str = "token/purge";
pub(super) const IDS: &str = "token/id/";
const LEASE: &str = "token/lease/";

pub(super) fn id_path(h: TokenHash) -> String {
    format!("{IDS}{}", h.hex())
}
pub(super) fn lease_path(h: TokenHash) -> String {
    format!("{LEASE}{}", h.hex())
}
pub(super) fn uses_path(h: TokenHash) -> String {
    format!("token/uses/{}", h.hex())
}
pub(super) fn accessor_path(hashed: &str) -> String {
    format!("{ACCESSORS}{hashed}")
}
pub(super) fn children_dir(parent: TokenHash) -> String {
    format!("token/child/{}/", parent.hex())
}
pub(super) fn child_path(parent: TokenHash, child: TokenHash) -> String {
    format!("token/child/{}/{}", parent.hex(), child.hex())
}
pub(super) fn expiry_dir(minute: u64) -> String {
    format!("token/expiry/{minute:08}/")
}
pub(super) fn expiry_path(minute: u64, h: TokenHash) -> String {
    format!("token/expiry/{minute:08}/{}", h.hex())
}
pub(super) fn job_path(h: TokenHash) -> String {
    format!("{JOBS}{}", h.hex())
}
pub(super) fn role_path(name: &str) -> String {
    format!("{ROLES}{name}")
}

/// The token whose cached form a changed path makes stale.
pub(super) fn cached_token(path: &str) -> Option<TokenHash> {
    let name = path.strip_prefix(IDS).or_else(|| path.strip_prefix(LEASE))?;
    TokenHash::from_hex(name)
}

/// The whole minutes since 1970 before `t`; 0 for times before 1970.
pub(super) fn minute_of(t: Timestamp) -> u64 {
    u64::try_from(t.unix_secs()).unwrap_or(0) / 60
}

const VERSION: u8 = 1;

/// `token/id/`: exactly one of the two is present.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredId {
    v: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<StoredToken>,
    /// The token was revoked and its children were set free; a job removes this after the last
    /// of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredToken {
    pub accessor: String,
    pub policies: Vec<String>,
    pub path: String,
    pub display_name: String,
    /// `None` and empty are told apart on the wire (`null`, `{}`).
    pub meta: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub entity_id: String,
    #[serde(default)]
    pub role: String,
    #[serde(default)]
    pub parent: Option<String>,
    /// Parents above it when it was made.
    pub depth: usize,
    pub cubbyhole: String,
    pub created: Timestamp,
    /// Seconds, all four; 0 = none.
    pub ttl: u64,
    pub max_ttl: u64,
    pub explicit_max_ttl: u64,
    pub period: u64,
    /// 0 = no limit.
    pub num_uses: u64,
    pub renewable: bool,
    /// It has a lease record.
    pub expires: bool,
    pub generation: u64,
}

impl StoredId {
    pub(super) fn token(t: StoredToken) -> Self {
        StoredId { v: VERSION, token: Some(t), released: false }
    }
    pub(super) fn released() -> Self {
        StoredId { v: VERSION, token: None, released: true }
    }
}

/// `token/lease/`
#[derive(Serialize, Deserialize)]
pub(super) struct StoredLease {
    v: u8,
    pub expires: Timestamp,
    pub renewed: Option<Timestamp>,
    /// The minute its expiry link stands in now.
    pub minute: u64,
    /// Seconds that the last renewal gave: what one that asks for nothing gets again. 0 = never renewed.
    #[serde(default)]
    pub granted: u64,
}

impl StoredLease {
    pub(super) fn new(expires: Timestamp, renewed: Option<Timestamp>, minute: u64) -> Self {
        StoredLease { v: VERSION, expires, renewed, minute, granted: 0 }
    }
    pub(super) fn granting(self, ttl: Duration) -> Self {
        StoredLease { granted: super::ttl::whole_seconds(ttl), ..self }
    }
}

/// `token/uses/`
#[derive(Serialize, Deserialize)]
pub(super) struct StoredUses {
    v: u8,
    pub left: u64,
}

impl StoredUses {
    pub(super) fn new(left: u64) -> Self {
        StoredUses { v: VERSION, left }
    }
}

/// `token/accessor/`
#[derive(Serialize, Deserialize)]
pub(super) struct StoredAccessor {
    v: u8,
    pub accessor: String,
    pub token: String,
}

impl StoredAccessor {
    pub(super) fn new(accessor: String, token: TokenHash) -> Self {
        StoredAccessor { v: VERSION, accessor, token: token.hex() }
    }
    pub(super) fn hash(&self) -> Result<TokenHash> {
        TokenHash::from_hex(&self.token).ok_or_else(|| Error::internal("accessor record names no token"))
    }
}

/// `token/job/`
#[derive(Serialize, Deserialize)]
pub(super) struct StoredJob {
    v: u8,
    /// Not to be touched before this time.
    pub not_before: Timestamp,
    /// Name of the cubbyhole to empty; `None` when the token itself is still to be revoked.
    pub cubbyhole: Option<String>,
}

impl StoredJob {
    /// The token is gone; remove what hung on it.
    pub(super) fn clean(cubbyhole: String) -> Self {
        StoredJob { v: VERSION, not_before: Timestamp::ZERO, cubbyhole: Some(cubbyhole) }
    }
    /// The same, looked at again at `not_before`.
    pub(super) fn later(self, not_before: Timestamp) -> Self {
        StoredJob { not_before, ..self }
    }
    /// Revoke the token at `not_before` unless it has been by then.
    pub(super) fn revoke(not_before: Timestamp) -> Self {
        StoredJob { v: VERSION, not_before, cubbyhole: None }
    }
}

/// `token/cursor`
#[derive(Serialize, Deserialize)]
pub(super) struct StoredCursor {
    v: u8,
    pub minute: u64,
}

impl StoredCursor {
    pub(super) fn new(minute: u64) -> Self {
        StoredCursor { v: VERSION, minute }
    }
}

/// `token/generation`
#[derive(Serialize, Deserialize)]
pub(super) struct StoredGeneration {
    v: u8,
    pub generation: u64,
}

impl StoredGeneration {
    pub(super) fn new(generation: u64) -> Self {
        StoredGeneration { v: VERSION, generation }
    }
}

/// `token/purge`
#[derive(Serialize, Deserialize)]
pub(super) struct StoredPurge {
    v: u8,
    /// The generation that stays.
    pub generation: u64,
    /// The last name below `token/id/` that was looked at.
    pub after: Option<String>,
}

impl StoredPurge {
    pub(super) fn new(generation: u64, after: Option<String>) -> Self {
        StoredPurge { v: VERSION, generation, after }
    }
}

/// `token/role/`
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StoredRole {
    v: u8,
    pub allowed_policies: Vec<String>,
    pub disallowed_policies: Vec<String>,
    pub allowed_policies_glob: Vec<String>,
    pub disallowed_policies_glob: Vec<String>,
    pub orphan: bool,
    pub renewable: bool,
    pub path_suffix: String,
    pub no_default_policy: bool,
    /// Seconds.
    pub period: u64,
    pub explicit_max_ttl: u64,
    pub num_uses: u64,
    /// `service` or `default-service`
    pub token_type: String,
}

impl Default for StoredRole {
    fn default() -> Self {
        StoredRole {
            v: VERSION,
            allowed_policies: Vec::new(),
            disallowed_policies: Vec::new(),
            allowed_policies_glob: Vec::new(),
            disallowed_policies_glob: Vec::new(),
            orphan: false,
            renewable: true,
            path_suffix: String::new(),
            no_default_policy: false,
            period: 0,
            explicit_max_ttl: 0,
            num_uses: 0,
            token_type: "default-service".into(),
        }
    }
}

/// A record with a version field.
pub(super) trait Record: Serialize + for<'de> Deserialize<'de> {
    fn version(&self) -> u8;
}
macro_rules! records {
    ($($t:ty),*) => { $(impl Record for $t { fn version(&self) -> u8 { self.v } })* };
}
records!(
    StoredAccessor,
    StoredCursor,
    StoredGeneration,
    StoredId,
    StoredJob,
    StoredLease,
    StoredPurge,
    StoredRole,
    StoredUses
);

/// Takes a record back. serde's message may quote the record, so it is left out.
pub(super) fn decode<T: Record>(value: &[u8]) -> Result<T> {
    let record: T =
        serde_json::from_slice(value).map_err(|_| Error::internal("token record has an unknown form"))?;
    match record.version() {
        VERSION => Ok(record),
        v => Err(Error::internal(format!("token record has version {v}"))),
    }
}

pub(super) fn encode<T: Record>(record: &T) -> Result<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(512));
    serde_json::to_writer(&mut *out, record)
        .map_err(|_| Error::internal("token record cannot be encoded"))?;
    Ok(out)
}

pub(super) async fn read<T: Record>(txn: &mut Transaction, path: &str) -> Result<Option<T>> {
    match txn.get(space(), path).await.map_err(fault::storage)? {
        Some(v) => decode(&v).map(Some),
        None => Ok(None),
    }
}

pub(super) fn write<T: Record>(txn: &mut Transaction, path: &str, record: &T) -> Result<()> {
    txn.put(space(), path, encode(record)?).map_err(fault::storage)
}

/// An empty record: its name is what it says.
pub(super) fn link(txn: &mut Transaction, path: &str) -> Result<()> {
    txn.put(space(), path, Zeroizing::new(Vec::new())).map_err(fault::storage)
}

pub(super) fn delete(txn: &mut Transaction, path: &str) -> Result<()> {
    txn.delete(space(), path).map_err(fault::storage)
}

pub(super) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
