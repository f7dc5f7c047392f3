//! Stored policies and the compiled ACLs made of them.

use crate::fault;
use crate::limits::{MAX_CACHED_ACLS, MAX_POLICIES, MAX_POLICY_BYTES};
use crate::policy::{self, Acl, Policy};
use arc_swap::ArcSwap;
use secmem::Zeroizing;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use storage::{Space, Store, Transaction};
use vault_logical::{Error, Result};

const FOLDER: &str = "policy/";

#[derive(Serialize, Deserialize)]
struct StoredPolicy {
    v: u8,
    text: String,
}

/// Compiled ACLs by policy set; `epoch` moves with every policy change.
#[derive(Default)]
struct AclCache {
    epoch: u64,
    acls: HashMap<Vec<String>, Arc<Acl>>,
}

pub struct Policies {
    store: Store,
    cache: ArcSwap<AclCache>,
    root: Arc<Acl>,
}

impl Policies {
    pub fn new(store: Store) -> Self {
        Policies { store, cache: ArcSwap::default(), root: Arc::new(Acl::root()) }
    }

    /// A policy record changed: nothing compiled so far may be used again.
    pub fn invalidate(&self) {
        self.cache.rcu(|old| AclCache { epoch: old.epoch + 1, acls: HashMap::new() });
    }

    /// Moves whenever any policy changes.
    pub fn epoch(&self) -> u64 {
        self.cache.load().epoch
    }

    /// The ACL of a policy set, from memory when it was compiled before.
    pub async fn acl(&self, names: &[String]) -> Result<Arc<Acl>> {
        if names.iter().any(|n| n == "root") {
            return Ok(self.root.clone());
        }
        let cache = self.cache.load();
        if let Some(acl) = cache.acls.get(names) {
            return Ok(acl.clone());
        }
        let epoch = cache.epoch;
        drop(cache);
        let mut policies = Vec::with_capacity(names.len());
        for name in names {
            if let Some(text) = self.read(name).await? {
                policies.push(Arc::new(Policy::parse(name, &text)?));
            }
        }
        let acl = Arc::new(Acl::new(&policies));
        self.cache.rcu(|old| {
            // A change since the read above makes this ACL stale: do not keep it.
            if old.epoch != epoch {
                return old.clone();
            }
            let mut acls = if old.acls.len() < MAX_CACHED_ACLS { old.acls.clone() } else { HashMap::new() };
            acls.insert(names.to_vec(), acl.clone());
            Arc::new(AclCache { epoch, acls })
        });
        Ok(acl)
    }

    /// The text of a policy; `None` when there is no such policy. `root` has no text.
    pub async fn read(&self, name: &str) -> Result<Option<String>> {
        if name == "root" {
            return Ok(Some(String::new()));
        }
        match self.store.get(Space::core(), &format!("{FOLDER}{name}")).await.map_err(fault::storage)? {
            None => Ok(None),
            Some(v) => decode(&v.value).map(Some),
        }
    }

    pub async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let mut names =
            self.store.list(Space::core(), FOLDER, None, MAX_POLICIES).await.map_err(fault::storage)?;
        names.push("root".into());
        names.sort();
        Ok(names.into_iter().filter(|n| after.is_none_or(|a| n.as_str() > a)).take(limit).collect())
    }

    /// Checks and stages a policy.
    pub fn write(&self, txn: &mut Transaction, name: &str, text: &str) -> Result<()> {
        let name = policy::normalise_name(name)?;
        if name == "root" || name == "response-wrapping" {
            return Err(Error::invalid(format!("cannot update \"{name}\" policy")));
        }
        if text.len() > MAX_POLICY_BYTES {
            return Err(Error::invalid(format!("policy text is longer than {MAX_POLICY_BYTES} bytes")));
        }
        Policy::parse(&name, text)?;
        let record =
            serde_json::to_vec(&StoredPolicy { v: 1, text: text.to_string() }).map_err(Error::internal)?;
        txn.put(Space::core(), &format!("{FOLDER}{name}"), Zeroizing::new(record)).map_err(fault::storage)
    }

    pub fn delete(&self, txn: &mut Transaction, name: &str) -> Result<()> {
        let name = policy::normalise_name(name)?;
        if matches!(name.as_str(), "root" | "default" | "response-wrapping") {
            return Err(Error::invalid(format!("cannot delete \"{name}\" policy")));
        }
        txn.delete(Space::core(), &format!("{FOLDER}{name}")).map_err(fault::storage)
    }
}

fn decode(value: &[u8]) -> Result<String> {
    let p: StoredPolicy =
        serde_json::from_slice(value).map_err(|_| Error::internal("stored policy has an unknown form"))?;
    match p.v {
        1 => Ok(p.text),
        v => Err(Error::internal(format!("stored policy has version {v}"))),
    }
}
