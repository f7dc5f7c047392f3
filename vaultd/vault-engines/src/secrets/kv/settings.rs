//! `config`: settings of a KV v2 mount, and the rules that combine them with a key's own.

use super::record::KeyRecord;
use crate::limits::{KV_DEFAULT_VERSIONS, KV_MAX_VERSIONS};
use crate::params;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use vault_logical::{Context, Data, Error, Request, Response, Result, Timestamp, ViewExt, field};

const FORM: u8 = 1;
const PATH: &str = "config";
const FIELDS: &[&str] = &["max_versions", "cas_required", "delete_version_after"];

#[derive(Serialize, Deserialize)]
pub(super) struct Settings {
    v: u8,
    pub max_versions: u64,
    pub cas_required: bool,
    /// Seconds; negative turns it off for every key of the mount.
    pub delete_version_after: i64,
}

impl Settings {
    pub async fn load(cx: &mut Context<'_>) -> Result<Self> {
        match cx.view.get_json::<Settings>(PATH).await? {
            None => Ok(Settings { v: FORM, max_versions: 0, cas_required: false, delete_version_after: 0 }),
            Some(s) if s.v == FORM => Ok(s),
            Some(_) => Err(Error::internal("stored settings are of a newer form")),
        }
    }

    /// How many versions of `key` are kept: the larger of its own and the mount's setting.
    pub fn keep(&self, key: &KeyRecord) -> u64 {
        match self.max_versions.max(key.max_versions) {
            0 => KV_DEFAULT_VERSIONS,
            n => n.min(KV_MAX_VERSIONS),
        }
    }

    /// When a version of `key` that is written (or undeleted) at `now` ends: the smaller of the
    /// two settings that are set.
    pub fn deletion(&self, key: &KeyRecord, now: Timestamp) -> Option<Timestamp> {
        let mount = u64::try_from(self.delete_version_after).ok()?; // negative: off
        let after = match (mount, key.delete_version_after) {
            (0, 0) => return None,
            (0, n) | (n, 0) => n,
            (a, b) => a.min(b),
        };
        Some(now.plus(Duration::from_secs(after)))
    }
}

/// `max_versions`, bounded.
pub(super) fn max_versions(data: &Data) -> Result<Option<u64>> {
    match field::unsigned(data, "max_versions")? {
        Some(n) if n > KV_MAX_VERSIONS => {
            Err(Error::invalid(format!("field \"max_versions\" must be at most {KV_MAX_VERSIONS}")))
        }
        n => Ok(n),
    }
}

/// Seconds, negative allowed.
fn signed_duration(data: &Data, name: &str) -> Result<Option<i64>> {
    let negative = match data.get(name) {
        Some(Value::String(s)) => s.trim_start().starts_with('-'),
        Some(Value::Number(n)) => n.as_i64().is_some_and(|n| n < 0),
        _ => false,
    };
    if negative {
        return Ok(Some(-1));
    }
    Ok(field::duration(data, name)?.map(|d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX)))
}

/// Go's text of a duration of whole seconds: `0s`, `1m30s`, `3h0m0s`.
pub(super) fn go_duration(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    let n = seconds.unsigned_abs();
    let (h, m, s) = (n / 3600, n / 60 % 60, n % 60);
    match (h, m) {
        (0, 0) => format!("{sign}{s}s"),
        (0, _) => format!("{sign}{m}m{s}s"),
        _ => format!("{sign}{h}h{m}m{s}s"),
    }
}

pub(super) async fn read(cx: &mut Context<'_>) -> Result<Response> {
    let s = Settings::load(cx).await?;
    let mut d = Data::new();
    d.insert("cas_required".into(), s.cas_required.into());
    d.insert("delete_version_after".into(), go_duration(s.delete_version_after).into());
    d.insert("max_versions".into(), s.max_versions.into());
    Ok(Response::data(d))
}

pub(super) async fn write(cx: &mut Context<'_>, request: &Request) -> Result<Response> {
    let mut s = Settings::load(cx).await?;
    if let Some(n) = max_versions(&request.data)? {
        s.max_versions = n;
    }
    if let Some(b) = field::boolean(&request.data, "cas_required")? {
        s.cas_required = b;
    }
    if let Some(n) = signed_duration(&request.data, "delete_version_after")? {
        s.delete_version_after = n;
    }
    cx.view.put_json(PATH, &s).await?;
    Ok(params::check(Response::empty(), &request.data, FIELDS, &[]))
}

#[cfg(test)]
mod tests {
    use super::go_duration;

    #[test]
    fn durations_as_go_prints_them() {
        for (n, text) in
            [(0, "0s"), (-1, "-1s"), (59, "59s"), (60, "1m0s"), (3600, "1h0m0s"), (12_319, "3h25m19s")]
        {
            assert_eq!(go_duration(n), text);
        }
    }
}
