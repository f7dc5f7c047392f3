//! The arena: who may reach which key, and when it ends.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::error::{ArenaError, Protection, Wiped};
use crate::key::Key;
use crate::limits::{
    MAX_STACKS, MIN_STACKS, SLAB_BYTES, SMALL_SLAB_BYTES, SPARE_STACKS, STACK_BYTES, WIPE_POLL, WIPE_WAIT,
};
use crate::pool::StackPool;
use crate::region::{self, Pages};
use crate::slab::{Slab, class_of};

/// What all scopes share.
pub(crate) struct Memory {
    protection: Protection,
    pub(crate) slab: RwLock<Slab>,
    pub(crate) stacks: StackPool,
}

/// A set of keys that end together.
pub(crate) struct Scope {
    parent: Option<Arc<Scope>>,
    closed: AtomicBool,
    /// Closures now running on keys of this scope or of one below it.
    running: AtomicUsize,
}

impl Scope {
    fn new(parent: Option<Arc<Scope>>) -> Arc<Self> {
        Arc::new(Self { parent, closed: AtomicBool::new(false), running: AtomicUsize::new(0) })
    }

    /// This scope and those above it.
    fn chain(&self) -> impl Iterator<Item = &Scope> {
        std::iter::successors(Some(self), |scope| scope.parent.as_deref())
    }

    fn is_within(&self, outer: &Scope) -> bool {
        self.chain().any(|scope| std::ptr::eq(scope, outer))
    }

    fn is_closed(&self) -> bool {
        self.chain().any(|scope| scope.closed.load(Ordering::SeqCst))
    }
}

/// One running closure, as long as it exists.
pub(crate) struct Running<'a>(&'a Scope);

impl<'a> Running<'a> {
    pub(crate) fn start(scope: &'a Scope) -> Self {
        for scope in scope.chain() {
            scope.running.fetch_add(1, Ordering::SeqCst);
        }
        Self(scope)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        for scope in self.0.chain() {
            scope.running.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// A place in the slab. It belongs to one key for ever: once dead it never comes to life again, and the place goes to a
/// new `Slot`.
pub(crate) struct Slot {
    scope: Arc<Scope>,
    offset: usize,
    len: usize,
    class: usize,
    alive: AtomicBool,
}

impl Slot {
    pub(crate) fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn class(&self) -> usize {
        self.class
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    /// Ends it; true for the one caller who did. Called with the slab locked for writing.
    pub(crate) fn kill(&self) -> bool {
        self.alive.swap(false, Ordering::SeqCst)
    }
}

/// Memory for keys. Clones share it and the scope.
#[derive(Clone)]
pub struct Arena {
    memory: Arc<Memory>,
    scope: Arc<Scope>,
}

impl Arena {
    /// Opens an arena of less than 4 MiB: with the best protection to be had, or with exactly the one required.
    pub fn open(require: Option<Protection>) -> Result<Arena, ArenaError> {
        if let Some(protection) = require {
            return Self::open_as(protection);
        }
        Self::open_as(Protection::MemfdSecret)
            .or_else(|_| Self::open_as(Protection::Mlock))
            .or_else(|_| Self::open_as(Protection::Unlocked))
    }

    /// At full size, or at the size that a low `RLIMIT_MEMLOCK` may still allow.
    fn open_as(protection: Protection) -> Result<Arena, ArenaError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let stacks = (cores + SPARE_STACKS).clamp(MIN_STACKS, MAX_STACKS);
        let map = |slab: usize, stacks: usize| {
            let lengths: Vec<usize> =
                std::iter::once(slab).chain(std::iter::repeat_n(STACK_BYTES, stacks)).collect();
            region::map(protection, &lengths)
        };
        let pages = map(SLAB_BYTES, stacks).or_else(|_| map(SMALL_SLAB_BYTES, MIN_STACKS))?;
        Self::over(protection, pages)
    }

    fn over(protection: Protection, pages: Vec<Pages>) -> Result<Arena, ArenaError> {
        let mut pages = pages.into_iter();
        let slab = Slab::new(pages.next().ok_or(ArenaError::Full)?);
        let memory = Memory { protection, slab: RwLock::new(slab), stacks: StackPool::new(pages.collect()) };
        Ok(Arena { memory: Arc::new(memory), scope: Scope::new(None) })
    }

    /// The protection in force.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.memory.protection
    }

    /// A new key of `len` bytes (1 to 16 KiB). `fill` gets them zeroed and runs on a stack inside the arena, with the
    /// rules of [`Key::with`].
    pub fn insert(&self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<Key, ArenaError> {
        self.insert_with(len, |bytes| {
            fill(bytes);
            Ok(())
        })
    }

    /// A new key with a copy of `bytes`. The caller still has to wipe the original.
    pub fn from_slice(&self, bytes: &[u8]) -> Result<Key, ArenaError> {
        self.insert(bytes.len(), |slot| slot.copy_from_slice(bytes))
    }

    /// A new random key of `len` bytes.
    pub fn random(&self, len: usize) -> Result<Key, ArenaError> {
        self.insert_with(len, |slot| Ok(crate::random::fill(slot)?))
    }

    pub(crate) fn insert_with(
        &self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), ArenaError>,
    ) -> Result<Key, ArenaError> {
        let key = self.place(len)?;
        key.write(fill)?;
        Ok(key)
    }

    /// An empty slot. It is registered before it is filled, so that a wipe in between ends it.
    fn place(&self, len: usize) -> Result<Key, ArenaError> {
        let class = class_of(len)?;
        let mut slab = self.memory.slab.write();
        if self.scope.is_closed() {
            return Err(Wiped.into());
        }
        let offset = slab.allocate(class)?;
        let scope = self.scope.clone();
        let slot = Arc::new(Slot { scope, offset, len, class, alive: AtomicBool::new(true) });
        slab.register(slot.clone());
        drop(slab);
        Ok(Key::new(self.memory.clone(), slot))
    }

    pub(crate) fn of(memory: Arc<Memory>, scope: Arc<Scope>) -> Self {
        Self { memory, scope }
    }

    /// A child scope over the same memory. Wiping it wipes only its own keys (and those of its children); wiping its
    /// parent wipes it too.
    #[must_use]
    pub fn scope(&self) -> Arena {
        Arena { memory: self.memory.clone(), scope: Scope::new(Some(self.scope.clone())) }
    }

    /// Ends every key of this scope: wipes the slots in place, whoever still holds handles, waits up to 2 s for
    /// closures that are still running on them, then wipes the stacks. A closure that runs across a wipe gets its
    /// result discarded. The scope can hold new keys afterwards; see [`close`](Self::close).
    ///
    /// Blocks the thread while it waits, except inside a closure on a key, where it does not wait.
    pub fn wipe(&self) {
        self.wipe_within(WIPE_WAIT);
    }

    fn wipe_within(&self, wait: Duration) {
        self.memory.slab.write().wipe(|slot| slot.scope().is_within(&self.scope));
        if !self.memory.stacks.is_current() {
            let deadline = Instant::now() + wait;
            while self.scope.running.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
                std::thread::sleep(WIPE_POLL);
            }
        }
        self.memory.stacks.wipe();
    }

    /// As [`wipe`](Self::wipe), and the scope takes no key any more: what is still on its way in is refused.
    pub fn close(&self) {
        self.scope.closed.store(true, Ordering::SeqCst);
        self.wipe();
    }

    /// Bytes in live slots of this scope and its children, as the size of the slots.
    #[must_use]
    pub fn used(&self) -> usize {
        self.memory.slab.read().used(|slot| slot.scope().is_within(&self.scope))
    }

    /// Occurrences of `pattern`, overlapping ones too, in all memory of the arena: slots of every scope, free ones too,
    /// and stacks that are not in use. For tests: it reads everything.
    #[must_use]
    pub fn count(&self, pattern: &[u8]) -> usize {
        let count = |memory: &[u8]| match pattern.first() {
            Some(_) => memory.windows(pattern.len()).filter(|window| *window == pattern).count(),
            None => 0,
        };
        count(self.memory.slab.read().memory()) + self.memory.stacks.sum(count)
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("protection", &self.memory.protection).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
