//! KV version 1. <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v1>

use crate::call::Call;
use crate::client::Client;
use crate::error::Result;
use crate::secret::SecretMap;
use serde::Serialize;
use vault_api::Envelope;

/// A KV mount without versions. From [`Client::kv1`].
pub struct Kv1<'a> {
    client: &'a Client,
    mount: String,
}

impl Client {
    /// The KV version 1 mount at a path, such as `kv`.
    pub fn kv1(&self, mount: &str) -> Kv1<'_> {
        Kv1 { client: self, mount: mount.trim_matches('/').to_owned() }
    }
}

/// Errors of every method: see [`crate::Kind`].
#[allow(clippy::missing_errors_doc)]
impl Kv1<'_> {
    fn path(&self, key: &str) -> String {
        format!("{}/{}", self.mount, key.trim_start_matches('/'))
    }

    /// Reads a secret. `None` when there is none.
    pub async fn get(&self, key: &str) -> Result<Option<SecretMap>> {
        let answer: Option<Envelope<SecretMap>> = Call::read(self.client, &self.path(key)).send().await?;
        Ok(answer.and_then(|a| a.data))
    }

    /// Replaces a secret.
    pub async fn put<T: Serialize>(&self, key: &str, data: &T) -> Result<()> {
        Call::write(self.client, &self.path(key)).json(data).done().await
    }

    /// Deletes a secret.
    pub async fn delete(&self, key: &str) -> Result<()> {
        Call::delete(self.client, &self.path(key)).done().await
    }

    /// Names in a folder, sorted; folders end in `/`.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.client.list(&self.path(folder)).await
    }
}
