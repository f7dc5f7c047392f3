//! Every bound of the audit subsystem, by name.

use std::time::Duration;

/// Most devices enabled at a time.
pub const MAX_DEVICES: usize = 16;
/// Most records between two signed checkpoints.
pub const MAX_RECORDS_PER_CHECKPOINT: u64 = 1_000;
/// Longest time that a written record stays without a signed checkpoint behind it.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// How often the background thread looks for work: a sync follows a write within twice this.
pub const TICK: Duration = Duration::from_millis(400);
/// Longest wait for a device to take a record; looked at once a [`TICK`].
pub const WRITE_WAIT: Duration = Duration::from_secs(2);
/// Longest time that a sync of written records may take before the device counts as failing; looked at once a [`TICK`].
/// Nobody waits for it: what was written is only not yet safe from a power cut.
pub const SYNC_WAIT: Duration = Duration::from_secs(10);
/// Most records waiting for one device, and their bytes.
pub const MAX_QUEUED_RECORDS: usize = 16_384;
pub const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;
/// Most records in one write, and their bytes (but for the last one's).
pub const MAX_BATCH_RECORDS: usize = 256;
pub const MAX_BATCH_BYTES: usize = 256 * 1024;
/// Shortest time between two attempts to reopen a failed device.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// Deepest nesting of request and response data that is walked; below it stands a marker.
pub const MAX_DATA_DEPTH: usize = 64;
/// Largest encoded `data` object, in bytes; a larger one is replaced by its size and digest.
pub const MAX_DATA_BYTES: usize = 1024 * 1024;
/// Longest line, in bytes, newline included: two data objects and the rest of a record.
pub const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;
/// What the chain adds to a line, in bytes, at most.
pub const MAX_TAIL_BYTES: usize = 128;
/// Longest text of any other single field, in bytes; the rest is cut off.
pub const MAX_TEXT_BYTES: usize = 4 * 1024;
/// Longest list or map outside `data` (policies, metadata, warnings), in bytes.
pub const MAX_LIST_BYTES: usize = 32 * 1024;
/// Most streams open at a time, each with its completion record reserved.
pub const MAX_OPEN_STREAMS: usize = 16_384;
/// How far back from its end a file is searched for the head stored in the barrier, in bytes.
pub const MAX_TAIL_SCAN_BYTES: u64 = 64 * 1024 * 1024;
/// Source addresses whose unauthenticated requests are counted apart; the rest share one count.
pub const MAX_SOURCES: usize = 4_096;
/// Unauthenticated requests recorded one by one: burst and rate a second, per source.
pub const SOURCE_BURST: u32 = 20;
pub const SOURCE_RATE: u32 = 10;
/// The same over all sources together.
pub const ANONYMOUS_BURST: u32 = 200;
pub const ANONYMOUS_RATE: u32 = 100;
/// Most source addresses named in one summary line.
pub const MAX_SUMMARY_SOURCES: usize = 32;
/// Distinct attempts remembered while sealed; repeats of one are counted, the rest only summed.
pub const MAX_SEALED_ATTEMPTS: usize = 512;
/// Longest device name and option value, in bytes.
pub const MAX_OPTION_BYTES: usize = 4_096;
/// How often idle devices are looked at: a file removed or cut from outside is noticed.
pub const IDLE_CHECK: Duration = Duration::from_secs(5);
