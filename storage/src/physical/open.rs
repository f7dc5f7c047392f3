//! From configuration to backend.

use super::embedded::{self, Layout, Side};
use super::memory::Memory;
use super::redb::{Redb, RedbOpener};
use super::sled::{Sled, SledOpener};
use super::{Error, Physical, Result, Seq};
use crate::config::{Backend, StoreConfig};
use std::sync::Arc;

/// Opens the store that `cfg` names, created if there is none. Takes as long as replaying the
/// journal does; fails with [`Error::Locked`] while another process (or handle) has it open.
pub async fn open_physical(cfg: &StoreConfig) -> Result<Arc<dyn Physical>> {
    let mut cfg = cfg.clone();
    blocking(move || {
        cfg.path = super::home::of(&cfg.path)?;
        Ok(match cfg.backend {
            Backend::Sled => Arc::new(Sled::open(&cfg.path, &cfg.journal)?) as Arc<dyn Physical>,
            Backend::Redb => Arc::new(Redb::open(&cfg.path, &cfg.journal)?),
            Backend::Memory => Arc::new(Memory::new()),
        })
    })
    .await
}

/// What a migration copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub records: u64,
    /// Of keys and values.
    pub bytes: u64,
    pub seq: Seq,
}

/// Copies the closed store `from` to `to`, revisions, sequence and unreleased riders included,
/// and compares the two. Afterwards, and while it is unfinished, `from` cannot be opened. Told
/// the number of records copied now and then, `go_on` may stop it; run again, it goes on.
pub async fn migrate(
    from: &StoreConfig,
    to: &StoreConfig,
    go_on: impl Fn(u64) -> bool + Send + 'static,
) -> Result<Moved> {
    let (mut from, to) = (from.clone(), to.clone());
    blocking(move || {
        from.path = super::home::of(&from.path)?;
        let (a, b) = (closed(&from)?, closed(&to)?);
        let config = &from.journal;
        match (from.backend, to.backend) {
            (Backend::Sled, Backend::Sled) => embedded::migrate(sled(a, &from), sled(b, &to), config, &go_on),
            (Backend::Sled, Backend::Redb) => embedded::migrate(sled(a, &from), redb(b, &to), config, &go_on),
            (Backend::Redb, Backend::Sled) => embedded::migrate(redb(a, &from), sled(b, &to), config, &go_on),
            (Backend::Redb, Backend::Redb) => embedded::migrate(redb(a, &from), redb(b, &to), config, &go_on),
            (Backend::Memory, _) | (_, Backend::Memory) => Err(no_files()),
        }
    })
    .await
}

/// What [`check`] says of the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexState {
    /// Nothing was ever written.
    #[default]
    Empty,
    /// At the journal's end, every record readable.
    Current,
    /// The store was not closed in order; the next open brings the index to the journal's end, as was tried on a copy.
    Behind,
}

/// What a structural check found, when it found no damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub seq: Seq,
    pub segments: u64,
    /// Rounds that the journal still holds.
    pub rounds: u64,
    pub riders: u64,
    /// Records in the newest base file.
    pub base_records: u64,
    pub index: IndexState,
    /// Of the index, or of what the next open will make of it.
    pub records: u64,
    pub bytes: u64,
    /// Parts of values that belong to no record: wasted space, no damage.
    pub strays: u64,
}

/// Checks every frame, base file and record of a closed store. Damage is [`Error::Corrupt`].
pub async fn check(cfg: &StoreConfig) -> Result<Checked> {
    let mut cfg = cfg.clone();
    blocking(move || {
        if !cfg.path.exists() {
            return Err(Error::Backend(format!("there is no store at {}", cfg.path.display())));
        }
        cfg.path = super::home::of(&cfg.path)?;
        let layout = closed(&cfg)?;
        match cfg.backend {
            Backend::Sled => embedded::check(&layout, |l| SledOpener::new(l, &cfg.journal)),
            Backend::Redb => embedded::check(&layout, |l| RedbOpener::new(l, &cfg.journal)),
            Backend::Memory => Err(no_files()),
        }
    })
    .await
}

fn closed(cfg: &StoreConfig) -> Result<Layout> {
    match cfg.backend {
        Backend::Memory => Err(no_files()),
        _ => Layout::open_any(&cfg.path, cfg.backend.name()),
    }
}

fn sled(layout: Layout, cfg: &StoreConfig) -> Side<SledOpener> {
    Side { opener: SledOpener::new(&layout, &cfg.journal), layout }
}

fn redb(layout: Layout, cfg: &StoreConfig) -> Side<RedbOpener> {
    Side { opener: RedbOpener::new(&layout, &cfg.journal), layout }
}

fn no_files() -> Error {
    Error::Backend("a store in memory has no files".into())
}

async fn blocking<R: Send + 'static>(f: impl FnOnce() -> Result<R> + Send + 'static) -> Result<R> {
    tokio::task::spawn_blocking(f).await.map_err(|_| Error::Backend("the work was cut off".into()))?
}
