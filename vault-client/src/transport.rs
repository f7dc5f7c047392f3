//! One HTTP exchange: a bounded request out, a bounded answer in, in bounded time.

use crate::buffer::Buffer;
use crate::connect::{Connector, Target};
use crate::error::{Error, Result};
use crate::limits::{DOWNLOAD_TIMEOUT, IDLE_CONNECTION_TTL, MAX_IDLE_CONNECTIONS, MAX_RESPONSE_BYTES};
use crate::retry;
use bytes::Bytes;
use http::header::LOCATION;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// The HTTP side of a client.
pub(crate) struct Transport {
    http: HttpClient<Connector, Full<Bytes>>,
    /// `https://host:port`, for requests.
    pub origin: String,
    /// As the user wrote it, for errors.
    pub address: String,
    pub timeout: Duration,
}

/// What is sent.
pub(crate) struct Outgoing {
    pub method: Method,
    /// Encoded, with its query, below the origin.
    pub target: String,
    pub headers: HeaderMap<HeaderValue>,
    pub body: Bytes,
}

/// What came back; the body is wiped when dropped.
pub(crate) struct Incoming {
    pub status: StatusCode,
    pub body: Zeroizing<Vec<u8>>,
    pub retry_after: Option<Duration>,
    /// `Location` of a redirect.
    pub location: Option<String>,
}

impl Transport {
    pub fn new(target: Target, origin: String, address: String, timeout: Duration) -> Transport {
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION_TTL)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            // Header compression would keep tokens in a table.
            .http2_header_table_size(0)
            .build(Connector(Arc::new(target)));
        Transport { http, origin, address, timeout }
    }

    /// Sends once. `path` is for errors.
    pub async fn send(&self, out: &Outgoing, path: &str) -> Result<Incoming> {
        let mut request = Request::new(Full::new(out.body.clone()));
        *request.method_mut() = out.method.clone();
        *request.uri_mut() = format!("{}{}", self.origin, out.target)
            .parse()
            .map_err(|_| Error::Config(format!("invalid path {path:?}")))?;
        *request.headers_mut() = out.headers.clone();
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|e| self.unreachable(e))?;
            let (head, body) = answer.into_parts();
            self.incoming(head, body, path).await
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout { address: self.address.clone(), after: self.timeout }),
        }
    }

    /// Sends once and writes a good answer to `to` as it comes; any other answer is read as usual. The head may take
    /// [`DOWNLOAD_TIMEOUT`], every further piece as long as a whole exchange elsewhere.
    pub async fn fetch(
        &self,
        out: &Outgoing,
        path: &str,
        to: &mut (dyn std::io::Write + Send),
    ) -> Result<Result<u64, Incoming>> {
        let late = |after| Error::Timeout { address: self.address.clone(), after };
        let mut request = Request::new(Full::new(out.body.clone()));
        *request.method_mut() = out.method.clone();
        *request.uri_mut() = format!("{}{}", self.origin, out.target)
            .parse()
            .map_err(|_| Error::Config(format!("invalid path {path:?}")))?;
        *request.headers_mut() = out.headers.clone();
        let answer = tokio::time::timeout(DOWNLOAD_TIMEOUT, self.http.request(request)).await;
        let answer = answer.map_err(|_| late(DOWNLOAD_TIMEOUT))?.map_err(|e| self.unreachable(e))?;
        let (head, mut body) = answer.into_parts();
        if !head.status.is_success() {
            return self.incoming(head, body, path).await.map(Err);
        }
        let mut written = 0;
        loop {
            let frame =
                tokio::time::timeout(self.timeout, body.frame()).await.map_err(|_| late(self.timeout))?;
            let Some(frame) = frame else { return Ok(Ok(written)) };
            if let Some(data) = frame.map_err(|e| self.unreachable(e))?.data_ref() {
                to.write_all(data)
                    .map_err(|e| Error::Config(format!("the answer cannot be written: {e}")))?;
                written += data.len() as u64;
            }
        }
    }

    async fn incoming(&self, head: Parts, body: hyper::body::Incoming, path: &str) -> Result<Incoming> {
        let location = match head.status.is_redirection() {
            true => head.headers.get(LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned),
            false => None,
        };
        let retry_after = retry::retry_after(&head.headers);
        Ok(Incoming { status: head.status, body: self.collect(body, path).await?, retry_after, location })
    }

    async fn collect(&self, mut body: hyper::body::Incoming, path: &str) -> Result<Zeroizing<Vec<u8>>> {
        let too_large = || Error::protocol(path, format!("larger than {MAX_RESPONSE_BYTES} bytes"));
        let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if expected > MAX_RESPONSE_BYTES {
            return Err(too_large());
        }
        let mut buffer = Buffer::new(expected, MAX_RESPONSE_BYTES);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| self.unreachable(e))?;
            if let Some(data) = frame.data_ref() {
                buffer.push(data).map_err(|_| too_large())?;
            }
        }
        Ok(buffer.into_inner())
    }

    /// Keeps the innermost cause: "connection refused" says more than "client error (Connect)".
    fn unreachable(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(c) = cause {
            text = c.to_string();
            cause = c.source();
        }
        Error::Connect { address: self.address.clone(), source: text.into() }
    }
}
