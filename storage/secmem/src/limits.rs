//! Every bound of this crate.

use std::time::Duration;

/// Longest key, in bytes: the PKCS#8 form of an RSA-8192 key fits.
pub const MAX_KEY_BYTES: usize = 16 * 1024;
/// Longest random text, in characters.
pub const MAX_RANDOM_TEXT: usize = 1024;

/// Memory for keys, in bytes.
pub const SLAB_BYTES: usize = 1280 * 1024;
/// The same where `RLIMIT_MEMLOCK` leaves less than the full arena needs.
pub const SMALL_SLAB_BYTES: usize = 256 * 1024;
/// One crypto stack, in bytes: two keys of the largest size, an RSA parse in C and a panic's backtrace fit at once.
pub const STACK_BYTES: usize = 128 * 1024;
/// Stacks beyond one per core, for closures that the kernel has taken off their core.
pub const SPARE_STACKS: usize = 2;
/// Fewest crypto stacks.
pub const MIN_STACKS: usize = 3;
/// Most crypto stacks, whatever the number of cores: with the slab they stay under 4 MiB.
pub const MAX_STACKS: usize = 18;
/// Address space (not memory) kept inaccessible at both ends of the arena and below every stack, in bytes. Larger than
/// a page because C frames may step over one without touching it.
pub const GUARD_BYTES: usize = 64 * 1024;
/// All memory of the arena, in bytes.
pub const MAX_ARENA_BYTES: usize = 4 * 1024 * 1024;

/// Longest wait for a free crypto stack.
pub const STACK_WAIT: Duration = Duration::from_secs(5);
/// Longest wait of a wipe for closures that are still running on the wiped keys.
pub const WIPE_WAIT: Duration = Duration::from_secs(2);
/// How often a wipe looks whether those closures have ended.
pub const WIPE_POLL: Duration = Duration::from_micros(100);
/// How deep closures on keys may nest.
pub const MAX_NESTING: usize = 4;

/// Most that [`stack::wipe_below`](crate::stack::wipe_below) zeroes, in bytes.
pub const MAX_STACK_WIPE_BYTES: usize = 8 * 1024 * 1024;
/// How far it stays away from the end of the stack, in bytes: C libraries differ on whether the guard counts.
pub const STACK_END_BYTES: usize = 64 * 1024;

/// What the scanner reads at once, in bytes.
pub const SCAN_CHUNK_BYTES: usize = 1024 * 1024;
/// Longest pattern the scanner looks for, in bytes, after encoding.
pub const MAX_PATTERN_BYTES: usize = 64 * 1024;

const _: () = assert!(SLAB_BYTES + MAX_STACKS * STACK_BYTES < MAX_ARENA_BYTES);
const _: () = assert!(STACK_BYTES >= 64 * 1024 + 2 * MAX_KEY_BYTES);
