//! Wiping what ordinary stacks have left behind.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use crate::barrier::clear_registers;
use crate::limits::{MAX_STACK_WIPE_BYTES, STACK_END_BYTES};

/// Zeroes up to `bytes` (8 MiB at most) below the caller's frame on the current thread's stack, where returned calls
/// have left their locals. Stops short of the stack's end; does nothing inside a closure on a key, whose stack is wiped
/// anyway. Worker threads call it at seal. Pages it touches stay resident.
#[inline(never)]
pub fn wipe_below(bytes: usize) {
    let here = psm::stack_pointer().addr();
    let Some((low, high)) = bounds() else { return };
    if !(low..high).contains(&here) {
        return;
    }
    let room = here.saturating_sub(low).saturating_sub(STACK_END_BYTES);
    zero_below(bytes.min(room).min(MAX_STACK_WIPE_BYTES));
}

/// Runs `f`, then clears the registers and up to `bytes` of the stack that it has used. For libraries that work on
/// secrets where they are called, in values of their own: what `f` returns must not be one.
pub fn wiped<R>(bytes: usize, f: impl FnOnce() -> R) -> R {
    #[inline(never)]
    fn apart<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
    let result = apart(f);
    clear_registers();
    wipe_below(bytes);
    result
}

/// Lowest and highest address of this thread's own stack.
fn bounds() -> Option<(usize, usize)> {
    let mut attr = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: asks about the calling thread, which exists; on success `attr` is initialised.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attr.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut low, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: `attr` was initialised above; both results are written on success.
    let got = unsafe { libc::pthread_attr_getstack(attr.as_ptr(), &raw mut low, &raw mut size) };
    // SAFETY: `attr` was initialised above and is not used again.
    unsafe { libc::pthread_attr_destroy(attr.as_mut_ptr()) };
    (got == 0).then(|| (low.addr(), low.addr() + size))
}

/// Zeroes `bytes` below this function's frame.
#[cfg(target_arch = "x86_64")]
fn zero_below(bytes: usize) {
    // SAFETY: the bytes lie below the red zone (128 bytes under rsp), so no live value is among them, and inside this
    // thread's stack, whose end the caller has kept away from. A signal handler that runs in between has finished with
    // its frame when this goes on. The direction flag is clear, as the calling convention demands.
    unsafe {
        std::arch::asm!(
            "mov rdi, rsp",
            "sub rdi, 128",
            "sub rdi, rcx",
            "rep stosb",
            inout("rcx") bytes => _,
            out("rdi") _,
            in("al") 0_u8,
            options(nostack)
        );
    }
}

/// Zeroes `bytes` below this function's frame, in frames of its own.
#[cfg(not(target_arch = "x86_64"))]
#[inline(never)]
fn zero_below(bytes: usize) {
    const FRAME: usize = 1024;
    let mut frame = [0_u8; FRAME];
    crate::barrier::wipe(&mut frame);
    // A frame has up to 256 bytes beside the array.
    if let Some(rest) = bytes.checked_sub(FRAME + 256) {
        zero_below(rest);
    }
    std::hint::black_box(&mut frame);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: u64 = 0x6d61_726b_5ec2_e701;

    /// Leaves marks on `depth` KiB of stack and tells where.
    #[inline(never)]
    fn litter(depth: usize) -> usize {
        let mut marks = [0_u64; 128];
        for mark in &mut marks {
            // SAFETY: a valid place of this frame; volatile so that the store happens.
            unsafe { std::ptr::write_volatile(mark, MARK) };
        }
        let here = std::ptr::from_ref(std::hint::black_box(&marks)).addr();
        if depth > 1 { litter(depth - 1) } else { here }
    }

    /// Counts marks from `low` up to this frame.
    #[inline(never)]
    fn marks_left(low: usize) -> usize {
        let top = psm::stack_pointer().addr() - 8192;
        (low..top)
            .step_by(8)
            // SAFETY: the addresses lie in this thread's stack, below all frames in use; volatile because to the
            // compiler nothing lives there.
            .filter(|&at| unsafe { std::ptr::with_exposed_provenance::<u64>(at).read_volatile() } == MARK)
            .count()
    }

    #[test]
    fn nothing_is_left_below() {
        let low = litter(256);
        assert!(marks_left(low) > 1000, "the control must find the marks");
        wipe_below(1024 * 1024);
        assert_eq!(marks_left(low), 0);
    }

    #[test]
    fn what_ran_apart_has_left_nothing() {
        let low = wiped(1024 * 1024, || litter(256));
        assert_eq!(marks_left(low), 0);
    }

    #[test]
    fn stops_at_the_end_of_the_stack() {
        std::thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(|| wipe_below(usize::MAX))
            .unwrap()
            .join()
            .unwrap();
    }
}
