//! Stored forms of KV.
//!
//! Version 1 keeps one [`Stored`] a path. Version 2 keeps, for the key `<path>`:
//! - `meta/<path>`: a [`KeyRecord`], with the current version's data inside it up to
//!   [`KV_INLINE_BYTES`], so that reading the latest version is one read;
//! - `ver/<id>/<n>`: a [`Stored`] for every other version, and for a larger current one. `id` is
//!   the record's own random id: a key that is deleted and made again shares nothing with its past.
//!
//! Data is kept as the JSON text that was written: numbers keep every digit.
//! None of these types prints: they hold secrets.

use crate::limits::KV_INLINE_BYTES;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use uuid::Uuid;
use vault_api::json::{self, Bounds};
use vault_logical::limits::MAX_SECRET_BYTES;
use vault_logical::{Context, Data, Error, ErrorKind, Result, Timestamp, ViewExt};

const FORM: u8 = 1;

/// A JSON object as text.
pub(crate) fn encode(data: &Data) -> Result<Box<RawValue>> {
    let raw = serde_json::value::to_raw_value(data).map_err(|_| Error::internal("data cannot be encoded"))?;
    if raw.get().len() > MAX_SECRET_BYTES {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("secret is larger than {MAX_SECRET_BYTES} bytes"),
        ));
    }
    Ok(raw)
}

pub(crate) fn decode(raw: &RawValue) -> Result<Data> {
    json::object(raw.get(), &Bounds::SIZED).map_err(|_| Error::internal("stored secret has an unknown form"))
}

/// One value: a KV v1 secret, one version of a KV v2 secret.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stored {
    v: u8,
    data: Box<RawValue>,
}

impl Stored {
    pub(crate) fn new(data: Box<RawValue>) -> Self {
        Stored { v: FORM, data }
    }
    pub(crate) fn into_raw(self) -> Result<Box<RawValue>> {
        if self.v == FORM { Ok(self.data) } else { Err(Error::internal("stored secret is of a newer form")) }
    }
    pub(crate) fn into_data(self) -> Result<Data> {
        decode(&self.into_raw()?)
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct VersionRecord {
    #[serde(rename = "c")]
    pub created: Timestamp,
    /// When it is, or will be, deleted.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Timestamp>,
    #[serde(rename = "x", default, skip_serializing_if = "std::ops::Not::not")]
    pub destroyed: bool,
}

impl VersionRecord {
    /// True when its data must not be answered.
    pub fn gone(&self, now: Timestamp) -> bool {
        self.destroyed || self.deleted(now)
    }
    pub fn deleted(&self, now: Timestamp) -> bool {
        self.deletion.is_some_and(|d| d <= now)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct KeyRecord {
    v: u8,
    id: Uuid,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub current: u64,
    /// Lowest version still kept once any was dropped; 0 before that, as in Vault.
    pub oldest: u64,
    #[serde(default)]
    pub max_versions: u64,
    #[serde(default)]
    pub cas_required: bool,
    /// Seconds.
    #[serde(default)]
    pub delete_version_after: u64,
    #[serde(default)]
    pub custom: BTreeMap<String, String>,
    pub versions: BTreeMap<u64, VersionRecord>,
    /// The current version's data, when small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inline: Option<Box<RawValue>>,
}

pub(super) fn meta_path(key: &str) -> String {
    format!("meta/{key}")
}

impl KeyRecord {
    pub fn new(now: Timestamp) -> Self {
        KeyRecord {
            v: FORM,
            id: Uuid::new_v4(),
            created: now,
            updated: now,
            current: 0,
            oldest: 0,
            max_versions: 0,
            cas_required: false,
            delete_version_after: 0,
            custom: BTreeMap::new(),
            versions: BTreeMap::new(),
            inline: None,
        }
    }

    pub async fn load(cx: &mut Context<'_>, key: &str) -> Result<Option<Self>> {
        let record: Option<KeyRecord> = cx.view.get_json(&meta_path(key)).await?;
        match record {
            Some(r) if r.v != FORM => Err(Error::internal("stored key is of a newer form")),
            r => Ok(r),
        }
    }

    pub async fn save(&self, cx: &mut Context<'_>, key: &str) -> Result<()> {
        cx.view.put_json(&meta_path(key), self).await
    }

    fn version_path(&self, n: u64) -> String {
        format!("ver/{}/{n}", self.id.as_simple())
    }

    /// The data of version `n`, which must exist and not be destroyed.
    pub async fn data(&self, cx: &mut Context<'_>, n: u64) -> Result<Data> {
        if n == self.current
            && let Some(raw) = &self.inline
        {
            return decode(raw);
        }
        match cx.view.get_json::<Stored>(&self.version_path(n)).await? {
            Some(s) => s.into_data(),
            None => Err(Error::internal("a version's record is missing")),
        }
    }

    /// Makes `raw` the current version and drops versions beyond `keep`. The caller saves.
    pub async fn push(
        &mut self,
        cx: &mut Context<'_>,
        raw: Box<RawValue>,
        version: VersionRecord,
        keep: u64,
    ) -> Result<()> {
        if let Some(previous) = self.inline.take() {
            let path = self.version_path(self.current);
            cx.view.put_json(&path, &Stored::new(previous)).await?;
        }
        self.current = self.current.saturating_add(1);
        self.updated = version.created;
        self.versions.insert(self.current, version);
        if raw.get().len() <= KV_INLINE_BYTES {
            self.inline = Some(raw);
        } else {
            let path = self.version_path(self.current);
            cx.view.put_json(&path, &Stored::new(raw)).await?;
        }
        self.prune(cx, keep).await
    }

    /// Drops the oldest versions until `keep` are left.
    async fn prune(&mut self, cx: &mut Context<'_>, keep: u64) -> Result<()> {
        if self.current.saturating_sub(self.oldest) < keep {
            return Ok(());
        }
        let last_dropped = self.current.saturating_sub(keep);
        while let Some(first) = self.versions.first_entry().filter(|e| *e.key() <= last_dropped) {
            let n = *first.key();
            first.remove();
            self.forget(cx, n).await?;
        }
        self.oldest = last_dropped.saturating_add(1);
        Ok(())
    }

    /// Removes the data of version `n`, wherever it lies. The caller saves.
    pub async fn forget(&mut self, cx: &mut Context<'_>, n: u64) -> Result<()> {
        if n == self.current && self.inline.take().is_some() {
            return Ok(());
        }
        cx.view.delete(&self.version_path(n)).await
    }

    /// Removes the key with every version.
    pub async fn remove(mut self, cx: &mut Context<'_>, key: &str) -> Result<()> {
        let kept: Vec<u64> = self.versions.iter().filter(|(_, v)| !v.destroyed).map(|(n, _)| *n).collect();
        for n in kept {
            self.forget(cx, n).await?;
        }
        cx.view.delete(&meta_path(key)).await
    }
}
