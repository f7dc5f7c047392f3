//! Configuration and roles: what is kept, and what is refused.

use super::sign::{ed, p256};
use super::*;
use crate::testing::{data, run};
use vault_logical::ErrorKind;

#[test]
fn config_is_read_back_whole() {
    run(async {
        let b = Bench::mount("jwt", &[]);
        assert_eq!(b.read("config").await.unwrap_err().kind(), ErrorKind::NotFound);
        let written = json!({
            "jwt_validation_pubkeys": [ed().pem()], "bound_issuer": ISSUER, "jwt_supported_algs": ["EdDSA"],
            "default_role": "Web", "oidc_discovery_url": "", "provider_config": {},
        });
        let r = b.write("config", written).await.unwrap();
        assert!(r.warnings.is_empty());
        assert_eq!(
            data(&b.read("config").await.unwrap()),
            json!({
                "jwt_validation_pubkeys": [ed().pem()], "bound_issuer": ISSUER, "jwt_supported_algs": ["EdDSA"],
                "default_role": "web", "jwks_url": "", "jwks_ca_pem": "", "jwks_pairs": [],
                "max_lifetime": 86400, "token_kind": "", "oidc_client_id": "", "oidc_discovery_ca_pem": "",
                "oidc_discovery_url": "", "oidc_response_mode": "", "oidc_response_types": [],
                "provider_config": {},
            })
        );
        for (bad, kind) in [
            (json!({}), ErrorKind::InvalidRequest),
            (
                json!({"jwks_url": "https://a.example/k", "jwt_validation_pubkeys": [ed().pem()]}),
                ErrorKind::InvalidRequest,
            ),
            (json!({"jwks_url": "http://a.example/k"}), ErrorKind::InvalidRequest),
            (json!({"jwks_url": "file:///etc/passwd"}), ErrorKind::InvalidRequest),
            (json!({"jwks_url": "https://user:pw@a.example/k"}), ErrorKind::InvalidRequest),
            (json!({"jwks_url": "https://a.example/k", "jwks_ca_pem": "x"}), ErrorKind::InvalidRequest),
            (
                json!({"jwt_validation_pubkeys": [ed().pem()], "jwt_supported_algs": "HS256"}),
                ErrorKind::InvalidRequest,
            ),
            (
                json!({"jwt_validation_pubkeys": [ed().pem()], "jwt_supported_algs": "none"}),
                ErrorKind::InvalidRequest,
            ),
            (
                json!({"jwt_validation_pubkeys": [ed().pem()], "default_role": "a/b"}),
                ErrorKind::InvalidRequest,
            ),
            (json!({"oidc_discovery_url": "https://a.example"}), ErrorKind::InvalidRequest),
            (json!({"jwks_pairs": [{"jwks_url": "https://a.example"}]}), ErrorKind::InvalidRequest),
        ] {
            assert_eq!(b.write("config", bad.clone()).await.unwrap_err().kind(), kind, "{bad}");
        }
        for good in
            ["https://a.example/k", "http://127.0.0.1:8080/k", "http://localhost/k", "http://[::1]:1/k"]
        {
            b.write("config", json!({ "jwks_url": good })).await.unwrap();
        }
    });
}

#[test]
fn a_new_configuration_counts_at_once() {
    run(async {
        let b = bench(&[ed()]).await;
        let (old, new) = (jwt(ed(), &claims(json!({}))), jwt(p256(), &claims(json!({}))));
        login(&b, &old).await.unwrap();
        assert!(login(&b, &new).await.is_err());
        b.write("config", json!({"jwt_validation_pubkeys": [p256().pem()]})).await.unwrap();
        assert!(login(&b, &old).await.is_err());
        login(&b, &new).await.unwrap();
    });
}

#[test]
fn roles() {
    run(async {
        let b = bench(&[ed()]).await;
        assert_eq!(b.list("role/", json!({})).await.unwrap(), ["app"]);
        b.write(
            "role/web",
            role(json!({"allowed_redirect_uris": ["https://x.example/cb"], "verbose_oidc_logging": false})),
        )
        .await
        .unwrap();
        assert_eq!(b.list("role", json!({"after": "app"})).await.unwrap(), ["web"]);
        for spelling in ["role/WEB", "role/Web"] {
            assert!(b.write(spelling, role(json!({}))).await.is_err() && b.read(spelling).await.is_err());
            assert!(b.delete(spelling).await.is_err());
        }
        // An update states only what changes.
        b.write("role/web", json!({"token_ttl": 5, "groups_claim": "g"})).await.unwrap();
        let d = data(&b.read("role/web").await.unwrap());
        assert_eq!(
            (&d["token_ttl"], &d["groups_claim"], &d["user_claim"]),
            (&json!(5), &json!("g"), &json!("sub"))
        );
        assert_eq!((&d["bound_audiences"], &d["token_policies"]), (&json!([AUDIENCE]), &json!(["app"])));
        assert_eq!(d["allowed_redirect_uris"], json!(["https://x.example/cb"]));
        // Older names of the same fields.
        b.write("role/web", json!({"policies": "x", "ttl": 7, "max_ttl": 8, "num_uses": 9, "period": 10}))
            .await
            .unwrap();
        let d = data(&b.read("role/web").await.unwrap());
        let got = ["token_policies", "token_ttl", "token_max_ttl", "token_num_uses", "token_period"]
            .map(|f| d[f].clone());
        assert_eq!(got, [json!(["x"]), json!(7), json!(8), json!(9), json!(10)]);
        b.delete("role/web").await.unwrap();
        assert_eq!(b.read("role/web").await.unwrap_err().kind(), ErrorKind::NotFound);

        for (more, kind) in [
            (json!({"user_claim": ""}), ErrorKind::InvalidRequest),
            (json!({"bound_audiences": []}), ErrorKind::InvalidRequest),
            (json!({"bound_claims": "x"}), ErrorKind::InvalidRequest),
            (json!({"bound_claims": {"a": {}}}), ErrorKind::InvalidRequest),
            (json!({"bound_claims": {"a": []}}), ErrorKind::InvalidRequest),
            (json!({"bound_claims": {"a": null}}), ErrorKind::InvalidRequest),
            (json!({"bound_claims": {"a": 7}, "bound_claims_type": "glob"}), ErrorKind::InvalidRequest),
            (json!({"bound_claims_type": "regex"}), ErrorKind::InvalidRequest),
            (json!({"claim_mappings": {"a": "role"}}), ErrorKind::InvalidRequest),
            (json!({"claim_mappings": {"a": "x", "b": "x"}}), ErrorKind::InvalidRequest),
            (json!({"clock_skew_leeway": 61}), ErrorKind::InvalidRequest),
            (json!({"expiration_leeway": "2h"}), ErrorKind::InvalidRequest),
            (json!({"not_before_leeway": -2}), ErrorKind::InvalidRequest),
            (json!({"token_policies": "root"}), ErrorKind::InvalidRequest),
            (json!({"token_policies": "ROOT"}), ErrorKind::InvalidRequest),
            (json!({"token_ttl": 10, "token_max_ttl": 5}), ErrorKind::InvalidRequest),
            (json!({"token_period": "9999h"}), ErrorKind::InvalidRequest),
            (json!({"role_type": "saml"}), ErrorKind::InvalidRequest),
            (json!({"role_type": "oidc"}), ErrorKind::InvalidRequest),
            (json!({"token_bound_cidrs": ["10.0.0.0/8"]}), ErrorKind::InvalidRequest),
            (json!({"bound_cidrs": "10.0.0.0/8"}), ErrorKind::InvalidRequest),
            (json!({"token_type": "batch"}), ErrorKind::InvalidRequest),
            (json!({"oidc_scopes": "email"}), ErrorKind::InvalidRequest),
        ] {
            assert_eq!(b.write("role/bad", role(more.clone())).await.unwrap_err().kind(), kind, "{more}");
            assert_eq!(b.read("role/bad").await.unwrap_err().kind(), ErrorKind::NotFound);
        }
        for path in ["role/a/b", "role/-a", "nothing", "login/x"] {
            assert_eq!(b.read(path).await.unwrap_err().kind(), ErrorKind::UnsupportedPath, "{path}");
        }
        assert_eq!(b.read("login").await.unwrap_err().kind(), ErrorKind::UnsupportedOperation);
    });
}

/// What the first version wrote has neither a lifetime nor a kind: the defaults hold.
#[test]
fn a_configuration_of_the_first_version_is_read() {
    run(async {
        let b = Bench::mount("jwt", &[]);
        let stored = json!({
            "v": 1, "version": 3, "pubkeys": [ed().pem()], "jwks_url": "", "jwks_ca_pem": "",
            "bound_issuer": ISSUER, "algs": [], "default_role": "",
        });
        b.put_record("config", stored.to_string().as_bytes());
        b.write("role/app", role(json!({}))).await.unwrap();
        assert_eq!(data(&b.read("config").await.unwrap())["max_lifetime"], 86400);
        login(&b, &jwt(ed(), &claims(json!({})))).await.unwrap();
        let long = json!({"exp": START + 2 * 86400});
        assert!(login(&b, &jwt(ed(), &claims(long))).await.is_err(), "the default counts for it too");
    });
}

/// Keys under which anybody can sign, or nobody: RFC 8725, 3.4.
#[test]
fn keys_that_are_no_keys_are_refused_when_configured() {
    run(async {
        let b = Bench::mount("jwt", &[]);
        let ed25519 = |bytes: &[u8]| {
            let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
            sign::pem("PUBLIC KEY", &[&head[..], bytes].concat())
        };
        let mut off_curve = p256().der();
        *off_curve.last_mut().unwrap() ^= 1;
        let mut not_canonical = [0xff; 32]; // y = p + 3, a point that has a shorter spelling
        not_canonical[0] = 0xf0;
        not_canonical[31] = 0x7f;
        let order_8 = hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
        for (what, pem) in [
            ("a point beside P-256", sign::pem("PUBLIC KEY", &off_curve)),
            (
                "order 1",
                ed25519(&{
                    let mut one = [0; 32];
                    one[0] = 1;
                    one
                }),
            ),
            ("order 4", ed25519(&[0; 32])),
            ("order 8", ed25519(&order_8)),
            (
                "beside Ed25519",
                ed25519(&{
                    let mut two = [0; 32];
                    two[0] = 2;
                    two
                }),
            ),
            ("not canonical", ed25519(&not_canonical)),
        ] {
            let e = b.write("config", json!({"jwt_validation_pubkeys": [pem]})).await;
            assert_eq!(e.map(|_| ()).unwrap_err().kind(), ErrorKind::InvalidRequest, "{what}");
        }
        for good in [p256(), sign::p384(), ed(), sign::rsa()] {
            b.write("config", json!({"jwt_validation_pubkeys": [good.pem()]})).await.unwrap();
        }
    });
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}
