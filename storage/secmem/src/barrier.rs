//! Overwriting that the compiler cannot leave out.
#![allow(unsafe_code)]

/// Fills `len` bytes at `ptr` with `byte`, for good: to the compiler, what follows may read them.
///
/// # Safety
/// `ptr` must be valid for writes of `len` bytes, which nothing else reads or writes meanwhile.
#[inline]
pub(crate) unsafe fn fill_raw(ptr: *mut u8, byte: u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { ptr.write_bytes(byte, len) };
    // SAFETY: the assembly is empty. Without `nomem` the compiler must assume that it reads the memory behind the
    // pointer it is given, so the stores above cannot be dropped as dead, not even in front of a `free`.
    unsafe { std::arch::asm!("/* {0} */", in(reg) ptr, options(nostack, preserves_flags)) };
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
}

/// Fills `bytes` with `byte`, for good.
#[inline]
pub(crate) fn fill(bytes: &mut [u8], byte: u8) {
    // SAFETY: an exclusive borrow is valid for writes of its length, and nothing else can touch it.
    unsafe { fill_raw(bytes.as_mut_ptr(), byte, bytes.len()) };
}

/// Zeroes `bytes`, for good.
#[inline]
pub(crate) fn wipe(bytes: &mut [u8]) {
    fill(bytes, 0);
}

/// Clears the registers that a called function may use freely, so that no key material waits in them for the next
/// signal frame or lazy symbol lookup to store it on an ordinary stack.
#[inline(never)]
pub(crate) fn clear_registers() {
    #[cfg(target_arch = "x86_64")]
    x86_64::clear();
    #[cfg(target_arch = "aarch64")]
    aarch64::clear();
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;

    #[inline(always)]
    pub(super) fn clear() {
        if std::arch::is_x86_feature_detected!("avx") {
            // SAFETY: AVX is there; vzeroall writes vector registers 0 to 15 only, all declared as clobbered.
            unsafe { asm!("vzeroall", clobber_abi("sysv64"), options(nostack, nomem)) };
        } else {
            // SAFETY: SSE2 is part of x86_64; only registers declared as clobbered are written.
            unsafe {
                asm!(
                    "pxor xmm0, xmm0",
                    "pxor xmm1, xmm1",
                    "pxor xmm2, xmm2",
                    "pxor xmm3, xmm3",
                    "pxor xmm4, xmm4",
                    "pxor xmm5, xmm5",
                    "pxor xmm6, xmm6",
                    "pxor xmm7, xmm7",
                    "pxor xmm8, xmm8",
                    "pxor xmm9, xmm9",
                    "pxor xmm10, xmm10",
                    "pxor xmm11, xmm11",
                    "pxor xmm12, xmm12",
                    "pxor xmm13, xmm13",
                    "pxor xmm14, xmm14",
                    "pxor xmm15, xmm15",
                    clobber_abi("sysv64"),
                    options(nostack, nomem)
                );
            }
        }
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: AVX-512F is there; only registers declared as clobbered are written.
            unsafe {
                asm!(
                    "vpxord zmm16, zmm16, zmm16",
                    "vpxord zmm17, zmm17, zmm17",
                    "vpxord zmm18, zmm18, zmm18",
                    "vpxord zmm19, zmm19, zmm19",
                    "vpxord zmm20, zmm20, zmm20",
                    "vpxord zmm21, zmm21, zmm21",
                    "vpxord zmm22, zmm22, zmm22",
                    "vpxord zmm23, zmm23, zmm23",
                    "vpxord zmm24, zmm24, zmm24",
                    "vpxord zmm25, zmm25, zmm25",
                    "vpxord zmm26, zmm26, zmm26",
                    "vpxord zmm27, zmm27, zmm27",
                    "vpxord zmm28, zmm28, zmm28",
                    "vpxord zmm29, zmm29, zmm29",
                    "vpxord zmm30, zmm30, zmm30",
                    "vpxord zmm31, zmm31, zmm31",
                    clobber_abi("sysv64"),
                    options(nostack, nomem)
                );
            }
        }
        // SAFETY: only registers that the C convention lets a callee overwrite are written, and declared as such.
        unsafe {
            asm!(
                "xor eax, eax",
                "xor ecx, ecx",
                "xor edx, edx",
                "xor esi, esi",
                "xor edi, edi",
                "xor r8d, r8d",
                "xor r9d, r9d",
                "xor r10d, r10d",
                "xor r11d, r11d",
                clobber_abi("sysv64"),
                options(nostack, nomem)
            );
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use std::arch::asm;

    #[inline(always)]
    pub(super) fn clear() {
        // SAFETY: only registers that the C convention lets a callee overwrite are written, and declared as such.
        unsafe {
            asm!(
                "movi v0.2d, #0",
                "movi v1.2d, #0",
                "movi v2.2d, #0",
                "movi v3.2d, #0",
                "movi v4.2d, #0",
                "movi v5.2d, #0",
                "movi v6.2d, #0",
                "movi v7.2d, #0",
                "movi v16.2d, #0",
                "movi v17.2d, #0",
                "movi v18.2d, #0",
                "movi v19.2d, #0",
                "movi v20.2d, #0",
                "movi v21.2d, #0",
                "movi v22.2d, #0",
                "movi v23.2d, #0",
                "movi v24.2d, #0",
                "movi v25.2d, #0",
                "movi v26.2d, #0",
                "movi v27.2d, #0",
                "movi v28.2d, #0",
                "movi v29.2d, #0",
                "movi v30.2d, #0",
                "movi v31.2d, #0",
                "mov x0, xzr",
                "mov x1, xzr",
                "mov x2, xzr",
                "mov x3, xzr",
                "mov x4, xzr",
                "mov x5, xzr",
                "mov x6, xzr",
                "mov x7, xzr",
                "mov x8, xzr",
                "mov x9, xzr",
                "mov x10, xzr",
                "mov x11, xzr",
                "mov x12, xzr",
                "mov x13, xzr",
                "mov x14, xzr",
                "mov x15, xzr",
                "mov x16, xzr",
                "mov x17, xzr",
                clobber_abi("C"),
                options(nostack, nomem)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wipes_every_byte_and_no_neighbour() {
        for len in [0, 1, 7, 8, 63, 4096] {
            let mut block = vec![0xee_u8; len + 2];
            wipe(&mut block[1..=len]);
            assert!(block[1..=len].iter().all(|&b| b == 0));
            assert_eq!((block[0], block[len + 1]), (0xee, 0xee));
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn vector_registers_are_empty_afterwards() {
        let marked = 0x5ec2_e7ed_5ec2_e7ed_u64;
        let (low, high): (u64, u64);
        // SAFETY: writes xmm0 and xmm15 before the call and reads them after it; `clobber_abi` covers what the called
        // function may overwrite, and the assembly keeps the stack aligned because it uses none of it.
        unsafe {
            std::arch::asm!(
                "movq xmm0, {marked}",
                "movq xmm15, {marked}",
                "call {clear}",
                "movq r12, xmm0",
                "movq r13, xmm15",
                marked = in(reg) marked,
                clear = sym clear_for_test,
                out("r12") low,
                out("r13") high,
                clobber_abi("sysv64"),
            );
        }
        assert_eq!((low, high), (0, 0));
    }

    #[cfg(target_arch = "x86_64")]
    extern "sysv64" fn clear_for_test() {
        clear_registers();
    }
}
