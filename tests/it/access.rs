//! Policies, tokens and mounts, as an app and an operator meet them.

use crate::support::Home;
use serde_json::json;

#[tokio::test]
async fn a_policy_gives_one_path_and_nothing_beside_it() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    for p in ["app/db", "app/dbx", "app/db/sub", "other"] {
        v.post(&format!("secret/data/{p}"), &root, json!({"data": {"p": p}})).await.ok();
    }
    let app = v.token_with(&root, "app", "path \"secret/data/app/db\" { capabilities = [\"read\"] }").await;
    assert_eq!(v.get("secret/data/app/db", &app).await.ok()["data"]["data"]["p"], "app/db");
    for beside in [
        "secret/data/app/dbx",
        "secret/data/app/db/sub",
        "secret/data/other",
        "secret/metadata/app/db",
        "sys/mounts",
        "secret/data/absent",
    ] {
        v.get(beside, &app).await.expect(403);
    }
    v.post("secret/data/app/db", &app, json!({"data": {}})).await.expect(403);
    v.delete("secret/data/app/db", &app).await.expect(403);
    v.list("secret/metadata/app", &app).await.expect(403);
    // What exists and what does not look the same without permission.
    let there = v.get("secret/data/other", &app).await.text;
    let absent = v.get("secret/data/nowhere", &app).await.text;
    assert_eq!(there, absent);
    // No token, an unknown token, a garbage token.
    for token in ["", "hvs.AAAAAAAAAAAAAAAAAAAAAAAA", "garbage"] {
        v.get("secret/data/app/db", token).await.expect(403);
    }
    let caps = v
        .post("sys/capabilities-self", &app, json!({"paths": ["secret/data/app/db", "secret/data/other"]}))
        .await
        .ok();
    assert_eq!(caps["secret/data/app/db"], json!(["read"]));
    assert_eq!(caps["data"]["secret/data/other"], json!(["deny"]));
    assert_eq!(caps["capabilities"], json!(["read"]));
}

#[tokio::test]
async fn create_and_update_are_told_apart() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    let maker = v.token_with(&root, "maker", "path \"secret/data/*\" { capabilities = [\"create\"] }").await;
    let changer =
        v.token_with(&root, "changer", "path \"secret/data/*\" { capabilities = [\"update\"] }").await;
    v.post("secret/data/x", &changer, json!({"data": {"n": 0}})).await.expect(403);
    v.post("secret/data/x", &maker, json!({"data": {"n": 1}})).await.ok();
    v.post("secret/data/x", &maker, json!({"data": {"n": 2}})).await.expect(403);
    v.post("secret/data/x", &changer, json!({"data": {"n": 3}})).await.ok();
}

#[tokio::test]
async fn revoking_a_parent_ends_its_children_and_orphans_live_on() {
    let home = Home::new("sled");
    let v = home.start();
    let (root, keys) = v.ready().await;
    let make = async |by: &str, path: &str| {
        let t = v.post(path, by, json!({"policies": ["root"]})).await.ok();
        (
            t["auth"]["client_token"].as_str().unwrap().to_string(),
            t["auth"]["accessor"].as_str().unwrap().to_string(),
        )
    };
    let (parent, accessor) = make(&root, "auth/token/create").await;
    let (child, _) = make(&parent, "auth/token/create").await;
    let (grandchild, _) = make(&child, "auth/token/create").await;
    let (orphan, _) = make(&parent, "auth/token/create-orphan").await;
    for t in [&parent, &child, &grandchild, &orphan] {
        v.get("auth/token/lookup-self", t).await.ok();
    }
    v.post("auth/token/revoke-accessor", &root, json!({"accessor": accessor})).await.ok();
    for t in [&parent, &child, &grandchild] {
        v.get("auth/token/lookup-self", t).await.expect(403);
    }
    v.get("auth/token/lookup-self", &orphan).await.ok();
    // The same after a restart.
    v.kill();
    let v = home.start();
    v.unseal(&keys).await;
    v.get("auth/token/lookup-self", &grandchild).await.expect(403);
    v.get("auth/token/lookup-self", &orphan).await.ok();
}

#[tokio::test]
async fn mounts_come_go_and_take_their_records_with_them() {
    let home = Home::new("sled");
    let v = home.start();
    let (root, _) = v.ready().await;
    v.post("sys/mounts/team/kv", &root, json!({"type": "kv", "description": "d"})).await.ok();
    v.post("sys/mounts/team/kv", &root, json!({"type": "kv"})).await.expect(400);
    v.post("sys/mounts/team", &root, json!({"type": "kv"})).await.expect(400);
    v.post("sys/mounts/sys", &root, json!({"type": "kv"})).await.expect(400);
    v.post("sys/mounts/x", &root, json!({"type": "nonsense"})).await.expect(400);
    v.post("team/kv/a", &root, json!({"k": "old"})).await.ok();
    let m = v.get("sys/mounts", &root).await.ok();
    assert_eq!(m["team/kv/"]["type"], "kv");
    assert_eq!(m["data"]["team/kv/"]["description"], "d");
    v.post("sys/mounts/team/kv/tune", &root, json!({"default_lease_ttl": "1h"})).await.ok();
    assert_eq!(v.get("sys/mounts/team/kv/tune", &root).await.ok()["data"]["default_lease_ttl"], 3600);
    assert_eq!(v.get("team/kv/a", &root).await.ok()["lease_duration"], 3600);
    v.delete("sys/mounts/team/kv", &root).await.ok();
    v.get("team/kv/a", &root).await.expect(404);
    v.post("sys/mounts/team/kv", &root, json!({"type": "kv"})).await.ok();
    v.get("team/kv/a", &root).await.expect(404);
    let ui = v.get("sys/internal/ui/mounts/secret/data/x", &root).await.ok();
    assert_eq!(ui["data"]["options"]["version"], "2");
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    for (method, path) in [
        ("GET", "sys/monitor"),
        ("POST", "sys/wrapping/wrap"),
        ("PUT", "sys/leases/renew"),
        ("GET", "sys/quotas/config"),
        ("POST", "sys/namespaces/x"),
    ] {
        v.call(method, path, &root, Some(json!({}))).await.expect(404);
    }
    v.get("nowhere/at/all", &root).await.expect(404);
    v.get("sys/nonsense", &root).await.expect(404);
    let wrapped = crate::support::send(
        &v.api,
        &v.tls,
        "GET",
        "/v1/sys/mounts",
        &[("x-vault-token", &root), ("x-vault-wrap-ttl", "60")],
        Vec::new(),
    )
    .await;
    assert_eq!(wrapped.status, 400);
    // A wrong policy is refused, not stored.
    for text in [
        "path \"x\" { capabilities = [\"fly\"] }",
        "path \"x\" {",
        "path \"x\" { allowed_parameters = { a = [] } }",
    ] {
        v.post("sys/policies/acl/bad", &root, json!({"policy": text})).await.expect(400);
    }
    v.get("sys/policies/acl/bad", &root).await.expect(404);
    v.post("sys/policies/acl/root", &root, json!({"policy": "path \"*\" {}"})).await.expect(400);
}

#[tokio::test]
async fn two_tunes_at_once_lose_nothing_and_a_disabled_mount_stays_gone() {
    let home = Home::new("sled");
    let v = std::sync::Arc::new(home.start());
    let (root, _) = v.ready().await;
    v.post("sys/mounts/team", &root, json!({"type": "kv"})).await.ok();
    for round in 0..5 {
        let text = format!("round {round}");
        let (a, b) = tokio::join!(
            v.post("sys/mounts/team/tune", &root, json!({"description": text})),
            v.post("sys/mounts/team/tune", &root, json!({"default_lease_ttl": 60 + round})),
        );
        a.ok();
        b.ok();
        let m = v.get("sys/mounts/team", &root).await.ok();
        assert_eq!(
            (m["data"]["description"].clone(), m["data"]["config"]["default_lease_ttl"].clone()),
            (json!(text), json!(60 + round))
        );
    }
    let (tuned, gone) = tokio::join!(
        v.post("sys/mounts/team/tune", &root, json!({"description": "late"})),
        v.delete("sys/mounts/team", &root),
    );
    gone.ok();
    assert!(matches!(tuned.status, 204 | 400), "{}", tuned.text);
    v.get("sys/mounts/team", &root).await.expect(400);
    v.get("team/x", &root).await.expect(404);
}
