//! `code/`: the current code, and the validation of one, each accepted once.
//!
//! What is accepted is a step, not a text (HCSEC-2025-19: codes compared as text were accepted
//! again with spaces around them). A step at or below the last accepted one is used up, whatever
//! its code looks like. Validation happens in the charge, a transaction of its own that is never
//! rolled back: parallel requests see each other's steps and wrong codes.

use super::keys::{KeyRecord, used_path};
use crate::limits::{
    TOTP_FIRST_LOCK, TOTP_FREE_FAILURES, TOTP_LONGEST_LOCK, TOTP_MAX_CODE_BYTES, TOTP_WIPE_BYTES,
};
use crate::params;
use secmem::Zeroizing;
use secmem::stack::wiped;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;
use vault_logical::{
    Charge, Context, Data, Error, ErrorKind, Request, Response, Result, Timestamp, ViewExt, field,
};

const FORM: u8 = 1;

/// Stored at `used/<name>`.
#[derive(Serialize, Deserialize)]
struct Used {
    v: u8,
    /// The key this belongs to.
    key: Uuid,
    /// Last accepted step.
    step: Option<u64>,
    /// Wrong codes since the last right one.
    failures: u32,
    locked_until: Timestamp,
}

/// Stored at `floor`.
#[derive(Serialize, Deserialize)]
struct Floor {
    v: u8,
    at: Timestamp,
}

const FLOOR: &str = "floor";

/// Which codes were accepted of late is no longer known: none that could have been is accepted from now on.
pub(super) async fn use_up_all(cx: &mut Context<'_>) -> Result<()> {
    let at = cx.clock.now();
    cx.view.put_json(FLOOR, &Floor { v: FORM, at }).await
}

/// The last step that may have been used before the store was set back.
async fn floor(cx: &mut Context<'_>, key: &KeyRecord) -> Result<Option<u64>> {
    match cx.view.get_json::<Floor>(FLOOR).await? {
        None => Ok(None),
        Some(f) if f.v != FORM => Err(Error::internal("stored state is of a newer form")),
        Some(f) => Ok(seconds(f.at)?.checked_div(key.period).map(|step| step.saturating_add(key.skew))),
    }
}

/// What the charge found.
struct Valid(bool);

fn unknown(name: &str) -> Error {
    Error::invalid(format!("unknown key: {name}"))
}

fn seconds(now: Timestamp) -> Result<u64> {
    u64::try_from(now.unix_secs()).map_err(|_| Error::internal("the clock is before 1970"))
}

pub(super) async fn generate(cx: &mut Context<'_>, request: &Request, name: &str) -> Result<Response> {
    let key = KeyRecord::load(cx, name).await?.ok_or_else(|| unknown(name))?;
    let now = seconds(cx.clock.now())?;
    let code = wiped(TOTP_WIPE_BYTES, || key.totp().map(|t| t.generate(now).to_string()))?;
    let mut d = Data::new();
    d.insert("code".into(), code.into());
    Ok(params::check(Response::data(d), &request.data, &[], &["name"]))
}

/// The code without spaces, if what is left is exactly `digits` ASCII digits.
fn normalise(text: &str, digits: u8) -> Option<Zeroizing<String>> {
    if text.len() > TOTP_MAX_CODE_BYTES {
        return None;
    }
    let code: Zeroizing<String> = Zeroizing::new(text.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    (code.len() == usize::from(digits) && code.bytes().all(|b| b.is_ascii_digit())).then_some(code)
}

/// How long the key is locked after its `failures`-th wrong code in a row.
fn lock(failures: u32) -> Duration {
    match failures.checked_sub(TOTP_FREE_FAILURES) {
        None => Duration::ZERO,
        Some(n) => {
            TOTP_FIRST_LOCK.saturating_mul(1u32.checked_shl(n).unwrap_or(u32::MAX)).min(TOTP_LONGEST_LOCK)
        }
    }
}

enum Found {
    /// A step that was not used yet.
    Fresh(u64),
    Used,
    Nothing,
}

/// Looks `code` up in the window of accepted steps. Looks at all of them, so that the time it
/// takes does not tell which one it was.
fn find(key: &KeyRecord, code: &str, now: u64, last: Option<u64>) -> Result<Found> {
    let totp = key.totp()?;
    let current = now.checked_div(key.period).ok_or_else(|| Error::internal("a period of zero"))?;
    let mut found = Found::Nothing;
    for step in current.saturating_sub(key.skew)..=current.saturating_add(key.skew) {
        let matches = totp.check(code, step.saturating_mul(key.period)).is_some();
        match (matches, last.is_none_or(|last| step > last), &found) {
            (true, true, Found::Nothing | Found::Used) => found = Found::Fresh(step),
            (true, false, Found::Nothing) => found = Found::Used,
            _ => {}
        }
    }
    Ok(found)
}

/// The charge: decides, and keeps what it decided.
pub(super) async fn validate(
    cx: &mut Context<'_>,
    request: &Request,
    name: &str,
) -> Result<impl Send + Sync + use<>> {
    let given = match field::string(&request.data, "code")? {
        Some(c) if !c.is_empty() => Zeroizing::new(c),
        _ => return Err(Error::invalid("the code value is required")),
    };
    let key = KeyRecord::load(cx, name).await?.ok_or_else(|| unknown(name))?;
    let now = cx.clock.now();
    let fresh = || Used { v: FORM, key: key.id, step: None, failures: 0, locked_until: Timestamp::ZERO };
    let mut used = match cx.view.get_json::<Used>(&used_path(name)).await? {
        Some(u) if u.v != FORM => return Err(Error::internal("stored state is of a newer form")),
        Some(u) if u.key == key.id => u,
        _ => fresh(),
    };
    if now < used.locked_until {
        let wait = now.until(used.locked_until).as_secs().saturating_add(1);
        return Err(Error::new(
            ErrorKind::RateLimited,
            format!("too many wrong codes; try again in {wait} seconds"),
        ));
    }
    // Nothing that is not a code can be a guess: it is not counted.
    let Some(code) = normalise(&given, key.digits) else { return Ok(Valid(false)) };
    let last = used.step.max(floor(cx, &key).await?);
    let seconds = seconds(now)?;
    let valid = match wiped(TOTP_WIPE_BYTES, || find(&key, &code, seconds, last))? {
        Found::Used => return Err(Error::invalid("code already used; wait until the next time period")),
        Found::Fresh(step) => {
            used.step = Some(step);
            used.failures = 0;
            true
        }
        Found::Nothing => {
            used.failures = used.failures.saturating_add(1);
            let lock = lock(used.failures);
            used.locked_until = if lock.is_zero() { Timestamp::ZERO } else { now.plus(lock) };
            false
        }
    };
    cx.view.put_json(&used_path(name), &used).await?;
    Ok(Valid(valid))
}

pub(super) fn answer(request: &Request, charge: Option<&Charge>) -> Result<Response> {
    let valid = charge
        .and_then(|c| c.0.downcast_ref::<Valid>())
        .ok_or_else(|| Error::internal("a code is validated only by a charge"))?;
    let mut d = Data::new();
    d.insert("valid".into(), valid.0.into());
    Ok(params::check(Response::data(d), &request.data, &["code"], &["name"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_double_to_a_bound() {
        let secs: Vec<u64> = (4..20).map(|n| lock(n).as_secs()).collect();
        assert_eq!(secs[..5], [0, 30, 60, 120, 240]);
        assert!(secs.windows(2).all(|w| w[0] <= w[1]));
        assert_eq!(lock(u32::MAX), TOTP_LONGEST_LOCK);
    }

    #[test]
    fn only_ascii_digits_and_spaces_make_a_code() {
        for ok in ["123456", " 123456", "123 456", "1 2 3 4 5 6", "123456\n"] {
            assert_eq!(normalise(ok, 6).unwrap().as_str(), "123456");
        }
        for bad in [
            "12345",
            "1234567",
            "+12345",
            "-12345",
            "0x1234",
            "１２３４５６",
            "12345６",
            "",
            "123456\u{a0}",
            "1e5000",
        ] {
            assert!(normalise(bad, 6).is_none(), "{bad}");
        }
        assert!(normalise(&format!("123456{}", " ".repeat(TOTP_MAX_CODE_BYTES)), 6).is_none());
    }
}
