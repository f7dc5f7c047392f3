//! Locked memory for keys, a heap that forgets, and the few primitives that touch secrets everywhere.
//!
//! The only crate of the workspace with `unsafe`. Keys live in an [`Arena`]: memory that no other process (root
//! included, where the kernel has `memfd_secret`) can read, and that no dump, swap or child process sees. They are
//! used through [`Key::with`], which runs its closure on a stack inside the same memory and wipes it afterwards.
//!
//! What this does not cover: a signal handler on an alternate stack stores the interrupted registers there, so threads
//! that use keys should leave signals to another thread; and whoever may inject code into the process reads anything.

mod alloc;
mod arena;
mod barrier;
mod bytes;
pub mod ct;
mod error;
mod key;
pub mod limits;
mod pool;
pub mod process;
pub mod random;
mod region;
#[doc(hidden)]
pub mod scan;
mod slab;
pub mod stack;

pub use alloc::WipingAllocator;
pub use arena::Arena;
pub use bytes::SecretBytes;
pub use error::{ArenaError, HardenError, Protection, RandomError, Wiped};
pub use key::Key;
pub use secrecy::{self, ExposeSecret, SecretBox, SecretString};
pub use zeroize::{self, Zeroize, Zeroizing};
