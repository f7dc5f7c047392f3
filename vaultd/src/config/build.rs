//! From what the files say to what the daemon does.

use super::listeners::{gateway, listeners};
use super::reader::{Findings, Reader, check_keys, of_kind};
use super::source::{RawConfig, Section};
use super::{AuditConfig, Config, LogFormat, Network, Problem, SnapshotBlock, StorageBackend, StorageConfig};
use crate::limits as l;
use crate::listener::Bind;
use secmem::process::MemoryLock;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use vault_core::HeadExport;
use vault_logical::{Data, field};

const AUDIT_HEAD_INTERVAL: Duration = Duration::from_secs(60);
/// Where audit files may lie besides the storage path's parent.
const AUDIT_DIR: &str = "/var/log/vaultd";

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
    let snapshot = snapshot(raw, &mut findings);
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
    config.snapshot = snapshot;
    if config.default_lease_ttl > config.max_lease_ttl {
        findings.problem(
            &root,
            "default_lease_ttl",
            "is longer than max_lease_ttl (without a value of its own it is 768h)",
        );
    }
    audit_places(raw, &config, &mut findings);
    config.settings = settings(raw);
    one_place_each(raw, &config, &mut findings);
    config.warnings = findings.warnings;
    config.dangers = findings.dangers;
    if findings.problems.is_empty() { Ok(config) } else { Err(findings.problems) }
}

/// Every setting with its block's name; a second block of a name is `listener.tcp#2`.
fn settings(raw: &RawConfig) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for section in raw.root.iter().chain(&raw.blocks) {
        let name = section.name();
        let n = seen.entry(name.clone()).or_insert(0);
        *n += 1;
        let block = match (name.is_empty(), *n) {
            (true, _) => String::new(),
            (false, 1) => format!("{name}."),
            (false, n) => format!("{name}#{n}."),
        };
        out.extend(section.values.iter().map(|(key, value)| (format!("{block}{key}"), value.clone())));
        if !name.is_empty() && section.values.is_empty() {
            out.insert(name, Value::Null);
        }
    }
    out
}

/// Two listeners in one place: the second could not be bound, or would share the first's callers.
fn one_place_each<'a>(raw: &'a RawConfig, config: &Config, findings: &mut Findings<'a>) {
    let sections: Vec<&Section> = of_kind(raw, "listener").chain(of_kind(raw, "gateway")).collect();
    let binds: Vec<&Bind> = config.listeners.iter().chain(&config.gateway).map(|l| &l.bind).collect();
    if sections.len() != binds.len() {
        return; // one of them is refused already
    }
    for (n, (section, bind)) in sections.iter().zip(&binds).enumerate() {
        if let Some(first) = binds.iter().zip(&sections).take(n).find(|(other, _)| overlap(bind, other)) {
            let what = format!("is the place of \"{}\" too", first.1.name());
            findings.problem(section, "address", &what);
        }
    }
}

fn overlap(a: &Bind, b: &Bind) -> bool {
    match (a, b) {
        (Bind::Unix { path: a, .. }, Bind::Unix { path: b, .. }) => a == b,
        (Bind::Tcp(a), Bind::Tcp(b)) => {
            // Every address of IPv6 takes those of IPv4 along.
            let all = |one: &SocketAddr, other: &SocketAddr| {
                one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4())
            };
            a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || all(a, b) || all(b, a))
        }
        _ => false,
    }
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
    Section { file, kind: String::new(), labels: Vec::new(), values, ordinal: 0 }
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
        snapshot: None,
        audit_dirs: paths(&mut r, "audit_dirs"),
        audit_head: audit_head(&mut r),
        default_lease_ttl: r.duration("default_lease_ttl").unwrap_or(lease),
        max_lease_ttl: r.duration("max_lease_ttl").unwrap_or(lease),
        cluster_name: r.string("cluster_name").unwrap_or_else(|| "vaultd".to_owned()),
        reported_version: reported_version(&mut r),
        memory_lock,
        log_level: r.choice("log_level", LEVELS, tracing::Level::INFO),
        log_format: r.choice("log_format", FORMATS, LogFormat::Standard),
        allow_remote_init: r.boolean("allow_remote_init"),
        egress_allow: egress_allow.iter().filter_map(|n| network(&mut r, n)).collect(),
        hosts: hosts(&mut r),
        workers: workers.clamp(1, l::MAX_WORKERS),
        warnings: Vec::new(),
        dangers: Vec::new(),
        sources: Vec::new(),
        settings: BTreeMap::new(),
    };
    if memory_lock == MemoryLock::Off {
        r.findings.dangers.push("memory_lock = danger_off".to_owned());
    }
    config
}

/// `1.15.6`, `1.15.6+ent`: what clients can compare.
fn reported_version(r: &mut Reader<'_, '_>) -> Option<String> {
    let version = r.string("reported_version").filter(|v| !v.is_empty())?;
    let numbers = version.split(['+', '-']).next().unwrap_or_default();
    let number = |n: &str| !n.is_empty() && n.len() <= 9 && n.bytes().all(|b| b.is_ascii_digit());
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+');
    let fits = numbers.split('.').count() == 3 && numbers.split('.').all(number);
    if !fits || !version.bytes().all(plain) || version.len() > l::MAX_REPORTED_VERSION {
        r.problem("reported_version", "must be a version like 1.15.6");
        return None;
    }
    Some(version)
}

fn audit_head(r: &mut Reader<'_, '_>) -> Option<HeadExport> {
    let interval = r.duration("audit_head_interval").unwrap_or(AUDIT_HEAD_INTERVAL);
    let file = r.path("audit_head_file")?;
    if !file.is_absolute() || file.file_name().is_none() {
        r.problem("audit_head_file", "must be the absolute path of a file");
    }
    Some(HeadExport::new(file, interval.max(l::MIN_AUDIT_HEAD_INTERVAL)))
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

/// `allowed_hosts`, and the host of `api_addr`.
fn hosts(r: &mut Reader<'_, '_>) -> Vec<String> {
    let mut out = r.value("allowed_hosts", field::strings).unwrap_or_default();
    if let Some(address) = r.string("api_addr") {
        match address.parse::<http::Uri>().ok().filter(|u| u.scheme().is_some()) {
            Some(uri) => out.extend(uri.host().map(str::to_owned)),
            None => r.problem("api_addr", "must be a URL like https://vault.example:8200"),
        }
    }
    let fine = |h: &String| {
        let name = h.strip_prefix("*.").unwrap_or(h);
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b))
    };
    if !out.iter().all(fine) {
        r.problem("allowed_hosts", "must hold host names without scheme, port and path");
    }
    out
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
        if let Some(path) = options.remove("path") {
            options.entry("file_path".to_owned()).or_insert(path);
        }
        let no_file = |p: &str| ["stdout", "discard"].iter().any(|word| p.eq_ignore_ascii_case(word));
        if !options.get("file_path").is_some_and(|p| p.starts_with('/') || no_file(p)) {
            r.problem("path", "must be the absolute path of the file, \"stdout\" or \"discard\"");
        }
        if name.is_empty() || out.iter().any(|d| d.name == name) {
            r.problem("audit", "needs a name of its own");
        }
        let description = r.string("description").unwrap_or_default();
        out.push(AuditConfig { kind: kind.clone(), name, description, options });
    }
    out
}

/// An audit file among the vault's own would make the store unopenable.
fn audit_places<'a>(raw: &'a RawConfig, config: &Config, findings: &mut Findings<'a>) {
    let own = config.own_places();
    for section in of_kind(raw, "audit") {
        let name = section.labels.get(1).map(|n| n.trim_matches('/'));
        let device = config.audit.iter().find(|d| Some(d.name.as_str()) == name);
        let Some(file) = device.and_then(|d| d.options.get("file_path")).map(Path::new) else { continue };
        if own.iter().any(|place| file.starts_with(place)) {
            findings.problem(section, "path", "lies where the vault keeps files of its own");
        }
    }
}

fn snapshot<'a>(raw: &'a RawConfig, findings: &mut Findings<'a>) -> Option<SnapshotBlock> {
    let mut found = of_kind(raw, "snapshot");
    let section = found.next()?;
    if let Some(second) = found.next() {
        findings.problems.push(Problem::new(&second.file, "there is more than one snapshot block"));
    }
    let mut r = Reader { section, findings };
    let path = r.path("path").filter(|p| p.is_absolute());
    if path.is_none() {
        r.problem("path", "must be the absolute path of a directory");
    }
    let interval = r.duration("interval").unwrap_or_default();
    if !interval.is_zero() && interval < l::MIN_SNAPSHOT_INTERVAL {
        r.problem("interval", "is shorter than a second");
    }
    let retain = r.value("retain", field::unsigned).unwrap_or(l::DEFAULT_SNAPSHOTS);
    let retain = usize::try_from(retain).unwrap_or(usize::MAX);
    Some(SnapshotBlock { path: path?, interval, retain })
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
