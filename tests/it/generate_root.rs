//! A root token from a quorum of shares, on the real process: over the operator's socket when no token is left, and
//! never at the word of a stranger on the network.

use crate::support::{Answer, Home, Vaultd, binary};
use base64::Engine as _;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

const ATTEMPT: &str = "sys/generate-root/attempt";
const UPDATE: &str = "sys/generate-root/update";

/// `vault-cli` over the operator's socket, without any token: its exit code and output.
fn operator(home: &Home, args: &[&str], input: &str) -> (Option<i32>, String) {
    let mut child = Command::new(binary("vault-cli"))
        .args(args)
        .env_clear()
        .env("HOME", home.dir.path())
        .env("VAULT_ADDR", format!("unix://{}", home.path("operator.sock").display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn with_socket(backend: &str) -> Home {
    let mut home = Home::audited(backend);
    home.extra +=
        &format!("listener \"unix\" {{ address = \"{}\" }}\n", home.path("operator.sock").display());
    home
}

async fn put(v: &Vaultd, path: &str, token: &str, body: Value) -> Answer {
    v.call("PUT", path, token, Some(body)).await
}

fn decoded(encoded: &Value, otp: &str) -> String {
    let mixed = base64::engine::general_purpose::STANDARD_NO_PAD.decode(encoded.as_str().unwrap()).unwrap();
    assert_eq!(mixed.len(), otp.len());
    String::from_utf8(mixed.iter().zip(otp.bytes()).map(|(a, b)| a ^ b).collect()).unwrap()
}

#[tokio::test]
async fn the_shares_give_a_root_token_when_a_rollback_has_revoked_all() {
    for backend in ["sled", "redb"] {
        let home = with_socket(backend);
        let v = home.start();
        let (keys, root) = v.init(3, 2).await;
        v.unseal(&keys[..2]).await;
        v.post("sys/mounts/secret", &root, json!({"type": "kv"})).await.ok();
        v.post("secret/app", &root, json!({"k": "v"})).await.ok();
        assert_eq!(v.stop(), Some(0));
        // The anchor is lost: the store may be an old one, and opens only when that is accepted.
        std::fs::remove_dir_all(home.path("data.state")).unwrap();
        let v = home.start();
        let accept = |key: &String| json!({"key": key, "accept_rollback": true});
        v.post("sys/unseal", "", accept(&keys[0])).await.ok();
        let opened = v.post("sys/unseal", "", accept(&keys[2])).await.ok();
        assert_eq!(opened["sealed"], false);
        assert!(opened["warnings"].to_string().contains("operator generate-root"), "{opened}");
        v.get("secret/app", &root).await.expect(403);
        let (code, text) = operator(&home, &["operator", "generate-root", "-init", "-format=json"], "");
        assert_eq!(code, Some(0), "{text}");
        let started: Value = serde_json::from_str(text.split("\nNext").next().unwrap()).unwrap();
        let (code, text) = operator(&home, &["operator", "generate-root", "-"], &keys[1]);
        assert_eq!(code, Some(0), "{text}");
        let (code, text) =
            operator(&home, &["operator", "generate-root", "-field=encoded_token", "-"], &keys[0]);
        assert_eq!(code, Some(0), "{text}");
        let encoded = text.lines().next().unwrap();
        let otp = started["otp"].as_str().unwrap();
        let (code, text) = operator(&home, &["operator", "generate-root", "-decode", encoded, "-otp=-"], otp);
        assert_eq!(code, Some(0), "{text}");
        let fresh = text.trim();
        assert_eq!(fresh, decoded(&json!(encoded), otp));
        assert_eq!(v.get("secret/app", fresh).await.ok()["data"], json!({"k": "v"}));
        let me = v.get("auth/token/lookup-self", fresh).await.ok();
        assert_eq!((&me["data"]["policies"], &me["data"]["ttl"]), (&json!(["root"]), &json!(0)));
        let log = std::fs::read_to_string(home.path("audit/audit.log")).unwrap();
        assert!(log.contains(UPDATE) && !log.contains(otp) && !log.contains(fresh) && !log.contains(encoded));
        for share in &keys {
            assert!(!log.contains(share.as_str()));
        }
    }
}

#[tokio::test]
async fn strangers_neither_start_nor_cancel_nor_learn_of_an_attempt() {
    let home = with_socket("memory");
    let v = home.start();
    let (keys, root) = v.init(3, 2).await;
    v.unseal(&keys[..2]).await;
    let weak = v
        .token_with(
            &root,
            "weak",
            "path \"sys/generate-root/*\" { capabilities = [\"update\", \"read\", \"delete\"] }",
        )
        .await;
    let strong = v
        .token_with(
            &root,
            "strong",
            "path \"sys/generate-root/*\" { capabilities = [\"create\", \"update\", \"read\", \"delete\", \"sudo\"] }",
        )
        .await;
    for stranger in ["", weak.as_str(), "hvs.unknown"] {
        put(&v, ATTEMPT, stranger, json!({})).await.expect(403);
        v.get(ATTEMPT, stranger).await.expect(403);
        v.delete(ATTEMPT, stranger).await.expect(403);
    }
    // Without an attempt a share does nothing; junk is refused before anything is told.
    put(&v, UPDATE, "", json!({"key": keys[0], "nonce": "x"})).await.expect(400);
    put(&v, ATTEMPT, &strong, json!({"otp": "short"})).await.expect(400);
    put(&v, ATTEMPT, &strong, json!({"pgp_key": "x"})).await.expect(400);
    let otp = "0123456789abcdefghijklmnopqr";
    let s = put(&v, ATTEMPT, &strong, json!({ "otp": otp })).await.ok();
    assert_eq!(
        (s["otp_length"].as_u64(), s["otp"].as_str(), &s["required"]),
        (Some(28), Some(""), &json!(2))
    );
    let nonce = s["nonce"].clone();
    put(&v, ATTEMPT, &strong, json!({})).await.expect(400);
    for stranger in ["", weak.as_str()] {
        v.delete(ATTEMPT, stranger).await.expect(403);
        v.get(ATTEMPT, stranger).await.expect(403);
        put(&v, ATTEMPT, stranger, json!({})).await.expect(403);
        let junk = put(&v, UPDATE, stranger, json!({"key": "ab".repeat(33), "nonce": nonce})).await;
        assert!(junk.status == 400 && !junk.text.contains(nonce.as_str().unwrap()), "{}", junk.text);
    }
    put(&v, UPDATE, "", json!({"key": keys[0], "nonce": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}))
        .await
        .expect(400);
    // A holder of a share needs no token; the same share twice counts once.
    for _ in 0..2 {
        let s = put(&v, UPDATE, "", json!({"key": keys[0], "nonce": nonce})).await.ok();
        assert_eq!((&s["progress"], &s["complete"]), (&json!(1), &json!(false)));
    }
    let done = put(&v, UPDATE, "", json!({"key": keys[2], "nonce": nonce})).await.ok();
    assert_eq!(done["complete"], true);
    assert_eq!(done["encoded_token"], done["encoded_root_token"]);
    let fresh = decoded(&done["encoded_token"], otp);
    assert!(v.get("sys/mounts", &fresh).await.ok()["data"].is_object());
    // It is over: the next share starts nothing, and the state shows no trace of it.
    put(&v, UPDATE, "", json!({"key": keys[1], "nonce": nonce})).await.expect(400);
    let s = v.get(ATTEMPT, &strong).await.ok();
    assert_eq!((&s["started"], &s["progress"], &s["nonce"]), (&json!(false), &json!(0), &json!("")));
    // Cancelled means that its shares are gone.
    let first = put(&v, ATTEMPT, &strong, json!({})).await.ok();
    assert_eq!(first["otp"].as_str().map(str::len), Some(28));
    put(&v, UPDATE, "", json!({"key": keys[0], "nonce": first["nonce"]})).await.ok();
    v.delete(ATTEMPT, &strong).await.ok();
    let second = put(&v, ATTEMPT, &strong, json!({})).await.ok();
    let s = put(&v, UPDATE, "", json!({"key": keys[1], "nonce": second["nonce"]})).await.ok();
    assert_eq!(s["progress"], 1);
}

#[tokio::test]
async fn many_holders_at_once_make_one_token() {
    let home = with_socket("memory");
    let v = home.start();
    let (keys, root) = v.init(6, 3).await;
    v.unseal(&keys[..3]).await;
    let before = v.list("auth/token/accessors", &root).await.ok()["data"]["keys"].as_array().unwrap().len();
    let s = put(&v, ATTEMPT, &root, json!({})).await.ok();
    let give = keys.iter().map(|k| put(&v, UPDATE, "", json!({"key": k, "nonce": s["nonce"]})));
    let answers = futures_util::future::join_all(give).await;
    let complete = answers.iter().filter(|a| a.json()["complete"] == true).count();
    assert_eq!(complete, 1, "{answers:?}");
    let after = v.list("auth/token/accessors", &root).await.ok()["data"]["keys"].as_array().unwrap().len();
    assert_eq!(after, before + 1, "no second token under the same one-time password");
}

/// gpg with a home of its own.
fn gpg(home: &std::path::Path, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gpg")
        .args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""])
        .args(args)
        .env("GNUPGHOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gpg is there");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

#[tokio::test]
async fn a_root_token_for_one_pgp_key() {
    if Command::new("gpg").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "in CI gpg must be there");
        eprintln!("SKIPPED a_root_token_for_one_pgp_key: needs gpg");
        return;
    }
    let home = with_socket("memory");
    let v = home.start();
    let (keys, root) = v.init(1, 1).await;
    v.unseal(&keys).await;
    // Short: the agent's socket has to fit into a path of 108 bytes.
    let keyring = tempfile::Builder::new().prefix("g").tempdir_in("/tmp").unwrap();
    for (name, how, armored) in [
        ("rsa", &["rsa2048", "cert"][..], false),
        ("curve", &["future-default", "default"], true),
        ("old", &["rsa3072", "encr,cert"], true),
    ] {
        let user = format!("{name}@example");
        gpg(keyring.path(), &["--quick-generate-key", &user, how[0], how[1], "never"], b"");
        let listed = String::from_utf8(gpg(keyring.path(), &["--with-colons", "-k", &user], b"")).unwrap();
        let print = listed.lines().find_map(|l| l.strip_prefix("fpr:::::::::")).unwrap();
        let print = print.trim_end_matches(':').to_lowercase();
        if name == "rsa" {
            gpg(keyring.path(), &["--quick-add-key", &print, "rsa2048", "encr", "never"], b"");
        }
        let mut export = vec!["--export", &user];
        if armored {
            export.insert(0, "--armor");
        }
        let key = gpg(keyring.path(), &export, b"");
        let key = match armored {
            true => String::from_utf8(key).unwrap(),
            false => base64::engine::general_purpose::STANDARD.encode(key),
        };
        put(&v, ATTEMPT, &root, json!({"pgp_key": key, "otp": "x"})).await.expect(400);
        let s = put(&v, ATTEMPT, &root, json!({ "pgp_key": key })).await.ok();
        assert_eq!(
            (s["pgp_fingerprint"].as_str(), s["otp"].as_str()),
            (Some(print.as_str()), Some("")),
            "{name}"
        );
        let done = put(&v, UPDATE, "", json!({"key": keys[0], "nonce": s["nonce"]})).await.ok();
        let message =
            base64::engine::general_purpose::STANDARD.decode(done["encoded_token"].as_str().unwrap());
        let token = String::from_utf8(gpg(keyring.path(), &["-d"], &message.unwrap())).unwrap();
        let me = v.get("auth/token/lookup-self", &token).await.ok();
        assert_eq!(me["data"]["policies"], json!(["root"]), "{name}");
    }
    let _ = Command::new("gpgconf").args(["--kill", "gpg-agent"]).env("GNUPGHOME", keyring.path()).output();
}
