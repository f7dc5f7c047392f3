//! What the data plane answers from memory: services, credentials (as handles into the arena)
//! and identities. An entry falls when a record that it was made of changes, and only then; a
//! fill during which such a record changed is not kept.
//!
//! Everything lies under the mount that it was read from, so nothing here grows with names that
//! do not exist, and what belongs to a mount goes with it.

use crate::limits::{MAX_FILL_CHANGES, MAX_INVOKE_CACHE};
use parking_lot::RwLock;
use secmem::{Key, ct};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;
use vault_logical::{Auth, Binding, ServiceConfig, Timestamp};

/// Where a gateway mount keeps its services.
pub const SERVICES: &str = "service/";

#[derive(Clone)]
pub struct CachedCredential {
    pub key: Key,
    pub version: u64,
    /// Differs for every other key: part of the upstream pool's key.
    pub epoch: u64,
    until: Timestamp,
}

struct Held {
    credential: CachedCredential,
    made_of: Vec<String>,
}

#[derive(Clone)]
pub struct CachedIdentity {
    pub auth: Arc<Auth>,
    pub until: Timestamp,
    /// The method's [`vault_logical::AuthMethod::epoch`] before it answered.
    pub epoch: u64,
}

/// What was read from one mount.
#[derive(Default)]
struct Part {
    services: HashMap<String, (Arc<ServiceConfig>, u64)>,
    credentials: HashMap<Binding, Held>,
    identities: HashMap<[u8; 32], CachedIdentity>,
    /// Reads under way, and what changed since they began.
    fills: HashMap<u64, Changes>,
}

/// Records that changed during a read.
enum Changes {
    These(Vec<String>),
    /// More than are noted one by one, or the mount itself.
    Any,
}

impl Part {
    fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.credentials.is_empty()
            && self.identities.is_empty()
            && self.fills.is_empty()
    }

    fn depends_on(&self, path: &str) -> bool {
        !self.fills.is_empty()
            || !self.identities.is_empty()
            || path.strip_prefix(SERVICES).is_some_and(|s| self.services.contains_key(s))
            || self.credentials.values().any(|h| h.made_of.iter().any(|p| p == path))
    }

    fn forget(&mut self, path: &str) {
        for changes in self.fills.values_mut() {
            changes.note(path);
        }
        if let Some(name) = path.strip_prefix(SERVICES) {
            self.services.remove(name);
        }
        self.credentials.retain(|_, h| h.made_of.iter().all(|p| p != path));
        // A login's verdict hangs on its method's whole configuration.
        self.identities.clear();
    }
}

impl Changes {
    fn note(&mut self, path: &str) {
        match self {
            Changes::These(paths) if paths.len() < MAX_FILL_CHANGES => paths.push(path.to_owned()),
            _ => *self = Changes::Any,
        }
    }

    fn touch(&self, path: &str) -> bool {
        match self {
            Changes::These(paths) => paths.iter().any(|p| p == path),
            Changes::Any => true,
        }
    }
}

#[derive(Default)]
pub struct InvokeCache {
    parts: RwLock<HashMap<Uuid, Part>>,
    /// Of epochs and fills.
    count: AtomicU64,
}

/// A read under way: begun before the store is read, given to a `keep_*` after.
pub struct Fill<'a> {
    cache: &'a InvokeCache,
    mount: Uuid,
    id: u64,
}

impl Drop for Fill<'_> {
    fn drop(&mut self) {
        let mut parts = self.cache.parts.write();
        if let Some(part) = parts.get_mut(&self.mount) {
            part.fills.remove(&self.id);
            if part.is_empty() {
                parts.remove(&self.mount);
            }
        }
    }
}

impl InvokeCache {
    /// A record of a mount changed: what was made of it falls.
    pub fn forget(&self, mount: Uuid, path: &str) {
        if !self.parts.read().get(&mount).is_some_and(|p| p.depends_on(path)) {
            return;
        }
        if let Some(part) = self.parts.write().get_mut(&mount) {
            part.forget(path);
        }
    }

    /// A mount itself changed: everything read from it falls.
    pub fn forget_mount(&self, mount: Uuid) {
        if let Some(part) = self.parts.write().get_mut(&mount) {
            let fills = part.fills.keys().map(|id| (*id, Changes::Any)).collect();
            *part = Part { fills, ..Part::default() };
        }
    }

    /// The vault seals: everything falls.
    pub fn clear(&self) {
        let mounts: Vec<Uuid> = self.parts.read().keys().copied().collect();
        mounts.into_iter().for_each(|m| self.forget_mount(m));
    }

    fn next(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn fill(&self, mount: Uuid) -> Fill<'_> {
        let id = self.next();
        let mut parts = self.parts.write();
        parts.entry(mount).or_default().fills.insert(id, Changes::These(Vec::new()));
        Fill { cache: self, mount, id }
    }

    pub fn service(&self, mount: Uuid, name: &str) -> Option<(Arc<ServiceConfig>, u64)> {
        self.parts.read().get(&mount)?.services.get(name).cloned()
    }

    pub fn keep_service(&self, fill: &Fill<'_>, name: &str, config: Arc<ServiceConfig>) -> u64 {
        let epoch = self.next();
        let mut parts = self.parts.write();
        let Some(part) = parts.get_mut(&fill.mount) else { return epoch };
        if part.fills.get(&fill.id).is_some_and(|c| !c.touch(&format!("{SERVICES}{name}"))) {
            // Two that read it at once agree on its epoch.
            if let Some((_, kept)) = part.services.get(name) {
                return *kept;
            }
            bound(&mut part.services);
            part.services.insert(name.to_string(), (config, epoch));
        }
        epoch
    }

    /// A key that was read lately.
    pub fn credential(&self, mount: Uuid, binding: &Binding, now: Timestamp) -> Option<CachedCredential> {
        let parts = self.parts.read();
        let held = parts.get(&mount)?.credentials.get(binding)?;
        (now < held.credential.until).then(|| held.credential.clone())
    }

    /// `made_of`: the records that were read for it.
    pub fn keep_credential(
        &self,
        fill: &Fill<'_>,
        binding: &Binding,
        key: Key,
        version: u64,
        until: Timestamp,
        made_of: Vec<String>,
    ) -> CachedCredential {
        let mut credential = CachedCredential { key, version, epoch: self.next(), until };
        let mut parts = self.parts.write();
        let Some(part) = parts.get_mut(&fill.mount) else { return credential };
        if !part.fills.get(&fill.id).is_some_and(|c| made_of.iter().all(|p| !c.touch(p))) {
            return credential;
        }
        // The same key read again: its connections may be kept.
        if let Some(old) = part.credentials.get(binding)
            && same_key(&old.credential.key, &credential.key)
        {
            credential.epoch = old.credential.epoch;
        }
        bound(&mut part.credentials);
        part.credentials.insert(binding.clone(), Held { credential: credential.clone(), made_of });
        credential
    }

    /// A verified identity that is still within its time.
    pub fn identity(&self, mount: Uuid, key: &[u8; 32], now: Timestamp) -> Option<CachedIdentity> {
        self.parts.read().get(&mount)?.identities.get(key).filter(|i| now < i.until).cloned()
    }

    pub fn keep_identity(&self, fill: &Fill<'_>, key: [u8; 32], identity: CachedIdentity) {
        let mut parts = self.parts.write();
        let Some(part) = parts.get_mut(&fill.mount) else { return };
        if matches!(part.fills.get(&fill.id), Some(Changes::These(paths)) if paths.is_empty()) {
            bound(&mut part.identities);
            part.identities.insert(key, identity);
        }
    }
}

fn same_key(a: &Key, b: &Key) -> bool {
    a.attempt(|a| b.with(|b| ct::eq(a, b))).is_ok_and(|same| same.unwrap_or(false))
}

fn bound<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= MAX_INVOKE_CACHE {
        map.clear();
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
