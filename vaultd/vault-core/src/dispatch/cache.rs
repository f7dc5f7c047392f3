//! What the data plane answers from memory: services, credentials (as handles into the arena)
//! and identities. Entries fall with the store's change feed; a fill that raced with a change
//! is not kept.

use crate::limits::MAX_INVOKE_CACHE;
use parking_lot::RwLock;
use secmem::Key;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;
use vault_logical::{Auth, Binding, ServiceConfig, Timestamp};

#[derive(Clone)]
pub struct CachedCredential {
    pub key: Key,
    pub version: u64,
    /// Differs for every fill: part of the upstream pool's key.
    pub epoch: u64,
    until: Timestamp,
    mount: Uuid,
}

#[derive(Clone)]
pub struct CachedIdentity {
    pub auth: Arc<Auth>,
    pub until: Timestamp,
    pub mount: Uuid,
    /// The method's [`vault_logical::AuthMethod::epoch`] before it answered.
    pub epoch: u64,
}

#[derive(Default)]
struct Entries {
    services: HashMap<(Uuid, String), (Arc<ServiceConfig>, u64)>,
    credentials: HashMap<Binding, CachedCredential>,
    identities: HashMap<[u8; 32], CachedIdentity>,
    /// Changes seen for each mount that something was read from.
    generations: HashMap<Uuid, u64>,
}

#[derive(Default)]
pub struct InvokeCache {
    entries: RwLock<Entries>,
    epoch: AtomicU64,
}

impl InvokeCache {
    /// Everything derived from a mount falls.
    pub fn forget(&self, mount: Uuid) {
        if !self.entries.read().generations.contains_key(&mount) {
            return;
        }
        let mut e = self.entries.write();
        if let Some(g) = e.generations.get_mut(&mount) {
            *g += 1;
        }
        e.services.retain(|(m, _), _| *m != mount);
        e.credentials.retain(|_, c| c.mount != mount);
        e.identities.retain(|_, i| i.mount != mount);
    }

    /// The mounts themselves changed, or the vault seals: everything falls.
    pub fn clear(&self) {
        let mut e = self.entries.write();
        e.generations.values_mut().for_each(|g| *g += 1);
        e.services.clear();
        e.credentials.clear();
        e.identities.clear();
    }

    /// Read this before reading the store, give it to `keep_*` after.
    pub fn generation(&self, mount: Uuid) -> u64 {
        *self.entries.write().generations.entry(mount).or_insert(0)
    }

    fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn service(&self, mount: Uuid, name: &str) -> Option<(Arc<ServiceConfig>, u64)> {
        self.entries.read().services.get(&(mount, name.to_string())).cloned()
    }

    pub fn keep_service(&self, mount: Uuid, name: &str, config: Arc<ServiceConfig>, generation: u64) -> u64 {
        let epoch = self.next_epoch();
        let mut e = self.entries.write();
        if e.generations.get(&mount) == Some(&generation) {
            bound(&mut e.services);
            e.services.insert((mount, name.to_string()), (config, epoch));
        }
        epoch
    }

    /// A key that was read lately.
    pub fn credential(&self, binding: &Binding, now: Timestamp) -> Option<CachedCredential> {
        self.entries.read().credentials.get(binding).filter(|c| now < c.until).cloned()
    }

    pub fn keep_credential(
        &self,
        binding: &Binding,
        mount: Uuid,
        key: Key,
        version: u64,
        until: Timestamp,
        generation: u64,
    ) -> CachedCredential {
        let mut e = self.entries.write();
        // The same version read again is the same credential: its connections may be kept.
        let same =
            e.credentials.get(binding).filter(|c| c.version == version && version > 0 && c.mount == mount);
        let epoch = same.map_or_else(|| self.next_epoch(), |c| c.epoch);
        let made = CachedCredential { key, version, epoch, until, mount };
        if e.generations.get(&mount) == Some(&generation) {
            bound(&mut e.credentials);
            e.credentials.insert(binding.clone(), made.clone());
        }
        made
    }

    /// A verified identity that is still within its time.
    pub fn identity(&self, key: &[u8; 32], now: Timestamp) -> Option<CachedIdentity> {
        self.entries.read().identities.get(key).filter(|i| now < i.until).cloned()
    }

    pub fn keep_identity(&self, key: [u8; 32], identity: CachedIdentity, generation: u64) {
        let mut e = self.entries.write();
        if e.generations.get(&identity.mount) == Some(&generation) {
            bound(&mut e.identities);
            e.identities.insert(key, identity);
        }
    }
}

fn bound<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= MAX_INVOKE_CACHE {
        map.clear();
    }
}
