//! Audit devices as stored: brought up at unseal, their chain heads kept in the barrier so that
//! a file cut short is noticed.

use crate::audit::{Audit, DeviceConfig, Head, Origin};
use crate::core::HeadExport;
use crate::fault;
use nix::fcntl::OFlag;
use secmem::{Key, Zeroizing};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use storage::{KeyName, Space, Store, Transaction};
use vault_logical::{Error, Result};

const FOLDER: &str = "audit/device/";
/// Readable by all: it is public, and whoever checks the logs needs it.
const HEAD_FILE_MODE: u32 = 0o644;
const HEADS: &str = "audit/heads";
/// Most audit devices.
pub const MAX_DEVICES: usize = 16;

/// A device as stored.
#[derive(Serialize, Deserialize)]
struct StoredDevice {
    v: u8,
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    description: String,
    options: BTreeMap<String, String>,
}

fn path(name: &str) -> String {
    // Hex: no two names share a record, and none makes a folder.
    format!("{FOLDER}{}", hex::encode(name.trim_end_matches('/')))
}

/// Enables the devices of the config file, then those enabled through the API. None of them keeps
/// the vault from unsealing: one that cannot be opened, or whose record cannot be read, takes
/// nothing, and where no other does, requests are refused.
pub async fn bring_up(store: &Store, audit: &Audit, from_file: &[DeviceConfig]) -> Result<()> {
    let heads = heads(store).await?.unwrap_or_else(|| {
        tracing::error!(
            "the stored heads of the audit logs cannot be read: nothing will say what the logs lack"
        );
        Vec::new()
    });
    let mut devices: Vec<(DeviceConfig, Key, Option<Head>)> = Vec::new();
    for config in from_file.iter().cloned().chain(all(store).await?) {
        if devices.iter().any(|(d, ..)| d.name == config.name) {
            tracing::error!(device = %config.name, "the config file has an audit device of this name: the one enabled through the API is not used");
            continue;
        }
        let key = hmac_key(store, &config).await?;
        let head = heads.iter().find(|h| h.device == config.name).cloned();
        devices.push((config, key, head));
    }
    Ok(audit.restore(devices).await?)
}

async fn hmac_key(store: &Store, config: &DeviceConfig) -> Result<Key> {
    store.ensure_key(&KeyName::AuditHmac(config.name.clone())).await.map_err(fault::storage)
}

/// Opens a new device; the caller has staged its record.
pub async fn enable_new(store: &Store, audit: &Audit, config: DeviceConfig) -> Result<()> {
    let key = hmac_key(store, &config).await?;
    Ok(audit.enable(config, key, None).await?)
}

async fn all(store: &Store) -> Result<Vec<DeviceConfig>> {
    let names = store.list(Space::core(), FOLDER, None, MAX_DEVICES).await.map_err(fault::storage)?;
    let mut out = Vec::with_capacity(names.len());
    for name in names {
        let Some(v) = store.get(Space::core(), &format!("{FOLDER}{name}")).await.map_err(fault::storage)?
        else {
            continue;
        };
        out.push(decode(&v.value).unwrap_or_else(|why| {
            let own = hex::decode(&name).ok().and_then(|n| String::from_utf8(n).ok()).unwrap_or(name);
            DeviceConfig::unreadable(format!("{own}/"), why)
        }));
    }
    Ok(out)
}

fn decode(record: &[u8]) -> std::result::Result<DeviceConfig, String> {
    let d: StoredDevice =
        serde_json::from_slice(record).map_err(|_| "its stored record has an unknown form".to_string())?;
    if d.v != 1 {
        return Err(format!("its stored record has version {}", d.v));
    }
    DeviceConfig::parse(Origin::Stored, &d.name, &d.type_name, &d.description, &d.options)
        .map_err(|e| format!("its stored record is refused: {e}"))
}

/// Stages a device's record.
pub fn put(txn: &mut Transaction, config: &DeviceConfig) -> Result<()> {
    let d = StoredDevice {
        v: 1,
        name: config.name.clone(),
        type_name: config.type_name().to_string(),
        description: config.description.clone(),
        options: config.options().clone(),
    };
    let bytes = serde_json::to_vec(&d).map_err(Error::internal)?;
    txn.put(Space::core(), &path(&config.name), Zeroizing::new(bytes)).map_err(fault::storage)
}

/// Stages the removal of a device's record; false when the API never stored one.
pub async fn delete(store: &Store, txn: &mut Transaction, name: &str) -> Result<bool> {
    if store.get(Space::core(), &path(name)).await.map_err(fault::storage)?.is_none() {
        return Ok(false);
    }
    txn.delete(Space::core(), &path(name)).map_err(fault::storage)?;
    Ok(true)
}

/// `None`: what is stored has an unknown form.
async fn heads(store: &Store) -> Result<Option<Vec<Head>>> {
    match store.get(Space::core(), HEADS).await.map_err(fault::storage)? {
        None => Ok(Some(Vec::new())),
        Some(v) => Ok(serde_json::from_slice(&v.value).ok()),
    }
}

/// Stores where every chain stands, when that changed.
pub async fn store_heads(store: &Store, audit: &Audit) -> Result<()> {
    store_given(store, &audit.heads()).await
}

/// Writes the heads to the file that the operator named: whole or not at all, and durable. On a
/// thread of its own, which a disk that hangs may keep: nothing else waits for it.
pub async fn export_heads(audit: &Audit, to: &HeadExport) -> std::io::Result<()> {
    let (audit, to) = (audit.clone(), to.clone());
    let (tell, told) = tokio::sync::oneshot::channel();
    let work = move || {
        // One at a time, and each with what holds when its turn has come.
        let _turn = to.turn.lock();
        let text = serde_json::to_vec_pretty(&audit.proof()).map_err(std::io::Error::from);
        let _ = tell.send(text.and_then(|text| replace(&to.file, &text)));
    };
    std::thread::Builder::new().name("audit-head".into()).spawn(work)?;
    told.await.unwrap_or_else(|_| Err(std::io::Error::other("the work was cut off")))
}

fn replace(file: &Path, text: &[u8]) -> std::io::Result<()> {
    let temporary = file.with_added_extension("tmp");
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(HEAD_FILE_MODE)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(&temporary)?;
    out.write_all(text)?;
    out.write_all(b"\n")?;
    out.sync_all()?;
    std::fs::rename(&temporary, file)?;
    let dir = file.parent().unwrap_or(Path::new("/"));
    std::fs::File::open(dir)?.sync_all()
}

/// The same for heads already taken.
pub async fn store_given(store: &Store, now: &[Head]) -> Result<()> {
    if now.is_empty() || heads(store).await?.as_deref() == Some(now) {
        return Ok(());
    }
    let bytes = serde_json::to_vec(now).map_err(Error::internal)?;
    let mut txn = store.begin();
    txn.put(Space::core(), HEADS, Zeroizing::new(bytes)).map_err(fault::storage)?;
    txn.anchor_may_follow();
    txn.commit().await.map_err(fault::commit).map(|_| ())
}
