//! Every bound of the engines, by name.

/// Largest current version that lies inside its key's record, in bytes of JSON; larger ones and
/// older ones have records of their own.
pub const KV_INLINE_BYTES: usize = 4096;
/// Versions kept by default, as in Vault.
pub const KV_DEFAULT_VERSIONS: u64 = 10;
/// Most versions one key may keep: removing all of them, with the record itself, must fit one
/// transaction (100 operations) beside what the core adds to it.
pub const KV_MAX_VERSIONS: u64 = 80;
/// Most version numbers in one `delete`, `undelete` or `destroy` call.
pub const KV_MAX_VERSION_ARGS: usize = 1000;
/// Custom metadata of a key, as in Vault.
pub const KV_CUSTOM_METADATA_KEYS: usize = 64;
/// Longest key of custom metadata, in bytes.
pub const KV_CUSTOM_METADATA_KEY_BYTES: usize = 128;
/// Longest value of custom metadata, in bytes.
pub const KV_CUSTOM_METADATA_VALUE_BYTES: usize = 512;
/// Deepest nesting that `subkeys` and a merge patch follow.
pub const KV_MAX_DEPTH: usize = vault_logical::limits::MAX_JSON_DEPTH;
/// Most records one cubbyhole may be listed by in one answer.
pub const CUBBYHOLE_LIST: usize = 10_000;
