//! The pool of crypto stacks: closures on keys run there, so that what they spill never leaves the arena.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::barrier::clear_registers;
use crate::error::ArenaError;
use crate::limits::{MAX_NESTING, STACK_WAIT};
use crate::region::Pages;

/// What unused stack memory is filled with. Not zero: a frame that holds zeroes must differ from one that never was.
const FILL: u8 = 0xa6;
/// How much is compared and filled at once, in bytes.
const BLOCK_BYTES: usize = 1024;
/// How many untouched bytes end the wiping of a used stack. Compiled frames write something in every page: Rust probes
/// large frames page by page, and each call stores a return address. A C frame with a larger hole could end it early;
/// what is missed stays inside the arena and goes with the next arena wipe, which fills every stack whole.
const UNTOUCHED_BYTES: usize = 8 * 1024;

static UNTOUCHED: [u8; BLOCK_BYTES] = [FILL; BLOCK_BYTES];

thread_local! {
    /// Which pool's stack this thread runs on (0: none), and how deep.
    static CURRENT: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

struct Stack {
    pages: Pages,
    /// Whether anything ever ran on it. Until then its pages are not even faulted in.
    used: bool,
    /// The pool's wipe count when it was last filled whole.
    filled_at: u64,
}

impl Stack {
    /// Fills what the last closure used.
    fn wipe_used(&mut self) {
        let mut untouched = 0;
        for block in self.pages.as_mut_slice().rchunks_mut(BLOCK_BYTES) {
            // Public fill bytes are compared with whatever is there; only the position of a difference can leak.
            if *block == UNTOUCHED {
                untouched += block.len();
                if untouched >= UNTOUCHED_BYTES {
                    return;
                }
            } else {
                crate::barrier::fill(block, FILL);
                untouched = 0;
            }
        }
    }
}

struct Free {
    stacks: Vec<Stack>,
    /// Counts the wipes of the arena.
    wipes: u64,
}

/// The stacks that no closure runs on, most recently used last.
pub(crate) struct StackPool {
    free: Mutex<Free>,
    returned: Condvar,
}

impl StackPool {
    pub(crate) fn new(pages: Vec<Pages>) -> Self {
        let stacks = pages.into_iter().map(|pages| Stack { pages, used: false, filled_at: 0 }).collect();
        Self { free: Mutex::new(Free { stacks, wipes: 0 }), returned: Condvar::new() }
    }

    /// Runs `f` on a stack of the pool, or where it is if the thread runs on one already. A panic inside becomes an
    /// error.
    pub(crate) fn run<R>(&self, f: impl FnOnce() -> R) -> Result<R, ArenaError> {
        let id = std::ptr::from_ref(self).addr();
        let (pool, depth) = CURRENT.get();
        if pool == id {
            if depth >= MAX_NESTING {
                return Err(ArenaError::Busy);
            }
            CURRENT.set((id, depth + 1));
            let result = caught(f);
            CURRENT.set((pool, depth));
            return result;
        }
        let mut stack = self.take()?;
        stack.used = true;
        CURRENT.set((id, 1));
        let result = stack.pages.run_as_stack(|| {
            let result = caught(f);
            clear_registers();
            result
        });
        CURRENT.set((pool, depth));
        self.give_back(stack);
        // Wiping has looked at what the closure left.
        clear_registers();
        result
    }

    /// Whether the calling thread is inside [`run`](Self::run).
    pub(crate) fn is_current(&self) -> bool {
        CURRENT.get().0 == std::ptr::from_ref(self).addr()
    }

    fn take(&self) -> Result<Stack, ArenaError> {
        let mut free = self.free.lock();
        if let Some(stack) = free.stacks.pop() {
            return Ok(stack);
        }
        let deadline = Instant::now() + STACK_WAIT;
        loop {
            let timed_out = self.returned.wait_until(&mut free, deadline).timed_out();
            if let Some(stack) = free.stacks.pop() {
                return Ok(stack);
            }
            if timed_out {
                return Err(ArenaError::Busy);
            }
        }
    }

    fn give_back(&self, mut stack: Stack) {
        stack.wipe_used();
        let mut free = self.free.lock();
        if stack.filled_at != free.wipes {
            // An arena wipe came by while this stack was out.
            stack.pages.fill(FILL);
            stack.filled_at = free.wipes;
        }
        free.stacks.push(stack);
        self.returned.notify_one();
    }

    /// Fills every stack whole; those in use when they come back.
    pub(crate) fn wipe(&self) {
        let mut free = self.free.lock();
        free.wipes += 1;
        let wipes = free.wipes;
        for stack in &mut free.stacks {
            if stack.used {
                stack.pages.fill(FILL);
            }
            stack.filled_at = wipes;
        }
    }

    /// How many stacks are free.
    #[cfg(test)]
    pub(crate) fn idle(&self) -> usize {
        self.free.lock().stacks.len()
    }

    /// Applies `count` to the memory of every stack that is not running.
    pub(crate) fn sum(&self, count: impl Fn(&[u8]) -> usize) -> usize {
        let free = self.free.lock();
        free.stacks.iter().filter(|stack| stack.used).map(|stack| count(stack.pages.as_slice())).sum()
    }
}

/// Runs `f` and turns a panic into an error. The payload, which may quote anything, is dropped here.
fn caught<R>(f: impl FnOnce() -> R) -> Result<R, ArenaError> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => Ok(result),
        Err(payload) => {
            if catch_unwind(AssertUnwindSafe(move || drop(payload))).is_err() {
                std::process::abort();
            }
            Err(ArenaError::Panicked)
        }
    }
}
