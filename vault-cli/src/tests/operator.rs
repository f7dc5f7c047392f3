//! `operator` and `status`.

use crate::testing::Server;
use sha2::{Digest, Sha256};

const INIT: &str = r#"{"keys":["aa","bb"],"keys_base64":["qg==","uw=="],"root_token":"hvs.root"}"#;
const SEALED: &str =
    r#"{"type":"shamir","initialized":true,"sealed":true,"t":2,"n":2,"progress":1,"nonce":"n1"}"#;

#[test]
fn init_prints_shares_and_token_once() {
    let server =
        Server::table(&[("PUT sys/init", 200, INIT), ("GET sys/init", 200, r#"{"initialized":false}"#)]);
    let mut world = server.world();
    let (code, out, _) = world.run(&["operator", "init", "-key-shares=2", "-key-threshold=2"]);
    assert_eq!(code, 0);
    assert!(
        out.starts_with("Unseal Key 1: qg==\nUnseal Key 2: uw==\n\nInitial Root Token: hvs.root\n"),
        "{out}"
    );
    assert_eq!(server.last().1, r#"{"secret_shares":2,"secret_threshold":2}"#);
    assert_eq!(server.seen()[0].token, None);
    let (_, out, _) = world.run(&["operator", "init", "-n", "2", "-t", "2", "-format=json"]);
    let v: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (v["unseal_keys_b64"][1].as_str(), v["unseal_keys_hex"][0].as_str(), v["root_token"].as_str()),
        (Some("uw=="), Some("aa"), Some("hvs.root"))
    );
    assert_eq!(world.run(&["operator", "init", "-n=1", "-t=1", "-field=root_token"]).1, "hvs.root");
    assert_eq!(world.run(&["operator", "init", "-status"]).0, 2);
}

#[test]
fn unseal_asks_without_echo_or_reads_input() {
    let server = Server::table(&[("PUT sys/unseal", 200, SEALED)]);
    let mut world = server.world().types("share-typed").input("share-piped\n");
    let (code, out, _) = world.run(&["operator", "unseal"]);
    assert!(code == 0 && out.contains("Unseal Progress    1/2"), "{out}");
    assert_eq!(world.prompts(), ["Unseal Key (will be hidden): "]);
    assert_eq!(server.last().1, r#"{"key":"share-typed","reset":false}"#);
    world.run(&["operator", "unseal", "-"]);
    assert_eq!(server.last().1, r#"{"key":"share-piped","reset":false}"#);
    let (_, _, err) = world.run(&["operator", "unseal", "share-argv"]);
    assert_eq!(server.last().1, r#"{"key":"share-argv","reset":false}"#);
    assert!(err.contains("history") && !err.contains("share-argv"), "{err}");
    world.run(&["operator", "unseal", "-reset"]);
    assert_eq!(server.last().1, r#"{"reset":true}"#);
    world.run(&["operator", "unseal", "-accept-rollback", "-"]);
    assert_eq!(server.last().1, r#"{"key":"share-piped","reset":false,"accept_rollback":true}"#);
    let (code, _, err) = world.run(&["operator", "unseal"]);
    assert!(code == 1 && err.contains("write -"), "no terminal: {err}");
    assert!(server.seen().iter().all(|s| s.token.is_none()));
}

#[test]
fn a_failed_unseal_says_what_to_do() {
    for (answer, says) in [
        (r#"{"errors":["server is not yet initialized"]}"#, "vault-cli operator init"),
        (r#"{"errors":["audit device file/: No such file or directory (os error 2)"]}"#, "shares were right"),
    ] {
        let server = Server::start(move |_| Some((400, answer.to_owned())));
        let (code, _, err) = server.world().types("share").run(&["operator", "unseal"]);
        assert!(code == 2 && err.contains(says), "{err}");
    }
}

#[test]
fn seal_rotate_and_key_status() {
    let server = Server::table(&[
        ("PUT sys/seal", 204, ""),
        ("PUT sys/rotate", 204, ""),
        (
            "GET sys/key-status",
            200,
            r#"{"data":{"term":2,"install_time":"2026-01-01T00:00:00Z","encryptions":7}}"#,
        ),
    ]);
    let mut world = server.world();
    assert_eq!(world.run(&["operator", "seal"]).1, "Success! Vault is sealed.\n");
    let (_, out, _) = world.run(&["operator", "rotate"]);
    assert!(out.starts_with("Success! Rotated key\n") && out.contains("Key Term            2"), "{out}");
    assert_eq!(world.run(&["operator", "key-status", "-field=term"]).1, "2");
}

#[test]
fn rekey_step_by_step() {
    let server = Server::table(&[
        (
            "PUT sys/rekey/init",
            200,
            r#"{"nonce":"n1","started":true,"t":2,"n":3,"progress":0,"required":2,"verification_required":true}"#,
        ),
        ("GET sys/rekey/init", 200, r#"{"nonce":"n1","started":true,"t":2,"n":3,"progress":1,"required":2}"#),
        (
            "PUT sys/rekey/update",
            200,
            r#"{"nonce":"n1","complete":true,"keys":["aa"],"keys_base64":["qg=="],"verification_required":true,"verification_nonce":"v1"}"#,
        ),
        ("PUT sys/rekey/verify", 200, r#"{"nonce":"v1","complete":true}"#),
        ("DELETE sys/rekey/init", 204, ""),
    ]);
    let mut world = server.world().types("old").input("new");
    let (_, out, _) =
        world.run(&["operator", "rekey", "-init", "-key-shares=3", "-key-threshold=2", "-verify"]);
    assert!(out.contains("Rekey Progress           0/2"), "{out}");
    assert_eq!(server.last().1, r#"{"secret_shares":3,"secret_threshold":2,"require_verification":true}"#);
    let (code, out, _) = world.run(&["operator", "rekey"]);
    assert_eq!(server.last().1, r#"{"key":"old","nonce":"n1"}"#, "the nonce is looked up");
    assert!(code == 0 && out.starts_with("Key 1: qg==\n") && out.contains("-verify -nonce=v1"), "{out}");
    let (_, out, _) = world.run(&["operator", "rekey", "-verify", "-nonce=v1", "-"]);
    assert_eq!(server.last(), ("PUT sys/rekey/verify".into(), r#"{"key":"new","nonce":"v1"}"#.into()));
    assert!(out.contains("complete"), "{out}");
    assert!(world.run(&["operator", "rekey", "-status"]).1.contains("1/2"));
    assert!(world.run(&["operator", "rekey", "-cancel"]).1.contains("Success"));
    assert_eq!(world.run(&["operator", "rekey", "-init", "-n=1", "-t=2"]).0, 1);

    let idle = Server::table(&[("GET sys/rekey/init", 200, r#"{"nonce":"","started":false,"required":2}"#)]);
    let (code, _, err) = idle.world().types("x").run(&["operator", "rekey"]);
    assert!(code == 1 && err.contains("-init"), "{err}");
}

#[test]
fn a_root_token_step_by_step() {
    let server = Server::table(&[
        (
            "PUT sys/generate-root/attempt",
            200,
            r#"{"nonce":"n1","started":true,"required":2,"otp_length":10,"otp":"0123456789"}"#,
        ),
        (
            "GET sys/generate-root/attempt",
            200,
            r#"{"nonce":"n1","started":true,"progress":1,"required":2,"otp_length":10}"#,
        ),
        // "hvs.abcdef" under that password.
        (
            "PUT sys/generate-root/update",
            200,
            r#"{"nonce":"n1","started":true,"required":2,"complete":true,"encoded_token":"WEdBHVVXVVNdXw"}"#,
        ),
        ("DELETE sys/generate-root/attempt", 204, ""),
    ]);
    let mut world = server.world().types("share").input("0123456789");
    let (code, out, _) = world.run(&["operator", "generate-root", "-init"]);
    assert!(code == 0 && out.contains("OTP           0123456789"), "{out}");
    assert_eq!(server.last().1, "{}");
    let (code, out, _) = world.run(&["operator", "generate-root"]);
    assert_eq!(server.last().1, r#"{"key":"share","nonce":"n1"}"#, "the nonce is looked up");
    assert!(code == 0 && out.contains("Encoded Token    WEdBHVVXVVNdXw") && out.contains("-decode"), "{out}");
    let (code, out, _) = world.run(&["operator", "generate-root", "-decode=WEdBHVVXVVNdXw", "-otp=-"]);
    assert_eq!((code, out.as_str()), (0, "hvs.abcdef\n"));
    let (_, otp, _) = world.run(&["operator", "generate-root", "-generate-otp"]);
    assert!(otp.trim().len() == 10 && otp.trim().bytes().all(|b| b.is_ascii_alphanumeric()), "{otp}");
    assert!(world.run(&["operator", "generate-root", "-status"]).1.contains("1/2"));
    assert!(world.run(&["operator", "generate-root", "-cancel"]).1.contains("canceled"));
    // A password that does not fit gives no token, and says so.
    let (code, _, err) =
        server.world().input("short").run(&["operator", "generate-root", "-decode=WEdBHVVXVVNdXw", "-otp=-"]);
    assert!(code == 1 && err.contains("length"), "{err}");
    let (code, out, _) = server.world().input("\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}").run(&[
        "operator",
        "generate-root",
        "-decode=AAAAAAAAAAAAAA",
        "-otp=-",
    ]);
    assert!(code == 1 && out.is_empty());
}

/// A snapshot with one record.
fn snapshot() -> Vec<u8> {
    let manifest = br#"{"store_id":"id","sequence":7,"epoch":1}"#;
    let mut file = b"VLTDSNAP".to_vec();
    for n in [1, manifest.len() as u32] {
        file.extend_from_slice(&n.to_be_bytes());
    }
    file.extend_from_slice(manifest);
    for n in [3u32, 2] {
        file.extend_from_slice(&n.to_be_bytes());
    }
    file.extend_from_slice(b"keyva");
    file.extend_from_slice(&u32::MAX.to_be_bytes());
    file.extend_from_slice(&1u64.to_be_bytes());
    let hash = Sha256::digest(&file);
    file.extend_from_slice(&hash);
    file
}

#[test]
fn a_snapshot_is_inspected_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.snap");
    let server = Server::table(&[]);
    let mut world = server.world();
    let whole = snapshot();
    std::fs::write(&path, &whole).unwrap();
    let args = ["operator", "snapshot", "inspect", path.to_str().unwrap(), "-format=json"];
    let (code, out, err) = world.run(&args);
    assert_eq!(code, 0, "{err}");
    let said: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((said["sequence"].as_u64(), said["records"].as_u64()), (Some(7), Some(1)));
    assert!(said["verified"].is_string() && said["not_proved"].is_string(), "{said}");
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(world.run(&args).0, 1, "cut to {cut}");
        let mut bent = whole.clone();
        bent[cut] ^= 1;
        std::fs::write(&path, bent).unwrap();
        assert_eq!(world.run(&args).0, 1, "bent at {cut}");
    }
    std::fs::write(&path, [whole.as_slice(), b"x"].concat()).unwrap();
    assert_eq!(world.run(&args).0, 1);
}

#[test]
fn a_snapshot_that_does_not_come_whole_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.snap");
    let server = Server::table(&[
        ("GET sys/storage/snapshot", 200, "VLTDSNAP and then nothing"),
        ("PUT sys/storage/snapshot/restore", 200, r#"{"data":{"sequence":7},"warnings":["waits"]}"#),
    ]);
    let mut world = server.world();
    let (code, _, err) = world.run(&["operator", "snapshot", "save", path.to_str().unwrap()]);
    assert!(code == 1 && !err.is_empty(), "{err}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    std::fs::write(&path, b"mine").unwrap();
    let (code, ..) = world.run(&["operator", "snapshot", "save", path.to_str().unwrap()]);
    assert_eq!((code, std::fs::read(&path).unwrap()), (1, b"mine".to_vec()), "nothing is written over");
    let (code, out, _) = world.run(&["operator", "snapshot", "restore", "a.snap", "-dry-run"]);
    assert!(code == 0 && out.contains("nothing was changed"), "{out}");
    assert_eq!(server.last().1, r#"{"dry_run":true,"name":"a.snap"}"#);
}
