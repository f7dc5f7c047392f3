//! Slots for keys: spans of 16 KiB, each cut into slots of one size class while it holds any.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::arena::Slot;
use crate::barrier::wipe;
use crate::error::{ArenaError, Wiped};
use crate::limits::MAX_KEY_BYTES;
use crate::region::Pages;

/// Slot sizes in bytes. The last one is a whole span.
pub(crate) const CLASSES: [usize; 6] = [32, 64, 256, 1024, 4096, MAX_KEY_BYTES];
const SPAN_BYTES: usize = MAX_KEY_BYTES;
/// Bitmap words that cover the slots of a span of the smallest class.
const MAP_WORDS: usize = SPAN_BYTES / CLASSES[0] / 64;

/// The smallest class that holds `len` bytes.
pub(crate) fn class_of(len: usize) -> Result<usize, ArenaError> {
    if len == 0 {
        return Err(ArenaError::Length(len));
    }
    CLASSES.iter().copied().find(|&class| len <= class).ok_or(ArenaError::Length(len))
}

/// One span: its class while it holds slots, and which are taken.
#[derive(Clone, Default)]
struct Span {
    class: usize,
    taken: [u64; MAP_WORDS],
    live: usize,
}

impl Span {
    /// Takes the first free slot, or none.
    fn take(&mut self) -> Option<usize> {
        let slots = SPAN_BYTES / self.class;
        if self.live == slots {
            return None;
        }
        let (word, bits) = self.taken.iter_mut().enumerate().find(|(_, bits)| **bits != u64::MAX)?;
        let bit = bits.trailing_ones() as usize;
        let index = word * 64 + bit;
        if index >= slots {
            return None;
        }
        *bits |= 1 << bit;
        self.live += 1;
        Some(index)
    }

    fn release(&mut self, index: usize) {
        let Some(bits) = self.taken.get_mut(index / 64) else { return };
        let mask = 1 << (index % 64);
        if *bits & mask != 0 {
            *bits &= !mask;
            self.live -= 1;
        }
        if self.live == 0 {
            self.class = 0;
        }
    }
}

/// All slots. Lives behind the arena's lock, which is what keeps a copy out and a wipe apart.
pub(crate) struct Slab {
    pages: Pages,
    spans: Vec<Span>,
    /// How many spans, from the front, were ever used.
    touched: usize,
    live: HashMap<usize, Arc<Slot>>,
}

impl Slab {
    pub(crate) fn new(pages: Pages) -> Self {
        let spans = vec![Span::default(); pages.as_slice().len() / SPAN_BYTES];
        Self { pages, spans, touched: 0, live: HashMap::new() }
    }

    /// Takes a zeroed place of `class` bytes.
    pub(crate) fn allocate(&mut self, class: usize) -> Result<usize, ArenaError> {
        let of_class = self.spans.iter_mut().enumerate().filter(|(_, span)| span.class == class);
        for (number, span) in of_class {
            if let Some(index) = span.take() {
                return Ok(number * SPAN_BYTES + index * class);
            }
        }
        let (number, span) =
            self.spans.iter_mut().enumerate().find(|(_, span)| span.class == 0).ok_or(ArenaError::Full)?;
        span.class = class;
        let index = span.take().ok_or(ArenaError::Full)?;
        self.touched = self.touched.max(number + 1);
        Ok(number * SPAN_BYTES + index * class)
    }

    /// Makes a slot at a place from [`allocate`](Self::allocate) findable by a wipe.
    pub(crate) fn register(&mut self, slot: Arc<Slot>) {
        self.live.insert(slot.offset(), slot);
    }

    /// Copies the key of `slot` to `to`, which has the slot's length.
    pub(crate) fn copy_out(&self, slot: &Slot, to: &mut [u8]) -> Result<(), Wiped> {
        if !slot.is_alive() {
            return Err(Wiped);
        }
        let from = self.pages.as_slice().get(key_range(slot)).ok_or(Wiped)?;
        to.copy_from_slice(from);
        Ok(())
    }

    /// Writes the key of `slot`, unless it was wiped meanwhile.
    pub(crate) fn copy_in(&mut self, slot: &Slot, from: &[u8]) -> Result<(), Wiped> {
        if !slot.is_alive() {
            return Err(Wiped);
        }
        let to = self.pages.as_mut_slice().get_mut(key_range(slot)).ok_or(Wiped)?;
        to.copy_from_slice(from);
        Ok(())
    }

    /// Wipes and frees `slot`, if nobody did before.
    pub(crate) fn free(&mut self, slot: &Slot) {
        if slot.kill() {
            self.live.remove(&slot.offset());
            self.clear(slot);
        }
    }

    /// Wipes and frees every slot that `which` names.
    pub(crate) fn wipe(&mut self, which: impl Fn(&Slot) -> bool) {
        let doomed: Vec<Arc<Slot>> = self.live.values().filter(|slot| which(slot)).cloned().collect();
        for slot in doomed {
            self.free(&slot);
        }
    }

    fn clear(&mut self, slot: &Slot) {
        let (offset, class) = (slot.offset(), slot.class());
        if let Some(bytes) = self.pages.as_mut_slice().get_mut(offset..offset + class) {
            wipe(bytes);
        }
        if let Some(span) = self.spans.get_mut(offset / SPAN_BYTES) {
            span.release(offset % SPAN_BYTES / class);
        }
    }

    /// Bytes of the live slots that `which` names.
    pub(crate) fn used(&self, which: impl Fn(&Slot) -> bool) -> usize {
        self.live.values().filter(|slot| which(slot)).map(|slot| slot.class()).sum()
    }

    /// Everything that was ever written to.
    pub(crate) fn memory(&self) -> &[u8] {
        self.pages.as_slice().get(..self.touched * SPAN_BYTES).unwrap_or_default()
    }
}

fn key_range(slot: &Slot) -> Range<usize> {
    slot.offset()..slot.offset() + slot.len()
}
