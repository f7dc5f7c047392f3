//! A token, as the rest of the core sees it. It holds no credential.

use super::id::TokenHash;
use super::record::{StoredLease, StoredToken, secs};
use arc_swap::ArcSwap;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use vault_logical::{Caller, Error, Result, Timestamp, TokenKind};

/// A token that was valid when it was looked up.
pub struct TokenEntry {
    pub hash: TokenHash,
    pub accessor: String,
    /// Normalised, sorted.
    pub policies: Vec<String>,
    /// The request path that made it, `auth/token/create` for example.
    pub path: String,
    pub display_name: String,
    pub meta: Option<BTreeMap<String, String>>,
    pub entity_id: String,
    /// Token role it was made with; empty without one.
    pub role: String,
    /// Holds the root policy.
    pub root: bool,
    pub created: Timestamp,
    /// Zero for tokens that never expire.
    pub ttl: Duration,
    pub explicit_max_ttl: Duration,
    pub period: Duration,
    /// The limit it was made with; 0 = none. What is left is known to storage only.
    pub num_uses: u64,
    pub renewable: bool,
    /// `None` = never.
    pub expires: Option<Timestamp>,
    pub last_renewal: Option<Timestamp>,
    /// The identity that engines see.
    pub caller: Arc<Caller>,
    /// Filled by the audit log with its keyed hashes of token and accessor.
    pub audit: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Upper bound that its auth method set; zero = the system's.
    pub(super) max_ttl: Duration,
    pub(super) parent: Option<TokenHash>,
    pub(super) depth: usize,
    pub(super) generation: u64,
    /// Revision of its identity record, which is written once.
    pub(super) rev: u64,
    /// Its parents with their revisions, nearest first, as the last lookup found them.
    pub(super) chain: ArcSwap<Vec<(TokenHash, u64)>>,
}

impl TokenEntry {
    /// True from the moment its time is up.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| now >= at)
    }

    /// Time left; `None` for tokens that never expire.
    pub fn time_left(&self, now: Timestamp) -> Option<Duration> {
        self.expires.map(|at| now.until(at))
    }

    pub(super) fn from_stored(
        hash: TokenHash,
        rev: u64,
        t: StoredToken,
        lease: Option<StoredLease>,
    ) -> Result<Self> {
        let parent = match &t.parent {
            None => None,
            Some(p) => {
                Some(TokenHash::from_hex(p).ok_or_else(|| Error::internal("token record names no parent"))?)
            }
        };
        let root = t.policies.iter().any(|p| p == super::ROOT_POLICY);
        let caller = Caller {
            display_name: t.display_name.clone(),
            kind: TokenKind::Service,
            accessor: t.accessor.clone(),
            entity_id: t.entity_id.clone(),
            policies: t.policies.clone(),
            metadata: t.meta.clone().unwrap_or_default(),
            cubbyhole: Some(t.cubbyhole),
            root,
        };
        Ok(TokenEntry {
            hash,
            accessor: t.accessor,
            policies: t.policies,
            path: t.path,
            display_name: t.display_name,
            meta: t.meta,
            entity_id: t.entity_id,
            role: t.role,
            root,
            created: t.created,
            ttl: secs(t.ttl),
            explicit_max_ttl: secs(t.explicit_max_ttl),
            period: secs(t.period),
            num_uses: t.num_uses,
            renewable: t.renewable,
            expires: lease.as_ref().map(|l| l.expires),
            last_renewal: lease.and_then(|l| l.renewed),
            caller: Arc::new(caller),
            audit: OnceLock::new(),
            max_ttl: secs(t.max_ttl),
            parent,
            depth: t.depth,
            generation: t.generation,
            rev,
            chain: ArcSwap::from_pointee(Vec::new()),
        })
    }
}

impl std::fmt::Debug for TokenEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenEntry")
            .field("hash", &self.hash)
            .field("display_name", &self.display_name)
            .field("policies", &self.policies)
            .finish_non_exhaustive()
    }
}

/// What stands at a token's place.
#[derive(Clone)]
pub(super) enum Cached {
    Token(Arc<TokenEntry>),
    /// Revoked; its children live on as orphans.
    Released,
}
