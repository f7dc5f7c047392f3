//! Every bound of this crate.

/// Longest key, in bytes: the PKCS#8 form of an RSA-8192 key fits.
pub const MAX_KEY_BYTES: usize = 16 * 1024;
/// Longest random text, in characters.
pub const MAX_RANDOM_TEXT: usize = 1024;
