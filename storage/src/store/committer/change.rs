//! Changes of keys and of the head alone: each one atomic physical transaction.

use super::round::seal_head;
use super::state::{Boot, State};
use crate::Error;
use crate::head::{Head, boot};
use crate::keyring::{KeyName, Keyring, seal_file, wrap_root};
use crate::limits::MAX_WRITE_BYTES;
use crate::physical::{Op, Txn};
use crate::seal::SealConfig;
use crate::store::shared::{Master, Shared};
use secmem::Key;
use std::sync::Arc;
use uuid::Uuid;

pub enum Change {
    /// A new term for the root namespace.
    Rotate,
    /// A new root key.
    RotateRoot,
    /// A named key, made if there is none.
    EnsureKey(KeyName),
    /// New shares, over a new unseal key.
    Rekey { config: SealConfig, unseal: Key },
    /// The vault is open: raised to `epoch` after an accepted rollback.
    Opened { epoch: Option<u64> },
    /// The core has revoked what must not go backwards.
    Settled,
}

/// A change that is ready to be applied, and what is in force after it.
pub struct Prepared {
    pub txn: Txn,
    pub head: Head,
    pub digest: [u8; 32],
    pub boot: Boot,
    pub keyring: Option<Keyring>,
    pub master: Option<Master>,
    pub config: Option<SealConfig>,
}

/// Prepares `change` at sequence `seq`; `None` when there is nothing to do.
pub fn prepare(shared: &Shared, state: &State, seq: u64, change: Change) -> Result<Option<Prepared>, Error> {
    let now = (shared.clock)();
    let keyring: Arc<Keyring> = shared.keyring.load_full();
    let master = shared.master.lock().clone();
    let mut next = Prepared {
        txn: Txn::default(),
        head: Head { seq, ..state.head.clone() },
        digest: state.digest,
        boot: state.boot.clone(),
        keyring: None,
        master: None,
        config: None,
    };
    match change {
        Change::Rotate => {
            next.keyring = Some(keyring.rotated(&shared.scope, Uuid::nil(), now)?);
            next.head.term_writes = 0;
        }
        Change::EnsureKey(name) if keyring.named.contains_key(&name) => return Ok(None),
        Change::EnsureKey(name) => next.keyring = Some(keyring.with_named(&shared.scope, &name, now)?),
        Change::RotateRoot => {
            let root = shared.scope.random(crate::barrier::KEY_BYTES)?;
            next.boot.root = wrap_root(keyring.cipher, shared.store_id, &master.unseal, &root)?;
            next.boot.keyring = seal_file(shared.store_id, &root, &keyring)?;
            next.master = Some(Master { root, ..master.clone() });
        }
        Change::Rekey { config, unseal } => {
            next.boot.root = wrap_root(keyring.cipher, shared.store_id, &unseal, &master.root)?;
            next.boot.config = config.encode()?;
            next.config = Some(config);
            next.master = Some(Master { unseal, ..master.clone() });
        }
        Change::Opened { epoch } => {
            next.head.opened = true;
            if let Some(epoch) = epoch {
                next.head.epoch = epoch;
                next.head.raised = true;
            }
        }
        Change::Settled if !state.head.raised => return Ok(None),
        Change::Settled => next.head.raised = false,
    }
    if let Some(ring) = &next.keyring {
        next.boot.keyring = seal_file(shared.store_id, &master.root, ring)?;
    }
    finish(shared, state, next, &keyring).map(Some)
}

/// Writes the boot records that changed, and the head over them.
fn finish(shared: &Shared, state: &State, mut next: Prepared, current: &Keyring) -> Result<Prepared, Error> {
    let (old, new) = (&state.boot, &next.boot);
    let records = [
        (boot::config(), &old.config, &new.config),
        (boot::root(), &old.root, &new.root),
        (boot::keyring(), &old.keyring, &new.keyring),
    ];
    for (key, old, new) in records {
        if old != new {
            next.txn.ops.push(Op::Put { key, value: new.clone() });
        }
    }
    if next.boot.config.len() + next.boot.root.len() + next.boot.keyring.len() > MAX_WRITE_BYTES {
        return Err(Error::TooLarge("keyring"));
    }
    next.head.boot = next.boot.digest();
    next.head.term_writes += 1;
    // A term seals from the moment it is stored: its own head is the first record under it.
    let (head, digest) = seal_head(next.keyring.as_ref().unwrap_or(current), shared.store_id, &next.head)?;
    next.txn.ops.push(Op::Put { key: boot::head(), value: head });
    next.digest = digest;
    Ok(next)
}
