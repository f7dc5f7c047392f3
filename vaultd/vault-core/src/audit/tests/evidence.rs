//! Nothing can be done to a log that verification does not find.

use super::*;
use crate::audit::chain;
use crate::audit::tail::Point;
use crate::audit::verify::{FaultKind, Unproved};
use std::sync::OnceLock;

struct Sample {
    bytes: Vec<u8>,
    head: Head,
    options: Options,
}

/// A log of about 200 lines with several checkpoints, cleanly closed.
fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let (audit, memory, clock) = with_memory(&[]);
        for n in 0..98 {
            let e = entry(n);
            let audited = audit.request(&e).unwrap();
            let _ = audit.response(audited, &ResponseEntry::new(&e), ()).unwrap();
            clock.forward(Duration::from_millis(20));
            if n % 20 == 19 {
                audit.reopen().unwrap();
                audit.sign_now();
            }
        }
        let options = keys(&audit);
        let head = audit.close().remove(0);
        Sample { bytes: memory.read(LOG), head, options }
    })
}

fn with_head(s: &Sample) -> Options {
    Options { head: Some(s.head.clone()), ..s.options.clone() }
}

fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn an_untouched_log_is_intact() {
    let s = sample();
    let report = check(&s.bytes, &with_head(s));
    assert_eq!(report.fault, None);
    assert_eq!(report.head_found, Some(true));
    assert_eq!(report.device, "file/");
    assert_eq!(report.unsigned, 0);
    assert_eq!(report.last.as_ref(), Some(&s.head));
    assert!(report.lines > 200 && report.checkpoints >= 5, "{report:?}");
    assert!(check(&s.bytes, &Options::default()).intact());
}

/// Every byte of the log changed in three ways. A change can only be told by the line it is in (or
/// by the two lines it joins), so these are checked from the known state before them.
#[test]
fn every_changed_byte_is_found() {
    let s = sample();
    let mut bytes = s.bytes.clone();
    let mut from = 0;
    let mut before = Point::START;
    let lengths: Vec<usize> = split(&s.bytes).iter().map(Vec::len).collect();
    for (n, length) in lengths.iter().enumerate() {
        let (own, next) = (from + length, lengths.get(n + 1).copied().unwrap_or(0));
        for at in from..own {
            for change in [1u8, 0x20, 0x80] {
                bytes[at] ^= change;
                let to = if at + 1 == own { own + next } else { own };
                assert!(follow(&bytes[from..to], before).is_none(), "byte {at} ^ {change:#x}");
                bytes[at] ^= change;
            }
        }
        before = follow(&bytes[from..own], before).unwrap();
        from = own;
    }
    // The same through the whole of `verify`, for a spread of places and all of the last line.
    for at in (0..bytes.len()).step_by(211).chain(bytes.len() - 300..bytes.len()) {
        bytes[at] ^= 1;
        assert!(!check(&bytes, &s.options).intact(), "byte {at}");
        bytes[at] ^= 1;
    }
}

/// The state after `piece`, if every line in it follows.
fn follow(piece: &[u8], mut at: Point) -> Option<Point> {
    for line in piece.strip_suffix(b"\n")?.split(|b| *b == b'\n') {
        let line = chain::Line::parse(line).filter(|l| l.follows(at.seq, &at.chain))?;
        at = Point { seq: line.seq, chain: line.chain };
    }
    Some(at)
}

#[test]
fn every_deleted_swapped_repeated_or_inserted_line_is_found() {
    let s = sample();
    let good = split(&s.bytes);
    let options = with_head(s);
    for n in 0..good.len() {
        let mut deleted = good.clone();
        deleted.remove(n);
        assert!(!check(&deleted.concat(), &options).intact(), "deleted line {n}");
        let mut repeated = good.clone();
        repeated.insert(n, good[n].clone());
        assert!(!check(&repeated.concat(), &options).intact(), "repeated line {n}");
        for other in [n + 1, (n * 7 + 3) % good.len()] {
            if other < good.len() && other != n {
                let mut swapped = good.clone();
                swapped.swap(n, other);
                assert!(!check(&swapped.concat(), &options).intact(), "swapped {n} and {other}");
                let mut inserted = good.clone();
                inserted.insert(n, good[other].clone());
                assert!(!check(&inserted.concat(), &options).intact(), "{other} inserted at {n}");
            }
        }
    }
}

#[test]
fn a_cut_is_found_at_every_line_through_the_head() {
    let s = sample();
    let good = split(&s.bytes);
    for n in 0..good.len() {
        let cut = good[..n].concat();
        let report = check(&cut, &with_head(s));
        assert_eq!(report.fault.map(|f| f.kind), Some(FaultKind::Truncated), "cut before line {n}");
        // From the front as well, and inside a line without any head.
        assert!(n == 0 || !check(&good[n..].concat(), &s.options).intact());
        let inside = [cut, good[n][..good[n].len() / 2].to_vec()].concat();
        assert!(!check(&inside, &s.options).intact());
    }
}

#[test]
fn two_logs_cannot_be_spliced() {
    let s = sample();
    let (other, memory, _) = with_memory(&[]);
    for n in 0..210 {
        // Same ids, times and paths: only the chain can tell them apart.
        let _ = other.request(&RequestEntry { error: Some("x"), ..entry(n) }).unwrap();
    }
    other.close();
    let (a, b) = (split(&s.bytes), split(&memory.read(LOG)));
    for n in 3..a.len().min(b.len()) {
        for (first, second) in [(&a, &b), (&b, &a)] {
            let spliced = [first[..n].concat(), second[n..].concat()].concat();
            assert!(!check(&spliced, &s.options).intact(), "spliced at {n}");
        }
    }
}

/// An attacker who computes the chain anew after a change is stopped by the signatures.
#[test]
fn a_chain_computed_anew_fails_at_the_next_checkpoint() {
    let s = sample();
    let good = split(&s.bytes);
    for n in (0..good.len() - 1).step_by(3) {
        for drop_signatures in [false, true] {
            let mut at = Point::START;
            let mut forged = Vec::new();
            for (i, line) in good.iter().enumerate() {
                let parsed = chain::Line::parse(line.strip_suffix(b"\n").unwrap()).unwrap();
                if drop_signatures && i > n && parsed.is("checkpoint") {
                    continue;
                }
                let mut body = parsed.body.to_vec();
                if i == n {
                    body.extend_from_slice(b",\"forged\":true");
                }
                let seq = at.seq + 1;
                let link = chain::link(&at.chain, seq, &chain::digest(&body));
                chain::finish(&mut body, seq, &link);
                forged.extend_from_slice(&body);
                at = Point { seq, chain: link };
            }
            // Without later signatures only the stored head can tell; with them no head is needed.
            let options = if drop_signatures { with_head(s) } else { s.options.clone() };
            let expect = if drop_signatures { FaultKind::HeadMismatch } else { FaultKind::Signature };
            let fault = check(&forged, &options).fault.map(|f| f.kind);
            let early = drop_signatures
                && matches!(
                    fault,
                    Some(FaultKind::NoCheckpoint | FaultKind::Truncated | FaultKind::Signature)
                );
            assert!(early || fault == Some(expect), "line {n}: {fault:?}");
            assert!(check(&forged, &Options::default()).intact(), "the forgery itself is well made");
        }
    }
}

/// The bodies chained anew from the start.
fn rechained(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut at = Point::START;
    let mut out = Vec::new();
    for body in bodies {
        let seq = at.seq + 1;
        let link = chain::link(&at.chain, seq, &chain::digest(body));
        out.extend_from_slice(body);
        chain::finish(&mut out, seq, &link);
        at = Point { seq, chain: link };
    }
    out
}

/// What whoever can write the file can do to it: with key and head each is found, without them
/// none is called proved.
#[test]
fn a_forgery_is_found_or_not_called_proved() {
    let s = sample();
    let good = split(&s.bytes);
    let parsed: Vec<_> =
        good.iter().map(|l| chain::Line::parse(l.strip_suffix(b"\n").unwrap()).unwrap()).collect();
    let bodies = |keep: &dyn Fn(usize, &chain::Line<'_>) -> bool| -> Vec<Vec<u8>> {
        let kept = parsed.iter().enumerate().filter(|(i, l)| keep(*i, l));
        kept.map(|(_, l)| l.body.to_vec()).collect()
    };
    let memory = Memory::default();
    let invented = Direct(Audit::with_files(Box::new(memory.clone()), key(6), clock()).unwrap());
    invented.enable(config(Path::new(LOG), &[]), key(9), None).unwrap();
    for n in 0..20 {
        let _ = invented.request(&entry(n)).unwrap();
    }
    invented.close();
    let forgeries = [
        ("40 records deleted", rechained(&bodies(&|i, l| !(50..90).contains(&i) || l.is("checkpoint")))),
        ("checkpoints removed", rechained(&bodies(&|_, l| !l.is("checkpoint")))),
        ("all checkpoints but the first removed", rechained(&bodies(&|i, l| i < 2 || !l.is("checkpoint")))),
        ("invented", memory.read(LOG)),
        ("cut at a line's end", good[..150].concat()),
        ("cut before its last line", good[..good.len() - 1].concat()),
    ];
    let head = Some(s.head.clone());
    for (what, forged) in &forgeries {
        let report = check(forged, &Options { head: head.clone(), ..s.options.clone() });
        assert!(report.fault.is_some(), "{what}");
        for given in
            [Options::default(), s.options.clone(), Options { head: head.clone(), ..Options::default() }]
        {
            let report = check(forged, &given);
            assert!(report.fault.is_some() || !report.unproved.is_empty(), "{what}");
        }
        let alone = check(forged, &Options::default());
        assert_eq!(alone.fault, None, "{what}: well made");
        assert!(alone.unproved.starts_with(&[Unproved::Author, Unproved::Whole]), "{what}");
    }
    assert_eq!(check(&s.bytes, &with_head(s)).unproved, []);
    assert_eq!(check(&s.bytes, &s.options).unproved, [Unproved::Whole]);
    assert_eq!(
        check(&s.bytes, &Options { head: head.clone(), ..Options::default() }).unproved,
        [Unproved::Author]
    );
    // Lines that stand behind the head and the last checkpoint are said to be unproved, or not read.
    let (live, memory, _) = with_memory(&[]);
    let _ = live.request(&entry(1)).unwrap();
    let early = Options { head: live.heads().pop(), ..keys(&live) };
    let _ = live.request(&entry(2)).unwrap();
    let report = check(&memory.read(LOG), &early);
    assert_eq!(report.unproved, [Unproved::Tail(1)]);
    let report = check(&memory.read(LOG), &Options { through_head: true, ..early.clone() });
    assert_eq!((report.unproved, report.last), (vec![], early.head.clone()));
    // A key that is none refuses every checkpoint; it does not switch the check off.
    let no_key = Options { keys: vec![PublicKey([2; 32])], head, ..Options::default() };
    assert!(check(&s.bytes, &no_key).fault.is_some());
}

#[test]
fn another_signing_key_is_not_accepted() {
    let s = sample();
    let other = Options { keys: vec![PublicKey([3; 32])], ..Options::default() };
    assert_eq!(check(&s.bytes, &other).fault.map(|f| f.kind), Some(FaultKind::UnknownKey));
    let head = Head { device: "other/".into(), ..s.head.clone() };
    let report = check(&s.bytes, &Options { head: Some(head), ..s.options.clone() });
    assert_eq!(report.fault.map(|f| f.kind), Some(FaultKind::Device));
}

#[test]
fn a_long_run_without_checkpoints_is_a_fault() {
    let mut at = Point::START;
    let mut bytes = Vec::new();
    let s = sample();
    for line in split(&s.bytes).iter().take(2) {
        let l = chain::Line::parse(line.strip_suffix(b"\n").unwrap()).unwrap();
        at = Point { seq: l.seq, chain: l.chain };
        bytes.extend_from_slice(line);
    }
    for _ in 0..limits::MAX_RECORDS_PER_CHECKPOINT + 20 {
        let mut body = b"{\"type\":\"request\"".to_vec();
        let seq = at.seq + 1;
        let link = chain::link(&at.chain, seq, &chain::digest(&body));
        chain::finish(&mut body, seq, &link);
        at = Point { seq, chain: link };
        bytes.extend_from_slice(&body);
    }
    assert_eq!(check(&bytes, &s.options).fault.map(|f| f.kind), Some(FaultKind::NoCheckpoint));
    assert!(check(&bytes, &Options::default()).intact());
}

#[test]
fn eight_writers_make_one_chain() {
    let (audit, memory, _) = with_memory(&[]);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let audit = audit.clone();
            scope.spawn(move || {
                for n in 0..1000 {
                    let e = entry(thread * 10_000 + n);
                    let audited = audit.request(&e).unwrap();
                    if n % 2 == 0 {
                        let _ = audit.response(audited, &ResponseEntry::new(&e), ()).unwrap();
                    }
                }
            });
        }
    });
    let options = keys(&audit);
    let head = audit.close().remove(0);
    let bytes = memory.read(LOG);
    let report = check(&bytes, &Options { head: Some(head), ..options });
    assert_eq!(report.fault, None);
    assert!(report.checkpoints >= 12, "{report:?}");
    let lines = lines(&bytes);
    assert_eq!(of_type(&lines, "request").len(), 8_000);
    assert_eq!(of_type(&lines, "response").len(), 4_000);
    let ids: std::collections::HashSet<_> =
        of_type(&lines, "request").iter().map(|l| l["request"]["id"].to_string()).collect();
    assert_eq!(ids.len(), 8_000);
}

/// The figure that assurance asks for; run in an optimised build:
/// `cargo test --release -p vault-core audit -- --ignored speed --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let (audit, memory, _) = with_memory(&[]);
    let policies = ["default".to_owned(), "app-read".to_owned()];
    let data = serde_json::json!({"data": {"username": "u", "password": "p", "host": "h"}});
    let data = data.as_object().unwrap();
    let hashes = audit.hash_identity("hvs.token", "accessor").unwrap();
    let n = 100_000u64;
    let started = std::time::Instant::now();
    for i in 0..n {
        let e = RequestEntry {
            credential: Some(Credential { token: "hvs.token", accessor: "accessor", hashes: Some(&hashes) }),
            identity: Some(Identity { policies: &policies, token_policies: &policies, ..caller() }),
            ..entry(i)
        };
        let audited = audit.request(&e).unwrap();
        let r = ResponseEntry { data: Body::Fields(data), ..ResponseEntry::new(&e) };
        let _ = audit.response(audited, &r, ()).unwrap();
    }
    println!("record pair: {:?}", started.elapsed() / n as u32);
    let options = keys(&audit);
    audit.close();
    let bytes = memory.read(LOG);
    let started = std::time::Instant::now();
    let report = check(&bytes, &options);
    assert_eq!(report.fault, None);
    let rate = report.lines as f64 / started.elapsed().as_secs_f64();
    println!("verify: {rate:.0} lines/s, {} bytes a line", bytes.len() as u64 / report.lines);
}
