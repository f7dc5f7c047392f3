//! KV version 2. <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>

use crate::call::Call;
use crate::client::Client;
use crate::error::Result;
use crate::secret::SecretMap;
use crate::sys::data;
use serde::Serialize;
use vault_api::Envelope;
use vault_api::secrets::kv2::{
    Config, Metadata, ReadVersion, VersionMetadata, Versions, WriteMetadata, WriteOptions, WriteVersion,
};

/// One version of a secret.
#[derive(Clone, Debug)]
pub struct Version {
    /// `None` when this version is deleted or destroyed.
    pub data: Option<SecretMap>,
    /// Number, times, state.
    pub metadata: VersionMetadata,
}

/// A KV mount with versions. From [`Client::kv2`].
pub struct Kv2<'a> {
    client: &'a Client,
    mount: String,
}

impl Client {
    /// The KV version 2 mount at a path, such as `secret`.
    pub fn kv2(&self, mount: &str) -> Kv2<'_> {
        Kv2 { client: self, mount: mount.trim_matches('/').to_owned() }
    }
}

/// Errors of every method: see [`crate::Kind`].
#[allow(clippy::missing_errors_doc)]
impl Kv2<'_> {
    fn path(&self, kind: &str, key: &str) -> String {
        format!("{}/{kind}/{}", self.mount, key.trim_start_matches('/'))
    }

    /// Reads the current version. `None` when the key does not exist; a deleted version is
    /// `Some` without data.
    pub async fn get(&self, key: &str) -> Result<Option<Version>> {
        self.read(Call::read(self.client, &self.path("data", key))).await
    }

    /// Reads one version.
    pub async fn get_version(&self, key: &str, version: u64) -> Result<Option<Version>> {
        let call = Call::read(self.client, &self.path("data", key));
        self.read(call.query("version", version.to_string())).await
    }

    async fn read(&self, call: Call<'_>) -> Result<Option<Version>> {
        let answer: Option<Envelope<ReadVersion<SecretMap>>> = call.send().await?;
        Ok(answer.and_then(|a| a.data).map(|v| Version { data: v.data, metadata: v.metadata }))
    }

    /// Writes a new version. With `cas`, only if that is the current version (0: there is none).
    pub async fn put<T: Serialize>(
        &self,
        key: &str,
        secret: &T,
        cas: Option<u64>,
    ) -> Result<VersionMetadata> {
        let path = self.path("data", key);
        let body = WriteVersion { options: WriteOptions { cas }, data: secret };
        data(Call::write(self.client, &path).json(&body), &path).await
    }

    /// Merges fields into a new version: absent fields stay, `null` removes one.
    pub async fn patch<T: Serialize>(
        &self,
        key: &str,
        fields: &T,
        cas: Option<u64>,
    ) -> Result<VersionMetadata> {
        let path = self.path("data", key);
        let body = WriteVersion { options: WriteOptions { cas }, data: fields };
        data(Call::patch(self.client, &path).json(&body), &path).await
    }

    /// Deletes the current version; it can be brought back.
    pub async fn delete(&self, key: &str) -> Result<()> {
        Call::delete(self.client, &self.path("data", key)).done().await
    }

    /// Deletes some versions; they can be brought back.
    pub async fn delete_versions(&self, key: &str, versions: &[u64]) -> Result<()> {
        self.versions("delete", key, versions).await
    }

    /// Brings deleted versions back.
    pub async fn undelete(&self, key: &str, versions: &[u64]) -> Result<()> {
        self.versions("undelete", key, versions).await
    }

    /// Destroys versions for good.
    pub async fn destroy(&self, key: &str, versions: &[u64]) -> Result<()> {
        self.versions("destroy", key, versions).await
    }

    async fn versions(&self, kind: &str, key: &str, versions: &[u64]) -> Result<()> {
        let body = Versions { versions: versions.to_vec() };
        Call::write(self.client, &self.path(kind, key)).idempotent().json(&body).done().await
    }

    /// Names in a folder, sorted; folders end in `/`.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.client.list(&self.path("metadata", folder)).await
    }

    /// All versions of a key. `None` when it does not exist.
    pub async fn metadata(&self, key: &str) -> Result<Option<Metadata>> {
        let answer: Option<Envelope<Metadata>> =
            Call::read(self.client, &self.path("metadata", key)).send().await?;
        Ok(answer.and_then(|a| a.data))
    }

    /// Sets a key's settings.
    pub async fn put_metadata(&self, key: &str, metadata: &WriteMetadata) -> Result<()> {
        Call::write(self.client, &self.path("metadata", key)).json(metadata).done().await
    }

    /// Merges into a key's settings.
    pub async fn patch_metadata(&self, key: &str, metadata: &WriteMetadata) -> Result<()> {
        Call::patch(self.client, &self.path("metadata", key)).json(metadata).done().await
    }

    /// Deletes a key with every version.
    pub async fn delete_metadata(&self, key: &str) -> Result<()> {
        Call::delete(self.client, &self.path("metadata", key)).done().await
    }

    /// The mount's settings.
    pub async fn config(&self) -> Result<Config> {
        let path = format!("{}/config", self.mount);
        data(Call::read(self.client, &path), &path).await
    }

    /// Sets the mount's settings.
    pub async fn configure(&self, config: &Config) -> Result<()> {
        Call::write(self.client, &format!("{}/config", self.mount)).json(config).done().await
    }
}
