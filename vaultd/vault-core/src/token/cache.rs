//! Tokens that were used lately, so that a request is identified without I/O.
//!
//! An entry leaves when its record changes: the store calls [`Cache::invalidate`] before it
//! acknowledges the commit. A fill carries the generation of its shard from before the read and
//! is thrown away when the shard was invalidated since, so a slow reader cannot put back what a
//! revocation has just taken out.

use super::entry::Cached;
use super::id::TokenHash;
use crate::limits::{TOKEN_CACHE_PER_SHARD, TOKEN_CACHE_SHARDS};
use parking_lot::RwLock;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) struct Cache {
    shards: Box<[RwLock<Shard>]>,
}

#[derive(Default)]
struct Shard {
    /// Invalidations seen.
    generation: u64,
    slots: HashMap<TokenHash, Slot>,
    /// Oldest first; may name tokens that have left.
    order: VecDeque<TokenHash>,
}

struct Slot {
    value: Cached,
    /// Used since it was last passed over for eviction.
    used: AtomicBool,
}

/// A shard's generation before a read.
#[derive(Clone, Copy)]
pub(super) struct Ticket(u64);

impl Cache {
    pub(super) fn new() -> Self {
        Cache { shards: (0..TOKEN_CACHE_SHARDS).map(|_| RwLock::default()).collect() }
    }

    fn shard(&self, h: TokenHash) -> Option<&RwLock<Shard>> {
        self.shards.get(h.spread() % TOKEN_CACHE_SHARDS)
    }

    pub(super) fn get(&self, h: TokenHash) -> Option<Cached> {
        let shard = self.shard(h)?.read();
        let slot = shard.slots.get(&h)?;
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(slot.value.clone())
    }

    /// To be taken before the read whose result is given to [`Cache::fill`].
    pub(super) fn ticket(&self, h: TokenHash) -> Ticket {
        Ticket(self.shard(h).map_or(0, |s| s.read().generation))
    }

    /// Keeps what was read, unless the shard has been invalidated since `ticket`.
    pub(super) fn fill(&self, h: TokenHash, ticket: Ticket, value: Cached) {
        let Some(shard) = self.shard(h) else { return };
        let mut shard = shard.write();
        if shard.generation != ticket.0 || shard.slots.contains_key(&h) {
            return;
        }
        while shard.slots.len() >= TOKEN_CACHE_PER_SHARD || shard.order.len() >= 2 * TOKEN_CACHE_PER_SHARD {
            if !shard.evict_one() {
                break;
            }
        }
        shard.slots.insert(h, Slot { value, used: AtomicBool::new(false) });
        shard.order.push_back(h);
    }

    pub(super) fn invalidate(&self, h: TokenHash) {
        if let Some(shard) = self.shard(h) {
            let mut shard = shard.write();
            shard.generation = shard.generation.wrapping_add(1);
            shard.slots.remove(&h);
        }
    }

    /// Drops an entry that is known to be of no more use (expired).
    pub(super) fn forget(&self, h: TokenHash) {
        if let Some(shard) = self.shard(h) {
            shard.write().slots.remove(&h);
        }
    }

    /// Drops everything, and what is being read now.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.write();
            let generation = shard.generation.wrapping_add(1);
            *shard = Shard { generation, ..Shard::default() };
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|s| s.read().slots.len()).sum()
    }
}

impl Shard {
    /// Second chance: one that was used since the last pass goes to the back of the queue.
    fn evict_one(&mut self) -> bool {
        for _ in 0..=2 * TOKEN_CACHE_PER_SHARD {
            let Some(h) = self.order.pop_front() else { return false };
            match self.slots.get(&h) {
                None => return true,
                Some(slot) if slot.used.swap(false, Ordering::Relaxed) => self.order.push_back(h),
                Some(_) => {
                    self.slots.remove(&h);
                    return true;
                }
            }
        }
        false
    }
}
