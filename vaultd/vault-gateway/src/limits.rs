//! Every bound of the gateway, by name.

use std::time::Duration;

/// Longest request target below the service, in bytes.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;
/// Longest caller credential, in bytes.
pub const MAX_CREDENTIAL_BYTES: usize = 8 * 1024;
/// Largest provider key that can be injected, in bytes.
pub const MAX_KEY_BYTES: usize = 8 * 1024;
/// Shortest provider key that is looked for in answers; shorter ones would match by chance.
pub const MIN_REDACTED_BYTES: usize = 8;
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
/// Addresses of one upstream name that are tried.
pub const MAX_ADDRESSES: usize = 8;
/// Largest response head of an upstream, in bytes.
pub const MAX_RESPONSE_HEAD: usize = 64 * 1024;
/// Seconds in `Retry-After` when the gateway, a service or a caller has all the calls it may have.
pub const BUSY_RETRY_SECS: u64 = 1;
/// Parts of the counts of calls under way, each behind a lock of its own.
pub const SLOT_SHARDS: usize = 16;
/// Callers whose rate is remembered; past it the ones at rest are forgotten first.
pub const MAX_RATE_ENTRIES: usize = 65_536;
/// Parts of the rate table, each behind a lock of its own.
pub const RATE_SHARDS: usize = 16;
/// How often a seal looks whether the last call has ended.
pub const CUT_POLL: Duration = Duration::from_millis(5);
