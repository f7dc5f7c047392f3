//! What an upstream makes an error say is masked wherever the operator reads it: an upstream that
//! repeats the key in HTTP/2's GOAWAY, or in the names of its certificate.

use super::*;
use crate::support::eventually;
use crate::support::upstream::acceptor;
use base64::Engine as _;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// The key as an upstream may write it.
fn spellings() -> [String; 3] {
    [KEY.to_string(), hex::encode(KEY), base64::engine::general_purpose::STANDARD.encode(KEY)]
}

/// HTTP/2 that ends each connection with what it was authorised with: before its answer, or after
/// a part of it once it is told to go on.
async fn leaver(s: &Stage, go_on: Option<Arc<Notify>>) -> Upstream {
    let acceptor = acceptor(&s.home.pki, "server", "h2");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(tcp).await else { continue };
            let go_on = go_on.clone();
            tokio::spawn(async move {
                let mut goaway = vec![0, 0, 0, 0, 0, 0, 0, 11];
                goaway.extend(spellings().join(" ").into_bytes());
                let mut preface = [0; 24];
                tls.read_exact(&mut preface).await.unwrap();
                tls.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
                let mut head = [0; 9];
                while tls.read_exact(&mut head).await.is_ok() {
                    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
                    tls.read_exact(&mut payload).await.unwrap();
                    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                    match head[3] {
                        SETTINGS if head[4] == 0 => {
                            tls.write_all(&frame(SETTINGS, 1, 0, &[])).await.unwrap();
                        }
                        HEADERS => {
                            if let Some(go_on) = &go_on {
                                // `:status: 200` by its number, and a part of a body.
                                tls.write_all(&frame(HEADERS, 4, stream, &[0x88])).await.unwrap();
                                tls.write_all(&frame(0, 0, stream, b"a part")).await.unwrap();
                                tls.flush().await.unwrap();
                                go_on.notified().await;
                            }
                            tls.write_all(&frame(GOAWAY, 0, 0, &goaway)).await.unwrap();
                        }
                        _ => {}
                    }
                    tls.flush().await.unwrap();
                }
            });
        }
    });
    Upstream { url, seen: Default::default() }
}

fn holds_no_key(text: &str) {
    for spelling in spellings() {
        assert!(!text.contains(&spelling), "{spelling}: {text}");
    }
}

/// The log, once a line holds all of `words`.
async fn logged(s: &Stage, words: &[&str]) -> String {
    let there = || s.v.log().lines().any(|l| words.iter().all(|w| l.contains(w)));
    eventually(&format!("a line with {words:?}"), async || there()).await;
    s.v.log()
}

async fn tested(s: &Stage) -> String {
    let v = s.v.post("sys/gateway/test/openai", &s.root, json!({})).await.ok();
    let steps = v["data"]["steps"].as_array().unwrap();
    let failed = steps.iter().find(|s| s["outcome"] == "failed").unwrap_or_else(|| panic!("{v}"));
    assert!(failed["detail"].as_str().unwrap().contains("****"), "{v}");
    v.to_string()
}

#[tokio::test]
async fn a_goaway_that_repeats_the_key_does_not_tell_it() {
    let s = Stage::new().await;
    let up = leaver(&s, None).await;
    s.bind(&up).await;
    holds_no_key(&tested(&s).await);
    let a = s.with(&s.issuer.jwt("alice"), "GET", "/openai/v1/x").await;
    assert_eq!((a.status, code(&a).as_str()), (502, "upstream_unreachable"));
    holds_no_key(&logged(&s, &["upstream_unreachable", "exchange", "****"]).await);

    let go_on = Arc::new(Notify::new());
    let up = leaver(&s, Some(go_on.clone())).await;
    s.bind(&up).await;
    let mut body = s.stream().await;
    // Without its last letter, which may begin a spelling of the key.
    assert!(body.frame().await.unwrap().unwrap().into_data().unwrap().starts_with(b"a p"));
    go_on.notify_one();
    let end = tokio::time::timeout(PATIENCE, body.frame()).await.expect("the end");
    assert!(matches!(end, Some(Err(_))), "a part was taken for the whole");
    holds_no_key(&logged(&s, &["upstream_cut", "answer body", "****"]).await);
    holds_no_key(&s.audit());
}

#[tokio::test]
async fn a_certificate_that_is_named_like_the_key_does_not_tell_it() {
    let s = Stage::new().await;
    s.home.pki.issue("telling", &[KEY]);
    let acceptor = acceptor(&s.home.pki, "telling", "h2");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            drop(acceptor.accept(tcp).await);
        }
    });
    let up = Upstream { url, seen: Default::default() };
    s.bind(&up).await;
    holds_no_key(&tested(&s).await);
    let a = s.with(&s.issuer.jwt("alice"), "GET", "/openai/v1/x").await;
    assert_eq!((a.status, code(&a).as_str()), (502, "upstream_unreachable"));
    holds_no_key(&logged(&s, &["upstream_unreachable", "tls", "****"]).await);
}
