//! The sandbox is for a whole process and for good: a child of the test puts it on and tries.

use super::*;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const DIR: &str = "VAULTD_TEST_SANDBOX";

fn config(dir: &Path) -> Config {
    let text = format!(
        "storage \"sled\" {{ path = \"{0}/data\" }}\naudit_dirs = [\"{0}/audit\"]\nlistener \"unix\" {{ address = \"{0}/run/s\" }}\n",
        dir.display()
    );
    Config::parse(&dir.join("vaultd.hcl"), &text).expect("config")
}

#[test]
fn forbidden_acts_are_denied_and_needed_ones_are_not() {
    let dir = tempfile::tempdir().expect("dir");
    for name in ["audit", "run", "elsewhere"] {
        fs::create_dir(dir.path().join(name)).expect("mkdir");
    }
    fs::write(dir.path().join("elsewhere/secret"), "x").expect("write");
    let this = std::env::current_exe().expect("exe");
    let child = Command::new(this)
        .args([
            "--exact",
            "harden::tests::inside_the_sandbox",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIR, dir.path())
        .output()
        .expect("child");
    let text = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn inside_the_sandbox() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let done = apply(&config(&dir)).expect("harden");
    assert!(!done.report.dumpable);
    let landlocked = !done.warnings.iter().any(|w| w.contains("file system"));
    assert!(!done.warnings.iter().any(|w| w.contains("system calls")), "{:?}", done.warnings);

    // What the daemon does.
    let mut file = fs::File::create(dir.join("data/file")).expect("data is writable");
    file.write_all(b"x").and_then(|()| file.sync_all()).expect("and durable");
    fs::rename(dir.join("data/file"), dir.join("data/file2")).expect("rename");
    fs::write(dir.join("data.state/anchor"), "x").expect("state is writable");
    fs::File::open(&dir).and_then(|d| d.sync_all()).expect("the parent can be synced");
    fs::write(dir.join("audit/log"), "x").expect("audit is writable");
    let bind = Bind::Unix { path: dir.join("run/s"), mode: 0o660 };
    drop(crate::listener::BoundSockets::bind(&bind, 1).expect("unix socket"));
    assert_eq!(fs::metadata(dir.join("run/s")).expect("socket").mode() & 0o777, 0o660);
    drop(std::net::TcpListener::bind("127.0.0.1:0").expect("listen"));
    std::thread::spawn(|| ()).join().expect("threads");
    assert!(fs::read("/proc/self/status").is_ok());
    assert!(secmem::Arena::open(None).is_ok(), "the key arena");

    // What it has no business with.
    let denied = |r: std::io::Result<()>, what: &str| {
        let e = r.expect_err(what);
        assert_eq!(e.kind(), ErrorKind::PermissionDenied, "{what}: {e}");
    };
    denied(Command::new("/bin/true").status().map(drop), "exec");
    let nix = |r: nix::Result<()>| r.map_err(std::io::Error::from);
    denied(nix(nix::unistd::chroot("/")), "chroot");
    denied(nix(nix::sys::signal::kill(nix::unistd::getppid(), None)), "a signal to its parent");
    denied(fs::set_permissions("/etc/hosts", fs::Permissions::from_mode(0o644)), "chmod");
    denied(std::os::unix::fs::chown("/etc/hosts", Some(0), None), "chown");
    denied(nix(nix::sys::prctl::set_dumpable(true)), "dumpable");
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let raw = |family| socket(family, SockType::Raw, SockFlag::empty(), None).map(drop);
    denied(nix(raw(AddressFamily::Inet)), "raw socket");
    denied(nix(raw(AddressFamily::Packet)), "packet socket");
    denied(nix(raw(AddressFamily::Netlink)), "netlink");
    let vsock = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::empty(), None).map(drop);
    denied(nix(vsock), "vsock");
    if landlocked {
        denied(fs::read("/etc/passwd").map(drop), "a file of the system");
        denied(fs::read(dir.join("elsewhere/secret")).map(drop), "a neighbour's file");
        denied(fs::write(dir.join("elsewhere/new"), "x"), "a new file elsewhere");
        denied(fs::write(dir.join("vaultd.hcl"), "x"), "the config");
        denied(fs::read_dir("/home").map(drop), "homes");
    }
}

#[test]
fn directories_of_others_or_open_to_them_are_refused() {
    let home = tempfile::tempdir().expect("dir");
    let config = config(home.path());
    make_directories(&config).expect("made by itself");
    make_directories(&config).expect("and found again");
    for name in ["data", "data.state"] {
        let dir = home.path().join(name);
        for mode in [0o755, 0o701, 0o770, 0o1777, 0o740] {
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).expect("chmod");
            let e = make_directories(&config).expect_err(name);
            assert!(matches!(&e, HardenError::Open { path, mode: m } if *path == dir && *m == mode), "{e}");
            let now = fs::metadata(&dir).expect("dir").mode() & 0o7777;
            assert_eq!(now, mode, "left as it was found");
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("chmod");
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&dir, Some(12_345), None).expect("chown");
            let e = make_directories(&config).expect_err(name);
            assert!(matches!(e, HardenError::Foreign { owner: 12_345, .. }), "{e}");
            std::os::unix::fs::chown(&dir, Some(0), None).expect("chown");
        }
    }
    fs::remove_dir(home.path().join("data")).expect("rmdir");
    fs::write(home.path().join("data"), "x").expect("write");
    assert!(make_directories(&config).is_err(), "a file in its place");
}
