//! A daemon without file descriptors: it says so, loses nothing, and its operator gets in.

use crate::support::{Answer, Home, PATIENCE, Vaultd, binary};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// A connection that is kept.
struct Kept(SendRequest<Full<Bytes>>);

impl Kept {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Kept {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Kept(sender)
    }

    async fn call(&mut self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header("host", "localhost")
            .header("x-vault-token", token)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let answer = async {
            let (head, body) = self.0.send_request(request).await.unwrap().into_parts();
            let text = body.collect().await.unwrap().to_bytes();
            Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                text: String::from_utf8_lossy(&text).into_owned(),
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("no answer in time")
    }
}

async fn tls(v: &Vaultd) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(v.api.strip_prefix("https://").unwrap()).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(v.tls.clone()).connect(name, tcp).await.unwrap()
}

/// Sets the soft limit of a running daemon and answers the one before.
fn limit(v: &Vaultd, to: &str) -> String {
    let run = |args: &[&str]| {
        let out = Command::new("prlimit").arg(format!("--pid={}", v.pid)).args(args).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    let before = run(&["--nofile", "--noheadings", "--raw", "--output=SOFT"]);
    run(&[&format!("--nofile={to}:")]);
    before
}

/// The numbers of a daemon's open descriptors; `None` where only root may look.
fn open(v: &Vaultd) -> Option<Vec<usize>> {
    let names = std::fs::read_dir(format!("/proc/{}/fd", v.pid)).ok()?;
    names.map(|n| n.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn value(n: usize) -> Value {
    json!({"data": {"v": format!("{n}-{}", "x".repeat(500 * 1024))}})
}

#[tokio::test]
async fn a_journal_without_a_descriptor_refuses_and_goes_on() {
    for backend in ["sled", "redb"] {
        let home = Home::audited(backend);
        let v = home.start();
        let (root, keys) = v.ready().await;
        let mut api = Kept::over(tls(&v).await).await;
        api.call("POST", "secret/data/n0", &root, value(0)).await.ok();
        let before = limit(&v, "3");
        let (mut written, mut refused) = (vec![0], 0);
        // More than twice the size of a segment, of which one is open and one was made ahead.
        for n in 1..40 {
            let answer = api.call("POST", &format!("secret/data/n{n}"), &root, value(n)).await;
            match answer.status {
                200 => written.push(n),
                503 => refused += 1,
                other => panic!("{backend}: {other} {}", answer.text),
            }
        }
        assert!(refused > 0, "{backend}: nothing was refused");
        limit(&v, &before);
        let last = api.call("POST", "secret/data/last", &root, value(60)).await;
        assert_eq!(last.status, 200, "{backend}: it goes on: {}", last.text);
        assert_eq!(v.stop(), Some(0), "{backend}");
        let v = home.start();
        v.unseal(&keys).await;
        for n in written {
            let kept = v.get(&format!("secret/data/n{n}"), &root).await.ok();
            assert_eq!(kept["data"]["data"], value(n)["data"], "{backend}: an acknowledged write is lost");
        }
    }
}

#[tokio::test]
async fn the_operator_gets_in_when_no_descriptor_is_left() {
    let mut home = Home::audited("redb");
    let socket = home.path("vaultd.sock");
    home.extra += &format!("listener \"unix\" {{\n  address = \"{}\"\n}}\n", socket.display());
    let v = home.start();
    let (root, _) = v.ready().await;
    let Some(mut numbers) = open(&v) else {
        assert!(std::env::var_os("CI").is_none(), "needs to see the daemon's descriptors");
        return;
    };
    numbers.sort_unstable();
    let most = numbers.last().unwrap() + 9;
    limit(&v, &most.to_string());
    // Requests whose bodies do not come hold a descriptor each, for longer than this test lasts.
    let mut held = Vec::new();
    let until = Instant::now() + PATIENCE;
    while open(&v).unwrap().len() < most {
        assert!(Instant::now() < until, "the descriptors do not run out");
        if let Ok(mut stream) = tokio::time::timeout(Duration::from_secs(2), tls(&v)).await {
            let head = "PUT /v1/sys/unseal HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            held.push(stream);
        }
    }
    // And one more waits to get in.
    let _waiting = TcpStream::connect(v.api.strip_prefix("https://").unwrap()).await.unwrap();
    let mut operator = Kept::over(UnixStream::connect(&socket).await.unwrap()).await;
    let status = operator.call("GET", "sys/seal-status", "", Value::Null).await.ok();
    assert_eq!(status["sealed"], false);
    operator.call("PUT", "sys/seal", &root, Value::Null).await.ok();
    let mut operator = Kept::over(UnixStream::connect(&socket).await.unwrap()).await;
    let status = operator.call("GET", "sys/seal-status", "", Value::Null).await.ok();
    assert_eq!(status["sealed"], true);
}

#[test]
fn too_few_descriptors_are_named_at_start() {
    let home = Home::new("memory");
    let script = "ulimit -n 128 && exec \"$0\" server -config=\"$1\"";
    let out =
        Command::new("sh").args(["-c", script]).arg(binary("vaultd")).arg(home.config()).output().unwrap();
    let err = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(69), "{err}");
    assert!(err.contains("128 file descriptors are too few") && err.contains("LimitNOFILE"), "{err}");
}
