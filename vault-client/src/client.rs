//! The client and its generic calls.

use crate::call::Call;
use crate::error::{Error, Result};
use crate::secret::SecretMap;
use crate::transport::Transport;
use arc_swap::ArcSwapOption;
use http::HeaderValue;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use vault_api::{Auth, Envelope, ExposeSecret, Keys, SecretString};
use zeroize::Zeroizing;

/// A client of one server. Cloning is cheap, and clones share connections and token.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    token: Arc<ArcSwapOption<SecretString>>,
}

pub(crate) struct Shared {
    pub transport: Transport,
    /// Path of the API behind a proxy; usually empty.
    pub prefix: String,
    pub namespace: Option<HeaderValue>,
    pub retries: u32,
    /// Calls are shown instead of sent: the first one is kept here.
    pub preview: Option<ArcSwapOption<Preview>>,
}

/// A call that was not sent, because the client was built to show it ([`crate::Builder::preview`]).
pub struct Preview {
    /// HTTP method.
    pub method: String,
    /// With scheme, host and query.
    pub url: String,
    /// Below `/v1/`, decoded.
    pub path: String,
    /// It is a LIST, spelled as a GET.
    pub list: bool,
    /// A token would go with it.
    pub token: bool,
    /// Name and value of every header but the token's.
    pub headers: Vec<(String, String)>,
    /// May hold secrets: it is what the caller asked to be shown. Wiped when dropped.
    pub body: Zeroizing<Vec<u8>>,
}

impl Client {
    pub(crate) fn new(
        transport: Transport,
        prefix: String,
        token: Option<SecretString>,
        namespace: &str,
        retries: u32,
        preview: bool,
    ) -> Result<Client> {
        let namespace = match namespace.trim_matches('/') {
            "" => None,
            n => Some(HeaderValue::from_str(n).map_err(|_| Error::Config("unusable namespace".into()))?),
        };
        let shared = Arc::new(Shared {
            transport,
            prefix,
            namespace,
            retries,
            preview: preview.then(ArcSwapOption::empty),
        });
        let client = Client { shared, token: Arc::default() };
        match token {
            Some(token) => client.set_token(token)?,
            None => client.clear_token(),
        }
        Ok(client)
    }

    /// The server's address, as configured.
    pub fn address(&self) -> &str {
        &self.shared.transport.address
    }

    /// The first call that was shown instead of sent; once.
    pub fn take_preview(&self) -> Option<Arc<Preview>> {
        self.shared.preview.as_ref().and_then(|slot| slot.swap(None))
    }

    /// Uses another token from the next call on, in every clone.
    ///
    /// # Errors
    /// `Config` for a token that cannot stand in a header.
    pub fn set_token(&self, token: impl Into<SecretString>) -> Result<()> {
        let token = token.into();
        let text = token.expose_secret();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::Config("the token is empty or holds characters that no token has".into()));
        }
        self.token.store(Some(Arc::new(token)));
        Ok(())
    }

    /// Sends no token from the next call on.
    pub fn clear_token(&self) {
        self.token.store(None);
    }

    /// True when a token is set.
    pub fn has_token(&self) -> bool {
        self.token.load().is_some()
    }

    /// A client of the same server with a token of its own; connections are shared.
    ///
    /// # Errors
    /// As [`Client::set_token`].
    pub fn with_token(&self, token: impl Into<SecretString>) -> Result<Client> {
        let client = Client { shared: self.shared.clone(), token: Arc::default() };
        client.set_token(token)?;
        Ok(client)
    }

    pub(crate) fn token(&self) -> Option<Arc<SecretString>> {
        self.token.load_full()
    }

    /// Reads a path. `None` when nothing is there.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn read(&self, path: &str) -> Result<Option<Envelope<SecretMap>>> {
        Call::read(self, path).any().await
    }

    /// Writes to a path. `None` when the server had nothing to answer.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn write<T: Serialize>(&self, path: &str, data: &T) -> Result<Option<Envelope<SecretMap>>> {
        Call::write(self, path).json(data).any().await
    }

    /// Merges into a path (RFC 7396): absent fields stay, `null` removes one.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn patch<T: Serialize>(&self, path: &str, data: &T) -> Result<Option<Envelope<SecretMap>>> {
        Call::patch(self, path).json(data).any().await
    }

    /// Deletes a path.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn delete(&self, path: &str) -> Result<Option<Envelope<SecretMap>>> {
        Call::delete(self, path).any().await
    }

    /// Lists a folder: names, sorted, folders ending in `/`. Empty when nothing is there.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn list(&self, path: &str) -> Result<Vec<String>> {
        let answer: Option<Envelope<Keys>> = Call::list(self, path).send().await?;
        Ok(answer.and_then(|a| a.data).unwrap_or_default().keys)
    }

    /// Logs in with a signed token at `auth/<mount>/login` and uses the token that comes back.
    /// An empty role is the mount's default.
    ///
    /// # Errors
    /// See [`crate::Kind`]; a refused JWT is `InvalidRequest` or `PermissionDenied`.
    pub async fn login_jwt(&self, mount: &str, role: &str, jwt: SecretString) -> Result<Auth> {
        let body = vault_api::auth::jwt::Login { role: role.to_owned(), jwt };
        let path = format!("auth/{}/login", mount.trim_matches('/'));
        let answer: Option<Envelope<SecretMap>> =
            Call::write(self, &path).anonymous().json(&body).send().await?;
        let auth = answer.and_then(|a| a.auth).ok_or_else(|| Error::protocol(&path, "it has no token"))?;
        self.set_token(auth.client_token.clone())?;
        Ok(auth)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address())
            .field("has_token", &self.has_token())
            .finish_non_exhaustive()
    }
}
