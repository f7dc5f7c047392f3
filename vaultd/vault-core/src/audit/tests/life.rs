//! A device's life: restart, rotation, damage from outside, streams, sealed attempts, real files.

use super::*;
use crate::audit::verify::FaultKind;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use vault_logical::{Completion, Outcome};

fn write(audit: &Direct, ids: std::ops::Range<u64>) {
    for n in ids {
        let _ = audit.request(&entry(n)).unwrap();
    }
}

/// Runs on `memory` for a while and closes; answers the final head.
fn run(memory: &Memory, ids: std::ops::Range<u64>, expected: Option<&Head>) -> (Head, Vec<&'static str>) {
    let audit = audit_on(memory.clone(), &clock());
    audit.enable(config(Path::new(LOG), &[]), key(9), expected).unwrap();
    write(&audit, ids);
    let flags = audit.status().remove(0).flags;
    (audit.close().remove(0), flags)
}

fn options() -> Options {
    keys(&audit_on(Memory::default(), &clock()))
}

#[test]
fn a_restart_continues_the_chain() {
    let memory = Memory::default();
    let (first, flags) = run(&memory, 0..10, None);
    assert!(flags.is_empty());
    let (second, flags) = run(&memory, 10..20, Some(&first));
    assert!(flags.is_empty());
    assert!(second.seq > first.seq + 10);
    let log = memory.read(LOG);
    assert_eq!(check(&log, &Options { head: Some(second), ..options() }).fault, None);
    // An older head is still found in the longer file.
    assert_eq!(check(&log, &Options { head: Some(first), ..options() }).head_found, Some(true));
    let lines = lines(&log);
    let opens: Vec<_> = of_type(&lines, "checkpoint")
        .into_iter()
        .filter(|l| l["reason"] == "open")
        .map(|l| &l["clean"])
        .collect();
    assert_eq!(opens, [&serde_json::json!(false), &serde_json::json!(true)]);
}

/// Cut anywhere, at a line's end or inside a line: the next start repairs and says so, and what
/// the barrier knows tells a cut tail.
#[test]
fn a_cut_file_is_repaired_and_flagged_at_every_length() {
    let memory = Memory::default();
    let (head, _) = run(&memory, 0..6, None);
    let whole = memory.read(LOG);
    let mut ends = whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1);
    let first_line = ends.next().unwrap();
    for len in (0..whole.len()).step_by(17).chain(ends).chain([1, 10, 40, first_line, first_line - 1]) {
        memory.write(LOG, &whole[..len]);
        let (last, flags) = run(&memory, 100..103, Some(&head));
        let log = memory.read(LOG);
        let report = check(&log, &Options { head: Some(last), ..options() });
        assert_eq!(report.fault, None, "cut at {len}");
        let torn = len > 0 && whole[len - 1] != b'\n';
        let expect: &[&str] = match (len, torn) {
            (l, _) if l == whole.len() => &[],
            (l, _) if l < first_line => &["new_file"],
            (_, true) => &["torn_line", "tail_missing"],
            (_, false) => &["tail_missing"],
        };
        assert_eq!(flags, expect, "cut at {len}");
        if len >= first_line && len < whole.len() {
            // Said in the log as well; and the head that was stored proves the loss by itself.
            assert_eq!(report.notes.iter().map(|n| n.what.as_str()).collect::<Vec<_>>(), expect);
            let old = check(&log, &Options { head: Some(head.clone()), ..options() });
            assert!(!old.intact(), "cut at {len}");
        }
    }
}

#[test]
fn a_foreign_file_is_refused_at_first_and_flagged_later() {
    let memory = Memory::default();
    memory.write(LOG, b"root:x:0:0:root:/root:/bin/sh\n");
    let audit = audit_on(memory.clone(), &clock());
    let refused = audit.enable(config(Path::new(LOG), &[]), key(9), None);
    assert!(matches!(refused, Err(AuditError::Config(_))));
    assert_eq!(memory.read(LOG), b"root:x:0:0:root:/root:/bin/sh\n", "and left as it is");
    // Another device's log as well.
    let other = Memory::default();
    run(&other, 0..3, None);
    memory.write(LOG, &other.read(LOG));
    let second =
        DeviceConfig::parse(Origin::File, "second", "file", "", config(Path::new(LOG), &[]).options());
    assert!(matches!(audit.enable(second.unwrap(), key(9), None), Err(AuditError::Config(_))));
    // A known device whose file was tampered with goes on, and says so.
    let (head, _) = run(&other, 3..6, None);
    let mut log = other.read(LOG);
    let at = log.len() - 300;
    log[at] ^= 1;
    other.write(LOG, &log);
    let (_, flags) = run(&other, 6..9, Some(&head));
    assert_eq!(flags, ["foreign_tail"]);
    assert!(!check(&other.read(LOG), &options()).intact());
}

#[test]
fn rotation_carries_the_chain_into_the_new_file() {
    let memory = Memory::default();
    let audit = audit_on(memory.clone(), &clock());
    audit.enable(config(Path::new(LOG), &[]), key(9), None).unwrap();
    write(&audit, 0..5);
    audit.reopen().unwrap();
    let before = audit.heads().remove(0);
    memory.rename(LOG, "/audit/log.1");
    write(&audit, 5..6);
    audit.reopen().unwrap();
    write(&audit, 6..10);
    let head = audit.close().remove(0);
    let (old, new) = (memory.read("/audit/log.1"), memory.read(LOG));
    let first = check(&old, &options());
    assert_eq!(first.fault, None);
    assert_eq!(first.unsigned, 0);
    assert!(first.last.as_ref().unwrap().seq > before.seq);
    let follows = Options { previous: first.last.clone(), head: Some(head), ..options() };
    let second = check(&new, &follows);
    assert_eq!(second.fault, None);
    assert_eq!(second.follows, first.last);
    assert_eq!(check(&[old.clone(), new.clone()].concat(), &options()).fault, None, "both together");
    assert!(!check(&[new.clone(), old].concat(), &options()).intact());
    let other = Options { previous: Some(before), ..options() };
    assert_eq!(check(&new, &other).fault.map(|f| f.kind), Some(FaultKind::PreviousMismatch));
}

#[test]
fn a_file_removed_or_cut_under_the_writer_is_noticed() {
    let (audit, memory, clock) = with_memory(&[]);
    write(&audit, 0..5);
    memory.rename(LOG, "/audit/moved");
    memory.write("/audit/moved", b"");
    clock.forward(Duration::from_secs(2));
    audit.tick();
    let status = audit.status().remove(0);
    assert!(status.error.is_some() || status.flags == ["new_file"], "{status:?}");
    eventually(&clock, || audit.request(&entry(9)).is_ok());
    assert_eq!(audit.status().remove(0).flags, ["new_file"]);
    audit.close();
    let report = check(&memory.read(LOG), &options());
    assert_eq!(report.fault, None);
    assert!(report.follows.unwrap().seq > 5, "the new file names what it follows");
}

#[test]
fn checkpoints_come_by_count_and_by_time() {
    let (audit, memory, clock) = with_memory(&[]);
    write(&audit, 0..2_500);
    let signed = |log: &[u8]| of_type(&lines(log), "checkpoint").len();
    assert!(signed(&memory.read(LOG)) >= 3);
    assert!(check(&memory.read(LOG), &options()).unsigned > 0);
    // The background thread signs what is left, and then rests.
    eventually(&clock, || check(&memory.read(LOG), &options()).unsigned == 0);
    let rest = memory.read(LOG).len();
    audit.tick();
    assert_eq!(memory.read(LOG).len(), rest, "nothing is written when nothing happened");
}

#[test]
fn streams_are_completed_or_recorded_as_cut() {
    let (audit, memory, clock) = with_memory(&[]);
    let opened: Vec<Opened> =
        (0..3).map(|n| audit.open(audit.request(&entry(n)).unwrap()).unwrap()).collect();
    let done =
        Completion { outcome: Outcome::Done, status: 200, response_bytes: 77, ..Completion::default() };
    opened[0].complete(&done);
    opened[0].complete(&Completion { outcome: Outcome::Refused, ..Completion::default() });
    // No device takes the record of the second: it waits in its slot and is written later.
    memory.fail(0, None, true);
    opened[1].complete(&Completion {
        outcome: Outcome::Refused,
        error: Some("rate_limited"),
        ..done.clone()
    });
    memory.mend();
    drop(opened);
    eventually(&clock, || !audit.tick());
    audit.close();
    let log = memory.read(LOG);
    assert_eq!(check(&log, &options()).fault, None);
    let lines = lines(&log);
    let seen: std::collections::BTreeMap<_, _> = of_type(&lines, "completion")
        .iter()
        .map(|l| (l["request"]["id"].as_str().unwrap().to_owned(), l["completion"]["outcome"].clone()))
        .collect();
    assert_eq!(of_type(&lines, "completion").len(), 3);
    assert_eq!(seen[&id(0).to_string()], "done");
    assert_eq!(seen[&id(1).to_string()], "refused");
    assert_eq!(seen[&id(2).to_string()], "cut");
}

#[test]
fn completion_slots_are_bounded_and_come_back() {
    let audit = audit_on(Memory::default(), &clock());
    let mut open: Vec<Opened> = (0..limits::MAX_OPEN_STREAMS as u64)
        .map(|n| audit.open(audit.request(&entry(n)).unwrap()).unwrap())
        .collect();
    assert!(matches!(audit.open(audit.request(&entry(1)).unwrap()), Err(AuditError::Busy)));
    open.pop();
    assert!(audit.open(audit.request(&entry(1)).unwrap()).is_ok());
}

#[test]
fn anonymous_floods_are_summed_up_and_logins_still_recorded() {
    let (audit, memory, clock) = with_memory(&[]);
    let remote = Some(std::net::SocketAddr::from(([192, 0, 2, 7], 4711)));
    let anonymous = |n| RequestEntry { identity: None, remote, error: Some("permission denied"), ..entry(n) };
    for n in 0..5_000 {
        let e = anonymous(n);
        let audited = audit.request(&e).unwrap();
        let _ = audit.response(audited, &ResponseEntry::new(&e), ()).unwrap();
    }
    let login = RequestEntry { error: None, path: "auth/jwt/login", ..anonymous(6_000) };
    let audited = audit.request(&login).unwrap();
    let issued = IssuedEntry { client_token: "hvs.new", ..Default::default() };
    let _ = audit
        .response(audited, &ResponseEntry { auth: Some(issued), ..ResponseEntry::new(&login) }, ())
        .unwrap();
    write(&audit, 7_000..7_010);
    clock.forward(Duration::from_secs(1));
    audit.tick();
    audit.close();
    let log = memory.read(LOG);
    let lines = lines(&log);
    let single = of_type(&lines, "request").iter().filter(|l| l.get("auth").is_none()).count() as u64;
    let summed: u64 =
        of_type(&lines, "summary").iter().map(|l| l["unauthenticated_requests"].as_u64().unwrap()).sum();
    assert_eq!(single + summed, 5_001);
    assert!(single <= u64::from(limits::SOURCE_BURST));
    assert_eq!(of_type(&lines, "summary")[0]["sources"][0]["remote_address"], "192.0.2.7");
    assert!(of_type(&lines, "response").iter().any(|l| l["request"]["path"] == "auth/jwt/login"));
    assert_eq!(of_type(&lines, "request").iter().filter(|l| l.get("auth").is_some()).count(), 10);
    assert_eq!(check(&log, &options()).fault, None);
}

#[test]
fn what_was_tried_while_sealed_comes_first() {
    let ring = Arc::new(SealedRing::new());
    let now = Timestamp::from_unix_secs(1_790_000_000);
    let attempt = |host: [u8; 4], error| SealedAttempt {
        time: now,
        operation: "update",
        path: "sys/unseal",
        remote: Some(std::net::SocketAddr::from((host, 9))),
        error,
    };
    for n in 0..100_000u32 {
        let _ = ring.record(attempt((n % 2_000).to_be_bytes(), Some("unknown key share")), ());
    }
    let answer = ring.record(attempt([10, 0, 0, 1], None), "progress 1/3");
    assert_eq!(answer.into_inner(), "progress 1/3");
    let (audit, memory, clock) = with_memory(&[]);
    memory.fail(5, Some(1), true);
    assert!(audit.drain_sealed(&ring).is_err());
    // By itself, once the device is back.
    let told = || String::from_utf8_lossy(&memory.read(LOG)).matches("\"type\":\"sealed_attempt\"").count();
    eventually(&clock, || told() == limits::MAX_SEALED_ATTEMPTS + 1);
    audit.drain_sealed(&ring).unwrap();
    write(&audit, 0..1);
    audit.close();
    let lines = lines(&memory.read(LOG));
    let attempts = of_type(&lines, "sealed_attempt");
    let total: u64 = attempts.iter().map(|l| l["count"].as_u64().unwrap()).sum();
    assert_eq!(total, 100_001);
    assert_eq!(attempts.len(), limits::MAX_SEALED_ATTEMPTS + 1);
    let first_request = lines.iter().position(|l| l["type"] == "request").unwrap();
    let last_attempt = lines.iter().rposition(|l| l["type"] == "sealed_attempt").unwrap();
    assert!(last_attempt < first_request);
}

#[test]
fn disabling_leaves_a_closed_file_that_can_be_enabled_again() {
    let (audit, memory, _) = with_memory(&[]);
    let generation = audit.generation();
    let hashes = audit.hash_identity("t", "a").unwrap();
    assert_eq!(hashes.generation(), generation);
    write(&audit, 0..3);
    audit.disable("file").unwrap();
    assert_ne!(audit.generation(), generation);
    assert!(matches!(audit.disable("file/"), Err(AuditError::NoSuchDevice)));
    let report = check(&memory.read(LOG), &options());
    assert_eq!((report.fault, report.unsigned), (None, 0));
    audit.enable(config(Path::new(LOG), &[]), key(8), None).unwrap();
    // Hashes of the device that was there before are not taken for the new one's.
    let credential = Credential { token: "t", accessor: "a", hashes: Some(&hashes) };
    let _ = audit.request(&RequestEntry { credential: Some(credential), ..entry(1) }).unwrap();
    let last = lines(&memory.read(LOG)).pop().unwrap();
    assert_eq!(last["request"]["client_token"], audit.hash("file", "t").unwrap());
    assert_eq!(last["request"]["client_token_accessor"], audit.hash("file", "a").unwrap());
    assert!(audit.enable(config(Path::new("/audit/other"), &[]), key(9), None).is_err(), "name in use");
    audit.close();
    assert_eq!(check(&memory.read(LOG), &options()).fault, None);
}

#[test]
fn vaults_spellings_of_a_devices_file() {
    let parse = |options: &[(&str, &str)]| {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        DeviceConfig::parse(Origin::Api, "file", "file", "", &options)
    };
    let by_path = parse(&[("path", "/var/log/a.log")]).unwrap();
    assert_eq!(by_path.file_path, Path::new("/var/log/a.log"));
    assert_eq!(by_path.options()["path"], "/var/log/a.log", "shown as it was given");
    assert_eq!(parse(&[("path", "/a/b"), ("file_path", "/a/b")]).unwrap().file_path, Path::new("/a/b"));
    assert_eq!(parse(&[("file_path", "STDOUT")]).unwrap().file_path, Path::new("stdout"));
    assert_eq!(parse(&[("file_path", "discard")]).unwrap().file_path, Path::new("discard"));
}

/// A device that keeps nothing is listed and hashes, but a record that only it was offered does
/// not count while another device exists.
#[test]
fn discard_is_a_device_that_never_counts() {
    let (audit, memory, clock) = with_memory(&[]);
    let options = [("file_path".to_owned(), "discard".to_owned())].into();
    let nothing = DeviceConfig::parse(Origin::Api, "nothing", "file", "", &options).unwrap();
    audit.enable(nothing, key(8), None).unwrap();
    assert_eq!(audit.status().len(), 2);
    assert!(audit.hash("nothing", "x").is_ok());
    memory.fail(0, None, false);
    assert!(matches!(audit.request(&entry(1)), Err(AuditError::NotRecorded)));
    memory.mend();
    eventually(&clock, || audit.request(&entry(2)).is_ok());
    audit.disable("file").unwrap();
    assert!(audit.request(&entry(3)).is_ok(), "alone it is like no device");
}

/// Whatever `audit_dirs` says, the vault's own places are refused, and what is refused is left as
/// it was found, to its mode.
#[test]
fn a_refused_file_is_left_as_it_was_and_own_places_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for d in ["data/journal", "data.state", "etc", "audit"] {
        std::fs::create_dir_all(root.join(d)).unwrap();
    }
    symlink(root.join("data"), root.join("elsewhere")).unwrap();
    let own_places =
        ["data", "data.state", "etc/vaultd.hcl", "etc/key.pem", "not/there"].map(|p| root.join(p)).to_vec();
    let kept = |name: &str, text: &[u8]| {
        std::fs::write(root.join(name), text).unwrap();
        std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    kept("etc/vaultd.hcl", b"storage {}");
    kept("etc/key.pem", b"");
    kept("data/journal/1.seg", b"");
    kept("audit/zeros", &[0; 4096]);
    kept("audit/notes", b"my notes\n");
    kept("audit/brace", b"{}");
    let settings = Settings { audit_dirs: vec![root.to_path_buf()], own_places, ..Settings::default() };
    let audit = Direct(Audit::start(settings, key(7), clock()).unwrap());
    let enable = |path: &Path| audit.enable(config(path, &[]), key(9), None);
    for name in [
        "data/journal/2.seg",
        "data/journal/1.seg",
        "data/audit.log",
        "data.state/anchor.tmp",
        "data.state/anchor",
        "elsewhere/journal/3.seg",
        "etc/vaultd.hcl",
        "etc/key.pem",
        "data",
        "audit/zeros",
        "audit/notes",
        "audit/brace",
    ] {
        assert!(enable(&root.join(name)).is_err(), "{name}");
    }
    let left = |name: &str| {
        let about = std::fs::metadata(root.join(name)).unwrap();
        (std::fs::read(root.join(name)).unwrap(), about.permissions().mode() & 0o7777)
    };
    assert_eq!(left("etc/vaultd.hcl"), (b"storage {}".to_vec(), 0o644));
    assert_eq!(left("etc/key.pem"), (Vec::new(), 0o644));
    assert_eq!(left("data/journal/1.seg"), (Vec::new(), 0o644));
    assert_eq!(left("audit/zeros"), (vec![0; 4096], 0o644));
    assert_eq!(left("audit/notes"), (b"my notes\n".to_vec(), 0o644));
    assert_eq!(left("audit/brace"), (b"{}".to_vec(), 0o644));
    assert_eq!(std::fs::read_dir(root.join("data.state")).unwrap().count(), 0, "nothing was created");
    assert_eq!(std::fs::read_dir(root.join("data/journal")).unwrap().count(), 1);
    // What is ours is taken, and made private.
    kept("audit/empty", b"");
    enable(&root.join("audit/empty")).unwrap();
    assert_eq!(left("audit/empty").1, 0o600);
    audit.close();
}

fn on_disk(dir: &Path) -> Direct {
    Direct(
        Audit::start(
            Settings { audit_dirs: vec![dir.to_path_buf()], ..Settings::default() },
            key(7),
            clock(),
        )
        .unwrap(),
    )
}

#[test]
fn real_files_are_created_private_and_only_where_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let (allowed, outside) = (dir.path().join("audit"), dir.path().join("outside"));
    std::fs::create_dir_all(allowed.join("sub")).unwrap();
    std::fs::create_dir(&outside).unwrap();
    let audit = on_disk(&allowed);
    let enable = |name: &str, path: &Path| {
        let options = [("file_path".to_owned(), path.to_str().unwrap().to_owned())].into();
        audit.enable(DeviceConfig::parse(Origin::Api, name, "file", "", &options)?, key(9), None)
    };
    let good = allowed.join("sub/vault.log");
    enable("good", &good).unwrap();
    assert_eq!(std::fs::metadata(&good).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(enable("twice", &good).is_err(), "one writer a file");

    symlink(outside.join("x"), allowed.join("link")).unwrap();
    symlink("/dev/full", allowed.join("full")).unwrap();
    symlink(&outside, allowed.join("dir")).unwrap();
    std::fs::write(outside.join("target"), b"").unwrap();
    std::fs::hard_link(outside.join("target"), allowed.join("hard")).unwrap();
    nix::unistd::mkfifo(&allowed.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::create_dir(allowed.join("folder")).unwrap();
    let up = allowed.join("../outside/up");
    let refused = [
        allowed.join("link"),
        allowed.join("full"),
        allowed.join("dir/in-link"),
        allowed.join("hard"),
        allowed.join("fifo"),
        allowed.join("folder"),
        allowed.join("missing/x"),
        outside.join("x"),
        up,
        allowed.clone(),
        "/dev/full".into(),
        "relative".into(),
    ];
    for (n, path) in refused.iter().enumerate() {
        assert!(enable(&format!("bad{n}"), path).is_err(), "{}", path.display());
    }
    let left: Vec<_> = std::fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["target"], "nothing was created outside");
    assert_eq!(audit.status().len(), 1);
    write(&audit, 0..3);
    let moved = allowed.join("sub/vault.log.1");
    std::fs::rename(&good, &moved).unwrap();
    audit.reopen().unwrap();
    write(&audit, 3..5);
    let head = audit.close().remove(0);
    let both = [std::fs::read(&moved).unwrap(), std::fs::read(&good).unwrap()].concat();
    assert_eq!(check(&both, &Options { head: Some(head), ..keys(&audit) }).fault, None);
    assert_eq!(std::fs::metadata(&good).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn options_are_checked_and_refusals_say_why() {
    let parse = |name: &str, kind: &str, options: &[(&str, &str)]| {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        DeviceConfig::parse(Origin::Api, name, kind, "", &options)
    };
    let path = ("file_path", "/var/log/vaultd/audit.log");
    let config =
        parse("file", "file", &[path, ("sync", "always"), ("hmac_paths", "true"), ("mode", "0600")]).unwrap();
    assert_eq!((config.name.as_str(), config.sync, config.hmac_accessor), ("file/", SyncMode::Always, true));
    assert_eq!(config.options().len(), 4);
    for (name, kind, options, word) in [
        ("file", "syslog", &[path][..], "syslog"),
        ("file", "file", &[], "file_path"),
        ("file", "file", &[path, ("prefix", "#!/bin/sh")], "prefix"),
        ("file", "file", &[path, ("mode", "0755")], "0600"),
        ("file", "file", &[path, ("log_raw", "true")], "danger_log_raw"),
        ("file", "file", &[path, ("danger_log_raw", "true")], "configuration file"),
        ("file", "file", &[path, ("format", "jsonx")], "json"),
        ("file", "file", &[path, ("hmac_accessor", "maybe")], "true or false"),
        ("file", "file", &[path, ("sync", "never")], "sync"),
        ("file", "file", &[path, ("nonsense", "1")], "nonsense"),
        ("file", "file", &[("file_path", "stdin")], "absolute"),
        ("file", "file", &[path, ("path", "/another/file")], "two files"),
        ("file", "syslog", &[path], "unknown audit backend"),
        ("file", "file", &[("file_path", "/a/../b")], ".."),
        ("file", "file", &[("file_path", "/a/./b")], "."),
        ("file", "file", &[("file_path", "/a//b")], "empty"),
        ("file", "file", &[("file_path", "/a/b\n")], "file name"),
        ("../up", "file", &[path], "relative"),
        ("", "file", &[path], "path"),
        ("a b", "file", &[path], "letters"),
    ] {
        match parse(name, kind, options) {
            Err(AuditError::Config(text)) => assert!(text.contains(word), "{text} should name {word}"),
            other => panic!("{name} {kind} {options:?}: {other:?}"),
        }
    }
}
