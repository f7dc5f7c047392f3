//! Every bound of the core, by name.

/// How often the core runs an engine again after a transaction conflict before it answers 503.
pub const MAX_TXN_ATTEMPTS: usize = 8;
/// Deepest chain of parent tokens.
pub const MAX_TOKEN_DEPTH: usize = 32;
/// Longest token or accessor accepted from a caller, in bytes.
pub const MAX_TOKEN_BYTES: usize = 512;
/// Longest policy text, in bytes.
pub const MAX_POLICY_BYTES: usize = 256 * 1024;
/// Most rules in one policy.
pub const MAX_POLICY_RULES: usize = 2_000;
/// Longest policy name, in bytes.
pub const MAX_POLICY_NAME_BYTES: usize = 128;
/// Most policies one token may carry.
pub const MAX_TOKEN_POLICIES: usize = 128;
/// Most mounts of each kind.
pub const MAX_MOUNTS: usize = 10_000;
/// Largest record an engine may write: the largest secret plus its framing.
pub const MAX_RECORD_BYTES: usize = vault_logical::limits::MAX_SECRET_BYTES + 16 * 1024;
/// Names of services kept in memory for each gateway mount; a mount with more reads storage for
/// names that do not exist.
pub const MAX_LISTED_SERVICES: usize = 10_000;
/// Locks over the cache of compiled ACLs: a fill holds up only its own.
pub const ACL_CACHE_SHARDS: usize = 16;
/// Most compiled ACLs kept; past its part of it a shard starts anew.
pub const MAX_CACHED_ACLS: usize = 1024;
/// Most policies.
pub const MAX_POLICIES: usize = 100_000;
/// Unseal and rekey progress is wiped after this long without completion.
pub const CEREMONY_TTL: std::time::Duration = std::time::Duration::from_secs(15 * 60);
/// Most addresses remembered for one share of an unseal under way.
pub const MAX_SHARE_GIVERS: usize = 16;
/// Largest number of key shares (one byte of x coordinate, zero excluded).
pub const MAX_SHARES: u64 = 255;
/// Longest mount path, in bytes.
pub const MAX_MOUNT_PATH: usize = 256;
/// Longest description of a mount or device, in bytes.
pub const MAX_DESCRIPTION: usize = 1024;
/// Most values in one list of a mount's settings, and most of its options.
pub const MAX_TUNE_VALUES: usize = 256;
/// Longest value in a mount's settings, in bytes.
pub const MAX_TUNE_VALUE_BYTES: usize = 256;
/// Most locks that serialise charges with one key; keys share locks by hash.
pub const CHARGE_LOCKS: usize = 256;
/// Longest wait for a charge's turn.
pub const CHARGE_WAIT: std::time::Duration = std::time::Duration::from_secs(10);
/// How often the sweeper looks for expired tokens and unfinished jobs.
pub const SWEEP_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);
/// Records deleted in one step of disabling a mount.
pub const PURGE_STEP: usize = 64;
/// Most paths one capabilities request may ask about.
pub const MAX_CAPABILITY_PATHS: usize = 256;
/// Longest key the unseal endpoint reads, in characters.
pub const MAX_SHARE_CHARS: usize = 256;
/// Random base62 characters of a token id after its prefix, as in Vault (143 bits).
pub const TOKEN_RANDOM_CHARS: usize = 24;
/// A whole token id: the length of the one-time password that hides a generated root token.
pub const TOKEN_CHARS: usize = 4 + TOKEN_RANDOM_CHARS;
/// Random base62 characters of an accessor, as in Vault.
pub const ACCESSOR_CHARS: usize = 24;
/// Parts of the token cache, each behind a lock of its own.
pub const TOKEN_CACHE_SHARDS: usize = 64;
/// Most tokens one part of the cache keeps.
pub const TOKEN_CACHE_PER_SHARD: usize = 512;
/// Locks that order the use counts of tokens; tokens share locks by hash.
pub const TOKEN_USE_LOCKS: usize = 256;
/// Most entries in a token's metadata.
pub const MAX_TOKEN_META: usize = 64;
/// Most bytes of a token's metadata, names and values together.
pub const MAX_TOKEN_META_BYTES: usize = 16 * 1024;
/// Longest display name, in bytes.
pub const MAX_DISPLAY_NAME: usize = 512;
/// Longest token role name, in bytes.
pub const MAX_TOKEN_ROLE_NAME: usize = 128;
/// Most policies or globs in one list of a token role.
pub const MAX_TOKEN_ROLE_POLICIES: usize = 1024;
/// Most accessors one LIST looks at.
pub const MAX_ACCESSOR_LIST: usize = 10_000;
/// A token whose last use is under way is removed by the sweeper after this long, should the
/// request that used it never come back to do so. Longer than any request may take.
pub const LAST_USE_GRACE: std::time::Duration = std::time::Duration::from_secs(300);
/// The sweeper stays this far behind the clock, so that no transaction can still be adding to a
/// minute that it has finished with. Longer than any request may take.
pub const SWEEP_LAG: std::time::Duration = std::time::Duration::from_secs(120);
/// Transactions one sweep may commit before it hands back.
pub const SWEEP_TXNS: usize = 1024;
/// Minutes one sweep may look at before it hands back.
pub const SWEEP_MINUTES: u64 = 5_000;
/// Every so many minutes the sweeper asks for the next one that is not empty.
pub const SWEEP_STRIDE: u64 = 16;
/// Names the sweeper lists at once: listing costs as much as the folder is large, however few
/// names are asked for.
pub const SWEEP_PAGE: usize = 10_000;
/// A job that can do nothing yet (children that were set free still live, a record is damaged)
/// is looked at again after this long.
pub const JOB_DELAY: std::time::Duration = std::time::Duration::from_secs(3600);
/// Tokens removed by one transaction of the sweeper: seven operations each at most.
pub const SWEEP_TOKENS: usize = 12;
/// Jobs one sweep may look at before it hands back.
pub const SWEEP_JOBS: usize = 256;
/// Cubbyhole records removed by one transaction of the sweeper.
pub const SWEEP_CUBBYHOLE: usize = 64;
/// Longest life of a verified caller identity in the gateway's cache.
pub const IDENTITY_TTL: std::time::Duration = std::time::Duration::from_secs(60);
/// Most entries of each kind in the gateway's cache; past it that kind starts anew.
pub const MAX_INVOKE_CACHE: usize = 4096;
/// Changes of a mount noted one by one while something is read from it for the gateway.
pub const MAX_FILL_CHANGES: usize = 64;
/// How often a gateway call under way looks whether its caller's token or login still stands.
pub const GRANT_RECHECK: std::time::Duration = std::time::Duration::from_secs(1);
/// A snapshot of the schedule that failed is tried again after this long.
pub const SNAPSHOT_RETRY: std::time::Duration = std::time::Duration::from_secs(300);
/// The schedule of snapshots is looked at this often.
pub const SNAPSHOT_TICK: std::time::Duration = std::time::Duration::from_secs(1);
/// Most snapshots that a LIST shows.
pub const MAX_SNAPSHOTS: usize = 10_000;
/// Longest wait for one step of sealing; the keys are wiped all the same.
pub const SEAL_STEP: std::time::Duration = std::time::Duration::from_secs(3);
/// Longest time a provider's key is used without reading it again.
pub const CREDENTIAL_TTL: std::time::Duration = std::time::Duration::from_secs(60);

/// Gateway services whose calls are counted apart; the others are counted together.
pub const MAX_METERED_SERVICES: usize = 200;
/// Tokens, and secrets, are counted this often, as Vault does.
pub const USAGE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(600);
/// Where such a count stops.
pub const MAX_USAGE_COUNT: u64 = 10_000_000;
/// What a scrape without a token is answered is at most this old, however many ask.
pub const OPEN_SCRAPE_AGE: std::time::Duration = std::time::Duration::from_millis(500);

/// Longest text of an operator's PGP key.
pub const MAX_PGP_KEY_BYTES: usize = 64 * 1024;
/// Methods with which a service may be tested: they change nothing upstream.
pub const PROBE_METHODS: &[&str] = &["GET", "HEAD", "OPTIONS"];
/// Most headers of one test of a service.
pub const MAX_PROBE_HEADERS: usize = 32;
/// Most field names that a refused binding lists.
pub const MAX_NAMED_FIELDS: usize = 16;
