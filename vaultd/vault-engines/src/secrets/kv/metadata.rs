//! `metadata/`: a key's versions and settings.

use super::data::{custom_metadata, time};
use super::record::KeyRecord;
use super::settings::{Settings, go_duration, max_versions};
use crate::limits::{KV_CUSTOM_METADATA_KEY_BYTES, KV_CUSTOM_METADATA_KEYS, KV_CUSTOM_METADATA_VALUE_BYTES};
use crate::params;
use serde_json::Value;
use std::collections::BTreeMap;
use vault_logical::{Context, Data, Error, Request, Response, Result, field};

const FIELDS: &[&str] = &["cas_required", "max_versions", "delete_version_after", "custom_metadata"];

pub(super) async fn list(cx: &mut Context<'_>, request: &Request, folder: &str) -> Result<Response> {
    let (after, limit) = params::page(&request.data)?;
    let keys = cx.view.list(&params::folder("meta/", folder), after.as_deref(), limit).await?;
    Ok(params::check(Response::keys(keys), &request.data, params::LIST_FIELDS, &["path"]))
}

pub(super) async fn read(cx: &mut Context<'_>, request: &Request, path: &str) -> Result<Response> {
    let key = KeyRecord::load(cx, path).await?.ok_or_else(Error::not_found)?;
    let versions = key.versions.iter().map(|(n, v)| {
        let mut m = Data::new();
        m.insert("created_time".into(), time(Some(v.created)));
        m.insert("deletion_time".into(), time(v.deletion));
        m.insert("destroyed".into(), v.destroyed.into());
        (n.to_string(), Value::Object(m))
    });
    let mut d = Data::new();
    d.insert("versions".into(), Value::Object(versions.collect()));
    d.insert("cas_required".into(), key.cas_required.into());
    d.insert("created_time".into(), time(Some(key.created)));
    d.insert("current_version".into(), key.current.into());
    d.insert("custom_metadata".into(), custom_metadata(&key.custom));
    let after = i64::try_from(key.delete_version_after).unwrap_or(i64::MAX);
    d.insert("delete_version_after".into(), go_duration(after).into());
    d.insert("max_versions".into(), key.max_versions.into());
    d.insert("oldest_version".into(), key.oldest.into());
    d.insert("updated_time".into(), time(Some(key.updated)));
    Ok(params::check(Response::data(d), &request.data, &[], &["path"]))
}

/// Settings that a body may state, applied to `key`. In a patch, `null` resets a setting and
/// custom metadata is merged; in a write, `null` is as good as absent.
fn apply(key: &mut KeyRecord, data: &Data, patch: bool) -> Result<()> {
    let reset = |name: &str| patch && data.get(name).is_some_and(Value::is_null);
    if let Some(n) = max_versions(data)? {
        key.max_versions = n;
    } else if reset("max_versions") {
        key.max_versions = 0;
    }
    if let Some(b) = field::boolean(data, "cas_required")? {
        key.cas_required = b;
    } else if reset("cas_required") {
        key.cas_required = false;
    }
    if let Some(d) = field::duration(data, "delete_version_after")? {
        key.delete_version_after = d.as_secs();
    } else if reset("delete_version_after") {
        key.delete_version_after = 0;
    }
    match data.get("custom_metadata") {
        None => {}
        Some(Value::Null) if patch => key.custom.clear(),
        Some(Value::Null) => {}
        Some(Value::Object(change)) => {
            if !patch {
                key.custom.clear();
            }
            merge_custom(&mut key.custom, change, patch)?;
            validate(&key.custom)?;
        }
        Some(_) => return Err(Error::invalid("field \"custom_metadata\" must be an object of strings")),
    }
    Ok(())
}

fn merge_custom(custom: &mut BTreeMap<String, String>, change: &Data, patch: bool) -> Result<()> {
    for (name, value) in change {
        let text = match value {
            Value::Null if patch => {
                custom.remove(name);
                continue;
            }
            Value::String(s) => s.clone(),
            Value::Number(n) => n.to_string(),
            // Go's weak decoding spells booleans so.
            Value::Bool(b) => String::from(if *b { "1" } else { "0" }),
            _ => return Err(invalid_custom("values must be strings")),
        };
        custom.insert(name.clone(), text);
    }
    Ok(())
}

fn invalid_custom(why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("custom_metadata validation failed: {why}"))
}

fn validate(custom: &BTreeMap<String, String>) -> Result<()> {
    if custom.len() > KV_CUSTOM_METADATA_KEYS {
        let n = custom.len();
        return Err(invalid_custom(format!(
            "payload must contain at most {KV_CUSTOM_METADATA_KEYS} keys, provided {n}"
        )));
    }
    for (name, value) in custom {
        for (what, text, max) in
            [("key", name, KV_CUSTOM_METADATA_KEY_BYTES), ("value", value, KV_CUSTOM_METADATA_VALUE_BYTES)]
        {
            let len = text.len();
            if len == 0 || len > max {
                return Err(invalid_custom(format!(
                    "length of a {what} is {len} but must be 0 < len({what}) <= {max}"
                )));
            }
            if text.chars().any(char::is_control) {
                return Err(invalid_custom(format!("a {what} contains unprintable characters")));
            }
        }
    }
    Ok(())
}

fn mandated(response: Response, settings: &Settings, data: &Data) -> Result<Response> {
    if settings.cas_required && field::boolean(data, "cas_required")? == Some(false) {
        return Ok(response.warn(
            "\"cas_required\" set to false, but is mandated by backend config. This value will be ignored.",
        ));
    }
    Ok(response)
}

pub(super) async fn write(cx: &mut Context<'_>, request: &Request, path: &str) -> Result<Response> {
    let settings = Settings::load(cx).await?;
    let mut key = match KeyRecord::load(cx, path).await? {
        Some(key) => key,
        None => KeyRecord::new(cx.clock.now()),
    };
    apply(&mut key, &request.data, false)?;
    if FIELDS.iter().any(|f| request.data.contains_key(*f)) {
        key.save(cx, path).await?;
    }
    let response = mandated(Response::empty(), &settings, &request.data)?;
    Ok(params::check(response, &request.data, FIELDS, &["path"]))
}

pub(super) async fn patch(cx: &mut Context<'_>, request: &Request, path: &str) -> Result<Response> {
    let mut key = KeyRecord::load(cx, path).await?.ok_or_else(Error::not_found)?;
    let settings = Settings::load(cx).await?;
    apply(&mut key, &request.data, true)?;
    key.save(cx, path).await?;
    let response = mandated(Response::empty(), &settings, &request.data)?;
    Ok(params::check(response, &request.data, FIELDS, &["path"]))
}

pub(super) async fn delete(cx: &mut Context<'_>, path: &str) -> Result<Response> {
    if let Some(key) = KeyRecord::load(cx, path).await? {
        key.remove(cx, path).await?;
    }
    Ok(Response::empty())
}
