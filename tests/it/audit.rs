//! The audit trail of a running daemon.

use crate::support::{Home, binary, contains};
use serde_json::{Value, json};

fn lines(home: &Home) -> Vec<Value> {
    std::fs::read_to_string(home.path("audit/audit.log"))
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

#[tokio::test]
async fn every_step_is_on_record_and_none_of_the_secrets() {
    let home = Home::audited("sled");
    let v = home.start();
    let (root, keys) = v.ready().await;
    let app =
        v.token_with(&root, "app", "path \"secret/data/a\" { capabilities = [\"read\", \"create\"] }").await;
    v.post("secret/data/a", &app, json!({"data": {"password": "canary-password-1"}})).await.ok();
    v.get("secret/data/a", &app).await.ok();
    v.get("secret/data/forbidden", &app).await.expect(403);
    v.get("secret/data/a", "hvs.unknown-token-canary").await.expect(403);
    v.post("secret/data/a", &root, json!({"wrong": "canary-in-an-error"})).await.expect(400);
    v.call("PUT", "sys/seal", &root, None).await.ok();
    let all = lines(&home);
    let saw = |kind: &str, path: &str, error: bool| {
        all.iter().any(|l| {
            l["type"] == kind
                && l["request"]["path"] == path
                && l["error"].as_str().is_some_and(|e| !e.is_empty()) == error
        })
    };
    for (kind, path, error) in [
        ("request", "sys/mounts/secret", false),
        ("response", "sys/mounts/secret", false),
        ("request", "secret/data/a", false),
        ("response", "secret/data/a", false),
        ("request", "secret/data/forbidden", true),
        ("response", "secret/data/forbidden", true),
        ("response", "secret/data/a", true),
        ("request", "sys/seal", false),
        ("response", "sys/seal", false),
        ("request", "auth/token/create", false),
        ("request", "sys/policies/acl/app", false),
    ] {
        assert!(saw(kind, path, error), "no {kind} of {path} (error: {error})");
    }
    let raw = std::fs::read(home.path("audit/audit.log")).unwrap();
    for secret in ["canary-password-1", "canary-in-an-error", "unknown-token-canary", &root, &app, &keys[0]] {
        assert!(!contains(&raw, secret.as_bytes()), "{secret} is in the audit log");
    }
    let (code, text) = verify(&home, &[], "audit/audit.log");
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("not proved: that this vault wrote it")
            && text.contains("not proved: that it is whole"),
        "{text}"
    );
    // One changed byte is noticed.
    let mut bent = raw.clone();
    let at = bent.len() / 2;
    bent[at] ^= 1;
    std::fs::write(home.path("bent.log"), bent).unwrap();
    let (code, text) = verify(&home, &[], "bent.log");
    assert_eq!(code, Some(1), "{text}");
}

/// `vaultd audit verify` on a file of `home`.
fn verify(home: &Home, options: &[&str], log: &str) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(binary("vaultd"));
    output(command.args(["audit", "verify"]).args(options).arg(home.path(log)))
}

/// `vault-cli audit verify`, which asks the running vault for its key and head.
fn verify_live(home: &Home, v: &crate::support::Vaultd, token: &str, log: &str) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(binary("vault-cli"));
    command.args(["audit", "verify"]).arg(home.path(log));
    command.env("VAULT_ADDR", &v.api).env("VAULT_TOKEN", token);
    output(command.env("VAULT_CACERT", home.pki.path("ca.pem")).env("HOME", home.path("")))
}

fn output(command: &mut std::process::Command) -> (Option<i32>, String) {
    let done = command.output().unwrap();
    let text = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// A stranger with the vault's key and last head gets a proof or a fault; without them, a plain
/// word on what was not proved. The head is exported to a place of its own.
#[tokio::test]
async fn a_log_is_proved_by_key_and_head_or_said_not_to_be() {
    let mut home = Home::audited("redb");
    std::fs::create_dir(home.path("kept")).unwrap();
    let kept = home.path("kept/heads.json");
    home.extra =
        format!("audit_head_file = \"{}\"\naudit_head_interval = \"1s\"\n{}", kept.display(), home.extra);
    let v = home.start();
    let (root, _) = v.ready().await;
    for _ in 0..30 {
        v.get("sys/mounts", &root).await.ok();
    }
    let (code, text) = verify_live(&home, &v, &root, "audit/audit.log");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("proved"), "{text}");
    let answer = v.get("sys/audit-head", &root).await.ok()["data"].clone();
    assert_eq!(answer["heads"][0]["device"], "file/", "{answer}");
    // Exported by the clock, and once more when the vault seals.
    let exported = || -> Value { serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap() };
    crate::support::eventually("the head is exported", || async { kept.exists() }).await;
    assert_eq!(exported()["public_key"], answer["public_key"]);
    v.call("PUT", "sys/seal", &root, None).await.ok();
    assert!(exported()["heads"][0]["seq"].as_u64() > answer["heads"][0]["seq"].as_u64());
    let head = format!("--head={}", kept.display());
    let (code, text) = verify(&home, &[&head], "audit/audit.log");
    assert_eq!(code, Some(0), "{text}");
    // Cut at a line's end, and lines taken out.
    let whole = std::fs::read_to_string(home.path("audit/audit.log")).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let cut = [&lines[..lines.len() - 1], &lines[..lines.len() / 2]];
    for lines in cut {
        std::fs::write(home.path("cut.log"), lines.concat()).unwrap();
        let (code, text) = verify(&home, &[&head], "cut.log");
        assert_eq!(code, Some(1), "{text}");
        let (code, text) = verify(&home, &[], "cut.log");
        assert_eq!(code, Some(2), "{text}");
        let key = format!("--key={}", answer["public_key"].as_str().unwrap());
        let (code, text) = verify(&home, &[&key], "cut.log");
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("not proved: that it is whole"), "{text}");
    }
    // A log of another vault, whole in itself.
    let other = Home::audited("memory");
    let w = other.start();
    w.ready().await;
    w.stop();
    std::fs::copy(other.path("audit/audit.log"), home.path("other.log")).unwrap();
    let (code, text) = verify(&home, &[&head], "other.log");
    assert_eq!(code, Some(1), "{text}");
    let (code, _) = verify(&home, &["--key=nonsense"], "audit/audit.log");
    assert_eq!(code, Some(64));
}

#[tokio::test]
async fn devices_of_the_api_stay_inside_the_audit_dirs_and_survive_a_restart() {
    let home = Home::audited("sled");
    let v = home.start();
    let (root, keys) = v.ready().await;
    let enable = |path: String| json!({"type": "file", "options": {"file_path": path}});
    for outside in ["/etc/vaultd-audit.log", "/tmp/../etc/x.log", "relative.log"] {
        v.post("sys/audit/bad", &root, enable(outside.into())).await.expect(400);
    }
    let text = v
        .post("sys/audit/bad", &root, json!({"type": "socket", "options": {}}))
        .await
        .expect(400)
        .to_string();
    assert!(text.contains("unknown audit backend"), "{text}");
    std::os::unix::fs::symlink("/etc/passwd", home.path("audit/link.log")).unwrap();
    v.post("sys/audit/bad", &root, enable(home.path("audit/link.log").display().to_string()))
        .await
        .expect(400);
    let second = home.path("audit/second.log");
    v.post("sys/audit/second", &root, enable(second.display().to_string())).await.ok();
    let listed = v.get("sys/audit", &root).await.ok();
    assert_eq!(listed["second/"]["type"], "file", "{listed}");
    v.kill();
    let v = home.start();
    v.unseal(&keys).await;
    v.get("sys/mounts", &root).await.ok();
    let text = std::fs::read_to_string(&second).unwrap();
    assert!(text.contains("\"sys/mounts\""));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&second).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let h = v.post("sys/audit-hash/second", &root, json!({"input": root})).await.ok();
    let hash = h["hash"].as_str().unwrap().to_string();
    assert!(text.contains(&hash) || std::fs::read_to_string(&second).unwrap().contains(&hash));
    v.delete("sys/audit/second", &root).await.ok();
    // A device of the config file whose directory is missing is told at the start, not at the unseal.
    let mut lost = Home::new("memory");
    lost.extra = format!(
        "audit_dirs = [\"{0}\"]\naudit \"file\" \"file\" {{\n  options = {{ file_path = \"{0}/missing/audit.log\" }}\n}}\n",
        lost.path("").display().to_string().trim_end_matches('/')
    );
    let text = crate::support::Vaultd::try_start(&lost.config(), lost.pki.client_config()).err().unwrap();
    assert!(text.contains("missing"), "{text}");
    v.delete("sys/audit/file", &root).await.expect(400);
}

/// The default `audit_dirs` hold the store's parent: its own files are refused all the same.
#[tokio::test]
async fn audit_files_never_lie_among_the_vaults_own() {
    let home = Home::new("sled");
    let v = home.start();
    let (root, keys) = v.ready().await;
    let enable = |option: &str, name: &str| json!({"type": "file", "options": {option: home.path(name).display().to_string()}});
    let config = std::fs::metadata(home.path("vaultd.hcl")).unwrap();
    for own in ["data/audit.log", "data/journal/00000000000000ff.seg", "data.state/anchor.tmp", "vaultd.hcl"]
    {
        v.post("sys/audit/bad", &root, enable("file_path", own)).await.expect(400);
    }
    let after = std::fs::metadata(home.path("vaultd.hcl")).unwrap();
    assert_eq!(after.permissions(), config.permissions(), "a refused file is left as it was");
    v.post("sys/audit/good", &root, enable("path", "audit.log")).await.ok();
    v.get("sys/mounts", &root).await.ok();
    v.kill();
    let v = home.start();
    v.unseal(&keys).await;
    v.get("sys/mounts", &root).await.ok();
    assert!(std::fs::read_to_string(home.path("audit.log")).unwrap().contains("\"sys/mounts\""));
}

/// A small tmpfs, unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: std::path::PathBuf) -> SmallDisk {
        std::fs::create_dir_all(&at).unwrap();
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs"])
            .arg(&at)
            .status()
            .unwrap();
        assert!(done.success(), "tmpfs could not be mounted");
        SmallDisk(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn without_a_working_device_nothing_is_served_but_the_vault_can_be_sealed() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var("CI").is_err(), "needs root, and nothing may be skipped in CI");
        return;
    }
    let home = Home::audited("memory");
    let disk = SmallDisk::mount(home.path("audit"));
    let v = home.start();
    let (root, keys) = v.ready().await;
    v.get("sys/mounts", &root).await.ok();
    // Full to the last byte.
    let filler = disk.0.join("filler");
    {
        use std::io::Write as _;
        let mut f = std::fs::File::create(&filler).unwrap();
        while f.write_all(&[0u8; 512]).is_ok() {}
    }
    let until = std::time::Instant::now() + crate::support::PATIENCE;
    let mut refused = v.get("sys/mounts", &root).await;
    // What is left of the file's last page still takes a record or two; an answer whose own
    // record does not fit is 500.
    while refused.status != 503 && std::time::Instant::now() < until {
        assert!(matches!(refused.status, 200 | 500), "{}", refused.text);
        refused = v.get("sys/mounts", &root).await;
    }
    refused.expect(503);
    let write = v.post("secret/data/x", &root, json!({"data": {"k": "v"}})).await;
    assert!(matches!(write.status, 500 | 503), "{}", write.text);
    v.get("sys/health", "").await.expect(200);
    // A stranger's attempt may fit where a whole record does not: it is refused either way.
    let stranger = v.call("PUT", "sys/seal", "", None).await;
    assert!(matches!(stranger.status, 403 | 500 | 503), "{}", stranger.text);
    assert_eq!(v.get("sys/seal-status", "").await.ok()["sealed"], false);
    v.call("PUT", "sys/seal", &root, None).await.ok();
    assert_eq!(v.get("sys/seal-status", "").await.ok()["sealed"], true);
    // With space again everything goes on, and what was refused was not done.
    std::fs::remove_file(&filler).unwrap();
    v.unseal(&keys).await;
    if write.status == 503 {
        v.get("secret/data/x", &root).await.expect(404);
    }
    v.get("sys/mounts", &root).await.ok();
}

/// A small ext4 on a loop device, which can be frozen: writes to it then hang, as on a dead disk.
struct LoopDisk(std::path::PathBuf);

impl LoopDisk {
    fn mount(image: &std::path::Path, at: std::path::PathBuf) -> LoopDisk {
        std::fs::File::create(image).unwrap().set_len(8 << 20).unwrap();
        std::fs::create_dir_all(&at).unwrap();
        run("mkfs.ext4", &["-q".as_ref(), image.as_os_str()]);
        run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), at.as_os_str()]);
        LoopDisk(at)
    }
    fn freeze(&self) {
        run("fsfreeze", &["-f".as_ref(), self.0.as_os_str()]);
    }
    fn thaw(&self) {
        run("fsfreeze", &["-u".as_ref(), self.0.as_os_str()]);
    }
}

fn run(command: &str, args: &[&std::ffi::OsStr]) {
    assert!(std::process::Command::new(command).args(args).status().unwrap().success(), "{command} failed");
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        for (command, flag) in [("fsfreeze", "-u"), ("umount", "-l")] {
            let _ = std::process::Command::new(command)
                .arg(flag)
                .arg(&self.0)
                .stderr(std::process::Stdio::null())
                .status();
        }
    }
}

/// One worker thread and a disk that never answers: requests that need a record are refused in
/// time, everything else is served meanwhile by that same thread.
#[tokio::test]
async fn a_hung_audit_disk_holds_nobody_else() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var("CI").is_err(), "needs root, and nothing may be skipped in CI");
        return;
    }
    let mut home = Home::audited("memory");
    home.extra.push_str("workers = 1\n");
    let disk = LoopDisk::mount(&home.path("disk.img"), home.path("audit"));
    let v = std::sync::Arc::new(home.start());
    let (root, _) = v.ready().await;
    v.get("sys/mounts", &root).await.ok();
    disk.freeze();
    let waiting = {
        let (v, root) = (v.clone(), root.clone());
        tokio::spawn(async move { v.get("sys/mounts", &root).await.status })
    };
    let bound = std::time::Duration::from_secs(20);
    for _ in 0..3 {
        let health = tokio::time::timeout(bound, v.get("sys/health", "")).await;
        health.expect("the one worker is held by a disk").expect(200);
    }
    let status = tokio::time::timeout(bound, waiting).await.expect("held beyond the deadline").unwrap();
    assert_eq!(status, 503);
    tokio::time::timeout(bound, v.get("sys/mounts", &root)).await.expect("held").expect(503);
    // SIGHUP and the background work do not hang either.
    v.signal(nix::sys::signal::Signal::SIGHUP);
    tokio::time::timeout(bound, v.get("sys/seal-status", "")).await.expect("held").expect(200);
    disk.thaw();
    crate::support::eventually("the device is back", || async {
        v.get("sys/mounts", &root).await.status == 200
    })
    .await;
    let text = std::fs::read_to_string(home.path("audit/audit.log")).unwrap();
    assert!(text.contains("{\"type\":\"gap\""), "the log says what it lacks");
    // Whole and genuine, and yet records are missing: that is not exit code 0.
    let (code, text) = verify_live(&home, &v, &root, "audit/audit.log");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("records are missing"), "{text}");
}
