//! How many calls may be under way at once: in all, to one service, by one caller. One of them
//! that waits for a silent upstream must not take the sockets and the memory of the others.

use crate::error::Code;
use crate::limits::SLOT_SHARDS;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The process's share for calls to upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallCaps {
    /// Calls under way.
    pub total: usize,
    /// Of these, to one service.
    pub per_service: usize,
    /// Of these, by one caller over all services.
    pub per_caller: usize,
    /// Upstream connections, the idle ones too.
    pub sockets: usize,
}

/// Counts the calls under way.
pub(crate) struct Slots {
    caps: CallCaps,
    total: AtomicUsize,
    services: Counts,
    callers: Counts,
}

impl Slots {
    pub fn new(caps: CallCaps) -> Arc<Self> {
        let hasher = RandomState::new();
        let counts = || Counts {
            shards: (0..SLOT_SHARDS).map(|_| Mutex::default()).collect(),
            hasher: hasher.clone(),
        };
        Arc::new(Slots { caps, total: AtomicUsize::new(0), services: counts(), callers: counts() })
    }

    pub fn caps(&self) -> CallCaps {
        self.caps
    }

    /// A place for one more call, until it is dropped.
    ///
    /// # Errors
    /// `CallerBusy` when this caller has its share, `Busy` when the service or the gateway has.
    pub fn take(self: &Arc<Self>, service: &str, caller: &str) -> Result<Slot, Code> {
        // Each part is given back by the drop of what was taken before it.
        let mut slot = Slot { slots: self.clone(), service: None, caller: None };
        if self.total.fetch_add(1, Ordering::AcqRel) >= self.caps.total {
            return Err(Code::Busy);
        }
        if !self.callers.add(caller, self.caps.per_caller) {
            return Err(Code::CallerBusy);
        }
        slot.caller = Some(caller.to_owned());
        if !self.services.add(service, self.caps.per_service) {
            return Err(Code::Busy);
        }
        slot.service = Some(service.to_owned());
        Ok(slot)
    }
}

/// The place of one call.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    service: Option<String>,
    caller: Option<String>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(name) = &self.service {
            self.slots.services.remove(name);
        }
        if let Some(name) = &self.caller {
            self.slots.callers.remove(name);
        }
        self.slots.total.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Calls under way by name; a name without any is not kept.
struct Counts {
    shards: Box<[Mutex<HashMap<String, usize>>]>,
    hasher: RandomState,
}

impl Counts {
    fn shard(&self, name: &str) -> Option<&Mutex<HashMap<String, usize>>> {
        let at = usize::try_from(self.hasher.hash_one(name) % SLOT_SHARDS as u64).unwrap_or(0);
        self.shards.get(at)
    }

    /// `false`, and nothing counted, at `cap`.
    fn add(&self, name: &str, cap: usize) -> bool {
        let Some(shard) = self.shard(name) else { return false };
        let mut shard = shard.lock();
        match shard.get_mut(name) {
            Some(n) if *n >= cap => false,
            Some(n) => {
                *n += 1;
                true
            }
            None if cap == 0 => false,
            None => {
                shard.insert(name.to_owned(), 1);
                true
            }
        }
    }

    fn remove(&self, name: &str) {
        let Some(shard) = self.shard(name) else { return };
        let mut shard = shard.lock();
        match shard.get_mut(name) {
            Some(n) if *n > 1 => *n -= 1,
            _ => drop(shard.remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAPS: CallCaps = CallCaps { total: 6, per_service: 4, per_caller: 2, sockets: 0 };

    fn left(s: &Slots) -> (usize, usize) {
        let names = |c: &Counts| c.shards.iter().map(|s| s.lock().len()).sum::<usize>();
        (s.total.load(Ordering::Acquire), names(&s.services) + names(&s.callers))
    }

    #[test]
    fn each_cap_has_its_own_refusal_and_a_refusal_takes_nothing() {
        let s = Slots::new(CAPS);
        let take = |service: &str, caller: &str| s.take(service, caller);
        let mut held = vec![take("a", "x").unwrap(), take("a", "x").unwrap()];
        assert!(matches!(take("b", "x"), Err(Code::CallerBusy)), "one caller over all services");
        held.extend([take("a", "y").unwrap(), take("a", "y").unwrap()]);
        assert!(matches!(take("a", "z"), Err(Code::Busy)), "one service");
        held.extend([take("b", "z").unwrap(), take("b", "z").unwrap()]);
        assert!(matches!(take("c", "new"), Err(Code::Busy)), "in all");
        held.pop();
        assert!(take("c", "new").is_ok(), "a place came back");
        drop(held);
        assert_eq!(left(&s), (0, 0), "no name is kept");
    }

    proptest! {
        /// Whatever is taken and given back in whatever order: never above a cap, nothing left.
        #[test]
        fn never_above_a_cap(steps in prop::collection::vec((0u8..3, 0u8..4, any::<bool>()), 1..200)) {
            let s = Slots::new(CAPS);
            let mut held: Vec<(u8, u8, Slot)> = Vec::new();
            for (service, caller, give) in steps {
                if give && !held.is_empty() {
                    held.remove(usize::from(caller) % held.len());
                } else if let Ok(slot) = s.take(&format!("s{service}"), &format!("c{caller}")) {
                    held.push((service, caller, slot));
                }
                prop_assert!(held.len() <= CAPS.total);
                for n in 0..4u8 {
                    prop_assert!(held.iter().filter(|h| h.0 == n).count() <= CAPS.per_service);
                    prop_assert!(held.iter().filter(|h| h.1 == n).count() <= CAPS.per_caller);
                }
                prop_assert_eq!(s.total.load(Ordering::Acquire), held.len());
            }
            drop(held);
            prop_assert_eq!(left(&s), (0, 0));
        }
    }
}
