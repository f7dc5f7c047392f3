//! Every typed call: its method, path and body, and the shape of its answer.

use super::server::{Server, json};
use crate::{ExposeSecret, Kind};
use serde_json::{Value, json as v};
use std::collections::BTreeMap;
use vault_api::auth::token::Create;
use vault_api::secrets::kv2::{Config, WriteMetadata};
use vault_api::sys::{EnableAudit, EnableMount, RekeyInit, TuneMount};

/// Answers every typed call as Vault would, by method and path.
fn answer(method: &str, target: &str) -> (u16, Value) {
    let enveloped = |data: Value| (200, v!({ "request_id": "r", "data": data }));
    let auth = v!({ "client_token": "hvs.child", "accessor": "acc", "policies": ["p"], "lease_duration": 60, "renewable": true, "token_type": "service", "orphan": false, "num_uses": 0 });
    let version = v!({ "version": 2, "created_time": "t", "deletion_time": "", "destroyed": false, "custom_metadata": null });
    match (method, target) {
        ("GET", "/v1/sys/init") => (200, v!({ "initialized": true })),
        ("PUT", "/v1/sys/init") => {
            (200, v!({ "keys": ["aa"], "keys_base64": ["qg=="], "root_token": "hvs.root" }))
        }
        ("GET", "/v1/sys/seal-status") | ("PUT", "/v1/sys/unseal") => (
            200,
            v!({ "type": "shamir", "initialized": true, "sealed": true, "t": 3, "n": 5, "progress": 1 }),
        ),
        ("GET", "/v1/sys/health") => (503, v!({ "initialized": true, "sealed": true, "version": "1" })),
        ("GET", "/v1/sys/leader") => (200, v!({ "ha_enabled": false, "is_self": true })),
        ("GET", "/v1/sys/key-status") => enveloped(v!({ "term": 2, "install_time": "t", "encryptions": 9 })),
        ("GET", "/v1/sys/mounts" | "/v1/sys/auth") => {
            enveloped(v!({ "secret/": { "type": "kv", "options": { "version": "2" }, "config": {} } }))
        }
        ("GET", "/v1/sys/policies/acl?list=true") => enveloped(v!({ "keys": ["default", "root"] })),
        ("GET", "/v1/sys/policies/acl/dev") => enveloped(v!({ "name": "dev", "policy": "path \"a\" {}" })),
        ("GET", "/v1/sys/policies/acl/none") => (404, v!({ "errors": [] })),
        ("GET", "/v1/sys/audit") => {
            enveloped(v!({ "file/": { "type": "file", "path": "file/", "options": { "file_path": "/x" } } }))
        }
        ("PUT", "/v1/sys/capabilities-self" | "/v1/sys/capabilities") => {
            enveloped(v!({ "capabilities": ["read"], "a": ["read"], "b": ["deny"] }))
        }
        ("GET" | "PUT", "/v1/sys/rekey/init") => {
            (200, v!({ "nonce": "n", "started": true, "t": 2, "n": 3, "progress": 0, "required": 3 }))
        }
        ("PUT", "/v1/sys/rekey/update") => (
            200,
            v!({ "nonce": "n", "complete": true, "keys": ["bb"], "keys_base64": ["uw=="], "verification_required": true, "verification_nonce": "m" }),
        ),
        ("PUT", "/v1/sys/rekey/verify") => (200, v!({ "nonce": "m", "complete": true })),
        ("PUT", t)
            if t.starts_with("/v1/auth/token/create")
                || t.starts_with("/v1/auth/token/renew")
                || t.ends_with("/login") =>
        {
            (200, v!({ "data": null, "auth": auth }))
        }
        (_, t) if t.starts_with("/v1/auth/token/lookup") => enveloped(
            v!({ "accessor": "acc", "id": "hvs.child", "ttl": 60, "policies": ["p"], "expire_time": "x", "renewable": true }),
        ),
        ("GET", "/v1/auth/token/accessors?list=true") => enveloped(v!({ "keys": ["acc"] })),
        ("GET", "/v1/kv/app") => enveloped(v!({ "k": "v" })),
        ("GET", "/v1/kv/?list=true" | "/v1/secret/metadata/dir/?list=true") => {
            enveloped(v!({ "keys": ["a", "b/"] }))
        }
        ("GET", "/v1/secret/data/app" | "/v1/secret/data/app?version=2") => {
            enveloped(v!({ "data": { "k": "v" }, "metadata": version }))
        }
        ("GET", "/v1/secret/data/deleted") => (404, v!({ "data": { "data": null, "metadata": version } })),
        ("PUT" | "PATCH", "/v1/secret/data/app") => enveloped(version),
        ("GET", "/v1/secret/metadata/app") => {
            enveloped(v!({ "current_version": 2, "versions": { "1": {}, "2": {} } }))
        }
        ("GET", "/v1/secret/config") => {
            enveloped(v!({ "max_versions": 5, "cas_required": true, "delete_version_after": "0s" }))
        }
        ("GET", t) => panic!("unexpected GET {t}"),
        _ => (204, Value::Null),
    }
}

async fn vault() -> Server {
    Server::start(&["h2"], |s, _| {
        let (status, body) = answer(&s.method, &s.target);
        Some(json(status, &if body.is_null() { String::new() } else { body.to_string() }))
    })
    .await
}

fn last(server: &Server) -> (String, Value) {
    let s = server.requests().pop().unwrap();
    (format!("{} {}", s.method, s.target.trim_start_matches("/v1/")), s.body)
}

#[tokio::test]
async fn seal_and_keys() {
    let server = vault().await;
    let client = server.client();
    let sys = client.sys();
    assert!(sys.init_status().await.unwrap());
    let init = sys.init(5, 3).await.unwrap();
    assert_eq!(last(&server), ("PUT sys/init".into(), v!({ "secret_shares": 5, "secret_threshold": 3 })));
    assert_eq!(init.keys[0].expose_secret(), "aa");
    let status = sys.unseal("aa".into()).await.unwrap();
    assert_eq!((status.t, status.n, status.progress, status.sealed), (3, 5, 1, true));
    assert_eq!(last(&server), ("PUT sys/unseal".into(), v!({ "key": "aa", "reset": false })));
    sys.unseal_reset().await.unwrap();
    assert_eq!(last(&server).1, v!({ "reset": true }));
    assert!(sys.seal_status().await.unwrap().sealed);
    let (code, health) = sys.health().await.unwrap();
    assert_eq!((code, health.sealed), (503, true));
    assert_eq!(server.requests().iter().filter(|s| s.target.ends_with("health")).count(), 1);
    assert!(sys.leader().await.unwrap().is_self);
    assert!(
        server
            .requests()
            .iter()
            .filter(|s| s.target != "/v1/sys/init" || s.method == "PUT")
            .all(|s| s.header("x-vault-token").is_none()),
        "what needs no token sends none"
    );
    sys.seal().await.unwrap();
    assert_eq!(last(&server).0, "PUT sys/seal");
    sys.rotate().await.unwrap();
    assert_eq!(last(&server).0, "PUT sys/rotate");
    assert_eq!(sys.key_status().await.unwrap().term, 2);
}

#[tokio::test]
async fn rekey() {
    let server = vault().await;
    let client = server.client();
    let sys = client.sys();
    let begun = sys
        .rekey_init(&RekeyInit { secret_shares: 3, secret_threshold: 2, require_verification: true })
        .await
        .unwrap();
    assert_eq!(
        last(&server).1,
        v!({ "secret_shares": 3, "secret_threshold": 2, "require_verification": true })
    );
    assert!(sys.rekey_status().await.unwrap().started);
    let done = sys.rekey_update(&begun.nonce, "aa".into()).await.unwrap();
    assert_eq!(last(&server).1, v!({ "key": "aa", "nonce": "n" }));
    assert!(done.complete && done.verification_required && done.keys.len() == 1);
    assert!(sys.rekey_verify(&done.verification_nonce, "bb".into()).await.unwrap().complete);
    sys.rekey_cancel().await.unwrap();
    assert_eq!(last(&server).0, "DELETE sys/rekey/init");
}

#[tokio::test]
async fn mounts_policies_audit() {
    let server = vault().await;
    let client = server.client();
    let sys = client.sys();
    assert_eq!(sys.mounts().await.unwrap()["secret/"].options["version"], "2");
    assert_eq!(sys.auth_mounts().await.unwrap().len(), 1);
    let mount = EnableMount {
        mount_type: "kv".into(),
        options: BTreeMap::from([("version".to_owned(), "2".to_owned())]),
        ..EnableMount::default()
    };
    sys.enable_mount("secret/", &mount).await.unwrap();
    let (call, body) = last(&server);
    assert_eq!(
        (call.as_str(), &body["type"], &body["options"]["version"]),
        ("PUT sys/mounts/secret", &v!("kv"), &v!("2"))
    );
    sys.tune_mount("secret", &TuneMount { max_lease_ttl: Some("1h".into()), ..TuneMount::default() })
        .await
        .unwrap();
    assert_eq!(last(&server), ("PUT sys/mounts/secret/tune".into(), v!({ "max_lease_ttl": "1h" })));
    sys.disable_mount("secret").await.unwrap();
    assert_eq!(last(&server).0, "DELETE sys/mounts/secret");
    sys.enable_auth("jwt", &EnableMount { mount_type: "jwt".into(), ..EnableMount::default() })
        .await
        .unwrap();
    assert_eq!(last(&server).0, "PUT sys/auth/jwt");
    sys.disable_auth("jwt").await.unwrap();
    assert_eq!(sys.policies().await.unwrap(), ["default", "root"]);
    assert_eq!(sys.policy("dev").await.unwrap().as_deref(), Some("path \"a\" {}"));
    assert_eq!(sys.policy("none").await.unwrap(), None);
    sys.write_policy("dev", "x").await.unwrap();
    assert_eq!(last(&server), ("PUT sys/policies/acl/dev".into(), v!({ "policy": "x" })));
    sys.delete_policy("dev").await.unwrap();
    assert_eq!(sys.audit_devices().await.unwrap()["file/"].device_type, "file");
    sys.enable_audit("file", &EnableAudit { device_type: "file".into(), ..EnableAudit::default() })
        .await
        .unwrap();
    assert_eq!(last(&server).0, "PUT sys/audit/file");
    sys.disable_audit("file").await.unwrap();
    let caps = sys.capabilities_self(&["a", "b"]).await.unwrap();
    assert_eq!(
        (caps["a"].as_slice(), caps["b"].as_slice()),
        (&["read".to_owned()][..], &["deny".to_owned()][..])
    );
    sys.capabilities("hvs.other".into(), &["a"]).await.unwrap();
    assert_eq!(last(&server).1, v!({ "paths": ["a"], "token": "hvs.other" }));
}

#[tokio::test]
async fn tokens() {
    let server = vault().await;
    let client = server.client();
    let tokens = client.tokens();
    let auth = tokens
        .create(&Create {
            policies: vec!["p".into()],
            ttl: Some("1h".into()),
            num_uses: 3,
            ..Create::default()
        })
        .await
        .unwrap();
    assert_eq!(auth.client_token.expose_secret(), "hvs.child");
    assert_eq!(
        last(&server).1,
        v!({ "policies": ["p"], "ttl": "1h", "num_uses": 3, "no_parent": false, "no_default_policy": false })
    );
    tokens.create_orphan(&Create::default()).await.unwrap();
    assert_eq!(last(&server).0, "PUT auth/token/create-orphan");
    assert_eq!(tokens.lookup_self().await.unwrap().ttl, 60);
    tokens.lookup("hvs.child".into()).await.unwrap();
    assert_eq!(last(&server), ("PUT auth/token/lookup".into(), v!({ "token": "hvs.child" })));
    tokens.lookup_accessor("acc").await.unwrap();
    assert_eq!(last(&server).1, v!({ "accessor": "acc" }));
    tokens.renew_self(Some("2h")).await.unwrap();
    assert_eq!(last(&server), ("PUT auth/token/renew-self".into(), v!({ "increment": "2h" })));
    tokens.renew("hvs.child".into(), None).await.unwrap();
    tokens.renew_accessor("acc", None).await.unwrap();
    assert_eq!(last(&server), ("PUT auth/token/renew-accessor".into(), v!({ "accessor": "acc" })));
    tokens.revoke("hvs.child".into()).await.unwrap();
    tokens.revoke_orphan("hvs.child".into()).await.unwrap();
    tokens.revoke_accessor("acc").await.unwrap();
    tokens.revoke_self().await.unwrap();
    assert_eq!(last(&server).0, "PUT auth/token/revoke-self");
    assert_eq!(tokens.accessors().await.unwrap(), ["acc"]);
    client.login_jwt("/jwt/", "app", "a.b.c".into()).await.unwrap();
    assert_eq!(last(&server), ("PUT auth/jwt/login".into(), v!({ "role": "app", "jwt": "a.b.c" })));
    tokens.lookup_self().await.unwrap();
    assert_eq!(
        server.requests().pop().unwrap().header("x-vault-token"),
        Some("hvs.child"),
        "the new token is in use"
    );
}

#[tokio::test]
async fn kv_with_and_without_versions() {
    let server = vault().await;
    let client = server.client();
    let kv1 = client.kv1("kv/");
    assert_eq!(kv1.get("app").await.unwrap().unwrap().text("k"), Some("v"));
    kv1.put("app", &v!({ "k": "w" })).await.unwrap();
    assert_eq!(last(&server), ("PUT kv/app".into(), v!({ "k": "w" })));
    kv1.delete("app").await.unwrap();
    assert_eq!(kv1.list("").await.unwrap(), ["a", "b/"]);

    let kv = client.kv2("secret");
    let got = kv.get("app").await.unwrap().unwrap();
    assert_eq!((got.data.unwrap().text("k"), got.metadata.version), (Some("v"), 2));
    assert!(kv.get_version("app", 2).await.unwrap().is_some());
    let deleted = kv.get("deleted").await.unwrap().unwrap();
    assert!(deleted.data.is_none() && deleted.metadata.version == 2);
    assert_eq!(kv.put("app", &v!({ "k": "w" }), Some(0)).await.unwrap().version, 2);
    assert_eq!(
        last(&server),
        ("PUT secret/data/app".into(), v!({ "options": { "cas": 0 }, "data": { "k": "w" } }))
    );
    kv.patch("app", &v!({ "k": null }), None).await.unwrap();
    assert_eq!(last(&server), ("PATCH secret/data/app".into(), v!({ "data": { "k": null } })));
    kv.delete("app").await.unwrap();
    assert_eq!(last(&server).0, "DELETE secret/data/app");
    for (kind, call) in [
        ("delete", kv.delete_versions("app", &[1, 2]).await),
        ("undelete", kv.undelete("app", &[1, 2]).await),
        ("destroy", kv.destroy("app", &[1, 2]).await),
    ] {
        call.unwrap();
        assert!(server.requests().iter().any(|s| s.target == format!("/v1/secret/{kind}/app") && s.body == v!({ "versions": [1, 2] })));
    }
    assert_eq!(kv.list("dir/").await.unwrap(), ["a", "b/"]);
    assert_eq!(kv.metadata("app").await.unwrap().unwrap().versions.len(), 2);
    kv.put_metadata("app", &WriteMetadata { max_versions: Some(3), ..WriteMetadata::default() })
        .await
        .unwrap();
    assert_eq!(last(&server), ("PUT secret/metadata/app".into(), v!({ "max_versions": 3 })));
    let patch = WriteMetadata {
        custom_metadata: Some(BTreeMap::from([("owner".to_owned(), None)])),
        ..WriteMetadata::default()
    };
    kv.patch_metadata("app", &patch).await.unwrap();
    assert_eq!(
        last(&server),
        ("PATCH secret/metadata/app".into(), v!({ "custom_metadata": { "owner": null } }))
    );
    kv.delete_metadata("app").await.unwrap();
    assert_eq!(kv.config().await.unwrap().max_versions, 5);
    kv.configure(&Config::default()).await.unwrap();
    assert_eq!(kv.get("../sys").await.unwrap_err().kind(), Kind::Config, "no way out of the mount");
}
