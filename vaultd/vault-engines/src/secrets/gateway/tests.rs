use crate::testing::{Bench, data, object, run};
use serde_json::{Value, json};
use std::time::Duration;
use vault_logical::{CallerAuthKind, ErrorKind, Operation, ServiceConfig, ViewExt};

const CREDENTIAL: &str = "secret/data/openai";

/// A mount whose caller may read the credential.
fn bench() -> Bench {
    let b = Bench::mount("gateway", &[]);
    b.readable.lock().insert(CREDENTIAL.into());
    b
}

fn service(more: Value) -> Value {
    let mut v = json!({
        "upstream": "https://api.openai.com",
        "credential": {"path": CREDENTIAL, "field": "key"},
        "inject": {"header": "Authorization", "template": "Bearer {{credential}}"},
        "allow": [{"methods": ["post"], "path": "/v1/chat/completions"}, {"path": "/v1/models*"}],
        "auth": [{"type": "jwt", "mount": "jwt/", "role": "App"}, {"type": "token"}],
    });
    object(more).into_iter().for_each(|(k, x)| v[k] = x);
    v
}

async fn refuse(b: &Bench, body: Value, why: &str) {
    let e = b.write("services/bad", body).await.err().unwrap_or_else(|| panic!("accepted: {why}"));
    assert_eq!(e.kind(), ErrorKind::InvalidRequest, "{why}");
    assert!(b.records().is_empty(), "{why}");
}

#[test]
fn a_service_is_kept_as_the_gateway_reads_it() {
    run(async {
        let b = bench();
        let more = json!({
            "rate_limit": {"requests": 10, "window": "1m"}, "timeout": "30s", "caller_header": "X-App-Token",
            "upstream": "https://API.openai.com:8443",
            "credential": {"path": CREDENTIAL, "field": "key", "version": 3},
            "request_headers": ["Anthropic-Version", "anthropic-version"],
        });
        let r = b.write("services/openai", service(more)).await.unwrap();
        assert!(r.warnings.is_empty() && r.data.is_none());
        let s: ServiceConfig =
            b.inspect(async |_, cx| cx.view.get_json("service/openai").await.unwrap().unwrap()).await;
        assert_eq!((s.v, s.upstream.as_str(), s.allow_private), (1, "https://api.openai.com:8443", false));
        assert_eq!(
            (s.inject_header.as_str(), s.inject_template.as_str()),
            ("authorization", "Bearer {{credential}}")
        );
        assert_eq!((s.credential.path.as_str(), s.credential.version), (CREDENTIAL, Some(3)));
        assert_eq!(s.allow[0].methods, ["POST"]);
        assert_eq!(
            (s.auth[0].kind, s.auth[0].mount.as_deref(), s.auth[0].role.as_deref()),
            (CallerAuthKind::Jwt, Some("jwt"), Some("app"))
        );
        assert_eq!((s.caller_header.as_str(), s.timeout), ("x-app-token", Duration::from_secs(30)));
        assert_eq!(s.rate_limit.map(|l| (l.requests, l.window)), Some((10, Duration::from_secs(60))));

        assert_eq!(s.request_headers, ["anthropic-version"]);

        // What is read back can be written again, and means the same.
        let d = data(&b.read("services/openai").await.unwrap());
        b.write("services/openai", d.clone()).await.unwrap();
        assert_eq!(data(&b.read("services/openai").await.unwrap()), d);
        assert_eq!(d["rate_limit"], json!({"requests": 10, "window": 60}));
        assert_eq!(d["auth"][1], json!({"type": "token"}));

        // A write states the whole service.
        b.write("services/openai", service(json!({}))).await.unwrap();
        let d = data(&b.read("services/openai").await.unwrap());
        assert_eq!(
            (&d["rate_limit"], &d["timeout"], &d["caller_header"]),
            (&Value::Null, &json!(60), &json!("authorization"))
        );

        assert_eq!(b.list("services/", json!({})).await.unwrap(), ["openai"]);
        b.delete("services/openai").await.unwrap();
        assert_eq!(b.read("services/openai").await.unwrap_err().kind(), ErrorKind::NotFound);
        let r = b.write("services/x", service(json!({"allow": [], "auth": []}))).await.unwrap();
        assert_eq!(r.warnings.len(), 2);
    });
}

#[test]
fn binding_is_reading() {
    run(async {
        let b = bench();
        b.write("services/s", service(json!({}))).await.unwrap();
        let before = b.bytes();
        b.readable.lock().clear();
        // Neither to make one nor to change anything of one, with or without the same credential.
        for (name, more) in [
            ("new", json!({})),
            ("s", json!({})),
            ("s", json!({"upstream": "https://evil.example"})),
            ("s", json!({"credential": {"path": "secret/data/other", "field": "key"}})),
        ] {
            let e = b.write(&format!("services/{name}"), service(more)).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::PermissionDenied);
        }
        assert_eq!(b.bytes(), before);
        // Reading one secret binds that secret only, by its exact path.
        b.readable.lock().insert(CREDENTIAL.into());
        for path in ["secret/data/other", "secret/data/openai2", "secret/data", "secret/metadata/openai"] {
            let body = service(json!({"credential": {"path": path, "field": "key"}}));
            assert_eq!(
                b.write("services/s", body).await.unwrap_err().kind(),
                ErrorKind::PermissionDenied,
                "{path}"
            );
        }
        // Taking a service away gives nothing.
        b.readable.lock().clear();
        b.delete("services/s").await.unwrap();
    });
}

#[test]
fn a_key_that_cannot_be_masked_is_not_bound() {
    run(async {
        let b = bench();
        for (key, why) in [
            ("tiny", "too short"),
            ("sk-proj-1234567", "too short"),
            ("", "too short"),
            ("sk-0123456789 ", "blanks"),
            ("\tsk-0123456789", "blanks"),
            ("sk-0123456789\n\n", "blanks"),
            ("sk-01234\r\n56789", "control"),
            ("schlüssel-0123456789", "ASCII"),
        ] {
            *b.bound.lock() = Some(key.into());
            let e = b.write("services/bad", service(json!({}))).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidRequest, "{key:?}");
            // With the reason, and without the key.
            assert!(
                e.message().contains(why) && (key.is_empty() || !e.message().contains(key)),
                "{}",
                e.message()
            );
            assert!(b.records().is_empty());
        }
        // A half of it, decoded.
        *b.bound.lock() = Some("YWRtaW46c2VjcmV0".into());
        let e = b.write("services/bad", service(json!({}))).await.unwrap_err();
        assert!(e.message().contains("too short"));
        for key in ["sk-0123456789\n", "sk-0123456789\r\n", "sk-0123456789"] {
            *b.bound.lock() = Some(key.into());
            assert!(b.write("services/good", service(json!({}))).await.unwrap().warnings.is_empty());
        }
        *b.bound.lock() = None;
        assert!(b.write("services/good", service(json!({}))).await.unwrap().warnings[0].contains("no text"));
    });
}

#[test]
fn upstreams() {
    run(async {
        let b = bench();
        for bad in [
            "",
            "api.example",
            "//api.example",
            "https://",
            "https:///",
            "https://api.example/",
            "https://api.example/v1",
            "https://api.example?x",
            "https://api.example#x",
            "https://user@api.example",
            "https://u:p@api.example",
            "https://api.example:0",
            "https://api.example:",
            "https://api.example:65536",
            "https://api.example:+443",
            "https://api.example:0443",
            "https://api.example:443:443",
            "https://api.example.",
            "https://.example",
            "https://api example",
            "https://api.example\\",
            "https://api%2eexample",
            "https://äpi.example",
            "https://0x7f.1",
            "https://2130706433",
            "https://0177.0.0.1",
            "https://127.1",
            "https://127.0.0.1",
            "https://[::1]",
            "https://[::1",
            "https://[::ffff:127.0.0.1]",
            "https://[fe80::1%eth0]",
            "https://10.0.0.1",
            "https://169.254.169.254",
            "https://[fd00::1]",
            "https://0.0.0.0",
            "https://localhost",
            "http://api.example",
            "http://127.0.0.1",
            "ftp://api.example",
            "HTTPS://api.example",
            "https:/api.example",
            "https://api.example\n",
            "https://*.example",
        ] {
            refuse(&b, service(json!({ "upstream": bad })), bad).await;
        }
        for bad in ["http://api.example", "http://8.8.8.8", "https://127.1", "https://0x7f000001"] {
            refuse(&b, service(json!({"upstream": bad, "allow_private": true})), bad).await;
        }
        for (good, private) in [
            ("https://api.example", false),
            ("https://api.example:8443", false),
            ("https://8.8.8.8", false),
            ("https://[2606:4700::1111]:443", false),
            ("https://xn--pi-uia.example", false),
            ("https://127.0.0.1:9", true),
            ("http://127.0.0.1:8080", true),
            ("http://localhost", true),
            ("http://[::1]:1", true),
            ("http://10.0.0.1", true),
        ] {
            b.write("services/good", service(json!({"upstream": good, "allow_private": private})))
                .await
                .unwrap();
            assert_eq!(data(&b.read("services/good").await.unwrap())["upstream"], good);
        }
    });
}

#[test]
fn headers_and_templates() {
    run(async {
        let b = bench();
        let reserved = [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "upgrade",
            "expect",
            "proxy-authorization",
            "proxy-authenticate",
            "proxy-connection",
        ];
        let malformed = ["", "a b", "a:b", "a\n", "ä", "a\0", "(x)", &"x".repeat(200)];
        for name in reserved.iter().chain(&malformed) {
            let inject = json!({"header": name, "template": "{{credential}}"});
            refuse(&b, service(json!({ "inject": inject })), name).await;
            if !name.is_empty() {
                refuse(&b, service(json!({ "caller_header": name })), name).await;
            }
        }
        refuse(&b, service(json!({"caller_header": "Cookie"})), "cookie").await;
        for name in [
            "Cookie",
            "authorization",
            "X-Forwarded-For",
            "x-vault-token",
            "host",
            "a b",
            "x-http-method-override",
        ] {
            refuse(&b, service(json!({ "request_headers": ["ok", name] })), name).await;
        }
        refuse(&b, service(json!({"caller_header": "x-app", "request_headers": "x-app"})), "the caller's")
            .await;
        let many: Vec<String> = (0..1000).map(|n| format!("h{n}")).collect();
        refuse(&b, service(json!({ "request_headers": many })), "many").await;
        for template in [
            "",
            "Bearer",
            "{{ credential }}",
            "{{credential}}{{credential}}",
            "{{credential}} {{other}}",
            "{{key}}",
            "{credential}",
            "x\r\nHost: y {{credential}}",
            "\t{{credential}}",
            " {{credential}}",
            "{{credential}} ",
            "{{credential}}\0",
            "ä {{credential}}",
            &format!("{} {{{{credential}}}}", "x".repeat(600)),
        ] {
            refuse(&b, service(json!({"inject": {"header": "x-key", "template": template}})), template).await;
        }
        for template in [
            "{{credential}}",
            "Bearer {{credential}}",
            "key={{credential}}, v=1",
            "{\"k\":\"{{credential}}\"}",
        ] {
            let body = service(json!({"inject": {"header": "X-Key", "template": template}}));
            b.write("services/good", body).await.unwrap_or_else(|_| panic!("{template}"));
        }
    });
}

#[test]
fn everything_else_is_strict() {
    run(async {
        let b = bench();
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for more in [
            json!({"upstream": null}),
            json!({"ca_cert": "x"}),
            json!({"ca_cert": certificate.replace("CERTIFICATE", "PRIVATE KEY")}),
            json!({"credential": null}),
            json!({"credential": CREDENTIAL}),
            json!({"credential": {"path": CREDENTIAL}}),
            json!({"credential": {"field": "key"}}),
            json!({"credential": {"path": CREDENTIAL, "field": ""}}),
            json!({"credential": {"path": CREDENTIAL, "field": "k".repeat(300)}}),
            json!({"credential": {"path": CREDENTIAL, "field": "key", "version": -1}}),
            json!({"credential": {"path": CREDENTIAL, "field": "key", "verison": 1}}),
            json!({"credential": {"path": format!("/{CREDENTIAL}"), "field": "key"}}),
            json!({"credential": {"path": format!("{CREDENTIAL}/"), "field": "key"}}),
            json!({"credential": {"path": "secret/data/../data/openai", "field": "key"}}),
            json!({"credential": {"path": "secret//data/openai", "field": "key"}}),
            json!({"credential": {"path": "sys/raw/x", "field": "key"}}),
            json!({"credential": {"path": "auth/token/lookup-self", "field": "id"}}),
            json!({"credential": {"path": "cubbyhole/x", "field": "key"}}),
            json!({"credential": {"path": "gateway/services/s", "field": "upstream"}}),
            json!({"inject": null}),
            json!({"inject": {"header": "x"}}),
            json!({"inject": {"template": "{{credential}}"}}),
            json!({"inject": {"header": "x", "template": "{{credential}}", "query": "y"}}),
            json!({"allow": {"path": "/"}}),
            json!({"allow": ["/"]}),
            json!({"allow": [{}]}),
            json!({"allow": [{"path": "/", "method": ["GET"]}]}),
            json!({"allow": [{"path": "/", "methods": ["CONNECT"]}]}),
            json!({"allow": [{"path": "/", "methods": ["TRACE"]}]}),
            json!({"allow": [{"path": "/", "methods": ["G ET"]}]}),
            json!({"allow": vec![json!({"path": "/"}); 1000]}),
            json!({"auth": [{"type": "basic"}]}),
            json!({"auth": [{"mount": "jwt"}]}),
            json!({"auth": [{"type": "jwt"}, {"type": "jwt", "role": "b"}]}),
            json!({"auth": [{"type": "token"}, {"type": "token"}]}),
            json!({"auth": [{"type": "token", "role": "x"}]}),
            json!({"auth": [{"type": "jwt", "mount": "auth/jwt"}]}),
            json!({"auth": [{"type": "jwt", "mount": "../jwt"}]}),
            json!({"auth": [{"type": "jwt", "role": "a/b"}]}),
            json!({"auth": [{"type": "jwt", "audience": "x"}]}),
            json!({"rate_limit": 5}),
            json!({"rate_limit": {"requests": 5}}),
            json!({"rate_limit": {"window": 5}}),
            json!({"rate_limit": {"requests": 0, "window": 5}}),
            json!({"rate_limit": {"requests": 5, "window": 0}}),
            json!({"rate_limit": {"requests": 5, "window": "500ms"}}),
            json!({"rate_limit": {"requests": 5, "window": "48h"}}),
            json!({"timeout": 0}),
            json!({"timeout": "2h"}),
            json!({"timeout": "soon"}),
            json!({"allow_private": "maybe"}),
        ] {
            refuse(&b, service(more.clone()), &more.to_string()).await;
        }
        for path in [
            "",
            "v1",
            "/a//b",
            "/./a",
            "/a/..",
            "/a/../b",
            "/a\\b",
            "/a;b",
            "/a?b",
            "/a#b",
            "/a b",
            "/ä",
            "/a*b",
            "/**",
            "/%2F",
            "/%2f",
            "/%41",
            "/%",
            "/%zz",
            "/%+1",
            "/a%20b%7e",
            &format!("/{}", "x".repeat(2000)),
        ] {
            refuse(&b, service(json!({"allow": [{ "path": path }]})), path).await;
        }
        for path in ["/", "/*", "/v1/+/x", "/a%20b", "/%C3%BC", "/v1:run@x", "/a/", "/.well-known/*"] {
            let body = service(json!({"allow": [{ "path": path }], "ca_cert": certificate}));
            b.write("services/good", body).await.unwrap_or_else(|_| panic!("{path}"));
        }
        let r = b.write("services/good", service(json!({"ratelimit": {}}))).await.unwrap();
        assert_eq!(r.warnings, ["Endpoint ignored these unrecognized parameters: [ratelimit]"]);
    });
}

#[test]
fn nothing_but_services() {
    run(async {
        let b = bench();
        for path in [
            "",
            "proxy",
            "proxy/",
            "proxy/openai",
            "proxy/openai/v1/chat",
            "services/a/b",
            "services/.",
            "service/a",
            "services/-a",
            "x",
        ] {
            for op in
                [Operation::Read, Operation::Update, Operation::Delete, Operation::List, Operation::Invoke]
            {
                let e = b.serve(b.request(op, path, service(json!({})))).await.unwrap_err();
                assert_eq!(e.kind(), ErrorKind::UnsupportedPath, "{op} {path}");
            }
        }
        let long = format!("services/{}", "s".repeat(65));
        assert_eq!(b.read(&long).await.unwrap_err().kind(), ErrorKind::UnsupportedPath);
        for (op, path) in [
            (Operation::Patch, "services/a"),
            (Operation::Invoke, "services/a"),
            (Operation::Read, "services/"),
        ] {
            let e = b.serve(b.request(op, path, Value::Null)).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::UnsupportedOperation);
        }
    });
}
