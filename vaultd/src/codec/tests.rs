use super::*;
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use secmem::ExposeSecret;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use vault_core::exchange::{ReplyBody, Verb};
use vault_logical::{Response as EngineResponse, Transport};

/// A core that remembers what it was asked and answers 204.
#[derive(Default)]
struct Remembering {
    sealed: AtomicBool,
    seen: Mutex<Vec<Incoming>>,
}

#[async_trait]
impl Exchange for Remembering {
    async fn handle(&self, incoming: Incoming) -> Reply {
        let request_id = incoming.id;
        self.seen.lock().push(incoming);
        let response = EngineResponse::empty();
        let body = ReplyBody::Envelope {
            response,
            auth: None,
            flatten: false,
            mount_type: "kv".into(),
            list: false,
        };
        Reply { request_id, body, close: false }
    }
    fn sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }
}

struct Case {
    api: Api,
    core: Arc<Remembering>,
}

impl Case {
    fn new() -> Self {
        let core = Arc::new(Remembering::default());
        Case {
            api: Api::new(
                core.clone(),
                ApiLimits { max_request_bytes: 1 << 20, ..ApiLimits::default() },
                Budget::default(),
                Arc::new(Hosts::new(["vault.example".to_owned()])),
            ),
            core,
        }
    }

    async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).expect("request");
        let peer = Connection { transport: Transport::Tls, remote: None };
        let response = self.api.serve(request, &peer).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("body").to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// What the core was asked, when the request got that far.
    async fn asked(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Incoming {
        let (status, answer) = self.send(method, target, headers, body.as_bytes()).await;
        assert_eq!(status, 204, "{method} {target}: {answer}");
        self.core.seen.lock().pop().expect("reached the core")
    }

    async fn refused(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        let (status, answer) = self.send(method, target, headers, body.as_bytes()).await;
        assert!(self.core.seen.lock().is_empty(), "{method} {target} must not reach the core");
        (status, answer.pointer("/errors/0").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

#[tokio::test]
async fn verbs() {
    let c = Case::new();
    for (method, target, verb, path) in [
        ("GET", "/v1/secret/data/a", Verb::Read, "secret/data/a"),
        ("GET", "/v1/secret/metadata?list=true", Verb::List, "secret/metadata/"),
        ("GET", "/v1/secret/metadata/?list=1&limit=2", Verb::List, "secret/metadata/"),
        ("GET", "/v1/secret/metadata?list=false", Verb::Read, "secret/metadata"),
        ("GET", "/v1/secret/metadata?mylist=true", Verb::Read, "secret/metadata"),
        ("LIST", "/v1/secret/metadata/x", Verb::List, "secret/metadata/x/"),
        ("GET", "/v1/secret?help=1", Verb::Help, "secret"),
        ("POST", "/v1/secret/data/a", Verb::Write, "secret/data/a"),
        ("PUT", "/v1/secret/data/a", Verb::Write, "secret/data/a"),
        ("DELETE", "/v1/secret/data/a", Verb::Delete, "secret/data/a"),
        ("HEAD", "/v1/sys/health", Verb::Read, "sys/health"),
        ("GET", "/v1/a%20b/%C3%BC", Verb::Read, "a b/ü"),
        ("GET", "/v1/sys/mounts/", Verb::Read, "sys/mounts/"),
    ] {
        let seen = c.asked(method, target, &[], "").await;
        assert_eq!((seen.verb, seen.path.as_str()), (verb, path), "{method} {target}");
    }
    for (method, target, status) in [
        ("HEAD", "/v1/secret/data/a", 405),
        ("OPTIONS", "/v1/secret/data/a", 405),
        ("TRACE", "/v1/secret/data/a", 405),
        ("SCAN", "/v1/secret/data/a", 405),
        ("GET", "/v1/secret?scan=true", 405),
        ("GET", "/", 404),
        ("GET", "/ui/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v2/secret", 404),
        ("GET", "/V1/secret", 404),
        ("GET", "/v1//secret", 400),
        ("GET", "/v1/a/../b", 400),
        ("GET", "/v1/a/%2e%2e/b", 400),
        ("GET", "/v1/a%2fb", 400),
        ("GET", "/v1/a%5Cb", 400),
        ("GET", "/v1/a%00b", 400),
        ("GET", "/v1/a%0ab", 400),
        ("GET", "/v1/a?x=%zz", 400),
    ] {
        assert_eq!(c.refused(method, target, &[], "").await.0, status, "{method} {target}");
    }
    let long = format!("/v1/a?x={}", "y".repeat(crate::limits::MAX_URI_BYTES));
    assert_eq!(c.refused("GET", &long, &[], "").await.0, 414);
}

#[tokio::test]
async fn fields_come_from_the_query_or_from_the_body() {
    let c = Case::new();
    let seen = c.asked("GET", "/v1/x?version=3&a=1&a=2", &[], "").await;
    assert_eq!(Value::Object(seen.data), json!({"version": "3", "a": ["1", "2"]}));
    let seen = c.asked("LIST", "/v1/x?after=b&limit=2&list=true", &[], "").await;
    assert_eq!(Value::Object(seen.data), json!({"after": "b", "limit": "2"}));
    let seen = c.asked("DELETE", "/v1/x?versions=1", &[], "").await;
    assert_eq!(Value::Object(seen.data), json!({"versions": "1"}));
    let seen = c.asked("POST", "/v1/x?ignored=1", &[], "{\"a\":1.50}").await;
    assert_eq!(serde_json::to_string(&seen.data).ok().as_deref(), Some("{\"a\":1.50}"));
    let seen = c.asked("POST", "/v1/x", &[], "").await;
    assert!(seen.data.is_empty());
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let seen = c.asked("POST", "/v1/x", &form, "a=1&b=x+y%26").await;
    assert_eq!(Value::Object(seen.data), json!({"a": "1", "b": "x y&"}));
    let seen = c.asked("POST", "/v1/x", &form, " {\"a\":\"curl -d\"}").await;
    assert_eq!(Value::Object(seen.data), json!({"a": "curl -d"}));
    for body in ["{\"a\":1,\"a\":2}", "[]", "{", "x"] {
        assert_eq!(c.refused("POST", "/v1/x", &[], body).await.0, 400, "{body}");
    }
    let gzip = [("content-encoding", "gzip")];
    assert_eq!(c.refused("POST", "/v1/x", &gzip, "{}").await.0, 415);
}

#[tokio::test]
async fn patch_needs_its_content_type() {
    let c = Case::new();
    for kind in ["application/merge-patch+json", "Application/Merge-Patch+JSON; charset=utf-8"] {
        let seen = c.asked("PATCH", "/v1/x", &[("content-type", kind)], "{\"a\":null}").await;
        assert!(seen.merge_patch && seen.verb == Verb::Patch);
    }
    assert_eq!(c.refused("PATCH", "/v1/x", &[], "{}").await.0, 415);
    assert_eq!(c.refused("PATCH", "/v1/x", &[("content-type", "application/json")], "{}").await.0, 415);
}

#[tokio::test]
async fn one_token_and_only_one() {
    let c = Case::new();
    let token = |i: &Incoming| i.token.as_ref().map(|t| t.expose_secret().to_owned());
    for headers in [
        &[("x-vault-token", "hvs.a")][..],
        &[("authorization", "Bearer hvs.a")],
        &[("authorization", "bearer  hvs.a")],
        &[("authorization", "Bearer hvs.a"), ("x-vault-token", "hvs.a")],
        &[("authorization", "Basic eDp5"), ("x-vault-token", "hvs.a")],
        &[("authorization", "Bearer hvs.a"), ("x-vault-token", "")],
    ] {
        assert_eq!(
            token(&c.asked("GET", "/v1/x", headers, "").await).as_deref(),
            Some("hvs.a"),
            "{headers:?}"
        );
    }
    for headers in [&[][..], &[("x-vault-token", "")], &[("authorization", "Basic eDp5")]] {
        assert_eq!(token(&c.asked("GET", "/v1/x", headers, "").await), None, "{headers:?}");
    }
    let long = "x".repeat(crate::limits::MAX_TOKEN_BYTES + 1);
    for headers in [
        &[("x-vault-token", "a"), ("x-vault-token", "a")][..],
        &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
        &[("authorization", "Bearer a"), ("x-vault-token", "b")],
        &[("x-vault-token", "a b")],
        &[("x-vault-token", "a\tb")],
        &[("x-vault-token", "ü")],
        &[("x-vault-token", &long)],
    ] {
        let (status, message) = c.refused("GET", "/v1/x", headers, "").await;
        assert_eq!(status, 400, "{headers:?}");
        assert!(!message.contains("hvs"), "no token in a message");
    }
}

#[tokio::test]
async fn namespace_and_wrapping_headers() {
    let c = Case::new();
    for (value, want) in [("root", ""), ("/", ""), ("ns1/", "ns1"), ("/a/b/", "a/b"), ("", "")] {
        assert_eq!(c.asked("GET", "/v1/x", &[("x-vault-namespace", value)], "").await.namespace, want);
    }
    assert_eq!(c.refused("GET", "/v1/x", &[("x-vault-namespace", "a/../b")], "").await.0, 400);
    let seen = c.asked("GET", "/v1/x", &[("x-vault-wrap-ttl", "5m")], "").await;
    assert_eq!(seen.wrap_ttl.as_deref(), Some("5m"));
    let long = "1".repeat(100);
    assert_eq!(c.refused("GET", "/v1/x", &[("x-vault-wrap-ttl", &long)], "").await.0, 400);
}

#[tokio::test]
async fn bodies_are_capped_by_who_sends_them() {
    let c = Case::new();
    let body = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n));
    let (small, medium, large) = (body(60_000), body(500_000), body(1 << 20));
    let token = [("x-vault-token", "t")];
    assert_eq!(c.refused("POST", "/v1/x", &[], &medium).await.0, 413);
    c.asked("POST", "/v1/x", &[], &small).await;
    c.asked("POST", "/v1/x", &token, &medium).await;
    assert_eq!(c.refused("POST", "/v1/x", &token, &large).await.0, 413);
    c.core.sealed.store(true, Ordering::Release);
    assert_eq!(c.refused("POST", "/v1/x", &token, &medium).await.0, 503, "sealed: nobody is known");
    c.asked("POST", "/v1/x", &token, &small).await;
}

#[tokio::test]
async fn too_many_headers() {
    let c = Case::new();
    let names: Vec<String> = (0..=crate::limits::MAX_HEADERS).map(|n| format!("x-{n}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "v")).collect();
    assert_eq!(c.refused("GET", "/v1/x", &headers, "").await.0, 431);
}

/// A core that panics, or never answers.
struct Broken {
    hang: bool,
}

#[async_trait]
impl Exchange for Broken {
    async fn handle(&self, _: Incoming) -> Reply {
        match self.hang {
            true => std::future::pending().await,
            false => panic!("planted"),
        }
    }
    fn sealed(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_core_still_gets_an_answer_out() {
    for (hang, want) in [(true, 503), (false, 500)] {
        let api =
            Api::new(Arc::new(Broken { hang }), ApiLimits::default(), Budget::default(), Arc::default());
        let request = Request::get("/v1/x").body(Full::new(Bytes::new())).expect("request");
        let peer = Connection { transport: Transport::Unix, remote: None };
        let response = api.serve(request, &peer).await;
        assert_eq!(response.status().as_u16(), want);
        assert!(response.extensions().get::<answer::CloseAfter>().is_some());
    }
}

/// A page whose own name was made to resolve to this machine is told apart by that name.
#[tokio::test]
async fn without_tls_only_the_vaults_own_names_are_answered() {
    let c = Case::new();
    let send = async |transport, target: &str, headers: &[(&str, &str)]| {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::new())).expect("request");
        c.api.serve(request, &Connection { transport, remote: None }).await.status().as_u16()
    };
    let (plain, tls, unix) = (Transport::Plain, Transport::Tls, Transport::Unix);
    let evil = [("host", "evil.example:8200")];
    for (transport, target, headers, want) in [
        (plain, "/v1/sys/init", &[("host", "127.0.0.1:8200")][..], 204),
        (plain, "/v1/sys/init", &[("host", "vault.example")], 204),
        (plain, "/v1/sys/init", &evil, 403),
        (plain, "/v1/sys/init", &[], 403),
        // Any page can send some token.
        (plain, "/v1/sys/init", &[("host", "evil.example"), ("x-vault-token", "made-up")], 403),
        (plain, "/v1/sys/seal-status", &evil, 403),
        (plain, "/v1/auth/jwt/login", &evil, 403),
        (plain, "/v1/sys/init", &[("host", "localhost"), ("origin", "http://evil.example")], 403),
        (plain, "/v1/sys/init", &[("host", "localhost"), ("origin", "http://localhost:8200")], 204),
        (plain, "/v1/sys/health", &evil, 204),
        (plain, "/v1/sys/health/x", &evil, 403),
        (tls, "/v1/sys/init", &evil, 204),
        (unix, "/v1/sys/init", &[], 204),
    ] {
        assert_eq!(send(transport, target, headers).await, want, "{transport:?} {target} {headers:?}");
    }
}
