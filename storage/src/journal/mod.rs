//! The journal: where an acknowledged write is durable first.
//!
//! A directory of numbered segments, each a header and a run of frames:
//!
//! ```text
//! NNNNNNNN.seg    header | frame | frame | ... | zeros
//! SSSS….base      header | frame | ... | frame with the end entry      (see [`base`])
//! CLEAN           written by an orderly close, gone while the store is open (see [`clean`])
//! ```
//!
//! One round of transactions is one frame, written with one call and followed by one
//! `fdatasync`; so a round is there whole or not at all. A frame carries the hash of the frame
//! before it, and a segment that of the last frame of the segment before it, so the whole
//! journal is one chain.
//!
//! **Frames are hashed, not encrypted.** The journal is replayed at start, while the vault is
//! sealed and no key exists. Every value in it was already sealed by the barrier, names
//! included, and the set of records it leads to is authenticated by the barrier's head at
//! unseal; the chained SHA-256 here tells a torn write from a whole one, and catches rot, not
//! an attacker who can rewrite the disk.
//!
//! **Where replay ends.** One frame is in flight at a time, so a power cut can leave at most one
//! broken frame, and only as the last of the last segment. There, replay ends without complaint:
//! the frame was never acknowledged. Anywhere else a frame that does not check is an error: in
//! an earlier segment (the next one's header names the last hash), or with a valid frame behind
//! it. Space is zeroed before use and a segment is cut behind its last frame when it is opened
//! again, so a frame of earlier days cannot be taken for a new one.

pub(crate) mod base;
pub(crate) mod clean;
pub(crate) mod frame;
pub(crate) mod fs;
pub(crate) mod log;
pub(crate) mod segment;
pub(crate) mod writer;

#[cfg(test)]
pub(crate) mod sim;
#[cfg(test)]
mod tests;
