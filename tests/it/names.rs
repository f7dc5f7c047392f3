//! One object, one name; and what was written comes back as it was.

use crate::support::{Home, Vaultd, send};
use serde_json::{Value, json};

const ADMIN: &str = "path \"secret/*\" { capabilities = [\"read\"] }";

async fn with_jwt(v: &Vaultd, root: &str) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    v.post("sys/auth/jwt", root, json!({"type": "jwt"})).await.ok();
    let config =
        json!({"jwt_validation_pubkeys": [pair.public_key_pem()], "bound_issuer": "https://idp.example"});
    v.post("auth/jwt/config", root, config).await.ok();
    let role = json!({"role_type": "jwt", "bound_audiences": ["a"], "user_claim": "sub"});
    v.post("auth/jwt/role/admin", root, role).await.ok();
}

#[tokio::test]
async fn a_second_spelling_of_a_name_passes_no_policy() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    with_jwt(&v, &root).await;
    v.post("sys/policies/acl/admin", &root, json!({ "policy": ADMIN })).await.ok();
    let all = "capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\", \"sudo\"]";
    let keeper = v
        .token_with(
            &root,
            "keeper",
            &format!(
                "path \"sys/policies/acl/*\" {{ {all} }}\npath \"sys/policies/acl/admin\" {{ capabilities = [\"deny\"] }}\n\
                 path \"sys/policy/*\" {{ {all} }}\npath \"auth/jwt/role/*\" {{ {all} }}\n\
                 path \"auth/jwt/role/admin\" {{ capabilities = [\"deny\"] }}\npath \"sys/mounts/*\" {{ {all} }}\n\
                 path \"sys/mounts/secret\" {{ capabilities = [\"deny\"] }}\npath \"sys/auth/*\" {{ {all} }}\n\
                 path \"auth/token/lookup-self\" {{ capabilities = [\"deny\"] }}\npath \"auth/token/*\" {{ {all} }}"
            ),
        )
        .await;
    let evil = json!({"policy": "path \"*\" { capabilities = [\"sudo\"] }", "bound_audiences": ["evil"]});
    for (path, status) in [
        ("sys/policies/acl/admin", 403),
        ("sys/policies/acl/ADMIN", 400),
        ("sys/policies/acl/Admin", 400),
        ("sys/policies/acl/admin%20", 400),
        ("sys/policies/acl/%20admin", 400),
        // The same policy by Vault's older path.
        ("sys/policy/admin", 403),
        ("sys/policy/Admin", 400),
        ("auth/jwt/role/admin", 403),
        ("auth/jwt/role/Admin", 400),
        ("auth/jwt/role/ADMIN", 400),
    ] {
        for method in ["POST", "PUT", "GET", "DELETE"] {
            let a = v.call(method, path, &keeper, Some(evil.clone())).await;
            assert_eq!(a.status, status, "{method} {path}: {}", a.text);
        }
    }
    // A GET is judged under its path as sent, and `x/` is not `x`.
    for path in
        ["sys/policies/acl/admin/", "sys/mounts/secret/", "auth/jwt/role/admin/", "auth/token/lookup-self/"]
    {
        v.get(path, &keeper).await.expect(404);
    }
    for path in ["secret/data/x/", "secret/metadata/x/", "sys/policies/acl/keeper/", "cubbyhole/x/"] {
        v.get(path, &root).await.expect(404);
    }
    // Nor by a name that only a person takes for another.
    for path in [
        "sys/policies/acl/%C4%B1admin",
        "sys/mounts/%20secret",
        "sys/mounts/secret%20",
        "sys/auth/%E2%80%83x",
    ] {
        v.post(path, &root, json!({"type": "kv", "policy": ADMIN})).await.expect(400);
    }
    assert_eq!(v.get("sys/policies/acl/admin", &root).await.ok()["data"]["policy"], ADMIN);
    assert_eq!(v.get("auth/jwt/role/admin", &root).await.ok()["data"]["bound_audiences"], json!(["a"]));
    // In a body a name is a value: any spelling of it means the same, as in Vault.
    let made = v.post("auth/token/create", &root, json!({"policies": [" Keeper "]})).await.ok();
    assert_eq!(made["auth"]["policies"], json!(["default", "keeper"]));
}

/// `sys/auth/jwt/tune` and `sys/mounts/auth/jwt/tune` are two names of one thing.
#[tokio::test]
async fn a_login_methods_settings_are_judged_by_both_of_their_names() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    with_jwt(&v, &root).await;
    let (one, other) = ("sys/auth/jwt/tune", "sys/mounts/auth/jwt/tune");
    let body = json!({"description": "theirs"});
    for (name, granted, denied, statuses) in [
        // A grant reaches the name that it is for, with `sudo`, which either name needs.
        ("wide", "sys/mounts/*", "", [403, 204]),
        ("narrow", "sys/auth/jwt/tune", "", [204, 403]),
        // A denied name is denied by the other.
        ("kept", "sys/*", "sys/auth/*", [403, 403]),
        ("exact", "sys/*", "sys/mounts/auth/jwt/tune", [403, 403]),
        ("plus", "sys/*", "sys/auth/+/tune", [403, 403]),
        ("elsewhere", "sys/*", "sys/auth/other/*", [204, 204]),
    ] {
        let mut policy =
            format!("path \"{granted}\" {{ capabilities = [\"read\", \"update\", \"sudo\"] }}\n");
        if !denied.is_empty() {
            policy += &format!("path \"{denied}\" {{ capabilities = [\"deny\"] }}\n");
        }
        let weak = v.token_with(&root, &format!("weak-{name}"), &policy.replace(", \"sudo\"", "")).await;
        let token = v.token_with(&root, name, &policy).await;
        for (path, status) in [one, other].into_iter().zip(statuses) {
            let a = v.post(path, &token, body.clone()).await;
            assert_eq!(a.status, status, "{name}: {path}: {}", a.text);
            v.post(path, &weak, body.clone()).await.expect(403);
            let read = v.get(path, &token).await;
            assert_eq!(read.status < 300, status == 204, "{name}: GET {path}: {}", read.text);
            let said = v.post("sys/capabilities", &root, json!({"token": token, "path": path})).await.ok();
            let can = said["capabilities"].as_array().unwrap().contains(&json!("update"));
            assert_eq!(can, status == 204, "{name}: {path}: {said}");
        }
    }
}

#[tokio::test]
async fn a_get_of_a_folder_is_judged_under_the_folder() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    let read = |p: &str| format!("path \"{p}\" {{ capabilities = [\"read\"] }}");
    let name = v.token_with(&root, "name", &read("sys/mounts")).await;
    let folder = v.token_with(&root, "folder", &read("sys/mounts/")).await;
    v.get("sys/mounts", &name).await.ok();
    v.get("sys/mounts/", &name).await.expect(403);
    v.get("sys/mounts", &folder).await.expect(403);
    v.get("sys/mounts/", &folder).await.ok();
    // But a `deny` on the one name of the list is a `deny` on the list.
    let denied = read("sys/*") + "\npath \"sys/mounts\" { capabilities = [\"deny\"] }";
    let denied = v.token_with(&root, "denied", &denied).await;
    v.get("sys/mounts", &denied).await.expect(403);
    v.get("sys/mounts/", &denied).await.expect(403);
}

/// Members named like markers of the library that reads JSON, numbers that it would spell anew.
const HOSTILE: &[&str] = &[
    r#"{"$serde_json::private::Number":"99"}"#,
    r#"{"$serde_json::private::Number":"abc"}"#,
    r#"{"$serde_json::private::Number":99,"other":1}"#,
    r#"{"$serde_json::private::RawValue":"{\"a\":1}"}"#,
    r#"{"$serde_json::private::RawValue":"not json"}"#,
    r#"[{"deep":[{"$serde_json::private::Number":"1"}]}]"#,
    "1E5",
    "1.50",
    "-0",
    "123456789012345678901234567890.000",
];

async fn write_raw(v: &Vaultd, token: &str, method: &str, path: &str, body: String) -> u16 {
    let headers: &[(&str, &str)] = match method {
        "PATCH" => &[("x-vault-token", token), ("content-type", "application/merge-patch+json")],
        _ => &[("x-vault-token", token)],
    };
    send(&v.api, &v.tls, method, &format!("/v1/{path}"), headers, body.into_bytes()).await.status
}

#[tokio::test]
async fn whatever_json_is_accepted_comes_back_as_it_was() {
    let home = Home::audited("redb");
    let v = home.start();
    let (root, keys) = v.ready().await;
    v.post("sys/mounts/kv", &root, json!({"type": "kv"})).await.ok();
    let (mut places, mut n) = (Vec::new(), 0);
    for value in HOSTILE {
        n += 1;
        let object = format!("{{\"a\":{value},\"z\":{{\"b\":{value}}}}}");
        for path in [format!("kv/{n}"), format!("cubbyhole/{n}")] {
            assert_eq!(write_raw(&v, &root, "POST", &path, object.clone()).await, 204, "{path} {value}");
            places.push((path, object.clone()));
        }
        let path = format!("secret/data/{n}");
        let body = format!("{{\"data\":{object}}}");
        assert_eq!(write_raw(&v, &root, "POST", &path, body).await, 200);
        // A merge patch reads what is stored, and writes it again.
        let body = format!("{{\"data\":{{\"y\":{value}}}}}");
        assert_eq!(write_raw(&v, &root, "PATCH", &path, body).await, 200, "{value}");
        places.push((path, format!("{{\"a\":{value},\"y\":{value},\"z\":{{\"b\":{value}}}}}")));
    }
    let names = json!({"$serde_json::private::Number": "99", "$serde_json::private::RawValue": "x"});
    v.post("secret/metadata/1", &root, json!({ "custom_metadata": names })).await.ok();
    v.post("sys/mounts/odd", &root, json!({"type": "kv", "options": names})).await.ok();
    with_jwt(&v, &root).await;
    let claims = r#"{"$serde_json::private::Number":"99","list":["abc"],"n":1E5}"#;
    let role = format!("{{\"role_type\":\"jwt\",\"user_claim\":\"sub\",\"bound_claims\":{claims}}}");
    assert_eq!(write_raw(&v, &root, "POST", "auth/jwt/role/odd", role).await, 204);
    v.kill();
    let v = home.start();
    v.unseal(&keys).await;
    for (path, want) in &places {
        let a = v.get(path, &root).await;
        assert!(a.status == 200 && a.text.contains(want.as_str()), "{path}: {want} came back in {}", a.text);
    }
    let metadata = v.get("secret/metadata/1", &root).await;
    assert!(metadata.text.contains(&names.to_string()), "{}", metadata.text);
    let mounts = v.get("sys/mounts/odd", &root).await;
    assert!(mounts.text.contains(&names.to_string()), "{}", mounts.text);
    assert!(v.get("auth/jwt/role/odd", &root).await.text.contains(claims));
}

/// What a caller without the right is told, but for the request's own id.
async fn told(v: &Vaultd, method: &str, path: &str, token: &str) -> (u16, String) {
    let a = v.call(method, path, token, Some(json!({"data": {"k": 1}, "jwt": "a.b.c"}))).await;
    let mut body = a.json();
    if let Value::Object(o) = &mut body {
        o.remove("request_id");
    }
    (a.status, body.to_string())
}

#[tokio::test]
async fn callers_without_the_right_learn_nothing_of_what_exists() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    with_jwt(&v, &root).await;
    v.post("secret/data/there", &root, json!({"data": {"k": 1}})).await.ok();
    v.post("sys/mounts/kv", &root, json!({"type": "kv"})).await.ok();
    v.post("kv/there", &root, json!({"k": 1})).await.ok();
    let nobody = v.token_with(&root, "nobody", "path \"x\" { capabilities = [\"read\"] }").await;
    for (method, there, absent) in [
        ("POST", "secret/data/there", "secret/data/absent"),
        ("POST", "kv/there", "kv/absent"),
        ("POST", "kv/there", "nowhere/absent"),
        ("POST", "auth/jwt/role/admin", "auth/jwt/role/absent"),
        ("GET", "kv/there", "nowhere/absent"),
        ("POST", "kv/there/", "nowhere/absent/"),
        ("DELETE", "kv/there/", "nowhere/absent/"),
        ("POST", "auth/jwt/role/admin/", "auth/nowhere/role/admin/"),
        ("HELP", "secret/data/there", "nowhere/absent"),
        ("HELP", "kv/", "nowhere/"),
        ("HELP", "auth/jwt/config", "auth/nowhere/config"),
    ] {
        for token in [nobody.as_str(), ""] {
            let (a, b) = (told(&v, method, there, token).await, told(&v, method, absent, token).await);
            assert_eq!(a, b, "{method} {there}");
            assert_eq!(a.0, 403, "{method} {there}");
        }
    }
    // Whoever has a right somewhere in a mount may ask what it is.
    let reader = v.token_with(&root, "reader", "path \"kv/there\" { capabilities = [\"read\"] }").await;
    v.call("HELP", "kv/there", &reader, None).await.ok();
    v.call("HELP", "secret/data/there", &reader, None).await.expect(403);
    // A role that is there, and one that is not.
    let mut answers = Vec::new();
    for role in ["admin", "absent", "Absent!"] {
        for jwt in ["a.b.c", "eyJhbGciOiJFZERTQSJ9.eyJleHAiOjk5OTk5OTk5OTl9.AAAA"] {
            let a = v.post("auth/jwt/login", "", json!({"role": role, "jwt": jwt})).await;
            answers.push((a.status, a.json()["errors"].to_string()));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}
