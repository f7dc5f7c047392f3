//! The gateway: an app uses a key that it cannot read.

mod answers;
mod figures;
mod headers;
mod keys;
mod told;
mod unread;

use crate::support::upstream::{Seen, Upstream, whole};
use crate::support::{Answer, Home, PATIENCE, Vaultd, send};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};

pub const KEY: &str = "sk-provider-key-0123456789abcdef";

/// An outside identity provider: an Ed25519 key whose public half the vault knows.
pub struct Issuer {
    private: jsonwebtoken::EncodingKey,
    public_pem: String,
}

impl Issuer {
    pub fn new() -> Issuer {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        Issuer {
            private: jsonwebtoken::EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap(),
            public_pem: pair.public_key_pem(),
        }
    }

    pub fn sign(&self, claims: Value) -> String {
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
        jsonwebtoken::encode(&header, &claims, &self.private).unwrap()
    }

    pub fn jwt(&self, subject: &str) -> String {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        self.sign(json!({"iss": "https://idp.example", "aud": "gateway", "sub": subject, "iat": now, "exp": now + 600}))
    }
}

/// A vault with a provider's key, a `jwt` method, and a service bound to `upstream`.
pub struct Stage {
    pub home: Home,
    pub v: Vaultd,
    pub root: String,
    pub issuer: Issuer,
}

impl Stage {
    pub async fn new() -> Stage {
        Stage::with_config("").await
    }

    /// With these lines in the config.
    async fn with_config(more: &str) -> Stage {
        let mut home = Home::audited("memory");
        home.extra += more;
        let v = home.start();
        let (root, _) = v.ready().await;
        let issuer = Issuer::new();
        v.post("secret/data/openai", &root, json!({"data": {"key": KEY}})).await.ok();
        v.post("sys/mounts/gateway", &root, json!({"type": "gateway"})).await.ok();
        v.post("sys/auth/jwt", &root, json!({"type": "jwt"})).await.ok();
        v.post(
            "auth/jwt/config",
            &root,
            json!({"jwt_validation_pubkeys": [issuer.public_pem], "bound_issuer": "https://idp.example"}),
        )
        .await
        .ok();
        let policy = "path \"gateway/proxy/openai/*\" { capabilities = [\"invoke\"] }";
        v.post("sys/policies/acl/app", &root, json!({"policy": policy})).await.ok();
        v.post(
            "auth/jwt/role/app",
            &root,
            json!({"role_type": "jwt", "bound_audiences": ["gateway"], "user_claim": "sub", "token_policies": ["app"]}),
        )
        .await
        .ok();
        Stage { home, v, root, issuer }
    }

    pub fn service(&self, upstream: &Upstream) -> Value {
        json!({
            "upstream": upstream.url,
            "ca_cert": self.home.pki.ca_pem,
            "credential": {"path": "secret/data/openai", "field": "key"},
            "inject": {"header": "Authorization", "template": "Bearer {{credential}}"},
            "allow": [{"methods": ["GET", "POST"], "path": "/v1/*"}],
            "auth": [{"type": "jwt", "mount": "jwt", "role": "app"}, {"type": "token"}],
            "caller_header": "authorization",
            "timeout": "5s",
            "allow_private": true,
        })
    }

    pub async fn bind(&self, upstream: &Upstream) {
        self.v.post("gateway/services/openai", &self.root, self.service(upstream)).await.ok();
    }

    pub async fn call(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let base = self.v.gateway.clone().unwrap();
        send(&base, &self.v.tls, method, target, headers, body.as_bytes().to_vec()).await
    }

    pub async fn with(&self, credential: &str, method: &str, target: &str) -> Answer {
        self.call(method, target, &[("authorization", &format!("Bearer {credential}"))], "").await
    }

    /// Opens `GET /openai/v1/stream` and leaves its body to be read frame by frame.
    async fn stream(&self) -> hyper::body::Incoming {
        let host = self.v.gateway.clone().unwrap().replace("https://", "");
        let tcp = tokio::net::TcpStream::connect(&host).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        let tls = tokio_rustls::TlsConnector::from(self.v.tls.clone()).connect(name, tcp).await.unwrap();
        let (mut sender, conn) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(tls)).await.unwrap();
        tokio::spawn(conn);
        let request = http::Request::get("/openai/v1/stream")
            .header("host", &host)
            .header("authorization", format!("Bearer {}", self.issuer.jwt("alice")))
            .body(http_body_util::Empty::<Bytes>::new())
            .unwrap();
        sender.send_request(request).await.unwrap().into_body()
    }

    pub fn audit(&self) -> String {
        std::fs::read_to_string(self.home.path("audit/audit.log")).unwrap()
    }

    /// The audit log once it holds `what`: a call's completion is recorded after its answer left.
    pub async fn audited(&self, what: &str) -> String {
        crate::support::eventually(&format!("{what} is on record"), || async { self.audit().contains(what) })
            .await;
        self.audit()
    }
}

pub fn code(a: &Answer) -> String {
    a.json()["error"]["code"].as_str().unwrap_or_default().to_string()
}

fn echo(_: &Seen) -> (u16, Vec<(&'static str, String)>, tokio::sync::mpsc::Receiver<Bytes>) {
    whole(200, vec![("content-type", "application/json".into())], "{\"ok\":true}")
}

#[tokio::test]
async fn a_jwt_calls_an_upstream_with_a_key_that_its_holder_cannot_read() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, echo).await;
    s.bind(&up).await;
    let jwt = s.issuer.jwt("alice");
    let headers = [
        ("authorization", format!("Bearer {jwt}")),
        ("content-type", "application/json".into()),
        ("cookie", "session=1".into()),
        ("x-forwarded-for", "10.0.0.1".into()),
        ("connection", "authorization".into()),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let a = s.call("POST", "/openai/v1/chat?stream=false", &headers, "{\"q\":1}").await;
    assert_eq!((a.status, a.text.as_str()), (200, "{\"ok\":true}"));
    let seen = up.requests();
    assert_eq!(seen.len(), 1);
    let r = &seen[0];
    assert_eq!(
        (r.method.as_str(), r.target.as_str(), r.body.as_str()),
        ("POST", "/v1/chat?stream=false", "{\"q\":1}")
    );
    assert_eq!(r.all("authorization"), [format!("Bearer {KEY}")]);
    assert!(r.all("cookie").is_empty() && r.all("x-forwarded-for").is_empty());
    assert!(!r.headers.iter().any(|(_, v)| v.contains(&jwt)));
    // The same through the API's listener.
    let api =
        send(&s.v.api, &s.v.tls, "GET", "/v1/gateway/proxy/openai/v1/models", &headers[..1], Vec::new())
            .await;
    assert_eq!(api.status, 200);
    // The app may use the key and may not read it: neither with the JWT nor with a token for it.
    s.v.get("secret/data/openai", &jwt).await.expect(403);
    let login = s.v.post("auth/jwt/login", "", json!({"role": "app", "jwt": jwt})).await.ok();
    let token = login["auth"]["client_token"].as_str().unwrap().to_string();
    s.v.get("secret/data/openai", &token).await.expect(403);
    assert_eq!(s.with(&token, "GET", "/openai/v1/models").await.status, 200);
    // On record before it went out and after it came back, without the key or a body.
    let log = s.audited("\"type\":\"completion\"").await;
    assert!(log.contains("gateway/proxy/openai/v1/chat") && log.contains("\"operation\":\"invoke\""));
    for secret in [KEY, jwt.as_str(), token.as_str(), "{\\\"q\\\":1}"] {
        assert!(!log.contains(secret), "{secret} is in the audit log");
    }
}

#[tokio::test]
async fn whoever_cannot_read_the_key_cannot_bind_it() {
    let s = Stage::new().await;
    let evil = Upstream::start(&s.home.pki, echo).await;
    let admin = s
        .v
        .token_with(&s.root, "gw-admin", "path \"gateway/*\" { capabilities = [\"create\", \"update\", \"read\", \"delete\", \"list\", \"sudo\"] }")
        .await;
    let refused = s.v.post("gateway/services/openai", &admin, s.service(&evil)).await;
    // Had it been accepted, the next call of any app would carry the key to the wrong place.
    s.with(&s.issuer.jwt("alice"), "GET", "/openai/v1/x").await;
    let stolen: Vec<_> =
        evil.requests().iter().flat_map(|r| r.all("authorization").join(" ").into_bytes()).collect();
    assert!(stolen.is_empty(), "the other upstream received {}", String::from_utf8_lossy(&stolen));
    refused.expect(403);
    s.v.get("gateway/services/openai", &s.root).await.expect(404);
    // Nor may an existing service be pointed elsewhere.
    let good = Upstream::start(&s.home.pki, echo).await;
    s.bind(&good).await;
    s.v.post("gateway/services/openai", &admin, s.service(&evil)).await.expect(403);
    assert_eq!(s.with(&s.issuer.jwt("alice"), "GET", "/openai/v1/x").await.status, 200);
    assert!(evil.requests().is_empty(), "the key went to the wrong upstream");
    assert_eq!(good.requests().len(), 1);
    // With read on the credential the same token may.
    let reader = s
        .v
        .token_with(&s.root, "gw-owner", "path \"gateway/*\" { capabilities = [\"create\", \"update\"] }\npath \"secret/data/openai\" { capabilities = [\"read\"] }")
        .await;
    s.v.post("gateway/services/openai", &reader, s.service(&good)).await.ok();
}

#[tokio::test]
async fn invoke_is_implied_by_nothing() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, echo).await;
    s.bind(&up).await;
    let strong = s
        .v
        .token_with(&s.root, "strong", "path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"patch\", \"delete\", \"list\", \"sudo\"] }")
        .await;
    let denied = s
        .v
        .token_with(&s.root, "denied", "path \"gateway/proxy/openai/*\" { capabilities = [\"invoke\"] }\npath \"gateway/proxy/openai/v1/admin\" { capabilities = [\"deny\"] }")
        .await;
    let reads =
        s.v.token_with(
            &s.root,
            "gets",
            "path \"gateway/proxy/openai/*\" {\n capabilities = [\"invoke\"]\n methods = [\"GET\"]\n}",
        )
        .await;
    assert_eq!(s.with(&strong, "GET", "/openai/v1/x").await.status, 403);
    assert_eq!(s.with(&s.root, "GET", "/openai/v1/x").await.status, 403);
    assert_eq!(s.with(&denied, "GET", "/openai/v1/x").await.status, 200);
    assert_eq!(s.with(&denied, "GET", "/openai/v1/admin").await.status, 403);
    assert_eq!(s.with(&denied, "GET", "/openai/v1/%61dmin").await.status, 403);
    assert_eq!(s.with(&reads, "GET", "/openai/v1/x").await.status, 200);
    assert_eq!(s.with(&reads, "POST", "/openai/v1/x").await.status, 403);
    // Off the allow-list, whatever the policy says.
    assert_eq!(s.with(&denied, "GET", "/openai/v2/x").await.status, 403);
    assert_eq!(s.with(&denied, "DELETE", "/openai/v1/x").await.status, 403);
    assert_eq!(up.requests().len(), 2);
    // The grant gives nothing on the credential or the configuration.
    s.v.get("secret/data/openai", &denied).await.expect(403);
    s.v.get("gateway/services/openai", &denied).await.expect(403);
}

#[tokio::test]
async fn a_deny_on_a_path_holds_for_the_path_with_a_slash() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, echo).await;
    s.bind(&up).await;
    let policy = "path \"gateway/proxy/openai/*\" { capabilities = [\"invoke\"] }\n\
                  path \"gateway/proxy/openai/v1/+/secret\" { capabilities = [\"deny\"] }";
    let t = s.v.token_with(&s.root, "careful", policy).await;
    for (target, status) in [
        ("/openai/v1/a/secret", 403),
        ("/openai/v1/a/secret/", 403),
        ("/openai/v1/a/public/", 200),
        ("/openai/v1/a/secret/deeper", 200),
    ] {
        assert_eq!(s.with(&t, "GET", target).await.status, status, "{target}");
    }
}

#[tokio::test]
async fn an_unknown_service_looks_like_one_that_is_forbidden() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, echo).await;
    s.bind(&up).await;
    let nobody = s.v.token_with(&s.root, "nobody", "path \"x\" { capabilities = [\"read\"] }").await;
    let any = "path \"gateway/proxy/*\" { capabilities = [\"invoke\"] }";
    let any = s.v.token_with(&s.root, "any", any).await;
    s.v.post("sys/policies/acl/app", &s.root, json!({"policy": "path \"x\" { capabilities = [\"read\"] }"}))
        .await
        .ok();
    let told = async |target: &str, headers: &[(&str, &str)]| {
        let a = s.call("GET", target, headers, "").await;
        (a.status, code(&a), a.json()["error"]["message"].to_string())
    };
    let (jwt, strange) = (s.issuer.jwt("alice"), Issuer::new().jwt("alice"));
    for credential in
        [nobody.as_str(), &jwt, &strange, "hvs.AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "a.b.c", "vgk_x", &s.root]
    {
        let bearer = format!("Bearer {credential}");
        let headers = [("authorization", bearer.as_str())];
        let known = told("/openai/v1/x", &headers).await;
        assert_eq!(known, told("/absent/v1/x", &headers).await, "{credential}");
        assert!(matches!(known.0, 401 | 403), "{credential}: {known:?}");
    }
    assert_eq!(told("/openai/v1/x", &[]).await, told("/absent/v1/x", &[]).await);
    // Whoever might use it may know that it is not there; and a new one is there at once.
    assert_eq!(s.with(&any, "GET", "/absent/v1/x").await.status, 404);
    s.v.post("gateway/services/absent", &s.root, s.service(&up)).await.ok();
    assert_eq!(s.with(&any, "GET", "/absent/v1/x").await.status, 200);
    s.v.delete("gateway/services/absent", &s.root).await.ok();
    assert_eq!(s.with(&any, "GET", "/absent/v1/x").await.status, 404);
}

#[tokio::test]
async fn second_credentials_second_spellings_and_strangers_are_refused() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, echo).await;
    s.bind(&up).await;
    let jwt = s.issuer.jwt("alice");
    let bearer = format!("Bearer {jwt}");
    for (target, status) in [
        ("/openai/v1/../v1/x", 400),
        ("/openai/v1//x", 400),
        ("/openai/v1/%2e%2e/x", 400),
        ("/openai/v1%2fx", 400),
        ("/openai/v1/x;y", 400),
        ("/openai/v1/%00", 400),
        ("/openai/v1/%252e", 400),
        ("/nosuch/v1/x", 403),
        ("/", 400),
    ] {
        assert_eq!(s.call("GET", target, &[("authorization", &bearer)], "").await.status, status, "{target}");
    }
    let two = s.call("GET", "/openai/v1/x", &[("authorization", &bearer), ("x-api-key", "k")], "").await;
    assert_eq!((two.status, code(&two).as_str()), (400, "ambiguous_credential"));
    let none = s.call("GET", "/openai/v1/x", &[], "").await;
    assert_eq!((none.status, code(&none).as_str()), (401, "missing_credential"));
    let trace = s.call("TRACE", "/openai/v1/x", &[("authorization", &bearer)], "").await;
    assert_eq!(trace.status, 405);
    let vault =
        s.call("GET", "/openai/v1/x", &[("authorization", &bearer), ("x-vault-wrap-ttl", "60")], "").await;
    assert_eq!(vault.status, 400);
    // The caller's own credential does not travel in a query.
    let leak = s.call("GET", &format!("/openai/v1/x?k={jwt}"), &[("authorization", &bearer)], "").await;
    assert_eq!((leak.status, code(&leak).as_str()), (400, "credential_in_request"));
    // Other people's tokens, expired, for another audience, by another issuer, unsigned.
    let stranger = Issuer::new();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let base =
        json!({"iss": "https://idp.example", "aud": "gateway", "sub": "x", "iat": now, "exp": now + 600});
    let with = |k: &str, v: Value| {
        let mut c = base.clone();
        c[k] = v;
        s.issuer.sign(c)
    };
    let unsigned = format!("{}.", jwt.rsplit_once('.').unwrap().0);
    for bad in [
        stranger.jwt("alice"),
        with("exp", json!(now - 3600)),
        with("aud", json!("other")),
        with("iss", json!("https://evil.example")),
        with("exp", json!("soon")),
        unsigned,
        "vgk_issued-key".to_string(),
        "hvs.AAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_string(),
        format!("{jwt}x"),
    ] {
        let a = s.with(&bad, "GET", "/openai/v1/x").await;
        assert_eq!(a.status, 401, "{bad}: {}", a.text);
    }
    assert!(up.requests().is_empty());
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/x").await.status, 200);
}

#[tokio::test]
async fn a_reflected_key_never_reaches_the_caller() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, |seen| {
        use base64::Engine as _;
        let key = seen.all("authorization").concat().replace("Bearer ", "");
        let b64 = base64::engine::general_purpose::STANDARD.encode(format!("x{key}y"));
        let body = format!("{{\"echo\":\"{key}\",\"b64\":\"{b64}\",\"hex\":\"{}\"}}", hex::encode(&key));
        // Split where it hurts.
        let (tx, rx) = tokio::sync::mpsc::channel(64);
        tokio::spawn(async move {
            for part in body.as_bytes().chunks(7) {
                let _ = tx.send(Bytes::copy_from_slice(part)).await;
            }
        });
        (
            200,
            vec![
                ("x-echo", key.clone()),
                ("set-cookie", "a=b".into()),
                ("www-authenticate", "Bearer".into()),
            ],
            rx,
        )
    })
    .await;
    s.bind(&up).await;
    let a = s.with(&s.issuer.jwt("alice"), "GET", "/openai/v1/x").await;
    assert_eq!(a.status, 200);
    assert!(a.text.contains("\"echo\":\"****"), "{}", a.text);
    for form in [KEY.to_string(), hex::encode(KEY)] {
        assert!(!a.text.contains(&form), "{}", a.text);
    }
    assert_eq!(a.headers["x-echo"], "*".repeat(KEY.len()));
    assert!(!a.headers.contains_key("set-cookie") && !a.headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn the_upstreams_rejection_of_our_key_is_not_the_callers_401() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, |_| {
        whole(401, vec![("www-authenticate", "Bearer".into())], format!("bad key {KEY}"))
    })
    .await;
    s.bind(&up).await;
    let a = s.with(&s.issuer.jwt("alice"), "GET", "/openai/v1/x").await;
    assert_eq!((a.status, code(&a).as_str()), (424, "upstream_credential_rejected"));
    assert!(!a.text.contains("bad key"));
    s.audited("upstream_credential_rejected").await;
}

#[tokio::test]
async fn events_arrive_as_they_are_sent() {
    let s = Stage::new().await;
    let (tx, rx) = tokio::sync::mpsc::channel::<Bytes>(8);
    let rx = std::sync::Mutex::new(Some(rx));
    let up = Upstream::start(&s.home.pki, move |_| {
        (200, vec![("content-type", "text/event-stream".into())], rx.lock().unwrap().take().unwrap())
    })
    .await;
    s.bind(&up).await;
    let mut body = s.stream().await;
    for n in 0..5 {
        let event = format!("data: event {n}\n\n");
        // Each is read before the next is sent: nothing is buffered on the way.
        tx.send(Bytes::from(event.clone())).await.unwrap();
        let mut got = Vec::new();
        while got.len() < event.len() {
            let frame = tokio::time::timeout(PATIENCE, body.frame())
                .await
                .expect("an event was held back")
                .unwrap()
                .unwrap();
            got.extend_from_slice(frame.data_ref().unwrap());
        }
        assert_eq!(got, event.as_bytes());
    }
    drop(tx);
    assert!(tokio::time::timeout(PATIENCE, body.frame()).await.unwrap().is_none());
}

#[tokio::test]
async fn redirects_are_not_followed_and_private_addresses_need_a_grant() {
    let s = Stage::new().await;
    let target = Upstream::start(&s.home.pki, echo).await;
    let location = format!("{}/stolen", target.url);
    let up =
        Upstream::start(&s.home.pki, move |_| whole(302, vec![("location", location.clone())], "")).await;
    s.bind(&up).await;
    let jwt = s.issuer.jwt("alice");
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/x").await.status, 302);
    assert!(target.requests().is_empty());
    let mut closed = s.service(&up);
    closed["allow_private"] = json!(false);
    for upstream in [
        up.url.as_str(),
        "https://127.0.0.1",
        "https://169.254.169.254",
        "https://[::1]:1",
        "https://10.0.0.1",
    ] {
        closed["upstream"] = json!(upstream);
        s.v.post("gateway/services/openai", &s.root, closed.clone()).await.expect(400);
    }
    assert_eq!(up.requests().len(), 1);
}

#[tokio::test]
async fn a_changed_key_or_service_counts_at_once() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, echo).await;
    s.bind(&up).await;
    let jwt = s.issuer.jwt("alice");
    for n in 0..3 {
        let key = format!("sk-rotated-key-number-{n}");
        // As a file would give it: the line break is not part of the key.
        s.v.post("secret/data/openai", &s.root, json!({"data": {"key": format!("{key}\n")}})).await.ok();
        assert_eq!(s.with(&jwt, "GET", "/openai/v1/x").await.status, 200);
        assert_eq!(up.requests().last().unwrap().all("authorization"), [format!("Bearer {key}")]);
    }
    s.v.post("sys/policies/acl/app", &s.root, json!({"policy": "path \"x\" { capabilities = [\"read\"] }"}))
        .await
        .ok();
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/x").await.status, 403);
    s.v.delete("gateway/services/openai", &s.root).await.ok();
    // Gone or forbidden: to a caller without the right it is the same.
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/x").await.status, 404);
    s.v.call("PUT", "sys/seal", &s.root, None).await.ok();
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/x").await.status, 503);
}

#[tokio::test]
async fn a_rate_limit_counts_each_caller_and_says_when_to_come_back() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, echo).await;
    let mut limited = s.service(&up);
    limited["rate_limit"] = json!({"requests": 2, "window": "1h"});
    s.v.post("gateway/services/openai", &s.root, limited).await.ok();
    let alice = s.issuer.jwt("alice");
    let first = s.with(&alice, "GET", "/openai/v1/x").await;
    assert_eq!(
        (first.headers["x-ratelimit-limit"].as_bytes(), first.headers["x-ratelimit-remaining"].as_bytes()),
        (&b"2"[..], &b"1"[..])
    );
    assert_eq!(s.with(&alice, "GET", "/openai/v1/x").await.status, 200);
    let over = s.with(&alice, "GET", "/openai/v1/x").await;
    assert_eq!((over.status, code(&over).as_str()), (429, "rate_limited"));
    let wait: u64 = over.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=1800).contains(&wait), "{wait}");
    assert_eq!(s.with(&s.issuer.jwt("bob"), "GET", "/openai/v1/x").await.status, 200);
    assert_eq!(up.requests().len(), 3);
    s.audited("rate_limited").await;
}

#[tokio::test]
async fn disabling_a_login_method_ends_its_tokens_their_children_and_its_callers() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, echo).await;
    s.bind(&up).await;
    let jwt = s.issuer.jwt("alice");
    let policy = "path \"auth/token/create\" { capabilities = [\"update\"] }\npath \"gateway/proxy/openai/*\" { capabilities = [\"invoke\"] }";
    s.v.post("sys/policies/acl/app", &s.root, json!({"policy": policy})).await.ok();
    let login = s.v.post("auth/jwt/login", "", json!({"role": "app", "jwt": jwt})).await.ok();
    let token = login["auth"]["client_token"].as_str().unwrap().to_string();
    let made = s.v.post("auth/token/create", &token, json!({"policies": ["app"]})).await.ok();
    let child = made["auth"]["client_token"].as_str().unwrap().to_string();
    for t in [&jwt, &token, &child] {
        assert_eq!(s.with(t, "GET", "/openai/v1/x").await.status, 200);
    }
    s.v.delete("sys/auth/jwt", &s.root).await.ok();
    for t in [&jwt, &token, &child] {
        assert_eq!(s.with(t, "GET", "/openai/v1/x").await.status, 401, "{t}");
    }
    for t in [&token, &child] {
        s.v.get("auth/token/lookup-self", t).await.expect(403);
    }
    // A method of the same name does not bring them back.
    s.v.post("sys/auth/jwt", &s.root, json!({"type": "jwt"})).await.ok();
    s.v.get("auth/token/lookup-self", &child).await.expect(403);
}

#[tokio::test]
async fn a_seal_cuts_streams_and_they_are_on_record() {
    let s = Stage::new().await;
    let (tx, rx) = tokio::sync::mpsc::channel::<Bytes>(8);
    let rx = std::sync::Mutex::new(Some(rx));
    let up = Upstream::start(&s.home.pki, move |_| {
        (200, vec![("content-type", "text/event-stream".into())], rx.lock().unwrap().take().unwrap())
    })
    .await;
    s.bind(&up).await;
    tx.send(Bytes::from_static(b"data: 1\n\n")).await.unwrap();
    let mut body = s.stream().await;
    assert!(body.frame().await.unwrap().is_ok());
    s.v.call("PUT", "sys/seal", &s.root, None).await.ok();
    let end = tokio::time::timeout(PATIENCE, body.frame()).await.expect("the stream outlived the seal");
    assert!(!matches!(end, Some(Ok(_))), "data after the seal");
    let log = s.audited("\"type\":\"completion\"").await;
    let line = log.lines().find(|l| l.contains("\"type\":\"completion\"")).expect("no completion record");
    assert!(line.contains("sealed"), "{line}");
}

#[tokio::test]
async fn keys_are_fetched_from_a_jwks_url_and_the_first_login_already_works() {
    use base64::Engine as _;
    let mut home = Home::new("memory");
    home.extra = "egress_allow = [\"127.0.0.0/8\", \"::1/128\"]\n".into();
    let v = home.start();
    let (root, _) = v.ready().await;
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(pair.public_key_raw());
    let jwks =
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "k1", "x": x}]}).to_string();
    let provider = Upstream::start(&home.pki, move |_| {
        whole(200, vec![("content-type", "application/json".into())], jwks.clone())
    })
    .await;
    v.post("sys/auth/jwt", &root, json!({"type": "jwt"})).await.ok();
    let config = json!({"jwks_url": format!("{}/keys", provider.url), "jwks_ca_pem": home.pki.ca_pem});
    v.post("auth/jwt/config", &root, config).await.ok();
    let role = json!({"role_type": "jwt", "bound_audiences": ["gateway"], "user_claim": "sub", "token_policies": ["app"]});
    v.post("auth/jwt/role/app", &root, role).await.ok();
    let private = jsonwebtoken::EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let sign = |kid: &str| {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.kid = Some(kid.into());
        let claims = json!({"aud": "gateway", "sub": "alice", "iat": now, "exp": now + 600});
        jsonwebtoken::encode(&header, &claims, &private).unwrap()
    };
    let login = v.post("auth/jwt/login", "", json!({"role": "app", "jwt": sign("k1")})).await.ok();
    assert_eq!(login["auth"]["policies"], json!(["app", "default"]));
    // Strangers' key names cost no further fetch within the interval.
    for n in 0..5 {
        v.post("auth/jwt/login", "", json!({"role": "app", "jwt": sign(&format!("x{n}"))})).await.expect(400);
    }
    assert_eq!(provider.requests().len(), 1);
}
