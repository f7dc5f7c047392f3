//! The core in both of its states. What only exists while unsealed lives in [`Unsealed`], so
//! that a sealed core has no keyring, token or mount to misuse.

use crate::audit::{DeviceConfig, SealedRing};
use crate::exchange::{Exchange, Incoming, Reply, ReplyBody, Verb};
use crate::limits::OPEN_SCRAPE_AGE;
use crate::metrics::{Asked, Collector, Format};
use crate::mounts::SystemTtl;
use crate::seal::Progress;
use crate::snapshots::{SnapshotConfig, SnapshotFigures, Snapshots};
use crate::unsealed::Unsealed;
use crate::{ceremony, fault, status};
use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use secmem::Arena;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use storage::{SealedStore, StoreConfig};
use vault_logical::{Clock, Egress, Error, Factory, ProbeCall, ProbeStep, RawBody};
use vault_metrics::Page;

/// What the daemon does for the core when it seals or fails.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Ends every gateway call and closes every upstream connection, within a bound.
    async fn cut_streams(&self);
    /// Closes every client's connection; answers in flight may finish.
    async fn close_connections(&self);
    /// Wipes the stacks of the worker threads below their current frame.
    fn wipe_stacks(&self);
    /// Makes one call of a service step by step; `None` where there is no gateway.
    async fn probe(&self, _call: ProbeCall) -> Option<Vec<ProbeStep>> {
        None
    }
    /// Storage failed for good: the vault is sealed, the process must end.
    fn fatal(&self, why: &str);
    /// Puts what is known of the process and its network beside what the core counts.
    fn measure(&self, page: &mut Page) {
        let _ = page;
    }
}

/// A page as it is given to many.
pub type Scraped = Arc<RawBody>;

/// Facts about the process that seal-status shows.
#[derive(Clone, Debug, Default)]
pub struct ProcessReport {
    /// `memfd_secret`, `mlock`, `none`
    pub key_memory: String,
    /// `all`, `keys`, `none`
    pub locked: String,
    /// Every `danger_` setting in force, and what else an operator should know.
    pub warnings: Vec<String>,
}

/// The audit's heads in a file of their own, apart from the logs.
#[derive(Clone, Debug)]
pub struct HeadExport {
    pub file: PathBuf,
    pub interval: std::time::Duration,
    /// Held while it is written.
    pub(crate) turn: Arc<parking_lot::Mutex<()>>,
}

impl HeadExport {
    /// To an absolute path, every `interval` and at seal.
    pub fn new(file: PathBuf, interval: std::time::Duration) -> Self {
        HeadExport { file, interval, turn: Arc::default() }
    }
}

pub struct CoreConfig {
    pub store: StoreConfig,
    pub arena: Arena,
    pub clock: Arc<dyn Clock>,
    pub factories: &'static [Factory],
    pub egress: Arc<dyn Egress>,
    pub ttl: SystemTtl,
    /// Devices of the server config, opened before those enabled through the API.
    pub audit_devices: Vec<DeviceConfig>,
    pub audit_dirs: Vec<PathBuf>,
    /// Where the daemon's own files lie: never a place for an audit file.
    pub own_places: Vec<PathBuf>,
    /// Where and how often the audit's heads are exported to.
    pub audit_head: Option<HeadExport>,
    /// Accept `sys/init` from addresses other than loopback and the unix socket.
    pub allow_remote_init: bool,
    /// What health and seal-status report.
    pub version: String,
    /// Where snapshots lie and when they are taken.
    pub snapshots: Option<SnapshotConfig>,
    pub cluster_name: String,
    pub process: ProcessReport,
    pub hooks: Arc<dyn Hooks>,
}

pub struct Core {
    pub(crate) config: CoreConfig,
    pub(crate) store: SealedStore,
    pub(crate) unsealed: ArcSwapOption<Unsealed>,
    /// Init and unseal run one at a time.
    pub(crate) ceremony: tokio::sync::Mutex<Progress>,
    /// Attempts made while sealed; the first records after unseal.
    pub(crate) ring: Arc<SealedRing>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) collector: Arc<Collector>,
    /// The last page that was given to somebody without a token, in each form.
    scraped: tokio::sync::Mutex<[Option<(Instant, Scraped)>; 2]>,
}

impl Core {
    /// Opens the store; the core starts sealed (or uninitialised).
    ///
    /// # Errors
    /// The store cannot be opened, is foreign, or its anchor says that it is not the last one.
    pub async fn open(config: CoreConfig) -> Result<Arc<Core>, storage::Error> {
        let clock = config.clock.clone();
        let store = SealedStore::open(
            config.store.clone(),
            config.arena.clone(),
            Arc::new(move || clock.now().unix_nanos()),
        )
        .await?;
        let data = Some(config.store.path.as_path()).filter(|p| !p.as_os_str().is_empty());
        let snapshots = Arc::new(Snapshots::new(config.snapshots.clone(), data));
        let collector = Arc::new(Collector {
            metrics: Arc::default(),
            store: store.clone(),
            snapshots: snapshots.clone(),
            clock: config.clock.clone(),
            hooks: config.hooks.clone(),
        });
        Ok(Arc::new(Core {
            snapshots,
            collector,
            scraped: tokio::sync::Mutex::default(),
            config,
            store,
            unsealed: ArcSwapOption::empty(),
            ceremony: tokio::sync::Mutex::new(Progress::default()),
            ring: Arc::default(),
        }))
    }

    /// What the server counts of itself, for somebody without a token: sealed or not. However many ask, it is put
    /// together every so often only.
    pub async fn scrape(&self, format: Format) -> Scraped {
        let mut kept = self.scraped.lock().await;
        let [text, json] = &mut *kept;
        let slot = if format == Format::Text { text } else { json };
        match slot {
            Some((at, scraped)) if at.elapsed() < OPEN_SCRAPE_AGE => scraped.clone(),
            _ => {
                let unsealed = self.unsealed();
                let scraped: Scraped = Arc::new(self.collector.body(format, unsealed.as_deref()).await);
                *slot = Some((Instant::now(), scraped.clone()));
                scraped
            }
        }
    }

    /// How snapshots went.
    pub fn snapshot_figures(&self) -> SnapshotFigures {
        self.snapshots.figures()
    }

    /// The running vault, if it is unsealed.
    pub fn unsealed(&self) -> Option<Arc<Unsealed>> {
        self.unsealed.load_full()
    }

    /// Seals: no request is served from here on, then devices are closed, the store drained,
    /// the keys wiped and every connection closed. Idempotent.
    pub async fn seal(&self) {
        let Some(core) = self.unsealed.swap(None) else { return };
        tracing::info!("sealing");
        // While the devices still take their completion records.
        self.config.hooks.cut_streams().await;
        core.stop().await;
        drop(core);
        // A restore may have been put up meanwhile.
        self.store.reexamine().await;
        self.config.hooks.close_connections().await;
        self.config.hooks.wipe_stacks();
        tracing::info!("sealed");
    }

    /// Reopens audit files after they were moved away. Nobody waits for their disks.
    pub fn reopen_audit(&self) {
        if let Some(core) = self.unsealed() {
            tokio::spawn(async move {
                match core.audit.reopen().await {
                    Ok(()) => tracing::info!("audit files reopened"),
                    Err(e) => tracing::error!(error = %e, "audit files were not reopened"),
                }
            });
        }
    }

    /// Ends the process's use of the store.
    pub async fn shutdown(&self) {
        self.seal().await;
        if let Err(e) = self.store.close().await {
            tracing::warn!(error = %e, "the store was not closed in order; the next start replays its journal");
        }
    }
}

#[async_trait]
impl Exchange for CoreHandle {
    async fn handle(&self, incoming: Incoming) -> Reply {
        let requests = &self.0.collector.metrics.requests;
        let _under_way = requests.in_flight.hold();
        let started = Instant::now();
        let (reply, asked) = self.serve(incoming).await;
        requests.answered(asked, &reply, started.elapsed());
        reply
    }

    async fn scrape(&self, format: Format) -> Option<Scraped> {
        Some(self.0.scrape(format).await)
    }

    fn sealed(&self) -> bool {
        self.0.unsealed.load().is_none()
    }
}

/// The core as the listener holds it.
#[derive(Clone)]
pub struct CoreHandle(pub Arc<Core>);

pub(crate) fn refused(request_id: vault_logical::RequestId, e: Error) -> Reply {
    Reply { request_id, body: ReplyBody::Error(e), close: false }
}

impl CoreHandle {
    async fn serve(&self, incoming: Incoming) -> (Reply, Asked) {
        let (id, verb) = (incoming.id, incoming.verb);
        if let Some(reply) = self.0.without_token(&incoming).await {
            return (reply, Asked::open(verb));
        }
        let Some(core) = self.0.unsealed() else {
            return (refused(id, fault::sealed()), Asked::sealed(verb));
        };
        let (reply, seal, asked) = core.serve(incoming).await;
        if seal {
            self.0.seal().await;
        }
        (reply, asked)
    }

    pub fn core(&self) -> &Arc<Core> {
        &self.0
    }
}

impl Core {
    /// The short closed list of routes that need no token and work while sealed.
    async fn without_token(self: &Arc<Self>, r: &Incoming) -> Option<Reply> {
        let (status, json, close) = match (r.verb, r.path.as_str()) {
            (Verb::Read, "sys/health") => status::health(self, &r.data),
            (Verb::Read, "sys/seal-status") => (200, status::seal_status(self).await, false),
            (Verb::Read, "sys/leader") => (200, status::leader(self), false),
            (Verb::Read, "sys/init") => (200, status::init(self), false),
            (Verb::Write, "sys/init") => return Some(ceremony::reply(r.id, ceremony::init(self, r).await)),
            (Verb::Write | Verb::Delete, "sys/storage/snapshot/restore")
                if self.unsealed.load().is_none() =>
            {
                return Some(ceremony::reply(r.id, ceremony::restore(self, r).await));
            }
            (Verb::Write, "sys/unseal") => {
                return Some(ceremony::reply(r.id, ceremony::unseal(self, r).await));
            }
            _ => return None,
        };
        Some(Reply { request_id: r.id, body: ReplyBody::Bare { status, json }, close })
    }
}
