//! Audit devices that cannot be opened when the vault is unsealed: it unseals, refuses what must be
//! on record, tells the operator why, and goes on by itself once the device can be opened.

use crate::support::{Home, Vaultd, binary, eventually};
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;

fn home() -> (Home, PathBuf, PathBuf) {
    let mut home = Home::new("sled");
    home.extra = format!(
        "audit_dirs = [\"{}\"]\nlistener \"unix\" {{ address = \"{}\" }}\n",
        home.dir.path().display(),
        home.path("operator.sock").display()
    );
    let logs = home.path("logs");
    std::fs::create_dir(&logs).unwrap();
    let log = logs.join("one.log");
    (home, logs, log)
}

/// `vault-cli` over the operator's socket, as root: whether it succeeded, and what it printed.
fn asked(home: &Home, root: &str, args: &[&str]) -> (bool, String) {
    let out = Command::new(binary("vault-cli"))
        .args(args)
        .env_clear()
        .env("HOME", home.dir.path())
        .env("VAULT_ADDR", format!("unix://{}", home.path("operator.sock").display()))
        .env("VAULT_TOKEN", root)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    (out.status.success(), text)
}

fn operator(home: &Home, root: &str, args: &[&str]) -> String {
    let (done, text) = asked(home, root, args);
    assert!(done, "{args:?}: {text}");
    text
}

/// Nothing that must be on record is served; what tells how the vault stands is.
async fn refuses(v: &Vaultd, root: &str) {
    for _ in 0..3 {
        let refused = v.get("sys/mounts", root).await;
        assert!(refused.text.contains("audit: the request could not be recorded"), "{}", refused.text);
        refused.expect(503);
    }
    let read = v.get("secret/data/kept", root).await;
    assert!(!read.text.contains("kept"), "{}", read.text);
    read.expect(503);
    v.list("secret/metadata", root).await.expect(503);
    v.post("secret/data/new", root, json!({"data": {"k": "v"}})).await.expect(503);
    v.get("sys/mounts", "").await.expect(503);
    v.get("sys/health", "").await.expect(200);
    assert_eq!(v.get("sys/seal-status", "").await.ok()["sealed"], false);
}

async fn serves_again(v: &Vaultd, root: &str) {
    eventually("the device takes records", || async { v.get("sys/mounts", root).await.status == 200 }).await;
}

#[tokio::test]
async fn a_device_that_cannot_be_opened_refuses_requests_and_not_the_unseal() {
    let (home, logs, log) = home();
    let v = home.start();
    let (root, keys) = v.ready().await;
    let options = json!({"type": "file", "options": {"file_path": log.display().to_string()}});
    v.post("sys/audit/one", &root, options).await.ok();
    v.post("secret/data/kept", &root, json!({"data": {"k": "kept"}})).await.ok();
    assert_eq!(v.stop(), Some(0));

    // Its directory is gone.
    let away = home.path("away");
    std::fs::rename(&logs, &away).unwrap();
    let v = home.start();
    v.post("sys/unseal", "", json!({"key": "00"})).await.expect(400);
    v.unseal(&keys).await;
    refuses(&v, &root).await;
    let told = v.log();
    let line =
        told.lines().find(|l| l.contains("audit device cannot be opened")).expect("a line that says why");
    assert!(line.contains("one/") && line.contains("No such file"), "{line}");
    let listed = operator(&home, &root, &["read", "-format=json", "sys/audit"]);
    assert!(listed.contains("No such file") && listed.contains("\"healthy\": false"), "{listed}");
    // The socket is for the repair; secrets and tokens are as little to be had there as elsewhere.
    for args in [&["kv", "get", "secret/kept"][..], &["token", "create"], &["policy", "list"]] {
        let (done, text) = asked(&home, &root, args);
        assert!(!done && !text.contains("hvs."), "{args:?}: {text}");
    }
    // Back again: no restart, no unseal, and the chain goes on where it stood.
    std::fs::rename(&away, &logs).unwrap();
    serves_again(&v, &root).await;
    assert_eq!(v.get("secret/data/kept", &root).await.ok()["data"]["data"]["k"], "kept");
    v.get("secret/data/new", &root).await.expect(404);
    let device = v.get("sys/audit", &root).await.ok()["one/"].clone();
    assert_eq!((&device["healthy"], &device["flags"]), (&json!(true), &json!([])), "{device}");
    assert_eq!(v.stop(), Some(0));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("{\"type\":\"gap\""), "the log says what it lacks");
    assert!(text.contains("{\"type\":\"sealed_attempt\""), "and what was tried while sealed");
    let out = Command::new(binary("vaultd")).args(["audit", "verify"]).arg(&log).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains("nothing was found wrong with the chain"), "{text}");
}

#[tokio::test]
async fn a_broken_device_can_be_sealed_with_replaced_and_removed() {
    let (home, _, log) = home();
    let v = home.start();
    let (root, keys) = v.ready().await;
    let options = json!({"type": "file", "options": {"file_path": log.display().to_string()}});
    v.post("sys/audit/one", &root, options).await.ok();
    assert_eq!(v.stop(), Some(0));

    // Something else has its name.
    std::fs::rename(&log, home.path("kept.log")).unwrap();
    std::fs::create_dir(&log).unwrap();
    let v = home.start();
    v.unseal(&keys).await;
    refuses(&v, &root).await;
    // It can be sealed from anywhere and unsealed again.
    v.call("PUT", "sys/seal", &root, None).await.ok();
    assert_eq!(v.get("sys/seal-status", "").await.ok()["sealed"], true);
    v.unseal(&keys).await;
    refuses(&v, &root).await;
    // SIGHUP tries it as well, and nothing comes of it.
    v.signal(nix::sys::signal::Signal::SIGHUP);
    eventually("SIGHUP says so", || async { v.log().contains("audit files were not reopened") }).await;
    refuses(&v, &root).await;
    // The operator adds another on the machine itself: one that takes records is enough.
    let other = format!("file_path={}", home.path("two.log").display());
    operator(&home, &root, &["audit", "enable", "-path=two", "file", &other]);
    v.get("sys/mounts", &root).await.ok();
    let listed = v.get("sys/audit", &root).await.ok();
    assert_eq!((&listed["one/"]["healthy"], &listed["two/"]["healthy"]), (&json!(false), &json!(true)));
    assert!(listed["one/"]["error"].as_str().unwrap().contains("directory"), "{listed}");
    // And takes the broken one away.
    operator(&home, &root, &["audit", "disable", "one"]);
    v.kill();
    let v = home.start();
    v.unseal(&keys).await;
    v.get("sys/mounts", &root).await.ok();
    assert!(v.get("sys/audit", &root).await.ok().get("one/").is_none());
}

/// The same name in the config file and through the API: the vault opens, the file's counts, and
/// the API cannot take it away.
#[tokio::test]
async fn a_name_taken_twice_does_not_keep_the_vault_sealed() {
    let (mut home, logs, log) = home();
    let v = home.start();
    let (root, keys) = v.ready().await;
    let options = json!({"type": "file", "options": {"file_path": log.display().to_string()}});
    v.post("sys/audit/one", &root, options).await.ok();
    assert_eq!(v.stop(), Some(0));
    let other = logs.join("other.log");
    home.extra +=
        &format!("audit \"file\" \"one\" {{ options = {{ file_path = \"{}\" }} }}\n", other.display());
    let v = home.start();
    v.unseal(&keys).await;
    v.get("sys/mounts", &root).await.ok();
    assert!(std::fs::read_to_string(&other).unwrap().contains("\"sys/mounts\""));
    v.delete("sys/audit/one", &root).await.expect(400);
    assert!(v.log().contains("the one enabled through the API is not used"));
}
