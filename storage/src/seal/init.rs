//! Init, in two phases: the anchor says `initialising` before the first record and `initialised` after the last. A crash
//! in between leaves an uninitialised vault, whose leftovers the next init clears.

use super::{Inner, Keys, SealConfig, SealedStore, Standing};
use crate::anchor::{Anchor, Found, Phase};
use crate::barrier::{Cipher, KEY_BYTES};
use crate::head::{Head, boot, tally::Tally};
use crate::keyring::{Keyring, seal_file, wrap_root};
use crate::limits::PURGE_BATCH;
use crate::physical::{Fence, Op, Outcome, Physical, Txn};
use crate::store::committer::seal_head;
use crate::store::committer::state::{Boot, State};
use crate::store::shared::Master;
use crate::store::{Start, Store};
use crate::{Error, shamir};
use secmem::{Arena, SecretBytes};
use std::collections::HashMap;
use uuid::Uuid;

/// What `begin_init` makes.
#[derive(Clone, Copy, Debug)]
pub struct InitParams {
    /// Shares to make, 1 to 255.
    pub shares: u8,
    /// How many of them open the vault; 1 only with one share.
    pub threshold: u8,
    /// What seals the records.
    pub cipher: Cipher,
}

/// A vault being made: open for its first records, and nothing until `finish`. Dropped, it leaves the vault
/// uninitialised.
pub struct Initialising {
    sealed: SealedStore,
    store: Store,
    shares: Vec<SecretBytes>,
}

impl Initialising {
    /// The shares, to be handed out after `finish`.
    #[must_use]
    pub fn shares(&self) -> &[SecretBytes] {
        &self.shares
    }

    /// The open store, for the vault's first records.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Marks the vault initialised and seals it. From here on only the shares open it.
    pub async fn finish(self) -> Result<Vec<SecretBytes>, Error> {
        self.store.end(true).await?;
        self.sealed.inner.examine().await?;
        Ok(self.shares)
    }
}

pub async fn begin(sealed: SealedStore, p: InitParams) -> Result<Initialising, Error> {
    shamir::check_counts(p.shares, p.threshold)?;
    let inner = &*sealed.inner;
    let place = inner.take_place().await?;
    if inner.examine().await? != Standing::Uninitialised {
        return Err(Error::AlreadyInitialised);
    }
    // An init that starts over keeps its id, so that the leftovers are known to be its own.
    let store_id = match inner.anchor.read()? {
        Found::Anchor(anchor) => anchor.store_id,
        Found::Nothing | Found::Damaged => Uuid::new_v4(),
    };
    let anchor = inner.anchor.take_over();
    anchor.write(&Anchor::begun(store_id))?;
    let physical = inner.physical();
    clear(&*physical).await?;

    let (keys, scope) = Keys::new(&inner.arena);
    let made = make(inner, &scope, store_id, p).await?;
    let start = Start {
        physical,
        store_id,
        scope,
        keyring: made.keyring,
        master: made.master,
        config: inner.config.clone(),
        clock: inner.clock.clone(),
        meters: inner.meters.clone(),
        anchor,
        phase: Phase::Initialising,
        state: made.state,
    };
    *inner.config.write() = Some(made.config);
    let store = Store::start(start, place)?;
    keys.keep();
    Ok(Initialising { sealed: sealed.clone(), store, shares: made.shares })
}

/// Deletes what an interrupted init left.
async fn clear(physical: &dyn Physical) -> Result<(), Error> {
    loop {
        let page = physical.scan(&[], None, PURGE_BATCH).await?;
        if page.is_empty() {
            return Ok(());
        }
        let ops = page.into_iter().map(|(key, _)| Op::Delete { key }).collect();
        physical.apply(Fence(0), vec![Txn { ops, ..Txn::default() }]).await?;
    }
}

struct Made {
    keyring: Keyring,
    master: Master,
    config: SealConfig,
    shares: Vec<SecretBytes>,
    state: State,
}

/// All keys, and the boot records and head in one atomic write.
async fn make(inner: &Inner, scope: &Arena, store_id: Uuid, p: InitParams) -> Result<Made, Error> {
    let master = Master { unseal: scope.random(KEY_BYTES)?, root: scope.random(KEY_BYTES)? };
    let keyring = Keyring::generate(scope, p.cipher, (inner.clock)())?;
    let shares = master.unseal.attempt(|key| shamir::split(key, p.shares, p.threshold))??;
    let config = SealConfig::new(store_id, p.cipher, p.threshold, &shares)?;
    let boot = Boot {
        config: config.encode()?,
        root: wrap_root(p.cipher, store_id, &master.unseal, &master.root)?,
        keyring: seal_file(store_id, &master.root, &keyring)?,
    };
    let physical = inner.physical();
    let seq = physical.seq() + 1;
    let head = Head {
        opened: false,
        raised: false,
        epoch: 1,
        seq,
        term_writes: 1,
        boot: boot.digest(),
        index: Tally::default(),
    };
    let (stored, digest) = seal_head(&keyring, store_id, &head)?;
    let records = [
        (boot::config(), boot.config.clone()),
        (boot::root(), boot.root.clone()),
        (boot::keyring(), boot.keyring.clone()),
        (boot::head(), stored),
    ];
    let ops = records.into_iter().map(|(key, value)| Op::Put { key, value }).collect();
    let outcome = physical.apply(Fence(0), vec![Txn { ops, ..Txn::default() }]).await?;
    if outcome != [Outcome::Applied { seq }] {
        return Err(Error::Failed("the backend did not take the first records".into()));
    }
    let state = State { head, digest, partitions: HashMap::new(), boot };
    Ok(Made { keyring, master, config, shares, state })
}
