//! The allocator is this test binary's global one.

use std::hint::black_box;

use super::*;

#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator;

const MARK: u8 = 0xd7;
const VECTORS: usize = 100;

/// How many runs of four marks are left from `at` on: in between, the system allocator notes pointers of its own. The
/// block was freed: its memory is read through the kernel, because to the language it is gone.
fn left(at: usize, len: usize) -> usize {
    use std::os::unix::fs::FileExt;
    let mem = std::fs::File::open("/proc/self/mem").unwrap();
    let mut bytes = vec![0; len];
    // A block whose pages went back to the system has left nothing.
    if mem.read_exact_at(&mut bytes, at as u64).is_err() {
        return 0;
    }
    bytes.windows(4).filter(|&run| run == [MARK; 4]).count()
}

fn marked(layout: Layout) -> *mut u8 {
    // SAFETY: every layout of these tests has a size, and the block is filled within it.
    unsafe {
        let ptr = ALLOCATOR.alloc(layout);
        assert!(!ptr.is_null());
        ptr.write_bytes(MARK, layout.size());
        black_box(ptr)
    }
}

/// Sizes of more than the system allocator's notes that stay mapped when freed; alignments of all kinds.
fn layouts() -> impl Iterator<Item = Layout> {
    [24, 25, 40, 100, 1000, 5000, 60_000]
        .into_iter()
        .flat_map(|size| [1, 16, 64].map(|align| Layout::from_size_align(size, align).unwrap()))
}

#[test]
fn freed_blocks_are_empty() {
    for layout in layouts() {
        let ptr = marked(layout);
        assert_eq!(left(ptr.addr(), layout.size()), layout.size() - 3, "the control");
        // SAFETY: allocated just above with this layout.
        unsafe { ALLOCATOR.dealloc(ptr, layout) };
        assert_eq!(left(ptr.addr(), layout.size()), 0, "{layout:?}");
    }
}

#[test]
fn growing_and_shrinking_leave_nothing_behind_and_keep_the_contents() {
    for layout in layouts() {
        for new_size in [layout.size() * 3 + 1, layout.size().div_ceil(2)] {
            let old = marked(layout);
            // SAFETY: `old` was allocated with `layout`, and the new size is not zero.
            let new = unsafe { ALLOCATOR.realloc(old, layout, new_size) };
            assert!(!new.is_null() && new != old);
            assert_eq!(left(old.addr(), layout.size()), 0, "{layout:?} to {new_size}");
            let kept = layout.size().min(new_size);
            // SAFETY: the new block has at least `kept` bytes.
            let contents = unsafe { std::slice::from_raw_parts(new, kept) };
            assert!(contents.iter().all(|&b| b == MARK));
            // SAFETY: the block was reallocated to this size and alignment.
            unsafe { ALLOCATOR.dealloc(new, Layout::from_size_align(new_size, layout.align()).unwrap()) };
        }
    }
}

/// As collections use it: a vector that grows by pushing leaves 11 copies of a secret with an ordinary allocator.
#[test]
fn a_growing_vector_leaves_no_copies() {
    let arena = crate::Arena::open(None).unwrap();
    let key = arena.random(32).unwrap();
    let mut scanner = crate::scan::Scanner::new();
    key.with(|k| scanner.add("pushed", k)).unwrap();
    // Many, so that the scan's own allocations cannot take the place of all that is left; and with something before the
    // secret, because the system allocator overwrites the first 16 bytes of what is freed by itself.
    let mut vectors = vec![vec![0x11; 64]; VECTORS];
    key.with(|k| {
        for grown in &mut vectors {
            for &byte in k {
                grown.push(byte);
            }
            for n in 0..1000_u32 {
                grown.extend_from_slice(&n.to_le_bytes());
            }
        }
    })
    .unwrap();
    assert_eq!(scanner.scan_self().unwrap().count("pushed"), VECTORS, "the live vectors");
    drop(black_box(vectors));
    assert_eq!(scanner.scan_self().unwrap().count("pushed"), 0);
}

#[test]
fn zeroed_memory_is_zero() {
    let layout = Layout::from_size_align(4096, 8).unwrap();
    for _ in 0..16 {
        // SAFETY: the layout has a size.
        let ptr = unsafe { ALLOCATOR.alloc_zeroed(layout) };
        // SAFETY: allocated just above with this size, and initialised.
        assert!(unsafe { std::slice::from_raw_parts(ptr, 4096) }.iter().all(|&b| b == 0));
        // SAFETY: as above, then given back.
        unsafe {
            ptr.write_bytes(MARK, 4096);
            ALLOCATOR.dealloc(ptr, layout);
        }
    }
}
