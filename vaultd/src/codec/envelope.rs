//! An answer of the core as an HTTP response: Vault's envelope, encoded straight into one buffer.

use super::answer::{Answer, CloseAfter};
use super::refusal::Refusal;
use super::status;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use secmem::{ExposeSecret, Zeroizing};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;
use vault_core::exchange::{IssuedAuth, Reply, ReplyBody};
use vault_logical::{ErrorKind, RequestId};

/// Exactly this: clients compare the string.
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// An envelope's own keys: a flattened answer never writes one of them twice.
const ENVELOPE_KEYS: [&str; 9] = [
    "request_id",
    "lease_id",
    "renewable",
    "lease_duration",
    "data",
    "wrap_info",
    "warnings",
    "auth",
    "mount_type",
];
/// First capacity of an answer's buffer: most answers fit.
const FIRST_CAPACITY: usize = 1024;

/// The response for a recorded answer.
pub fn encode(reply: Reply) -> Response<Answer> {
    let close = reply.close;
    let mut response = match reply.body {
        ReplyBody::Bare { status, json } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            encoded(status, serde_json::to_vec(&json))
        }
        ReplyBody::Download(download) => super::download::response(download),
        ReplyBody::Error(error) => {
            if error.kind() == ErrorKind::Internal {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(request_id = %reply.request_id, cause, "request failed");
            }
            errors(status::of(error.kind()), &status::message(&error))
        }
        ReplyBody::Envelope { response, auth, flatten, mount_type, list } => {
            envelope(reply.request_id, response, auth, flatten, &mount_type, list)
        }
    };
    if close {
        response.extensions_mut().insert(CloseAfter);
    }
    response
}

/// The response for a request that the codec refused.
pub fn refuse(refusal: &Refusal) -> Response<Answer> {
    let mut response = errors(refusal.status, &refusal.message);
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if refusal.close {
        response.extensions_mut().insert(CloseAfter);
    }
    response
}

/// `{"errors":[…]}`, with an empty list for an empty message.
fn errors(status: StatusCode, message: &str) -> Response<Answer> {
    let list: &[&str] = if message.is_empty() { &[] } else { &[message] };
    encoded(status, serde_json::to_vec(&json!({ "errors": list })))
}

fn encoded(status: StatusCode, json: serde_json::Result<Vec<u8>>) -> Response<Answer> {
    match json {
        Ok(body) => respond(status, JSON, body),
        Err(_) => {
            respond(StatusCode::INTERNAL_SERVER_ERROR, JSON, br#"{"errors":["internal error"]}"#.to_vec())
        }
    }
}

fn respond(status: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// 204: nothing to say, in JSON: clients look at the type before they look at the status.
fn no_content() -> Response<Answer> {
    respond(StatusCode::NO_CONTENT, JSON, Vec::new())
}

/// A body that is not an envelope.
pub fn raw(content_type: &'static str, body: Vec<u8>) -> Response<Answer> {
    respond(StatusCode::OK, HeaderValue::from_static(content_type), body)
}

fn envelope(
    id: RequestId,
    mut response: vault_logical::Response,
    auth: Option<IssuedAuth>,
    flatten: bool,
    mount_type: &str,
    list: bool,
) -> Response<Answer> {
    if let Some(raw) = response.raw.take() {
        return self::raw(raw.content_type, raw.body);
    }
    if list && response.warnings.is_empty() && lists_nothing(response.data.as_ref()) {
        return errors(StatusCode::NOT_FOUND, "");
    }
    if response.data.is_none() && auth.is_none() && response.warnings.is_empty() && !response.not_found {
        return no_content();
    }
    let status = if response.not_found { StatusCode::NOT_FOUND } else { StatusCode::OK };
    encoded(status, write_envelope(id, &response, auth.as_ref(), flatten, mount_type))
}

/// A LIST answer without keys and without anything else.
fn lists_nothing(data: Option<&vault_logical::Data>) -> bool {
    data.is_none_or(|d| {
        d.iter().all(|(name, value)| match (name.as_str(), value) {
            ("keys", Value::Array(a)) => a.is_empty(),
            ("key_info", Value::Object(o)) => o.is_empty(),
            (_, Value::Null) => true,
            _ => false,
        })
    })
}

fn write_envelope(
    id: RequestId,
    response: &vault_logical::Response,
    auth: Option<&IssuedAuth>,
    flatten: bool,
    mount_type: &str,
) -> serde_json::Result<Vec<u8>> {
    let mut out = Object::begin();
    out.field("request_id", &*id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))?;
    out.field("lease_id", "")?;
    out.field("renewable", &false)?;
    out.field("lease_duration", &response.lease_duration.as_secs())?;
    out.field("data", &response.data)?;
    out.field("wrap_info", &Value::Null)?;
    out.field("warnings", &(!response.warnings.is_empty()).then_some(&response.warnings))?;
    match auth {
        None => out.field("auth", &Value::Null)?,
        Some(auth) => out.nested("auth", &write_auth(auth)?)?,
    }
    out.field("mount_type", mount_type)?;
    if let (true, Some(data)) = (flatten, &response.data) {
        for (name, value) in data.iter().filter(|(name, _)| !ENVELOPE_KEYS.contains(&name.as_str())) {
            out.field(name, value)?;
        }
    }
    Ok(out.end())
}

fn write_auth(auth: &IssuedAuth) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut out = Object::begin();
    out.field("client_token", auth.client_token.expose_secret())?;
    out.field("accessor", &auth.accessor)?;
    out.field("policies", &auth.policies)?;
    out.field("token_policies", &auth.token_policies)?;
    out.field("metadata", &(!auth.metadata.is_empty()).then_some(&auth.metadata))?;
    out.field("lease_duration", &auth.lease_duration.as_secs())?;
    out.field("renewable", &auth.renewable)?;
    out.field("entity_id", &auth.entity_id)?;
    out.field("token_type", auth.token_type)?;
    out.field("orphan", &auth.orphan)?;
    out.field("mfa_requirement", &Value::Null)?;
    out.field("num_uses", &auth.num_uses)?;
    Ok(Zeroizing::new(out.end()))
}

/// Writes one JSON object, field by field, into its buffer.
struct Object(Vec<u8>);

impl Object {
    fn begin() -> Self {
        let mut buffer = Vec::with_capacity(FIRST_CAPACITY);
        buffer.push(b'{');
        Object(buffer)
    }

    fn name(&mut self, name: &str) -> serde_json::Result<()> {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        serde_json::to_writer(&mut self.0, name)?;
        self.0.push(b':');
        Ok(())
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> serde_json::Result<()> {
        self.name(name)?;
        serde_json::to_writer(&mut self.0, value)
    }

    fn nested(&mut self, name: &str, json: &[u8]) -> serde_json::Result<()> {
        self.name(name)?;
        self.0.extend_from_slice(json);
        Ok(())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
