//! What of an upstream's answer reaches the caller, and what of the caller's request the upstream.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An upstream that answers every request with the same bytes, whatever HTTP says about them.
pub(super) async fn raw_upstream(answer: impl Into<Vec<u8>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer: std::sync::Arc<Vec<u8>> = std::sync::Arc::new(answer.into());
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                    if tcp.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let _ = tcp.write_all(&answer).await;
                let _ = tcp.shutdown().await;
            });
        }
    });
    url
}

/// The stage's service with some fields changed.
async fn bind_with(s: &Stage, up: &Upstream, more: Value) -> Answer {
    let mut service = s.service(up);
    for (k, v) in more.as_object().unwrap() {
        service[k] = v.clone();
    }
    s.v.post("gateway/services/openai", &s.root, service).await
}

#[tokio::test]
async fn only_a_rejection_of_our_key_is_replaced_and_nothing_is_called_again_for_it() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, |seen| {
        let status: u16 = seen.target.rsplit('/').next().unwrap().parse().unwrap();
        let headers =
            vec![("x-request-id", "req_theirs".to_string()), ("x-should-retry", "true".to_string())];
        whole(status, headers, format!("{{\"error\":\"no: {KEY}\"}}"))
    })
    .await;
    s.bind(&up).await;
    let jwt = s.issuer.jwt("alice");
    for status in [400, 402, 403, 404, 408, 409, 422, 429, 500, 502, 503, 529] {
        let a = s.with(&jwt, "GET", &format!("/openai/v1/{status}")).await;
        assert_eq!(a.status, status, "{}", a.text);
        assert_eq!(a.text, format!("{{\"error\":\"no: {}\"}}", "*".repeat(KEY.len())));
        assert_eq!(
            (&a.headers["x-request-id"], &a.headers["x-should-retry"]),
            (&"req_theirs".parse().unwrap(), &"true".parse().unwrap())
        );
        assert_eq!(a.headers["x-gateway-request-id"].len(), 36);
    }
    let rejected = s.with(&jwt, "GET", "/openai/v1/401").await;
    // Not the caller's 401, and no status that its library would repeat the call for.
    assert_eq!((rejected.status, code(&rejected).as_str()), (424, "upstream_credential_rejected"));
    assert_eq!(rejected.headers["x-should-retry"], "false");
    assert!(!rejected.headers.contains_key("x-request-id"));
    assert_eq!(up.requests().len(), 13);
    // Which statuses say so is the service's to tell.
    bind_with(&s, &up, json!({"credential_rejected_status": [403, 400]})).await.ok();
    for (status, expect) in [(400, 424), (403, 424), (401, 401), (404, 404)] {
        assert_eq!(s.with(&jwt, "GET", &format!("/openai/v1/{status}")).await.status, expect);
    }
    bind_with(&s, &up, json!({"credential_rejected_status": []})).await.ok();
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/401").await.status, 401);
    for bad in [json!([200]), json!(401), json!(["401"]), json!([600]), json!(vec![401; 99])] {
        bind_with(&s, &up, json!({ "credential_rejected_status": bad })).await.expect(400);
    }
}

#[tokio::test]
async fn who_the_caller_is_and_ranges_are_not_forwarded() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, echo).await;
    s.bind(&up).await;
    let jwt = s.issuer.jwt("alice");
    let bearer = format!("Bearer {jwt}");
    let identity = [
        ("x-tenant-id", "1"),
        ("x_tenant_id", "1"),
        ("x-role", "admin"),
        ("x_roles", "admin"),
        ("x-user-id", "0"),
        ("x_user", "root"),
        ("range", "bytes=0-9"),
        ("if-range", "\"e\""),
    ];
    let headers: Vec<(&str, &str)> =
        identity.into_iter().chain([("authorization", bearer.as_str())]).collect();
    assert_eq!(s.call("GET", "/openai/v1/x", &headers, "").await.status, 200);
    for (name, _) in identity {
        assert!(up.requests()[0].all(name).is_empty(), "{name}");
        bind_with(&s, &up, json!({ "request_headers": [name] })).await.expect(400);
    }
    bind_with(
        &s,
        &up,
        json!({"forward_range": true, "inject": {"header": "X-User-Key", "template": "{{credential}}"}}),
    )
    .await
    .ok();
    assert_eq!(s.call("GET", "/openai/v1/x", &headers, "").await.status, 200);
    let second = &up.requests()[1];
    assert_eq!((second.all("range"), second.all("if-range")), (vec!["bytes=0-9"], vec!["\"e\""]));
    assert_eq!(second.all("x-user-key"), [KEY]);
}

#[tokio::test]
async fn an_answer_that_cannot_be_searched_stays_behind() {
    let s = Stage::new().await;
    let jwt = s.issuer.jwt("alice");
    let chunked = format!("{:x}\r\n{KEY}\r\n0\r\n\r\n", KEY.len());
    for (heads, passes) in [
        ("Transfer-Encoding: chunked\r\n", true),
        ("Content-Encoding: identity\r\nTransfer-Encoding: Chunked\r\n", true),
        ("Transfer-Encoding: gzip, chunked\r\n", false),
        ("Transfer-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n", false),
        ("Transfer-Encoding: chunked\r\nContent-Encoding:\r\n", false),
        ("Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n", false),
        ("Transfer-Encoding: chunked\r\nContent-Encoding: rot13\r\n", false),
        ("Transfer-Encoding: chunked\r\nContent-Encoding: identity, br\r\n", false),
    ] {
        let url = raw_upstream(format!("HTTP/1.1 200 OK\r\n{heads}Connection: close\r\n\r\n{chunked}")).await;
        let up = Upstream { url, seen: Default::default() };
        bind_with(&s, &up, json!({ "ca_cert": "" })).await.ok();
        let a = s.with(&jwt, "GET", "/openai/v1/x").await;
        if passes {
            assert_eq!((a.status, a.text), (200, "*".repeat(KEY.len())), "{heads}");
        } else {
            assert!(!a.text.contains(KEY), "{heads}");
            assert_eq!((a.status, code(&a).as_str()), (424, "upstream_encoded"), "{heads}");
        }
    }
}

#[tokio::test]
async fn the_key_and_its_beginning_are_masked_in_every_spelling() {
    use base64::Engine as _;
    let s = Stage::new().await;
    let spelled = |f: &dyn Fn(u8) -> String, key: &str| key.bytes().map(f).collect::<String>();
    let base64 = base64::engine::general_purpose::STANDARD.encode(format!("user:{KEY}"));
    let lines: Vec<&str> = base64.as_bytes().chunks(19).map(|l| std::str::from_utf8(l).unwrap()).collect();
    let hex = hex::encode(KEY);
    let mixed: String =
        hex.chars().enumerate().map(|(n, c)| if n % 3 == 0 { c.to_ascii_uppercase() } else { c }).collect();
    let mut echoes = vec![base64.clone(), lines.join("\r\n"), lines.join("\\n"), mixed];
    for part in [KEY, &KEY[..KEY.len() - 1], &KEY[..11]] {
        echoes.push(part.to_string());
        echoes.push(spelled(&|b| format!("\\u00{b:02X}"), part));
        echoes.push(spelled(&|b| format!("&#{b};"), part));
        echoes.push(spelled(&|b| format!("&#x{b:x};"), part));
        echoes.push(spelled(&|b| format!("%{b:02x}"), part));
        echoes.push(spelled(
            &|b| if b % 2 == 0 { format!("%{b:02X}") } else { char::from(b).to_string() },
            part,
        ));
    }
    let answers = echoes.clone();
    let up = Upstream::start(&s.home.pki, move |seen| {
        // The last thing that is sent, in small pieces: the upstream ends the stream there.
        let echo = answers[seen.target.rsplit('/').next().unwrap().parse::<usize>().unwrap()].clone();
        let (tx, rx) = tokio::sync::mpsc::channel(2048);
        tokio::spawn(async move {
            for part in format!("bad key: {echo}").as_bytes().chunks(5) {
                let _ = tx.send(Bytes::copy_from_slice(part)).await;
            }
        });
        (400, vec![], rx)
    })
    .await;
    s.bind(&up).await;
    let jwt = s.issuer.jwt("alice");
    for (n, echo) in echoes.iter().enumerate() {
        let a = s.with(&jwt, "GET", &format!("/openai/v1/{n}")).await;
        assert_eq!((a.status, a.text.len()), (400, "bad key: ".len() + echo.len()));
        let left = a.text.trim_start_matches("bad key: ").chars().filter(|c| *c != '*').count();
        // Of base64, what shares a character with its neighbours, and the name before it.
        assert!(left <= if echo.contains(&base64[..8]) { 10 } else { 0 }, "{echo}: {}", a.text);
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_masked_is_neither_bound_nor_sent() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, echo).await;
    let jwt = s.issuer.jwt("alice");
    let set = async |key: &str| {
        s.v.post("secret/data/openai", &s.root, json!({"data": {"key": key}})).await.ok();
    };
    for (key, why) in
        [("sk-0123456789 ", "blanks"), ("sk-proj-123", "too short"), ("sk-0123456789\n\n", "blanks")]
    {
        set(key).await;
        let refused = s.v.post("gateway/services/openai", &s.root, s.service(&up)).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text.contains(why), "{}", refused.text);
    }
    set("sk-0123456789\n").await;
    s.bind(&up).await;
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/x").await.status, 200);
    // Put there after the binding.
    for key in ["sk-0123456789 ", "sk-proj-123", "short"] {
        set(key).await;
        let a = s.with(&jwt, "GET", "/openai/v1/x").await;
        assert_eq!((a.status, code(&a).as_str()), (502, "credential_unfit"), "{key}");
        s.audited("credential_unfit").await;
    }
    assert_eq!(up.requests().len(), 1);
}
