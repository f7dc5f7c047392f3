//! What takes away, counts or grants is answered only once the anchor knows of it.

use crate::support::{Home, Vaultd};
use serde_json::{Value, json};

fn anchored(home: &Home) -> u64 {
    let text = std::fs::read(home.path("data.state").join("anchor")).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["seq"].as_u64().unwrap()
}

/// Each request with the method, the path and the body it is made with.
fn requests(token: &str) -> Vec<(&'static str, String, Value)> {
    let to = |method, path: &str, body| (method, path.to_owned(), body);
    let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\nq9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n-----END PUBLIC KEY-----\n";
    vec![
        to("POST", "sys/policies/acl/p", json!({"policy": "path \"a\" { capabilities = [\"read\"] }"})),
        to("DELETE", "sys/policies/acl/p", Value::Null),
        to("POST", "auth/token/roles/r", json!({"orphan": true})),
        to("DELETE", "auth/token/roles/r", Value::Null),
        to("POST", "auth/token/revoke", json!({ "token": token })),
        to("POST", "sys/mounts/m", json!({"type": "kv"})),
        to("POST", "sys/mounts/m/tune", json!({"default_lease_ttl": "1h"})),
        to("DELETE", "sys/mounts/m", Value::Null),
        to("POST", "sys/auth/jwt", json!({"type": "jwt"})),
        to(
            "POST",
            "auth/jwt/config",
            json!({"jwt_validation_pubkeys": [pem], "bound_issuer": "https://i.test"}),
        ),
        to(
            "POST",
            "auth/jwt/role/r",
            json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["a"]}),
        ),
        to("DELETE", "auth/jwt/role/r", Value::Null),
        to("POST", "sys/mounts/totp", json!({"type": "totp"})),
        to("POST", "totp/keys/k", json!({"generate": true, "issuer": "i", "account_name": "a"})),
        to("POST", "totp/code/k", json!({"code": "000000"})),
        to("DELETE", "totp/keys/k", Value::Null),
        to("POST", "secret/destroy/s", json!({"versions": [1]})),
        to("POST", "secret/delete/s", json!({"versions": [2]})),
        to("DELETE", "secret/data/s", Value::Null),
        to("POST", "secret/metadata/s", json!({"max_versions": 2})),
        to("DELETE", "secret/metadata/s", Value::Null),
        to("POST", "secret/config", json!({"max_versions": 7})),
        to("POST", "sys/rotate", json!({})),
        to("POST", "sys/rotate/root", json!({})),
    ]
}

async fn call(v: &Vaultd, token: &str, (method, path, body): &(&str, String, Value)) -> (u16, String) {
    let answer = v.call(method, path, token, (!body.is_null()).then(|| body.clone())).await;
    (answer.status, answer.text)
}

#[tokio::test]
async fn the_anchor_is_there_before_the_answer() {
    let home = Home::new("redb");
    let v = home.start();
    let (root, _) = v.ready().await;
    for i in 0..4 {
        v.post("secret/data/s", &root, json!({"data": {"n": i}})).await.ok();
    }
    let token = v.post("auth/token/create", &root, json!({})).await.ok();
    let token = token["auth"]["client_token"].as_str().unwrap().to_owned();
    for request in requests(&token) {
        let before = anchored(&home);
        let (status, body) = call(&v, &root, &request).await;
        // A wrong code is an answer too, and counted.
        assert!(status < 300 || request.1 == "totp/code/k", "{request:?}: {status} {body}");
        assert!(anchored(&home) > before, "{} {} was answered before its anchor", request.0, request.1);
    }
    // Each use of a token with a limit.
    let limited = v.post("auth/token/create", &root, json!({"num_uses": 4})).await.ok();
    let limited = limited["auth"]["client_token"].as_str().unwrap().to_owned();
    for _ in 0..4 {
        let before = anchored(&home);
        v.get("auth/token/lookup-self", &limited).await.ok();
        assert!(anchored(&home) > before, "a use was counted without its anchor");
    }
    assert_eq!(v.stop(), Some(0));
}

#[tokio::test]
async fn a_change_without_its_anchor_is_in_force_and_answered_with_500() {
    let home = Home::new("redb");
    let v = home.start();
    let (root, keys) = v.ready().await;
    let token = v.post("auth/token/create", &root, json!({})).await.ok();
    let token = token["auth"]["client_token"].as_str().unwrap().to_owned();
    let block = home.path("data.state").join("anchor.new");
    std::fs::create_dir_all(block.join("x")).unwrap();
    let said = v.post("auth/token/revoke", &root, json!({ "token": token })).await.expect(500);
    assert!(said["errors"][0].as_str().unwrap().contains("in force"), "{said}");
    v.get("auth/token/lookup-self", &token).await.expect(403);
    let said = v.post("sys/mounts/m", &root, json!({"type": "kv"})).await.expect(500);
    assert!(said["errors"][0].as_str().unwrap().contains("in force"), "{said}");
    v.post("m/a", &root, json!({"k": "plain writes need no anchor"})).await.ok();
    // New shares that are in force are shown, whatever became of the anchor.
    let nonce =
        v.post("sys/rekey/init", &root, json!({"secret_shares": 1, "secret_threshold": 1})).await.ok();
    let new = v.post("sys/rekey/update", &root, json!({"nonce": nonce["nonce"], "key": keys[0]})).await.ok();
    let new = new["keys"][0].as_str().unwrap().to_owned();
    std::fs::remove_dir_all(block).unwrap();
    v.call("PUT", "sys/seal", &root, None).await.ok();
    v.unseal(&[new]).await;
    v.get("m/a", &root).await.ok();
    assert_eq!(v.stop(), Some(0));
}
