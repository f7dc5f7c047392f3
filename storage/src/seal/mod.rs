//! The sealed store: what can be known and done without the keys, and the two ways to get them, init and unseal.

mod config;
mod init;
mod restore;
mod standing;
#[cfg(test)]
mod tests;
mod unseal;

pub use config::SealConfig;
pub use init::{InitParams, Initialising};
pub use restore::stage_restore;
pub use unseal::{combine, open_head, read_boot};

use crate::anchor::AnchorFile;
use crate::limits::RELEASE_WAIT;
use crate::physical::{self, Physical, home};
use crate::snapshot::Summary;
use crate::{Error, Meters, Store, StoreConfig, StoreFigures, UnsealError};
use parking_lot::{Mutex, RwLock};
use restore::Pending;
use secmem::{Arena, SecretBytes};
use standing::Standing;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// Unix nanoseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What is known of the store without its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealConfigStatus {
    /// Shares have been handed out.
    pub initialized: bool,
    /// How many there are; 0 before init.
    pub shares: u8,
    /// How many open the vault; 0 before init.
    pub threshold: u8,
    /// Nil before init.
    pub store_id: Uuid,
    /// `sled`, `redb`, `memory`.
    pub backend: &'static str,
    /// A snapshot waits to be restored by the next unseal; shares, threshold and id are its.
    pub restore_pending: bool,
    /// Why unsealing needs an explicit acceptance, if it does.
    pub rollback: Option<String>,
    /// The anchor lies on another device than the store: a copy of one does not carry the other.
    pub anchor_on_other_device: bool,
}

struct Inner {
    /// Another one after a restore.
    physical: RwLock<Arc<dyn Physical>>,
    /// Where it lies; `None` when it was not opened by path.
    cfg: Option<StoreConfig>,
    pending: Mutex<Option<Pending>>,
    anchor: AnchorFile,
    arena: Arena,
    clock: Clock,
    meters: Arc<Meters>,
    /// Of the initialised vault; an unsealed store updates it when the shares change.
    config: Arc<RwLock<Option<SealConfig>>>,
    standing: Mutex<Standing>,
    anchor_on_other_device: bool,
    /// The right to be the only unsealed store.
    place: Arc<Semaphore>,
}

/// A store without its keys. Clones share it.
#[derive(Clone)]
pub struct SealedStore {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for SealedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedStore").field("standing", &*self.inner.standing.lock()).finish_non_exhaustive()
    }
}

impl SealedStore {
    /// Opens the backend and the anchor. Fails when they do not belong together: starting would hide a loss.
    pub async fn open(cfg: StoreConfig, arena: Arena, clock: Clock) -> Result<SealedStore, Error> {
        let pending = restore::whole_pending(&cfg).await?;
        let physical = match crate::open_physical(&cfg).await {
            // What is there is about to be replaced, so it need not open.
            Err(physical::Error::Corrupt(why)) if pending.is_some() => {
                tracing::warn!(why, "the present store does not open; a snapshot waits to be restored");
                Arc::new(physical::memory::Memory::new()) as Arc<dyn Physical>
            }
            opened => opened?,
        };
        let store: Option<PathBuf> = (!cfg.path.as_os_str().is_empty()).then(|| cfg.path.clone());
        let state_dir = cfg.state_dir.clone();
        let cfg = store.is_some().then_some(cfg);
        SealedStore::make(physical, store.as_deref(), &state_dir, arena, clock, (cfg, pending)).await
    }

    /// As [`open`](Self::open), over a backend that is open already. `path`: where it lies, if it is on a disk.
    pub async fn over(
        physical: Arc<dyn Physical>,
        path: Option<&Path>,
        state_dir: &Path,
        arena: Arena,
        clock: Clock,
    ) -> Result<SealedStore, Error> {
        SealedStore::make(physical, path, state_dir, arena, clock, (None, None)).await
    }

    async fn make(
        physical: Arc<dyn Physical>,
        path: Option<&Path>,
        state_dir: &Path,
        arena: Arena,
        clock: Clock,
        (cfg, pending): (Option<StoreConfig>, Option<Pending>),
    ) -> Result<SealedStore, Error> {
        let anchor = AnchorFile::in_dir(state_dir);
        let device = |path: &Path| std::fs::metadata(path).ok().map(|m| m.dev());
        let anchor_on_other_device = path.is_some_and(|path| device(path) != device(state_dir));
        let inner = Inner {
            physical: RwLock::new(physical),
            cfg,
            pending: Mutex::new(pending),
            anchor,
            arena,
            clock,
            meters: Arc::default(),
            config: Arc::new(RwLock::new(None)),
            standing: Mutex::new(Standing::Uninitialised),
            anchor_on_other_device,
            place: Arc::new(Semaphore::new(1)),
        };
        inner.examine().await?;
        Ok(SealedStore { inner: Arc::new(inner) })
    }

    /// What can be said without keys.
    #[must_use]
    pub fn status(&self) -> SealConfigStatus {
        let config = self.inner.config.read();
        let standing = self.inner.standing.lock();
        let config = config.as_ref().filter(|_| standing.is_initialised());
        SealConfigStatus {
            initialized: standing.is_initialised(),
            shares: config.map_or(0, |c| c.shares),
            threshold: config.map_or(0, |c| c.threshold),
            store_id: config.and_then(|c| c.store_id().ok()).unwrap_or_default(),
            backend: self.inner.physical().backend(),
            restore_pending: self.inner.pending.lock().is_some(),
            rollback: standing.rollback().map(str::to_owned),
            anchor_on_other_device: self.inner.anchor_on_other_device,
        }
    }

    /// What was counted since the process started.
    #[must_use]
    pub fn meters(&self) -> &Arc<Meters> {
        &self.inner.meters
    }

    /// What the disk holds; looks at it, off the async threads.
    pub async fn figures(&self) -> StoreFigures {
        StoreFigures { physical: self.inner.physical().figures().await }
    }

    /// Makes a new vault, open for its first records. Nothing of it counts before [`Initialising::finish`].
    pub async fn begin_init(&self, p: InitParams) -> Result<Initialising, Error> {
        init::begin(self.clone(), p).await
    }

    /// Whether this is one of the vault's shares; says nothing about the others.
    #[must_use]
    pub fn share_known(&self, share: &[u8]) -> bool {
        self.inner.standing.lock().is_initialised()
            && self.inner.config.read().as_ref().is_some_and(|config| config.knows(share))
    }

    /// Opens the vault: checks the head, then every record against it. The shares are the caller's to wipe.
    ///
    /// `accept_rollback`: open even an older store or one without its anchor; its epoch is raised then, see
    /// [`Store::epoch_raised`].
    pub async fn unseal(&self, shares: &[SecretBytes], accept_rollback: bool) -> Result<Store, UnsealError> {
        unseal::unseal(&self.inner, shares, accept_rollback).await
    }

    #[cfg(test)]
    pub(crate) fn anchor_file(&self) -> &AnchorFile {
        &self.inner.anchor
    }

    /// Waits until no store of this one is left.
    #[cfg(test)]
    pub(crate) async fn released(&self) {
        drop(self.inner.place.acquire().await.unwrap());
    }

    /// Syncs and lets go of the files, once no store of this one is open any more. Every later call fails.
    pub async fn close(&self) -> Result<(), Error> {
        let _place = self.inner.take_place().await?;
        Ok(self.inner.physical().close().await?)
    }

    /// Puts a snapshot up to be restored by the next unseal, once it was found whole and of this vault (or the vault is
    /// empty). `dry_run`: only looks. A store that is open goes on as it is until it is sealed.
    ///
    /// # Errors
    /// The file is damaged or of another vault; there is no directory to restore to.
    pub async fn stage_restore(&self, from: &Path, dry_run: bool) -> Result<Summary, Error> {
        let cfg = self.inner.cfg.clone();
        let cfg = cfg.ok_or_else(|| Error::Mismatch("a store in memory cannot be restored".into()))?;
        let present = restore::store_id(&*self.inner.physical()).await?;
        let summary = restore::check(&cfg, from, present).await?;
        if dry_run {
            return Ok(summary);
        }
        let summary = restore::put(&cfg, from).await?;
        *self.inner.pending.lock() = restore::pending(&cfg).await?;
        self.reexamine().await;
        Ok(summary)
    }

    /// Looks again at what lies on the disk, unless a store is open.
    pub async fn reexamine(&self) {
        if let Ok(_place) = self.inner.place.clone().try_acquire_owned()
            && let Err(e) = self.inner.examine().await
        {
            tracing::warn!(error = %e, "store and anchor cannot be looked at");
        }
    }

    /// Gives up a restore that waits; false when none did.
    ///
    /// # Errors
    /// The file cannot be removed, or without it store and anchor do not belong together.
    pub async fn cancel_restore(&self) -> Result<bool, Error> {
        let Some(cfg) = &self.inner.cfg else { return Ok(false) };
        let _place = self.inner.take_place().await?;
        let there = restore::withdraw(cfg)?;
        self.inner.forget_pending().await?;
        Ok(there)
    }

    /// The backend below, for checks and copies while sealed.
    #[must_use]
    pub fn physical(&self) -> Arc<dyn Physical> {
        self.inner.physical()
    }
}

impl Inner {
    /// Waits a little for an earlier store to end; a store that is open refuses.
    async fn take_place(&self) -> Result<OwnedSemaphorePermit, Error> {
        match tokio::time::timeout(RELEASE_WAIT, self.place.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Error::AlreadyOpen),
        }
    }

    fn physical(&self) -> Arc<dyn Physical> {
        self.physical.read().clone()
    }

    async fn forget_pending(&self) -> Result<(), Error> {
        *self.pending.lock() = None;
        self.examine().await.map(drop)
    }

    /// The store was opened and all of it checked: what a restore replaced is no longer needed.
    fn proven(&self) {
        if let Some(cfg) = &self.cfg
            && let Err(e) = home::proven(&cfg.path)
        {
            tracing::warn!(error = %e, "what a restore replaced was not removed");
        }
    }

    /// Looks at store and anchor again.
    async fn examine(&self) -> Result<Standing, Error> {
        let pending = self.pending.lock().clone();
        let (standing, config) = match pending {
            Some(p) => (Standing::Sealed { rollback: Some(p.what) }, Some(p.config)),
            None => {
                let (standing, config) = standing::examine(&*self.physical(), &self.anchor).await?;
                (self.unproven(standing)?, config)
            }
        };
        *self.standing.lock() = standing.clone();
        *self.config.write() = config;
        Ok(standing)
    }
}

impl Inner {
    /// A restore that was cut before the restored store was opened still needs its acceptance: tokens are revoked by it.
    fn unproven(&self, standing: Standing) -> Result<Standing, Error> {
        let Some(cfg) = &self.cfg else { return Ok(standing) };
        if standing == (Standing::Sealed { rollback: None }) && home::is_unproven(&cfg.path)? {
            let why = "the store was restored from a snapshot and not opened since".to_owned();
            return Ok(Standing::Sealed { rollback: Some(why) });
        }
        Ok(standing)
    }
}

/// Closes a scope of keys unless told to keep it: no way out of init or unseal leaves keys behind.
struct Keys {
    scope: Option<Arena>,
}

impl Keys {
    fn new(arena: &Arena) -> (Keys, Arena) {
        let scope = arena.scope();
        (Keys { scope: Some(scope.clone()) }, scope)
    }

    fn keep(mut self) {
        self.scope = None;
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(scope) = self.scope.take() {
            scope.close();
        }
    }
}
