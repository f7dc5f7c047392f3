//! Hardening cannot be undone, so each case runs in a process of its own: this test binary again, with one test.

use std::process::Command;

use super::*;
use crate::{Arena, Protection};

/// Runs one ignored test, named by its full path, in a process of its own.
pub(crate) fn in_child(test: &str) {
    let me = std::env::current_exe().unwrap();
    let out = Command::new(me).args(["--exact", test, "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn hardens_the_process() {
    in_child("process::tests::child_hardens");
}

#[test]
#[ignore = "changes the process; run by hardens_the_process"]
fn child_hardens() {
    assert!(prctl::get_dumpable().unwrap(), "the control: dumpable before");
    let report = harden(MemoryLock::Auto).unwrap();
    assert!(!report.dumpable && report.core_limit_zero && report.no_new_privs);
    assert!(!prctl::get_dumpable().unwrap());
    assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
    if report.locked == MemoryLocked::All {
        let status = std::fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(status.lines().any(|l| l.starts_with("VmFlags:") && l.split(' ').any(|f| f == "lo")));
        // Threads must still start, with every stack they map.
        let threads: Vec<_> = (0..16).map(|n| std::thread::spawn(move || n)).collect();
        assert_eq!(threads.into_iter().map(|t| t.join().unwrap()).sum::<i32>(), 120);
    }
}

#[test]
fn an_unprivileged_process_locks_its_keys() {
    in_child("process::tests::child_unprivileged");
}

#[test]
#[ignore = "gives up privileges; run by an_unprivileged_process_locks_its_keys"]
fn child_unprivileged() {
    const LIMIT: u64 = 8 * 1024 * 1024;
    setrlimit(Resource::RLIMIT_MEMLOCK, LIMIT, LIMIT).unwrap();
    if nix::unistd::geteuid().is_root() {
        nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).unwrap();
    }
    assert_eq!(harden(MemoryLock::All), Err(HardenError::CannotLockAll));
    let report = harden(MemoryLock::Auto).unwrap();
    assert_eq!(report.locked, MemoryLocked::Keys);
    assert!(report.warnings.iter().any(|w| w.contains("CAP_IPC_LOCK")), "{:?}", report.warnings);
    assert_eq!(harden(MemoryLock::Off).unwrap().locked, MemoryLocked::None);
    // The limit that most systems set is enough for the arena, in either locked mode.
    let arena = Arena::open(None).unwrap();
    assert_ne!(arena.protection(), Protection::Unlocked);
    Arena::open(Some(Protection::Mlock)).unwrap().random(32).unwrap().with(|_| ()).unwrap();
    for n in 0..3 {
        std::thread::spawn(move || n).join().unwrap();
    }
}

#[test]
fn a_finite_limit_without_the_capability_is_not_enough() {
    assert!(may_lock_all(RLIM_INFINITY, 0));
    assert!(may_lock_all(64 * 1024, 1 << 14));
    assert!(!may_lock_all(8 * 1024 * 1024, !(1 << 14)));
}
