//! Every bound of the gateway, by name.

use std::time::Duration;

/// Longest request target below the service, in bytes.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;
/// Longest caller credential, in bytes.
pub const MAX_CREDENTIAL_BYTES: usize = 8 * 1024;
/// Meanings that one place of an answer is given.
pub const MAX_READINGS: usize = 8;
/// Backslashes before an escaped character: escaped again four times.
pub const MAX_BACKSLASHES: usize = 16;
/// How often `%25` or `&amp;` may stand for the beginning of a further escape.
pub const MAX_NESTED_ESCAPES: usize = 3;
/// Digits of a numbered character in HTML, leading zeros included.
pub const MAX_ENTITY_DIGITS: usize = 8;
/// Zeros before a character: UTF-32.
pub const MAX_WIDE_ZEROS: usize = 3;
/// Longest break of a line in base64 text, with the blanks that follow it, in bytes.
pub const MAX_LINE_BREAK: usize = 64;
/// Characters of base64 text that must have matched before a break of a line is looked for: an event
/// that ends in one of them by chance is not held back.
pub const UNITS_BEFORE_LINE_BREAK: usize = 4;
/// Steps in reading a text that a key of escape characters makes ambiguous, beyond one a character.
pub const MAX_READING_STEPS: usize = 256;
/// Largest request body that is streamed to an upstream, in bytes.
pub const MAX_REQUEST_BODY: u64 = 128 * 1024 * 1024;
/// Upstream client pools kept; past it the oldest is dropped.
pub const MAX_POOLS: usize = 256;
/// Idle upstream connections kept for one pool.
pub const MAX_IDLE_PER_POOL: usize = 32;
/// An idle upstream connection is closed after this long: its buffers held the key.
pub const UPSTREAM_IDLE: Duration = Duration::from_secs(10);
/// Name resolution, TCP connect and TLS handshake with an upstream.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Until the head of the answer to an operator's test, if its service does not say less.
pub const PROBE_DEADLINE: Duration = Duration::from_secs(20);
/// Addresses of one upstream name that are tried.
pub const MAX_ADDRESSES: usize = 8;
/// Largest response head of an upstream, in bytes.
pub const MAX_RESPONSE_HEAD: usize = 64 * 1024;
/// Seconds in `Retry-After` when the gateway, a service or a caller has all the calls it may have.
pub const BUSY_RETRY_SECS: u64 = 1;
/// Parts of the counts of calls under way, each behind a lock of its own.
pub const SLOT_SHARDS: usize = 16;
/// Longest `User-Agent` on record, in bytes; the rest is cut off.
pub const MAX_USER_AGENT_BYTES: usize = 256;
/// Words of other headers from this length on are not repeated in a recorded `User-Agent`.
pub const MIN_SECRET_WORD: usize = 12;
/// Callers whose rate is remembered; past it the ones at rest are forgotten first.
pub const MAX_RATE_ENTRIES: usize = 65_536;
/// Parts of the rate table, each behind a lock of its own.
pub const RATE_SHARDS: usize = 16;
/// How often a seal looks whether the last call has ended.
pub const CUT_POLL: Duration = Duration::from_millis(5);
/// Longest text that the log or an operator's test tells of one failure or step, in bytes; the rest
/// is cut off.
pub const MAX_TOLD_BYTES: usize = 2048;
