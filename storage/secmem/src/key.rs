//! Handles to keys, and the only way to use one.

use std::fmt;
use std::sync::Arc;

use crate::arena::{Arena, Memory, Running, Slot};
use crate::error::{ArenaError, Wiped};
use crate::slab::CLASSES;

struct Handle {
    memory: Arc<Memory>,
    slot: Arc<Slot>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.memory.slab.write().free(&self.slot);
    }
}

/// A handle to a key in the [`Arena`]. When the last one goes, the slot is wiped and freed.
#[derive(Clone)]
pub struct Key {
    handle: Arc<Handle>,
}

impl Key {
    pub(crate) fn new(memory: Arc<Memory>, slot: Arc<Slot>) -> Self {
        Self { handle: Arc::new(Handle { memory, slot }) }
    }

    /// The length in bytes, of a wiped key too. No key is empty.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.handle.slot.len()
    }

    /// Whether the key is gone: its scope was wiped.
    #[must_use]
    pub fn is_wiped(&self) -> bool {
        !self.handle.slot.is_alive()
    }

    /// Runs `f` on the key, on a stack inside the arena that is wiped afterwards (128 KiB, shared by a few threads).
    ///
    /// `f` must be short and must not block, start a process, log, or hand key material out through its result or what
    /// it captures. It may use other keys. If it panics, the panic ends here.
    ///
    /// # Errors
    /// [`Wiped`], also where [`attempt`](Self::attempt) would tell of a panic or of no free stack: all of them mean that
    /// nothing was done with the key.
    pub fn with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> Result<R, Wiped> {
        self.attempt(f).map_err(|_| Wiped)
    }

    /// As [`with`](Self::with), telling apart why nothing came of it: `Wiped`, `Busy`, `Panicked`.
    pub fn attempt<R>(&self, f: impl FnOnce(&[u8]) -> R) -> Result<R, ArenaError> {
        let Handle { memory, slot } = &*self.handle;
        if !slot.is_alive() {
            return Err(Wiped.into());
        }
        let _running = Running::start(slot.scope());
        let result = memory.stacks.run(|| {
            on_buffer(slot.class(), slot.len(), |key| {
                memory.slab.read().copy_out(slot, key)?;
                Ok(f(key))
            })
        })?;
        // Nothing made with a key is handed out once its wipe has begun.
        if !slot.is_alive() {
            return Err(Wiped.into());
        }
        result
    }

    /// A new key of `len` bytes in the same scope, made from this one without leaving the arena. `f` gets this key and
    /// the new one, zeroed; the rules of [`with`](Self::with) hold.
    pub fn derive(&self, len: usize, f: impl FnOnce(&[u8], &mut [u8])) -> Result<Key, ArenaError> {
        let Handle { memory, slot } = &*self.handle;
        let arena = Arena::of(memory.clone(), slot.scope().clone());
        arena.insert_with(len, |new| self.attempt(|key| f(key, new)))
    }

    /// Fills the slot from a buffer on a stack inside the arena.
    pub(crate) fn write(
        &self,
        fill: impl FnOnce(&mut [u8]) -> Result<(), ArenaError>,
    ) -> Result<(), ArenaError> {
        let Handle { memory, slot } = &*self.handle;
        let _running = Running::start(slot.scope());
        memory.stacks.run(|| {
            on_buffer(slot.class(), slot.len(), |key| {
                fill(key)?;
                Ok(memory.slab.write().copy_in(slot, key)?)
            })
        })?
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

/// Runs `f` on `len` zeroed bytes of the current stack, in a frame of the slot's size class.
fn on_buffer<R>(
    class: usize,
    len: usize,
    f: impl FnOnce(&mut [u8]) -> Result<R, ArenaError>,
) -> Result<R, ArenaError> {
    let mut f = Some(f);
    let mut result = Err(ArenaError::Length(len));
    // Through `dyn`, so that six buffer sizes do not make six copies of the caller's closure.
    let mut run = |buffer: &mut [u8]| {
        if let (Some(key), Some(f)) = (buffer.get_mut(..len), f.take()) {
            result = f(key);
        }
    };
    frame(class, &mut run);
    result
}

fn frame(class: usize, run: &mut dyn FnMut(&mut [u8])) {
    #[inline(never)]
    fn sized<const N: usize>(run: &mut dyn FnMut(&mut [u8])) {
        #[repr(align(64))]
        struct Buffer<const N: usize>([u8; N]);
        let mut buffer = Buffer([0; N]);
        run(&mut buffer.0);
    }
    match CLASSES.iter().position(|&size| size == class) {
        Some(0) => sized::<{ CLASSES[0] }>(run),
        Some(1) => sized::<{ CLASSES[1] }>(run),
        Some(2) => sized::<{ CLASSES[2] }>(run),
        Some(3) => sized::<{ CLASSES[3] }>(run),
        Some(4) => sized::<{ CLASSES[4] }>(run),
        _ => sized::<{ CLASSES[5] }>(run),
    }
}
