//! The arena and its handles.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::error::{ArenaError, Protection, Wiped};
use crate::limits::MAX_KEY_BYTES;

struct Slot {
    id: u64,
    scope: u64,
    bytes: Zeroizing<Vec<u8>>,
}

struct Memory {
    protection: Protection,
    next: AtomicU64,
    slots: Mutex<Vec<Slot>>,
}

/// Memory for keys. Clones share it.
#[derive(Clone)]
pub struct Arena {
    memory: Arc<Memory>,
    scope: u64,
}

impl Arena {
    /// Opens the arena with the best protection to be had, or exactly the one required.
    pub fn open(require: Option<Protection>) -> Result<Arena, ArenaError> {
        let protection = require.unwrap_or(Protection::Unlocked);
        let memory = Memory { protection, next: AtomicU64::new(1), slots: Mutex::new(Vec::new()) };
        Ok(Arena { memory: Arc::new(memory), scope: 0 })
    }

    /// The protection in force.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.memory.protection
    }

    /// A new key of `len` bytes, filled in place.
    pub fn insert(&self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<Key, ArenaError> {
        if len == 0 || len > MAX_KEY_BYTES {
            return Err(ArenaError::Length(len));
        }
        let mut bytes = Zeroizing::new(vec![0; len]);
        fill(&mut bytes);
        let id = self.memory.next.fetch_add(1, Ordering::Relaxed);
        self.memory.slots.lock().push(Slot { id, scope: self.scope, bytes });
        Ok(Key { inner: Arc::new(Inner { arena: self.clone(), id, len }) })
    }

    /// A new key with a copy of `bytes`.
    pub fn from_slice(&self, bytes: &[u8]) -> Result<Key, ArenaError> {
        self.insert(bytes.len(), |slot| slot.copy_from_slice(bytes))
    }

    /// A new random key of `len` bytes.
    pub fn random(&self, len: usize) -> Result<Key, ArenaError> {
        let mut filled = Ok(());
        let key = self.insert(len, |slot| filled = crate::random::fill(slot))?;
        filled?;
        Ok(key)
    }

    /// A child scope over the same memory: wiping it wipes only its own keys.
    #[must_use]
    pub fn scope(&self) -> Arena {
        let scope = self.memory.next.fetch_add(1, Ordering::Relaxed);
        Arena { memory: self.memory.clone(), scope }
    }

    /// Wipes every key of this scope in place, whoever still holds handles.
    pub fn wipe(&self) {
        self.memory.slots.lock().retain(|slot| slot.scope != self.scope);
    }

    /// Bytes in live slots.
    #[must_use]
    pub fn used(&self) -> usize {
        self.memory.slots.lock().iter().map(|slot| slot.bytes.len()).sum()
    }

    /// Occurrences of `pattern` in all memory of the arena.
    #[must_use]
    pub fn count(&self, pattern: &[u8]) -> usize {
        if pattern.is_empty() {
            return 0;
        }
        let slots = self.memory.slots.lock();
        slots.iter().map(|slot| slot.bytes.windows(pattern.len()).filter(|w| *w == pattern).count()).sum()
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("protection", &self.memory.protection).finish_non_exhaustive()
    }
}

struct Inner {
    arena: Arena,
    id: u64,
    len: usize,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.arena.memory.slots.lock().retain(|slot| slot.id != self.id);
    }
}

/// A handle to a key in the arena. The last one to go wipes the slot.
#[derive(Clone)]
pub struct Key {
    inner: Arc<Inner>,
}

impl Key {
    /// The length in bytes, also of a wiped key.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // no key is empty
    pub fn len(&self) -> usize {
        self.inner.len
    }

    /// Runs `f` on the key.
    pub fn with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> Result<R, Wiped> {
        let bytes = {
            let slots = self.inner.arena.memory.slots.lock();
            slots.iter().find(|slot| slot.id == self.inner.id).ok_or(Wiped)?.bytes.clone()
        };
        Ok(f(&bytes))
    }

    /// A new key of `len` bytes in the same scope, made from this one without leaving the arena.
    pub fn derive(&self, len: usize, f: impl FnOnce(&[u8], &mut [u8])) -> Result<Key, ArenaError> {
        let mut out = Zeroizing::new(vec![0; len]);
        self.with(|key| f(key, &mut out))?;
        self.inner.arena.from_slice(&out)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}
