//! What foreign clients count on, request by request: the forms in which hvac, Go's and HashiCorp's
//! clients, Terraform and Spring send and read, as Vault and OpenBao have them.

use crate::support::{Answer, Home, PATIENCE, Pki, Vaultd, send};
use serde_json::{Value, json};
use std::time::Instant;

const SYSTEM_TTL: u64 = 768 * 3600;

fn errors(answer: &Answer) -> String {
    answer.json()["errors"]
        .as_array()
        .map_or(String::new(), |e| e.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | "))
}

/// The answer is 400 and says `text`.
fn refused(answer: Answer, text: &str) {
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(errors(&answer).contains(text), "{} lacks {text:?}", answer.text);
}

async fn raw(v: &Vaultd, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    send(&v.api, &v.tls, method, &format!("/v1/{path}"), headers, body.as_bytes().to_vec()).await
}

#[tokio::test]
async fn a_tune_changes_what_it_says_and_nothing_else() {
    let v = Home::new("memory");
    let (v, _home) = (v.start(), v);
    let (root, _) = v.ready().await;
    let config = json!({
        "default_lease_ttl": "1h", "max_lease_ttl": "2h", "listing_visibility": "unauth",
        "passthrough_request_headers": ["X-A", "X-B"], "allowed_response_headers": "X-C,X-D",
        "audit_non_hmac_request_keys": ["k"], "audit_non_hmac_response_keys": ["v"],
    });
    v.post("sys/mounts/k", &root, json!({"type": "kv", "config": config, "description": "first"})).await.ok();
    let tune = async |body: Value| v.post("sys/mounts/k/tune", &root, body).await;
    let read = async || v.get("sys/mounts/k/tune", &root).await.ok()["data"].clone();
    let kept = json!({
        "default_lease_ttl": 3600, "max_lease_ttl": 7200, "force_no_cache": false, "description": "first",
        "listing_visibility": "unauth", "passthrough_request_headers": ["X-A", "X-B"],
        "allowed_response_headers": ["X-C", "X-D"], "audit_non_hmac_request_keys": ["k"],
        "audit_non_hmac_response_keys": ["v"],
    });
    assert_eq!(read().await, kept);

    // As Go's client sends every tune.
    let go = json!({"default_lease_ttl": "", "max_lease_ttl": "", "force_no_cache": false, "options": null});
    tune(go).await.expect(204);
    assert_eq!(read().await, kept, "empty strings leave the TTLs");
    tune(json!({"default_lease_ttl": null, "max_lease_ttl": "  "})).await.expect(204);
    assert_eq!(read().await, kept);

    refused(tune(json!({"max_lease_ttl": "30m"})).await, "would be less than backend default lease TTL");
    refused(tune(json!({"max_lease_ttl": "system", "default_lease_ttl": "1000h"})).await, "would be less");
    refused(tune(json!({"max_lease_ttl": -2})).await, "duration");
    assert_eq!(read().await, kept, "a refused tune changes nothing");

    for (system, max) in [("system", 7200), ("-1", 7200)] {
        tune(json!({"default_lease_ttl": "1h"})).await.expect(204);
        tune(json!({"default_lease_ttl": system})).await.expect(204);
        assert_eq!(read().await["default_lease_ttl"], max, "{system}");
    }
    tune(json!({"max_lease_ttl": -1})).await.expect(204);
    assert_eq!(read().await["max_lease_ttl"], SYSTEM_TTL);
    assert_eq!(v.get("sys/mounts/k", &root).await.ok()["data"]["config"]["max_lease_ttl"], 0);

    for (name, value) in [
        ("allowed_managed_keys", json!(["a"])),
        ("user_lockout_config", json!({"lockout_threshold": "3"})),
        ("plugin_version", json!("v1.0.0")),
        ("identity_token_key", json!("k")),
        ("delegated_auth_accessors", json!(["a"])),
        ("trim_request_trailing_slashes", json!(true)),
        ("token_type", json!("service")),
    ] {
        refused(tune(json!({name: value, "description": "changed"})).await, name);
        assert_eq!(read().await["description"], "first", "{name}");
        if name != "token_type" {
            let body = json!({"type": "kv", "config": {name: value}});
            refused(v.post("sys/mounts/other", &root, body).await, name);
        }
    }
    let said_nothing = json!({"plugin_version": "", "user_lockout_config": null, "allowed_managed_keys": []});
    tune(said_nothing).await.expect(204);
    let unknown = tune(json!({"max_lease_tll": "1h"})).await.expect(200);
    assert!(unknown["warnings"][0].as_str().unwrap().contains("[max_lease_tll]"), "{unknown}");

    tune(json!({"description": "", "passthrough_request_headers": [], "options": {"a": "1", "b": "2"}}))
        .await
        .expect(204);
    tune(json!({"options": {"a": ""}})).await.expect(204);
    let now = read().await;
    assert_eq!((&now["description"], &now["options"]), (&json!(""), &json!({"b": "2"})));
    assert_eq!(now["passthrough_request_headers"], Value::Null);
    refused(tune(json!({"audit_non_hmac_request_keys": vec!["x"; 300]})).await, "more than");
}

#[tokio::test]
async fn the_built_in_mounts_are_read_and_tuned() {
    let home = Home::new("redb");
    let v = home.start();
    let (root, keys) = v.ready().await;
    let token = v.get("sys/auth/token", &root).await.ok();
    assert_eq!((&token["data"]["type"], &token["type"]), (&json!("token"), &json!("token")));
    assert_eq!(token["data"]["config"]["token_type"], "default-service");
    assert_eq!(v.get("sys/mounts/auth/token", &root).await.ok()["data"], token["data"]);
    assert_eq!(v.get("sys/mounts/sys", &root).await.ok()["data"]["type"], "system");

    let body = json!({"default_lease_ttl": "1h", "max_lease_ttl": "2h", "description": "tokens"});
    v.post("sys/auth/token/tune", &root, body).await.expect(204);
    v.post("sys/mounts/sys/tune", &root, json!({"description": "the system"})).await.expect(204);
    v.post("sys/mounts/cubbyhole/tune", &root, json!({"description": "mine"})).await.expect(204);
    for name in ["token_type", "audit_non_hmac_request_keys", "options"] {
        let value = if name == "options" { json!({"a": "b"}) } else { json!("service") };
        refused(v.post("sys/auth/token/tune", &root, json!({name: value})).await, name);
    }
    let made = async |v: &Vaultd, ttl: &str| {
        let made =
            v.post("auth/token/create", &root, json!({"policies": ["default"], "ttl": ttl})).await.ok();
        made["auth"]["lease_duration"].as_u64().unwrap()
    };
    assert_eq!((made(&v, "").await, made(&v, "10h").await), (3600, 7200));
    v.kill();

    let v = home.start();
    v.unseal(&keys).await;
    assert_eq!((made(&v, "").await, made(&v, "10h").await), (3600, 7200), "after a restart too");
    let tuned = v.get("sys/mounts/auth/token/tune", &root).await.ok()["data"].clone();
    assert_eq!((&tuned["max_lease_ttl"], &tuned["description"]), (&json!(7200), &json!("tokens")));
    assert_eq!(v.get("sys/mounts", &root).await.ok()["data"]["sys/"]["description"], "the system");
    v.post("sys/auth/token/tune", &root, json!({"default_lease_ttl": "system", "max_lease_ttl": "system"}))
        .await
        .expect(204);
    assert_eq!((made(&v, "").await, made(&v, "10h").await), (SYSTEM_TTL, 36_000));
}

#[tokio::test]
async fn mounts_go_by_the_names_and_texts_that_clients_match() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    v.post("sys/auth/j", &root, json!({"type": "jwt"})).await.ok();
    let direct = v.get("sys/auth/j", &root).await.ok()["data"].clone();
    assert_eq!(direct["config"]["token_type"], "default-service");
    assert_eq!(v.get("sys/auth", &root).await.ok()["j/"]["config"]["token_type"], "default-service");
    assert_eq!(v.get("sys/mounts/auth/j", &root).await.ok()["data"], direct);
    v.post("sys/mounts/auth/j/tune", &root, json!({"max_lease_ttl": "4h", "token_type": "service"}))
        .await
        .ok();
    let tuned = v.get("sys/mounts/auth/j/tune", &root).await.ok()["data"].clone();
    assert_eq!((&tuned["max_lease_ttl"], &tuned["token_type"]), (&json!(14_400), &json!("service")));
    assert_eq!(v.get("sys/auth/j/tune", &root).await.ok()["data"], tuned);

    refused(v.delete("sys/mounts/auth/j", &root).await, "cannot unmount \"auth/j/\"");
    refused(v.delete("sys/auth/token", &root).await, "cannot unmount \"token/\"");
    refused(v.get("sys/mounts/none", &root).await, "No secret engine mount at none/");
    refused(v.get("sys/auth/none", &root).await, "No auth engine at none/");
    refused(v.post("sys/mounts/none/tune", &root, json!({})).await, "no mount entry found");
    refused(v.post("sys/auth/none/tune", &root, json!({})).await, "no mount entry found");
    refused(v.get("sys/mounts/none/tune", &root).await, "cannot fetch sysview for path \"none/\"");
    for path in ["secret", "secret/below"] {
        let answer = v.post(&format!("sys/mounts/{path}"), &root, json!({"type": "kv"})).await;
        refused(answer, "path is already in use at secret/");
    }
    refused(v.post("sys/auth/j", &root, json!({"type": "jwt"})).await, "path is already in use at auth/j/");
    for kind in ["cubbyhole", "system", "token", "identity"] {
        let answer = v.post("sys/mounts/mine", &root, json!({"type": kind})).await;
        refused(answer, &format!("mount type of \"{kind}\" is not mountable"));
    }
    let body = json!({"type": "totp", "options": {"version": "2"}});
    refused(v.post("sys/mounts/t", &root, body).await, "does not allow setting a version");

    v.post("sys/mounts/my%20team/kv", &root, json!({"type": "kv-v1"})).await.expect(204);
    v.post("my%20team/kv/a", &root, json!({"k": "v"})).await.expect(204);
    assert_eq!(v.get("my%20team/kv/a", &root).await.ok()["data"]["k"], "v");
    assert_eq!(v.get("sys/mounts", &root).await.ok()["data"]["my team/kv/"]["type"], "kv");
    for hidden in ["%20x", "x%20", "a/%20b", "a%09b", "a%C2%A0b"] {
        let answer = v.post(&format!("sys/mounts/{hidden}"), &root, json!({"type": "kv"})).await;
        assert_eq!(answer.status, 400, "{hidden}: {}", answer.text);
    }
}

#[tokio::test]
async fn bodies_statuses_and_headers_are_what_clients_parse() {
    let home = Home::new("memory");
    let v = home.start();
    assert_eq!(
        v.get("sys/health", "").await.status,
        501,
        "501 says \"not initialised\", and nothing else does"
    );
    let (root, _) = v.ready().await;
    let token = [("x-vault-token", root.as_str())];
    for body in ["", "null", " null\n", "{}", "  "] {
        let answer = raw(&v, "POST", "auth/token/create", &token, body).await;
        assert_eq!(answer.status, 200, "{body:?}: {}", answer.text);
        assert!(answer.headers.get("connection").is_none(), "the connection stays open after a token");
    }
    for body in ["nul", "nullx", "null null", "[]", "1", "\"\""] {
        assert_eq!(raw(&v, "POST", "auth/token/create", &token, body).await.status, 400, "{body:?}");
    }
    let done = v.post("secret/config", &root, json!({"max_versions": 3})).await;
    let kind = |a: &Answer| a.headers.get("content-type").map(|v| v.to_str().unwrap().to_string());
    assert_eq!((done.status, kind(&done).as_deref()), (204, Some("application/json")));

    // A namespace comes back as it was sent, whatever the answer.
    for (namespace, path, status) in [
        ("root", "sys/mounts", 200),
        ("/root/", "sys/mounts", 200),
        ("ns1/", "sys/mounts", 404),
        ("ns1", "a//b", 400),
    ] {
        let headers = [token[0], ("x-vault-namespace", namespace)];
        let answer = raw(&v, "GET", path, &headers, "").await;
        let echoed = answer.headers.get("x-vault-namespace").map(|v| v.to_str().unwrap());
        assert_eq!((answer.status, echoed), (status, Some(namespace)), "{namespace} {path}");
    }

    let poor = v.token_with(&root, "poor", "path \"x\" { capabilities = [\"read\"] }").await;
    let plain = v.get("sys/mounts", "hvs.unknown").await;
    assert_eq!((plain.status, errors(&plain).as_str()), (403, "permission denied"));
    let none = v.get("sys/mounts", "").await;
    assert_eq!((none.status, errors(&none).as_str()), (403, "permission denied"));
    let known = v.get("sys/mounts", &poor).await;
    let wrapped = "1 error occurred:\n\t* permission denied\n\n";
    assert_eq!((known.status, errors(&known).as_str()), (403, wrapped));
    let looked = v.post("auth/token/lookup", &root, json!({"token": "hvs.unknown"})).await;
    assert_eq!((looked.status, errors(&looked).as_str()), (403, "bad token"));

    for path in
        ["sys/leases/lookup/x", "sys/namespaces", "sys/plugins/catalog", "sys/quotas/config", "sys/nowhere"]
    {
        let answer = v.get(path, &root).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        assert!(errors(&answer).contains("unsupported path"), "{path}: {}", answer.text);
    }
    for (path, body) in [("sys/wrapping/unwrap", json!({"token": "hvs.x"})), ("auth/token/tidy", json!({}))] {
        assert_eq!(v.post(path, &root, body).await.status, 404, "{path}");
    }
    let headers = [token[0], ("x-vault-wrap-ttl", "60")];
    assert_eq!(raw(&v, "GET", "sys/mounts", &headers, "").await.status, 400);
    v.post("sys/auth/jwt", &root, json!({"type": "jwt"})).await.ok();
    refused(
        v.post("auth/jwt/config", &root, json!({"oidc_discovery_url": "https://a"})).await,
        "oidc_discovery_url",
    );
}

#[tokio::test]
async fn help_is_at_top_level() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    let help = v.get("secret?help=1", &root).await.ok();
    assert!(help["help"].as_str().unwrap().contains("data/:path"), "{help}");
    assert!(help["see_also"].is_array() && help.get("request_id").is_none(), "{help}");
    assert_eq!(help["openapi"]["openapi"], "3.0.2");
    assert!(help["openapi"]["paths"]["/secret/data/{path}"]["description"].is_string(), "{help}");
    let one = v.get("secret/data/a/b?help=1", &root).await.ok();
    assert!(!one["help"].as_str().unwrap().contains("metadata/"), "only the path asked for: {one}");
    for path in ["sys", "auth/token/create", "sys/mounts/x"] {
        let help = v.get(&format!("{path}?help=1"), &root).await.ok();
        assert!(help["help"].as_str().unwrap().contains(path.rsplit('/').nth(1).unwrap_or("seal")), "{help}");
    }
    assert_eq!(v.get("sys/nowhere?help=1", &root).await.status, 404);
}

#[tokio::test]
async fn policies_in_every_form_that_openbao_takes() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    for (n, text) in [
        r#"path "secret/data/a" { policy = "read" }"#,
        r#"path "secret/data/a" { capabilities = ["read"] comment = "x" } path "b" { policy = "deny" }"#,
        "path \"secret/data/a\"\n{\n\tcapabilities = [\"read\"]\n}\n",
        r#""path" "secret/data/a" { "capabilities" = ["read",] },"#,
        "path \"secret/data/a\" {\n capabilities = [\"read\"]\n comment = <<EOT\n${x} } \"\nEOT\n}",
        r#"path "secret/data/a" { capabilities = ["read"] } path "${x}/*/y" { capabilities = ["read"] }"#,
    ]
    .into_iter()
    .enumerate()
    {
        let token = v.token_with(&root, &format!("form{n}"), text).await;
        let asked = v.post("sys/capabilities-self", &token, json!({"paths": ["secret/data/a"]})).await;
        // The token of a policy alone may not ask; its own read says the same.
        assert_eq!(asked.status, 200, "{}", asked.text);
        assert_eq!(v.get("secret/data/a", &token).await.status, 404, "{text}");
        assert_eq!(v.get("secret/data/b", &token).await.status, 403, "{text}");
    }
    for text in [
        r#"path = { "a" = { policy = "read" } }"#,
        r#"path "a" = { policy = "read" }"#,
        r#"path "a" { capabilities = true ? ["read"] : [] }"#,
        r#"path "a" { capabilities: ["read"] }"#,
        r#"path "a" { capabilities = ["read" "list"] }"#,
    ] {
        refused(
            v.post("sys/policies/acl/bad", &root, json!({"policy": text})).await,
            "failed to parse policy",
        );
    }
    // What is not there is as good as deleted, whatever it is called.
    for name in ["absent", "a%22b", "a*b", "%C3%BC"] {
        v.delete(&format!("sys/policies/acl/{name}"), &root).await.expect(204);
        v.delete(&format!("sys/policy/{name}"), &root).await.expect(204);
    }
    for name in ["root", "default", "Root", "ROOT"] {
        v.delete(&format!("sys/policies/acl/{name}"), &root).await.expect(400);
    }
    // A token may name a policy that comes later, and is told so.
    let made = v.post("auth/token/create", &root, json!({"policies": ["later", "form0"]})).await.ok();
    assert_eq!(made["warnings"], json!(["Policy \"later\" does not exist"]));
    let made = v.post("auth/token/create", &root, json!({"policies": ["form0"]})).await.ok();
    assert_eq!(made["warnings"], Value::Null);
}

#[tokio::test]
async fn secrets_with_long_names_and_negative_cas() {
    let home = Home::new("redb");
    let v = home.start();
    let (root, keys) = v.ready().await;
    v.post("sys/mounts/one", &root, json!({"type": "kv"})).await.ok();
    let name = "n".repeat(600);
    v.post(&format!("secret/data/{name}"), &root, json!({"data": {"k": "v"}})).await.expect(200);
    v.post(&format!("one/{name}"), &root, json!({"k": "v"})).await.expect(204);
    v.kill();
    let v = home.start();
    v.unseal(&keys).await;
    assert_eq!(v.get(&format!("secret/data/{name}"), &root).await.ok()["data"]["data"]["k"], "v");
    assert_eq!(v.list("secret/metadata", &root).await.ok()["data"]["keys"], json!([name]));
    assert_eq!(v.list("one", &root).await.ok()["data"]["keys"], json!([name]));
    assert_eq!(v.get(&format!("one/{}", "n".repeat(1025)), &root).await.status, 400);

    for cas in [json!(-1), json!("-1"), json!(7)] {
        let body = json!({"options": {"cas": cas}, "data": {"k": "w"}});
        let text = "check-and-set parameter did not match the current version";
        refused(v.post(&format!("secret/data/{name}"), &root, body).await, text);
    }
    let body = json!({"options": {"cas": 1}, "data": {"k": "w"}});
    v.post(&format!("secret/data/{name}"), &root, body).await.expect(200);
}

#[tokio::test]
async fn a_renewal_that_asks_for_nothing_gets_what_the_last_one_got() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    let made = v.post("auth/token/create", &root, json!({"policies": ["default"], "ttl": "1h"})).await.ok();
    let token = made["auth"]["client_token"].as_str().unwrap();
    let renew = async |body: Value| {
        v.post("auth/token/renew-self", token, body).await.ok()["auth"]["lease_duration"].as_u64().unwrap()
    };
    assert_eq!(renew(json!({})).await, 3600, "its own TTL at first");
    assert_eq!(renew(json!({"increment": "2h"})).await, 7200);
    assert_eq!(renew(json!({})).await, 7200);
    assert_eq!(renew(json!({"increment": "30m"})).await, 1800);
    assert_eq!(renew(json!({"increment": 0})).await, 1800);
    assert_eq!(v.get("auth/token/lookup-self", token).await.ok()["data"]["creation_ttl"], 3600);
}

#[tokio::test]
async fn a_login_page_sees_what_is_meant_for_it() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    let shown = async |token: &str| v.get("sys/internal/ui/mounts", token).await.ok()["data"].clone();
    assert_eq!(shown("").await, json!({"secret": {}, "auth": {}}));
    let visible = json!({"listing_visibility": "unauth"});
    let body = json!({"type": "jwt", "description": "sign in", "config": visible});
    v.post("sys/auth/page", &root, body).await.ok();
    v.post("sys/auth/hidden", &root, json!({"type": "jwt"})).await.ok();
    v.post("sys/mounts/secret/tune", &root, visible).await.ok();
    let anonymous = json!({
        "auth": {"page/": {"type": "jwt", "description": "sign in", "options": null}},
        "secret": {"secret/": {"type": "kv", "description": "", "options": {"version": "2"}}},
    });
    assert_eq!(shown("").await, anonymous);
    assert_eq!(shown("hvs.unknown").await, anonymous);
    assert_eq!(v.get("sys/internal/ui/mounts/secret", "").await.status, 403, "that one needs a token");
    let all = shown(&root).await;
    for (kind, path) in [
        ("secret", "sys/"),
        ("secret", "cubbyhole/"),
        ("secret", "secret/"),
        ("auth", "token/"),
        ("auth", "hidden/"),
    ] {
        assert!(all[kind][path]["accessor"].is_string(), "{path} in {all}");
    }
    let poor = v.token_with(&root, "poor", "path \"x\" { capabilities = [\"read\"] }").await;
    let seen = shown(&poor).await;
    assert!(seen["auth"]["page/"].is_object() && seen["auth"]["hidden/"].is_null(), "{seen}");
}

#[tokio::test]
async fn health_tells_the_state_as_vault_does() {
    let mut home = Home::new("memory");
    home.extra = "reported_version = \"1.15.6\"\n".into();
    let v = home.start();
    let (keys, _) = v.init(1, 1).await;
    let sealed = v.get("sys/health?sealedcode=299", "").await.expect(299);
    assert_eq!((&sealed["standby"], &sealed["sealed"]), (&json!(true), &json!(true)));
    assert_eq!(sealed["replication_dr_mode"], "unknown");
    assert!(sealed.get("cluster_name").is_none() && sealed.get("cluster_id").is_none(), "{sealed}");
    v.unseal(&keys).await;
    let open = v.get("sys/health", "").await.expect(200);
    assert_eq!((&open["standby"], &open["sealed"]), (&json!(false), &json!(false)));
    assert_eq!(open["replication_performance_mode"], "disabled");
    assert!(open["cluster_name"].is_string() && open["performance_standby"] == false, "{open}");
    assert_eq!(open["version"], "1.15.6");
    assert_eq!(v.get("sys/seal-status", "").await.ok()["version"], "1.15.6");
    v.kill();
    for bad in ["new", "1.2", "1.2.x", "1.2.3 ", "1..3"] {
        home.extra = format!("reported_version = \"{bad}\"\n");
        let said = Vaultd::try_start(&home.config(), home.pki.client_config()).err().expect("refused");
        assert!(said.contains("reported_version"), "{bad}: {said}");
    }
}

#[tokio::test]
async fn reads_of_roles_and_settings_have_every_documented_key() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    v.post("auth/token/roles/r", &root, json!({})).await.ok();
    v.post("sys/auth/jwt", &root, json!({"type": "jwt"})).await.ok();
    v.post("auth/jwt/config", &root, json!({"jwks_url": "https://127.0.0.1:1/k", "bound_issuer": "i"}))
        .await
        .ok();
    let role = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["a"]});
    v.post("auth/jwt/role/r", &root, role).await.ok();
    for (path, keys) in [
        (
            "auth/token/roles/r",
            "allowed_entity_aliases allowed_policies allowed_policies_glob disallowed_policies \
             disallowed_policies_glob explicit_max_ttl name orphan path_suffix period renewable \
             token_bound_cidrs token_explicit_max_ttl token_no_default_policy token_num_uses token_period \
             token_strictly_bind_ip token_type",
        ),
        (
            "auth/jwt/config",
            "bound_issuer default_role jwks_ca_pem jwks_pairs jwks_url jwt_supported_algs \
             jwt_validation_pubkeys oidc_client_id oidc_discovery_ca_pem oidc_discovery_url \
             oidc_response_mode oidc_response_types provider_config",
        ),
        (
            "auth/jwt/role/r",
            "allowed_redirect_uris bound_audiences bound_claims bound_claims_type bound_subject \
             claim_mappings clock_skew_leeway expiration_leeway groups_claim max_age not_before_leeway \
             oidc_scopes role_type token_bound_cidrs token_explicit_max_ttl token_max_ttl \
             token_no_default_policy token_num_uses token_period token_policies token_strictly_bind_ip \
             token_ttl token_type user_claim user_claim_json_pointer verbose_oidc_logging",
        ),
        ("secret/config", "cas_required delete_version_after max_versions"),
    ] {
        let data = v.get(path, &root).await.ok()["data"].clone();
        for key in keys.split_whitespace() {
            assert!(data.as_object().unwrap().contains_key(key), "{path} lacks {key}: {data}");
        }
    }
}

/// The listener speaks TLS 1.3 only unless it is told otherwise; the log says what would admit a
/// client that does not.
#[tokio::test]
async fn a_client_without_tls13_is_named_in_the_log() {
    let home = Home::new("memory");
    let old = tls12(&home.pki);
    let v = home.start();
    let connect = async |api: &str| {
        let host = api.strip_prefix("https://").unwrap();
        let tcp = tokio::net::TcpStream::connect(host).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(old.clone()).connect(name, tcp).await.map(drop)
    };
    assert!(connect(&v.api).await.is_err());
    let until = Instant::now() + PATIENCE;
    while !v.log().contains("tls_min_version = \"tls12\"") {
        assert!(Instant::now() < until, "not named: {}", v.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(v.log().contains("127.0.0.1"), "{}", v.log());
    v.kill();
    let path = home.config();
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("  tls_key_file", "  tls_min_version = \"tls12\"\n  tls_key_file");
    std::fs::write(&path, text).unwrap();
    let v = Vaultd::start(&path, home.pki.client_config());
    connect(&v.api).await.expect("the setting admits it");
}

fn tls12(pki: &Pki) -> std::sync::Arc<rustls::ClientConfig> {
    use rustls_pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from_pem_slice(pki.ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    std::sync::Arc::new(config)
}
