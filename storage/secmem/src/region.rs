//! The pages under the arena: one reservation of address space with inaccessible guards, and locked memory between
//! them.
//!
//! ```text
//! guard | slab | guard | stack | guard | stack | ... | guard
//! ```
//! Memory is handed out as [`Pages`], each the only owner of its bytes, so that all reading and writing outside this
//! file is bounds-checked and borrow-checked.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use nix::errno::Errno;

use crate::barrier::fill_raw;
use crate::error::{ArenaError, Protection};
use crate::limits::GUARD_BYTES;

/// The reservation. Unmapped when the last [`Pages`] of it is gone.
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is plain memory of the process, not tied to a thread; it is only unmapped, by its one owner.
unsafe impl Send for Mapping {}
// SAFETY: a shared reference to it gives access to nothing.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves address space that cannot be accessed yet.
    fn reserve(len: usize) -> Result<Self, Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let base = NonNull::new(base.cast()).ok_or(Errno::ENOMEM)?;
        Ok(Self { base, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and len are those of the reservation; every `Pages` holds an `Arc` of this mapping, so that
        // none is left to access it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A run of readable and writable pages with inaccessible guards on both sides.
pub(crate) struct Pages {
    base: NonNull<u8>,
    len: usize,
    _mapping: Arc<Mapping>,
}

// SAFETY: `Pages` owns its bytes as a `Vec<u8>` does; `_mapping` keeps them mapped.
unsafe impl Send for Pages {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for Pages {}

impl Pages {
    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: base..base+len is mapped readable as long as `_mapping` lives, anonymous memory starts as zeroes, and
        // only `&mut self` writes to it.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `&mut self` is the only way to these bytes.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }

    /// Fills everything with `byte`, for good.
    pub(crate) fn fill(&mut self, byte: u8) {
        // SAFETY: base..base+len is mapped writable, and `&mut self` is the only way to it.
        unsafe { fill_raw(self.base.as_ptr(), byte, self.len) };
    }

    /// Runs `f` with these pages as its stack. They hold what it left there until they are filled.
    ///
    /// `f` must not unwind; it is aborted if it does.
    pub(crate) fn run_as_stack<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let guarded = || {
            let bomb = AbortOnUnwind;
            let result = f();
            bomb.defuse();
            result
        };
        // SAFETY: base and len are multiples of the page size, hence aligned for a stack, and less than `isize::MAX`.
        // The pages are writable, are ours alone through `&mut self` for the whole call, and have an inaccessible
        // guard below them. The callback never unwinds: `AbortOnUnwind` ends the process first.
        unsafe { psm::on_stack(self.base.as_ptr(), self.len, guarded) }
    }

    /// Address of the first byte and length.
    pub(crate) fn range(&self) -> (usize, usize) {
        (self.base.as_ptr().addr(), self.len)
    }
}

/// Ends the process when it is dropped by a panic on its way up.
struct AbortOnUnwind;

impl AbortOnUnwind {
    fn defuse(self) {
        let _kept = std::mem::ManuallyDrop::new(self);
    }
}

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Maps runs of the given lengths under exactly the protection `mode`. Lengths are rounded up to whole pages.
pub(crate) fn map(mode: Protection, lengths: &[usize]) -> Result<Vec<Pages>, ArenaError> {
    map_with(mode, lengths).map_err(|errno| ArenaError::Unavailable { mode, errno })
}

fn map_with(mode: Protection, lengths: &[usize]) -> Result<Vec<Pages>, Errno> {
    let page = page_size();
    let guard = GUARD_BYTES.next_multiple_of(page);
    let lengths: Vec<usize> = lengths.iter().map(|len| len.next_multiple_of(page)).collect();
    let total: usize = lengths.iter().sum();
    let mapping = Arc::new(Mapping::reserve(total + guard * (lengths.len() + 1))?);
    let secret = match mode {
        Protection::MemfdSecret => Some(memfd_secret(total)?),
        Protection::Mlock | Protection::Unlocked => None,
    };
    let mut pages = Vec::with_capacity(lengths.len());
    let (mut at, mut offset) = (guard, 0);
    for len in lengths {
        let run = open_run(&mapping, at, len, secret.as_ref().map(|fd| (fd, offset)))?;
        protect(&run, mode)?;
        pages.push(run);
        at += len + guard;
        offset += len;
    }
    // The descriptor closes here: with the last one gone, no other process can be handed the memory.
    Ok(pages)
}

/// Puts memory at `at` of the reservation: from the secret file at an offset, or anonymous.
fn open_run(
    mapping: &Arc<Mapping>,
    at: usize,
    len: usize,
    secret: Option<(&OwnedFd, usize)>,
) -> Result<Pages, Errno> {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let (flags, fd, offset) = match secret {
        Some((fd, offset)) => (libc::MAP_SHARED, fd.as_raw_fd(), offset),
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0),
    };
    let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    debug_assert!(at + len <= mapping.len);
    // SAFETY: at + len lies inside the reservation.
    let base = unsafe { mapping.base.add(at) };
    // SAFETY: MAP_FIXED replaces pages of our own reservation only, which nothing refers to yet.
    let got = unsafe { libc::mmap(base.as_ptr().cast(), len, prot, flags | libc::MAP_FIXED, fd, offset) };
    if got == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    Ok(Pages { base, len, _mapping: mapping.clone() })
}

/// Keeps a run out of dumps and children and, if asked, locks it.
fn protect(run: &Pages, mode: Protection) -> Result<(), Errno> {
    for advice in [libc::MADV_DONTDUMP, libc::MADV_DONTFORK] {
        // SAFETY: the range is a mapping of ours; neither advice changes its contents.
        Errno::result(unsafe { libc::madvise(run.base.as_ptr().cast(), run.len, advice) })?;
    }
    if mode == Protection::Mlock {
        // SAFETY: the range is a mapping of ours; locking does not change its contents.
        Errno::result(unsafe { libc::mlock(run.base.as_ptr().cast(), run.len) })?;
    }
    Ok(())
}

/// A file of `len` bytes whose pages only mappings of it can reach (`memfd_secret(2)`, Linux 5.14).
fn memfd_secret(len: usize) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes flags only and returns a new descriptor or -1.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) })?;
    let fd = libc::c_int::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the descriptor was just created and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let len = libc::off_t::try_from(len).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the descriptor is ours and open.
    Errno::result(unsafe { libc::ftruncate(fd.as_raw_fd(), len) })?;
    Ok(fd)
}

fn page_size() -> usize {
    // SAFETY: the call only reads a constant of the system.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(GUARD_BYTES)
}

#[cfg(test)]
impl Pages {
    /// Changes the access to all pages; the caller must not touch them afterwards.
    pub(crate) fn protect_for_test(&mut self, prot: libc::c_int) {
        // SAFETY: the range is a mapping of ours.
        let done = unsafe { libc::mprotect(self.base.as_ptr().cast(), self.len, prot) };
        assert_eq!(done, 0);
    }

    /// Makes the kernel list the pages from `at` on as a mapping of their own.
    pub(crate) fn split_for_test(&mut self, at: usize) {
        assert!(at < self.len);
        // SAFETY: the range lies inside a mapping of ours, and the advice does not change it.
        let done =
            unsafe { libc::madvise(self.base.as_ptr().add(at).cast(), self.len - at, libc::MADV_SEQUENTIAL) };
        assert_eq!(done, 0);
    }
}
