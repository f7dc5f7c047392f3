//! Restoring a snapshot, in two steps: it is put beside the store, and the next unseal, by the quorum and with an
//! explicit acceptance, checks it with its keys and only then puts it in the store's place.

use super::unseal::{open_head, open_keyring, open_master, read_boot};
use super::{Inner, Keys, SealConfig};
use crate::anchor::{AnchorFile, Found};
use crate::head::boot;
use crate::head::verify::{Verify, find};
use crate::limits::{RESTORE_ROUND_BYTES, RESTORE_ROUND_TXNS};
use crate::physical::{self, Fence, MAX_TXN_BYTES, MAX_TXN_OPS, Op, Outcome, Physical, Txn, home};
use crate::snapshot::{FileScan, Reader, Summary, copy_whole, inspect, sync_parent};
use crate::{Backend, Error, StoreConfig, UnsealError, worker};
use secmem::{Arena, SecretBytes};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A snapshot that waits for the quorum.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Where the store and the snapshot lie.
    cfg: StoreConfig,
    file: PathBuf,
    /// Its shares restore it.
    pub config: SealConfig,
    /// What it is, for people.
    pub what: String,
}

fn place(root: &Path) -> PathBuf {
    root.join("restore.snapshot")
}

/// What waits beside the store.
pub async fn pending(cfg: &StoreConfig) -> Result<Option<Pending>, Error> {
    let file = place(&cfg.path);
    if cfg.backend == Backend::Memory || !file.exists() {
        return Ok(None);
    }
    let cfg = cfg.clone();
    worker::apart("storage-restore", async move {
        let m = Reader::open(&file)?.manifest;
        let config = find(&FileScan::new(&file), &boot::config()).await?;
        let config =
            config.ok_or_else(|| Error::Integrity("the snapshot to restore has no seal configuration".into()))?;
        let config = SealConfig::decode(&config)?;
        if config.store_id()?.to_string() != m.store_id {
            return Err(Error::Integrity("the snapshot to restore contradicts itself".into()));
        }
        let what = format!(
            "a snapshot waits to be restored (sequence {}, epoch {}, taken at unix time {}): what was written after it will be lost, and every token is revoked",
            m.sequence, m.epoch, m.created
        );
        Ok(Some(Pending { cfg, file, config, what }))
    })
    .await?
}

/// What waits beside the store; a snapshot that cannot be read is taken away: the store opens as it is, as it would
/// after a refused restore.
pub async fn whole_pending(cfg: &StoreConfig) -> Result<Option<Pending>, Error> {
    match pending(cfg).await {
        Err(Error::Integrity(why)) => {
            tracing::error!(
                why,
                "the snapshot that waited to be restored is damaged and was taken away; put it up again"
            );
            withdraw(cfg)?;
            Ok(None)
        }
        found => found,
    }
}

/// Checks that `from` is a whole snapshot of the vault at `cfg`, or of any if there is none; touches nothing.
pub async fn check(cfg: &StoreConfig, from: &Path, present: Option<String>) -> Result<Summary, Error> {
    if cfg.backend == Backend::Memory {
        return Err(Error::Mismatch("a store in memory cannot be restored".into()));
    }
    let from = from.to_owned();
    let summary = worker::apart("storage-restore", async move { inspect(&from) }).await??;
    let anchored = match AnchorFile::in_dir(&cfg.state_dir).read()? {
        Found::Anchor(anchor) => Some(anchor.store_id.to_string()),
        Found::Nothing | Found::Damaged => None,
    };
    for (id, place) in [(anchored, cfg.state_dir.display()), (present, cfg.path.display())] {
        if let Some(id) = id.filter(|id| *id != summary.manifest.store_id) {
            return Err(Error::Mismatch(format!(
                "the snapshot is of vault {}, but {place} belongs to vault {id}",
                summary.manifest.store_id
            )));
        }
    }
    Ok(summary)
}

/// The id of the vault that a backend holds, if it holds one.
pub async fn store_id(physical: &dyn Physical) -> Result<Option<String>, Error> {
    match physical.get(&boot::config()).await? {
        Some(record) => Ok(Some(SealConfig::decode(&record.value)?.store_id()?.to_string())),
        None => Ok(None),
    }
}

/// Puts a checked snapshot beside the store.
pub async fn put(cfg: &StoreConfig, from: &Path) -> Result<Summary, Error> {
    let (from, to) = (from.to_owned(), place(&cfg.path));
    worker::apart("storage-restore", async move { copy_whole(&from, &to) }).await?
}

/// Takes it away again; nothing else has changed.
pub fn withdraw(cfg: &StoreConfig) -> Result<bool, Error> {
    let file = place(&cfg.path);
    let there = file.exists();
    home::remove(&file).and_then(|()| sync_parent(&file)).map_err(|e| Error::Physical(e.into()))?;
    Ok(there)
}

/// Puts the closed store at `cfg` up for a restore: what `vaultd storage restore` does.
///
/// # Errors
/// The store is in use, the snapshot is damaged or of another vault.
pub async fn stage_restore(cfg: &StoreConfig, from: &Path, dry_run: bool) -> Result<Summary, Error> {
    if cfg.backend == Backend::Memory {
        return Err(Error::Mismatch("a store in memory cannot be restored".into()));
    }
    // Opened only to see that nobody else has, and whose it is; one that does not open is what restores are for.
    let open = if dry_run && !cfg.path.exists() {
        None
    } else {
        match crate::open_physical(cfg).await {
            Ok(physical) => Some(physical),
            Err(physical::Error::Locked) => return Err(physical::Error::Locked.into()),
            Err(e) => {
                tracing::warn!(error = %e, "the present store does not open");
                None
            }
        }
    };
    let present = match &open {
        Some(physical) => store_id(&**physical).await?,
        None => None,
    };
    let summary = check(cfg, from, present).await?;
    let summary = if dry_run { summary } else { put(cfg, from).await? };
    if let Some(physical) = open {
        physical.close().await?;
    }
    Ok(summary)
}

/// Restores what waits: checked with its keys first, built beside the present store, then put in its place.
pub async fn complete(
    inner: &Inner,
    pending: &Pending,
    shares: &[SecretBytes],
    accepted: bool,
) -> Result<(), UnsealError> {
    let (keys, scope) = Keys::new(&inner.arena);
    let proof = prove(scope, pending.clone(), shares.to_vec());
    let proof =
        worker::apart("storage-restore", proof).await.map_err(UnsealError::from).and_then(|proved| proved);
    drop(keys);
    match proof {
        Ok(()) => {}
        Err(UnsealError::Storage(e @ Error::Integrity(_))) => {
            tracing::error!(error = %e, "the snapshot is damaged and is discarded; the store is as it was");
            withdraw(&pending.cfg)?;
            inner.forget_pending().await?;
            return Err(Error::Integrity(format!("the snapshot was not restored: {e}")).into());
        }
        Err(e) => return Err(e),
    }
    if !accepted {
        return Err(Error::Rollback(pending.what.clone()).into());
    }
    let built = build(pending).await?;
    tracing::warn!(from = %pending.file.display(), to = %built.display(), "putting the restored store in force");
    if let Err(e) = inner.physical().close().await {
        tracing::warn!(error = %e, "the replaced store was not closed in order");
    }
    home::switch(&pending.cfg.path, &built).map_err(Error::from)?;
    let fresh = crate::open_physical(&pending.cfg).await.map_err(Error::from)?;
    *inner.physical.write() = fresh;
    withdraw(&pending.cfg)?;
    *inner.pending.lock() = None;
    Ok(())
}

/// Opens the snapshot with the shares and checks every record of it.
async fn prove(scope: Arena, pending: Pending, shares: Vec<SecretBytes>) -> Result<(), UnsealError> {
    let source = FileScan::new(&pending.file);
    let boot = read_boot(&source).await?;
    let config = SealConfig::decode(&boot.config)?;
    let store_id = config.store_id()?;
    let master = open_master(&scope, &config, &boot, &shares)?.ok_or(UnsealError::WrongShares)?;
    let keyring = open_keyring(&scope, store_id, &master, &boot)?;
    let (head, _) = open_head(&source, store_id, &keyring, &boot).await?;
    Verify { source: &source, store_id, keyring: &keyring, head: &head }.run().await?;
    Ok(())
}

/// A whole, closed store with the records of the snapshot, in a place of its own.
async fn build(pending: &Pending) -> Result<PathBuf, Error> {
    let path = home::fresh(&pending.cfg.path)?;
    let cfg = StoreConfig { path: path.clone(), ..pending.cfg.clone() };
    let file = pending.file.clone();
    worker::apart("storage-restore", async move {
        let physical = crate::open_physical(&cfg).await?;
        let mut reader = Reader::open(&file)?;
        let (mut round, mut txn, mut bytes, mut of_round) = (Vec::new(), Txn::default(), 0, 0);
        while let Some((key, value)) = reader.next()? {
            let size = key.as_bytes().len() + value.len();
            if txn.ops.len() == MAX_TXN_OPS || bytes + size > MAX_TXN_BYTES {
                round.push(std::mem::take(&mut txn));
                bytes = 0;
            }
            if round.len() == RESTORE_ROUND_TXNS || of_round + size > RESTORE_ROUND_BYTES {
                apply(&physical, std::mem::take(&mut round)).await?;
                of_round = 0;
            }
            txn.ops.push(Op::Put { key, value });
            bytes += size;
            of_round += size;
        }
        round.push(txn);
        apply(&physical, round).await?;
        Ok::<_, Error>(physical.close().await?)
    })
    .await??;
    Ok(path)
}

async fn apply(physical: &Arc<dyn Physical>, txns: Vec<Txn>) -> Result<(), Error> {
    let count = txns.len();
    let outcomes = physical.apply(Fence(0), txns).await?;
    match outcomes.len() == count && outcomes.iter().all(|o| matches!(o, Outcome::Applied { .. })) {
        true => Ok(()),
        false => Err(Error::Failed("the backend did not take every record of the snapshot".into())),
    }
}
