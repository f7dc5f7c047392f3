//! Unseal: shares, unseal key, root key, keyring, head, every record, in this order; any failure leaves nothing behind.

use super::{Inner, Keys, SealConfig, restore};
use crate::anchor::{Found, Phase};
use crate::barrier::{KEY_BYTES, Label, Subject};
use crate::head::verify::{Scan, Verify, find};
use crate::head::{ClearHead, Head, PartitionId, boot, digest, split};
use crate::keyring::{self, Keyring, unwrap_root};
use crate::physical::{Key as StorageKey, Physical};
use crate::store::committer::change::Change;
use crate::store::committer::state::{Boot, Part, State};
use crate::store::shared::{Master, open_with};
use crate::store::{Start, Store};
use crate::{Error, Space, UnsealError, shamir, worker};
use secmem::{Arena, SecretBytes};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

pub async fn unseal(
    inner: &Inner,
    shares: &[SecretBytes],
    accept_rollback: bool,
) -> Result<Store, UnsealError> {
    let place = inner.take_place().await?;
    let waiting = inner.pending.lock().clone();
    if let Some(waiting) = waiting {
        restore::complete(inner, &waiting, shares, accept_rollback).await?;
    }
    let standing = inner.examine().await?;
    if !standing.is_initialised() {
        return Err(Error::NotInitialised.into());
    }
    let physical = inner.physical();
    let boot = read_boot(&physical).await?;
    let config = SealConfig::decode(&boot.config)?;
    let store_id = config.store_id()?;
    let (keys, scope) = Keys::new(&inner.arena);
    let master = open_master(&scope, &config, &boot, shares)?.ok_or(UnsealError::WrongShares)?;
    let keyring = open_keyring(&scope, store_id, &master, &boot)?;
    let (head, digest) = open_head(&physical, store_id, &keyring, &boot).await?;

    let anchor = inner.anchor.read()?;
    let mut rollback = standing.rollback().map(str::to_owned);
    if let Found::Anchor(anchor) = &anchor
        && !anchor.is_genuine(&keyring.index)?
    {
        rollback.get_or_insert_with(|| "the anchor was not written by this vault".into());
    }
    if let Some(why) = rollback.as_ref().filter(|_| !accept_rollback) {
        return Err(Error::Rollback(why.clone()).into());
    }
    let epoch = rollback.map(|_| {
        let anchored = if let Found::Anchor(anchor) = &anchor { anchor.epoch } else { 0 };
        anchored.max(head.epoch).saturating_add(1)
    });

    let partitions = verify(physical.clone(), store_id, keyring.clone(), head.clone()).await?;
    let start = Start {
        physical,
        store_id,
        scope,
        keyring,
        master,
        config: inner.config.clone(),
        clock: inner.clock.clone(),
        meters: inner.meters.clone(),
        anchor: inner.anchor.take_over(),
        phase: Phase::Initialised,
        state: State { head, digest, partitions, boot },
    };
    let store = Store::start(start, place)?;
    keys.keep();
    // From the first unseal on nothing may take this store for half-made, and it must be able to write its anchor.
    if let Err(e) = store.change(Change::Opened { epoch }).await {
        let e = match e {
            // Nobody relies on the change yet: the vault stays sealed.
            Error::Unanchored(why) => {
                let path = inner.anchor.path().display().to_string();
                Error::Anchor { path, source: std::io::Error::other(why) }
            }
            e => e,
        };
        store.seal().await;
        return Err(e.into());
    }
    *inner.standing.lock() = super::Standing::Sealed { rollback: None };
    inner.proven();
    Ok(store)
}

/// The records that are read without keys.
pub async fn read_boot(source: &dyn Scan) -> Result<Boot, Error> {
    Ok(Boot {
        config: found(source, &boot::config(), "the seal configuration").await?,
        root: found(source, &boot::root(), "the wrapped root key").await?,
        keyring: found(source, &boot::keyring(), "the keyring file").await?,
    })
}

async fn found(source: &dyn Scan, key: &StorageKey, what: &str) -> Result<Vec<u8>, Error> {
    find(source, key).await?.ok_or_else(|| Error::Integrity(format!("{what} is missing")))
}

/// The unseal key straight into the arena, and the root key by it; `None` when the shares are not this vault's.
pub fn open_master(
    scope: &Arena,
    config: &SealConfig,
    boot: &Boot,
    shares: &[SecretBytes],
) -> Result<Option<Master>, Error> {
    if shares.len() < usize::from(config.threshold) {
        return Ok(None);
    }
    let Some(unseal) = combine(scope, shares)? else { return Ok(None) };
    let root = unwrap_root(config.store_id()?, &unseal, &boot.root)?;
    Ok(root.map(|root| Master { unseal, root }))
}

/// The secret of these shares; `None` when they do not fit together. Nothing says yet that it is the right one.
pub fn combine(scope: &Arena, shares: &[SecretBytes]) -> Result<Option<secmem::Key>, Error> {
    let mut combined = Ok(());
    let key = scope.insert(KEY_BYTES, |key| combined = shamir::combine(shares, key))?;
    Ok(combined.is_ok().then_some(key))
}

/// The keys of the keyring file.
pub fn open_keyring(scope: &Arena, store_id: Uuid, master: &Master, boot: &Boot) -> Result<Keyring, Error> {
    let plain = keyring::open_file(store_id, &master.root, boot.keyring.clone())?;
    let plain = plain.ok_or_else(|| Error::Integrity("the keyring file is not what was written".into()))?;
    keyring::decode(scope, &plain)
}

/// The head and the digest of its stored form, checked against the boot records.
pub async fn open_head(
    source: &dyn Scan,
    store_id: Uuid,
    keyring: &Keyring,
    boot: &Boot,
) -> Result<(Head, [u8; 32]), Error> {
    let wrong = || Error::Integrity("the head is not what was written".into());
    let stored = find(source, &boot::head()).await?.ok_or_else(wrong)?;
    let seq = ClearHead::read(&stored).ok_or_else(wrong)?.seq;
    let digest = digest(&[&stored]);
    let (clear, record) = split(&stored).ok_or_else(wrong)?;
    let subject = Subject { store: store_id, label: Label::Head, space: Space::core(), path: clear };
    let (plain, _) = open_with(keyring, &subject, record.to_vec()).map_err(|e| match e {
        Error::Integrity(_) => wrong(),
        e => e,
    })?;
    let head = Head::from_parts(clear, &plain).filter(|head| head.seq == seq).ok_or_else(wrong)?;
    if head.boot != boot.digest() {
        return Err(Error::Integrity(
            "the seal configuration or a wrapped key is not what was written".into(),
        ));
    }
    Ok((head, digest))
}

/// Reads and checks the whole store on a thread of its own.
async fn verify(
    physical: Arc<dyn Physical>,
    store_id: Uuid,
    keyring: Keyring,
    head: Head,
) -> Result<HashMap<PartitionId, Part>, Error> {
    worker::apart("storage-verify", async move {
        Verify { source: &physical, store_id, keyring: &keyring, head: &head }.run().await
    })
    .await?
}
