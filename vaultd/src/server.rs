//! The wiring: one core, the API's listeners, the gateway's, and what happens between them when
//! the vault seals or fails.

use crate::codec::{Api, ApiLimits, Budget, Hosts};
use crate::config::{AuditConfig, Config, ListenerConfig};
use crate::dataplane::{ApiOrGateway, DataPlane};
use crate::descriptors::{Descriptors, TooFew};
use crate::figures::{self, Certificate};
use crate::limits::{CERTIFICATE_WARNING, CUT_DEADLINE, DRAIN_DEADLINE, IDLE_DEADLINE};
use crate::listener::{BoundSockets, Door, Handler, ListenError, Listener, Registry, Server};
use crate::stores::store_config;
use crate::tls::{ServerTls, TlsError};
use async_trait::async_trait;
use secmem::Arena;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;
use vault_core::audit::{AuditError, DeviceConfig, Origin};
use vault_core::exchange::Exchange;
use vault_core::{
    Core, CoreConfig, CoreHandle, Hooks, LocalDispatch, ProcessReport, SnapshotConfig, SystemTtl,
};
use vault_gateway::{Gateway, Settings};
use vault_logical::{Clock, Egress, ProbeCall, ProbeStep, SystemClock};
use vault_metrics::Page;

/// The gateway mount that the data plane serves.
pub const GATEWAY_MOUNT: &str = "gateway/";

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Descriptors(#[from] TooFew),
    #[error("storage: {0}")]
    Storage(#[from] storage::Error),
    #[error("listener: {0}")]
    Listen(#[from] ListenError),
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("audit device: {0}")]
    Audit(#[from] AuditError),
    #[error("audit device {device}: its directory {dir} cannot be used: {source}")]
    AuditDirectory { device: String, dir: PathBuf, source: std::io::Error },
    #[error("{dir}: {source}")]
    Directory { dir: PathBuf, source: std::io::Error },
}

/// What the process brings along.
pub struct Process {
    pub arena: Arena,
    pub report: ProcessReport,
    pub egress: Arc<dyn Egress>,
    /// Roots for upstreams without a CA of their own.
    pub roots: Arc<rustls::RootCertStore>,
}

/// A running daemon.
pub struct Daemon {
    core: Arc<Core>,
    server: Server,
    fatal: Arc<Fatal>,
    hooks: Arc<Seal>,
    /// Addresses of the API's TCP listeners.
    pub api: Vec<SocketAddr>,
    /// Whether each of them speaks TLS.
    pub api_tls: Vec<bool>,
    pub gateway: Option<SocketAddr>,
}

/// Storage failed for good: remembered until the main loop sees it.
#[derive(Default)]
struct Fatal {
    happened: AtomicBool,
    notify: Notify,
}

struct Seal {
    registry: Registry,
    gateway: parking_lot::Mutex<Option<Arc<Gateway>>>,
    fatal: Arc<Fatal>,
    process: figures::Process,
    /// Set once every listener is bound.
    certificates: OnceLock<Vec<Certificate>>,
}

#[async_trait]
impl Hooks for Seal {
    async fn cut_streams(&self) {
        let gateway = self.gateway.lock().clone();
        if let Some(g) = gateway
            && !g.cut(CUT_DEADLINE).await
        {
            tracing::warn!("some gateway calls were still busy when the vault sealed");
        }
    }

    async fn close_connections(&self) {
        self.registry.close_all();
        if !self.registry.idle_closed(IDLE_DEADLINE).await {
            tracing::warn!("some connections were still busy when the vault sealed");
        }
    }

    async fn probe(&self, call: ProbeCall) -> Option<Vec<ProbeStep>> {
        let gateway = self.gateway.lock().clone()?;
        Some(gateway.probe(call).await)
    }

    fn wipe_stacks(&self) {
        // Each worker wipes its own when `close_all` reaches it; this is the caller's.
        secmem::stack::wipe_below(64 * 1024);
    }

    fn fatal(&self, why: &str) {
        tracing::error!(why, "storage failed: sealing and stopping; nothing is acknowledged any more");
        self.fatal.happened.store(true, Ordering::Release);
        self.fatal.notify.notify_waiters();
    }

    fn measure(&self, page: &mut Page) {
        self.process.put(page);
        figures::certificates(page, self.certificates.get().map_or(&[], Vec::as_slice));
        figures::connections(page, &self.registry);
        let gateway = self.gateway.lock().clone();
        if let Some(g) = gateway {
            figures::gateway(page, &g);
        }
    }
}

impl Daemon {
    /// Opens the store, binds every listener and serves, sealed.
    ///
    /// # Errors
    /// The first thing that does not work; nothing is left running.
    pub async fn start(config: &Config, process: Process) -> Result<Daemon, StartError> {
        let shares = Descriptors::of_process(config)?;
        storage::descriptors::hold_back();
        let registry = Registry::new(shares.caps);
        let fatal = Arc::new(Fatal::default());
        let hooks = Arc::new(Seal {
            registry: registry.clone(),
            gateway: parking_lot::Mutex::new(None),
            fatal: fatal.clone(),
            process: figures::Process::starts(),
            certificates: OnceLock::new(),
        });
        let snapshots = config.snapshot.as_ref().map(|s| &s.path);
        for dir in config.storage.path.iter().chain(&config.state_dir).chain(snapshots) {
            private_dir(dir)?;
        }
        for device in &config.audit {
            audit_dir(device)?;
        }
        let core = Core::open(core_config(config, &process, hooks.clone())?).await?;
        let gateway = Arc::new(Gateway::new(Settings {
            dispatch: Arc::new(LocalDispatch(core.clone())),
            mount: GATEWAY_MOUNT.into(),
            system_roots: process.roots,
            caps: shares.calls,
        }));
        *hooks.gateway.lock() = Some(gateway.clone());
        let mut certificates = Vec::new();
        let mut listeners = Vec::new();
        let budget = Budget::default();
        let hosts = Arc::new(own_names(config));
        let mut api_tls = Vec::new();
        let api = |l: &ListenerConfig| {
            let limits = ApiLimits {
                max_request_bytes: l.max_request_bytes,
                body: l.timeouts.body,
                request: l.timeouts.request,
                metrics: l.metrics,
            };
            Api::new(Arc::new(CoreHandle(core.clone())), limits, budget.clone(), hosts.clone())
        };
        for l in &config.listeners {
            let api = api(l);
            let handler = Arc::new(ApiOrGateway { api, gateway: gateway.clone() });
            let listener = bind(l, Door::Api, handler, config.workers, &process.arena, &mut certificates)?;
            if listener.sockets.address().is_some() {
                api_tls.push(listener.tls.is_some());
            }
            listeners.push(listener);
        }
        if let Some(l) = &config.gateway {
            let handler = Arc::new(DataPlane { gateway, api: api(l), metrics: l.metrics });
            let door = Door::Gateway;
            listeners.push(bind(l, door, handler, config.workers, &process.arena, &mut certificates)?);
        }
        hooks.certificates.set(certificates).ok();
        let server = Server::start(listeners, registry, config.workers)?;
        let addresses = server.addresses().to_vec();
        let (api, rest) = addresses.split_at(api_tls.len().min(addresses.len()));
        Ok(Daemon { api: api.to_vec(), gateway: rest.first().copied(), api_tls, core, server, fatal, hooks })
    }

    /// The one line on standard output that tells scripts and tests where the daemon listens:
    /// `vaultd ready: api=https://127.0.0.1:8200 gateway=https://127.0.0.1:8443`. Printed once,
    /// when every listener is bound.
    pub fn ready_line(&self) -> String {
        let mut line = String::from("vaultd ready:");
        for (address, tls) in self.api.iter().zip(&self.api_tls) {
            let scheme = if *tls { "https" } else { "http" };
            line.push_str(&format!(" api={scheme}://{address}"));
        }
        if let Some(address) = self.gateway {
            line.push_str(&format!(" gateway=https://{address}"));
        }
        line
    }

    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// In a word, for the service manager.
    pub fn state(&self) -> String {
        let sealed = CoreHandle(self.core.clone()).sealed();
        if sealed { "sealed" } else { "unsealed" }.to_owned()
    }

    /// SIGHUP: certificates and audit files are read anew; what does not load stays as it was.
    pub fn reload(&self) {
        for Certificate { tls, .. } in self.hooks.certificates.get().into_iter().flatten() {
            match tls.reload() {
                Ok(()) => {
                    tracing::info!(cert = %tls.files().cert.display(), "certificate reloaded");
                    warn_of_expiry(tls);
                }
                Err(e) => tracing::error!(error = %e, "certificate was not reloaded, the old one stays"),
            }
        }
        self.core.reopen_audit();
    }

    /// Resolves when storage has failed for good.
    pub async fn failed(&self) {
        loop {
            let told = self.fatal.notify.notified();
            if self.fatal.happened.load(Ordering::Acquire) {
                return;
            }
            told.await;
        }
    }

    /// Stops serving, lets requests in flight finish, seals. `false` when something was cut.
    pub async fn stop(self) -> bool {
        // What is still under way then is on record as cut by us, not as left by its caller.
        let cut = async {
            tokio::time::sleep(DRAIN_DEADLINE.saturating_sub(CUT_DEADLINE)).await;
            let calls = self.hooks.gateway.lock().as_ref().map_or(0, |g| g.figures().calls);
            if calls > 0 {
                tracing::warn!(calls, "gateway calls are cut: they outlasted the stop's grace");
            }
            self.hooks.cut_streams().await;
            std::future::pending::<()>().await
        };
        let clean = tokio::select! {
            clean = self.server.stop(DRAIN_DEADLINE) => clean,
            () = cut => false,
        };
        self.core.shutdown().await;
        // The gateway holds the core and the core this: let go, so that the store is closed in order.
        self.hooks.gateway.lock().take();
        clean
    }
}

/// An expired certificate is served all the same: clients that check nothing, and the operator, still come in.
fn warn_of_expiry(tls: &ServerTls) {
    let Some(end) = tls.expires() else { return };
    let (cert, left) = (tls.files().cert.display(), SystemClock.now().until(end));
    if left.is_zero() {
        tracing::error!(%cert, expired = end.rfc3339(), "the certificate has expired: clients refuse it; replace it and send SIGHUP");
    } else if left < CERTIFICATE_WARNING {
        tracing::warn!(%cert, expires = end.rfc3339(), "the certificate expires soon");
    }
}

/// What the vault is called: `api_addr`, `allowed_hosts`, and the names of its certificates.
fn own_names(config: &Config) -> Hosts {
    let files = config.listeners.iter().chain(&config.gateway).filter_map(|l| l.tls.as_ref());
    let chains = files.filter_map(|f| crate::tls::certificates(&f.cert).ok());
    let facts = chains.filter_map(|chain| chain.first().and_then(|leaf| crate::certificate::read(leaf)));
    Hosts::new(config.hosts.iter().cloned().chain(facts.flat_map(|f| f.names)))
}

/// A device whose directory is missing would only be noticed at the last share of an unseal.
fn audit_dir(device: &AuditConfig) -> Result<(), StartError> {
    let file = device.options.get("file_path").map(Path::new).filter(|f| f.is_absolute());
    let Some(dir) = file.and_then(Path::parent) else {
        return Ok(());
    };
    match std::fs::metadata(dir) {
        Ok(m) if m.is_dir() => Ok(()),
        Ok(_) => Err(std::io::ErrorKind::NotADirectory.into()),
        Err(e) => Err(e),
    }
    .map_err(|source| StartError::AuditDirectory {
        device: device.name.clone(),
        dir: dir.to_owned(),
        source,
    })
}

/// Makes a directory that only this user can enter; one that exists is left as it is.
fn private_dir(dir: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| StartError::Directory { dir: dir.to_owned(), source })
}

fn bind(
    config: &ListenerConfig,
    door: Door,
    handler: Arc<dyn Handler>,
    workers: usize,
    arena: &Arena,
    certificates: &mut Vec<Certificate>,
) -> Result<Listener, StartError> {
    let tls = match &config.tls {
        None => None,
        Some(files) => Some(Arc::new(ServerTls::load(files.clone(), arena.clone())?)),
    };
    let sockets = BoundSockets::bind(&config.bind, workers)?;
    if let Some(tls) = &tls {
        warn_of_expiry(tls);
        let listener = if door == Door::Gateway { "gateway" } else { "api" };
        certificates.push(Certificate { listener, address: sockets.address(), tls: tls.clone() });
    }
    Ok(Listener { sockets, door, tls, handler, timeouts: config.timeouts })
}

fn core_config(config: &Config, process: &Process, hooks: Arc<Seal>) -> Result<CoreConfig, AuditError> {
    let devices = config
        .audit
        .iter()
        .map(|a| DeviceConfig::parse(Origin::File, &a.name, &a.kind, &a.description, &a.options))
        .collect::<Result<_, _>>()?;
    let mut report = process.report.clone();
    report.warnings.extend(config.dangers.iter().map(|d| format!("{d} is set")));
    Ok(CoreConfig {
        store: store_config(config),
        arena: process.arena.clone(),
        clock: Arc::new(SystemClock),
        factories: vault_engines::factories(),
        egress: process.egress.clone(),
        ttl: SystemTtl { default: config.default_lease_ttl, max: config.max_lease_ttl },
        audit_devices: devices,
        audit_dirs: config.audit_dirs.clone(),
        own_places: config.own_places(),
        audit_head: config.audit_head.clone(),
        allow_remote_init: config.allow_remote_init,
        version: config.reported_version.clone().unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        snapshots: config.snapshot.as_ref().map(|s| SnapshotConfig {
            dir: s.path.clone(),
            interval: s.interval,
            retain: s.retain,
        }),
        cluster_name: config.cluster_name.clone(),
        process: report,
        hooks,
    })
}
