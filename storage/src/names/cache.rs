//! Storage keys of recently used folders, in bounded shards: a read takes one shard's read lock, and a full shard drops
//! what was not used since it was last full.

use crate::Space;
use crate::limits::{MAX_CACHED_FOLDERS, NAME_CACHE_SHARDS};
use crate::physical::Key as StorageKey;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};

struct Entry {
    space: Space,
    dir: Box<str>,
    key: StorageKey,
    used: AtomicBool,
}

/// By hash of space and folder; of two folders with one hash the later stays.
type Shard = RwLock<HashMap<u64, Entry>>;

pub struct Cache {
    shards: Vec<Shard>,
    /// Keyed at random, so that nobody can choose paths that collide.
    hasher: RandomState,
}

impl Cache {
    pub fn new() -> Cache {
        let shards = (0..NAME_CACHE_SHARDS).map(|_| Shard::default()).collect();
        Cache { shards, hasher: RandomState::new() }
    }

    fn shard(&self, space: Space, dir: &str) -> (u64, Option<&Shard>) {
        let hash = self.hasher.hash_one((space, dir));
        // The map uses the low and the high bits; the shard takes some from the middle.
        let at = usize::try_from(hash >> 32 & 0xffff).unwrap_or(0) % self.shards.len().max(1);
        (hash, self.shards.get(at))
    }

    pub fn get(&self, space: Space, dir: &str) -> Option<StorageKey> {
        let (hash, shard) = self.shard(space, dir);
        let shard = shard?.read();
        let entry = shard.get(&hash).filter(|e| e.space == space && *e.dir == *dir)?;
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(entry.key.clone())
    }

    pub fn put(&self, space: Space, dir: &str, key: &StorageKey) {
        let (hash, shard) = self.shard(space, dir);
        let Some(shard) = shard else { return };
        let mut shard = shard.write();
        let bound = MAX_CACHED_FOLDERS / NAME_CACHE_SHARDS;
        if shard.len() >= bound && !shard.contains_key(&hash) {
            shard.retain(|_, e| e.used.swap(false, Ordering::Relaxed));
            if shard.len() >= bound {
                shard.clear();
            }
        }
        shard.insert(hash, Entry { space, dir: dir.into(), key: key.clone(), used: AtomicBool::new(false) });
    }

    pub fn clear(&self) {
        for shard in &self.shards {
            *shard.write() = HashMap::new();
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|s| s.read().len()).sum()
    }
}
