//! `data/` and `subkeys/`: the secret itself.

use super::merge;
use super::record::{self, KeyRecord, VersionRecord};
use super::settings::Settings;
use crate::params;
use serde_json::Value;
use std::collections::BTreeMap;
use vault_logical::{Context, Data, Error, Request, Response, Result, Timestamp, field};

const FIELDS: &[&str] = &["version", "options", "data"];

pub(super) fn time(t: Option<Timestamp>) -> Value {
    t.map(Timestamp::rfc3339).unwrap_or_default().into()
}

/// `null` when there is none, as in Vault.
pub(super) fn custom_metadata(map: &BTreeMap<String, String>) -> Value {
    if map.is_empty() {
        return Value::Null;
    }
    Value::Object(map.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect())
}

/// The `metadata` object of one version.
fn describe(key: &KeyRecord, n: u64, version: &VersionRecord) -> Data {
    let mut m = Data::new();
    m.insert("created_time".into(), time(Some(version.created)));
    m.insert("custom_metadata".into(), custom_metadata(&key.custom));
    m.insert("deletion_time".into(), time(version.deletion));
    m.insert("destroyed".into(), version.destroyed.into());
    m.insert("version".into(), n.into());
    m
}

/// The version a read asks for: `(its metadata, its data unless it is gone)`.
async fn fetch(cx: &mut Context<'_>, request: &Request, path: &str) -> Result<(Data, Option<Data>)> {
    let asked = field::unsigned(&request.data, "version")?;
    let key = KeyRecord::load(cx, path).await?.ok_or_else(Error::not_found)?;
    let n = asked.filter(|n| *n > 0).unwrap_or(key.current);
    let version = key.versions.get(&n).ok_or_else(Error::not_found)?;
    let metadata = describe(&key, n, version);
    let data = if version.gone(cx.clock.now()) { None } else { Some(key.data(cx, n).await?) };
    Ok((metadata, data))
}

fn answer(name: &str, metadata: Data, data: Option<Data>) -> Response {
    let not_found = data.is_none();
    let mut d = Data::new();
    d.insert(name.into(), data.map_or(Value::Null, Value::Object));
    d.insert("metadata".into(), Value::Object(metadata));
    Response { not_found, ..Response::data(d) }
}

pub(super) async fn read(cx: &mut Context<'_>, request: &Request, path: &str) -> Result<Response> {
    let (metadata, data) = fetch(cx, request, path).await?;
    Ok(params::check(answer("data", metadata, data), &request.data, FIELDS, &["path"]))
}

pub(super) async fn subkeys(cx: &mut Context<'_>, request: &Request, path: &str) -> Result<Response> {
    let depth = field::unsigned(&request.data, "depth")?.unwrap_or(0);
    let (metadata, data) = fetch(cx, request, path).await?;
    let keys = data.map(|d| merge::structure(d, usize::try_from(depth).unwrap_or(usize::MAX)));
    Ok(params::check(answer("subkeys", metadata, keys), &request.data, &["version", "depth"], &["path"]))
}

/// The body's `data` object.
fn body(request: &Request) -> Result<&Data> {
    match request.data.get("data") {
        None | Some(Value::Null) => Err(Error::invalid("no data provided")),
        Some(Value::Object(m)) => Ok(m),
        Some(_) => Err(Error::invalid("field \"data\" must be an object")),
    }
}

/// Compares `options.cas` with the current version.
fn check_and_set(request: &Request, settings: &Settings, key: &KeyRecord) -> Result<()> {
    let cas = match request.data.get("options") {
        None | Some(Value::Null) => None,
        Some(Value::Object(o)) => o.get("cas").filter(|v| !v.is_null()),
        Some(_) => return Err(Error::invalid("field \"options\" must be an object")),
    };
    let Some(cas) = cas else {
        if settings.cas_required || key.cas_required {
            return Err(Error::invalid("check-and-set parameter required for this call"));
        }
        return Ok(());
    };
    // Negative is a number like any other: it is no version's.
    let cas = match cas {
        Value::Number(n) => n.as_i64(),
        Value::String(s) => s.trim().parse::<i64>().ok(),
        _ => None,
    };
    match cas {
        None => Err(Error::invalid("error parsing check-and-set parameter")),
        Some(n) if u64::try_from(n) != Ok(key.current) => {
            Err(Error::invalid("check-and-set parameter did not match the current version"))
        }
        Some(_) => Ok(()),
    }
}

/// Stores `data` as the next version.
async fn push(
    cx: &mut Context<'_>,
    settings: &Settings,
    mut key: KeyRecord,
    path: &str,
    data: &Data,
) -> Result<Data> {
    let now = cx.clock.now();
    let raw = record::encode(data)?;
    let version = VersionRecord { created: now, deletion: settings.deletion(&key, now), destroyed: false };
    let keep = settings.keep(&key);
    key.push(cx, raw, version.clone(), keep).await?;
    key.save(cx, path).await?;
    Ok(describe(&key, key.current, &version))
}

pub(super) async fn write(cx: &mut Context<'_>, request: &Request, path: &str) -> Result<Response> {
    let data = body(request)?;
    let settings = Settings::load(cx).await?;
    let key = match KeyRecord::load(cx, path).await? {
        Some(key) => key,
        None => KeyRecord::new(cx.clock.now()),
    };
    check_and_set(request, &settings, &key)?;
    let described = push(cx, &settings, key, path, data).await?;
    Ok(params::check(Response::data(described), &request.data, FIELDS, &["path"]))
}

/// RFC 7396 over the current version.
pub(super) async fn patch(cx: &mut Context<'_>, request: &Request, path: &str) -> Result<Response> {
    let change = body(request)?;
    let key = KeyRecord::load(cx, path).await?.ok_or_else(Error::not_found)?;
    let settings = Settings::load(cx).await?;
    check_and_set(request, &settings, &key)?;
    let version = key.versions.get(&key.current).ok_or_else(Error::not_found)?;
    if version.gone(cx.clock.now()) {
        return Ok(Response { not_found: true, ..Response::data(describe(&key, key.current, version)) });
    }
    let mut data = key.data(cx, key.current).await?;
    merge::patch(&mut data, change)?;
    let described = push(cx, &settings, key, path, &data).await?;
    Ok(params::check(Response::data(described), &request.data, FIELDS, &["path"]))
}
