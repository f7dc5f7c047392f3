//! `sys/storage/snapshot`: the whole vault in one file, encrypted as it is stored.
//!
//! Taking one needs a token with `sudo`; putting one back needs the quorum of shares besides: a restore only puts the
//! file beside the store and seals, and the unseal completes it.

use super::{After, Call, Done, object, unbuilt};
use crate::exchange::{Download, Verb};
use crate::fault;
use crate::snapshots::Snapshots;
use crate::unsealed::Unsealed;
use serde_json::json;
use storage::{SealedStore, Summary};
use vault_logical::{Data, Error, Response, Result, field};

pub async fn handle(core: &Unsealed, call: &Call<'_>, rest: &[&str]) -> Result<Done> {
    match (call.incoming.verb, rest) {
        (Verb::Read, ["snapshot"] | ["raft", "snapshot"]) => download(core).await,
        (Verb::Write, ["snapshot"]) => {
            let saved = core.snapshots.take(&core.store, &*core.clock).await?;
            tracing::info!(path = %saved.path.display(), bytes = saved.summary.bytes, "snapshot taken");
            let mut data = describe(&saved.summary);
            let name = saved.path.file_name().map(|n| n.to_string_lossy().into_owned());
            data.insert("name".into(), name.unwrap_or_default().into());
            Ok(Response::data(data).into())
        }
        (Verb::List, ["snapshot"]) => Ok(Response::keys(core.snapshots.list()?).into()),
        (Verb::Write, ["snapshot", "restore"]) => {
            let (summary, staged) = restore(&core.sealed_store, &core.snapshots, call.data()).await?;
            let response = Response::data(describe(&summary));
            if !staged {
                return Ok(response.into());
            }
            let response = response.warn(WAITS);
            Ok(Done { after: After::Seal, ..Done::from(response) })
        }
        (Verb::Write, ["raft", "snapshot" | "snapshot-force"]) => Err(Error::invalid(
            "snapshots are not uploaded: put the file into the snapshot directory and write its name to \
             sys/storage/snapshot/restore",
        )),
        (_, ["snapshot"] | ["snapshot", "restore"]) => Err(Error::unsupported_operation()),
        _ => Err(unbuilt("sys/storage")),
    }
}

/// What is said of a restore that was put up.
pub const WAITS: &str = "the restore waits for the shares of the snapshot: unseal with accept_rollback=true (vault-cli operator unseal -accept-rollback); \
    DELETE sys/storage/snapshot/restore gives it up";

/// Puts a snapshot up for a restore, or only looks at it; whether it was put up.
pub async fn restore(store: &SealedStore, snapshots: &Snapshots, data: &Data) -> Result<(Summary, bool)> {
    let path = snapshots.named(&field::required(data, "name")?)?;
    let dry_run = field::boolean(data, "dry_run")?.unwrap_or(false);
    let summary = store.stage_restore(&path, dry_run).await.map_err(|e| match e.kind() {
        // The file's fault or the caller's, and they must know why.
        storage::ErrorKind::Integrity | storage::ErrorKind::Invalid => Error::invalid(e.to_string()),
        _ if matches!(e, storage::Error::SnapshotFile { .. }) => Error::invalid(e.to_string()),
        _ => fault::storage(e),
    })?;
    Ok((summary, !dry_run))
}

async fn download(core: &Unsealed) -> Result<Done> {
    let (file, saved) = core.snapshots.spool(&core.store).await?;
    let download = Download { file, length: saved.summary.bytes };
    Ok(Done { download: Some(download), ..Done::default() })
}

/// A snapshot as the API shows it.
pub fn describe(s: &Summary) -> Data {
    object(json!({
        "cluster_id": s.manifest.store_id,
        "sequence": s.manifest.sequence,
        "epoch": s.manifest.epoch,
        "created": s.manifest.created,
        "n": s.manifest.shares,
        "t": s.manifest.threshold,
        "storage_type": s.manifest.backend,
        "version": s.manifest.version,
        "records": s.records,
        "bytes": s.bytes,
        "sha256": hex::encode(s.sha256),
    }))
}
