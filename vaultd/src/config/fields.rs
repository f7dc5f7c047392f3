//! Every key of a config file, in one table: what it means, its default, and whether it does
//! anything here. Reading, refusing unknown keys and printing the default file all use it.

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Live,
    /// Lowers the protection: named in the log and in seal-status while it is set.
    Danger,
    /// One of Vault's keys that has nothing to act on here; the reason is printed as a warning.
    Ignored(&'static str),
}

/// One key.
pub struct Field {
    pub key: &'static str,
    /// As written in HCL; empty when there is no default.
    pub default: &'static str,
    pub doc: &'static str,
    pub effect: Effect,
    /// Set in the default file to this, because there is no working config without it.
    pub example: &'static str,
}

/// One kind of block.
pub struct Stanza {
    pub kind: &'static str,
    /// Labels that may stand in the first place, with what they mean. Empty: no label.
    pub labels: &'static [(&'static str, &'static str)],
    /// How many labels a block of this kind has.
    pub arity: usize,
    pub doc: &'static str,
    pub fields: &'static [Field],
    /// Shown in the default file; kinds that are only accepted for compatibility are not.
    pub shown: bool,
}

const fn live(key: &'static str, default: &'static str, doc: &'static str) -> Field {
    Field { key, default, doc, effect: Effect::Live, example: "" }
}
const fn danger(key: &'static str, default: &'static str, doc: &'static str) -> Field {
    Field { key, default, doc, effect: Effect::Danger, example: "" }
}
const fn ignored(key: &'static str, why: &'static str) -> Field {
    Field { key, default: "", doc: "", effect: Effect::Ignored(why), example: "" }
}
const fn required(key: &'static str, example: &'static str, doc: &'static str) -> Field {
    Field { key, default: "", doc, effect: Effect::Live, example }
}

const NO_UI: &str = "there is no web interface";
const ONE_NODE: &str = "there is one node";
const NO_PLUGINS: &str = "engines are built in, there are no plugins";
const NO_ENTERPRISE: &str = "there is no licence";
const NOT_BUILT: &str = "not built yet";

/// Keys outside any block.
pub const ROOT: &[Field] = &[
    live(
        "state_dir",
        "",
        "Where the anchor against rollback lies; on another disk if possible. Default: the storage path with `.state` added.",
    ),
    live(
        "audit_dirs",
        "",
        "Directories in which the API may create audit files. Default: the storage path's parent and /var/log/vaultd.",
    ),
    live(
        "audit_head_file",
        "",
        "File that the audit's heads and public key are written to, for `vaultd audit verify -head`; best on another machine's disk.",
    ),
    live("audit_head_interval", "\"60s\"", "How often audit_head_file is written; at seal in any case."),
    live("default_lease_ttl", "\"768h\"", "TTL of tokens and leases that ask for none."),
    live("max_lease_ttl", "\"768h\"", "Longest TTL a token or lease can reach by renewing."),
    live("cluster_name", "\"vaultd\"", "Shown by sys/health and seal-status."),
    live(
        "reported_version",
        "",
        "The version that sys/health and seal-status tell, for clients that look at it to know what a Vault server can do (1.15.6, for example). Default: this program's own.",
    ),
    live(
        "memory_lock",
        "\"auto\"",
        "auto: lock all memory where the limits allow it, the key arena always; keys: the arena only; all: refuse to start where not everything can be locked; danger_off: lock nothing.",
    ),
    live("log_level", "\"info\"", "trace, debug, info, warn or error. Read again on SIGHUP."),
    live("log_format", "\"standard\"", "standard or json."),
    danger(
        "allow_remote_init",
        "false",
        "Accept sys/init from other addresses than loopback and the unix socket.",
    ),
    live(
        "egress_allow",
        "[]",
        "Networks that are not public (loopback, private) which engines may still call, as address/prefix.",
    ),
    live("api_addr", "", "The URL at which clients reach the API. Without TLS, its host is accepted."),
    live(
        "allowed_hosts",
        "[]",
        "Names, besides localhost, that a listener without TLS answers to, against DNS rebinding; `*.` for one label.",
    ),
    live("workers", "0", "Threads that serve requests; 0: one per CPU."),
    ignored("disable_mlock", "memory is locked as memory_lock says"),
    ignored("ui", NO_UI),
    ignored("cluster_addr", ONE_NODE),
    ignored("disable_clustering", ONE_NODE),
    ignored("disable_cache", "caches hold ciphertext and decisions only"),
    ignored("cache_size", "caches are bounded by themselves"),
    ignored("raw_storage_endpoint", "sys/raw is not built"),
    ignored("introspection_endpoint", NOT_BUILT),
    ignored("plugin_directory", NO_PLUGINS),
    ignored("plugin_tmpdir", NO_PLUGINS),
    ignored("plugin_file_uid", NO_PLUGINS),
    ignored("plugin_file_permissions", NO_PLUGINS),
    ignored("license_path", NO_ENTERPRISE),
    ignored("pid_file", "the service manager knows the process"),
    ignored("enable_response_header_hostname", NOT_BUILT),
    ignored("enable_response_header_raft_node_id", ONE_NODE),
    ignored("disable_printable_check", "paths are always checked"),
    ignored("disable_sealwrap", NO_ENTERPRISE),
    ignored("disable_performance_standby", ONE_NODE),
    ignored("default_max_request_duration", "set max_request_duration on the listener"),
    ignored("detect_deadlocks", "there is nothing of the kind"),
    ignored("imprecise_lease_role_tracking", "roles do not count leases"),
    ignored("experiments", "there are none"),
    ignored("administrative_namespace_path", "there is only the root namespace"),
    ignored("log_file", "the log goes to stderr"),
    ignored("log_rotate_duration", "the log goes to stderr"),
    ignored("log_rotate_bytes", "the log goes to stderr"),
    ignored("log_rotate_max_files", "the log goes to stderr"),
    ignored("log_requests_level", "requests are in the audit log"),
    ignored("unsafe_allow_api_audit_creation", "audit_dirs says where the API may create audit files"),
];

const TLS_DISABLE: &str = "Speak plain HTTP. Tokens and secrets are then readable on the wire.";
const NO_PROXY: &str = "the peer's own address counts; proxies are not trusted";

const TELEMETRY: &str =
    "Who may read sys/metrics there: whoever has a token with the right to it, anybody, or nobody.";

pub const LISTENER_TCP: &[Field] = &[
    live("address", "\"127.0.0.1:8200\"", "Address and port."),
    required(
        "tls_cert_file",
        "\"/etc/vaultd/tls/cert.pem\"",
        "PEM: the certificate, then intermediates. Read again on SIGHUP.",
    ),
    required(
        "tls_key_file",
        "\"/etc/vaultd/tls/key.pem\"",
        "PEM: the certificate's private key. Read again on SIGHUP.",
    ),
    live("tls_min_version", "\"tls13\"", "tls13, or tls12 for old clients."),
    live("tls_max_version", "\"tls13\"", "tls13 only: it cannot be switched off."),
    danger("tls_disable", "false", TLS_DISABLE),
    live(
        "tls_client_ca_file",
        "",
        "PEM roots that client certificates must chain to; without it none is asked for.",
    ),
    live("tls_require_and_verify_client_cert", "false", "Refuse clients without a certificate."),
    live("tls_disable_client_certs", "false", "Ask for no client certificate."),
    live(
        "max_request_size",
        "33554432",
        "Largest request body, in bytes. Requests without a token: 64 KiB at most.",
    ),
    live("max_request_duration", "\"90s\"", "Longest time for one request, at most 90s."),
    live("http_read_header_timeout", "\"10s\"", "For the head of a request, at most 10s."),
    live("http_read_timeout", "\"30s\"", "For the body of a request, at most 30s."),
    live(
        "http_write_timeout",
        "\"30s\"",
        "A client that takes nothing of its answer for this long is cut, at most 30s.",
    ),
    live(
        "http_idle_timeout",
        "\"10s\"",
        "Idle connections are closed, because their buffers may hold secrets; at most 10s.",
    ),
    live("telemetry", "{ unauthenticated_metrics_access = false, disallow_metrics = false }", TELEMETRY),
    ignored("cluster_address", ONE_NODE),
    ignored("tls_cipher_suites", "only AEAD suites with forward secrecy are built in"),
    ignored("tls_prefer_server_cipher_suites", "the client's order counts"),
    ignored("x_forwarded_for_authorized_addrs", NO_PROXY),
    ignored("x_forwarded_for_hop_skips", NO_PROXY),
    ignored("x_forwarded_for_reject_not_authorized", NO_PROXY),
    ignored("x_forwarded_for_reject_not_present", NO_PROXY),
    ignored("http_read_buffer_size", "buffers are bounded by themselves"),
    ignored("custom_response_headers", NOT_BUILT),
    ignored("profiling", NOT_BUILT),
    ignored("inflight_requests_logging", NOT_BUILT),
    ignored("disable_unauthed_rekey_endpoints", "rekey always needs a token"),
    ignored("disable_replication_status_endpoints", ONE_NODE),
    ignored("redact_addresses", NOT_BUILT),
    ignored("redact_cluster_name", NOT_BUILT),
    ignored("redact_version", NOT_BUILT),
    ignored("chroot_namespace", "there is only the root namespace"),
    ignored("disable_request_limiter", NOT_BUILT),
    ignored("max_request_json_memory", "JSON bodies are bounded by size, depth and number of values"),
    ignored("max_request_json_strings", "JSON bodies are bounded by size, depth and number of values"),
];

pub const LISTENER_UNIX: &[Field] = &[
    live("address", "\"/run/vaultd/vaultd.sock\"", "Path of the socket."),
    live("socket_mode", "\"0600\"", "File mode of the socket, octal; never more than 0660."),
    live("mode", "", "The same as socket_mode."),
    live("max_request_size", "33554432", "Largest request body, in bytes."),
    live("telemetry", "{ unauthenticated_metrics_access = false, disallow_metrics = false }", TELEMETRY),
    ignored("socket_user", "the socket belongs to the daemon's user"),
    ignored("socket_group", "the socket belongs to the daemon's group"),
];

pub const GATEWAY: &[Field] = &[
    live("address", "\"127.0.0.1:8210\"", "Address and port of the data plane."),
    required(
        "tls_cert_file",
        "\"/etc/vaultd/tls/cert.pem\"",
        "PEM: the certificate, then intermediates. Read again on SIGHUP.",
    ),
    required(
        "tls_key_file",
        "\"/etc/vaultd/tls/key.pem\"",
        "PEM: the certificate's private key. Read again on SIGHUP.",
    ),
    live("tls_min_version", "\"tls13\"", "tls13, or tls12 for old clients."),
    danger("tls_disable", "false", TLS_DISABLE),
    live(
        "telemetry",
        "{ unauthenticated_metrics_access = false }",
        "Whether `/.vaultd/metrics` answers there, without a token. `/.vaultd/health` always does.",
    ),
];

pub const STORAGE: &[Field] = &[
    required("path", "\"/var/lib/vaultd/data\"", "Directory of the store; created with mode 0700."),
    ignored("max_parallel", "the store bounds itself"),
];

pub const AUDIT: &[Field] = &[
    live("path", "", "The file, an absolute path. The same as file_path."),
    live("file_path", "", "The file, an absolute path."),
    live("description", "\"\"", "Shown by sys/audit."),
    live("options", "", "The device's options as a map, as sys/audit takes them."),
    ignored("local", ONE_NODE),
];

pub const SNAPSHOT: &[Field] = &[
    required(
        "path",
        "\"/var/lib/vaultd/snapshots\"",
        "Directory of the snapshots, mode 0700, which are restored from there too; best on another disk (under systemd with a ReadWritePaths= of its own).",
    ),
    live("interval", "", "How often one is taken, such as 24h. Default: never by itself."),
    live("retain", "7", "How many of them are kept; 0: all."),
];

pub const SEAL: &[Field] = &[ignored("disabled", "the seal in use is the only one")];

/// Every block.
pub const STANZAS: &[Stanza] = &[
    Stanza {
        kind: "storage",
        labels: &[
            ("sled", "the default"),
            ("redb", "for more than 100,000 records, or little memory"),
            ("memory", "nothing is kept; for tests"),
        ],
        arity: 1,
        doc: "Where the encrypted records lie. Exactly one.",
        fields: STORAGE,
        shown: true,
    },
    Stanza {
        kind: "listener",
        labels: &[("tcp", "TLS"), ("unix", "for the operator")],
        arity: 1,
        doc: "Where the API listens. At least one.",
        fields: LISTENER_TCP,
        shown: true,
    },
    Stanza {
        kind: "gateway",
        labels: &[],
        arity: 0,
        doc: "Where the gateway's data plane listens. Without this block there is none.",
        fields: GATEWAY,
        shown: true,
    },
    Stanza {
        kind: "audit",
        labels: &[("file", "one JSON record a line")],
        arity: 2,
        doc: "Audit devices, by name. With none, requests are served unrecorded.",
        fields: AUDIT,
        shown: true,
    },
    Stanza {
        kind: "snapshot",
        labels: &[],
        arity: 0,
        doc: "Snapshots of the whole vault, encrypted as it is stored.",
        fields: SNAPSHOT,
        shown: true,
    },
    Stanza {
        kind: "seal",
        labels: &[("shamir", "the unseal key is split between operators")],
        arity: 1,
        doc: "How the root key is protected.",
        fields: SEAL,
        shown: true,
    },
    compatible("telemetry", 0),
    compatible("service_registration", 1),
    compatible("user_lockout", 1),
    compatible("reporting", 0),
    compatible("plugin", 2),
    compatible("kms_library", 1),
    compatible("sentinel", 0),
    compatible("entropy", 1),
    compatible("adaptive_overload_protection", 0),
];

/// A block of Vault's that is accepted whole, with a warning.
const fn compatible(kind: &'static str, arity: usize) -> Stanza {
    Stanza { kind, labels: &[], arity, doc: "", fields: &[], shown: false }
}

/// The table of a block; `listener "unix"` has its own.
pub fn stanza(kind: &str) -> Option<&'static Stanza> {
    STANZAS.iter().find(|s| s.kind == kind)
}

/// The keys of a block with these labels.
pub fn fields_of(stanza: &Stanza, labels: &[String]) -> &'static [Field] {
    match (stanza.kind, labels.first().map(String::as_str)) {
        ("listener", Some("unix")) => LISTENER_UNIX,
        _ => stanza.fields,
    }
}

/// The default file: every live key, its meaning and its default.
pub fn default_file() -> String {
    let mut out = String::from(
        "# vaultd's configuration, with every key that has an effect.\n# A line that starts with \"# key =\" shows the default.\n",
    );
    write_fields(&mut out, "", ROOT);
    for s in STANZAS.iter().filter(|s| s.shown) {
        out.push_str(&format!("\n# {}\n", s.doc));
        match s.labels {
            [] => write_block(&mut out, &format!("# {}", s.kind), s.fields, "# "),
            labels => {
                for (label, meaning) in labels {
                    let required = matches!((s.kind, *label), ("storage", "sled") | ("listener", "tcp"));
                    let comment = if required { "" } else { "# " };
                    let name = if s.arity == 2 { " \"main\"" } else { "" };
                    out.push_str(&format!("# {label}: {meaning}\n"));
                    let head = format!("{comment}{} \"{label}\"{name}", s.kind);
                    let fields = fields_of(s, &[(*label).to_owned()]);
                    write_block(&mut out, &head, fields, comment);
                }
            }
        }
    }
    out
}

fn write_block(out: &mut String, head: &str, fields: &[Field], comment: &str) {
    out.push_str(&format!("{head} {{\n"));
    let mut body = String::new();
    write_fields(&mut body, "  ", fields);
    for line in body.lines() {
        out.push_str(&format!("{comment}{line}\n"));
    }
    out.push_str(&format!("{comment}}}\n"));
}

fn write_fields(out: &mut String, indent: &str, fields: &[Field]) {
    for f in fields.iter().filter(|f| !matches!(f.effect, Effect::Ignored(_))) {
        let note = if f.effect == Effect::Danger { " DANGER." } else { "" };
        out.push_str(&format!("{indent}# {}{note}\n", f.doc));
        match (f.example, f.default) {
            ("", "") => out.push_str(&format!("{indent}# {} =\n", f.key)),
            ("", value) => out.push_str(&format!("{indent}# {} = {value}\n", f.key)),
            (value, _) => out.push_str(&format!("{indent}{} = {value}\n", f.key)),
        }
    }
}
