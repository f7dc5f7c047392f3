//! A caller who does not read its answer and goes on sending: its call ends all the same when its
//! right to it does, or when the vault seals.

use super::*;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Well below what the call would take to end of itself: its service waits for longer.
const SOON: Duration = Duration::from_secs(20);

/// Answers with a head and an endless body, or the beginning of one, and counts the uploads that
/// have begun and those that are over.
#[derive(Clone, Default)]
struct Counted {
    begun: Arc<AtomicUsize>,
    over: Arc<AtomicUsize>,
}

impl Counted {
    async fn start(&self, endless: bool) -> Upstream {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let counted = self.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let counted = counted.clone();
                let (mut read, mut write) = tcp.into_split();
                let (asked, head) = tokio::sync::oneshot::channel::<()>();
                let mut asked = Some(asked);
                tokio::spawn(async move {
                    let mut buf = vec![0; 4096];
                    let mut got = 0;
                    while let Ok(n @ 1..) = read.read(&mut buf).await {
                        // An answer before the request would be none.
                        drop(asked.take());
                        got += n;
                        if got > 2000 && got - n <= 2000 {
                            counted.begun.fetch_add(1, Ordering::AcqRel);
                        }
                    }
                    counted.over.fetch_add(1, Ordering::AcqRel);
                });
                tokio::spawn(async move {
                    let _: Result<(), _> = head.await;
                    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
                    let _ = write.write_all(head).await;
                    let chunk = [b"10000\r\n".as_slice(), &[b'z'; 65536], b"\r\n"].concat();
                    while endless && write.write_all(&chunk).await.is_ok() {}
                    std::future::pending::<()>().await;
                });
            }
        });
        Upstream { url, seen: Default::default() }
    }

    fn over(&self) -> usize {
        self.over.load(Ordering::Acquire)
    }
}

/// Uploads without an end and does not look at the answer. Ends when it is aborted.
async fn upload(s: &Stage, h2: bool, token: &str) -> tokio::task::JoinHandle<()> {
    let base = s.v.gateway.clone().unwrap();
    let host = base.strip_prefix("https://").unwrap().to_owned();
    let mut tls = (*s.v.tls).clone();
    tls.alpn_protocols = vec![if h2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let tcp = tokio::net::TcpStream::connect(&host).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let mut io = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.unwrap();
    let token = token.to_owned();
    tokio::spawn(async move {
        if !h2 {
            let head = format!(
                "POST /openai/v1/x HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
            );
            io.write_all(head.as_bytes()).await.unwrap();
            while io.write_all(b"64\r\n").await.is_ok() {
                let _ = io.write_all(&[b'u'; 100]).await;
                let _ = io.write_all(b"\r\n").await;
                let _ = io.flush().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            return std::future::pending().await;
        }
        let (mut sender, c) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(0)
            .handshake(TokioIo::new(io))
            .await
            .unwrap();
        let driver = tokio::spawn(c);
        let parts = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'u'; 100]))), ()))
        });
        let request = http::Request::post(format!("{base}/openai/v1/x"))
            .header("authorization", format!("Bearer {token}"))
            .body(StreamBody::new(Box::pin(parts)))
            .unwrap();
        let answer = sender.send_request(request).await;
        let _ = driver.await;
        drop(answer);
    })
}

async fn token(s: &Stage) -> String {
    let v = s.v.post("auth/token/create", &s.root, json!({"policies": ["app"]})).await.ok();
    v["auth"]["client_token"].as_str().unwrap().to_string()
}

async fn bind(s: &Stage, up: &Upstream) {
    let mut service = s.service(up);
    service.as_object_mut().unwrap().remove("ca_cert");
    service["timeout"] = json!("5m");
    s.v.post("gateway/services/openai", &s.root, service).await.ok();
}

async fn within(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !done() {
        assert!(Instant::now() < until, "goes on: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_call_that_is_not_read_ends_with_the_seal() {
    let s = Stage::new().await;
    let up = Counted::default();
    bind(&s, &up.start(true).await).await;
    let token = token(&s).await;
    let callers = [upload(&s, false, &token).await, upload(&s, true, &token).await];
    crate::support::eventually("the uploads", async || up.begun.load(Ordering::Acquire) == 2).await;
    assert_eq!(up.over(), 0);
    s.v.post("sys/seal", &s.root, json!({})).await.ok();
    within("an upload after the seal", || up.over() == 2).await;
    let log = s.v.log();
    assert!(!log.contains("gateway calls were still busy"), "the seal waited in vain: {log}");
    callers.iter().for_each(|c| c.abort());
}
