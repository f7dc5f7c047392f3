//! `sys/rekey`: new shares over the same root key. Needs a token (unlike Vault's, which anyone
//! on the network could cancel: CVE-2026-5807), the old quorum, and on request proof that the
//! new shares arrived before they replace the old ones.

use super::{After, Call, Done, unbuilt};
use crate::ceremony::{check_nonce, share_counts};
use crate::exchange::Verb;
use crate::limits::CEREMONY_TTL;
use crate::seal::{Progress, decode_share};
use crate::unsealed::Unsealed;
use base64::Engine as _;
use secmem::SecretBytes;
use serde_json::{Value, json};
use std::time::Instant;
use storage::RekeyProposal;
use uuid::Uuid;
use vault_logical::{Error, Result, field};

/// A rekey under way. At most one; wiped when it stands still for too long.
pub struct Rekey {
    nonce: Uuid,
    shares: u8,
    threshold: u8,
    verify: bool,
    touched: Instant,
    old: Progress,
    proposal: Option<Pending>,
}

/// New shares that nobody has proved to hold yet.
struct Pending {
    nonce: Uuid,
    proposal: RekeyProposal,
    seen: Progress,
}

pub async fn handle(core: &Unsealed, call: &Call<'_>, rest: &[&str]) -> Result<Done> {
    let mut slot = core.rekey.lock().await;
    if slot.as_ref().is_some_and(|r| r.touched.elapsed() > CEREMONY_TTL) {
        *slot = None;
    }
    let mut after = After::Nothing;
    let bare = match (call.incoming.verb, rest) {
        (Verb::Read, ["init"]) => status(core, slot.as_ref()),
        (Verb::Write, ["init"]) => {
            start(call, &mut slot)?;
            status(core, slot.as_ref())
        }
        (Verb::Delete, ["init"]) => {
            *slot = None;
            return Ok(Done::default());
        }
        (Verb::Write, ["update"]) => update(core, call, &mut slot, &mut after)?,
        (Verb::Read, ["verify"]) => verify_status(slot.as_ref())?,
        (Verb::Write, ["verify"]) => verify(core, call, &mut slot, &mut after)?,
        (Verb::Delete, ["verify"]) => {
            // Begins anew with the same new shares: who holds them would otherwise hold nothing.
            let rekey = slot.as_mut().ok_or_else(not_running)?;
            if let Some(pending) = &mut rekey.proposal {
                pending.nonce = Uuid::new_v4();
                pending.seen.reset();
                rekey.touched = Instant::now();
            }
            verify_status(Some(rekey))?
        }
        (_, ["backup" | "recovery-key-backup"]) => return Err(unbuilt("PGP backup of shares")),
        (_, ["init" | "update" | "verify"]) => return Err(Error::unsupported_operation()),
        _ => return Err(Error::unsupported_path()),
    };
    Ok(Done { bare: Some(bare), close: true, after, ..Done::default() })
}

fn not_running() -> Error {
    Error::invalid("no rekey in progress")
}

fn start(call: &Call<'_>, slot: &mut Option<Rekey>) -> Result<()> {
    if slot.is_some() {
        return Err(Error::invalid("rekey already in progress"));
    }
    let data = call.data();
    let (shares, threshold) = share_counts(data)?;
    if field::strings(data, "pgp_keys")?.is_some_and(|k| !k.is_empty())
        || field::boolean(data, "backup")? == Some(true)
    {
        return Err(unbuilt("PGP-encrypted shares"));
    }
    *slot = Some(Rekey {
        nonce: Uuid::new_v4(),
        shares,
        threshold,
        verify: field::boolean(data, "require_verification")?.unwrap_or(false),
        touched: Instant::now(),
        old: Progress::default(),
        proposal: None,
    });
    Ok(())
}

fn status(core: &Unsealed, rekey: Option<&Rekey>) -> Value {
    let required = core.seal_status().threshold;
    match rekey {
        None => json!({
            "nonce": "", "started": false, "t": 0, "n": 0, "progress": 0, "required": required,
            "pgp_fingerprints": null, "backup": false, "verification_required": false,
        }),
        Some(r) => json!({
            "nonce": r.nonce.to_string(), "started": true, "t": r.threshold, "n": r.shares,
            "progress": r.old.len(), "required": required, "pgp_fingerprints": null, "backup": false,
            "verification_required": r.verify,
            "verification_nonce": r.proposal.as_ref().map(|p| p.nonce.to_string()).unwrap_or_default(),
        }),
    }
}

fn update(core: &Unsealed, call: &Call<'_>, slot: &mut Option<Rekey>, after: &mut After) -> Result<Value> {
    let required = usize::from(core.seal_status().threshold);
    let rekey = slot.as_mut().ok_or_else(not_running)?;
    check_nonce(call.data(), rekey.nonce, "rekey")?;
    if rekey.proposal.is_some() {
        return Err(Error::invalid("the new shares wait for verification: use sys/rekey/verify"));
    }
    let share = decode_share(call.data().get("key").and_then(Value::as_str).unwrap_or(""))?;
    if !core.sealed_store.share_known(share.as_slice()) {
        return Err(Error::invalid("invalid key: not a share of this vault"));
    }
    rekey.touched = Instant::now();
    rekey.old.add(&core.arena, &share)?;
    if rekey.old.len() < required {
        return Ok(status(core, Some(rekey)));
    }
    let old = rekey.old.take()?;
    if !core.store.check_shares(&old) {
        return Err(Error::invalid("the shares do not open this vault; give every share again"));
    }
    let proposal = core.store.propose_rekey(rekey.shares, rekey.threshold).map_err(crate::fault::storage)?;
    let mut answer = issued(rekey, proposal.shares());
    if rekey.verify {
        let nonce = Uuid::new_v4();
        answer.insert("verification_nonce".into(), nonce.to_string().into());
        rekey.proposal = Some(Pending { nonce, proposal, seen: Progress::default() });
    } else {
        *after = After::Rekey(Box::new(proposal));
        *slot = None;
    }
    Ok(Value::Object(answer))
}

/// The one answer that shows the new shares.
fn issued(rekey: &Rekey, shares: &[SecretBytes]) -> vault_logical::Data {
    let b64 = |s: &SecretBytes| base64::engine::general_purpose::STANDARD.encode(s.as_slice());
    super::object(json!({
        "nonce": rekey.nonce.to_string(),
        "complete": true,
        "keys": shares.iter().map(|s| hex::encode(s.as_slice())).collect::<Vec<_>>(),
        "keys_base64": shares.iter().map(b64).collect::<Vec<_>>(),
        "pgp_fingerprints": null,
        "backup": false,
        "verification_required": rekey.verify,
    }))
}

fn verify_status(rekey: Option<&Rekey>) -> Result<Value> {
    let rekey = rekey.ok_or_else(not_running)?;
    let p = rekey.proposal.as_ref().ok_or_else(|| Error::invalid("no rekey verification in progress"))?;
    Ok(json!({
        "nonce": p.nonce.to_string(), "started": true, "t": rekey.threshold, "n": rekey.shares,
        "progress": p.seen.len(),
    }))
}

fn verify(core: &Unsealed, call: &Call<'_>, slot: &mut Option<Rekey>, after: &mut After) -> Result<Value> {
    let rekey = slot.as_mut().ok_or_else(not_running)?;
    let threshold = usize::from(rekey.threshold);
    let pending =
        rekey.proposal.as_mut().ok_or_else(|| Error::invalid("no rekey verification in progress"))?;
    check_nonce(call.data(), pending.nonce, "rekey")?;
    let share = decode_share(call.data().get("key").and_then(Value::as_str).unwrap_or(""))?;
    let known = pending
        .proposal
        .shares()
        .iter()
        .fold(false, |found, s| secmem::ct::eq(s.as_slice(), share.as_slice()) | found);
    if !known {
        return Err(Error::invalid("invalid key: not one of the new shares"));
    }
    rekey.touched = Instant::now();
    pending.seen.add(&core.arena, &share)?;
    let nonce = pending.nonce.to_string();
    if pending.seen.len() < threshold {
        return verify_status(slot.as_ref());
    }
    if let Some(Rekey { proposal: Some(p), .. }) = slot.take() {
        *after = After::Rekey(Box::new(p.proposal));
    }
    Ok(json!({ "nonce": nonce, "complete": true }))
}
