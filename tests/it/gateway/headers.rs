//! Headers of an upstream's answer that end at the gateway, each by its name.

use super::answers::raw_upstream;
use super::*;

/// The stage's service, over an upstream that answers everything with this head.
async fn answering(s: &Stage, head: &str, body: &str) {
    let url = raw_upstream(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}")).await;
    let mut service = s.service(&Upstream { url, seen: Default::default() });
    service["ca_cert"] = json!("");
    s.v.post("gateway/services/openai", &s.root, service).await.ok();
}

#[tokio::test]
async fn what_is_between_the_gateway_and_the_upstream_does_not_reach_the_caller() {
    let s = Stage::new().await;
    let jwt = s.issuer.jwt("alice");
    // One by one, by name. `transfer-encoding` is missing: `vaultd/src/seam_tests/upstream.rs` has it.
    for (name, value) in [
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers"),
        ("trailer", "x-checksum"),
        ("upgrade", "h2c"),
        ("proxy-authenticate", "Basic realm=\"theirs\""),
        ("proxy-authorization", "Basic eDp5"),
        ("set-cookie", "session=theirs"),
        ("www-authenticate", "Bearer realm=\"theirs\""),
        ("alt-svc", "h3=\":443\""),
        ("clear-site-data", "\"*\""),
        ("strict-transport-security", "max-age=1"),
        ("content-encoding", "identity"),
        ("authentication-info", "nextnonce=\"1\""),
        ("proxy-authentication-info", "nextnonce=\"1\""),
    ] {
        answering(&s, &format!("{name}: {value}\r\nX-Theirs: yes\r\nContent-Length: 2\r\n"), "{}").await;
        let a = s.with(&jwt, "GET", "/openai/v1/x").await;
        assert_eq!((a.status, a.text.as_str()), (200, "{}"), "{name}");
        assert_eq!(a.headers["x-theirs"], "yes", "{name}");
        assert!(!a.headers.contains_key(name), "{name}: {:?}", a.headers);
    }
    // What the upstream calls its own hop's is, in any case and however it is listed.
    let head = "Connection: X-Hop, x-other\r\nConnection: close,X-THIRD\r\nX-Hop: 1\r\nX-Other: 1\r\nX-Third: 1\r\n\
                X-Theirs: yes\r\nContent-Length: 2\r\n";
    answering(&s, head, "{}").await;
    let a = s.with(&jwt, "GET", "/openai/v1/x").await;
    assert_eq!(a.headers["x-theirs"], "yes");
    for name in ["x-hop", "x-other", "x-third", "connection"] {
        assert!(!a.headers.contains_key(name), "{name}: {:?}", a.headers);
    }
}
