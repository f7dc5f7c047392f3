//! Snapshots on real processes: saved while the vault is in use, restored where nothing is left of it.

use crate::support::{Home, Vaultd, binary, eventually};
use base64::Engine as _;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// With a snapshot directory, and the operator's socket.
fn home(backend: &str, schedule: &str) -> Home {
    let mut home = Home::new(backend);
    home.extra = format!(
        "listener \"unix\" {{ address = \"{}\" }}\nsnapshot {{\n  path = \"{}\"\n{schedule}}}\n",
        home.path("operator.sock").display(),
        home.path("snapshots").display(),
    );
    home
}

/// The command line against a running vault: exit code and all it said.
fn cli(home: &Home, v: &Vaultd, token: &str, args: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(binary("vault-cli"))
        .args(args)
        .env_clear()
        .env("HOME", home.dir.path())
        .env("VAULT_ADDR", format!("https://{}", v.api.trim_start_matches("https://")))
        .env("VAULT_CACERT", home.pki.path("ca.pem"))
        .env("VAULT_TOKEN", token)
        .output()
        .unwrap();
    (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

fn offline(args: &[&str], files: &[&Path]) -> (Option<i32>, String) {
    let out = Command::new(binary("vaultd")).args(args).args(files).output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

/// A root token made with the one share.
async fn new_root(v: &Vaultd, home: &Home, share: &str) -> String {
    let socket = home.path("operator.sock");
    let call = |args: Vec<String>| {
        let out = Command::new(binary("vault-cli"))
            .args(args)
            .env_clear()
            .env("HOME", home.dir.path())
            .env("VAULT_ADDR", format!("unix://{}", socket.display()))
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let own = |args: &[&str]| args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
    let started = call(own(&["operator", "generate-root", "-init", "-format=json"]));
    let started: Value = serde_json::from_str(started.split("\nNext").next().unwrap()).unwrap();
    let (nonce, otp) = (started["nonce"].as_str().unwrap(), started["otp"].as_str().unwrap());
    let body = json!({"key": share, "nonce": nonce});
    let done = v.post("sys/generate-root/update", "", body).await.ok();
    let encoded = done["encoded_token"].as_str().unwrap();
    let bytes =
        base64::engine::general_purpose::STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).unwrap();
    let token: Vec<u8> = bytes.iter().zip(otp.as_bytes()).map(|(a, b)| a ^ b).collect();
    String::from_utf8(token).unwrap()
}

/// Wherever one bit of a copy is another, or its end is missing, `inspect` says so.
fn bent_is_told(home: &Home, v: &Vaultd, file: &Path) {
    let whole = std::fs::read(file).unwrap();
    let copy = home.path("bent.snap");
    let told = |bytes: &[u8], what: String| {
        std::fs::write(&copy, bytes).unwrap();
        let (code, said) = cli(home, v, "", &["operator", "snapshot", "inspect", copy.to_str().unwrap()]);
        assert!(code.is_some_and(|c| c != 0), "{what}: {said}");
    };
    let ends = (whole.len() - 42..whole.len()).step_by(7);
    for at in (0..whole.len()).step_by(whole.len() / 40).chain(ends) {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        told(&bent, format!("bit changed at {at} of {}", whole.len()));
    }
    for len in [0, 8, whole.len() / 2, whole.len() - 1] {
        told(&whole[..len], format!("cut to {len}"));
    }
    told(&[whole.as_slice(), b"x"].concat(), "longer".into());
}

#[tokio::test]
async fn a_destroyed_vault_comes_back_on_another_path_without_its_tokens() {
    for (from, to) in [("sled", "redb"), ("redb", "sled")] {
        let old = home(from, "");
        let v = old.start();
        let (root, keys) = v.ready().await;
        for i in 0..40 {
            v.post(&format!("secret/data/{i}"), &root, json!({"data": {"n": i, "text": "é\u{0}x"}}))
                .await
                .ok();
        }
        v.post("sys/mounts/totp", &root, json!({"type": "totp"})).await.ok();
        let key = json!({"generate": true, "issuer": "i", "account_name": "a", "period": 3600});
        v.post("totp/keys/k", &root, key).await.ok();
        let app = v.token_with(&root, "app", "path \"secret/*\" { capabilities = [\"read\"] }").await;
        let file = old.path("mine.snap");
        let (code, said) = cli(&old, &v, &root, &["operator", "snapshot", "save", file.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = cli(&old, &v, &app, &["operator", "snapshot", "save", "/dev/null/x"]);
        assert!(code != Some(0) && !said.contains("records"), "{said}");
        let (code, inspected) =
            cli(&old, &v, "", &["operator", "snapshot", "inspect", file.to_str().unwrap()]);
        assert!(code == Some(0) && inspected.contains("records"), "{inspected}");
        assert!(inspected.contains("verified") && inspected.contains("not_proved"), "{inspected}");
        bent_is_told(&old, &v, &file);
        // After the snapshot: a code is used, a token and a secret are made.
        let used = v.get("totp/code/k", &root).await.ok()["data"]["code"].clone();
        assert_eq!(v.post("totp/code/k", &root, json!({"code": used})).await.ok()["data"]["valid"], true);
        v.post("secret/data/later", &root, json!({"data": {"k": "v"}})).await.ok();
        drop(v);
        std::fs::remove_dir_all(old.path("data")).unwrap();
        std::fs::remove_dir_all(old.path("data.state")).unwrap();

        let new = home(to, "");
        let config = new.config();
        let with = format!("-config={}", config.display());
        let (code, said) = offline(&["storage", "restore", &with, "-dry-run"], &[&file]);
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = offline(&["storage", "restore", &with], &[&file]);
        assert_eq!(code, Some(0), "{said}");
        let v = new.start();
        let status = v.get("sys/seal-status", "").await.ok();
        assert_eq!((&status["restore_pending"], &status["n"]), (&json!(true), &json!(1)), "{status}");
        v.post("sys/unseal", "", json!({"key": keys[0]})).await.expect(400);
        let s = v.post("sys/unseal", "", json!({"key": keys[0], "accept_rollback": true})).await.ok();
        assert_eq!((&s["sealed"], &s["restore_pending"]), (&json!(false), &json!(false)), "{s}");
        for token in [&root, &app] {
            v.get("secret/data/1", token).await.expect(403);
        }
        let root = new_root(&v, &new, &keys[0]).await;
        for i in 0..40 {
            let read = v.get(&format!("secret/data/{i}"), &root).await.ok();
            assert_eq!(read["data"]["data"], json!({"n": i, "text": "é\u{0}x"}));
        }
        v.get("secret/data/later", &root).await.expect(404);
        // The snapshot does not know that the code was used; nobody may use it again all the same.
        let again = v.post("totp/code/k", &root, json!({"code": used})).await.expect(400);
        assert!(again.to_string().contains("already used"), "{again}");
        assert_eq!(v.stop(), Some(0));
        let v = new.start();
        v.unseal(&keys).await;
        v.get("secret/data/1", &root).await.ok();
        assert_eq!(v.stop(), Some(0));
    }
}

#[tokio::test]
async fn a_token_alone_restores_nothing() {
    let home = home("redb", "");
    let v = home.start();
    let (root, keys) = v.ready().await;
    v.post("secret/data/a", &root, json!({"data": {"k": "then"}})).await.ok();
    let weak = v
        .token_with(
            &root,
            "w",
            "path \"sys/storage/*\" { capabilities = [\"create\", \"read\", \"update\", \"list\"] }",
        )
        .await;
    v.post("sys/storage/snapshot", &weak, json!({})).await.expect(403);
    let taken = v.post("sys/storage/snapshot", &root, json!({})).await.ok();
    let name = taken["data"]["name"].as_str().unwrap().to_owned();
    assert_eq!(v.list("sys/storage/snapshot", &root).await.ok()["data"]["keys"], json!([name]));
    v.post("secret/data/a", &root, json!({"data": {"k": "now"}})).await.ok();
    for bad in ["../x.snap", "/etc/passwd", "none.snap", ""] {
        v.post("sys/storage/snapshot/restore", &root, json!({"name": bad})).await.expect(400);
    }
    v.post("sys/storage/snapshot/restore", &weak, json!({"name": name})).await.expect(403);
    v.post("sys/storage/snapshot/restore", &root, json!({"name": name, "dry_run": true})).await.ok();
    v.get("secret/data/a", &root).await.ok();
    v.post("sys/storage/snapshot/restore", &root, json!({"name": name})).await.ok();
    // Sealed, nothing replaced; and from the network nobody without a token can ask for it or give it up.
    v.get("secret/data/a", &root).await.expect(503);
    v.post("sys/storage/snapshot/restore", "", json!({"name": name})).await.expect(403);
    v.delete("sys/storage/snapshot/restore", "").await.expect(403);
    v.post("sys/unseal", "", json!({"key": keys[0]})).await.expect(400);
    let socket = format!("unix://{}", home.path("operator.sock").display());
    let out = Command::new(binary("vault-cli"))
        .args(["operator", "snapshot", "restore", "-cancel", "-"])
        .env_clear()
        .env("HOME", home.dir.path())
        .env("VAULT_ADDR", &socket)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    v.unseal(&keys).await;
    assert_eq!(v.get("secret/data/a", &root).await.ok()["data"]["data"]["k"], "now");
    // And with the shares: it is done, in the running process.
    v.post("sys/storage/snapshot/restore", &root, json!({"name": name})).await.ok();
    let s = v.post("sys/unseal", "", json!({"key": keys[0], "accept_rollback": true})).await.ok();
    assert_eq!(s["sealed"], false, "{s}");
    let root = new_root(&v, &home, &keys[0]).await;
    assert_eq!(v.get("secret/data/a", &root).await.ok()["data"]["data"]["k"], "then");
    assert_eq!(v.stop(), Some(0));
}

#[tokio::test]
async fn the_schedule_takes_keeps_and_tells() {
    let home = home("sled", "  interval = \"1s\"\n  retain = 2\n");
    let v = home.start();
    let (root, _) = v.ready().await;
    let names = || {
        let found = std::fs::read_dir(home.path("snapshots")).unwrap();
        let mut names: Vec<String> = found.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|n| n.ends_with(".snap"));
        names.sort();
        names
    };
    eventually("no snapshot was taken", async || !names().is_empty()).await;
    let first = names()[0].clone();
    eventually("the first one is kept for ever", async || !names().contains(&first)).await;
    assert!(names().len() <= 3, "{:?}", names());
    let health = v.get("sys/health", "").await.ok();
    assert_eq!(health["snapshot"]["last_attempt"], "ok", "{health}");
    assert!(health["snapshot"]["age_seconds"].as_i64().is_some());
    // Where it cannot be written, health says so, and the vault goes on.
    std::fs::remove_dir_all(home.path("snapshots")).unwrap();
    eventually("health does not tell", async || {
        v.get("sys/health", "").await.ok()["snapshot"]["last_attempt"] == "failed"
    })
    .await;
    v.post("secret/data/a", &root, json!({"data": {"k": "v"}})).await.ok();
    assert_eq!(v.stop(), Some(0));
}
