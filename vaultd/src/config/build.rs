//! From what the files say to what the daemon does.

use super::fields::{self, Effect, Field};
use super::source::{RawConfig, Section};
use super::{
    AuditConfig, Config, ListenerConfig, LogFormat, Network, Problem, StorageBackend, StorageConfig, Timeouts,
};
use crate::limits as l;
use crate::listener::Bind;
use crate::tls::{MinVersion, TlsFiles};
use secmem::process::MemoryLock;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;
use vault_logical::{Data, field};

/// Where audit files may lie besides the storage path's parent.
const AUDIT_DIR: &str = "/var/log/vaultd";
/// The largest mode of a unix socket: never for everybody.
const MAX_SOCKET_MODE: u32 = 0o660;

/// Collects problems, warnings and dangers while a config is read.
struct Findings<'a> {
    raw: &'a RawConfig,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    dangers: Vec<String>,
}

/// One section with its table.
struct Reader<'a, 'f> {
    section: &'a Section,
    findings: &'f mut Findings<'a>,
}

pub(super) fn build(raw: &RawConfig) -> Result<Config, Vec<Problem>> {
    let mut findings = Findings { raw, problems: Vec::new(), warnings: Vec::new(), dangers: Vec::new() };
    let root = merged_root(raw, &mut findings);
    for section in &raw.blocks {
        check_keys(section, &mut findings);
    }
    let storage = storage(raw, &mut findings);
    let listeners = listeners(raw, &mut findings);
    let gateway = gateway(raw, &mut findings);
    let audit = audits(raw, &mut findings);
    seal(raw, &mut findings);
    let mut config = root_config(&root, &mut findings);
    config.state_dir = config.state_dir.take().or_else(|| beside(storage.path.as_deref()));
    if config.audit_dirs.is_empty() {
        let parent = storage.path.as_deref().and_then(Path::parent).map(Path::to_owned);
        config.audit_dirs = parent.into_iter().chain([PathBuf::from(AUDIT_DIR)]).collect();
    }
    config.storage = storage;
    config.listeners = listeners;
    config.gateway = gateway;
    config.audit = audit;
    if config.default_lease_ttl > config.max_lease_ttl {
        findings.problem(&root, "default_lease_ttl", "is longer than max_lease_ttl");
    }
    config.warnings = findings.warnings;
    config.dangers = findings.dangers;
    if findings.problems.is_empty() { Ok(config) } else { Err(findings.problems) }
}

/// `/var/lib/vaultd/data` -> `/var/lib/vaultd/data.state`
fn beside(storage: Option<&Path>) -> Option<PathBuf> {
    let path = storage?;
    let mut name = path.file_name()?.to_owned();
    name.push(".state");
    Some(path.with_file_name(name))
}

fn merged_root(raw: &RawConfig, findings: &mut Findings<'_>) -> Section {
    let mut values = Data::new();
    let file = raw.root.first().map(|s| s.file.clone()).unwrap_or_default();
    for section in &raw.root {
        check_keys(section, findings);
        for (key, value) in &section.values {
            if values.insert(key.clone(), value.clone()).is_some() {
                findings.problem(section, key, "is set in another file too");
            }
        }
    }
    Section { file, kind: String::new(), labels: Vec::new(), values }
}

fn check_keys(section: &Section, findings: &mut Findings<'_>) {
    let stanza = fields::stanza(&section.kind);
    if let Some(stanza) = stanza.filter(|s| !s.shown) {
        let note = format!("block \"{}\" has no effect here", stanza.kind);
        findings
            .warnings
            .push(Problem::new(&section.file, note).at(findings.raw.line_of(&section.file, stanza.kind)));
        return;
    }
    let known: &[Field] = stanza.map_or(fields::ROOT, |s| fields::fields_of(s, &section.labels));
    for (key, value) in &section.values {
        match known.iter().find(|f| f.key == key) {
            None => findings.problem(section, key, "is not a known key"),
            Some(Field { effect: Effect::Ignored(why), .. }) => {
                let line = findings.raw.line_of(&section.file, key);
                let note = format!("\"{}\" has no effect: {why}", path_of(section, key));
                findings.warnings.push(Problem::new(&section.file, note).at(line));
            }
            Some(Field { effect: Effect::Danger, .. }) if is_set(value) => {
                findings.dangers.push(path_of(section, key));
            }
            Some(_) => {}
        }
    }
}

/// True for a danger that is switched on, however it is spelled.
fn is_set(value: &Value) -> bool {
    let data = Data::from_iter([("v".to_owned(), value.clone())]);
    field::boolean(&data, "v").ok().flatten().unwrap_or(false)
}

fn path_of(section: &Section, key: &str) -> String {
    match section.name() {
        name if name.is_empty() => key.to_owned(),
        name => format!("{name}.{key}"),
    }
}

impl<'a> Findings<'a> {
    fn problem(&mut self, section: &Section, key: &str, what: &str) {
        let line = self.raw.line_of(&section.file, key);
        let message = format!("\"{}\" {what}", path_of(section, key));
        self.problems.push(Problem::new(&section.file, message).at(line));
    }
}

impl Reader<'_, '_> {
    fn value<T>(
        &mut self,
        key: &str,
        read: fn(&Data, &str) -> vault_logical::Result<Option<T>>,
    ) -> Option<T> {
        match read(&self.section.values, key) {
            Ok(value) => value,
            Err(e) => {
                // "field \"x\" must be …": keep what it must be.
                let what = e.message().split_once("\" ").map_or("is not valid", |(_, what)| what).to_owned();
                self.findings.problem(self.section, key, &what);
                None
            }
        }
    }
    fn string(&mut self, key: &str) -> Option<String> {
        self.value(key, field::string).filter(|s| !s.is_empty())
    }
    fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.string(key).map(PathBuf::from)
    }
    fn boolean(&mut self, key: &str) -> bool {
        self.value(key, field::boolean).unwrap_or(false)
    }
    fn duration(&mut self, key: &str) -> Option<Duration> {
        self.value(key, field::duration).filter(|d| !d.is_zero())
    }
    fn problem(&mut self, key: &str, what: &str) {
        self.findings.problem(self.section, key, what);
    }
    /// A deadline that may be shortened, not lengthened.
    fn deadline(&mut self, key: &str, longest: Duration) -> Duration {
        let asked = self.duration(key).unwrap_or(longest);
        if asked > longest {
            let note = format!("\"{}\" is capped at {}s", path_of(self.section, key), longest.as_secs());
            let line = self.findings.raw.line_of(&self.section.file, key);
            self.findings.warnings.push(Problem::new(&self.section.file, note).at(line));
        }
        asked.min(longest)
    }
    /// One of a few words.
    fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)], default: T) -> T {
        let Some(word) = self.string(key) else { return default };
        match choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(&word)) {
            Some((_, value)) => *value,
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.problem(key, &format!("must be one of {}", names.join(", ")));
                default
            }
        }
    }
}

fn root_config<'a>(root: &'a Section, findings: &mut Findings<'a>) -> Config {
    let mut r = Reader { section: root, findings };
    let lease = Duration::from_secs(768 * 3600);
    let memory_lock = r.choice(
        "memory_lock",
        &[
            ("auto", MemoryLock::Auto),
            ("keys", MemoryLock::Keys),
            ("all", MemoryLock::All),
            ("danger_off", MemoryLock::Off),
        ],
        MemoryLock::Auto,
    );
    let workers = match r.value("workers", field::unsigned).unwrap_or(0) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => usize::try_from(n).unwrap_or(usize::MAX),
    };
    let egress_allow = r.value("egress_allow", field::strings).unwrap_or_default();
    let config = Config {
        storage: StorageConfig { backend: StorageBackend::Memory, path: None },
        state_dir: r.path("state_dir"),
        listeners: Vec::new(),
        gateway: None,
        audit: Vec::new(),
        audit_dirs: paths(&mut r, "audit_dirs"),
        default_lease_ttl: r.duration("default_lease_ttl").unwrap_or(lease),
        max_lease_ttl: r.duration("max_lease_ttl").unwrap_or(lease),
        cluster_name: r.string("cluster_name").unwrap_or_else(|| "vaultd".to_owned()),
        memory_lock,
        log_level: r.choice("log_level", LEVELS, tracing::Level::INFO),
        log_format: r.choice("log_format", FORMATS, LogFormat::Standard),
        allow_remote_init: r.boolean("allow_remote_init"),
        egress_allow: egress_allow.iter().filter_map(|n| network(&mut r, n)).collect(),
        workers: workers.clamp(1, l::MAX_WORKERS),
        warnings: Vec::new(),
        dangers: Vec::new(),
        sources: Vec::new(),
    };
    if memory_lock == MemoryLock::Off {
        r.findings.dangers.push("memory_lock = danger_off".to_owned());
    }
    config
}

const LEVELS: &[(&str, tracing::Level)] = &[
    ("trace", tracing::Level::TRACE),
    ("debug", tracing::Level::DEBUG),
    ("info", tracing::Level::INFO),
    ("warn", tracing::Level::WARN),
    ("error", tracing::Level::ERROR),
    // Vault's other spellings.
    ("notice", tracing::Level::INFO),
    ("warning", tracing::Level::WARN),
    ("err", tracing::Level::ERROR),
];
const FORMATS: &[(&str, LogFormat)] = &[("standard", LogFormat::Standard), ("json", LogFormat::Json)];

fn paths(r: &mut Reader<'_, '_>, key: &str) -> Vec<PathBuf> {
    r.value(key, field::strings).unwrap_or_default().into_iter().map(PathBuf::from).collect()
}

fn network(r: &mut Reader<'_, '_>, text: &str) -> Option<Network> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(longest), |p| p.parse().ok().filter(|p| *p <= longest))?;
        Some(Network { address, prefix })
    });
    if parsed.is_none() {
        r.problem("egress_allow", "must hold networks like 10.0.0.0/8");
    }
    parsed
}

fn of_kind<'a>(raw: &'a RawConfig, kind: &str) -> impl Iterator<Item = &'a Section> {
    raw.blocks.iter().filter(move |s| s.kind == kind)
}

fn storage<'a>(raw: &'a RawConfig, findings: &mut Findings<'a>) -> StorageConfig {
    let none = StorageConfig { backend: StorageBackend::Memory, path: None };
    let mut found = of_kind(raw, "storage");
    let Some(section) = found.next() else {
        let file = raw.root.first().map(|s| s.file.clone()).unwrap_or_default();
        findings.problems.push(Problem::new(&file, "there is no storage block"));
        return none;
    };
    if let Some(second) = found.next() {
        findings.problems.push(Problem::new(&second.file, "there is more than one storage block"));
    }
    let backend = match section.labels.first().map(String::as_str) {
        Some("sled") => StorageBackend::Sled,
        Some("redb") => StorageBackend::Redb,
        Some("memory" | "inmem") => StorageBackend::Memory,
        other => {
            let name = other.unwrap_or_default();
            let message = format!("storage \"{name}\" is not built: there are sled, redb and memory");
            findings
                .problems
                .push(Problem::new(&section.file, message).at(raw.line_of(&section.file, "storage")));
            return none;
        }
    };
    let path = Reader { section, findings }.path("path");
    if backend != StorageBackend::Memory && path.is_none() {
        findings.problem(section, "path", "is missing");
    }
    StorageConfig { backend, path: path.filter(|_| backend != StorageBackend::Memory) }
}

fn listeners<'a>(raw: &'a RawConfig, findings: &mut Findings<'a>) -> Vec<ListenerConfig> {
    let mut out = Vec::new();
    for section in of_kind(raw, "listener") {
        let mut r = Reader { section, findings };
        let one = match section.labels.first().map(String::as_str) {
            Some("tcp") => tcp(&mut r, "127.0.0.1:8200"),
            Some("unix") => unix(&mut r),
            other => {
                let message = format!(
                    "listener \"{}\" is not built: there are tcp and unix",
                    other.unwrap_or_default()
                );
                r.findings.problems.push(Problem::new(&section.file, message));
                None
            }
        };
        out.extend(one);
    }
    let file = raw.root.first().map(|s| s.file.clone()).unwrap_or_default();
    if of_kind(raw, "listener").next().is_none() {
        findings.problems.push(Problem::new(&file, "there is no listener block"));
    }
    if out.len() > l::MAX_LISTENERS {
        findings.problems.push(Problem::new(&file, "there are too many listener blocks"));
    }
    out
}

fn gateway<'a>(raw: &'a RawConfig, findings: &mut Findings<'a>) -> Option<ListenerConfig> {
    let mut found = of_kind(raw, "gateway");
    let section = found.next()?;
    if let Some(second) = found.next() {
        findings.problems.push(Problem::new(&second.file, "there is more than one gateway block"));
    }
    tcp(&mut Reader { section, findings }, "127.0.0.1:8210")
}

fn tcp(r: &mut Reader<'_, '_>, default_address: &str) -> Option<ListenerConfig> {
    let text = r.string("address").unwrap_or_else(|| default_address.to_owned());
    let Some(address) = address(&text) else {
        r.problem("address", "must be an address and port like 127.0.0.1:8200");
        return None;
    };
    let tls = if r.boolean("tls_disable") { None } else { Some(tls_files(r)?) };
    Some(ListenerConfig {
        bind: Bind::Tcp(address),
        tls,
        timeouts: Timeouts {
            handshake: l::TLS_HANDSHAKE_DEADLINE,
            header: r.deadline("http_read_header_timeout", l::HEADER_READ_DEADLINE),
            body: r.deadline("http_read_timeout", l::BODY_READ_DEADLINE),
            request: r.deadline("max_request_duration", l::REQUEST_DEADLINE),
            write_stall: r.deadline("http_write_timeout", l::WRITE_STALL_DEADLINE),
            idle: r.deadline("http_idle_timeout", l::IDLE_DEADLINE),
        },
        max_request_bytes: request_size(r),
    })
}

/// `127.0.0.1:8200`, `[::1]:8200`, `localhost:8200`, `:8200` (every address).
fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(port) = text.strip_prefix(':') {
        return Some(SocketAddr::from(([0, 0, 0, 0], port.parse().ok()?)));
    }
    text.to_socket_addrs().ok()?.next()
}

fn tls_files(r: &mut Reader<'_, '_>) -> Option<TlsFiles> {
    let (cert, key) = (r.path("tls_cert_file"), r.path("tls_key_file"));
    let min_version = r.choice(
        "tls_min_version",
        &[("tls13", MinVersion::Tls13), ("tls12", MinVersion::Tls12)],
        MinVersion::Tls13,
    );
    r.choice("tls_max_version", &[("tls13", ())], ());
    let client_ca = r.path("tls_client_ca_file");
    let require_client_cert = r.boolean("tls_require_and_verify_client_cert");
    let no_client_certs = r.boolean("tls_disable_client_certs");
    if require_client_cert && (client_ca.is_none() || no_client_certs) {
        r.problem(
            "tls_require_and_verify_client_cert",
            "needs tls_client_ca_file, without tls_disable_client_certs",
        );
    }
    let (Some(cert), Some(key)) = (cert, key) else {
        r.problem("tls_cert_file", "and tls_key_file are needed, or tls_disable");
        return None;
    };
    let client_ca = client_ca.filter(|_| !no_client_certs);
    Some(TlsFiles { cert, key, client_ca, require_client_cert, min_version })
}

fn request_size(r: &mut Reader<'_, '_>) -> usize {
    let asked = r.value("max_request_size", field::unsigned).unwrap_or(l::DEFAULT_MAX_REQUEST_BYTES as u64);
    match usize::try_from(asked).ok().filter(|n| (1..=l::MAX_MAX_REQUEST_BYTES).contains(n)) {
        Some(n) => n,
        None => {
            r.problem(
                "max_request_size",
                &format!("must lie between 1 and {} bytes", l::MAX_MAX_REQUEST_BYTES),
            );
            l::DEFAULT_MAX_REQUEST_BYTES
        }
    }
}

fn unix(r: &mut Reader<'_, '_>) -> Option<ListenerConfig> {
    let path = r.path("address").unwrap_or_else(|| PathBuf::from("/run/vaultd/vaultd.sock"));
    let text = r.string("socket_mode").or_else(|| r.string("mode")).unwrap_or_else(|| "0600".to_owned());
    let mode = u32::from_str_radix(&text, 8).ok().filter(|m| m & !MAX_SOCKET_MODE == 0);
    let Some(mode) = mode else {
        r.problem("socket_mode", "must be octal and grant nothing to others, like 0600 or 0660");
        return None;
    };
    Some(ListenerConfig {
        bind: Bind::Unix { path, mode },
        tls: None,
        timeouts: Timeouts::default(),
        max_request_bytes: request_size(r),
    })
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            handshake: l::TLS_HANDSHAKE_DEADLINE,
            header: l::HEADER_READ_DEADLINE,
            body: l::BODY_READ_DEADLINE,
            request: l::REQUEST_DEADLINE,
            write_stall: l::WRITE_STALL_DEADLINE,
            idle: l::IDLE_DEADLINE,
        }
    }
}

fn audits<'a>(raw: &'a RawConfig, findings: &mut Findings<'a>) -> Vec<AuditConfig> {
    let mut out: Vec<AuditConfig> = Vec::new();
    for section in of_kind(raw, "audit") {
        let (Some(kind), Some(name)) = (section.labels.first(), section.labels.get(1)) else { continue };
        if kind != "file" {
            let message = format!("audit \"{kind}\" is not built: there is file");
            findings.problems.push(Problem::new(&section.file, message));
            continue;
        }
        let name = name.trim_matches('/').to_owned();
        let mut r = Reader { section, findings };
        let mut options = r.value("options", field::string_map).unwrap_or_default();
        if let Some(path) = r.string("file_path").or_else(|| r.string("path")) {
            options.insert("file_path".to_owned(), path);
        }
        if !options.get("file_path").is_some_and(|p| p.starts_with('/')) {
            r.problem("path", "must be the absolute path of the file");
        }
        if name.is_empty() || out.iter().any(|d| d.name == name) {
            r.problem("audit", "needs a name of its own");
        }
        let description = r.string("description").unwrap_or_default();
        out.push(AuditConfig { kind: kind.clone(), name, description, options });
    }
    out
}

fn seal<'a>(raw: &'a RawConfig, findings: &mut Findings<'a>) {
    for section in of_kind(raw, "seal") {
        let kind = section.labels.first().map(String::as_str).unwrap_or_default();
        if kind != "shamir" {
            let message = format!("seal \"{kind}\" is not built: there is shamir");
            findings
                .problems
                .push(Problem::new(&section.file, message).at(raw.line_of(&section.file, "seal")));
        }
    }
}
