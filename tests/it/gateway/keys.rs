//! The issuer's keys and the role behind a service: what ends a caller's kept identity, and which
//! roles name no caller at all.

use super::*;
use base64::Engine as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A key of an issuer, as a JWK and to sign with.
fn named_key(kid: &str) -> (Value, jsonwebtoken::EncodingKey) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(pair.public_key_raw());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x});
    (jwk, jsonwebtoken::EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap())
}

fn signed(kid: &str, key: &jsonwebtoken::EncodingKey) -> String {
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    header.kid = Some(kid.into());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims =
        json!({"iss": "https://idp.example", "aud": "gateway", "sub": "alice", "iat": now, "exp": now + 600});
    jsonwebtoken::encode(&header, &claims, key).unwrap()
}

#[tokio::test]
async fn a_key_that_is_gone_from_the_issuers_set_ends_the_identities_it_made() {
    let s = Stage::with_config("egress_allow = [\"127.0.0.0/8\", \"::1/128\"]\n").await;
    let up = Upstream::start(&s.home.pki, echo).await;
    s.bind(&up).await;
    let ((old_jwk, old), (new_jwk, new)) = (named_key("old"), named_key("new"));
    let both = json!({"keys": [old_jwk, new_jwk]}).to_string();
    let one = json!({"keys": [new_jwk]}).to_string();
    let removed = Arc::new(AtomicBool::new(false));
    let gone = removed.clone();
    let issuer = Upstream::start(&s.home.pki, move |_| {
        let keys = if gone.load(Ordering::Acquire) { &one } else { &both };
        whole(200, vec![("content-type", "application/json".into())], keys.clone())
    })
    .await;
    let config = json!({
        "jwks_url": format!("{}/keys", issuer.url), "jwks_ca_pem": s.home.pki.ca_pem, "bound_issuer": "https://idp.example",
    });
    s.v.post("auth/jwt/config", &s.root, config).await.ok();
    let call = async |jwt: &str| s.with(jwt, "GET", "/openai/v1/x").await.status;
    let (of_old, of_new) = (signed("old", &old), signed("new", &new));
    assert_eq!((call(&of_old).await, call(&of_new).await), (200, 200));
    removed.store(true, Ordering::Release);
    // A name that nobody knows makes the vault look again, once the interval is over.
    let until = std::time::Instant::now() + 3 * PATIENCE;
    while issuer.requests().len() < 2 {
        assert!(std::time::Instant::now() < until, "the set was not fetched again");
        assert_eq!(call(&signed("unknown", &new)).await, 401);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    crate::support::eventually("the old key's identity to end", || async { call(&of_old).await == 401 })
        .await;
    assert_eq!(call(&of_new).await, 200, "the other lives on");
}

#[tokio::test]
async fn a_role_that_pins_neither_issuer_nor_audience_calls_nothing() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, echo).await;
    s.bind(&up).await;
    let login = async |jwt: &str| s.v.post("auth/jwt/login", "", json!({"role": "app", "jwt": jwt})).await;
    let config = json!({"jwt_validation_pubkeys": [s.issuer.public_pem]});
    s.v.post("auth/jwt/config", &s.root, config.clone()).await.ok();
    let jwt = s.issuer.jwt("alice");
    login(&jwt).await.ok();
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/x").await.status, 401, "any issuer");
    let mut bound = config;
    bound["bound_issuer"] = json!("https://idp.example");
    s.v.post("auth/jwt/config", &s.root, bound).await.ok();
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/x").await.status, 200);
    let open = json!({"bound_audiences": [], "bound_subject": "alice"});
    s.v.post("auth/jwt/role/app", &s.root, open).await.ok();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let jwt =
        s.issuer.sign(json!({"iss": "https://idp.example", "sub": "alice", "iat": now, "exp": now + 600}));
    login(&jwt).await.ok();
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/x").await.status, 401, "any audience");
    assert_eq!(up.requests().len(), 1);
}

/// A body that is no HTTP is the caller's fault, not the upstream's.
#[tokio::test]
async fn a_malformed_chunk_is_400() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, echo).await;
    s.bind(&up).await;
    let host = s.v.gateway.clone().unwrap().replace("https://", "");
    for bad in ["zz\r\n{}\r\n0\r\n\r\n", "2\r\n{}xx", "2\n{}\r\n0\r\n\r\n"] {
        let tcp = tokio::net::TcpStream::connect(&host).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        let mut tls = tokio_rustls::TlsConnector::from(s.v.tls.clone()).connect(name, tcp).await.unwrap();
        let head = format!(
            "POST /openai/v1/x HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\n",
            s.issuer.jwt("alice")
        );
        tls.write_all(format!("{head}{bad}").as_bytes()).await.unwrap();
        tls.flush().await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, tls.read_to_end(&mut answer)).await.expect("the end");
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 400 "), "{bad:?}\n{text}");
    }
}
