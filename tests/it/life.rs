//! A vault's life on real processes: init, unseal, write, read, `kill -9`, seal.

use crate::support::{Home, contains, files_below};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const BACKENDS: [&str; 2] = ["sled", "redb"];

#[tokio::test]
async fn a_secret_survives_kill_9_on_every_backend() {
    for backend in BACKENDS {
        let home = Home::audited(backend);
        let v = home.start();
        let status = v.get("sys/seal-status", "").await.ok();
        assert_eq!(
            (status["initialized"].clone(), status["storage_type"].clone()),
            (json!(false), json!(backend))
        );
        let (keys, root) = v.init(5, 3).await;
        assert_eq!(keys.len(), 5);
        // Two shares leave it sealed, the third opens it.
        for (i, k) in keys.iter().take(2).enumerate() {
            let s = v.post("sys/unseal", "", json!({"key": k})).await.ok();
            assert_eq!((s["sealed"].clone(), s["progress"].clone()), (json!(true), json!(i + 1)));
        }
        v.get("secret/data/app", &root).await.expect(503);
        let s = v.post("sys/unseal", "", json!({"key": keys[4]})).await.ok();
        assert_eq!(s["sealed"], false, "{s}");
        v.post("sys/mounts/secret", &root, json!({"type": "kv", "options": {"version": "2"}})).await.ok();
        let w = v
            .post("secret/data/app", &root, json!({"data": {"key": "value", "n": 12345678901234567890u64}}))
            .await
            .ok();
        assert_eq!(w["data"]["version"], 1);
        let pid = v.pid;
        v.kill();
        let v = home.start();
        assert_ne!(v.pid, pid);
        v.get("secret/data/app", &root).await.expect(503);
        v.unseal(&keys[1..4]).await;
        let r = v.get("secret/data/app", &root).await.ok();
        assert_eq!(r["data"]["data"], json!({"key": "value", "n": 12345678901234567890u64}));
        assert_eq!(v.stop(), Some(0));
    }
}

#[tokio::test]
async fn junk_duplicates_and_strangers_cannot_disturb_an_unseal() {
    let home = Home::new("sled");
    let v = home.start();
    let (keys, _) = v.init(3, 2).await;
    let s = v.post("sys/unseal", "", json!({"key": keys[0]})).await.ok();
    let nonce = s["nonce"].clone();
    // Junk of the right shape, junk of the wrong shape, and a share given twice change nothing.
    v.post("sys/unseal", "", json!({"key": "ab".repeat(33)})).await.expect(400);
    v.post("sys/unseal", "", json!({"key": "nonsense"})).await.expect(400);
    v.post("sys/unseal", "", json!({"key": ""})).await.expect(400);
    // Whoever gave nothing takes nothing back; whoever did takes back only that.
    let s = v.post_from("127.0.0.2", "sys/unseal", json!({"reset": true})).await.ok();
    assert_eq!((&s["progress"], &s["nonce"]), (&json!(1), &nonce));
    let s = v.post("sys/unseal", "", json!({"reset": true})).await.ok();
    assert_eq!((&s["progress"], &s["nonce"]), (&json!(0), &json!("")));
    let s = v.post_from("127.0.0.2", "sys/unseal", json!({"key": keys[0]})).await.ok();
    let nonce = s["nonce"].clone();
    let s = v.post("sys/unseal", "", json!({"reset": true})).await.ok();
    assert_eq!((&s["progress"], &s["nonce"]), (&json!(1), &nonce));
    let s = v.post("sys/unseal", "", json!({"key": keys[0]})).await.ok();
    assert_eq!((s["progress"].clone(), s["nonce"].clone()), (json!(1), nonce));
    // A holder of a share may start over.
    let s = v.post("sys/unseal", "", json!({"reset": true, "key": keys[1]})).await.ok();
    assert_eq!(s["progress"], 0);
    v.unseal(&keys[1..3]).await;
    // A second init is refused, now and after a restart.
    v.post("sys/init", "", json!({"secret_shares": 1, "secret_threshold": 1})).await.expect(400);
    v.kill();
    let v = home.start();
    v.post("sys/init", "", json!({"secret_shares": 1, "secret_threshold": 1})).await.expect(400);
}

#[tokio::test]
async fn health_tells_the_state_in_its_status_code() {
    let home = Home::new("memory");
    let v = home.start();
    v.get("sys/health", "").await.expect(501);
    v.get("sys/health?uninitcode=299", "").await.expect(299);
    let (keys, root) = v.init(1, 1).await;
    v.get("sys/health", "").await.expect(503);
    v.unseal(&keys).await;
    let h = v.get("sys/health?standbyok=true", "").await.expect(200);
    for key in [
        "initialized",
        "sealed",
        "standby",
        "performance_standby",
        "server_time_utc",
        "version",
        "cluster_id",
    ] {
        assert!(!h[key].is_null(), "{key} missing in {h}");
    }
    v.call("PUT", "sys/seal", &root, None).await.ok();
    v.get("sys/health", "").await.expect(503);
    v.get("sys/health?sealedcode=204", "").await.expect(204);
}

/// Everything an attacker with the disk could look for, in the forms it could have.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let raw = secret.as_bytes();
    let mut forms = vec![raw.to_vec(), hex::encode(raw).into_bytes()];
    for shift in 0..3usize {
        // The part of the base64 text that does not depend on what stands before and after.
        let mut padded = vec![0u8; shift];
        padded.extend_from_slice(raw);
        let text = base64::engine::general_purpose::STANDARD.encode(&padded);
        forms.push(text.as_bytes()[4..text.len() - 4].to_vec());
    }
    forms
}

#[tokio::test]
async fn nothing_at_rest_shows_a_name_or_a_value() {
    for backend in BACKENDS {
        let home = Home::new(backend);
        let v = home.start();
        let (root, keys) = v.ready().await;
        let names = [
            "canaryFolderName",
            "canarySecretName",
            "canaryMountName",
            "canary-policy-name",
            "canaryRoleMeta",
        ];
        let values = ["canaryValueInline0123", "canaryMetadataValue77"];
        v.post("sys/mounts/canaryMountName", &root, json!({"type": "kv"})).await.ok();
        v.post(
            "secret/data/canaryFolderName/canarySecretName",
            &root,
            json!({"data": {"canaryRoleMeta": values[0]}}),
        )
        .await
        .ok();
        let large = format!("{}{}", values[0], "x".repeat(100_000));
        v.post("secret/data/canaryFolderName/large", &root, json!({"data": {"v": large}})).await.ok();
        v.post(
            "secret/metadata/canaryFolderName/canarySecretName",
            &root,
            json!({"custom_metadata": {"k": values[1]}}),
        )
        .await
        .ok();
        let token = v
            .token_with(
                &root,
                "canary-policy-name",
                "path \"secret/data/canaryFolderName/*\" { capabilities = [\"read\"] }",
            )
            .await;
        for stop_first in [false, true] {
            if stop_first {
                v.signal(nix::sys::signal::Signal::SIGTERM);
                crate::support::eventually("the daemon ends", || async {
                    !std::path::Path::new(&format!("/proc/{}/exe", v.pid)).exists()
                })
                .await;
            }
            let files = files_below(&home.path("data"));
            assert!(
                files.iter().map(|(_, c)| c.len()).sum::<usize>() > 100_000,
                "the store is not where we look"
            );
            let secrets: Vec<&str> = names
                .iter()
                .chain(&values)
                .copied()
                .chain([root.as_str(), token.as_str(), keys[0].as_str()])
                .collect();
            for (path, content) in &files {
                for secret in &secrets {
                    for form in forms(secret) {
                        assert!(!contains(content, &form), "{secret} readable in {}", path.display());
                    }
                    let lower = secret.to_lowercase();
                    assert!(!contains(content, lower.as_bytes()), "{lower} readable in {}", path.display());
                }
            }
        }
    }
}

#[tokio::test]
async fn an_emptied_or_older_store_is_not_taken_for_a_new_one() {
    let home = Home::new("sled");
    let v = home.start();
    let (root, keys) = v.ready().await;
    assert_eq!(v.stop(), Some(0));
    // A copy from now, to be put back later.
    let copy = home.path("copy");
    copy_tree(&home.path("data"), &copy);
    let v = home.start();
    v.unseal(&keys).await;
    v.post("secret/data/later", &root, json!({"data": {"k": "v"}})).await.ok();
    assert_eq!(v.stop(), Some(0));
    // Rolled back: it starts, says so, and does not open without being told to accept it.
    std::fs::remove_dir_all(home.path("data")).unwrap();
    copy_tree(&copy, &home.path("data"));
    let v = home.start();
    let status = v.get("sys/seal-status", "").await.ok();
    assert!(status["warnings"].to_string().contains("accept-rollback"), "{status}");
    v.post("sys/unseal", "", json!({"key": keys[0]})).await.expect(400);
    let s = v.post("sys/unseal", "", json!({"key": keys[0], "accept_rollback": true})).await.ok();
    assert_eq!(s["sealed"], false);
    // Every token of the time before is void.
    v.get("secret/data/later", &root).await.expect(403);
    v.kill();
    // Accepted is accepted: the next start opens without being asked again.
    let v = home.start();
    let status = v.get("sys/seal-status", "").await.ok();
    assert!(!status["warnings"].to_string().contains("accept-rollback"), "{status}");
    v.unseal(&keys).await;
    v.kill();
    // Emptied: refuses to start instead of offering to initialise.
    std::fs::remove_dir_all(home.path("data")).unwrap();
    let text = crate::support::Vaultd::try_start(&home.config(), home.pki.client_config()).err().unwrap();
    assert!(text.contains("anchor"), "{text}");
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    for (path, content) in files_below(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, content).unwrap();
    }
    // As `cp -a` leaves it: the daemon refuses one that others can enter.
    std::fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn rekey_needs_a_token_the_old_quorum_and_proof_of_the_new_shares() {
    let home = Home::new("redb");
    let v = home.start();
    let (old, root) = v.init(5, 3).await;
    v.unseal(&old[..3]).await;
    let params = json!({"secret_shares": 3, "secret_threshold": 2, "require_verification": true});
    v.post("sys/rekey/init", "", params.clone()).await.expect(403);
    let s = v.post("sys/rekey/init", &root, params.clone()).await.ok();
    v.post("sys/rekey/init", &root, params).await.expect(400);
    let nonce = s["nonce"].as_str().unwrap().to_string();
    v.call("DELETE", "sys/rekey/init", "", None).await.expect(403);
    v.post("sys/rekey/update", &root, json!({"key": old[0], "nonce": "wrong"})).await.expect(400);
    v.post("sys/rekey/update", &root, json!({"key": "ab".repeat(33), "nonce": nonce})).await.expect(400);
    let mut answer = Value::Null;
    for key in &old[2..5] {
        answer = v.post("sys/rekey/update", &root, json!({"key": key, "nonce": nonce})).await.ok();
    }
    let new: Vec<String> =
        answer["keys"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().into()).collect();
    assert_eq!(new.len(), 3);
    // Not verified yet: a restart still opens with the old shares, not with the new ones.
    let verify = answer["verification_nonce"].as_str().unwrap().to_string();
    v.post("sys/rekey/verify", &root, json!({"key": old[0], "nonce": verify})).await.expect(400);
    v.post("sys/rekey/verify", &root, json!({"key": new[0], "nonce": verify})).await.ok();
    // The verification begins anew, with the shares that were handed out.
    v.call("DELETE", "sys/rekey/verify", "", None).await.expect(403);
    let again = v.call("DELETE", "sys/rekey/verify", &root, None).await.ok();
    assert_eq!((&again["progress"], &again["t"], &again["n"]), (&json!(0), &json!(2), &json!(3)), "{again}");
    v.post("sys/rekey/verify", &root, json!({"key": new[0], "nonce": verify})).await.expect(400);
    let verify = again["nonce"].as_str().unwrap().to_string();
    v.post("sys/rekey/verify", &root, json!({"key": new[0], "nonce": verify})).await.ok();
    let done = v.post("sys/rekey/verify", &root, json!({"key": new[2], "nonce": verify})).await.ok();
    assert_eq!(done["complete"], true, "{done}");
    v.kill();
    let v = home.start();
    for key in &old {
        v.post("sys/unseal", "", json!({"key": key})).await.expect(400);
    }
    v.unseal(&new[1..3]).await;
    v.get("auth/token/lookup-self", &root).await.ok();
}

#[tokio::test]
async fn rotation_numbers_its_terms_and_old_records_stay_readable() {
    let home = Home::new("sled");
    let v = home.start();
    let (root, keys) = v.ready().await;
    let term = |s: Value| s["data"]["term"].as_u64().unwrap();
    assert_eq!(term(v.get("sys/key-status", &root).await.ok()), 1);
    for n in 1..=3u64 {
        v.post(&format!("secret/data/t{n}"), &root, json!({"data": {"n": n}})).await.ok();
        v.call("PUT", "sys/rotate", &root, None).await.ok();
        assert_eq!(term(v.get("sys/key-status", &root).await.ok()), n + 1);
    }
    v.call("PUT", "sys/rotate/root", &root, None).await.ok();
    v.kill();
    let v = home.start();
    v.unseal(&keys).await;
    for n in 1..=3u64 {
        assert_eq!(v.get(&format!("secret/data/t{n}"), &root).await.ok()["data"]["data"]["n"], n);
    }
    assert_eq!(term(v.get("sys/key-status", &root).await.ok()), 4);
    v.call("PUT", "sys/rotate", "", None).await.expect(403);
}

#[tokio::test]
async fn sealing_answers_503_and_closes_what_was_open() {
    let home = Home::new("sled");
    let v = home.start();
    let (root, keys) = v.ready().await;
    let weak = v.token_with(&root, "weak", "path \"secret/*\" { capabilities = [\"read\"] }").await;
    v.call("PUT", "sys/seal", &weak, None).await.expect(403);
    let idle = tokio::net::TcpStream::connect(v.api.strip_prefix("https://").unwrap()).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let mut idle = tokio_rustls::TlsConnector::from(v.tls.clone()).connect(name, idle).await.unwrap();
    v.call("PUT", "sys/seal", &root, None).await.ok();
    let mut buf = [0u8; 1];
    let closed =
        tokio::time::timeout(crate::support::PATIENCE, tokio::io::AsyncReadExt::read(&mut idle, &mut buf))
            .await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "an idle connection outlived the seal");
    v.get("secret/data/x", &root).await.expect(503);
    assert_eq!(v.get("sys/seal-status", "").await.ok()["sealed"], true);
    v.unseal(&keys).await;
    v.get("auth/token/lookup-self", &root).await.ok();
}

#[tokio::test]
async fn one_use_means_one_success_among_two_hundred_parallel_calls() {
    let home = Home::new("sled");
    let v = std::sync::Arc::new(home.start());
    let (root, _) = v.ready().await;
    let t = v.post("auth/token/create", &root, json!({"policies": ["root"], "num_uses": 1})).await.ok();
    let token = t["auth"]["client_token"].as_str().unwrap().to_string();
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let (v, token) = (v.clone(), token.clone());
            tokio::spawn(async move { v.get("sys/mounts", &token).await.status })
        })
        .collect();
    let mut answers = BTreeSet::new();
    let mut good = 0;
    for call in calls {
        let status = call.await.unwrap();
        good += usize::from(status == 200);
        answers.insert(status);
    }
    assert_eq!(good, 1, "answers: {answers:?}");
    assert!(answers.iter().all(|s| matches!(s, 200 | 403)), "answers: {answers:?}");
}
