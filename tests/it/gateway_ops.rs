//! The gateway for whoever runs it: what is on record of a call, what the log and `gateway test`
//! say of one that failed, and what a service may say.

use crate::gateway::{KEY, Stage, code};
use crate::support::upstream::{Seen, Upstream, acceptor, whole};
use crate::support::{Answer, PATIENCE, Pki, binary, eventually};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::sync::Arc;

const AGENT: &str = "an-app/1.0";

/// One call over HTTP/1.1 or HTTP/2, its body still to be read; the connection ends with the task.
async fn open(
    s: &Stage,
    h2: bool,
    method: &str,
    target: &str,
    jwt: &str,
    body: &str,
) -> (http::Response<hyper::body::Incoming>, tokio::task::JoinHandle<()>) {
    let base = s.v.gateway.clone().unwrap();
    let host = base.strip_prefix("https://").unwrap();
    let mut tls = (*s.v.tls).clone();
    tls.alpn_protocols = vec![if h2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let tcp = tokio::net::TcpStream::connect(host).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let io = TokioIo::new(tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.unwrap());
    let uri = if h2 { format!("{base}{target}") } else { target.to_string() };
    let request = http::Request::builder()
        .method(method)
        .uri(uri)
        .header("authorization", format!("Bearer {jwt}"))
        .header("user-agent", AGENT);
    let request = if h2 { request } else { request.header("host", host) };
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
    if h2 {
        let (mut sender, c) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let driver = tokio::spawn(async move { drop(c.await) });
        (sender.send_request(request).await.unwrap(), driver)
    } else {
        let (mut sender, c) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let driver = tokio::spawn(async move { drop(c.await) });
        (sender.send_request(request).await.unwrap(), driver)
    }
}

/// One whole call: status and body.
async fn call(s: &Stage, h2: bool, method: &str, target: &str, jwt: &str, body: &str) -> (u16, Bytes) {
    let (answer, _driver) = open(s, h2, method, target, jwt, body).await;
    let status = answer.status().as_u16();
    (status, answer.into_body().collect().await.unwrap().to_bytes())
}

/// The audit record of `kind` whose request has `path`, once it is there.
async fn record(s: &Stage, kind: &str, path: &str) -> Value {
    let find = || {
        let log = s.audit();
        let mut lines = log.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
        lines.find(|l| l["type"] == kind && l["request"]["path"] == path)
    };
    eventually(&format!("a {kind} record of {path}"), || async { find().is_some() }).await;
    find().unwrap()
}

const TEXT: &str = "twelve bytes";

/// Each shape of an answer, by the path that asks for it.
fn shapes(seen: &Seen) -> (u16, Vec<(&'static str, String)>, tokio::sync::mpsc::Receiver<Bytes>) {
    let kind = seen.target.rsplit('/').next().unwrap();
    match kind {
        "length" | "head" => whole(200, vec![("content-length", TEXT.len().to_string())], TEXT),
        "empty" => whole(200, vec![("content-length", "0".into())], ""),
        "nothing" => whole(204, vec![], ""),
        "error" => whole(422, vec![("content-length", TEXT.len().to_string())], TEXT),
        _ => {
            let (tx, rx) = tokio::sync::mpsc::channel(2);
            let (a, b) = TEXT.split_at(5);
            tx.try_send(Bytes::from_static(a.as_bytes())).unwrap();
            tx.try_send(Bytes::from_static(b.as_bytes())).unwrap();
            (200, vec![], rx)
        }
    }
}

#[tokio::test]
async fn completion_records_are_true_whatever_the_answers_shape() {
    let s = Stage::new().await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let jwt = s.issuer.sign(json!({"iss": "https://idp.example", "aud": "gateway", "sub": "alice", "jti": "id-4711", "iat": now, "exp": now + 600}));
    for (n, upstream) in ["http/1.1", "h2"].into_iter().enumerate() {
        let up = Upstream::speaking(&s.home.pki, upstream, shapes).await;
        let mut service = s.service(&up);
        service["allow"] = json!([{"path": "/v1/*"}]);
        s.v.post("gateway/services/openai", &s.root, service).await.ok();
        for h2 in [false, true] {
            for (kind, method, status, length) in [
                ("length", "POST", 200, 12),
                ("chunked", "POST", 200, 12),
                ("head", "HEAD", 200, 0),
                ("empty", "GET", 200, 0),
                ("nothing", "GET", 204, 0),
                ("error", "POST", 422, 12),
            ] {
                let path = format!("/v1/{n}/{}/{kind}", u8::from(h2));
                let body = if method == "POST" { "seven b" } else { "" };
                let (got, text) = call(&s, h2, method, &format!("/openai{path}"), &jwt, body).await;
                assert_eq!((got, text.len()), (status, length), "{upstream} {path}");
                let r = record(&s, "completion", &format!("gateway/proxy/openai{path}")).await;
                let c = &r["completion"];
                assert_eq!(c["outcome"], "done", "{upstream} {path}: {r}");
                assert!(r.get("error").is_none(), "{r}");
                assert_eq!((&c["status"], &c["upstream_status"]), (&json!(status), &json!(status)), "{r}");
                assert_eq!(
                    (&c["request_bytes"], &c["response_bytes"]),
                    (&json!(body.len()), &json!(length)),
                    "{r}"
                );
                assert_eq!(c["credential_version"], 1, "{r}");
                assert!(c["duration_ms"].is_u64(), "{r}");
                let q = &r["request"];
                assert_eq!((&q["method"], &q["user_agent"]), (&json!(method), &json!(AGENT)), "{r}");
                assert_eq!(q["remote_address"], "127.0.0.1", "{r}");
                assert_eq!(
                    (&r["auth"]["subject"], &r["auth"]["jwt_id"]),
                    (&json!("alice"), &json!("id-4711"))
                );
                // The record of the request says who and what, too, before anything goes out.
                let r = record(&s, "request", &format!("gateway/proxy/openai{path}")).await;
                assert_eq!(
                    (&r["request"]["method"], &r["auth"]["jwt_id"]),
                    (&json!(method), &json!("id-4711"))
                );
            }
        }
    }
}

#[tokio::test]
async fn a_call_that_was_cut_is_not_on_record_as_done() {
    let s = Stage::new().await;
    let held = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hold = held.clone();
    let up = Upstream::start(&s.home.pki, move |_| {
        let (tx, rx) = tokio::sync::mpsc::channel(2);
        tx.try_send(Bytes::from_static(b"only a part")).unwrap();
        hold.lock().unwrap().push(tx);
        (200, vec![("content-length", "100".into())], rx)
    })
    .await;
    s.bind(&up).await;
    let jwt = s.issuer.jwt("alice");
    for h2 in [false, true] {
        // The upstream leaves in the middle.
        let path = format!("v1/{h2}/cut");
        let (answer, _driver) = open(&s, h2, "GET", &format!("/openai/{path}"), &jwt, "").await;
        let mut body = answer.into_body();
        assert!(body.frame().await.unwrap().is_ok());
        held.lock().unwrap().clear();
        let end = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
        assert!(matches!(end, Some(Err(_))), "a part was taken for the whole");
        let r = record(&s, "completion", &format!("gateway/proxy/openai/{path}")).await;
        assert_eq!(
            (&r["completion"]["outcome"], &r["error"]),
            (&json!("cut"), &json!("upstream_cut")),
            "{r}"
        );
        // The caller leaves in the middle.
        let path = format!("v1/{h2}/left");
        let (answer, driver) = open(&s, h2, "GET", &format!("/openai/{path}"), &jwt, "").await;
        let mut body = answer.into_body();
        assert!(body.frame().await.unwrap().is_ok());
        drop(body);
        driver.abort();
        let r = record(&s, "completion", &format!("gateway/proxy/openai/{path}")).await;
        assert_eq!((&r["completion"]["outcome"], &r["error"]), (&json!("cut"), &json!("caller_left")), "{r}");
        assert!(r["completion"]["response_bytes"].as_u64() > Some(0), "{r}");
    }
    eventually("a line in the log", || async {
        s.v.log().lines().any(|l| l.contains("upstream_cut") && l.contains("answer body"))
    })
    .await;
}

#[tokio::test]
async fn a_refused_call_is_on_record_under_its_own_id_with_its_status() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, shapes).await;
    s.bind(&up).await;
    let bearer = format!("Bearer {}", s.issuer.jwt("alice"));
    for (target, headers, status, error) in [
        ("/openai/v1/x", vec![("user-agent", AGENT)], 401, "missing_credential"),
        ("/openai/v2/x", vec![("user-agent", AGENT), ("authorization", bearer.as_str())], 403, ""),
        ("/nosuch/v1/x", vec![("user-agent", AGENT), ("authorization", bearer.as_str())], 403, ""),
    ] {
        let a = s.call("DELETE", target, &headers, "").await;
        assert_eq!(a.status, status, "{}", a.text);
        let id = a.json()["error"]["request_id"].as_str().unwrap().to_string();
        let log = s.audit();
        let r: Value = log
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .find(|l: &Value| l["type"] == "request" && l["request"]["id"] == id.as_str())
            .unwrap_or_else(|| panic!("no record of {id}: {log}"));
        assert_eq!(r["completion"]["status"], status, "{r}");
        assert_eq!((&r["request"]["method"], &r["request"]["user_agent"]), (&json!("DELETE"), &json!(AGENT)));
        assert!(error.is_empty() || r["error"] == error, "{r}");
    }
    // What a header keeps to itself does not come to light as a user agent.
    let token = bearer.replace("Bearer ", "");
    s.call("GET", "/openai/v1/x", &[("user-agent", &token), ("authorization", &bearer)], "").await;
    assert!(!s.audit().contains(&token));
}

/// Accepts, makes the handshake where it has a certificate, and never answers.
async fn silent(pki: Option<&Pki>) -> String {
    let acceptor = pki.map(|pki| acceptor(pki, "server", "http/1.1"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (mut plain, mut secure) = (Vec::new(), Vec::new());
        while let Ok((tcp, _)) = listener.accept().await {
            match &acceptor {
                None => plain.push(tcp),
                Some(a) => secure.push(a.accept(tcp).await),
            }
        }
    });
    url
}

/// The log's line about the call that got this answer.
async fn line_of(s: &Stage, a: &Answer) -> String {
    let id = a.json()["error"]["request_id"].as_str().unwrap_or_else(|| panic!("{}", a.text)).to_string();
    let find = || s.v.log().lines().find(|l| l.contains(&id)).map(str::to_string);
    eventually(&format!("a line about {id}"), || async { find().is_some() }).await;
    find().unwrap()
}

#[tokio::test]
async fn the_log_says_why_a_call_failed() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, shapes).await;
    let closed = {
        let l = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("https://localhost:{}", l.local_addr().unwrap().port())
    };
    let other = Pki::new().ca_pem;
    let ours = s.home.pki.ca_pem.clone();
    for (upstream, ca, timeout, status, words) in [
        (closed, &ours, "30s", 502, &["phase=\"connect\"", "onnection refused"][..]),
        (up.url.clone(), &other, "30s", 502, &["phase=\"tls\"", "invalid peer certificate"]),
        ("https://nosuch.invalid".into(), &ours, "30s", 0, &["phase=\"resolve\""]),
        (silent(None).await, &ours, "1s", 504, &["phase=\"connect\"", "no answer within"]),
        (silent(Some(&s.home.pki)).await, &ours, "1s", 504, &["phase=\"answer head\"", "no answer within"]),
    ] {
        let mut service = s.service(&up);
        service["upstream"] = json!(upstream);
        service["ca_cert"] = json!(ca);
        service["timeout"] = json!(timeout);
        s.v.post("gateway/services/openai", &s.root, service).await.ok();
        let a = s.with(&s.issuer.jwt("alice"), "GET", "/openai/v1/x").await;
        assert!(a.status == status || status == 0 && a.status >= 502, "{upstream}: {}", a.text);
        let line = line_of(&s, &a).await;
        for word in words.iter().chain(&["WARN", "service=openai", code(&a).as_str()]) {
            assert!(line.contains(word), "{word} is not in: {line}");
        }
        assert!(!line.contains(KEY), "{line}");
        assert!(words.iter().skip(1).all(|w| !a.text.contains(w)), "the caller is told: {}", a.text);
    }
}

#[tokio::test]
async fn the_log_says_why_a_credential_was_refused() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, shapes).await;
    s.bind(&up).await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let with = |k: &str, v: Value| {
        let mut c =
            json!({"iss": "https://idp.example", "aud": "gateway", "sub": "x", "iat": now, "exp": now + 600});
        c[k] = v;
        s.issuer.sign(c)
    };
    for (credential, why) in [
        (with("exp", json!(now - 3600)), "expired"),
        (with("aud", json!("other")), "meant for another audience"),
        (with("iss", json!("https://evil.example")), "another issuer"),
        (crate::gateway::Issuer::new().jwt("alice"), "signature"),
        ("hvs.AAAAAAAAAAAAAAAAAAAAAAAAAAAA".into(), "unknown, revoked or expired"),
        ("vgk_issued-key".into(), "neither the form of a vault token nor of a JWT"),
    ] {
        let a = s.with(&credential, "GET", "/openai/v1/x").await;
        assert_eq!((a.status, code(&a).as_str()), (401, "invalid_credential"));
        let line = line_of(&s, &a).await;
        assert!(line.contains(why) && line.contains("phase=\"identify\""), "{why}: {line}");
        assert!(!line.contains(&credential) && !a.text.contains(why), "{line}");
    }
}

#[tokio::test]
async fn the_log_says_why_a_login_was_refused_and_why_keys_were_not_fetched() {
    let s = Stage::new().await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let old = s.issuer.sign(json!({"iss": "https://idp.example", "aud": "gateway", "sub": "x", "iat": now - 7200, "exp": now - 3600}));
    let a = s.v.post("auth/jwt/login", "", json!({"role": "app", "jwt": old})).await;
    assert!(a.status == 400 && !a.text.contains("expired"), "{}", a.text);
    eventually("a line about the login", || async {
        s.v.log().lines().any(|l| l.contains("WARN") && l.contains("auth/jwt/login") && l.contains("expired"))
    })
    .await;
    assert!(!s.v.log().contains(&old));
    let config = json!({"jwks_url": "https://127.0.0.1:1/keys", "bound_issuer": "https://idp.example"});
    s.v.post("sys/auth/far", &s.root, json!({"type": "jwt"})).await.ok();
    s.v.post("auth/far/config", &s.root, config).await;
    let role = json!({"role_type": "jwt", "bound_audiences": ["gateway"], "user_claim": "sub", "token_policies": ["app"]});
    s.v.post("auth/far/role/app", &s.root, role).await;
    s.v.post("auth/far/login", "", json!({"role": "app", "jwt": s.issuer.jwt("x")})).await;
    eventually("a line about the keys", || async {
        s.v.log()
            .lines()
            .any(|l| l.contains("JWKS") && l.contains("not public") && l.contains("127.0.0.1:1/keys"))
    })
    .await;
}

/// A certificate that signed itself, as `openssl req -x509` makes them: of a CA, by its own word.
fn self_signed(names: &[&str], expired: bool) -> Pki {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
    if expired {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let cert = params.self_signed(&key).unwrap();
    // Its files are replaced.
    let mut pki = Pki::new();
    pki.ca_pem = cert.pem();
    std::fs::write(pki.path("server.pem"), cert.pem()).unwrap();
    std::fs::write(pki.path("server-key.pem"), key.serialize_pem()).unwrap();
    pki
}

#[tokio::test]
async fn an_upstream_may_show_the_very_certificate_that_ca_cert_holds() {
    let s = Stage::new().await;
    let other = self_signed(&[], false).ca_pem;
    for (what, pki, ca, status) in [
        ("no names", self_signed(&[], false), None, 200),
        ("its name", self_signed(&["localhost"], false), None, 200),
        ("another's name", self_signed(&["other.example"], false), None, 502),
        ("expired", self_signed(&[], true), None, 502),
        ("another certificate", self_signed(&[], false), Some(other), 502),
    ] {
        let up = Upstream::start(&pki, shapes).await;
        let mut service = s.service(&up);
        service["ca_cert"] = json!(ca.unwrap_or(pki.ca_pem.clone()));
        s.v.post("gateway/services/openai", &s.root, service).await.ok();
        let a = s.with(&s.issuer.jwt("alice"), "GET", "/openai/v1/length").await;
        assert_eq!(a.status, status, "{what}: {}\n{}", a.text, s.v.log());
        assert_eq!(up.requests().len(), usize::from(status == 200), "{what}");
    }
}

#[tokio::test]
async fn credentials_are_looked_for_where_and_in_the_order_that_the_service_says() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, shapes).await;
    let mut service = s.service(&up);
    service.as_object_mut().unwrap().remove("caller_header");
    service["caller_headers"] = json!(["X-Api-Key", "authorization"]);
    service["inject"] = json!({"header": "x-api-key", "template": "{{credential}}"});
    s.v.post("gateway/services/openai", &s.root, service.clone()).await.ok();
    let jwt = s.issuer.jwt("alice");
    let bearer = format!("Bearer {jwt}");
    for (headers, status) in [
        (vec![("x-api-key", jwt.as_str())], 200),
        (vec![("authorization", bearer.as_str())], 200),
        (vec![("authorization", "Bearer nonsense"), ("x-api-key", jwt.as_str())], 200),
        (vec![("authorization", bearer.as_str()), ("x-api-key", "nonsense")], 401),
        (vec![("authorization", bearer.as_str()), ("api-key", "second")], 400),
    ] {
        let before = up.requests().len();
        let a = s.call("GET", "/openai/v1/length", &headers, "").await;
        assert_eq!(a.status, status, "{headers:?}: {}", a.text);
        let seen = up.requests();
        assert_eq!(seen.len() - before, usize::from(status == 200));
        if let (200, Some(r)) = (status, seen.last()) {
            assert_eq!((r.all("x-api-key"), r.all("authorization")), (vec![KEY], vec![]), "{headers:?}");
        }
    }
    let a = s.call("GET", "/openai/v1/length", &[], "").await;
    assert_eq!((a.status, code(&a).as_str()), (401, "missing_credential"));
    assert!(a.text.contains("x-api-key, authorization"), "{}", a.text);
    let d = s.v.get("gateway/services/openai", &s.root).await.ok();
    assert_eq!(d["data"]["caller_headers"], json!(["x-api-key", "authorization"]));
    // What is read back may be written back.
    s.v.post("gateway/services/openai", &s.root, d["data"].clone()).await.ok();
}

#[tokio::test]
async fn what_providers_sdks_send_goes_upstream() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, shapes).await;
    s.bind(&up).await;
    let bearer = format!("Bearer {}", s.issuer.jwt("alice"));
    let passed = [
        "anthropic-version",
        "anthropic-beta",
        "openai-organization",
        "openai-project",
        "openai-beta",
        "stripe-version",
        "idempotency-key",
        "x-stainless-lang",
        "x-stainless-retry-count",
    ];
    let dropped = ["stripe-account", "x-own", "cookie"];
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(passed.iter().chain(&dropped).map(|n| (*n, "1")));
    assert_eq!(s.call("GET", "/openai/v1/length", &headers, "").await.status, 200);
    let seen = up.requests().pop().unwrap();
    for name in passed {
        assert_eq!(seen.all(name), ["1"], "{name}");
    }
    for name in dropped {
        assert!(seen.all(name).is_empty(), "{name}");
    }
}

/// `step outcome` of each step.
fn steps(v: &Value) -> Vec<String> {
    let steps = v["data"]["steps"].as_array().unwrap_or_else(|| panic!("{v}"));
    steps
        .iter()
        .map(|s| format!("{} {}", s["step"].as_str().unwrap(), s["outcome"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_test_walks_through_a_call_and_says_where_it_ends() {
    let s = Stage::new().await;
    for protocol in ["http/1.1", "h2"] {
        let up = Upstream::speaking(&s.home.pki, protocol, |seen| {
            let key = seen.all("authorization").concat();
            whole(200, vec![("set-cookie", "a=b".into()), ("x-echo", key)], "a body that nobody is shown")
        })
        .await;
        s.bind(&up).await;
        let body = json!({"headers": {"accept": "*/*", "x-own": "secret-value"}});
        let v = s.v.post("sys/gateway/test/openai", &s.root, body).await.ok();
        assert_eq!(v["data"]["ok"], true, "{v}");
        assert_eq!(
            steps(&v),
            [
                "config ok",
                "credential ok",
                "masking ok",
                "headers warning",
                "resolve ok",
                "address ok",
                "connect ok",
                "tls ok",
                "request ok",
                "status ok",
                "answer warning"
            ],
            "{v}"
        );
        let text = v.to_string();
        for word in ["dropped: x-own", "dropped: set-cookie", "version 1", "127.0.0.1", "TLS 1.3", "/v1/"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        for word in [KEY, "secret-value", "nobody is shown", "a=b"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
        let seen = up.requests();
        assert_eq!((seen.len(), seen[0].all("authorization")), (1, vec![format!("Bearer {KEY}").as_str()]));
        assert_eq!(seen[0].target.trim_start_matches(&up.url), "/v1/");
        // On record like every request.
        assert!(s.audit().contains("sys/gateway/test/openai"));
    }
}

#[tokio::test]
async fn a_test_names_the_step_that_fails_and_the_remedy() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, |_| whole(401, vec![], "no")).await;
    let test = async |change: &dyn Fn(&mut Value), body: Value| {
        let mut service = s.service(&up);
        service["force"] = json!(true);
        change(&mut service);
        s.v.post("gateway/services/openai", &s.root, service).await.ok();
        let v = s.v.post("sys/gateway/test/openai", &s.root, body).await.ok();
        assert_eq!(v["data"]["ok"], false, "{v}");
        let last =
            v["data"]["steps"].as_array().unwrap().iter().find(|s| s["outcome"] == "failed").unwrap().clone();
        format!("{}: {}", last["step"].as_str().unwrap(), last["detail"].as_str().unwrap())
    };
    let other = Pki::new().ca_pem;
    let none = json!({});
    for (got, words) in [
        (test(&|_| {}, none.clone()).await, ["status: ", "apps get 424"]),
        (
            test(&|s| s["credential_rejected_status"] = json!([401, 403]), none.clone()).await,
            ["status: ", "rejects the key"],
        ),
        (test(&|s| s["ca_cert"] = json!(other), none.clone()).await, ["tls: ", "\"ca_cert\""]),
        (
            test(&|s| s["upstream"] = json!("https://localhost:1"), none.clone()).await,
            ["connect: ", "refused"],
        ),
        (
            test(&|s| s["credential"]["field"] = json!("nope"), none.clone()).await,
            ["credential: ", "missing"],
        ),
        (test(&|_| {}, json!({"path": "/v2/x"})).await, ["allow: ", "403"]),
        (test(&|_| {}, json!({"path": "/v1/../v1/x"})).await, ["request: ", "canonical"]),
    ] {
        assert!(words.iter().all(|w| got.contains(w)), "{words:?}: {got}");
    }
    s.v.post("sys/gateway/test/openai", &s.root, json!({"method": "POST"})).await.expect(400);
    s.v.post("sys/gateway/test/nosuch", &s.root, json!({})).await.expect(404);
}

#[tokio::test]
async fn a_test_gives_nobody_a_call_that_it_could_not_make() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, shapes).await;
    s.bind(&up).await;
    let may = "path \"sys/gateway/test/*\" { capabilities = [\"update\"] }\n";
    for (name, more, status) in [
        ("tester", "", 403),
        ("invoker", "path \"gateway/proxy/openai/*\" { capabilities = [\"invoke\"] }", 200),
        ("reader", "path \"secret/data/openai\" { capabilities = [\"read\"] }", 200),
        ("writer", "path \"gateway/services/*\" { capabilities = [\"create\", \"update\", \"read\"] }", 403),
    ] {
        let before = up.requests().len();
        let token = s.v.token_with(&s.root, name, &format!("{may}{more}")).await;
        s.v.post("sys/gateway/test/openai", &token, json!({})).await.expect(status);
        assert_eq!(up.requests().len() - before, usize::from(status == 200), "{name}");
    }
    let token = s
        .v
        .token_with(&s.root, "app-only", "path \"gateway/proxy/openai/*\" { capabilities = [\"invoke\"] }")
        .await;
    s.v.post("sys/gateway/test/openai", &token, json!({})).await.expect(403);
}

#[tokio::test]
async fn the_command_line_prints_the_steps() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, shapes).await;
    s.bind(&up).await;
    let run = |args: &[&str]| {
        let mut c = std::process::Command::new(binary("vault-cli"));
        c.args(["gateway", "test"])
            .args(args)
            .env_clear()
            .env("VAULT_ADDR", &s.v.api)
            .env("VAULT_TOKEN", &s.root);
        c.env("VAULT_CACERT", s.home.pki.path("ca.pem")).env("HOME", s.home.dir.path());
        async move {
            let out = tokio::task::spawn_blocking(move || c.output().unwrap()).await.unwrap();
            let text =
                String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
            (out.status.code(), text)
        }
    };
    let (exit, text) = run(&["openai", "-path", "/v1/length", "-header", "X-Own: 1"]).await;
    assert_eq!(exit, Some(0), "{text}");
    assert!(text.contains("tls") && text.contains("200 OK") && text.contains("dropped: x-own"), "{text}");
    let (exit, text) = run(&["openai", "-path", "/v2/length"]).await;
    assert_eq!(exit, Some(2), "{text}");
    assert!(text.contains("failed"), "{text}");
}

#[tokio::test]
async fn a_credential_that_no_mount_can_serve_is_refused_with_the_right_spelling() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, shapes).await;
    s.v.post("sys/mounts/old", &s.root, json!({"type": "kv", "options": {"version": "1"}})).await.ok();
    s.v.post("old/openai", &s.root, json!({"key": KEY, "n": 5})).await.expect(204);
    let bind = async |token: &str, path: &str, field: &str, force: bool| {
        let mut service = s.service(&up);
        service["credential"] = json!({"path": path, "field": field});
        service["force"] = json!(force);
        s.v.post("gateway/services/bound", token, service).await
    };
    for (path, field, words) in [
        ("secret/openai", "key", "did you mean \"secret/data/openai\""),
        ("secret/metadata/openai", "key", "did you mean \"secret/data/openai\""),
        ("secret/data/openai", "apikey", "but: key"),
        ("secret/data/nosuch", "key", "there is no secret at \"secret/data/nosuch\""),
        ("old/data/openai", "key", "did you mean \"old/openai\""),
        ("old/openai", "n", "is not a text"),
        ("nomount/openai", "key", "no secrets engine is mounted"),
    ] {
        let a = bind(&s.root, path, field, false).await;
        assert!(
            a.status == 400 && a.json().to_string().replace("\\\"", "\"").contains(words),
            "{path}: {}",
            a.text
        );
        assert!(a.text.contains("force"), "{}", a.text);
        s.v.get("gateway/services/bound", &s.root).await.expect(404);
    }
    bind(&s.root, "secret/openai", "key", true).await.ok();
    assert_eq!(bind(&s.root, "old/openai", "key", false).await.status, 204);
    // Whoever may not read the secret learns nothing of it.
    let writer = "path \"gateway/services/*\" { capabilities = [\"create\", \"update\"] }\n";
    let blind = s.v.token_with(&s.root, "blind", writer).await;
    for (path, field) in
        [("secret/openai", "key"), ("secret/data/openai", "apikey"), ("secret/data/nosuch", "key")]
    {
        let a = bind(&blind, path, field, false).await;
        assert!(
            a.status == 403 && !a.text.contains("did you mean") && !a.text.contains("but:"),
            "{}",
            a.text
        );
    }
    // Whoever may is told, although its policy has only the right spelling.
    let policy = format!("{writer}path \"secret/data/openai\" {{ capabilities = [\"read\"] }}");
    let reader = s.v.token_with(&s.root, "sighted", &policy).await;
    assert!(bind(&reader, "secret/openai", "key", false).await.text.contains("secret/data/openai"));
    assert_eq!(bind(&reader, "secret/openai", "key", true).await.status, 403);
}
