//! A small HTTPS server with a CA of its own. It records what it was asked.

use crate::Builder;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: http::HeaderMap,
    pub body: Value,
    pub version: http::Version,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

/// Status, extra headers, body.
pub struct Answer(pub u16, pub Vec<(&'static str, &'static str)>, pub String);

pub fn json(status: u16, body: &str) -> Answer {
    Answer(status, Vec::new(), body.to_owned())
}

type Handler = dyn Fn(&Seen, usize) -> Option<Answer> + Send + Sync;

pub struct Server {
    pub port: u16,
    pub ca: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers with what `handler` makes of a request and its number; `None` never answers.
    pub async fn start(
        alpn: &[&str],
        handler: impl Fn(&Seen, usize) -> Option<Answer> + Send + Sync + 'static,
    ) -> Server {
        let (ca, config) = certificates(alpn);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let handler: Arc<Handler> = Arc::new(handler);
        let record = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, handler, record) = (acceptor.clone(), handler.clone(), record.clone());
                tokio::spawn(async move {
                    if let Ok(tls) = acceptor.accept(tcp).await {
                        serve(TokioIo::new(tls), handler, record).await;
                    }
                });
            }
        });
        Server { port, ca, seen, task }
    }

    /// The same answer to everything.
    pub async fn fixed(status: u16, body: &'static str) -> Server {
        Server::start(&["h2", "http/1.1"], move |_, _| Some(json(status, body))).await
    }

    pub fn builder(&self) -> Builder {
        Builder::new(format!("https://localhost:{}", self.port))
            .ca_pem(self.ca.clone())
            .token("hvs.test-token")
    }

    pub fn client(&self) -> crate::Client {
        self.builder().build().unwrap()
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

pub async fn serve<I>(io: I, handler: Arc<Handler>, record: Arc<Mutex<Vec<Seen>>>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, record) = (handler.clone(), record.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let seen = Seen {
                method: head.method.to_string(),
                target: head.uri.path_and_query().unwrap().to_string(),
                headers: head.headers,
                body: serde_json::from_slice(&body).unwrap_or(Value::Null),
                version: head.version,
            };
            let number = {
                let mut all = record.lock().unwrap();
                all.push(seen.clone());
                all.len() - 1
            };
            let Some(Answer(status, headers, body)) = handler(&seen, number) else {
                return std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>().await;
            };
            let mut response = Response::builder().status(status);
            for (k, v) in headers {
                response = response.header(k, v);
            }
            Ok(response.body(Full::new(Bytes::from(body))).unwrap())
        }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
}

fn certificates(alpn: &[&str]) -> (String, ServerConfig) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_cert = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    (ca_cert.pem(), config)
}
