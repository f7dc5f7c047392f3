//! One broken record takes nothing else with it.

use super::*;
use secmem::Zeroizing;
use storage::Space;

/// Puts another text in the place of the mount's record at `path`, as a newer server would.
async fn rewrite(v: &Vault, path: &str, change: impl Fn(&mut Value)) {
    let core = v.handle.core().unsealed().unwrap();
    let uuid = core.mounts.at(path).unwrap().mount.uuid;
    let at = format!("mount/{uuid}");
    let mut txn = core.store.begin();
    let raw = txn.get(Space::core(), &at).await.unwrap().unwrap();
    let mut record: Value = serde_json::from_slice(&raw).unwrap();
    change(&mut record);
    txn.put(Space::core(), &at, Zeroizing::new(record.to_string().into_bytes())).unwrap();
    txn.commit().await.unwrap();
}

#[tokio::test]
async fn a_mount_that_cannot_be_served_answers_an_error_and_everything_else_works() {
    let home = Home::new();
    let v = home.start("isolated").await;
    for name in ["newer", "damaged", "nowhere", "options"] {
        v.write(&format!("sys/mounts/{name}"), json!({"type": "gate"})).await.ok();
    }
    v.write("sys/mounts/later", json!({"type": "later"})).await.ok();
    v.write("sys/auth/login", json!({"type": "anyone"})).await.ok();
    v.write("isolated/a", json!({"k": "v"})).await.ok();
    v.write("later/a", json!({"k": "kept"})).await.ok();
    let token = v.call(Verb::Write, "auth/login/login", "", json!({})).await.token.unwrap();
    rewrite(&v, "newer/", |r| r["v"] = json!(2)).await;
    rewrite(&v, "damaged/", |r| r["options"] = json!("not a map")).await;
    rewrite(&v, "nowhere/", |r| *r = json!([1, 2])).await;
    rewrite(&v, "options/", |r| r["options"] = json!({"unmakeable": "1"})).await;
    rewrite(&v, "auth/login/", |r| r["type"] = json!("unheard-of")).await;
    v.handle.core().shutdown().await;

    // An older server, which has not the engine `later`.
    let (root, mut v) = (v.root.clone(), home.open(OLDER, Vec::new()).await);
    home.unseal(&v).await;
    v.root = root;
    assert_eq!(v.read("isolated/a").await.ok()["k"], "v");
    v.write("isolated/b", json!({"k": "w"})).await.ok();
    for (path, why) in [
        ("later/a", "type \"later\""),
        ("newer/a", "version 2"),
        ("damaged/a", "unknown form"),
        ("options/a", "options that no engine can be made of"),
    ] {
        let text = v.read(path).await.refused(ErrorKind::Internal);
        assert!(text.contains("cannot be served") && text.contains(why), "{path}: {text}");
        v.write(path, json!({"k": 1})).await.refused(ErrorKind::Internal);
        // Its place is taken all the same.
        let mount = path.trim_end_matches("/a");
        v.write(&format!("sys/mounts/{mount}"), json!({"type": "gate"}))
            .await
            .refused(ErrorKind::InvalidRequest);
    }
    let text = v.call(Verb::Write, "auth/login/login", "", json!({})).await.refused(ErrorKind::Internal);
    assert!(text.contains("unheard-of"), "{text}");
    // Without a right to it, there is nothing to see.
    let nobody = v.token("nobody", "path \"x\" { capabilities = [\"read\"] }").await;
    v.call(Verb::Read, "later/a", &nobody, Value::Null).await.denied();
    v.read("nowhere/a").await.refused(ErrorKind::UnsupportedPath);
    let listed = v.read("sys/mounts").await.ok();
    assert!(listed["later/"]["error"].as_str().unwrap().contains("later"), "{listed}");
    assert!(listed["isolated/"].get("error").is_none());
    // The method is still there, so what it issued lives on.
    v.call(Verb::Read, "auth/token/lookup-self", &token, Value::Null).await.ok();
    v.handle.core().unsealed().unwrap().sweep().await.unwrap();
    v.handle.core().shutdown().await;

    // The newer server again: nothing was lost.
    let (root, mut v) = (v.root.clone(), home.open(ALL, Vec::new()).await);
    home.unseal(&v).await;
    v.root = root;
    assert_eq!(v.read("later/a").await.ok()["k"], "kept");
    v.call(Verb::Delete, "sys/mounts/later", &v.root, Value::Null).await.ok();
    v.handle.core().unsealed().unwrap().sweep().await.unwrap();
    v.read("later/a").await.refused(ErrorKind::UnsupportedPath);
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_denies_its_tokens_and_no_others() {
    let home = Home::new();
    let v = home.start("broken-policy").await;
    let rule = "path \"broken-policy/*\" { capabilities = [\"create\", \"update\", \"read\"] }";
    let (one, two) = (v.token("one", rule).await, v.token("two", rule).await);
    let core = v.handle.core().unsealed().unwrap();
    // Written by an earlier version, which read policies by HCL 2's grammar.
    let earlier = "path \"broken-policy/*\" { capabilities = ([\"create\", \"update\", \"read\"]) }";
    let earlier = json!({"v": 1, "text": earlier}).to_string();
    for text in ["not a record", "{\"v\":9,\"text\":\"\"}", "{\"v\":1,\"text\":\"path {\"}", &earlier] {
        let mut txn = core.store.begin();
        txn.put(Space::core(), "policy/one", Zeroizing::new(text.as_bytes().to_vec())).unwrap();
        txn.commit().await.unwrap();
        v.call(Verb::Write, "broken-policy/a", &one, json!({"k": 1})).await.denied();
        v.call(Verb::Write, "broken-policy/a", &two, json!({"k": 1})).await.ok();
    }
    // Its text is there to be rewritten.
    let text = v.read("sys/policies/acl/one").await.ok()["policy"].as_str().unwrap().to_string();
    assert!(text.contains("([\"create\""), "{text}");
    v.write("sys/policies/acl/one", json!({ "policy": text })).await.refused(ErrorKind::InvalidRequest);
    v.write("sys/policies/acl/one", json!({ "policy": rule })).await.ok();
    v.call(Verb::Write, "broken-policy/a", &one, json!({"k": 1})).await.ok();
}

/// A stored audit device that no code of ours could have written, or that is refused now: requests
/// are refused, the vault unseals, and the operator takes it away over the machine's own socket.
#[tokio::test]
async fn a_broken_audit_device_refuses_requests_and_not_the_unseal() {
    let home = Home::new();
    let mut v = home.start("broken-device").await;
    v.write("broken-device/a", json!({"k": "v"})).await.ok();
    let log = home.dir.path().join("audit/one.log").display().to_string();
    let record = |change: &dyn Fn(&mut Value)| {
        let mut r =
            json!({"v": 1, "name": "one/", "type": "file", "description": "", "options": {"file_path": log}});
        change(&mut r);
        r.to_string()
    };
    for (text, why) in [
        ("not a record".to_string(), "unknown form"),
        (record(&|r| r["v"] = json!(2)), "version 2"),
        (record(&|r| r["type"] = json!("socket")), "unknown audit backend"),
        (record(&|r| r["options"]["file_path"] = json!("a/relative.log")), "absolute path"),
        (record(&|r| r["options"]["prefix"] = json!("#!")), "prefix"),
        (record(&|r| r["options"]["file_path"] = json!("/etc/passwd")), "audit_dirs"),
    ] {
        let core = v.handle.core().unsealed().unwrap();
        let mut txn = core.store.begin();
        for (path, text) in [("audit/device/6f6e65", text.as_str()), ("audit/heads", "no heads")] {
            txn.put(Space::core(), path, Zeroizing::new(text.as_bytes().to_vec())).unwrap();
        }
        txn.commit().await.unwrap();
        v.handle.core().shutdown().await;
        let (root, other) = (v.root.clone(), home.open(ALL, Vec::new()).await);
        v = other;
        home.unseal(&v).await;
        v.root = root;
        v.read("broken-device/a").await.refused(ErrorKind::Unavailable);
        v.write("broken-device/b", json!({"k": "v"})).await.refused(ErrorKind::Unavailable);
        v.call(Verb::Delete, "sys/audit/one", &v.root, Value::Null).await.refused(ErrorKind::Unavailable);
        let listed = v.local(Verb::Read, "sys/audit").await.ok();
        assert_eq!(listed["one/"]["healthy"], false, "{listed}");
        assert!(listed["one/"]["error"].as_str().unwrap().contains(why), "{why}: {listed}");
        v.local(Verb::Delete, "sys/audit/one").await.ok();
        assert_eq!(v.read("broken-device/a").await.ok()["k"], "v");
        v.read("broken-device/b").await.refused(ErrorKind::NotFound);
        v.handle.core().unsealed().unwrap().sweep().await.unwrap();
    }
}
