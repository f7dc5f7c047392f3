//! `delete/`, `undelete/`, `destroy/`, and DELETE on `data/`.

use super::record::KeyRecord;
use super::settings::Settings;
use crate::limits::KV_MAX_VERSION_ARGS;
use crate::params;
use vault_logical::{Context, Error, Request, Response, Result, Timestamp, field};

/// The body's `versions`.
fn numbers(request: &Request) -> Result<Vec<u64>> {
    let n = field::integers(&request.data, "versions")?.unwrap_or_default();
    match n.len() {
        0 => Err(Error::invalid("No version number provided")),
        len if len > KV_MAX_VERSION_ARGS => Err(Error::invalid("too many version numbers")),
        _ => Ok(n),
    }
}

fn done(request: &Request) -> Response {
    params::check(Response::empty(), &request.data, &["versions"], &["path"])
}

fn mark_deleted(key: &mut KeyRecord, n: u64, now: Timestamp) {
    if let Some(v) = key.versions.get_mut(&n).filter(|v| !v.gone(now)) {
        v.deletion = Some(now);
    }
}

pub(super) async fn delete_current(cx: &mut Context<'_>, path: &str) -> Result<Response> {
    if let Some(mut key) = KeyRecord::load(cx, path).await? {
        let current = key.current;
        mark_deleted(&mut key, current, cx.clock.now());
        key.save(cx, path).await?;
    }
    Ok(Response::empty())
}

pub(super) async fn delete(cx: &mut Context<'_>, request: &Request, path: &str) -> Result<Response> {
    let numbers = numbers(request)?;
    if let Some(mut key) = KeyRecord::load(cx, path).await? {
        for n in numbers {
            mark_deleted(&mut key, n, cx.clock.now());
        }
        key.save(cx, path).await?;
    }
    Ok(done(request))
}

pub(super) async fn undelete(cx: &mut Context<'_>, request: &Request, path: &str) -> Result<Response> {
    let numbers = numbers(request)?;
    if let Some(mut key) = KeyRecord::load(cx, path).await? {
        let settings = Settings::load(cx).await?;
        let deletion = settings.deletion(&key, cx.clock.now());
        for n in numbers {
            if let Some(v) = key.versions.get_mut(&n).filter(|v| !v.destroyed) {
                v.deletion = deletion;
            }
        }
        key.save(cx, path).await?;
    }
    Ok(done(request))
}

pub(super) async fn destroy(cx: &mut Context<'_>, request: &Request, path: &str) -> Result<Response> {
    let numbers = numbers(request)?;
    if let Some(mut key) = KeyRecord::load(cx, path).await? {
        for n in numbers {
            let Some(v) = key.versions.get_mut(&n).filter(|v| !v.destroyed) else { continue };
            v.destroyed = true;
            key.forget(cx, n).await?;
        }
        key.save(cx, path).await?;
    }
    Ok(done(request))
}
