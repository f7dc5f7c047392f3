//! The global allocator that wipes every block it frees.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};

use crate::barrier::fill_raw;

/// Wraps the system allocator and wipes each block before it goes back, the old block of a `realloc` too.
///
/// Use as `#[global_allocator]`. It does not reach C code's own `malloc`.
#[derive(Clone, Copy, Debug, Default)]
pub struct WipingAllocator;

// SAFETY: allocation and release are those of `System`, called with the caller's own layouts; in between, only bytes
// of blocks that the caller gives up are written.
unsafe impl GlobalAlloc for WipingAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is `System`'s contract.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is `System`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller gives up a block of `layout.size()` bytes at `ptr`, so it is writable and nobody reads it.
        unsafe { fill_raw(ptr, 0, layout.size()) };
        // SAFETY: the caller's contract is `System`'s contract.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `new_size` is not zero and, rounded up to the alignment, fits an `isize`;
        // the alignment is that of a valid layout.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // Never in place and never the system's realloc, which may move the block and leave the old one as it was.
        // SAFETY: the size of the new layout is not zero.
        let new = unsafe { System.alloc(new_layout) };
        if new.is_null() {
            return new;
        }
        // SAFETY: the old block is valid for `layout.size()` bytes, the new one for `new_size`, and they do not overlap
        // because both are allocated.
        unsafe { new.copy_from_nonoverlapping(ptr, layout.size().min(new_size)) };
        // SAFETY: the caller gives up the old block.
        unsafe { self.dealloc(ptr, layout) };
        new
    }
}

#[cfg(test)]
mod tests;
