//! Connections that carry many requests, over HTTP/1.1 or HTTP/2.

use crate::support::Vaultd;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use serde_json::Value;
use std::sync::Arc;

enum Sender {
    One(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

/// One connection for many requests, HTTP/1.1 or HTTP/2.
pub struct Session {
    sender: Sender,
    host: String,
    token: String,
}

impl Session {
    pub async fn open(v: &Vaultd, token: &str, http2: bool) -> Session {
        let host = v.api.strip_prefix("https://").unwrap().to_string();
        let tcp = tokio::net::TcpStream::connect(&host).await.unwrap();
        let mut tls = (*v.tls).clone();
        tls.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
        let stream = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
        let io = TokioIo::new(stream);
        let sender = if http2 {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Sender::Two(sender)
        } else {
            let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Sender::One(sender)
        };
        Session { sender, host, token: token.into() }
    }

    pub async fn call(&mut self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.try_call(method, path, body).await.unwrap_or_else(|e| panic!("{method} {path}: {e:?}"))
    }

    /// As [`Session::call`], when the connection may end.
    pub async fn try_call(&mut self, method: &str, path: &str, body: Value) -> hyper::Result<(u16, Value)> {
        let target = match &self.sender {
            Sender::One(_) => format!("/v1/{path}"),
            Sender::Two(_) => format!("https://{}/v1/{path}", self.host),
        };
        let mut request =
            http::Request::builder().method(method).uri(target).header("x-vault-token", &self.token);
        if matches!(self.sender, Sender::One(_)) {
            request = request.header("host", &self.host);
        }
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = request.body(Full::new(body)).unwrap();
        let answer = match &mut self.sender {
            Sender::One(s) => {
                s.ready().await?;
                s.send_request(request).await?
            }
            Sender::Two(s) => s.send_request(request).await?,
        };
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }
}
