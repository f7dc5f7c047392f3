//! `auth/token/`. <https://developer.hashicorp.com/vault/api-docs/auth/token>

use crate::call::Call;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::secret::SecretMap;
use crate::sys::data;
use vault_api::auth::token::{ByAccessor, ByToken, Create, Lookup, Renew};
use vault_api::{Auth, Envelope, SecretString};

/// Calls below `auth/token/`. From [`Client::tokens`].
pub struct Tokens<'a>(&'a Client);

impl Client {
    /// Calls below `auth/token/`.
    pub fn tokens(&self) -> Tokens<'_> {
        Tokens(self)
    }
}

/// Errors of every method: see [`crate::Kind`].
#[allow(clippy::missing_errors_doc)]
impl Tokens<'_> {
    /// Makes a token, a child of this client's.
    pub async fn create(&self, request: &Create) -> Result<Auth> {
        self.auth(Call::write(self.0, "auth/token/create").json(request), "auth/token/create").await
    }

    /// Makes a token without a parent.
    pub async fn create_orphan(&self, request: &Create) -> Result<Auth> {
        let path = "auth/token/create-orphan";
        self.auth(Call::write(self.0, path).json(request), path).await
    }

    /// Looks this client's token up.
    pub async fn lookup_self(&self) -> Result<Lookup> {
        data(Call::read(self.0, "auth/token/lookup-self"), "auth/token/lookup-self").await
    }

    /// Looks a token up.
    pub async fn lookup(&self, token: SecretString) -> Result<Lookup> {
        let path = "auth/token/lookup";
        data(Call::write(self.0, path).idempotent().json(&ByToken { token }), path).await
    }

    /// Looks a token up by its accessor.
    pub async fn lookup_accessor(&self, accessor: &str) -> Result<Lookup> {
        let path = "auth/token/lookup-accessor";
        let body = ByAccessor { accessor: accessor.to_owned() };
        data(Call::write(self.0, path).idempotent().json(&body), path).await
    }

    /// Renews this client's token; `increment` is a duration such as `1h`.
    pub async fn renew_self(&self, increment: Option<&str>) -> Result<Auth> {
        self.renew_at("auth/token/renew-self", Renew::default(), increment).await
    }

    /// Renews a token.
    pub async fn renew(&self, token: SecretString, increment: Option<&str>) -> Result<Auth> {
        let body = Renew { token: Some(token), ..Renew::default() };
        self.renew_at("auth/token/renew", body, increment).await
    }

    /// Renews a token by its accessor.
    pub async fn renew_accessor(&self, accessor: &str, increment: Option<&str>) -> Result<Auth> {
        let body = Renew { accessor: Some(accessor.to_owned()), ..Renew::default() };
        self.renew_at("auth/token/renew-accessor", body, increment).await
    }

    async fn renew_at(&self, path: &str, mut body: Renew, increment: Option<&str>) -> Result<Auth> {
        body.increment = increment.map(str::to_owned);
        self.auth(Call::write(self.0, path).json(&body), path).await
    }

    /// Revokes this client's token and its children.
    pub async fn revoke_self(&self) -> Result<()> {
        Call::write(self.0, "auth/token/revoke-self").done().await
    }

    /// Revokes a token and its children.
    pub async fn revoke(&self, token: SecretString) -> Result<()> {
        Call::write(self.0, "auth/token/revoke").json(&ByToken { token }).done().await
    }

    /// Revokes a token; its children live on as orphans.
    pub async fn revoke_orphan(&self, token: SecretString) -> Result<()> {
        Call::write(self.0, "auth/token/revoke-orphan").json(&ByToken { token }).done().await
    }

    /// Revokes a token by its accessor, with its children.
    pub async fn revoke_accessor(&self, accessor: &str) -> Result<()> {
        let body = ByAccessor { accessor: accessor.to_owned() };
        Call::write(self.0, "auth/token/revoke-accessor").json(&body).done().await
    }

    /// Accessors of every token; needs `sudo`.
    pub async fn accessors(&self) -> Result<Vec<String>> {
        self.0.list("auth/token/accessors").await
    }

    async fn auth(&self, call: Call<'_>, path: &str) -> Result<Auth> {
        let answer: Option<Envelope<SecretMap>> = call.send().await?;
        answer.and_then(|a| a.auth).ok_or_else(|| Error::protocol(path, "it has no token"))
    }
}
