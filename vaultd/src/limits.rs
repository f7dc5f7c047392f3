//! Every bound of the daemon, by name.

use std::time::Duration;

// --- connections ---

/// Open TCP connections over all listeners; more are closed at once. The API's listeners and the
/// gateway's have a share each, and one address (IPv4) or /64 (IPv6) at most half of a share.
pub const MAX_CONNECTIONS: usize = 16_384;
/// Connections to upstreams, in use and idle.
pub const MAX_UPSTREAM_SOCKETS: usize = 8_192;
/// Open connections on unix listeners: a reserve of their own, so the operator always gets in.
pub const MAX_UNIX_CONNECTIONS: usize = 64;
/// File descriptors kept for storage, audit, the anchor, egress and logs when NOFILE is divided.
pub const RESERVED_DESCRIPTORS: usize = 192;
/// File descriptors of one worker thread: its runtime's, and its resolver's sockets.
pub const DESCRIPTORS_PER_WORKER: usize = 12;
/// The smallest share of descriptors with which the API or the gateway serves anybody.
pub const MIN_SHARE: usize = 32;
/// Backlog of a listening socket.
pub const LISTEN_BACKLOG: i32 = 1024;
/// Most listeners in a config.
pub const MAX_LISTENERS: usize = 16;
/// Most worker threads.
pub const MAX_WORKERS: usize = 64;
/// Blocking threads a worker's runtime may start (name resolution only).
pub const MAX_BLOCKING_THREADS: usize = 2;
/// Wait after a failed `accept` (out of descriptors), so that it cannot spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Reserved descriptors tried for one connection of the operator's.
pub const ACCEPT_TRIES: usize = 4;

// --- deadlines ---

/// From accept to the end of the TLS handshake.
pub const TLS_HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// For the whole head of an HTTP/1.1 request; also the longest idle time between two requests,
/// because an idle connection's buffers may hold secrets.
pub const HEADER_READ_DEADLINE: Duration = Duration::from_secs(10);
/// A connection with no request in flight is closed after this time.
pub const IDLE_DEADLINE: Duration = Duration::from_secs(10);
/// For a whole request body.
pub const BODY_READ_DEADLINE: Duration = Duration::from_secs(30);
/// For the core to answer.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(90);
/// A peer that takes no byte of our answer for this long is cut.
pub const WRITE_STALL_DEADLINE: Duration = Duration::from_secs(30);
/// A connection asked to close (idle, seal, stop) and without a request is dropped after this time.
pub const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Gateway calls in flight are cut at seal; this is the longest wait for the last of them.
pub const CUT_DEADLINE: Duration = Duration::from_secs(3);
/// Requests in flight may take this long once the daemon stops or seals.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(15);

/// A certificate that ends within this time is named in the log.
pub const CERTIFICATE_WARNING: Duration = Duration::from_secs(14 * 24 * 3600);

// --- heads ---

/// Request head of HTTP/1.1, header list of HTTP/2, in bytes.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Header lines in a request.
pub const MAX_HEADERS: usize = 100;
/// HTTP/1.1 read buffer and the most answer bytes buffered before the socket takes them.
pub const MAX_CONNECTION_BUFFER: usize = 32 * 1024;
/// Longest request target (path and query), in bytes.
pub const MAX_URI_BYTES: usize = 8 * 1024;
/// Longest `reported_version`, in characters.
pub const MAX_REPORTED_VERSION: usize = 64;
/// A listener names clients that its TLS version turns away at most this often.
pub const OLD_TLS_NOTICE: Duration = Duration::from_secs(60);
/// Longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Longest `X-Vault-Wrap-TTL`, in bytes.
pub const MAX_WRAP_TTL_BYTES: usize = 64;
/// Parameters in a query string or a form.
pub const MAX_PARAMETERS: usize = 512;

// --- HTTP/2 ---

/// Streams open at once on one connection.
pub const MAX_H2_STREAMS: u32 = 100;
/// Receive window of a stream, in bytes.
pub const H2_STREAM_WINDOW: u32 = 256 * 1024;
/// Receive window of a connection, in bytes.
pub const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Answer bytes buffered for a stream.
pub const H2_SEND_BUFFER: usize = 128 * 1024;
/// Streams that the peer reset before we took them: more is a rapid-reset attack (CVE-2023-44487).
pub const MAX_H2_PENDING_RESETS: usize = 20;
/// Resets that the peer's errors made us send: more is a made-you-reset attack (CVE-2025-8671).
pub const MAX_H2_LOCAL_RESETS: usize = 64;
/// Frames of a connection that ask for nothing (priorities, windows, pings, settings, unknown ones):
/// how many it may send at once.
pub const MAX_H2_CHEAP_FRAMES: u32 = 1000;
/// How many it may save up by asking and receiving: the updates of a window of 128 MiB.
pub const MAX_H2_SAVED_FRAMES: u32 = 64 * 1024;
/// How many more each request lets it send.
pub const H2_FRAMES_PER_REQUEST: u32 = 8;
/// One more for this much that it is sent, and one for each write.
pub const H2_SENT_BYTES_PER_FRAME: usize = 1024;
/// How many more each second lets it send.
pub const H2_FRAMES_PER_SECOND: u32 = 50;
/// An unanswered keep-alive ping closes the connection after this time.
pub const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);

// --- bodies ---

/// Largest request body with a token, in bytes; `max_request_size` lowers or raises it.
pub const DEFAULT_MAX_REQUEST_BYTES: usize = 32 * 1024 * 1024;
/// The largest `max_request_size` that a config may ask for.
pub const MAX_MAX_REQUEST_BYTES: usize = 128 * 1024 * 1024;
/// Largest request body without a token, or while sealed.
pub const MAX_ANONYMOUS_BODY_BYTES: usize = 64 * 1024;
/// Bytes of large bodies held at once, over all connections.
pub const MAX_BODY_BYTES_IN_FLIGHT: usize = 256 * 1024 * 1024;
/// A body is accounted for in steps of this size while it arrives without a length.
pub const BODY_BUDGET_STEP: usize = 1024 * 1024;
/// Values (objects, lists, strings, numbers) in one JSON body.
pub const MAX_JSON_VALUES: usize = 131_072;
/// Digits, signs and points of one JSON number.
pub const MAX_JSON_NUMBER_BYTES: usize = 1024;
/// Answers are handed to the socket in pieces of this size.
pub const ANSWER_CHUNK_BYTES: usize = 32 * 1024;

// --- config and log ---

/// Largest config file, in bytes.
pub const MAX_CONFIG_BYTES: usize = 1024 * 1024;
/// Config files in one directory.
pub const MAX_CONFIG_FILES: usize = 64;
/// Largest certificate, key or CA file, in bytes.
pub const MAX_PEM_BYTES: usize = 1024 * 1024;
/// Log lines waiting for a slow stderr; more are dropped and counted.
pub const MAX_LOG_LINES: usize = 4096;
/// Longest log line, in bytes.
pub const MAX_LOG_LINE_BYTES: usize = 16 * 1024;
/// How long the last log lines may take to leave at exit.
pub const LOG_FLUSH_DEADLINE: Duration = Duration::from_secs(2);

// --- egress ---

/// Name resolution, connect and TLS handshake of one egress call.
pub const EGRESS_CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// One egress call as a whole.
pub const EGRESS_DEADLINE: Duration = Duration::from_secs(10);
/// Egress calls at once.
pub const MAX_EGRESS_CALLS: usize = 16;
/// Addresses of one name that are tried.
pub const MAX_EGRESS_ADDRESSES: usize = 8;
/// Longest file of audit heads that is read, in bytes.
pub const MAX_HEADS_BYTES: u64 = 1024 * 1024;
/// Longest first line of an audit log that is read for its device's name, in bytes.
pub const MAX_OPENING_BYTES: u64 = 64 * 1024;
/// The audit's heads are exported no more often than this.
pub const MIN_AUDIT_HEAD_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);
/// Shortest interval between two snapshots of the schedule.
pub const MIN_SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);
/// Snapshots kept unless the config says otherwise.
pub const DEFAULT_SNAPSHOTS: u64 = 7;
