//! A TLS upstream that remembers what it was sent and answers what the test wants.

use super::Pki;
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// One request as the upstream saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(k, _)| k == name).map(|(_, v)| v.as_str()).collect()
    }
}

type Chunks = mpsc::Receiver<Bytes>;
type Reply = (u16, Vec<(&'static str, String)>, Chunks);
type Answer = dyn Fn(&Seen) -> Reply + Send + Sync;

pub struct Upstream {
    pub url: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
}

/// A whole body at once.
pub fn whole(status: u16, headers: Vec<(&'static str, String)>, body: impl Into<Bytes>) -> Reply {
    let (tx, rx) = mpsc::channel(1);
    let body = body.into();
    if !body.is_empty() {
        tx.try_send(body).unwrap();
    }
    (status, headers, rx)
}

/// Speaks TLS with the certificate `name` of `pki`.
pub fn acceptor(pki: &Pki, name: &str, protocol: &str) -> tokio_rustls::TlsAcceptor {
    use rustls_pki_types::pem::PemObject;
    let cert = rustls_pki_types::CertificateDer::from_pem_file(pki.path(&format!("{name}.pem"))).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::from_pem_file(pki.path(&format!("{name}-key.pem"))).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    tls.alpn_protocols = vec![protocol.into()];
    tokio_rustls::TlsAcceptor::from(Arc::new(tls))
}

impl Upstream {
    /// Serves on loopback with the certificate of `pki`; `answer` decides each reply.
    pub async fn start(pki: &Pki, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Upstream {
        Self::speaking(pki, "http/1.1", answer).await
    }

    /// The same over `http/1.1` or `h2`.
    pub async fn speaking(
        pki: &Pki,
        protocol: &'static str,
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Upstream {
        let acceptor = acceptor(pki, "server", protocol);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let answer: Arc<Answer> = Arc::new(answer);
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, log, answer) = (acceptor.clone(), log.clone(), answer.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let service = hyper::service::service_fn(move |request| {
                        serve(request, log.clone(), answer.clone())
                    });
                    let io = TokioIo::new(stream);
                    if protocol == "h2" {
                        let executor = hyper_util::rt::TokioExecutor::new();
                        let _ = hyper::server::conn::http2::Builder::new(executor)
                            .serve_connection(io, service)
                            .await;
                    } else {
                        let _ =
                            hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                    }
                });
            }
        });
        Upstream { url, seen }
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    request: http::Request<hyper::body::Incoming>,
    log: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<Answer>,
) -> Result<http::Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let seen = Seen {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts
            .headers
            .iter()
            .map(|(k, v)| (k.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
            .collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let (status, headers, mut chunks) = answer(&seen);
    log.lock().unwrap().push(seen);
    let mut response = http::Response::builder().status(status);
    for (k, v) in headers {
        response = response.header(k, v);
    }
    let stream = futures_util::stream::poll_fn(move |cx| {
        chunks.poll_recv(cx).map(|c| c.map(|b| Ok::<_, Infallible>(Frame::data(b))))
    });
    Ok(response.body(StreamBody::new(stream)).unwrap())
}
