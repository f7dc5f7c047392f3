//! TOTP. <https://developer.hashicorp.com/vault/api-docs/secret/totp>

use crate::call::Call;
use crate::client::Client;
use crate::error::Result;
use crate::path::join;
use crate::sys::data;
use vault_api::secrets::totp::{Code, CreateKey, Key, NewKey, Validity};
use vault_api::{Envelope, SecretString};

/// A TOTP mount. From [`Client::totp`].
pub struct Totp<'a> {
    client: &'a Client,
    mount: String,
}

impl Client {
    /// The TOTP mount at a path, such as `totp`.
    pub fn totp(&self, mount: &str) -> Totp<'_> {
        Totp { client: self, mount: mount.trim_matches('/').to_owned() }
    }
}

/// Errors of every method: see [`crate::Kind`].
#[allow(clippy::missing_errors_doc)]
impl Totp<'_> {
    fn path(&self, kind: &str, name: &str) -> String {
        join(&format!("{}/{kind}", self.mount), name)
    }

    /// Generates or imports a key, in place of an older one of that name. A generated key comes
    /// back, this once; `None` for an imported one.
    pub async fn create(&self, name: &str, key: &CreateKey) -> Result<Option<NewKey>> {
        let answer: Option<Envelope<NewKey>> =
            Call::write(self.client, &self.path("keys", name)).json(key).send().await?;
        Ok(answer.and_then(|a| a.data))
    }

    /// A key's settings. `None` when there is no such key.
    pub async fn key(&self, name: &str) -> Result<Option<Key>> {
        let answer: Option<Envelope<Key>> = Call::read(self.client, &self.path("keys", name)).send().await?;
        Ok(answer.and_then(|a| a.data))
    }

    /// Names of the keys, sorted.
    pub async fn keys(&self) -> Result<Vec<String>> {
        self.client.list(&format!("{}/keys", self.mount)).await
    }

    /// Deletes a key.
    pub async fn delete(&self, name: &str) -> Result<()> {
        Call::delete(self.client, &self.path("keys", name)).done().await
    }

    /// The current code of a key.
    pub async fn code(&self, name: &str) -> Result<SecretString> {
        let path = self.path("code", name);
        let code: Code = data(Call::read(self.client, &path), &path).await?;
        Ok(code.code)
    }

    /// Whether a code is the key's of this time. A code that was used before is an error, and too
    /// many wrong ones are [`crate::Kind::RateLimited`].
    pub async fn validate(&self, name: &str, code: SecretString) -> Result<bool> {
        let path = self.path("code", name);
        let found: Validity = data(Call::write(self.client, &path).json(&Code { code }), &path).await?;
        Ok(found.valid)
    }
}
