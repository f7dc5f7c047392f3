//! Every bound of the client, by name.

use std::time::Duration;

/// Largest answer read, in bytes.
pub const MAX_RESPONSE_BYTES: usize = 32 * 1024 * 1024;
/// Largest request sent, in bytes: what the API accepts.
pub const MAX_REQUEST_BYTES: usize = 32 * 1024 * 1024;
/// Longest API path, in bytes.
pub const MAX_PATH_BYTES: usize = 2048;
/// Largest CA, certificate or key file, in bytes.
pub const MAX_PEM_BYTES: u64 = 1024 * 1024;
/// Most files read from a directory of CAs.
pub const MAX_CA_FILES: usize = 512;
/// How long one attempt may take, answer included.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the first byte of a download may take.
pub const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a connection and its TLS handshake may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many times a call is tried again, where that is safe.
pub const DEFAULT_RETRIES: u32 = 2;
/// Most retries that may be asked for.
pub const MAX_RETRIES: u32 = 20;
/// First wait before a retry; doubled each time.
pub const RETRY_WAIT_MIN: Duration = Duration::from_millis(250);
/// Longest wait before a retry.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Longest `Retry-After` that is waited out; a longer one is an error at once.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Idle connections kept.
pub const MAX_IDLE_CONNECTIONS: usize = 8;
/// An idle connection is closed after this: its buffers may hold a token.
pub const IDLE_CONNECTION_TTL: Duration = Duration::from_secs(10);
/// Messages kept of an error answer.
pub const MAX_ERROR_MESSAGES: usize = 16;
/// Longest message kept of an error answer, in characters.
pub const MAX_ERROR_CHARS: usize = 2_000;
/// Answers that a cache holds unless told otherwise.
pub const DEFAULT_CACHE_ENTRIES: usize = 1_000;
/// How long a cache answers without asking when the server gave no lease.
pub const DEFAULT_CACHE_AGE: Duration = Duration::from_secs(60);
/// Shortest wait between two renewals of a token.
pub const RENEW_WAIT_MIN: Duration = Duration::from_secs(1);
/// Longest wait between two renewals of a token.
pub const RENEW_WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
