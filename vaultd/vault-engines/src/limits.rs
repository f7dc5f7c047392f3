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

/// Shortest shared secret of a TOTP key, in bytes: 160 bits (RFC 4226, R6).
pub const TOTP_MIN_SECRET_BYTES: usize = 20;
/// Stack that is wiped after a shared secret was used on it: HMAC and its library keep it in locals.
pub const TOTP_WIPE_BYTES: usize = 64 * 1024;
/// Longest shared secret of a TOTP key, in bytes.
pub const TOTP_MAX_SECRET_BYTES: usize = 128;
/// Longest step of a TOTP key, in seconds.
pub const TOTP_MAX_PERIOD: u64 = 3600;
/// Longest issuer or account name, in bytes.
pub const TOTP_MAX_LABEL_BYTES: usize = 256;
/// Longest `otpauth://` URL accepted, in bytes.
pub const TOTP_MAX_URL_BYTES: usize = 2048;
/// Largest QR code, in pixels a side.
pub const TOTP_MAX_QR_PIXELS: usize = 1024;
/// Longest text taken as a code, in bytes.
pub const TOTP_MAX_CODE_BYTES: usize = 64;
/// Wrong codes in a row before the key is locked.
pub const TOTP_FREE_FAILURES: u32 = 5;
/// First lock, doubled by each further wrong code.
pub const TOTP_FIRST_LOCK: std::time::Duration = std::time::Duration::from_secs(30);
/// Longest lock. One guess in this time, at three valid codes of a million, is 0.7 % a year.
pub const TOTP_LONGEST_LOCK: std::time::Duration = std::time::Duration::from_secs(4 * 3600);

/// Longest JWT, in bytes.
pub const JWT_MAX_BYTES: usize = 8 * 1024;
/// Deepest nesting of a JWT's claims.
pub const JWT_MAX_DEPTH: usize = 16;
/// Longest `kid`, in bytes.
pub const JWT_MAX_KID_BYTES: usize = 256;
/// Longest value of the user claim, in bytes.
pub const JWT_MAX_ALIAS_BYTES: usize = 512;
/// Most groups taken from a token.
pub const JWT_MAX_GROUPS: usize = 256;
/// Clock skew allowed by default, in seconds, as in Vault.
pub const JWT_DEFAULT_LEEWAY: u64 = 60;
/// Most clock skew a role may allow, in seconds.
pub const JWT_MAX_LEEWAY: u64 = 60;
/// Longest life of a token (`exp` less `iat`) unless the configuration says otherwise, in seconds.
pub const JWT_DEFAULT_LIFETIME: u64 = 24 * 3600;
/// Longest life that a configuration may admit, in seconds.
pub const JWT_MAX_LIFETIME: u64 = 10 * 366 * 24 * 3600;
/// ECDSA signatures whose accepted form a mount remembers.
pub const JWT_MAX_SPELLINGS: usize = 16 * 1024;
/// Most static public keys of a mount, and most values of one list of a role.
pub const JWT_MAX_LIST: usize = 64;
/// Largest PEM text, in bytes.
pub const PEM_MAX_BYTES: usize = 64 * 1024;
/// Smallest and largest RSA modulus, in bits.
pub const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Largest key set fetched, in bytes.
pub const JWKS_MAX_BYTES: usize = 256 * 1024;
/// Most keys of a fetched set.
pub const JWKS_MAX_KEYS: usize = 64;
/// Shortest time between two fetches, whatever came of the first.
pub const JWKS_MIN_INTERVAL: std::time::Duration = std::time::Duration::from_secs(15);
/// Age at which a set is fetched again although it knows the key.
pub const JWKS_FRESH: std::time::Duration = std::time::Duration::from_secs(5 * 60);
/// Age beyond which a set that cannot be fetched again is no longer used.
pub const JWKS_MAX_STALE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
/// Longest wait for a fetch.
pub const JWKS_FETCH_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// Most requests that wait for one fetch; others are answered from what is known.
pub const JWKS_MAX_WAITERS: usize = 64;

/// Longest name of a gateway service, in bytes.
pub const SERVICE_MAX_NAME_BYTES: usize = 64;
/// Longest upstream, in bytes.
pub const SERVICE_MAX_UPSTREAM_BYTES: usize = 300;
/// Longest header name, in bytes.
pub const SERVICE_MAX_HEADER_BYTES: usize = 128;
/// Most further headers of the caller that a service forwards.
pub const SERVICE_MAX_HEADERS: usize = 32;
/// Longest template of an injected header, in bytes.
pub const SERVICE_MAX_TEMPLATE_BYTES: usize = 512;
/// Longest name of a secret's field, in bytes.
pub const SERVICE_MAX_FIELD_BYTES: usize = 256;
/// Statuses that one service may take for a rejection of its key.
pub const SERVICE_MAX_STATUSES: usize = 16;
/// Most rules on a service's allow-list.
pub const SERVICE_MAX_RULES: usize = 256;
/// Longest path pattern of a rule, in bytes.
pub const SERVICE_MAX_PATTERN_BYTES: usize = 1024;
/// Time an upstream has when the service does not say.
pub const SERVICE_DEFAULT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
/// Longest time a service may give its upstream.
pub const SERVICE_MAX_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3600);
/// Longest window of a rate limit.
pub const SERVICE_MAX_WINDOW: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
/// Most requests of a rate limit.
pub const SERVICE_MAX_REQUESTS: u64 = 1_000_000_000;
