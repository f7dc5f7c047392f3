//! From configuration to backend.

use super::memory::Memory;
use super::redb::Redb;
use super::sled::Sled;
use super::{Error, Physical, Result};
use crate::config::{Backend, StoreConfig};
use std::sync::Arc;

/// Opens the store that `cfg` names, created if there is none. Takes as long as replaying the
/// journal does; fails with [`Error::Locked`] while another process (or handle) has it open.
pub async fn open_physical(cfg: &StoreConfig) -> Result<Arc<dyn Physical>> {
    let cfg = cfg.clone();
    let open = move || -> Result<Arc<dyn Physical>> {
        Ok(match cfg.backend {
            Backend::Sled => Arc::new(Sled::open(&cfg.path, &cfg.journal)?),
            Backend::Redb => Arc::new(Redb::open(&cfg.path, &cfg.journal)?),
            Backend::Memory => Arc::new(Memory::new()),
        })
    };
    tokio::task::spawn_blocking(open).await.map_err(|_| Error::Backend("opening was cut off".into()))?
}
