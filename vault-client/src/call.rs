//! One call, built step by step: for paths and options that have no method of their own.

use crate::buffer;
use crate::client::{Client, Preview};
use crate::error::{Error, Result, redirected};
use crate::limits::MAX_REQUEST_BYTES;
use crate::retry;
use crate::secret::SecretMap;
use crate::transport::{Incoming, Outgoing};
use crate::{path, transport};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use vault_api::{Envelope, ExposeSecret};
use zeroize::Zeroizing;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const WRAP_TTL: HeaderName = HeaderName::from_static("x-vault-wrap-ttl");
/// Some proxies in front of Vault insist on it: a browser cannot set it across sites.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// A call to an API path.
///
/// Calls that change nothing when repeated (reads, lists, deletes) are tried again after a failed
/// connection, 412, 429 and 503, with a growing wait; others never, unless said [`Call::idempotent`].
///
/// No redirect is followed, not even within the server: whoever can answer in the server's name, a proxy
/// or a standby of another product, could otherwise send the token to a place of its choosing. The
/// error says where the redirect leads ([`crate::Kind::Redirected`]).
#[must_use = "a call does nothing until it is sent"]
pub struct Call<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    body: Result<Bytes, serde_json::Error>,
    content_type: HeaderValue,
    wrap_ttl: Option<Duration>,
    anonymous: bool,
    idempotent: bool,
    preliminary: bool,
}

impl<'a> Call<'a> {
    fn new(client: &'a Client, method: Method, path: &str, idempotent: bool) -> Self {
        Call {
            client,
            method,
            path: path.to_owned(),
            query: Vec::new(),
            body: Ok(Bytes::new()),
            content_type: HeaderValue::from_static("application/json"),
            wrap_ttl: None,
            anonymous: false,
            idempotent,
            preliminary: false,
        }
    }

    /// GET.
    pub fn read(client: &'a Client, path: &str) -> Self {
        Call::new(client, Method::GET, path, true)
    }

    /// LIST, spelled `GET ?list=true`, which every proxy understands.
    pub fn list(client: &'a Client, path: &str) -> Self {
        Call::new(client, Method::GET, path, true).query("list", "true")
    }

    /// PUT.
    pub fn write(client: &'a Client, path: &str) -> Self {
        Call::new(client, Method::PUT, path, false)
    }

    /// PATCH with a merge patch.
    pub fn patch(client: &'a Client, path: &str) -> Self {
        let mut call = Call::new(client, Method::PATCH, path, false);
        call.content_type = HeaderValue::from_static("application/merge-patch+json");
        call
    }

    /// DELETE.
    pub fn delete(client: &'a Client, path: &str) -> Self {
        Call::new(client, Method::DELETE, path, true)
    }

    /// Adds a query parameter.
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// The body.
    pub fn json<T: Serialize>(mut self, body: &T) -> Self {
        self.body = buffer::json(body, MAX_REQUEST_BYTES);
        self
    }

    /// Asks for the answer to be wrapped for so long.
    pub fn wrap_ttl(mut self, ttl: Duration) -> Self {
        self.wrap_ttl = Some(ttl);
        self
    }

    /// Sends no token: logins.
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// This call may be repeated although it is a write.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// A look before the call that counts: sent even by a client that only shows its calls.
    pub fn preliminary(mut self) -> Self {
        self.preliminary = true;
        self
    }

    /// Sends the call and reads an enveloped answer. `None` for 204, and for a read of nothing.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn send<T: DeserializeOwned>(self) -> Result<Option<Envelope<T>>> {
        let reads = self.method == Method::GET;
        let (method, path) = (self.method.clone(), self.path.clone());
        let answer = self.exchange().await?;
        match answer.status {
            StatusCode::NO_CONTENT => Ok(None),
            s if s.is_success() && answer.body.is_empty() => Ok(None),
            s if s.is_success() => parse(&path, &answer.body).map(Some),
            StatusCode::NOT_FOUND if reads => absent(&method, &path, &answer),
            _ => Err(refused(&method, &path, &answer)),
        }
    }

    /// Sends the call and reads an answer of unknown form: where it has no envelope (`sys/leader`
    /// and its like), the whole of it is `data`.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn any(self) -> Result<Option<Envelope<SecretMap>>> {
        let reads = self.method == Method::GET;
        let (method, path) = (self.method.clone(), self.path.clone());
        let answer = self.exchange().await?;
        if answer.status == StatusCode::NOT_FOUND && reads {
            return absent(&method, &path, &answer);
        }
        if !answer.status.is_success() {
            return Err(refused(&method, &path, &answer));
        }
        if answer.body.is_empty() {
            return Ok(None);
        }
        let mut envelope: Envelope<SecretMap> = parse(&path, &answer.body)?;
        if envelope.request_id.is_empty() && envelope.data.is_none() && envelope.wrap_info.is_none() {
            let bare: SecretMap = parse(&path, &answer.body)?;
            if bare.get("request_id").is_none() && envelope.auth.is_none() {
                envelope.data = Some(bare);
            }
        }
        Ok(Some(envelope))
    }

    /// Sends the call and reads an answer without envelope (`sys/seal-status` and its like).
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn bare<T: DeserializeOwned>(self) -> Result<T> {
        let (method, path) = (self.method.clone(), self.path.clone());
        let answer = self.exchange().await?;
        if answer.status.is_success() {
            return parse(&path, &answer.body);
        }
        Err(refused(&method, &path, &answer))
    }

    /// Sends the call once and reads an answer whose status is part of it (`sys/health`).
    pub(crate) async fn any_status<T: DeserializeOwned>(self) -> Result<(u16, T)> {
        let (method, path) = (self.method.clone(), self.path.clone());
        let out = self.outgoing()?;
        self.shown(&out)?;
        let answer = self.client.shared.transport.send(&out, &path).await?;
        match parse(&path, &answer.body) {
            Ok(body) => Ok((answer.status.as_u16(), body)),
            Err(e) if answer.status.is_success() => Err(e),
            Err(_) => Err(refused(&method, &path, &answer)),
        }
    }

    /// Sends the call and drops whatever the server says to it.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn done(self) -> Result<()> {
        let (method, path) = (self.method.clone(), self.path.clone());
        let answer = self.exchange().await?;
        if answer.status.is_success() { Ok(()) } else { Err(refused(&method, &path, &answer)) }
    }

    /// Sends the call once and writes the answer's bytes to `to` as they come: for files, of any size. How many there were.
    ///
    /// # Errors
    /// See [`crate::Kind`]; what was written before an error is of no use.
    pub async fn download(self, to: &mut (dyn std::io::Write + Send)) -> Result<u64> {
        let out = self.outgoing()?;
        match self.client.shared.transport.fetch(&out, &self.path, to).await? {
            Ok(bytes) => Ok(bytes),
            Err(answer) => Err(refused(&self.method, &self.path, &answer)),
        }
    }

    async fn exchange(self) -> Result<Incoming> {
        let out = self.outgoing()?;
        self.shown(&out)?;
        let shared = &self.client.shared;
        let mut attempt = 0;
        loop {
            let answer = shared.transport.send(&out, &self.path).await;
            if !self.idempotent || attempt == shared.retries {
                return answer;
            }
            let failure = match &answer {
                Ok(a) if a.status.is_success() || a.status == StatusCode::NOT_FOUND => return answer,
                Ok(a) => retry::wait(&refused(&self.method, &self.path, a), attempt),
                Err(e) => retry::wait(e, attempt),
            };
            let Some(wait) = failure else {
                return answer;
            };
            tracing::debug!(path = %self.path, attempt, ?wait, "trying again");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    /// Keeps the call for [`Client::take_preview`] and fails, if this client only shows calls.
    fn shown(&self, out: &Outgoing) -> Result<()> {
        let shared = &self.client.shared;
        let Some(slot) = shared.preview.as_ref().filter(|_| !self.preliminary) else { return Ok(()) };
        let text = |v: &HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
        if slot.load().is_some() {
            return Err(Error::Preview);
        }
        slot.store(Some(Arc::new(Preview {
            method: out.method.to_string(),
            url: format!("{}{}", shared.transport.origin, out.target),
            path: self.path.clone(),
            list: self.query.iter().any(|(name, value)| name == "list" && value == "true"),
            token: out.headers.contains_key(TOKEN),
            headers: out
                .headers
                .iter()
                .filter(|(name, _)| **name != TOKEN)
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
            body: Zeroizing::new(out.body.to_vec()),
        })));
        Err(Error::Preview)
    }

    fn outgoing(&self) -> Result<Outgoing> {
        let shared = &self.client.shared;
        let body = match &self.body {
            Ok(body) => body.clone(),
            Err(_) => return Err(Error::Config("the request cannot be encoded, or is too large".into())),
        };
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, self.content_type.clone());
        }
        if let Some(namespace) = &shared.namespace {
            headers.insert(NAMESPACE, namespace.clone());
        }
        if let Some(ttl) = self.wrap_ttl {
            headers.insert(WRAP_TTL, HeaderValue::from(ttl.as_secs()));
        }
        if let Some(token) = self.client.token().filter(|_| !self.anonymous) {
            let bytes = Bytes::from_owner(Zeroizing::new(token.expose_secret().as_bytes().to_vec()));
            let mut value =
                HeaderValue::from_maybe_shared(bytes).map_err(|_| Error::Config("unusable token".into()))?;
            value.set_sensitive(true);
            headers.insert(TOKEN, value);
        }
        let target =
            format!("{}/v1/{}{}", shared.prefix, path::encode(&self.path)?, path::query(&self.query));
        Ok(Outgoing { method: self.method.clone(), target, headers, body })
    }
}

fn parse<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T> {
    // serde's own message may quote a value.
    serde_json::from_slice(body).map_err(|e| {
        Error::protocol(path, format!("not the JSON expected ({:?} at line {})", e.classify(), e.line()))
    })
}

/// A 404 to a read: nothing there, unless it says more. KV v2 answers it with the metadata of a
/// deleted version; an unknown route has a message.
fn absent<T: DeserializeOwned>(
    method: &Method,
    path: &str,
    answer: &transport::Incoming,
) -> Result<Option<Envelope<T>>> {
    let error = refused(method, path, answer);
    if !error.messages().is_empty() {
        return Err(error);
    }
    match serde_json::from_slice::<Envelope<T>>(&answer.body) {
        Ok(e) if e.data.is_some() || !e.warnings.is_empty() => Ok(Some(e)),
        _ => Ok(None),
    }
}

fn refused(method: &Method, path: &str, answer: &transport::Incoming) -> Error {
    let mut error =
        Error::from_answer(answer.status, method.as_str(), path, &answer.body, answer.retry_after);
    if let (Error::Server { errors, .. }, Some(location)) = (&mut error, &answer.location) {
        errors.push(redirected(location));
    }
    error
}
