//! What a login makes of a token, and what a role binds.

use super::sign::{ed, p256, p384, rsa, token};
use super::*;
use crate::testing::{START, data, run};
use std::time::Duration;
use vault_logical::{ErrorKind, Timestamp};

#[test]
fn every_algorithm() {
    run(async {
        let b = bench(&[rsa(), p256(), p384(), ed()]).await;
        let body = claims(json!({})).to_string();
        for (k, algs) in [
            (rsa(), &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
            (p256(), &["ES256"]),
            (p384(), &["ES384"]),
            (ed(), &["EdDSA"]),
        ] {
            for alg in algs {
                login(&b, &token(k, &json!({"alg": alg, "kid": "any"}).to_string(), &body)).await.unwrap();
            }
        }
    });
}

#[test]
fn an_identity_has_what_role_and_claims_say() {
    run(async {
        let b = bench(&[ed()]).await;
        let r = role(json!({
            "user_claim": "/who/mail", "user_claim_json_pointer": true, "groups_claim": "/realm/roles",
            "claim_mappings": {"team": "team", "/who/id": "id", "absent": "absent"},
            "token_policies": "B,a, b", "token_ttl": 60, "token_max_ttl": "1h", "token_explicit_max_ttl": "2h",
            "token_period": 30, "token_num_uses": 3, "token_no_default_policy": true,
        }));
        b.write("role/app", r).await.unwrap();
        let c = claims(json!({
            "who": {"mail": "me@example.com", "id": "7"}, "realm": {"roles": ["x", "", "y"]}, "team": "blue",
        }));
        let a = login(&b, &jwt(ed(), &c)).await.unwrap();
        assert_eq!((a.alias.as_str(), a.display_name.as_str()), ("me@example.com", "jwt-me@example.com"));
        assert_eq!(a.policies, ["a", "b"]);
        assert_eq!(a.groups, ["x", "y"]);
        let metadata: Vec<_> = a.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(metadata, [("id", "7"), ("role", "app"), ("team", "blue")]);
        let secs = [a.ttl, a.max_ttl, a.explicit_max_ttl, a.period].map(|d| d.as_secs());
        assert_eq!(secs, [60, 3600, 7200, 30]);
        assert_eq!((a.num_uses, a.no_default_policy), (3, true));
        // With the leeway of a minute: until then it is accepted.
        assert_eq!(a.expires, Some(Timestamp::from_unix_secs(START + 360)));

        // The same through the gateway's door.
        let t = jwt(ed(), &c);
        b.engine.auth_method().unwrap().prepare_identify(&t).await.unwrap();
        let same = b
            .inspect(async |e, cx| e.auth_method().unwrap().identify(cx, &t, Some("APP")).await)
            .await
            .unwrap();
        assert_eq!(same.alias, a.alias);
        let none = b.inspect(async |e, cx| e.auth_method().unwrap().identify(cx, &t, None).await).await;
        assert_eq!(none.unwrap_err().message(), "missing role");

        for (more, why) in [
            (json!({"who": {"id": "7"}}), "no user claim"),
            (json!({"realm": {}}), "no groups claim"),
            (json!({"realm": {"roles": ["x", 1]}}), "a group that is no text"),
            (json!({"team": 7}), "a mapped claim that is no text"),
        ] {
            assert!(login(&b, &jwt(ed(), &merged(c.clone(), more))).await.is_err(), "{why}");
        }
    });
}

#[test]
fn bound_claims_and_subject() {
    run(async {
        let b = bench(&[ed()]).await;
        for (more, claim, ok) in [
            (json!({"bound_claims": {"env": "prod"}}), json!({"env": "prod"}), true),
            (json!({"bound_claims": {"env": "prod"}}), json!({"env": ["dev", "prod"]}), true),
            (json!({"bound_claims": {"env": ["dev", "prod"]}}), json!({"env": "prod"}), true),
            (json!({"bound_claims": {"env": "prod"}}), json!({"env": "Prod"}), false),
            (json!({"bound_claims": {"env": "prod"}}), json!({"env": "prod "}), false),
            (json!({"bound_claims": {"env": "prod"}}), json!({}), false),
            (json!({"bound_claims": {"env": "prod"}}), json!({"env": {"prod": "prod"}}), false),
            (json!({"bound_claims": {"env": "prod"}}), json!({"env": []}), false),
            (json!({"bound_claims": {"env": "p*"}}), json!({"env": "prod"}), false),
            (json!({"bound_claims": {"n": 7}}), json!({"n": 7}), true),
            (json!({"bound_claims": {"n": 7}}), json!({"n": "7"}), false),
            (json!({"bound_claims": {"b": true}}), json!({"b": true}), true),
            (json!({"bound_claims": {"/a/b": "x"}}), json!({"a": {"b": "x"}}), true),
            (json!({"bound_claims": {"env": "prod", "team": "a"}}), json!({"env": "prod"}), false),
            (
                json!({"bound_claims": {"env": "p*"}, "bound_claims_type": "glob"}),
                json!({"env": "prod"}),
                true,
            ),
            (
                json!({"bound_claims": {"env": "p*"}, "bound_claims_type": "glob"}),
                json!({"env": "dev"}),
                false,
            ),
            (json!({"bound_claims": {"env": "7*"}, "bound_claims_type": "glob"}), json!({"env": 7}), false),
            (json!({"bound_subject": "svc"}), json!({}), true),
            (json!({"bound_subject": "svc"}), json!({"sub": "svc2"}), false),
            (json!({"bound_audiences": [], "bound_subject": "svc"}), json!({}), false),
            (json!({"bound_audiences": [], "bound_subject": "svc"}), json!({"aud": null}), true),
        ] {
            b.delete("role/app").await.unwrap();
            b.write("role/app", role(more.clone())).await.unwrap();
            let got = login(&b, &jwt(ed(), &claims(claim.clone()))).await;
            assert_eq!(got.is_ok(), ok, "{more} {claim}");
        }
    });
}

#[test]
fn leeways() {
    run(async {
        let b = bench(&[ed()]).await;
        for (more, expired_for, early_by) in [
            (json!({}), 60, 60),
            (json!({"clock_skew_leeway": 10}), 10, 10),
            (json!({"clock_skew_leeway": -1}), 0, 0),
            (json!({"clock_skew_leeway": 10, "expiration_leeway": 20, "not_before_leeway": "30s"}), 20, 30),
            (json!({"expiration_leeway": -1, "not_before_leeway": -1}), 0, 0),
        ] {
            b.delete("role/app").await.unwrap();
            b.write("role/app", role(more.clone())).await.unwrap();
            let ok = async |c: Value| login(&b, &jwt(ed(), &claims(c))).await.is_ok();
            assert!(ok(json!({"exp": START - expired_for + 1})).await, "{more}");
            assert!(!ok(json!({"exp": START - expired_for})).await, "{more}");
            assert!(ok(json!({"nbf": START + early_by, "iat": START + early_by})).await, "{more}");
            assert!(!ok(json!({"nbf": START + early_by + 1})).await, "{more}");
            assert!(!ok(json!({"iat": START + early_by + 1})).await, "{more}");
        }
        // The clock itself.
        b.write(
            "role/app",
            role(json!({"clock_skew_leeway": -1, "expiration_leeway": 0, "not_before_leeway": 0})),
        )
        .await
        .unwrap();
        let t = jwt(ed(), &claims(json!({})));
        login(&b, &t).await.unwrap();
        b.clock.advance(Duration::from_secs(300));
        assert!(login(&b, &t).await.is_err());
        b.clock.set(START - 11);
        assert!(login(&b, &t).await.is_err());
    });
}

#[test]
fn login_answers_without_a_word_about_the_role() {
    run(async {
        let b = Bench::mount("jwt", &[]);
        let say = async |body: Value| b.write("login", body).await.unwrap_err().message().to_string();
        assert_eq!(say(json!({"jwt": "a.b.c", "role": "x"})).await, "the auth method is not configured");
        let b = bench(&[ed()]).await;
        let t = jwt(ed(), &claims(json!({})));
        let say = async |body: Value| b.write("login", body).await.unwrap_err();
        assert_eq!(say(json!({"role": "app"})).await.message(), "missing token");
        assert_eq!(say(json!({ "jwt": t })).await.message(), "missing role");
        let unknown = say(json!({"jwt": t, "role": "none"})).await;
        let refused = say(json!({"jwt": "a.b.c", "role": "app"})).await;
        assert_eq!(unknown.message(), refused.message());
        assert_eq!(unknown.kind(), ErrorKind::InvalidRequest);
        assert!(b.write("login", json!({"jwt": t, "role": "../config"})).await.is_err());

        b.write(
            "config",
            json!({"jwt_validation_pubkeys": [ed().pem()], "bound_issuer": ISSUER, "default_role": "App"}),
        )
        .await
        .unwrap();
        let r = b.write("login", json!({"jwt": t, "spare": 1})).await.unwrap();
        assert_eq!(r.auth.as_ref().unwrap().alias, "svc");
        assert_eq!(data(&r), Value::Null);
        assert_eq!(r.warnings, ["Endpoint ignored these unrecognized parameters: [spare]"]);
        // Neither token nor claims print.
        assert!(!format!("{r:?}").contains("svc"));
    });
}
