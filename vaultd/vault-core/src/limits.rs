//! Every bound of the core, by name.

/// How often the core runs an engine again after a transaction conflict before it answers 503.
pub const MAX_TXN_ATTEMPTS: usize = 8;
/// Deepest chain of parent tokens.
pub const MAX_TOKEN_DEPTH: usize = 32;
/// Longest token or accessor accepted from a caller, in bytes.
pub const MAX_TOKEN_BYTES: usize = 512;
/// Longest policy text, in bytes.
pub const MAX_POLICY_BYTES: usize = 256 * 1024;
/// Most policies one token may carry.
pub const MAX_TOKEN_POLICIES: usize = 128;
/// Most mounts of each kind.
pub const MAX_MOUNTS: usize = 10_000;
