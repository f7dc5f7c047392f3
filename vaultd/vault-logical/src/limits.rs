//! Every bound of the contract, by name.

/// Longest API path, in bytes, below `/v1/`.
pub const MAX_PATH_BYTES: usize = 2048;
/// Longest single path segment, in bytes.
pub const MAX_SEGMENT_BYTES: usize = 1024;
/// Most segments in a path.
pub const MAX_PATH_SEGMENTS: usize = 64;
/// Most names one LIST answers; more are reached with `after`.
pub const MAX_LIST_KEYS: usize = 100_000;
/// Deepest nesting of a JSON request body.
pub const MAX_JSON_DEPTH: usize = 64;
/// Largest secret an engine may store in one record, in bytes.
pub const MAX_SECRET_BYTES: usize = 512 * 1024;
/// Longest duration that a field may state: about 100 years, in seconds.
pub const MAX_DURATION_SECS: u64 = 100 * 366 * 24 * 3600;
/// Largest body an egress fetch (a JWKS, for example) may answer, in bytes.
pub const MAX_EGRESS_BODY: usize = 1024 * 1024;
/// Largest provider key, in bytes.
pub const MAX_CREDENTIAL_BYTES: usize = 8 * 1024;
/// So many bytes of a provider key, beyond its public prefix, are worth hiding, and are enough not to
/// be found by chance.
pub const MIN_SECRET_BYTES: usize = 8;
/// Lines a second that one kind of refusal may write to the log; the rest is counted.
pub const MAX_WARNINGS_PER_SECOND: u32 = 20;
/// Errors below one error that the log names.
pub const MAX_ERROR_CHAIN: usize = 8;
