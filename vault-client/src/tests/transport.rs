//! TLS, retries, bounds, and what a status means.

use super::server::{Answer, Seen, Server, json, serve};
use crate::limits::{MAX_RESPONSE_BYTES, RETRY_WAIT_MIN};
use crate::{Builder, Call, Error, Kind};
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

const OK: &str = r#"{"request_id":"r","data":{"a":"b"}}"#;

#[tokio::test]
async fn a_private_ca_is_trusted_and_nothing_else() {
    let server = Server::fixed(200, OK).await;
    assert!(server.client().read("secret/x").await.unwrap().is_some());

    let other = Server::fixed(200, OK).await;
    let wrong_ca = Builder::new(format!("https://localhost:{}", server.port)).ca_pem(other.ca.clone());
    let wrong_name = server.builder().server_name("vault.example");
    let wrong_host = Builder::new(format!("https://127.0.0.1:{}", server.port)).ca_pem(server.ca.clone());
    for builder in [wrong_ca, wrong_name, wrong_host] {
        let client = builder.token("hvs.must-not-leave").retries(0).build().unwrap();
        let e = client.read("secret/x").await.unwrap_err();
        assert_eq!(e.kind(), Kind::Connect, "{e}");
        assert!(e.to_string().contains("certificate"), "the cause is told: {e}");
    }
    assert_eq!(server.requests().len(), 1, "no request was sent to a server that was not verified");

    let skip =
        Builder::new(format!("https://127.0.0.1:{}", server.port)).danger_skip_verify().build().unwrap();
    assert!(skip.read("secret/x").await.unwrap().is_some());
}

#[tokio::test]
async fn both_http_versions_are_spoken() {
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], http::Version::HTTP_2),
        (&["http/1.1"], http::Version::HTTP_11),
        (&[], http::Version::HTTP_11),
    ] {
        let server = Server::start(alpn, |_, _| Some(json(200, OK))).await;
        server.client().read("secret/x").await.unwrap();
        assert_eq!(server.requests()[0].version, version);
    }
}

#[tokio::test]
async fn headers_are_vaults_and_the_token_stays_out_of_debug() {
    let server = Server::fixed(200, OK).await;
    let client = server.builder().namespace("/team/").build().unwrap();
    client.write("secret/a b", &serde_json::json!({"k": "v"})).await.unwrap();
    client.patch("secret/x", &serde_json::json!({"k": null})).await.unwrap();
    Call::write(&client, "auth/jwt/login").anonymous().send::<crate::SecretMap>().await.unwrap();
    Call::read(&client, "x").wrap_ttl(Duration::from_secs(60)).send::<crate::SecretMap>().await.unwrap();
    let seen = server.requests();
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("PUT", "/v1/secret/a%20b"));
    assert_eq!(seen[0].header("x-vault-token"), Some("hvs.test-token"));
    assert_eq!(seen[0].header("x-vault-namespace"), Some("team"));
    assert_eq!(seen[0].header("x-vault-request"), Some("true"));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(seen[0].body["k"], "v");
    assert_eq!(seen[1].header("content-type"), Some("application/merge-patch+json"));
    assert_eq!(seen[2].header("x-vault-token"), None, "a login sends no token");
    assert_eq!(seen[3].header("x-vault-wrap-ttl"), Some("60"));
    assert!(!format!("{client:?}").contains("test-token"));
    for bad in ["", "a b", "a\nb", "ü"] {
        assert_eq!(client.set_token(bad).unwrap_err().kind(), Kind::Config);
    }
}

/// Counts how often a call arrives when the first answer is `status`, and what comes of it.
async fn arrivals(status: u16, body: &'static str, write: bool) -> (usize, Option<Kind>) {
    let server = Server::start(&["http/1.1"], move |_, n| {
        Some(if n == 0 { json(status, body) } else { json(200, OK) })
    })
    .await;
    let client = server.client();
    let answer = if write {
        client.write("secret/x", &serde_json::json!({})).await
    } else {
        client.read("secret/x").await
    };
    (server.requests().len(), answer.err().map(|e| e.kind()))
}

#[tokio::test]
async fn only_safe_calls_are_repeated_and_only_where_it_may_help() {
    let (busy, sealed) = (r#"{"errors":["try again"]}"#, r#"{"errors":["Vault is sealed"]}"#);
    for status in [503, 429, 412] {
        assert_eq!(arrivals(status, busy, false).await, (2, None), "{status}");
    }
    assert_eq!(arrivals(503, busy, true).await, (1, Some(Kind::Server)), "a write is not repeated");
    assert_eq!(arrivals(429, busy, true).await, (1, Some(Kind::RateLimited)));
    assert_eq!(arrivals(503, sealed, false).await, (1, Some(Kind::Sealed)), "sealed stays sealed");
    assert_eq!(arrivals(500, busy, false).await, (1, Some(Kind::Server)));
    assert_eq!(arrivals(403, busy, false).await, (1, Some(Kind::PermissionDenied)));
}

/// Whatever a redirect says, the call ends with it: the token goes nowhere else, and nothing is
/// asked a second time.
#[tokio::test]
async fn a_redirect_is_not_followed_and_the_error_says_where_it_leads() {
    let elsewhere = Server::fixed(200, OK).await;
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for status in [301, 302, 303, 307, 308] {
        for to in ["other", "plain", "/v1/secret/y", "y", "self"] {
            let location: &'static str = match to {
                "other" => format!("https://localhost:{}/v1/secret/x", elsewhere.port).leak(),
                "plain" => format!("http://{}/v1/secret/x", plain.local_addr().unwrap()).leak(),
                "self" => "",
                other => other,
            };
            let server = Server::start(&["http/1.1"], move |s, n| {
                let own = || &*format!("https://{}{}", s.header("host").unwrap(), s.target).leak();
                let location = if location.is_empty() { own() } else { location };
                Some(if n == 0 {
                    Answer(status, vec![("location", location)], String::new())
                } else {
                    json(200, OK)
                })
            })
            .await;
            // Trusts both servers, as within a company.
            let both = format!("{}{}", server.ca, elsewhere.ca);
            let client = server.builder().ca_pem(both).build().unwrap();
            let asked = |n: usize| {
                let client = client.clone();
                let seen = server.seen.clone();
                async move {
                    seen.lock().unwrap().clear();
                    match n {
                        0 => client.read("secret/x").await.err(),
                        1 => client.write("secret/x", &serde_json::json!({"k": "v"})).await.err(),
                        2 => client.delete("secret/x").await.err(),
                        3 => client.list("secret").await.err(),
                        4 => Call::read(&client, "sys/x").download(&mut Vec::new()).await.err(),
                        _ => client.sys().health().await.err(),
                    }
                }
            };
            for n in 0..6 {
                let e = asked(n).await.unwrap_or_else(|| panic!("{status} to {to}: call {n} was answered"));
                assert_eq!((e.kind(), e.status()), (Kind::Redirected, Some(status)), "{status} to {to}: {e}");
                let said = if location.is_empty() { "https://localhost" } else { location };
                assert!(e.to_string().contains(said), "{e}");
                assert_eq!(server.requests().len(), 1, "{status} to {to}: call {n} was sent again");
            }
        }
    }
    assert!(elsewhere.requests().is_empty(), "another server was asked");
    let none = tokio::time::timeout(Duration::from_millis(50), plain.accept()).await;
    assert!(none.is_err(), "another server was connected to");
}

#[tokio::test]
async fn retry_after_is_honoured_within_bounds() {
    let server = Server::start(&["http/1.1"], |s, n| {
        let wait = if s.target.ends_with("long") { "3600" } else { "1" };
        Some(if n == 0 || wait == "3600" {
            Answer(429, vec![("retry-after", wait)], String::new())
        } else {
            json(200, OK)
        })
    })
    .await;
    let client = server.client();
    let begin = Instant::now();
    client.read("secret/short").await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let begin = Instant::now();
    let e = client.read("secret/long").await.unwrap_err();
    assert!(matches!(e, Error::Server { retry_after: Some(d), .. } if d == Duration::from_secs(3600)));
    assert!(begin.elapsed() < Duration::from_secs(600), "it does not wait an hour");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn retries_end() {
    let server = Server::fixed(503, "{}").await;
    let client = server.builder().retries(1).build().unwrap();
    let begin = Instant::now();
    assert_eq!(client.read("secret/x").await.unwrap_err().kind(), Kind::Server);
    assert_eq!(server.requests().len(), 2);
    assert!(begin.elapsed() >= RETRY_WAIT_MIN / 2, "it waits between them");
    assert_eq!(
        server.builder().retries(0).build().unwrap().delete("secret/x").await.unwrap_err().kind(),
        Kind::Server
    );
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_refused_connection_is_told_and_retried_for_reads() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let client = Builder::new(format!("http://127.0.0.1:{port}")).retries(1).build().unwrap();
    let begin = Instant::now();
    let e = client.read("secret/x").await.unwrap_err();
    assert_eq!(e.kind(), Kind::Connect);
    assert!(e.to_string().contains("refused"), "{e}");
    assert!(begin.elapsed() >= RETRY_WAIT_MIN / 2);
    assert_eq!(client.write("secret/x", &()).await.unwrap_err().kind(), Kind::Connect);
}

#[tokio::test]
async fn time_and_size_are_bounded() {
    let server = Server::start(&["http/1.1"], |s, _| {
        (!s.target.ends_with("slow")).then(|| json(200, &"x".repeat(MAX_RESPONSE_BYTES + 1)))
    })
    .await;
    let client = server.builder().timeout(Duration::from_millis(300)).build().unwrap();
    assert_eq!(client.read("secret/slow").await.unwrap_err().kind(), Kind::Timeout);
    assert_eq!(server.requests().len(), 1, "a timeout is not repeated: the call may have been done");
    let e = server.client().read("secret/large").await.unwrap_err();
    assert_eq!(e.kind(), Kind::Protocol, "{e}");
    let huge = serde_json::json!({ "v": "x".repeat(crate::limits::MAX_REQUEST_BYTES) });
    assert_eq!(client.write("secret/x", &huge).await.unwrap_err().kind(), Kind::Config);
}

#[tokio::test]
async fn an_answer_that_never_ends_is_cut() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (mut io, _) = listener.accept().await.unwrap();
        let _ = io.read(&mut [0; 4096]).await;
        let _ = io.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
        let mut sent = 0;
        while io.write_all(&chunk).await.is_ok() {
            sent += 0x10000;
        }
        sent
    });
    let client = Builder::new(address).retries(0).build().unwrap();
    assert_eq!(client.read("secret/x").await.unwrap_err().kind(), Kind::Protocol);
    drop(client);
    let sent = tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
    assert!(sent < 2 * MAX_RESPONSE_BYTES, "it stopped reading after {sent} bytes");
}

#[tokio::test]
async fn a_404_is_absence_only_where_it_says_nothing() {
    let server = Server::start(&["h2"], |s, _| {
        Some(match s.target.as_str() {
            "/v1/gone" => json(404, r#"{"errors":[]}"#),
            "/v1/route" => json(404, r#"{"errors":["no handler for route"]}"#),
            "/v1/deleted" => json(404, r#"{"data":{"data":null,"metadata":{"version":3}}}"#),
            "/v1/warned" => json(404, r#"{"data":null,"warnings":["use data/"]}"#),
            "/v1/none" => json(204, ""),
            "/v1/bare" => json(200, r#"{"is_self":true}"#),
            "/v1/empty" => json(200, r#"{"request_id":"r","data":null}"#),
            "/v1/text" => json(200, "hvs.leaked-in-a-body"),
            "/v1/folder?list=true" => json(404, r#"{"errors":[]}"#),
            t => panic!("{t}"),
        })
    })
    .await;
    let c = server.client();
    assert!(c.read("gone").await.unwrap().is_none());
    assert_eq!(c.read("route").await.unwrap_err().messages(), ["no handler for route"]);
    assert!(c.read("deleted").await.unwrap().unwrap().data.is_some());
    assert_eq!(c.read("warned").await.unwrap().unwrap().warnings, ["use data/"]);
    assert!(c.read("none").await.unwrap().is_none());
    assert!(c.read("bare").await.unwrap().unwrap().data.unwrap().get("is_self").is_some());
    assert!(c.read("empty").await.unwrap().unwrap().data.is_none());
    assert!(c.list("folder").await.unwrap().is_empty());
    assert_eq!(c.write("gone", &()).await.unwrap_err().kind(), Kind::NotFound);
    let e = c.read("text").await.unwrap_err();
    assert_eq!(e.kind(), Kind::Protocol);
    assert!(!e.to_string().contains("leaked"), "{e}");
}

#[tokio::test]
async fn a_unix_socket_is_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let record = seen.clone();
    let task = tokio::spawn(async move {
        let (io, _) = listener.accept().await.unwrap();
        serve(TokioIo::new(io), Arc::new(|_: &Seen, _| Some(json(200, OK))), record).await;
    });
    let client = Builder::new(format!("unix://{}", path.display())).build().unwrap();
    assert!(client.read("secret/x").await.unwrap().is_some());
    assert_eq!(seen.lock().unwrap()[0].target, "/v1/secret/x");
    task.abort();
}

#[tokio::test]
async fn an_api_behind_a_prefix_is_reached() {
    let server = Server::fixed(200, OK).await;
    let address = format!("https://localhost:{}/vault/", server.port);
    Builder::new(address).ca_pem(server.ca.clone()).build().unwrap().read("secret/x").await.unwrap();
    assert_eq!(server.requests()[0].target, "/vault/v1/secret/x");
}

#[tokio::test]
async fn clones_share_a_token_and_with_token_does_not() {
    let server = Server::fixed(200, OK).await;
    let client = server.client();
    let (clone, other) = (client.clone(), client.with_token("hvs.other").unwrap());
    client.set_token("hvs.new").unwrap();
    clone.read("x").await.unwrap();
    other.read("x").await.unwrap();
    client.clear_token();
    clone.read("x").await.unwrap();
    let tokens: Vec<_> =
        server.requests().iter().map(|s| s.header("x-vault-token").map(str::to_owned)).collect();
    assert_eq!(tokens, [Some("hvs.new".to_owned()), Some("hvs.other".to_owned()), None]);
}
