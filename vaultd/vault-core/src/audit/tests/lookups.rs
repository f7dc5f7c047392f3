//! Requests that only look something up: their record goes out with their answer's.

use super::*;

fn kinds(memory: &Memory) -> Vec<(String, String)> {
    let text =
        |l: &serde_json::Value, p: &str| l.pointer(p).and_then(|v| v.as_str()).unwrap_or("").to_owned();
    let all = lines(&memory.read(LOG));
    let all = all.iter().filter(|l| l["type"] == "request" || l["type"] == "response");
    all.map(|l| (text(l, "/type"), text(l, "/request/id"))).collect()
}

#[test]
fn both_records_go_out_in_one_write_before_the_answer() {
    let (audit, memory, _) = with_memory(&[]);
    let before = memory.appends();
    let mut expected = Vec::new();
    for n in 0..20 {
        let e = entry(n);
        let audited = audit.lookup(&e).unwrap().expect("a device takes records");
        assert_eq!(kinds(&memory).len(), 2 * n as usize, "not yet");
        let _ = audit.response(audited, &ResponseEntry::new(&e), ()).unwrap();
        expected.extend(["request", "response"].map(|k| (k.to_owned(), e.id.to_string())));
        // On record, and only now.
        assert_eq!(kinds(&memory), expected);
    }
    // A checkpoint now and then may take one of its own.
    assert!(memory.appends() - before < 30, "{} writes for 20 requests", memory.appends() - before);
    let options = keys(&audit);
    audit.close();
    assert_eq!(check(&memory.read(LOG), &options).fault, None);
}

#[test]
fn one_that_gets_no_answer_is_on_record_all_the_same() {
    let (audit, memory, clock) = with_memory(&[]);
    drop(audit.lookup(&entry(1)).unwrap().unwrap());
    eventually(&clock, || kinds(&memory).len() == 1);
    assert_eq!(kinds(&memory)[0], ("request".to_owned(), id(1).to_string()));
    // A proof that is used for another request.
    let audited = audit.lookup(&entry(2)).unwrap().unwrap();
    let other = entry(3);
    assert!(matches!(
        audit.response(audited, &ResponseEntry::new(&other), ()),
        Err((AuditError::Mismatch, ()))
    ));
    eventually(&clock, || kinds(&memory).len() == 2);
    assert_eq!(kinds(&memory)[1].1, id(2).to_string());
}

#[test]
fn nothing_is_answered_that_is_not_on_record() {
    for torn in [false, true] {
        let (audit, memory, clock) = with_memory(&[]);
        let e = entry(1);
        let audited = audit.lookup(&e).unwrap().unwrap();
        memory.fail(0, None, torn);
        let refused = audit.response(audited, &ResponseEntry::new(&e), ());
        assert!(matches!(refused, Err((AuditError::NotRecorded, ()))));
        assert_eq!(audit.status()[0].missed, 2, "both are missed");
        // Known to fail: on record first, or refused, as any other.
        assert!(audit.lookup(&entry(2)).unwrap().is_none());
        assert!(audit.request(&entry(2)).is_err());
        memory.mend();
        eventually(&clock, || audit.request(&entry(3)).is_ok());
        let options = keys(&audit);
        audit.close();
        assert_eq!(check(&memory.read(LOG), &options).fault, None);
        assert_eq!(kinds(&memory), [("request".to_owned(), id(3).to_string())]);
    }
    // Without an identity there is no such way: a flood of these is summed up.
    let (audit, _, _) = with_memory(&[]);
    assert!(audit.lookup(&RequestEntry { identity: None, ..entry(1) }).unwrap().is_none());
    audit.close();
    assert!(matches!(audit.lookup(&entry(1)), Err(AuditError::Sealed)));
}

#[test]
fn devices_that_come_and_go_meanwhile_have_what_they_can() {
    let (audit, memory, _) = with_memory(&[]);
    let e = entry(1);
    let audited = audit.lookup(&e).unwrap().unwrap();
    let options = [("file_path".to_owned(), "/audit/second".to_owned())].into();
    let second = DeviceConfig::parse(Origin::File, "second", "file", "", &options).unwrap();
    audit.enable(second, key(8), None).unwrap();
    audit.disable("file").unwrap();
    let _ = audit.response(audited, &ResponseEntry::new(&e), ()).unwrap();
    let options = keys(&audit);
    audit.close();
    let log = memory.read("/audit/second");
    assert_eq!(of_type(&lines(&log), "response").len(), 1);
    assert_eq!(check(&log, &options).fault, None);
}
