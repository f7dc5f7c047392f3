//! Tokens: who may call. Ids, accessors, life times, use counts, parents, roles, and the routes
//! below `auth/token/`.
//!
//! - A token is known by a keyed hash of its id; the id itself is stored nowhere.
//! - A child is valid as long as each of its parents is: deleting a parent's record ends all
//!   its descendants at once. Jobs then remove what is left of them, in bounded transactions.
//! - What is asked on every request is answered from a cache that the store's change feed keeps
//!   right; use counts are the exception, they are durable before the request runs.

mod cache;
mod charge;
mod create;
mod entry;
mod generation;
mod handle;
mod id;
mod jobs;
mod lookup;
mod record;
mod renew;
mod requests;
mod revoke;
mod roles;
mod sweep;
mod ttl;

pub use charge::UseOutcome;
pub use create::{DEFAULT_POLICY, Issuer, NewToken, ROOT_POLICY, login_name};
pub use entry::TokenEntry;
pub use handle::{PATHS, SELF_PATHS, SUDO_PATHS, TokenCall};
pub use id::TokenHash;
pub(crate) use record::ACCESSORS;
pub use sweep::SweepReport;
pub use ttl::TtlDefaults;

use crate::limits::TOKEN_USE_LOCKS;
use std::sync::{Arc, OnceLock};
use storage::{Space, Store};
use vault_logical::Clock;

#[cfg(test)]
mod tests;

/// The token store. Cheap to clone.
#[derive(Clone)]
pub struct TokenStore(Arc<Inner>);

struct Inner {
    store: Store,
    hasher: id::Hasher,
    clock: Arc<dyn Clock>,
    defaults: TtlDefaults,
    cache: cache::Cache,
    generation: generation::Current,
    /// Order the use counts of each token.
    uses: Box<[tokio::sync::Mutex<()>]>,
    /// Held by the sweep that is running.
    sweeping: tokio::sync::Mutex<sweep::Position>,
    cubbyhole: OnceLock<Space>,
    issuers: OnceLock<Box<Issuers>>,
    mount_ttl: OnceLock<Box<MountTtl>>,
}

/// The TTLs of `auth/token/` as it is tuned now; `None` once the vault is sealed.
pub type MountTtl = dyn Fn() -> Option<TtlDefaults> + Send + Sync;

/// Whether the auth mount that issued a token (its path, its time of creation) still stands.
pub type Issuers = dyn Fn(&str, vault_logical::Timestamp) -> bool + Send + Sync;

impl TokenStore {
    /// `token_key` hashes ids and accessors; `defaults` are the system's TTLs.
    pub fn new(store: Store, token_key: secmem::Key, clock: Arc<dyn Clock>, defaults: TtlDefaults) -> Self {
        TokenStore(Arc::new(Inner {
            store,
            hasher: id::Hasher::new(token_key),
            clock,
            defaults,
            cache: cache::Cache::new(),
            generation: generation::Current::default(),
            uses: (0..TOKEN_USE_LOCKS).map(|_| tokio::sync::Mutex::default()).collect(),
            sweeping: tokio::sync::Mutex::default(),
            cubbyhole: OnceLock::new(),
            issuers: OnceLock::new(),
            mount_ttl: OnceLock::new(),
        }))
    }

    /// Tokens, and all tokens made by them, live no longer than the auth mount that issued them.
    /// Set once, before the first lookup.
    pub fn set_issuers(&self, issuers: Box<Issuers>) {
        let _ = self.0.issuers.set(issuers);
    }

    /// Where the TTLs of `auth/token/` come from. Set once, before the first token is made.
    pub fn set_mount_ttl(&self, ttl: Box<MountTtl>) {
        let _ = self.0.mount_ttl.set(ttl);
    }

    fn defaults(&self) -> TtlDefaults {
        self.0.mount_ttl.get().and_then(|tuned| tuned()).unwrap_or(self.0.defaults)
    }

    fn issuer_lives(&self, entry: &TokenEntry) -> bool {
        let login = entry.path.starts_with("auth/") && !entry.path.starts_with("auth/token/");
        !login || self.0.issuers.get().is_none_or(|lives| lives(&entry.path, entry.created))
    }

    /// Where cubbyholes are kept: each token's below `<its cubbyhole name>/`, removed with it.
    /// Set once, before the first sweep.
    pub fn set_cubbyhole(&self, space: Space) {
        // A second call keeps the first space: the cubbyhole's mount never moves.
        let _ = self.0.cubbyhole.set(space);
    }
}
