//! What may be granted by whom.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn policies(auth: &IssuedAuth) -> Vec<&str> {
    auth.policies.iter().map(String::as_str).collect()
}

async fn made(
    b: &Bench,
    token: &SecretString,
    sudo: bool,
    path: &str,
    body: Value,
) -> Result<IssuedAuth, Error> {
    b.request(Operation::Update, token, path, body, sudo).await.map(|(_, auth)| auth.unwrap())
}

#[tokio::test]
async fn children_hold_subsets_unless_the_caller_has_sudo() {
    let b = Bench::new().await;
    let app = b.child(&b.root, json!({"policies": ["app", "read"]})).await;
    let auth = made(&b, &app, false, "create", json!({})).await.unwrap();
    assert_eq!(policies(&auth), ["app", "default", "read"]);
    let auth = made(&b, &app, false, "create", json!({"policies": "app"})).await.unwrap();
    assert_eq!(policies(&auth), ["app", "default"]);
    let auth = made(&b, &app, false, "create", json!({"policies": ["app"], "no_default_policy": true}))
        .await
        .unwrap();
    assert_eq!(policies(&auth), ["app"]);
    for path in ["create", "create-orphan"] {
        let refused = b.call(&app, path, json!({"policies": ["app", "other"]})).await;
        assert_eq!(message(refused), "child policies must be subset of parent");
    }
    let auth = made(&b, &app, true, "create", json!({"policies": ["other"]})).await.unwrap();
    assert_eq!(policies(&auth), ["default", "other"]);
}

#[tokio::test]
async fn sudo_is_not_enough_for_root() {
    let b = Bench::new().await;
    let app = b.child(&b.root, json!({"policies": ["app"]})).await;
    b.call(&b.root, "roles/all", json!({"allowed_policies": ["root"]})).await.unwrap();
    for path in ["create", "create-orphan", "create/all"] {
        for body in
            [json!({"policies": ["root"], "ttl": "1h"}), json!({"policies": ["app", "root"], "period": "1h"})]
        {
            let refused = b.request(Operation::Update, &app, path, body, true).await;
            assert!(matches!(
                message(refused).as_str(),
                "root tokens may not be created without parent token being root"
                    | "token policies must be subset of the role's allowed policies"
            ));
        }
    }
}

#[tokio::test]
async fn default_is_not_gained_by_a_token_without_it() {
    let b = Bench::new().await;
    let bare = b.child(&b.root, json!({"policies": ["app"], "no_default_policy": true})).await;
    let auth = made(&b, &bare, false, "create", json!({"policies": ["app"]})).await.unwrap();
    assert_eq!(policies(&auth), ["app"]);
    let auth = made(&b, &bare, false, "create", json!({})).await.unwrap();
    assert_eq!(policies(&auth), ["app"]);
}

#[tokio::test]
async fn orphans_and_periods_need_sudo() {
    let b = Bench::new().await;
    let app = b.child(&b.root, json!({"policies": ["app"]})).await;
    assert_eq!(
        message(b.call(&app, "create", json!({"no_parent": true})).await),
        "root or sudo privileges required to create orphan token"
    );
    assert_eq!(
        message(b.call(&app, "create", json!({"period": "1h"})).await),
        "root or sudo privileges required to create periodic token"
    );
    assert!(made(&b, &app, true, "create", json!({"no_parent": true})).await.unwrap().orphan);
    assert!(made(&b, &app, false, "create-orphan", json!({})).await.unwrap().orphan);
    assert!(!made(&b, &app, false, "create", json!({})).await.unwrap().orphan);
}

#[tokio::test]
async fn an_expiring_root_token_makes_no_token_without_end() {
    let b = Bench::new().await;
    let auth = made(&b, &b.root, false, "create", json!({"policies": ["root"], "ttl": "1h"})).await.unwrap();
    assert_eq!((policies(&auth), auth.lease_duration), (vec!["root"], HOUR));
    for path in ["create", "create-orphan"] {
        assert_eq!(
            message(b.call(&auth.client_token, path, json!({})).await),
            "expiring root tokens cannot create non-expiring root tokens"
        );
    }
    // Root for good only from root for good.
    let auth = made(&b, &b.root, false, "create", json!({})).await.unwrap();
    assert_eq!((policies(&auth), auth.lease_duration, auth.renewable), (vec!["root"], Duration::ZERO, false));
    let seen = b.describe(&auth.client_token).await.unwrap();
    assert_eq!((&seen["expire_time"], &seen["ttl"]), (&json!(null), &json!(0)));
}

#[tokio::test]
async fn an_auth_method_cannot_make_root_or_internal_policies() {
    let b = Bench::new().await;
    for (name, text) in [
        ("root", Some("auth methods cannot create root tokens")),
        ("response-wrapping", Some("cannot assign policy \"response-wrapping\"")),
        (" ROOT ", None),
    ] {
        let before = b.records().await;
        let new =
            NewToken { policies: vec![name.into()], ..NewToken::blank(Issuer::Login, "auth/jwt/login") };
        let refusal = b.make(new).await.err().unwrap();
        assert_eq!(text.unwrap_or(refusal.message()), refusal.message());
        assert_eq!(b.records().await, before);
    }
}

#[tokio::test]
async fn roles_decide_on_policies_instead_of_the_caller() {
    let b = Bench::new().await;
    let app = b.child(&b.root, json!({"policies": ["app"]})).await;
    let role = json!({
        "allowed_policies": ["Deploy", "read"], "allowed_policies_glob": ["team-*"], "disallowed_policies": "read",
        "orphan": true, "token_period": "2h", "renewable": true, "path_suffix": "v1", "token_num_uses": 4,
    });
    b.call(&b.root, "roles/ci", role).await.unwrap();
    let auth = made(&b, &app, false, "create/ci", json!({"policies": ["deploy", "team-x"]})).await.unwrap();
    assert_eq!(policies(&auth), ["default", "deploy", "team-x"]);
    assert_eq!((auth.orphan, auth.lease_duration, auth.num_uses), (true, 2 * HOUR, 4));
    let seen = b.describe(&auth.client_token).await.unwrap();
    assert_eq!((&seen["path"], &seen["role"]), (&json!("auth/token/create/ci/v1"), &json!("ci")));
    for (asked, text) in [
        ("app", "token policies must be subset of the role's allowed policies"),
        ("read", "token policy \"read\" is disallowed by this role"),
        ("root", "token policies must be subset of the role's allowed policies"),
    ] {
        assert_eq!(message(b.call(&app, "create/ci", json!({"policies": [asked]})).await), text);
    }
    assert_eq!(message(b.call(&app, "create/none", json!({})).await), "unknown role");
    // A role that allows root still needs a caller that is root.
    b.call(&b.root, "roles/all", json!({"allowed_policies_glob": ["*"]})).await.unwrap();
    assert_eq!(
        message(b.call(&app, "create/all", json!({"policies": ["root"]})).await),
        "root tokens may not be created without parent token being root"
    );
    // A role without policy lists keeps to the caller's own.
    b.call(&b.root, "roles/plain", json!({})).await.unwrap();
    assert_eq!(
        message(b.call(&app, "create/plain", json!({"policies": ["other"]})).await),
        "child policies must be subset of parent"
    );
}

#[tokio::test]
async fn renewal_follows_the_role() {
    let b = Bench::new().await;
    b.call(&b.root, "roles/r", json!({"token_period": "2h", "allowed_policies": ["a"]})).await.unwrap();
    let token = made(&b, &b.root, false, "create/r", json!({})).await.unwrap().client_token;
    b.call(&b.root, "roles/r", json!({"token_period": "1h"})).await.unwrap();
    let auth = b.call(&token, "renew-self", json!({})).await.unwrap().1.unwrap();
    assert_eq!(auth.lease_duration, HOUR);
    b.operate(Operation::Delete, &b.root, "roles/r", json!({})).await.unwrap();
    assert_eq!(
        message(b.call(&token, "renew-self", json!({})).await),
        "original token role could not be found, not renewing"
    );
}

/// Every sequence of up to three calls by a token without sudo, and by the tokens it gets that
/// way: none of them ever holds a policy that the first one lacked, or a life without end.
#[tokio::test]
async fn no_sequence_of_calls_gains_a_policy() {
    let b = Bench::new().await;
    let first = b.child(&b.root, json!({"policies": ["app", "read"], "ttl": "1h"})).await;
    b.call(&b.root, "roles/plain", json!({"orphan": true})).await.unwrap();
    let bodies = [
        json!({}),
        json!({"policies": ["app"]}),
        json!({"policies": ["other"]}),
        json!({"policies": ["app", "root"]}),
        json!({"no_default_policy": true}),
        json!({"policies": ["read"], "no_parent": true}),
        json!({"period": "1h"}),
        json!({"policies": ["default"], "ttl": "9000h", "num_uses": 0}),
        json!({"type": "service", "policies": ["app", "default", "read", "response-wrapping"]}),
    ];
    let mut generation = vec![first];
    for _ in 0..3 {
        let mut next = Vec::new();
        for token in &generation {
            for path in ["create", "create-orphan", "create/plain"] {
                for body in &bodies {
                    next.extend(made(&b, token, false, path, body.clone()).await.ok());
                }
            }
            b.call(token, "renew-self", json!({"increment": "9000h"})).await.unwrap();
        }
        for auth in &next {
            let entry = b.entry(&auth.client_token).await.unwrap();
            assert!(entry.policies.iter().all(|p| ["app", "default", "read"].contains(&p.as_str())));
            assert!(!entry.root && entry.expires.is_some() && entry.period.is_zero());
        }
        assert!(!next.is_empty());
        generation = next.into_iter().step_by(5).map(|a| a.client_token).collect();
    }
}

/// Spellings of a policy name that a careless comparison would let through.
fn spellings() -> impl Strategy<Value = String> {
    let base =
        prop_oneof![Just("root"), Just("response-wrapping"), Just("Root"), Just("rооt"), Just("root\u{130}")];
    let space = prop_oneof![
        Just(""),
        Just(" "),
        Just("\t"),
        Just("\u{a0}"),
        Just("\n"),
        Just("\u{200b}"),
        Just("\0")
    ];
    (base, space.clone(), space, any::<u32>()).prop_map(|(name, before, after, caps)| {
        let cased: String =
            name.chars()
                .enumerate()
                .flat_map(|(i, c)| {
                    if caps >> (i % 32) & 1 == 1 { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
                })
                .collect();
        format!("{before}{cased}{after}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Nothing that comes out as root, however it is spelled and by whatever way it is asked
    /// for, is ever attached to a token that a non-root token or a login made.
    #[test]
    fn no_spelling_of_root_is_attached(names in prop::collection::vec(spellings(), 1..4), as_text in any::<bool>()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let b = Bench::new().await;
            let app = b.child(&b.root, json!({"policies": ["app"]})).await;
            let asked = if as_text { json!(names.join(",")) } else { json!(names) };
            b.call(&b.root, "roles/all", json!({"allowed_policies_glob": ["*"], "allowed_policies": asked})).await.ok();
            b.call(&b.root, "roles/some", json!({"disallowed_policies": ["x"]})).await.unwrap();
            let mut made_tokens = Vec::new();
            for path in ["create", "create-orphan", "create/all", "create/some"] {
                for sudo in [false, true] {
                    for body in [json!({"policies": asked}), json!({"policies": asked, "ttl": "1h"}), json!({})] {
                        made_tokens.extend(made(&b, &app, sudo, path, body).await.ok());
                    }
                }
            }
            let login = NewToken { policies: names.clone(), ..NewToken::blank(Issuer::Login, "auth/jwt/login") };
            made_tokens.extend(b.make(login).await.ok());
            for auth in made_tokens {
                let entry = b.entry(&auth.client_token).await.unwrap();
                assert!(!entry.root && !entry.caller.root);
                for p in entry.policies.iter().chain(&auth.policies).chain(&entry.caller.policies) {
                    let plain = p.trim().to_lowercase();
                    assert!(plain != "root" && plain != "response-wrapping", "{p:?} was attached");
                    assert_eq!(crate::policy::normalise_name(p).unwrap(), *p);
                }
            }
        });
    }
}
