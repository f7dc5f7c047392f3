//! Typed calls of the engines beside KV: method, path and body, and the shape of the answer.

use super::server::{Server, json};
use crate::ExposeSecret;
use serde_json::{Value, json as v};
use vault_api::secrets::gateway::{AllowRule, CallerAuth, Credential, Inject, RateLimit, Service};
use vault_api::secrets::totp::CreateKey;

fn answer(method: &str, target: &str) -> (u16, Value) {
    let enveloped = |data: Value| (200, v!({ "request_id": "r", "data": data }));
    match (method, target) {
        ("PUT", "/v1/totp/keys/made") => {
            enveloped(v!({ "url": "otpauth://totp/a?secret=HIDDEN", "barcode": "" }))
        }
        ("GET", "/v1/totp/keys/made") => enveloped(
            v!({ "account_name": "a", "algorithm": "SHA1", "digits": 6, "issuer": "", "period": 30 }),
        ),
        ("GET", "/v1/totp/keys?list=true") => enveloped(v!({ "keys": ["made"] })),
        ("GET", "/v1/totp/code/made") => enveloped(v!({ "code": "012345" })),
        ("PUT", "/v1/totp/code/made") => enveloped(v!({ "valid": true })),
        ("PUT", "/v1/totp/code/other") => enveloped(v!({ "valid": false })),
        ("PUT", "/v1/gateway/services/open") => (
            200,
            v!({ "request_id": "r", "data": null, "warnings": ["every caller of this service is refused"] }),
        ),
        ("GET", "/v1/gateway/services/a") => enveloped(v!({
            "upstream": "https://u", "ca_cert": "", "credential": {"path": "s/data/k", "field": "f", "version": null},
            "inject": {"header": "authorization", "template": "Bearer {{credential}}"},
            "allow": [{"methods": ["GET"], "path": "/*"}],
            "auth": [{"type": "token"}, {"type": "jwt", "mount": "jwt", "role": "app"}],
            "caller_header": "authorization", "request_headers": [],
            "rate_limit": null, "timeout": 30, "allow_private": false,
        })),
        ("GET", "/v1/gateway/services?list=true") => enveloped(v!({ "keys": ["a"] })),
        ("GET", t) if t.ends_with("/none") => (404, v!({ "errors": [] })),
        ("GET", t) => panic!("unexpected GET {t}"),
        _ => (204, Value::Null),
    }
}

async fn vault() -> Server {
    Server::start(&["h2"], |s, _| {
        let (status, body) = answer(&s.method, &s.target);
        Some(json(status, &if body.is_null() { String::new() } else { body.to_string() }))
    })
    .await
}

fn last(server: &Server) -> (String, Value) {
    let s = server.requests().pop().unwrap();
    (format!("{} {}", s.method, s.target.trim_start_matches("/v1/")), s.body)
}

#[tokio::test]
async fn totp_keys_and_codes() {
    let server = vault().await;
    let client = server.client();
    let totp = client.totp("/totp/");
    let made = CreateKey {
        generate: true,
        issuer: Some("I".into()),
        account_name: Some("a".into()),
        qr_size: Some(0),
        ..CreateKey::default()
    };
    let shown = totp.create("made", &made).await.unwrap().unwrap();
    assert_eq!(last(&server).1, v!({ "generate": true, "qr_size": 0, "issuer": "I", "account_name": "a" }));
    assert!(shown.barcode.is_none() && !format!("{shown:?}").contains("HIDDEN"), "{shown:?}");
    assert!(shown.url.unwrap().expose_secret().contains("HIDDEN"));
    let imported = CreateKey { key: Some("MFRGGZDFMY".into()), ..CreateKey::default() };
    assert!(!format!("{imported:?}").contains("MFRG"));
    assert!(totp.create("imported", &imported).await.unwrap().is_none());
    assert_eq!(
        last(&server),
        ("PUT totp/keys/imported".into(), v!({ "generate": false, "key": "MFRGGZDFMY" }))
    );
    assert_eq!(totp.key("made").await.unwrap().unwrap().period, 30);
    assert!(totp.key("none").await.unwrap().is_none());
    assert_eq!(totp.keys().await.unwrap(), ["made"]);
    assert_eq!(totp.code("made").await.unwrap().expose_secret(), "012345");
    assert!(totp.validate("made", "012345".into()).await.unwrap());
    assert_eq!(last(&server), ("PUT totp/code/made".into(), v!({ "code": "012345" })));
    assert!(!totp.validate("other", "000000".into()).await.unwrap());
    totp.delete("made").await.unwrap();
    assert_eq!(last(&server).0, "DELETE totp/keys/made");
}

#[tokio::test]
async fn gateway_services() {
    let server = vault().await;
    let client = server.client();
    let gateway = client.gateway("gateway");
    let service = Service {
        upstream: "https://u".into(),
        credential: Credential { path: "s/data/k".into(), field: "f".into(), version: None },
        inject: Inject { header: "x-key".into(), template: "{{credential}}".into() },
        allow: vec![AllowRule { methods: vec!["GET".into()], path: "/v1/*".into() }],
        auth: vec![CallerAuth { auth_type: "token".into(), ..CallerAuth::default() }],
        rate_limit: Some(RateLimit { requests: 5, window: 60 }),
        ..Service::default()
    };
    assert!(gateway.write("a", &service).await.unwrap().is_empty());
    assert_eq!(
        last(&server),
        (
            "PUT gateway/services/a".into(),
            v!({
                "upstream": "https://u", "credential": {"path": "s/data/k", "field": "f"},
                "inject": {"header": "x-key", "template": "{{credential}}"},
                "allow": [{"methods": ["GET"], "path": "/v1/*"}], "auth": [{"type": "token"}],
                "rate_limit": {"requests": 5, "window": 60}, "allow_private": false,
            })
        )
    );
    let warned = gateway.write("open", &Service::default()).await.unwrap();
    assert_eq!(warned, ["every caller of this service is refused"], "a warning is not dropped");
    let read = gateway.service("a").await.unwrap().unwrap();
    assert_eq!((read.timeout, read.auth[1].role.as_str(), read.rate_limit.is_none()), (30, "app", true));
    assert!(gateway.service("none").await.unwrap().is_none());
    assert_eq!(gateway.services().await.unwrap(), ["a"]);
    gateway.delete("a").await.unwrap();
    assert_eq!(last(&server).0, "DELETE gateway/services/a");
}
