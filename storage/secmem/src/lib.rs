//! Locked memory for keys, a heap that forgets, and the few primitives that touch secrets everywhere.
//!
//! The only crate of the workspace with `unsafe`. Keys live in an [`Arena`]: memory that no other process (root
//! included, where the kernel has `memfd_secret`) can read, and that no dump, swap or child process sees. They are
//! used through [`Key::with`], which runs its closure on a stack inside the same memory and wipes it afterwards.

#[allow(unsafe_code)]
mod alloc;
mod arena;
mod bytes;
pub mod ct;
mod error;
pub mod limits;
pub mod process;
pub mod random;
pub mod stack;

pub use alloc::WipingAllocator;
pub use arena::{Arena, Key};
pub use bytes::SecretBytes;
pub use error::{ArenaError, HardenError, Protection, RandomError, Wiped};
pub use secrecy::{self, ExposeSecret, SecretBox, SecretString};
pub use zeroize::{self, Zeroize, Zeroizing};
