//! Every bound of the encrypted store.

use crate::physical::{MAX_TXN_BYTES, MAX_TXN_OPS};

/// Most writes one [`Transaction`](crate::Transaction) may hold; the rest of the physical transaction is for the head
/// and the index records.
pub const MAX_WRITES: usize = MAX_TXN_OPS - 4;
/// Room in each physical transaction for head, index records and the framing of a backend.
pub const TXN_RESERVE_BYTES: usize = 64 * 1024;
/// Most bytes (keys, sealed values, riders) one transaction may hold.
pub const MAX_WRITE_BYTES: usize = MAX_TXN_BYTES - TXN_RESERVE_BYTES;
/// Most facts one transaction may have read.
pub const MAX_READS: usize = 4096;

/// Longest plaintext path, in bytes.
pub const MAX_PATH_BYTES: usize = 4096;
/// Most segments of a path.
pub const MAX_PATH_SEGMENTS: usize = 256;
/// Folder prefixes kept by the name cache, over all shards.
pub const MAX_CACHED_FOLDERS: usize = 16 * 1024;
/// Shards of the name cache.
pub const NAME_CACHE_SHARDS: usize = 16;
/// Most names one listing answers, whatever limit it asks for.
pub const MAX_LIST_NAMES: usize = 1 << 20;
/// Children read from the backend at a time while listing.
pub const LIST_PAGE: usize = 1024;
/// Names decrypted without leaving the async thread.
pub const INLINE_LIST_NAMES: usize = 128;
/// Listings that may decrypt off the async threads at a time, over the process.
pub const MAX_LIST_WORKERS: usize = 2;
/// Fence records of a partition: folders share them by hash.
pub const FENCE_STRIPES: u32 = 4096;

/// Transactions waiting for the committer; more wait at the door.
pub const COMMIT_QUEUE: usize = 1024;
/// Most transactions of one round.
pub const MAX_ROUND_TXNS: usize = 256;
/// Most plaintext bytes of one round (the transaction that passes it is still in).
pub const MAX_ROUND_BYTES: usize = 4 * 1024 * 1024;

/// Terms of one namespace's keyring.
pub const MAX_TERMS: usize = 4096;
/// Namespaces with a keyring.
pub const MAX_KEYRINGS: usize = 4096;
/// Named keys (token key, audit keys by device) of a keyring file.
pub const MAX_NAMED_KEYS: usize = 1024;
/// Longest name of an audit device.
pub const MAX_KEY_LABEL: usize = 255;
/// Partitions of a store.
pub const MAX_PARTITIONS: usize = 1 << 20;

/// Records a verification reads at a time, at least and at most.
pub const VERIFY_BATCH: std::ops::RangeInclusive<usize> = 16..=1024;
/// Bytes a verification aims to hold at a time.
pub const VERIFY_BATCH_BYTES: usize = 1024 * 1024;
/// Least time between two writes of the anchor file while only changes that do not wait for it are made.
pub const ANCHOR_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);
/// Longest an acknowledgement waits for the anchor; then the caller is told that the change is in force without it.
pub const ANCHOR_WAIT: std::time::Duration = std::time::Duration::from_secs(10);
/// Longest a seal waits for the anchor, once the keys are wiped.
pub const SEAL_ANCHOR_WAIT: std::time::Duration = std::time::Duration::from_secs(2);
/// Longest a seal waits for writes under way before it wipes the keys from under them.
pub const SEAL_WAIT: std::time::Duration = std::time::Duration::from_secs(10);
/// Largest anchor file.
pub const MAX_ANCHOR_BYTES: u64 = 4096;
/// Longest wait for an earlier store of this process to let go of the writer's place.
pub const RELEASE_WAIT: std::time::Duration = std::time::Duration::from_secs(3);
/// Records deleted by one transaction of a purge.
pub const PURGE_BATCH: usize = 64;

// --- physical backends and their journal ---

/// Longest stored key, in bytes, whatever its number of segments.
pub const MAX_KEY_BYTES: usize = 64 * 1024;
/// Most transactions one `apply` may carry.
pub const MAX_APPLY_TXNS: usize = 1024;
/// Most bytes (keys, values, riders) one `apply` may carry.
pub const MAX_APPLY_BYTES: usize = 16 * 1024 * 1024;
/// A frame takes no further call once it has this many transactions.
pub const FRAME_TXNS: usize = 1024;
/// A frame takes no further call once it has this many bytes.
pub const FRAME_BYTES: usize = 2 * 1024 * 1024;
/// Largest journal frame that is read back: one call of the largest size and its framing fit.
pub const MAX_FRAME_BYTES: usize = 24 * 1024 * 1024;
/// Calls that may wait for the journal; further ones wait for a place.
pub const JOURNAL_QUEUE: usize = 1024;
/// Rounds whose changed keys are kept for a late `watch`.
pub const WATCH_HISTORY_ROUNDS: usize = 1024;
/// Keys kept for a late `watch`, over all rounds.
pub const WATCH_HISTORY_KEYS: usize = 16 * 1024;
/// Scans and listings of one backend that run at the same time; further ones wait.
pub const SCAN_THREADS: usize = 4;
/// Values longer than this are split in sled, whose large nodes become files that it never syncs.
pub const SLED_CHUNK_BYTES: usize = 8 * 1024;
/// Bytes of old values kept in memory for one open snapshot; further ones go to a file beside the journal.
pub const SNAPSHOT_OVERLAY_BYTES: usize = 8 * 1024 * 1024;
/// Longest manifest of a snapshot file, in bytes.
pub const MAX_SNAPSHOT_MANIFEST: usize = 16 * 1024;
/// Buffer of a snapshot file being written or read, in bytes.
pub const SNAPSHOT_BUFFER: usize = 256 * 1024;
/// Transactions and bytes of one round of a restore.
pub const RESTORE_ROUND_TXNS: usize = 16;
/// See [`RESTORE_ROUND_TXNS`].
pub const RESTORE_ROUND_BYTES: usize = 2 * 1024 * 1024;
/// Journal bytes that may be kept only because their riders are not released.
pub const RIDER_BACKLOG_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of values that a deletion may still write when the disk is nearly full.
pub const RELIEF_TXN_BYTES: usize = 64 * 1024;
/// File descriptors held back for storage, audit files and the operator's socket.
pub const RESERVE_DESCRIPTORS: usize = 16;
/// Descriptors of the reserve given up for one call.
pub const RESERVE_TRIES: usize = 4;
