//! Every bound of the command line, by name.

/// Most bytes read from a file or from standard input for one value.
pub const MAX_INPUT_BYTES: u64 = 32 * 1024 * 1024;
/// Longest token or share, in bytes.
pub const MAX_SECRET_BYTES: usize = 4096;
/// Widest rule above a table, in characters.
pub const MAX_RULE_WIDTH: usize = 100;

/// Longest one-time password that a server may ask for.
pub const MAX_OTP_CHARS: usize = 256;
