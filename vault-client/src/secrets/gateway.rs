//! The gateway's services: its control plane. Apps call services with any HTTP client.

use crate::call::Call;
use crate::client::Client;
use crate::error::Result;
use crate::path::join;
use crate::secret::SecretMap;
use vault_api::Envelope;
use vault_api::secrets::gateway::Service;

/// A gateway mount. From [`Client::gateway`].
pub struct Gateway<'a> {
    client: &'a Client,
    mount: String,
}

impl Client {
    /// The gateway mount at a path, such as `gateway`.
    pub fn gateway(&self, mount: &str) -> Gateway<'_> {
        Gateway { client: self, mount: mount.trim_matches('/').to_owned() }
    }
}

/// Errors of every method: see [`crate::Kind`].
#[allow(clippy::missing_errors_doc)]
impl Gateway<'_> {
    fn path(&self, name: &str) -> String {
        join(&format!("{}/services", self.mount), name)
    }

    /// Defines a service, in place of an older one of that name; needs `read` on its credential.
    /// What comes back is what the server warns of, such as a service that nobody may call.
    pub async fn write(&self, name: &str, service: &Service) -> Result<Vec<String>> {
        let answer: Option<Envelope<SecretMap>> =
            Call::write(self.client, &self.path(name)).json(service).send().await?;
        Ok(answer.map(|a| a.warnings).unwrap_or_default())
    }

    /// A service. `None` when there is no such service.
    pub async fn service(&self, name: &str) -> Result<Option<Service>> {
        let answer: Option<Envelope<Service>> = Call::read(self.client, &self.path(name)).send().await?;
        Ok(answer.and_then(|a| a.data))
    }

    /// Names of the services, sorted.
    pub async fn services(&self) -> Result<Vec<String>> {
        self.client.list(&format!("{}/services", self.mount)).await
    }

    /// Deletes a service: calls of it are refused from now on.
    pub async fn delete(&self, name: &str) -> Result<()> {
        Call::delete(self.client, &self.path(name)).done().await
    }
}
