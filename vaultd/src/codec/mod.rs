//! HTTP on one side, the core's `Exchange` on the other. Nothing else in the daemon knows how
//! Vault's API looks on the wire.

pub mod answer;
mod body;
mod download;
mod envelope;
mod framing;
mod head;
mod hosts;
mod json;
mod percent;
mod refusal;
mod status;

use crate::config::MetricsAccess;
use crate::limits::{
    BODY_READ_DEADLINE, DEFAULT_MAX_REQUEST_BYTES, MAX_ANONYMOUS_BODY_BYTES, REQUEST_DEADLINE,
};
use crate::listener::Handler;
use answer::Answer;
use async_trait::async_trait;
use bytes::Bytes;
use envelope::refuse;
use head::{BodyForm, Head};
use http::{Request, Response, StatusCode};
use hyper::body::Body;
use refusal::Refusal;
use std::sync::Arc;
use std::time::Duration;
use vault_core::exchange::{Exchange, Incoming, Reply};
use vault_core::metrics::Format;
use vault_logical::{Connection, Data, RequestId, Transport};

pub use body::Budget;
pub use framing::refuse_ambiguous;
pub use hosts::Hosts;
pub(crate) use json::parse_object as json_object;

/// The API: decodes requests, has the core answer them, encodes the answers.
pub struct Api {
    exchange: Arc<dyn Exchange>,
    limits: ApiLimits,
    budget: Budget,
    hosts: Arc<Hosts>,
}

/// What one listener's requests may take.
#[derive(Clone, Copy, Debug)]
pub struct ApiLimits {
    /// Largest body of a request that carries a token.
    pub max_request_bytes: usize,
    /// For a whole body.
    pub body: Duration,
    /// For the core to answer.
    pub request: Duration,
    /// Who may ask for metrics there.
    pub metrics: MetricsAccess,
}

impl Default for ApiLimits {
    fn default() -> Self {
        ApiLimits {
            max_request_bytes: DEFAULT_MAX_REQUEST_BYTES,
            body: BODY_READ_DEADLINE,
            request: REQUEST_DEADLINE,
            metrics: MetricsAccess::Token,
        }
    }
}

impl Api {
    /// `budget` and `hosts` are shared by every listener.
    pub fn new(exchange: Arc<dyn Exchange>, limits: ApiLimits, budget: Budget, hosts: Arc<Hosts>) -> Self {
        Api { exchange, limits, budget, hosts }
    }

    /// Serves one request.
    pub async fn serve<B>(&self, request: Request<B>, connection: &Connection) -> Response<Answer>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, body) = request.into_parts();
        // Echoed as it came, whatever the answer is.
        let namespace = parts.headers.get(head::NAMESPACE).cloned();
        // Any page can send some token: having one proves nothing. Health tells nothing.
        let strange = match connection.transport {
            Transport::Plain if !head::is_health(&parts) => self.hosts.check(&parts.headers, &parts.uri),
            _ => Ok(()),
        };
        let decoded = strange.and_then(|()| head::decode(&parts));
        // The token's header value lives no longer than needed.
        drop(parts);
        let mut response = match decoded {
            Ok(head) => self.answer(head, body, connection).await,
            Err(refusal) => refuse(&unread(refusal, &body)),
        };
        if let Some(value) = namespace {
            response.headers_mut().insert(head::NAMESPACE, value);
        }
        response
    }

    async fn answer<B>(&self, head: Head, body: B, connection: &Connection) -> Response<Answer>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if head.is_metrics() && self.limits.metrics != MetricsAccess::Token {
            return self.scrape(&head).await;
        }
        let head_only = head.head_only;
        let mut response = match self.decode_body(&head, body).await {
            Err(refusal) => refuse(&refusal),
            Ok((data, share)) => {
                let reply = self.exchange(incoming(head, data, connection)).await;
                drop(share);
                match reply {
                    Ok(reply) => envelope::encode(reply),
                    Err(refusal) => refuse(&refusal),
                }
            }
        };
        if head_only {
            *response.body_mut() = Answer::empty();
        }
        response
    }

    /// Metrics on a listener that gives them to anybody, or to nobody.
    async fn scrape(&self, head: &Head) -> Response<Answer> {
        if self.limits.metrics == MetricsAccess::Refused {
            return refuse(&Refusal::new(StatusCode::NOT_FOUND, "there are no metrics on this listener"));
        }
        let name = head.query.get("format").and_then(|f| f.as_str());
        match Format::named(name) {
            Err(e) => refuse(&Refusal::bad(e.message().to_owned())),
            Ok(format) => match self.exchange.scrape(format).await {
                Some(page) => envelope::raw(page.content_type, page.body.clone()),
                None => refuse(&Refusal::new(StatusCode::NOT_FOUND, "there are no metrics here")),
            },
        }
    }

    async fn decode_body<B>(&self, head: &Head, body: B) -> Result<(Data, Option<body::Share>), Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if head.body == BodyForm::None {
            return Ok((head.query.clone(), None));
        }
        let sealed = self.exchange.sealed();
        let cap = match head.has_token() && !sealed {
            true => self.limits.max_request_bytes,
            false => self.limits.max_request_bytes.min(MAX_ANONYMOUS_BODY_BYTES),
        };
        let read = body::read(body, cap, self.limits.body, &self.budget).await;
        let (bytes, share) = match read {
            // Not the caller's fault: the same request is fine once the vault is open.
            Err(e) if sealed && head.has_token() && e.status == StatusCode::PAYLOAD_TOO_LARGE => {
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Vault is sealed").closing());
            }
            read => read?,
        };
        // What Go's clients send for no fields.
        if bytes.trim_ascii() == b"null" {
            return Ok((Data::new(), Some(share)));
        }
        let is_form = head.body == BodyForm::Form && bytes.trim_ascii_start().first() != Some(&b'{');
        let data = match is_form {
            true => match std::str::from_utf8(&bytes) {
                Ok(text) => percent::parse_parameters(text.trim_ascii())?,
                Err(_) => return Err(Refusal::bad("the form is not UTF-8")),
            },
            false => json::parse_object(&bytes).map_err(|e| Refusal::bad(e.to_string()))?,
        };
        Ok((data, Some(share)))
    }

    /// Runs the request to its end even if the caller hangs up: what was begun is finished and
    /// recorded. The deadline only ends the wait.
    async fn exchange(&self, incoming: Incoming) -> Result<Reply, Refusal> {
        let exchange = Arc::clone(&self.exchange);
        let work = tokio::spawn(async move { exchange.handle(incoming).await });
        match tokio::time::timeout(self.limits.request, work).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => {
                tracing::error!("a request ended in a panic");
                Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error").closing())
            }
            Err(_) => {
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the request took too long").closing())
            }
        }
    }
}

#[async_trait]
impl Handler for Api {
    async fn handle(
        &self,
        request: Request<hyper::body::Incoming>,
        connection: &Connection,
    ) -> Response<Answer> {
        self.serve(request, connection).await
    }
}

/// A refused request whose body was not read: the connection cannot carry another.
fn unread<B: Body>(refusal: Refusal, body: &B) -> Refusal {
    if body.is_end_stream() { refusal } else { refusal.closing() }
}

fn incoming(head: Head, data: Data, connection: &Connection) -> Incoming {
    Incoming {
        id: RequestId::new_v4(),
        verb: head.verb,
        path: head.path,
        token: head.token,
        namespace: head.namespace,
        data,
        wrap_ttl: head.wrap_ttl,
        merge_patch: head.merge_patch,
        connection: connection.clone(),
    }
}

#[cfg(test)]
mod tests;
