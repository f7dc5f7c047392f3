//! `sys/generate-root`: a new root token from a quorum of shares, for when nobody can get in any more.
//! <https://developer.hashicorp.com/vault/api-docs/system/generate-root>
//!
//! Vault lets anyone on the network start and cancel an attempt (CVE-2026-5807). Here that takes a token with `sudo`,
//! or the operator's unix socket: after an accepted rollback no token is left. A share is proof enough for giving it.

use super::{After, Done};
use crate::ceremony::check_nonce;
use crate::exchange::{Incoming, Verb};
use crate::limits::{CEREMONY_TTL, TOKEN_CHARS};
use crate::pgp::PublicKey;
use crate::seal::{Progress, decode_share};
use crate::token::NewToken;
use crate::unsealed::Unsealed;
use base64::Engine as _;
use secmem::{ExposeSecret, Key, SecretString};
use serde_json::{Value, json};
use std::time::Instant;
use storage::Transaction;
use uuid::Uuid;
use vault_logical::{Error, RequestId, Response, Result, Transport, field};

/// An attempt under way. At most one; wiped when it stands still for too long.
pub struct Attempt {
    nonce: Uuid,
    cover: Cover,
    touched: Instant,
    shares: Progress,
    /// The request that gave the last share. It may run again after a conflict; no other may: two tokens under one
    /// password would give away their difference.
    completing: Option<RequestId>,
}

/// How the new token is answered, so that the answer alone is no token.
enum Cover {
    /// XORed with a one-time password.
    Otp(Key),
    /// Encrypted to an operator's key.
    Pgp(PublicKey),
}

/// Whether this request is let in without asking a policy: over the operator's socket without a token, and with a share.
pub fn open(r: &Incoming, has_caller: bool) -> bool {
    match r.path.as_str() {
        "sys/generate-root/attempt" => !has_caller && r.connection.transport == Transport::Unix,
        "sys/generate-root/update" => r.verb == Verb::Write,
        _ => false,
    }
}

/// One request below `sys/generate-root/`, already admitted.
pub async fn handle(core: &Unsealed, txn: &mut Transaction, r: &Incoming, rest: &str) -> Result<Done> {
    let mut slot = core.generate_root.lock().await;
    if slot.as_ref().is_some_and(|a| a.touched.elapsed() > CEREMONY_TTL) {
        *slot = None;
    }
    match (r.verb, rest) {
        (Verb::Read, "attempt") => Ok(bare(status(core, slot.as_ref()))),
        (Verb::Write, "attempt") => start(core, r, &mut slot),
        (Verb::Delete, "attempt") => {
            *slot = None;
            Ok(Done::default())
        }
        (Verb::Write, "update") => update(core, txn, r, &mut slot).await,
        (_, "attempt" | "update") => Err(Error::unsupported_operation()),
        _ => Err(Error::unsupported_path()),
    }
}

/// The token of this request is stored and its answer recorded: the attempt is over.
pub async fn finish(core: &Unsealed, request: RequestId) {
    let mut slot = core.generate_root.lock().await;
    if slot.as_ref().is_some_and(|a| a.completing == Some(request)) {
        *slot = None;
    }
    tracing::warn!("a root token was generated");
}

fn bare(json: Value) -> Done {
    Done { bare: Some(json), close: true, ..Done::default() }
}

fn status(core: &Unsealed, attempt: Option<&Attempt>) -> Value {
    json!({
        "nonce": attempt.map(|a| a.nonce.to_string()).unwrap_or_default(),
        "started": attempt.is_some(),
        "progress": attempt.map_or(0, |a| a.shares.len()),
        "required": core.seal_status().threshold,
        "complete": false,
        "encoded_token": "",
        "encoded_root_token": "",
        "pgp_fingerprint": match attempt.map(|a| &a.cover) {
            Some(Cover::Pgp(key)) => key.fingerprint.as_str(),
            _ => "",
        },
        "otp": "",
        "otp_length": TOKEN_CHARS,
    })
}

fn start(core: &Unsealed, r: &Incoming, slot: &mut Option<Attempt>) -> Result<Done> {
    if slot.as_ref().is_some_and(|a| a.completing.is_none()) {
        return Err(Error::invalid("root generation already in progress"));
    }
    let pgp_key = field::string(&r.data, "pgp_key")?.filter(|t| !t.is_empty());
    let given = field::string(&r.data, "otp")?.filter(|t| !t.is_empty()).map(SecretString::from);
    let (cover, made) = match (pgp_key, given) {
        (Some(_), Some(_)) => return Err(Error::invalid("give \"otp\" or \"pgp_key\", not both")),
        (Some(key), None) => (Cover::Pgp(PublicKey::parse(&key)?), None),
        (None, Some(given)) => (password(core, &given)?, None),
        (None, None) => {
            let made = secmem::random::base62(TOKEN_CHARS).map_err(Error::internal)?;
            (password(core, &made)?, Some(made))
        }
    };
    let attempt = Attempt {
        nonce: Uuid::new_v4(),
        cover,
        touched: Instant::now(),
        shares: Progress::default(),
        completing: None,
    };
    let mut answer = status(core, Some(&attempt));
    if let Some(made) = &made
        && let Some(otp) = answer.get_mut("otp")
    {
        *otp = made.expose_secret().into();
    }
    *slot = Some(attempt);
    tracing::warn!("generation of a root token was started");
    Ok(bare(answer))
}

fn password(core: &Unsealed, text: &SecretString) -> Result<Cover> {
    let text = text.expose_secret();
    if text.len() != TOKEN_CHARS {
        return Err(Error::invalid(format!("OTP string is wrong length: it must have {TOKEN_CHARS} bytes")));
    }
    Ok(Cover::Otp(core.arena.from_slice(text.as_bytes()).map_err(Error::internal)?))
}

async fn update(
    core: &Unsealed,
    txn: &mut Transaction,
    r: &Incoming,
    slot: &mut Option<Attempt>,
) -> Result<Done> {
    // Before anything is told of the attempt: who has no share learns nothing and changes nothing.
    let share = decode_share(r.data.get("key").and_then(Value::as_str).unwrap_or(""))?;
    if !core.sealed_store.share_known(share.as_slice()) {
        return Err(Error::invalid("invalid key: not a share of this vault"));
    }
    let attempt = slot
        .as_mut()
        .filter(|a| a.completing.is_none_or(|id| id == r.id))
        .ok_or_else(|| Error::invalid("no root generation in progress"))?;
    check_nonce(&r.data, attempt.nonce, "root generation")?;
    attempt.touched = Instant::now();
    attempt.shares.add(&core.arena, &share)?;
    if attempt.shares.len() < usize::from(core.seal_status().threshold) {
        return Ok(bare(status(core, slot.as_ref())));
    }
    // The shares stay until the answer is recorded: a transaction that meets another one runs this again.
    if !core.store.check_shares(&attempt.shares.copies()?) {
        attempt.shares.reset();
        return Err(Error::invalid("the shares do not open this vault; give every share again"));
    }
    attempt.completing = Some(r.id);
    let issued = core.tokens.create(txn, NewToken::root()).await?;
    let token = &issued.client_token;
    let encoded = match &attempt.cover {
        Cover::Otp(otp) => {
            otp.with(|otp| xor(token.expose_secret().as_bytes(), otp)).map_err(|_| crate::fault::sealed())?
        }
        Cover::Pgp(key) => base64::engine::general_purpose::STANDARD.encode(key.encrypt(token)?),
    };
    let mut answer = status(core, Some(attempt));
    for (name, value) in [
        ("complete", Value::Bool(true)),
        ("encoded_token", encoded.clone().into()),
        ("encoded_root_token", encoded.into()),
    ] {
        if let Some(field) = answer.get_mut(name) {
            *field = value;
        }
    }
    // `auth` is for the record, and for taking the token back if there can be no record.
    Ok(Done {
        bare: Some(answer),
        auth: Some(issued),
        created: true,
        close: true,
        after: After::RootGenerated,
        response: Response::default(),
        ..Done::default()
    })
}

/// Base64 without padding of the token XOR the one-time password, as every client decodes it.
fn xor(token: &[u8], otp: &[u8]) -> String {
    let mixed: Vec<u8> = token.iter().zip(otp).map(|(a, b)| a ^ b).collect();
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(mixed)
}
