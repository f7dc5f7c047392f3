//! Saving: a consistent copy while writes go on, every record of it checked against the head.

use super::file::{Manifest, Summary, Writer};
use crate::head::verify::{Scan, Verify};
use crate::physical::{Key, Record, Snapshot};
use crate::seal::{SealConfig, open_head, read_boot};
use crate::store::Store;
use crate::{Error, worker};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A snapshot that was saved: where, and what is in it.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The file.
    pub path: PathBuf,
    /// What it holds.
    pub summary: Summary,
}

impl Store {
    /// Saves the store as it is now to `path`, whatever is written meanwhile. On return the file is durable, and every
    /// partition in it was found to be what its head says; after an error there is no such file.
    pub async fn save_snapshot(&self, path: &Path) -> Result<Saved, Error> {
        self.shared().check_open()?;
        let frozen = self.shared().physical.snapshot().await?;
        let (store, path) = (self.clone(), path.to_owned());
        worker::apart("storage-snapshot", async move { save(&store, frozen, path).await }).await?
    }
}

async fn save(store: &Store, frozen: Arc<dyn Snapshot>, path: PathBuf) -> Result<Saved, Error> {
    let shared = store.shared();
    let boot = read_boot(&frozen).await?;
    let config = SealConfig::decode(&boot.config)?;
    // After the copy was taken: it knows every term that the copy can name.
    let keyring = shared.keyring.load_full();
    let (head, _) = open_head(&frozen, shared.store_id, &keyring, &boot).await?;
    let manifest = Manifest {
        store_id: shared.store_id.to_string(),
        sequence: head.seq,
        epoch: head.epoch,
        created: (shared.clock)().div_euclid(1_000_000_000),
        shares: config.shares,
        threshold: config.threshold,
        backend: shared.physical.backend().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let tee = Tee { from: frozen, to: Mutex::new(Writer::create(&path, manifest)?) };
    let verify = Verify { source: &tee, store_id: shared.store_id, keyring: &keyring, head: &head };
    verify.run().await?;
    let summary = tee.to.into_inner().finish()?;
    Ok(Saved { path, summary })
}

/// Writes down what the verification reads: so nothing is in the file that was not checked.
struct Tee {
    from: Arc<dyn Snapshot>,
    to: Mutex<Writer>,
}

#[async_trait]
impl Scan for Tee {
    async fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Key, Record)>, Error> {
        let page = self.from.scan(prefix, after, limit).await?;
        // The one pass over everything; the index is read before it, by its prefix.
        if prefix.is_empty() {
            let mut to = self.to.lock();
            for (key, record) in &page {
                to.record(key, &record.value)?;
            }
        }
        Ok(page)
    }
}
