//! The routes, field by field as Vault's clients expect them.

use super::*;
use crate::exchange::IssuedAuth;
use serde_json::json;
use vault_logical::ErrorKind;

fn keys(d: &Data) -> Vec<&str> {
    d.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn lookup_of_root_and_of_an_expiring_token() {
    let b = Bench::new().await;
    let d = b.call(&b.root, "lookup-self", json!({})).await.unwrap().0.data.unwrap();
    assert_eq!(
        keys(&d),
        [
            "accessor",
            "creation_time",
            "creation_ttl",
            "display_name",
            "entity_id",
            "expire_time",
            "explicit_max_ttl",
            "id",
            "meta",
            "num_uses",
            "orphan",
            "path",
            "policies",
            "ttl",
            "type"
        ]
    );
    assert_eq!(d["id"], json!(b.root.expose_secret()));
    assert_eq!(d["creation_time"], json!(START));
    assert_eq!(d["path"], json!("auth/token/root"));
    assert_eq!((&d["orphan"], &d["expire_time"], &d["meta"]), (&json!(true), &json!(null), &json!(null)));

    let body =
        json!({"ttl": "1h", "policies": ["b", "a", "A"], "meta": {"k": "v"}, "display_name": "my app!"});
    let (_, auth) = b.call(&b.root, "create", body).await.unwrap();
    let auth = auth.unwrap();
    assert_eq!(auth.policies, ["a", "b", "default"]);
    assert_eq!((auth.lease_duration, auth.renewable, auth.token_type), (HOUR, true, "service"));
    b.clock.advance(Duration::from_millis(600_500));
    b.call(&b.root, "renew", json!({"token": auth.client_token.expose_secret(), "increment": 1800}))
        .await
        .unwrap();
    let d = b.describe(&auth.client_token).await.unwrap();
    assert_eq!(d["display_name"], json!("token-my-app"));
    assert_eq!((&d["ttl"], &d["creation_ttl"]), (&json!(1800), &json!(3600)));
    assert_eq!(
        (&d["issue_time"], &d["expire_time"]),
        (&json!("2026-11-20T00:00:00Z"), &json!("2026-11-20T00:40:00.5Z"))
    );
    assert_eq!(d["last_renewal_time"], json!(START + 600));
    assert_eq!(
        (&d["meta"], &d["orphan"], &d["renewable"]),
        (&json!({"k": "v"}), &json!(false), &json!(true))
    );
    assert_eq!(d["path"], json!("auth/token/create"));
}

#[tokio::test]
async fn accessors_stand_for_tokens_without_giving_them() {
    let b = Bench::new().await;
    let auth = b.call(&b.root, "create", json!({"policies": ["a"]})).await.unwrap().1.unwrap();
    let by = json!({"accessor": auth.accessor});
    let d = b.call(&b.root, "lookup-accessor", by.clone()).await.unwrap().0.data.unwrap();
    assert_eq!((&d["id"], &d["accessor"]), (&json!(""), &json!(auth.accessor)));
    let renewed = b.call(&b.root, "renew-accessor", by.clone()).await.unwrap().1.unwrap();
    assert_eq!(renewed.client_token.expose_secret(), "");
    let listed = b.operate(Operation::List, &b.root, "accessors/", json!({})).await.unwrap().0.data.unwrap();
    assert!(listed["keys"].as_array().unwrap().contains(&json!(auth.accessor)));
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    b.call(&b.root, "revoke-accessor", by.clone()).await.unwrap();
    assert!(!b.lives(&auth.client_token).await);
    assert_eq!(message(b.call(&b.root, "lookup-accessor", by.clone()).await), "invalid accessor");
    let (again, _) = b.call(&b.root, "revoke-accessor", by).await.unwrap();
    assert_eq!(again.warnings, ["No token found with this accessor"]);
}

#[tokio::test]
async fn revoking() {
    let b = Bench::new().await;
    let app = b.child(&b.root, json!({"policies": ["a"]})).await;
    assert_eq!(message(b.call(&b.root, "revoke", json!({})).await), "missing token ID");
    b.call(&b.root, "revoke", json!({"token": "hvs.unknown"})).await.unwrap();
    assert_eq!(
        message(b.call(&app, "revoke-orphan", json!({"token": "hvs.x"})).await),
        "root or sudo privileges required to revoke and orphan"
    );
    assert_eq!(
        message(b.call(&b.root, "revoke-orphan", json!({"token": "hvs.x"})).await),
        "token to revoke not found"
    );
    let child = b.child(&app, json!({})).await;
    b.call(&app, "revoke-self", json!({})).await.unwrap();
    assert!(!b.lives(&app).await && !b.lives(&child).await);
}

#[tokio::test]
async fn what_is_not_built_says_so_and_unknown_fields_are_named() {
    let b = Bench::new().await;
    let refused = |body: Value| {
        let b = &b;
        async move { message(b.call(&b.root, "create", body).await) }
    };
    assert_eq!(refused(json!({"type": "batch"})).await, "batch tokens are not supported yet");
    assert_eq!(refused(json!({"entity_alias": "x"})).await, "entity aliases are not supported yet");
    assert!(refused(json!({"id": "mine"})).await.starts_with("token ids cannot be chosen"));
    let (r, _) = b.call(&b.root, "create", json!({"policies": ["a"], "colour": "red"})).await.unwrap();
    assert_eq!(r.warnings, ["Endpoint ignored these unrecognized parameters: [colour]"]);
    let role = b.call(&b.root, "roles/r", json!({"token_bound_cidrs": ["10.0.0.0/8"]})).await;
    assert_eq!(message(role), "\"token_bound_cidrs\" is not supported yet");
    for (operation, path, kind) in [
        (Operation::Update, "tidy", ErrorKind::UnsupportedPath),
        (Operation::Read, "create", ErrorKind::UnsupportedOperation),
        (Operation::Delete, "roles/", ErrorKind::UnsupportedOperation),
        (Operation::Read, "nothing", ErrorKind::UnsupportedPath),
        (Operation::Update, "lookup/hvs.x", ErrorKind::UnsupportedPath),
        (Operation::Patch, "lookup", ErrorKind::UnsupportedOperation),
        (Operation::Invoke, "lookup-self", ErrorKind::UnsupportedOperation),
    ] {
        let got = b.operate(operation, &b.root, path, json!({})).await.err().map(|e| e.kind());
        assert_eq!(got, Some(kind), "{operation:?} {path}");
    }
}

#[tokio::test]
async fn ttls_are_capped_with_a_warning() {
    let b = Bench::new().await;
    let (r, auth) = b.call(&b.root, "create", json!({"policies": ["a"], "ttl": "1000h"})).await.unwrap();
    assert_eq!(auth.unwrap().lease_duration, 768 * HOUR);
    assert_eq!(
        r.warnings,
        [
            "TTL of \"1000h0m0s\" exceeded the effective max_ttl of \"768h0m0s\"; TTL value is capped accordingly"
        ]
    );
    let (_, auth) = b.call(&b.root, "create", json!({"policies": ["a"], "lease": "2h"})).await.unwrap();
    assert_eq!(auth.unwrap().lease_duration, 2 * HOUR);
}

#[tokio::test]
async fn roles_are_kept_and_listed() {
    let b = Bench::new().await;
    for name in ["b", "a.1", "c_2-3"] {
        b.call(&b.root, &format!("roles/{name}"), json!({"orphan": "true", "token_period": "1h"}))
            .await
            .unwrap();
    }
    b.call(&b.root, "roles/b", json!({"allowed_policies": "x,Y"})).await.unwrap();
    let d = b.operate(Operation::Read, &b.root, "roles/b", json!({})).await.unwrap().0.data.unwrap();
    assert_eq!((&d["allowed_policies"], &d["orphan"]), (&json!(["x", "y"]), &json!(true)));
    assert_eq!((&d["token_period"], &d["token_type"]), (&json!(3600), &json!("default-service")));
    let list = |body: Value| {
        let b = &b;
        async move { b.operate(Operation::List, &b.root, "roles/", body).await.unwrap().0.data.unwrap() }
    };
    assert_eq!(list(json!({})).await["keys"], json!(["a.1", "b", "c_2-3"]));
    assert_eq!(list(json!({"after": "a.1", "limit": 1})).await["keys"], json!(["b"]));
    let mut txn = b.store.begin();
    for (path, exists) in
        [("roles/b", Some(true)), ("roles/none", Some(false)), ("create", None), ("roles/", None)]
    {
        assert_eq!(b.tokens.exists(&mut txn, path).await.unwrap(), exists, "{path}");
    }
    b.operate(Operation::Delete, &b.root, "roles/b", json!({})).await.unwrap();
    let gone = b.operate(Operation::Read, &b.root, "roles/b", json!({})).await;
    assert_eq!(gone.err().map(|e| e.kind()), Some(ErrorKind::NotFound));
    for name in ["a b", "..", "a/b", "ü", &"x".repeat(129)] {
        assert!(b.call(&b.root, &format!("roles/{name}"), json!({})).await.is_err(), "{name}");
    }
}

/// A refused request leaves the store as it was: no token, no link, no job.
#[tokio::test]
async fn a_refusal_leaves_nothing() {
    let b = Bench::new().await;
    let app = b.child(&b.root, json!({"policies": ["a"]})).await;
    b.call(&b.root, "roles/r", json!({"allowed_policies": ["a"]})).await.unwrap();
    let before = b.records().await;
    let long: String = "p,".repeat(400).split(',').enumerate().map(|(i, _)| format!("p{i},")).collect();
    let meta: serde_json::Map<_, _> = (0..100).map(|i| (format!("k{i}"), json!("v"))).collect();
    for (path, body) in [
        ("create", json!({"policies": ["root"]})),
        ("create", json!({"policies": ["b"]})),
        ("create", json!({"ttl": "soon"})),
        ("create", json!({"ttl": -1})),
        ("create", json!({"num_uses": -1})),
        ("create", json!({"policies": long})),
        ("create", json!({"meta": meta})),
        ("create", json!({"meta": "x"})),
        ("create", json!({"display_name": "x".repeat(600)})),
        ("create", json!({"type": "batch"})),
        ("create", json!({"no_parent": true})),
        ("create/r", json!({"policies": ["b"]})),
        ("create/none", json!({})),
        ("renew", json!({"token": "hvs.x"})),
        ("renew-accessor", json!({"accessor": "x"})),
        ("renew-self", json!({"increment": "x"})),
        ("revoke-orphan", json!({"token": app.expose_secret()})),
        ("roles/x", json!({"token_period": "x"})),
        ("roles/x", json!({"token_type": "batch"})),
        ("roles/x", json!({"allowed_policies": vec![""; 2000]})),
    ] {
        assert!(b.call(&app, path, body.clone()).await.is_err(), "{path} {body}");
        assert_eq!(b.records().await, before, "{path} {body}");
    }
    assert!(b.lives(&app).await);
}

#[tokio::test]
async fn no_record_holds_a_token() {
    let b = Bench::new().await;
    let (_, auth): (_, Option<IssuedAuth>) =
        b.call(&b.root, "create", json!({"policies": ["a"], "num_uses": 3, "ttl": "1h"})).await.unwrap();
    let auth = auth.unwrap();
    for path in b.records().await {
        let value = b.store.get(Space::core(), &path).await.unwrap().unwrap().value;
        let text = format!("{path} {}", String::from_utf8_lossy(&value));
        for id in [&b.root, &auth.client_token] {
            let bare = &id.expose_secret()[4..];
            assert!(!text.contains(bare), "{path} holds a token");
        }
    }
}
