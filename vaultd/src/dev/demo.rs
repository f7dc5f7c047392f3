//! The demo provider: a TLS server that tells which headers reached it.

use crate::codec::answer::Answer;
use crate::listener::Handler;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use serde_json::{Value, json};
use vault_logical::Connection;

/// Answers with what it was sent.
pub(super) struct Echo;

#[async_trait]
impl Handler for Echo {
    async fn handle(&self, request: Request<hyper::body::Incoming>, _: &Connection) -> Response<Answer> {
        let headers: serde_json::Map<String, Value> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), Value::from(String::from_utf8_lossy(value.as_bytes()))))
            .collect();
        let seen = json!({
            "method": request.method().as_str(),
            "path": request.uri().path(),
            "headers_the_provider_got": headers,
        });
        let mut response = Response::new(Answer::Whole(Bytes::from(seen.to_string() + "\n")));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
