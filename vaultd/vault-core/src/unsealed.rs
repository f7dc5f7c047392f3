//! The vault while it is unsealed: store, keys, tokens, policies, mounts and devices. Dropping
//! it is not enough to forget the keys: [`Unsealed::stop`] wipes them in place.

use crate::audit::{Audit, Settings};
use crate::charge::ChargeLocks;
use crate::core::{Core, HeadExport, Hooks};
use crate::devices;
use crate::dispatch::{Directories, InvokeCache};
use crate::limits::{SEAL_STEP, SNAPSHOT_TICK, SWEEP_INTERVAL, USAGE_INTERVAL};
use crate::metrics::Collector;
use crate::mounts::{Mounts, SystemTtl};
use crate::pipeline::NoReader;
use crate::policies::Policies;
use crate::snapshots::Snapshots;
use crate::sys::generate_root::Attempt;
use crate::sys::rekey::Rekey;
use crate::token::{ACCESSORS, TokenStore, TtlDefaults};
use crate::view::MountView;
use crate::{fault, sys};
use parking_lot::Mutex;
use std::sync::Arc;
use storage::{Changed, KeyName, Partition, SealConfigStatus, SealedStore, Space, Store};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use vault_logical::{Clock, LogGate, Result};

pub struct Unsealed {
    pub store: Store,
    pub(crate) sealed_store: SealedStore,
    pub clock: Arc<dyn Clock>,
    pub arena: secmem::Arena,
    pub tokens: TokenStore,
    pub policies: Policies,
    pub mounts: Mounts,
    pub audit: Audit,
    pub(crate) charges: ChargeLocks,
    pub(crate) rekey: tokio::sync::Mutex<Option<Rekey>>,
    pub(crate) generate_root: tokio::sync::Mutex<Option<Attempt>>,
    pub(crate) invoke: InvokeCache,
    head_export: Option<HeadExport>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) directories: Directories,
    pub(crate) hooks: Arc<dyn Hooks>,
    /// Bounds what refused requests write to the log.
    pub(crate) refusals: LogGate,
    pub(crate) collector: Arc<Collector>,
    jobs: Mutex<Vec<AbortHandle>>,
    /// Devices are enabled and disabled one at a time.
    pub(crate) device_changes: tokio::sync::Mutex<()>,
}

/// The key that hashes token ids and accessors.
pub async fn token_key(store: &Store) -> Result<secmem::Key> {
    store.ensure_key(&KeyName::Token).await.map_err(fault::storage)
}

impl Unsealed {
    /// Brings everything up in fixed order: audit, policies, tokens, mounts. Nothing is served
    /// before all of it stands.
    pub(crate) async fn start(core: &Core, store: Store) -> Result<Arc<Unsealed>> {
        let config = &core.config;
        let signing = store.ensure_key(&KeyName::AuditSigning).await.map_err(fault::storage)?;
        let settings = Settings {
            audit_dirs: config.audit_dirs.clone(),
            own_places: config.own_places.clone(),
            meters: core.collector.metrics.audit.clone(),
        };
        let audit = Audit::start(settings, signing, config.clock.clone())?;
        devices::bring_up(&store, &audit, &config.audit_devices).await?;
        if let Err(e) = audit.drain_sealed(&core.ring).await {
            tracing::error!(error = %e, "no audit device takes records: requests are refused until one does (GET sys/audit over the operator's unix socket says why)");
        }
        let ttl = config.ttl;
        let unsealed = Arc::new(Unsealed {
            tokens: tokens(&store, config.clock.clone(), ttl).await?,
            policies: Policies::new(store.clone()),
            mounts: Mounts::new(store.clone(), config.factories, config.egress.clone(), ttl),
            sealed_store: core.store.clone(),
            clock: config.clock.clone(),
            arena: config.arena.scope(),
            audit,
            charges: ChargeLocks::default(),
            rekey: tokio::sync::Mutex::new(None),
            generate_root: tokio::sync::Mutex::new(None),
            invoke: InvokeCache::default(),
            head_export: config.audit_head.clone(),
            snapshots: core.snapshots.clone(),
            directories: Directories::default(),
            hooks: config.hooks.clone(),
            refusals: LogGate::default(),
            collector: core.collector.clone(),
            jobs: Mutex::new(Vec::new()),
            device_changes: tokio::sync::Mutex::new(()),
            store,
        });
        unsealed.subscribe(config.hooks.clone());
        unsealed.mounts.refresh().await?;
        let mounts = Arc::downgrade(&unsealed);
        unsealed.tokens.set_issuers(Box::new(move |path, created| {
            mounts.upgrade().is_some_and(|u| u.mounts.issuer_lives(path, created))
        }));
        let mounts = Arc::downgrade(&unsealed);
        unsealed.tokens.set_mount_ttl(Box::new(move || {
            let ttl = mounts.upgrade()?.mounts.token_ttl();
            Some(TtlDefaults { default_ttl: ttl.default, max_ttl: ttl.max })
        }));
        if let Some(m) = unsealed.mounts.at("cubbyhole/") {
            unsealed.tokens.set_cubbyhole(m.space);
        }
        if unsealed.store.epoch_raised() {
            tracing::warn!("the store was rolled back and accepted: revoking every token");
            unsealed.tokens.revoke_all().await?;
            unsealed.settle_engines().await?;
            unsealed.store.settle_epoch().await.map_err(fault::storage)?;
        }
        Ok(unsealed)
    }

    /// Every engine ends what must not go backwards, such as the codes that it has seen.
    async fn settle_engines(&self) -> Result<()> {
        for m in self.mounts.all() {
            let mut txn = self.store.begin();
            let mut view = MountView::new(&mut txn, m.space);
            m.engine.rolled_back(&mut self.context(&mut view, &m, &NoReader)).await?;
            txn.commit().await.map_err(fault::commit)?;
        }
        Ok(())
    }

    /// Caches hear of every change before its commit is acknowledged.
    fn subscribe(self: &Arc<Self>, hooks: Arc<dyn Hooks>) {
        let weak = Arc::downgrade(self);
        self.store.on_change(Arc::new(move |seq, changes| {
            if let Some(u) = weak.upgrade() {
                changes.iter().for_each(|c| u.changed(seq, c));
            }
        }));
        self.store.on_fatal(Arc::new(move |why| hooks.fatal(why)));
    }

    fn changed(&self, seq: u64, change: &Changed) {
        if change.space == Space::core() && change.path.starts_with(ACCESSORS) {
            let m = &self.collector.metrics;
            if change.deleted { m.tokens_removed.one() } else { m.tokens_created.one() }
        }
        match change.space.partition {
            Partition::Core => match change.path.split_once('/') {
                Some(("token", _)) => self.tokens.invalidate(&change.path, seq),
                Some(("policy", _)) => self.policies.invalidate(),
                Some(("builtin", _)) => self.mounts.invalidate(),
                Some(("mount", _)) => {
                    self.mounts.invalidate();
                    match change.path.rsplit_once('/').and_then(|(_, id)| id.parse().ok()) {
                        Some(mount) => self.invoke.forget_mount(mount),
                        None => self.invoke.clear(),
                    }
                    self.directories.clear();
                }
                _ => {}
            },
            Partition::Mount(uuid) => {
                self.mounts.invalidate_record(uuid, &change.path);
                self.invoke.forget(uuid, &change.path);
                self.directories.forget(uuid, &change.path);
            }
        }
    }

    /// Starts the sweeper: expired tokens, unfinished revocations, mounts being deleted.
    pub(crate) fn spawn_jobs(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let sweeper = tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_INTERVAL).await;
                let Some(u) = weak.upgrade() else { return };
                if let Err(e) = u.sweep().await {
                    tracing::warn!(error = %e, "sweep failed, will be tried again");
                }
            }
        });
        let weak = Arc::downgrade(self);
        let snapshots = tokio::spawn(async move {
            loop {
                tokio::time::sleep(SNAPSHOT_TICK).await;
                let Some(u) = weak.upgrade() else { return };
                if !u.snapshots.is_due(u.clock.now()) {
                    continue;
                }
                match u.snapshots.take(&u.store, &*u.clock).await {
                    Ok(saved) => tracing::info!(path = %saved.path.display(), "snapshot taken"),
                    Err(e) => {
                        tracing::error!(error = %vault_logical::chain(&e), "no snapshot was taken; it will be tried again")
                    }
                }
            }
        });
        let weak = Arc::downgrade(self);
        let usage = tokio::spawn(async move {
            while let Some(u) = weak.upgrade() {
                u.collector.metrics.usage.count(&u).await;
                drop(u);
                tokio::time::sleep(USAGE_INTERVAL).await;
            }
        });
        let jobs = [sweeper.abort_handle(), snapshots.abort_handle(), usage.abort_handle()];
        self.jobs.lock().extend(jobs);
        let Some(export) = self.head_export.clone() else { return };
        let weak = Arc::downgrade(self);
        let exporter = tokio::spawn(async move {
            loop {
                let Some(u) = weak.upgrade() else { return };
                u.export_heads(&export).await;
                drop(u);
                tokio::time::sleep(export.interval).await;
            }
        });
        self.jobs.lock().push(exporter.abort_handle());
    }

    /// One round of the background work, in bounded transactions.
    pub async fn sweep(&self) -> Result<()> {
        loop {
            let swept = self.tokens.sweep(self.clock.now()).await?;
            self.collector.metrics.tokens_expired.add(swept.expired as u64);
            if !swept.more {
                break;
            }
            tokio::task::yield_now().await;
        }
        while self.mounts.purge_step().await? {
            tokio::task::yield_now().await;
        }
        devices::store_heads(&self.store, &self.audit).await
    }

    async fn export_heads(&self, to: &HeadExport) {
        if let Err(e) = devices::export_heads(&self.audit, to).await {
            tracing::error!(error = %e, file = %to.file.display(), "the audit's heads were not exported");
        }
    }

    pub(crate) fn seal_status(&self) -> SealConfigStatus {
        self.sealed_store.status()
    }

    /// Ends the unsealed period: last checkpoints, drain, wipe. Later use answers `Sealed`.
    pub(crate) async fn stop(&self) {
        for job in self.jobs.lock().drain(..) {
            job.abort();
        }
        // Nothing below may keep the keys alive by hanging: every step has a bound.
        if let Ok(mut rekey) = timeout(SEAL_STEP, self.rekey.lock()).await {
            *rekey = None;
        }
        if let Ok(mut attempt) = timeout(SEAL_STEP, self.generate_root.lock()).await {
            *attempt = None;
        }
        let heads = match timeout(SEAL_STEP, self.audit.close()).await {
            Ok(heads) => heads,
            Err(_) => {
                tracing::error!("an audit device hangs: sealing without its last checkpoint");
                Vec::new()
            }
        };
        match timeout(SEAL_STEP, devices::store_given(&self.store, &heads)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(error = %e, "audit heads were not stored at seal"),
            Err(_) => tracing::error!("storage hangs: sealing without storing the audit heads"),
        }
        if let Some(to) = &self.head_export
            && timeout(SEAL_STEP, self.export_heads(to)).await.is_err()
        {
            tracing::error!("the disk for the audit's heads hangs: sealing without exporting them");
        }
        self.invoke.clear();
        self.directories.clear();
        self.tokens.clear();
        self.store.seal().await;
        self.arena.close();
    }

    /// True when `path` (canonical, below `/v1/`) needs `sudo` besides its ordinary capability.
    pub(crate) fn needs_sudo(&self, path: &str) -> bool {
        if let Some(rest) = path.strip_prefix("sys/") {
            return sys::SUDO.iter().any(|p| matches(p, rest));
        }
        if let Some(rest) = path.strip_prefix("auth/token/") {
            return crate::token::SUDO_PATHS.iter().any(|p| matches(p, rest));
        }
        self.mounts
            .route(path)
            .is_some_and(|(m, rest)| m.engine.descriptor().sudo.iter().any(|p| matches(p, rest)))
    }
}

/// `pattern` is exact, or a prefix when it ends in `*`; a trailing slash of `path` (LIST) does not matter.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path.trim_end_matches('/') == pattern,
    }
}

async fn tokens(store: &Store, clock: Arc<dyn Clock>, ttl: SystemTtl) -> Result<TokenStore> {
    let key = token_key(store).await?;
    let defaults = TtlDefaults { default_ttl: ttl.default, max_ttl: ttl.max };
    Ok(TokenStore::new(store.clone(), key, clock, defaults))
}
