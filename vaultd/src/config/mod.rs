//! The server's configuration: Vault's HCL or JSON file, checked whole before anything starts.
//!
//! Two steps: [`RawConfig`] is what the files say, [`Config`] is what the daemon does. Every
//! problem is collected, so that one run of `check-config` shows them all.

mod build;
mod check;
mod fields;
mod listeners;
mod reader;
mod source;
mod spelling;

use crate::listener::Bind;
use crate::tls::TlsFiles;
use secmem::process::MemoryLock;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vault_core::HeadExport;

pub use check::check;
pub use fields::default_file;
pub use source::RawConfig;

/// One thing that is wrong with a config, or worth a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    pub line: Option<usize>,
    pub message: String,
}

impl Problem {
    pub(crate) fn new(file: &Path, message: impl Into<String>) -> Self {
        Problem { file: file.to_owned(), line: None, message: message.into() }
    }
    pub(crate) fn at(mut self, line: Option<usize>) -> Self {
        self.line = self.line.or(line);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageBackend {
    Sled,
    Redb,
    Memory,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageConfig {
    pub backend: StorageBackend,
    /// `None` for memory.
    pub path: Option<PathBuf>,
}

/// Deadlines of a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accept to the end of the TLS handshake.
    pub handshake: Duration,
    pub header: Duration,
    pub body: Duration,
    pub request: Duration,
    pub write_stall: Duration,
    pub idle: Duration,
}

/// Who may ask a listener for the server's metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Whoever has a token with the right to read `sys/metrics`; on the gateway's listener: nobody.
    #[default]
    Token,
    /// Anybody.
    Open,
    /// Nobody.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    pub bind: Bind,
    /// `None`: plain HTTP, by `tls_disable`, or a unix socket.
    pub tls: Option<TlsFiles>,
    pub timeouts: Timeouts,
    /// Largest request body, in bytes.
    pub max_request_bytes: usize,
    pub metrics: MetricsAccess,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// `file`
    pub kind: String,
    /// The device's path in `sys/audit`, without a slash.
    pub name: String,
    pub description: String,
    /// As `sys/audit` takes them; `file_path` is always there.
    pub options: BTreeMap<String, String>,
}

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    pub prefix: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Standard,
    Json,
}

/// The `snapshot` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotBlock {
    /// Where snapshots are put, and restored from.
    pub path: PathBuf,
    /// Zero: none is taken by itself.
    pub interval: Duration,
    /// 0: all are kept.
    pub retain: usize,
}

/// What the daemon does.
#[derive(Clone, Debug)]
pub struct Config {
    pub storage: StorageConfig,
    /// `None` for memory storage.
    pub state_dir: Option<PathBuf>,
    pub listeners: Vec<ListenerConfig>,
    /// The gateway's data plane.
    pub gateway: Option<ListenerConfig>,
    pub audit: Vec<AuditConfig>,
    pub snapshot: Option<SnapshotBlock>,
    pub audit_dirs: Vec<PathBuf>,
    /// Where the audit's heads are exported to.
    pub audit_head: Option<HeadExport>,
    pub default_lease_ttl: Duration,
    pub max_lease_ttl: Duration,
    pub cluster_name: String,
    /// The version that `sys/health` and `sys/seal-status` tell instead of this program's own.
    pub reported_version: Option<String>,
    pub memory_lock: MemoryLock,
    pub log_level: tracing::Level,
    pub log_format: LogFormat,
    pub allow_remote_init: bool,
    pub egress_allow: Vec<Network>,
    /// Names that listeners without TLS answer to: `allowed_hosts`, and the host of `api_addr`.
    pub hosts: Vec<String>,
    /// Threads that serve requests.
    pub workers: usize,
    /// Keys without an effect here, and the like.
    pub warnings: Vec<Problem>,
    /// Names of the settings that lower the protection.
    pub dangers: Vec<String>,
    /// The files it was read from, for SIGHUP.
    pub sources: Vec<PathBuf>,
    /// Every setting by its name, to tell what a SIGHUP would have to change.
    settings: BTreeMap<String, Value>,
}

impl Config {
    /// Reads and checks files or directories.
    pub fn load(paths: &[PathBuf]) -> Result<Config, Vec<Problem>> {
        let mut config = build::build(&RawConfig::read(paths)?)?;
        config.sources = paths.to_vec();
        Ok(config)
    }

    /// Directories and files that belong to the daemon itself: store, anchor, config, TLS files,
    /// sockets.
    pub fn own_places(&self) -> Vec<PathBuf> {
        let mut own: Vec<PathBuf> = self.storage.path.iter().chain(&self.state_dir).cloned().collect();
        own.extend(self.sources.iter().cloned());
        let head = self.audit_head.iter().map(|h| &h.file);
        own.extend(head.flat_map(|file| [file.clone(), file.with_added_extension("tmp")]));
        for l in self.listeners.iter().chain(&self.gateway) {
            if let Bind::Unix { path, .. } = &l.bind {
                own.push(path.clone());
            }
            let tls = l.tls.iter().flat_map(|t| [Some(&t.cert), Some(&t.key), t.client_ca.as_ref()]);
            own.extend(tls.flatten().cloned());
        }
        own
    }

    /// Names of the settings that are different in `fresh` and count only after a restart.
    pub fn needs_restart(&self, fresh: &Config) -> Vec<String> {
        let names: BTreeSet<&String> = self.settings.keys().chain(fresh.settings.keys()).collect();
        let changed = names.into_iter().filter(|n| self.settings.get(*n) != fresh.settings.get(*n));
        changed.filter(|n| *n != "log_level").cloned().collect()
    }

    /// Checks a config given as text, as if read from `file`.
    pub fn parse(file: &Path, text: &str) -> Result<Config, Vec<Problem>> {
        let mut raw = RawConfig::default();
        raw.add(file, text.to_owned())?;
        build::build(&raw)
    }
}

#[cfg(test)]
mod tests;
