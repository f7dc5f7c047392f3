//! Init and unseal: the two ceremonies that have no token to check.

use crate::audit::{RequestEntry, SealedAttempt};
use crate::core::{Core, refused};
use crate::exchange::{Incoming, Reply, ReplyBody};
use crate::limits::MAX_SHARES;
use crate::mounts::{self, StoredMount};
use crate::seal::{Giver, decode_share};
use crate::status;
use crate::token::{NewToken, TokenStore, TtlDefaults};
use crate::unsealed::{Unsealed, token_key};
use crate::{fault, policies, policy};
use base64::Engine as _;
use secmem::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::sync::Arc;
use storage::{Cipher, InitParams, Initialising, UnsealError};
use uuid::Uuid;
use vault_logical::{Error, ErrorKind, PathName, RequestId, Result, field};

/// What an operator must do next: nobody has a token any more.
const ROLLED_BACK: &str = "the rollback was accepted: every token was revoked, the root token included; make a new one \
     with the shares: vault-cli operator generate-root -init, over the operator's unix socket (VAULT_ADDR=unix:///...)";

type Answer = Result<(Value, bool)>;

pub fn reply(id: RequestId, answer: Answer) -> Reply {
    match answer {
        Ok((json, close)) => Reply { request_id: id, body: ReplyBody::Bare { status: 200, json }, close },
        Err(e) => refused(id, e),
    }
}

/// `PUT sys/init`: makes the keys, answers the shares and the first root token, stays sealed.
pub async fn init(core: &Arc<Core>, r: &Incoming) -> Answer {
    let answer = try_init(core, r).await;
    core.note(r, "sys/init", answer.as_ref().err()).await;
    answer
}

async fn try_init(core: &Arc<Core>, r: &Incoming) -> Answer {
    if !core.config.allow_remote_init && !r.connection.is_local() {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            "initialisation is accepted from this machine only (allow_remote_init)",
        ));
    }
    let (shares, threshold) = share_counts(&r.data)?;
    for unbuilt in
        ["pgp_keys", "recovery_shares", "recovery_threshold", "recovery_pgp_keys", "root_token_pgp_key"]
    {
        if let Some(v) = r.data.get(unbuilt)
            && !matches!(v, Value::Null)
            && v.as_u64() != Some(0)
            && v.as_array().is_none_or(|a| !a.is_empty())
            && v.as_str() != Some("")
        {
            return Err(Error::invalid(format!("\"{unbuilt}\" is not supported by this server")));
        }
    }
    let cipher = match field::string(&r.data, "cipher")?.as_deref() {
        None | Some("") | Some("xaes-256-gcm") => Cipher::XAes256Gcm,
        Some("xchacha20-poly1305") => Cipher::XChaCha20Poly1305,
        Some(_) => return Err(Error::invalid("\"cipher\" is xaes-256-gcm or xchacha20-poly1305")),
    };
    let mut progress = core.ceremony.lock().await;
    if core.store.status().initialized {
        return Err(Error::invalid("Vault is already initialized"));
    }
    progress.reset();
    let making =
        core.store.begin_init(InitParams { shares, threshold, cipher }).await.map_err(fault::storage)?;
    let root = first_records(core, &making).await?;
    let shares = making.finish().await.map_err(fault::storage)?;
    tracing::info!(shares = shares.len(), threshold, "vault initialised");
    let hex: Vec<Value> = shares.iter().map(|s| hex::encode(s.as_slice()).into()).collect();
    let b64: Vec<Value> = shares
        .iter()
        .map(|s| base64::engine::general_purpose::STANDARD.encode(s.as_slice()).into())
        .collect();
    Ok((json!({ "keys": hex, "keys_base64": b64, "root_token": root.expose_secret() }), true))
}

/// Reads `secret_shares` and `secret_threshold` (both required, 1 ≤ t ≤ n ≤ 255, and not 1 of many).
pub fn share_counts(data: &vault_logical::Data) -> Result<(u8, u8)> {
    let n = field::unsigned(data, "secret_shares")?.unwrap_or(0);
    let t = field::unsigned(data, "secret_threshold")?.unwrap_or(0);
    if n == 0 || n > MAX_SHARES {
        return Err(Error::invalid("invalid secret_shares: must be between 1 and 255"));
    }
    if t == 0 || t > n {
        return Err(Error::invalid("invalid secret_threshold: must be between 1 and secret_shares"));
    }
    if t == 1 && n > 1 {
        return Err(Error::invalid("invalid secret_threshold: must be greater than one for multiple shares"));
    }
    let byte = |v: u64| u8::try_from(v).map_err(|_| Error::invalid("invalid share count"));
    Ok((byte(n)?, byte(t)?))
}

/// Compares the request's `nonce` with the one of the operation under way.
pub fn check_nonce(data: &vault_logical::Data, want: Uuid, operation: &str) -> Result<()> {
    let given = field::required(data, "nonce")?;
    if Uuid::parse_str(given.trim()).ok() == Some(want) {
        return Ok(());
    }
    Err(Error::invalid(format!("incorrect nonce supplied; nonce for this {operation} operation is {want}")))
}

/// What a new vault holds before anyone asks: the default policy, the cubbyhole, a root token.
async fn first_records(core: &Core, making: &Initialising) -> Result<SecretString> {
    let store = making.store();
    let key = token_key(store).await?;
    let ttl = TtlDefaults { default_ttl: core.config.ttl.default, max_ttl: core.config.ttl.max };
    let tokens = TokenStore::new(store.clone(), key, core.config.clock.clone(), ttl);
    let mut txn = store.begin();
    let default = PathName::in_body("default", policy::normalise_name)?;
    policies::Policies::new(store.clone()).write(&mut txn, &default, policy::DEFAULT_POLICY)?;
    mounts::put(&mut txn, &cubbyhole(core))?;
    let issued = tokens.create(&mut txn, NewToken::root()).await?;
    txn.commit().await.map_err(fault::commit)?;
    Ok(issued.client_token)
}

fn cubbyhole(core: &Core) -> StoredMount {
    let uuid = Uuid::new_v4();
    StoredMount {
        v: 1,
        uuid,
        accessor: crate::sys::mounts::accessor("cubbyhole", uuid),
        path: "cubbyhole/".into(),
        auth: false,
        type_name: "cubbyhole".into(),
        description: "per-token private secret storage".into(),
        options: Default::default(),
        config: Default::default(),
        local: true,
        seal_wrap: false,
        created: core.config.clock.now(),
        deleting: false,
    }
}

/// `PUT sys/unseal`: one share at a time; the answer is the seal status.
pub async fn unseal(core: &Arc<Core>, r: &Incoming) -> Answer {
    let answer = try_unseal(core, r).await;
    core.note(r, "sys/unseal", answer.as_ref().err()).await;
    answer
}

async fn try_unseal(core: &Arc<Core>, r: &Incoming) -> Answer {
    let data: vault_logical::Data = r.data.iter().map(|(k, v)| (k.to_ascii_lowercase(), v.clone())).collect();
    let reset = field::boolean(&data, "reset")?.unwrap_or(false);
    if field::boolean(&data, "migrate")?.unwrap_or(false) {
        return Err(Error::invalid("seal migration is not supported by this server"));
    }
    let accept_rollback = field::boolean(&data, "accept_rollback")?.unwrap_or(false);
    let status = core.store.status();
    if !status.initialized {
        return Err(Error::invalid("server is not yet initialized"));
    }
    let mut progress = core.ceremony.lock().await;
    progress.expire();
    let text = data.get("key").and_then(Value::as_str).unwrap_or("");
    if reset {
        // Who proves nothing takes back only what came from the same address: anyone could
        // otherwise undo the operators' work.
        let entitled = r.connection.transport == vault_logical::Transport::Unix
            || decode_share(text).is_ok_and(|s| core.store.share_known(s.as_slice()));
        match entitled {
            true => progress.reset(),
            false => progress.take_back(Giver::of(&r.connection)),
        }
        return Ok((status::render(core, progress.len(), &progress.nonce()), true));
    }
    let share = decode_share(text)?;
    if core.unsealed.load().is_some() {
        return Ok((status::render(core, 0, ""), true));
    }
    if !core.store.share_known(share.as_slice()) {
        return Err(Error::invalid("invalid key: not a share of this vault"));
    }
    progress.add_from(&core.config.arena, &share, Giver::of(&r.connection))?;
    if progress.len() < usize::from(status.threshold) {
        return Ok((status::render(core, progress.len(), &progress.nonce()), true));
    }
    if let Some(why) = status.rollback.as_ref().filter(|_| !accept_rollback) {
        progress.reset();
        tracing::error!(why, "refused to unseal: accept_rollback was not given");
        return Err(Error::invalid(format!(
            "refusing to unseal: {why}; if this copy of the store is the wanted one, give every share again with accept_rollback=true \
             (vault-cli operator unseal -accept-rollback): every token is revoked then, the root token too"
        )));
    }
    let shares = progress.take()?;
    open(core, &shares, accept_rollback).await?;
    let mut answer = status::render(core, 0, "");
    if status.rollback.is_some()
        && let Some(warnings) = answer.get_mut("warnings").and_then(Value::as_array_mut)
    {
        warnings.push(ROLLED_BACK.into());
    }
    Ok((answer, true))
}

/// `POST` and `DELETE sys/storage/snapshot/restore` while sealed: puts a snapshot up to be restored by the next unseal, or
/// gives that up. It replaces nothing by itself; yet only the operator may make the vault ask for it.
pub async fn restore(core: &Arc<Core>, r: &Incoming) -> Answer {
    let answer = try_restore(core, r).await;
    core.note(r, "sys/storage/snapshot/restore", answer.as_ref().err()).await;
    answer
}

async fn try_restore(core: &Arc<Core>, r: &Incoming) -> Answer {
    let fresh = !core.store.status().initialized;
    let here = fresh && (core.config.allow_remote_init || r.connection.is_local());
    if !here && r.connection.transport != vault_logical::Transport::Unix {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            "a sealed vault takes this from the operator's unix socket only, an empty one from this machine",
        ));
    }
    let mut progress = core.ceremony.lock().await;
    progress.reset();
    if r.verb == crate::exchange::Verb::Delete {
        let there = core.store.cancel_restore().await.map_err(fault::storage)?;
        return Ok((json!({ "cancelled": there }), false));
    }
    let (summary, staged) = crate::sys::snapshot::restore(&core.store, &core.snapshots, &r.data).await?;
    let mut data = crate::sys::snapshot::describe(&summary);
    data.insert("restore_pending".into(), staged.into());
    Ok((json!({ "data": data, "warnings": [crate::sys::snapshot::WAITS] }), false))
}

/// Opens the barrier and publishes the unsealed core, last of all: any failure on the way
/// leaves it sealed and wiped.
async fn open(core: &Arc<Core>, shares: &[secmem::SecretBytes], accept_rollback: bool) -> Result<()> {
    let store = core.store.unseal(shares, accept_rollback).await.map_err(|e| match e {
        UnsealError::WrongShares => Error::invalid("unseal failed: the shares do not open this vault"),
        UnsealError::Storage(e) => {
            tracing::error!(error = %e, "unseal failed");
            match e.kind() {
                storage::ErrorKind::Integrity => {
                    Error::new(ErrorKind::Internal, format!("unseal refused: {e}")).with_source(e)
                }
                _ => fault::storage(e),
            }
        }
    })?;
    match Unsealed::start(core, store.clone()).await {
        Ok(unsealed) => {
            core.unsealed.store(Some(unsealed.clone()));
            unsealed.spawn_jobs();
            tracing::info!("vault is unsealed");
            Ok(())
        }
        Err(e) => {
            tracing::error!(error = %e, "start-up after unseal failed, sealing again");
            store.seal().await;
            Err(e)
        }
    }
}

impl Core {
    /// Records an attempt that has no token: in the devices when unsealed, else in the ring,
    /// whose content becomes the first records after unseal.
    async fn note(&self, r: &Incoming, path: &'static str, error: Option<&Error>) {
        if let Some(u) = self.unsealed() {
            let mut entry = RequestEntry::new(r.id, "update", path);
            entry.remote = r.connection.remote;
            entry.error = error.map(Error::message);
            if let Err(e) = u.audit.request(&entry).await {
                tracing::warn!(error = %e, path, "attempt was not recorded");
            }
            return;
        }
        let attempt = SealedAttempt {
            time: self.config.clock.now(),
            operation: "update",
            path,
            remote: r.connection.remote,
            error: error.map(|e| match e.kind() {
                ErrorKind::InvalidRequest => "invalid request",
                ErrorKind::PermissionDenied => "permission denied",
                _ => "failed",
            }),
        };
        let _recorded = self.ring.record(attempt, ());
    }
}
