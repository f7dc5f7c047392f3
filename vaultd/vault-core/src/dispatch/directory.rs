//! Which services a mount has, so that a name that is none costs no read; and what such a name is
//! decided by: a caller that may not use it is to see, and to wait for, the same as at a service
//! that exists.

use super::{SERVICES, Unsealed};
use crate::limits::MAX_LISTED_SERVICES;
use crate::mounts::Mounted;
use crate::view::MountView;
use parking_lot::RwLock;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;
use vault_logical::{Result, ServiceConfig, View};

/// The services of one mount.
struct Directory {
    names: HashSet<String>,
    /// There are more than were listed.
    cut: bool,
    /// Finds and identifies callers as the mount's first service does, and allows nothing.
    stand_in: Option<Arc<ServiceConfig>>,
}

/// By mount; dropped when one of its services changes.
#[derive(Default)]
pub struct Directories {
    kept: RwLock<HashMap<Uuid, Arc<Directory>>>,
    /// Changes seen: a listing during which there was one is not kept.
    changes: AtomicU64,
}

impl Directories {
    /// A record of a mount changed.
    pub fn forget(&self, mount: Uuid, path: &str) {
        if path.starts_with(SERVICES) {
            self.changes.fetch_add(1, Ordering::AcqRel);
            self.kept.write().remove(&mount);
        }
    }

    /// The mounts themselves changed, or the vault seals.
    pub fn clear(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.kept.write().clear();
    }

    fn keep(&self, mount: Uuid, made: &Arc<Directory>, changes: u64) {
        let mut kept = self.kept.write();
        if self.changes.load(Ordering::Acquire) == changes {
            kept.insert(mount, made.clone());
        }
    }
}

/// What a name leads to.
pub struct Named {
    pub config: Arc<ServiceConfig>,
    pub epoch: u64,
    /// False: `config` only stands in for a service that does not exist.
    pub exists: bool,
}

impl Unsealed {
    /// The service of that name, or its stand-in; `None` in a mount that has no service at all.
    pub(super) async fn named(&self, m: &Mounted, name: &str) -> Result<Option<Named>> {
        let directory = self.directory(m).await?;
        if (directory.cut || directory.names.contains(name))
            && let Some((config, epoch)) = self.service(m, name).await?
        {
            return Ok(Some(Named { config, epoch, exists: true }));
        }
        Ok(directory.stand_in.clone().map(|config| Named { config, epoch: 0, exists: false }))
    }

    async fn directory(&self, m: &Mounted) -> Result<Arc<Directory>> {
        let uuid = m.mount.uuid;
        let kept = self.directories.kept.read().get(&uuid).cloned();
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let changes = self.directories.changes.load(Ordering::Acquire);
        let mut txn = self.store.begin();
        let listed = MountView::new(&mut txn, m.space).list(SERVICES, None, MAX_LISTED_SERVICES).await?;
        let mut stand_in = None;
        if let Some(first) = listed.first()
            && let Some((service, _)) = self.service(m, first).await?
        {
            stand_in = Some(Arc::new(ServiceConfig { allow: Vec::new(), ..(*service).clone() }));
        }
        let cut = listed.len() == MAX_LISTED_SERVICES;
        let made = Arc::new(Directory { names: listed.into_iter().collect(), cut, stand_in });
        self.directories.keep(uuid, &made, changes);
        Ok(made)
    }
}
