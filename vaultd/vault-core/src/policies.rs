//! Stored policies and the compiled ACLs made of them.

use crate::fault;
use crate::limits::{ACL_CACHE_SHARDS, MAX_CACHED_ACLS, MAX_POLICIES, MAX_POLICY_BYTES};
use crate::policy::{Acl, Policy};
use parking_lot::RwLock;
use secmem::Zeroizing;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use storage::{Space, Store, Transaction};
use vault_logical::{Error, PathName, Result};

const FOLDER: &str = "policy/";

#[derive(Serialize, Deserialize)]
struct StoredPolicy {
    v: u8,
    text: String,
}

/// Compiled ACLs by policy set. A fill locks one shard and copies nothing.
struct AclCache {
    /// Moves with every policy change.
    epoch: AtomicU64,
    shards: Box<[Shard]>,
    hasher: RandomState,
}

type Shard = RwLock<HashMap<Vec<String>, Arc<Acl>>>;

impl AclCache {
    fn new() -> AclCache {
        AclCache {
            epoch: AtomicU64::new(0),
            shards: (0..ACL_CACHE_SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    fn shard(&self, names: &[String]) -> Option<&Shard> {
        let spread = self.hasher.hash_one(names) % ACL_CACHE_SHARDS as u64;
        self.shards.get(usize::try_from(spread).unwrap_or(0))
    }

    fn get(&self, names: &[String]) -> Option<Arc<Acl>> {
        self.shard(names)?.read().get(names).cloned()
    }

    /// Keeps what was compiled from policies read after `epoch`, unless one changed since.
    fn keep(&self, names: &[String], acl: &Arc<Acl>, epoch: u64) {
        let Some(shard) = self.shard(names) else { return };
        let mut shard = shard.write();
        // Under the lock that `clear` takes after it has moved the epoch: either this sees the
        // new epoch, or `clear` sees what this puts in.
        if self.epoch.load(Ordering::Acquire) != epoch {
            return;
        }
        if shard.len() >= MAX_CACHED_ACLS / ACL_CACHE_SHARDS {
            shard.clear();
        }
        shard.insert(names.to_vec(), acl.clone());
    }

    fn clear(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        for shard in &self.shards {
            shard.write().clear();
        }
    }
}

pub struct Policies {
    store: Store,
    cache: AclCache,
    root: Arc<Acl>,
}

impl Policies {
    pub fn new(store: Store) -> Self {
        Policies { store, cache: AclCache::new(), root: Arc::new(Acl::root()) }
    }

    /// A policy record changed: nothing compiled so far may be used again.
    pub fn invalidate(&self) {
        self.cache.clear();
    }

    /// Moves whenever any policy changes.
    pub fn epoch(&self) -> u64 {
        self.cache.epoch.load(Ordering::Acquire)
    }

    /// The ACL of a policy set, from memory when it was compiled before.
    pub async fn acl(&self, names: &[String]) -> Result<Arc<Acl>> {
        if names.iter().any(|n| n == "root") {
            return Ok(self.root.clone());
        }
        if let Some(acl) = self.cache.get(names) {
            return Ok(acl);
        }
        let epoch = self.epoch();
        let mut policies = Vec::with_capacity(names.len());
        for name in names {
            if let Some(record) = self.stored(name).await? {
                // One policy that cannot be read may be the one that denies: its tokens get nothing.
                let policy = decode(&record).and_then(|text| Policy::parse(name, &text));
                policies.push(Arc::new(policy.map_err(|e| broken(name, &e))?));
            }
        }
        let acl = Arc::new(Acl::new(&policies));
        self.cache.keep(names, &acl, epoch);
        Ok(acl)
    }

    /// The text of a policy; `None` when there is no such policy. `root` has no text.
    pub async fn read(&self, name: &PathName) -> Result<Option<String>> {
        if &**name == "root" {
            return Ok(Some(String::new()));
        }
        self.stored(name).await?.map(|record| decode(&record)).transpose()
    }

    /// True when a token's policy of this name has been written.
    pub async fn exists(&self, name: &str) -> Result<bool> {
        Ok(name == "root" || self.stored(name).await?.is_some())
    }

    async fn stored(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let found = self.store.get(Space::core(), &format!("{FOLDER}{name}")).await;
        Ok(found.map_err(fault::storage)?.map(|v| v.value))
    }

    pub async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let mut names =
            self.store.list(Space::core(), FOLDER, None, MAX_POLICIES).await.map_err(fault::storage)?;
        names.push("root".into());
        names.sort();
        Ok(names.into_iter().filter(|n| after.is_none_or(|a| n.as_str() > a)).take(limit).collect())
    }

    /// Checks and stages a policy.
    pub fn write(&self, txn: &mut Transaction, name: &PathName, text: &str) -> Result<()> {
        if matches!(&**name, "root" | "response-wrapping") {
            return Err(Error::invalid(format!("cannot update \"{name}\" policy")));
        }
        if text.len() > MAX_POLICY_BYTES {
            return Err(Error::invalid(format!("policy text is longer than {MAX_POLICY_BYTES} bytes")));
        }
        Policy::parse(name, text)?;
        let record =
            serde_json::to_vec(&StoredPolicy { v: 1, text: text.to_string() }).map_err(Error::internal)?;
        txn.put(Space::core(), &format!("{FOLDER}{name}"), Zeroizing::new(record)).map_err(fault::storage)
    }

    pub fn delete(&self, txn: &mut Transaction, name: &PathName) -> Result<()> {
        if matches!(&**name, "root" | "default" | "response-wrapping") {
            return Err(Error::invalid(format!("cannot delete \"{name}\" policy")));
        }
        txn.delete(Space::core(), &format!("{FOLDER}{name}")).map_err(fault::storage)
    }
}

fn broken(name: &str, e: &Error) -> Error {
    tracing::error!(policy = name, error = %e, "a stored policy cannot be read: its tokens are refused");
    Error::denied()
}

fn decode(value: &[u8]) -> Result<String> {
    let p: StoredPolicy =
        serde_json::from_slice(value).map_err(|_| Error::internal("stored policy has an unknown form"))?;
    match p.v {
        1 => Ok(p.text),
        v => Err(Error::internal(format!("stored policy has version {v}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compiled_of_policies_that_changed_meanwhile_is_not_kept() {
        let (cache, names, acl) = (AclCache::new(), vec!["a".to_string()], Arc::new(Acl::new(&[])));
        let before = cache.epoch.load(Ordering::Acquire);
        cache.keep(&names, &acl, before);
        assert!(cache.get(&names).is_some());
        cache.clear();
        assert!(cache.get(&names).is_none());
        cache.keep(&names, &acl, before);
        assert!(cache.get(&names).is_none(), "compiled before the change, kept after it");
        cache.keep(&names, &acl, cache.epoch.load(Ordering::Acquire));
        assert!(cache.get(&names).is_some());
    }
}
