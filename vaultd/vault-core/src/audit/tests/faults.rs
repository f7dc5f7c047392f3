//! Fail-closed: whatever the disk does, a proof is issued only for what a device holds.

use super::*;
use std::collections::HashSet;
use std::time::Instant;

fn recorded(log: &[u8]) -> HashSet<String> {
    let lines = lines(log);
    of_type(&lines, "request").iter().map(|l| l["request"]["id"].as_str().unwrap().to_owned()).collect()
}

/// For every k: the k-th call on the file fails (whole or short writes, with or without a way
/// back), alone or with all that follow. No proof without a line; the log verifies afterwards and
/// says itself that something was missed.
#[test]
fn every_single_fault_leaves_no_proof_without_a_record() {
    for k in 0..40 {
        for (count, torn, truncate) in [
            (Some(1), false, false),
            (Some(1), true, false),
            (Some(3), true, true),
            (None, false, false),
            (None, true, true),
        ] {
            one_fault(k, count, torn, truncate);
        }
    }
}

/// What no device takes is counted, and what one takes is not.
#[test]
fn what_is_not_recorded_is_counted() {
    let (audit, memory, _clock) = with_memory(&[("sync", "always")]);
    let meters = audit.0.0.meters();
    let failures = || (meters.request_failures.get(), meters.response_failures.get());
    let first = audit.request(&entry(1)).unwrap();
    assert_eq!((failures(), meters.requests.read().count), ((0, 0), 1));
    memory.fail(0, None, false);
    assert!(audit.response(first, &ResponseEntry::new(&entry(1)), ()).is_err());
    assert_eq!(failures(), (0, 1));
    assert!(audit.request(&entry(2)).is_err() && audit.request(&entry(3)).is_err());
    assert_eq!((failures(), meters.responses.read().count), ((2, 1), 1));
    assert_eq!(meters.requests.read().count, 3);
}

fn one_fault(k: u64, count: Option<u64>, torn: bool, truncate: bool) {
    let (audit, memory, clock) = with_memory(&[("sync", "always")]);
    let before = memory.calls();
    memory.fail(k, count, torn);
    if truncate {
        memory.break_truncate();
    }
    let (mut accepted, mut refused) = (HashSet::new(), 0);
    let mut n = 0;
    while n < 60 && memory.calls() <= before + k + 8 {
        let e = entry(n);
        match audit.request(&e) {
            Ok(audited) => {
                accepted.insert(e.id.to_string());
                if let Err((_, ())) = audit.response(audited, &ResponseEntry::new(&e), ()) {
                    refused += 1;
                }
            }
            Err(AuditError::NotRecorded) => refused += 1,
            Err(e) => panic!("{e}"),
        }
        clock.forward(Duration::from_millis(100));
        n += 1;
    }
    memory.mend();
    // It comes back by itself, without anybody's doing but the next request's.
    eventually(&clock, || audit.request(&entry(1_000)).is_ok());
    let status = audit.status().remove(0);
    assert!(status.healthy);
    let options = keys(&audit);
    let head = audit.close().remove(0);
    let log = memory.read(LOG);
    let report = check(&log, &Options { head: Some(head), ..options });
    assert_eq!(report.fault, None, "k {k}, {count:?}, torn {torn}");
    let recorded = recorded(&log);
    assert!(accepted.is_subset(&recorded), "k {k}: accepted but not in the log");
    if refused > 0 && count.is_none() {
        assert!(report.notes.iter().any(|n| n.what == "gap"), "k {k}: {report:?}");
    }
}

#[test]
fn short_writes_are_completed() {
    let (audit, memory, _) = with_memory(&[]);
    memory.chop(7);
    for n in 0..20 {
        let _ = audit.request(&entry(n)).unwrap();
    }
    let options = keys(&audit);
    audit.close();
    let log = memory.read(LOG);
    assert_eq!(check(&log, &options).fault, None);
    assert_eq!(recorded(&log).len(), 20);
}

#[test]
fn a_record_is_synced_before_the_answer_or_within_a_second() {
    let (audit, memory, _) = with_memory(&[("sync", "always")]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (audit, memory) = (&audit, &memory);
            scope.spawn(move || {
                for n in 0..50 {
                    let e = entry(thread * 100 + n);
                    let _ = audit.request(&e).unwrap();
                    let mark = e.id.to_string();
                    // First how much is synced: the file may grow before it is read.
                    let synced = memory.synced();
                    let durable = memory.read(LOG)[..synced].to_vec();
                    assert!(String::from_utf8(durable).unwrap().contains(&mark));
                }
            });
        }
    });
    let (audit, memory, clock) = with_memory(&[]);
    let _ = audit.request(&entry(1)).unwrap();
    // By the background thread alone.
    eventually(&clock, || memory.synced() == memory.read(LOG).len());
}

#[test]
fn one_of_two_devices_is_enough_and_the_other_notes_its_gap() {
    let (good, bad, clock) = (Memory::default(), Memory::default(), clock());
    let audit = audit_on(Pair(good.clone(), bad.clone()), &clock);
    audit.enable(config(Path::new(LOG), &[]), key(9), None).unwrap();
    let options = [("file_path".to_owned(), "/bad/log".to_owned())].into();
    let second = DeviceConfig::parse(Origin::File, "second", "file", "", &options).unwrap();
    audit.enable(second, key(8), None).unwrap();
    bad.fail(0, None, true);
    for n in 0..50 {
        let e = entry(n);
        let audited = audit.request(&e).unwrap();
        let _ = audit.response(audited, &ResponseEntry::new(&e), ()).unwrap();
    }
    let status = audit.status();
    assert!(status[0].healthy && !status[1].healthy && status[1].error.is_some());
    assert!(status[1].missed >= 100);
    // Both gone: nothing is served.
    good.fail(0, None, false);
    assert!(matches!(audit.request(&entry(99)), Err(AuditError::NotRecorded)));
    let anonymous = RequestEntry { identity: None, ..entry(100) };
    for _ in 0..100 {
        assert!(audit.request(&anonymous).is_err(), "counted requests fail closed, too");
    }
    bad.mend();
    eventually(&clock, || audit.request(&entry(101)).is_ok());
    let verify_with = keys(&audit);
    audit.close();
    let report = check(&bad.read("/bad/log"), &verify_with);
    assert_eq!(report.fault, None);
    assert!(report.notes.iter().any(|n| n.what == "gap"));
}

/// A device that the vault had before and that cannot be opened: nothing is served, its head is
/// kept, and once it can be opened it goes on by itself where its chain stood.
#[test]
fn a_known_device_that_cannot_be_opened_refuses_and_comes_back() {
    let (audit, memory, _) = with_memory(&[]);
    let _ = audit.request(&entry(1)).unwrap();
    let head = audit.close().remove(0);
    let clock = clock();
    let audit = audit_on(memory.clone(), &clock);
    memory.fail(0, None, false);
    let known = (config(Path::new(LOG), &[]), key(9), Some(head.clone()));
    audit.restore(vec![known]).unwrap();
    assert!(matches!(audit.request(&entry(2)), Err(AuditError::NotRecorded)));
    let status = audit.status().remove(0);
    assert!(!status.healthy && status.error.is_some(), "{status:?}");
    assert_eq!(audit.heads(), std::slice::from_ref(&head), "nothing is known of it but what was");
    // Nobody asks for it: the background thread alone.
    memory.mend();
    eventually(&clock, || audit.status()[0].healthy);
    let _ = audit.request(&entry(3)).unwrap();
    let options = keys(&audit);
    let last = audit.close().remove(0);
    assert!(last.seq > head.seq);
    let log = memory.read(LOG);
    let report = check(&log, &Options { head: Some(last), ..options });
    assert_eq!(report.fault, None);
    assert!(report.notes.iter().any(|n| n.what == "gap"), "{report:?}");
    assert_eq!(recorded(&log).len(), 2);
}

/// One that opens is enough; disks that hang delay it by their bound and come back by themselves.
#[test]
fn of_restored_devices_one_is_enough() {
    let (good, bad, clock) = (Memory::default(), Memory::default(), clock());
    let audit = audit_on(Pair(good, bad.clone()), &clock);
    let hold = bad.block();
    let named = |name: &str, path: &str| {
        let options = [("file_path".to_owned(), path.to_owned())].into();
        let parsed = DeviceConfig::parse(Origin::Stored, name, "file", "", &options);
        (parsed.unwrap(), key(8), None)
    };
    let all = (0..limits::MAX_DEVICES).map(|n| named(&format!("bad{n}"), &format!("/bad/{n}")));
    let all = std::iter::once(named("good", LOG)).chain(all).collect();
    audit.restore(all).unwrap();
    let _ = audit.request(&entry(1)).unwrap();
    drop(hold);
    eventually(&clock, || audit.status().iter().all(|d| d.healthy));
    audit.close();
}

/// Two disks.
struct Pair(Memory, Memory);

impl Files for Pair {
    fn open(&self, path: &Path) -> std::io::Result<Arc<dyn crate::audit::file::LogFile>> {
        self.disk(path).open(path)
    }
    fn id(&self, path: &Path) -> Option<(u64, u64)> {
        self.disk(path).id(path)
    }
}

impl Pair {
    fn disk(&self, path: &Path) -> &Memory {
        if path.starts_with("/bad") { &self.1 } else { &self.0 }
    }
}

#[test]
fn an_answer_that_cannot_be_recorded_comes_back() {
    let (audit, memory, clock) = with_memory(&[]);
    let e = entry(1);
    let audited = audit.request(&e).unwrap();
    memory.fail(0, None, false);
    let outcome = Box::new("created");
    let (error, outcome) = audit.response(audited, &ResponseEntry::new(&e), outcome).unwrap_err();
    assert!(matches!(error, AuditError::NotRecorded));
    assert_eq!(*outcome, "created");
    // A proof of one request is none for another.
    memory.mend();
    eventually(&clock, || audit.request(&entry(5)).is_ok());
    let audited = audit.request(&entry(2)).unwrap();
    let other = entry(3);
    let mixed = audit.response(audited, &ResponseEntry::new(&other), ());
    assert!(matches!(mixed, Err((AuditError::Mismatch, ()))));
}

#[test]
fn a_blocked_device_fails_requests_in_time() {
    let (audit, memory, clock) = with_memory(&[]);
    let hold = memory.block();
    std::thread::scope(|scope| {
        // The first one hangs in its write; the others must not wait for it beyond the bound.
        scope.spawn(|| audit.request(&entry(1)).is_ok());
        eventually(&clock, || memory.waiting() > 0);
        let started = Instant::now();
        assert!(matches!(audit.request(&entry(2)), Err(AuditError::NotRecorded)));
        // Bounded, on a machine however busy: without the bound it would hang.
        assert!(started.elapsed() < limits::WRITE_WAIT + Duration::from_secs(20));
        drop(hold);
    });
    // Once the disk answers, so does the device; what it did not take is told in its log.
    eventually(&clock, || audit.request(&entry(3)).is_ok());
    audit.close();
    assert!(!of_type(&lines(&memory.read(LOG)), "gap").is_empty());
}

/// Written within time and never safe from a power cut: that is noticed although nobody waits for the
/// sync, and what comes is refused until the disk is back.
#[test]
fn a_sync_that_hangs_is_noticed() {
    let (audit, memory, clock) = with_memory(&[]);
    let hold = memory.block_sync();
    let _ = audit.request(&entry(1)).unwrap();
    eventually(&clock, || memory.syncing() > 0);
    let _ = audit.request(&entry(2)).unwrap();
    audit.0.0.expire_ahead(limits::SYNC_WAIT / 2);
    let _ = audit.request(&entry(3)).unwrap();
    audit.0.0.expire_ahead(limits::SYNC_WAIT);
    for n in 4..7 {
        assert!(matches!(audit.request(&entry(n)), Err(AuditError::NotRecorded)));
        assert!(audit.lookup(&entry(n)).unwrap().is_none());
    }
    let status = audit.status().remove(0);
    assert!(!status.healthy && status.error.is_some_and(|e| e.contains("sync")));
    // The writing thread is well and says so; that does not count.
    std::thread::scope(|scope| {
        scope.spawn(|| audit.sign_now());
    });
    assert!(!audit.status()[0].healthy);
    drop(hold);
    eventually(&clock, || audit.request(&entry(8)).is_ok());
    eventually(&clock, || memory.synced() == memory.read(LOG).len());
    assert!(audit.status()[0].error.is_none());
    let options = keys(&audit);
    audit.close();
    let log = memory.read(LOG);
    assert_eq!(check(&log, &options).fault, None);
    assert!(!of_type(&lines(&log), "gap").is_empty(), "the log says what it lacks");
}

#[test]
fn without_devices_requests_are_served_until_sealed() {
    let audit = audit_on(Memory::default(), &clock());
    let e = entry(1);
    let audited = audit.request(&e).unwrap();
    let opened = audit.open(audit.request(&e).unwrap()).unwrap();
    let _ = audit.response(audited, &ResponseEntry::new(&e), ()).unwrap();
    opened.complete(&Default::default());
    audit.close();
    assert!(matches!(audit.request(&e), Err(AuditError::Sealed)));
    assert!(matches!(audit.enable(config(Path::new(LOG), &[]), key(9), None), Err(AuditError::Sealed)));
}

#[test]
fn wiped_keys_stop_the_audit() {
    let arena = secmem::Arena::open(None).unwrap();
    let (memory, clock) = (Memory::default(), clock());
    let audit = audit_on(memory.clone(), &clock);
    audit.enable(config(Path::new(LOG), &[]), arena.from_slice(&[9; 32]).unwrap(), None).unwrap();
    let data = serde_json::json!({"a": "b"});
    let e = RequestEntry { data: Body::Fields(data.as_object().unwrap()), ..entry(1) };
    let _ = audit.request(&e).unwrap();
    arena.wipe();
    assert!(matches!(audit.request(&e), Err(AuditError::Sealed)));
    let log = memory.read(LOG);
    assert_eq!(recorded(&log).len(), 1);
}
