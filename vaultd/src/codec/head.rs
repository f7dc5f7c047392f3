//! The head of an HTTP request: what it asks for, of what, as whom.

use super::percent::{decode_path, parse_parameters};
use super::refusal::Refusal;
use crate::limits::{MAX_HEADERS, MAX_TOKEN_BYTES, MAX_URI_BYTES, MAX_WRAP_TTL_BYTES};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode, request::Parts};
use secmem::{ExposeSecret, SecretString};
use vault_core::exchange::Verb;
use vault_logical::{Data, path};

pub const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
pub const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const WRAP_TTL: HeaderName = HeaderName::from_static("x-vault-wrap-ttl");
const API_PREFIX: &str = "/v1/";
/// The only path that answers HEAD.
const HEALTH: &str = "sys/health";

/// What the server counts of itself.
const METRICS: &str = "sys/metrics";

/// How a request body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// Not read at all: the fields came with the query string.
    None,
    Json,
    /// Sent as a form; a body that starts with `{` is JSON all the same, as curl's `-d` sends it.
    Form,
}

/// A decoded head.
pub struct Head {
    pub verb: Verb,
    pub path: String,
    pub token: Option<SecretString>,
    pub namespace: String,
    pub wrap_ttl: Option<String>,
    pub merge_patch: bool,
    pub body: BodyForm,
    /// Query parameters, for verbs without a body.
    pub query: Data,
    /// HEAD: the answer has no body.
    pub head_only: bool,
}

/// A question for the vault's health: read-only, and answered to anybody.
pub fn is_health(parts: &Parts) -> bool {
    let read = matches!(parts.method, Method::GET | Method::HEAD);
    read && parts.uri.path().strip_prefix(API_PREFIX) == Some(HEALTH)
}

/// Decodes a head, or says why it cannot be served.
pub fn decode(parts: &Parts) -> Result<Head, Refusal> {
    if parts.headers.len() > MAX_HEADERS {
        return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers"));
    }
    let raw = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    if raw.len() + query.len() > MAX_URI_BYTES {
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "the request target is too long"));
    }
    let Some(below) = raw.strip_prefix(API_PREFIX) else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "no handler for this route: the API is below /v1/"));
    };
    let decoded = decode_path(below)?;
    if decoded.starts_with('/') {
        return Err(Refusal::bad("path has an empty segment"));
    }
    let mut path = path::canonical(&decoded)?.to_owned();
    let (verb, body) = verb_of(&parts.method, query, &path)?;
    let mut fields = match body {
        BodyForm::None => without_switches(parse_parameters(query)?),
        _ => Data::new(),
    };
    if verb == Verb::Read && path == METRICS && !fields.contains_key("format") && wants_text(&parts.headers) {
        fields.insert("format".to_owned(), "prometheus".into());
    }
    if verb == Verb::List && !path.is_empty() && !path.ends_with('/') {
        path.push('/');
    }
    let (body, merge_patch) = match verb {
        Verb::Write => (content_form(&parts.headers)?, false),
        Verb::Patch => {
            if !content_type_is(&parts.headers, "application/merge-patch+json")? {
                return Err(Refusal::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "PATCH takes content type application/merge-patch+json",
                ));
            }
            (BodyForm::Json, true)
        }
        _ => (body, false),
    };
    if body != BodyForm::None && parts.headers.get(CONTENT_ENCODING).is_some_and(|v| v != "identity") {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoded bodies are not accepted"));
    }
    Ok(Head {
        verb,
        path,
        token: token(&parts.headers)?,
        namespace: namespace(&parts.headers)?,
        wrap_ttl: wrap_ttl(&parts.headers)?,
        merge_patch,
        body,
        query: fields,
        head_only: parts.method == Method::HEAD,
    })
}

/// As Prometheus asks when its `params` name no format.
fn wants_text(headers: &HeaderMap) -> bool {
    let known = ["application/openmetrics-text", "prometheus/telemetry", "text/plain"];
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok());
    accepted.into_iter().any(|v| known.iter().any(|k| v.contains(k)))
}

fn verb_of(method: &Method, query: &str, path: &str) -> Result<(Verb, BodyForm), Refusal> {
    let verb = match method.as_str() {
        "GET" if switch(query, "help") => Verb::Help,
        "GET" if switch(query, "list") => Verb::List,
        "GET" if switch(query, "scan") => return Err(unsupported()),
        "GET" => Verb::Read,
        "HEAD" if path == HEALTH => Verb::Read,
        "LIST" => Verb::List,
        "HELP" => Verb::Help,
        "DELETE" => Verb::Delete,
        "POST" | "PUT" => return Ok((Verb::Write, BodyForm::Json)),
        "PATCH" => return Ok((Verb::Patch, BodyForm::Json)),
        _ => return Err(unsupported()),
    };
    Ok((verb, BodyForm::None))
}

fn unsupported() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "1 error occurred:\n\t* unsupported operation\n\n")
}

/// `name=true` among the query parameters, in the spellings that Go clients (`1`, `t`) and Python
/// clients (`True`) send.
fn switch(query: &str, name: &str) -> bool {
    query.split('&').any(|pair| {
        pair.strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('='))
            .is_some_and(|v| matches!(v, "true" | "True" | "TRUE" | "1" | "t" | "T"))
    })
}

/// The switches select the verb; they are not fields.
fn without_switches(mut data: Data) -> Data {
    for name in ["list", "help", "scan"] {
        data.remove(name);
    }
    data
}

/// The one value of a header: none, or exactly one.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refusal::bad(format!("header \"{name}\" is given more than once")));
    }
    Ok(first)
}

fn text<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<&'a str, Refusal> {
    value.to_str().map_err(|_| Refusal::bad(format!("header \"{name}\" has characters that are not allowed")))
}

/// The caller's token: `X-Vault-Token`, or `Authorization: Bearer`.
fn token(headers: &HeaderMap) -> Result<Option<SecretString>, Refusal> {
    let own = match single(headers, &TOKEN)? {
        Some(v) => Some(text(&TOKEN, v)?),
        None => None,
    };
    let bearer = match single(headers, &AUTHORIZATION)? {
        Some(v) => bearer(text(&AUTHORIZATION, v)?),
        None => None,
    };
    let token = match (own.filter(|t| !t.is_empty()), bearer.filter(|t| !t.is_empty())) {
        (Some(a), Some(b)) if !secmem::ct::eq(a.as_bytes(), b.as_bytes()) => {
            return Err(Refusal::bad("X-Vault-Token and Authorization hold different tokens"));
        }
        (Some(t), _) | (None, Some(t)) => t,
        (None, None) => return Ok(None),
    };
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::bad("the token is too long"));
    }
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Refusal::bad("the token has characters that are not allowed"));
    }
    Ok(Some(SecretString::from(token)))
}

/// The credential of a `Bearer` header; other schemes are not ours.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim_start_matches(' '))
}

fn namespace(headers: &HeaderMap) -> Result<String, Refusal> {
    let Some(value) = single(headers, &NAMESPACE)? else {
        return Ok(String::new());
    };
    let raw = text(&NAMESPACE, value)?.trim_matches('/');
    if raw == "root" {
        return Ok(String::new());
    }
    Ok(path::canonical(raw)?.to_owned())
}

fn wrap_ttl(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    match single(headers, &WRAP_TTL)? {
        Some(v) if v.len() > MAX_WRAP_TTL_BYTES => Err(Refusal::bad("X-Vault-Wrap-TTL is too long")),
        Some(v) if !v.is_empty() => Ok(Some(text(&WRAP_TTL, v)?.to_owned())),
        _ => Ok(None),
    }
}

fn content_type_is(headers: &HeaderMap, want: &str) -> Result<bool, Refusal> {
    let Some(value) = single(headers, &CONTENT_TYPE)? else {
        return Ok(false);
    };
    let essence = text(&CONTENT_TYPE, value)?.split(';').next().unwrap_or_default().trim();
    Ok(essence.eq_ignore_ascii_case(want))
}

fn content_form(headers: &HeaderMap) -> Result<BodyForm, Refusal> {
    Ok(match content_type_is(headers, "application/x-www-form-urlencoded")? {
        true => BodyForm::Form,
        false => BodyForm::Json,
    })
}

impl std::fmt::Debug for Head {
    // Query values may be secrets: names only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Head")
            .field("verb", &self.verb)
            .field("path", &self.path)
            .field("token", &self.token.is_some())
            .field("query", &self.query.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Head {
    /// A question for what the server counts of itself.
    pub fn is_metrics(&self) -> bool {
        self.verb == Verb::Read && self.path == METRICS
    }

    /// True when a token came with the request (it may still be unknown).
    pub fn has_token(&self) -> bool {
        self.token.as_ref().is_some_and(|t| !t.expose_secret().is_empty())
    }
}
