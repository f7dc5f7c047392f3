//! One check for each promise in the documentation of [`Physical`].

use super::Fixture;
use crate::physical::{
    Child, Error, Fence, Key, MAX_TXN_BYTES, MAX_TXN_OPS, Op, Outcome, Physical, Record, Seq, Txn, WatchSink,
};
use parking_lot::Mutex;
use std::sync::Arc;

const FENCE: Fence = Fence(1);

fn key(path: &str) -> Key {
    path.split('/').fold(Key::root(), |k, s| k.join(s.as_bytes()))
}

fn put(path: &str, value: &[u8]) -> Op {
    Op::Put { key: key(path), value: value.to_vec() }
}

fn delete(path: &str) -> Op {
    Op::Delete { key: key(path) }
}

fn txn(ops: Vec<Op>) -> Txn {
    Txn { ops, ..Txn::default() }
}

async fn one(p: &dyn Physical, t: Txn) -> Outcome {
    let mut out = p.apply(FENCE, vec![t]).await.unwrap();
    assert_eq!(out.len(), 1);
    out.remove(0)
}

async fn applied(p: &dyn Physical, t: Txn) -> Seq {
    match one(p, t).await {
        Outcome::Applied { seq } => seq,
        other => panic!("refused: {other:?}"),
    }
}

async fn value(p: &dyn Physical, path: &str) -> Option<Vec<u8>> {
    p.get(&key(path)).await.unwrap().map(|r| r.value)
}

pub(super) async fn records(f: &dyn Fixture) {
    let p = f.open().await;
    assert_eq!(p.seq(), 0, "an empty store is at sequence 0");
    assert_eq!(p.get(&key("a")).await.unwrap(), None);
    let s1 = applied(&*p, txn(vec![put("a", b"1"), put("a/b", b""), put("c", &[7; 40_000])])).await;
    assert!(s1 > 0);
    assert_eq!(p.seq(), s1);
    assert_eq!(p.get(&key("a")).await.unwrap(), Some(Record { rev: s1, value: b"1".to_vec() }));
    assert_eq!(value(&*p, "a/b").await.as_deref(), Some(&b""[..]), "an empty value is a value");
    assert_eq!(value(&*p, "c").await.map(|v| v.len()), Some(40_000));
    assert_eq!(p.get(&Key::root()).await.unwrap(), None);
    let s2 = applied(&*p, txn(vec![put("a", b"2"), delete("c"), delete("never")])).await;
    assert!(s2 > s1, "sequences grow");
    assert_eq!(p.get(&key("a")).await.unwrap(), Some(Record { rev: s2, value: b"2".to_vec() }));
    assert_eq!(value(&*p, "c").await, None);
    // The last operation on a key is the one that counts.
    let big = vec![9; 100_000];
    applied(&*p, txn(vec![put("d", &big), put("d", b"x"), put("e", b"x"), delete("e"), put("e", b"y")]))
        .await;
    applied(&*p, txn(vec![put("f", b"x"), delete("f")])).await;
    assert_eq!(value(&*p, "d").await.as_deref(), Some(&b"x"[..]));
    assert_eq!(value(&*p, "e").await.as_deref(), Some(&b"y"[..]));
    assert_eq!(value(&*p, "f").await, None);
    // Values around and across the sizes at which a backend may split them.
    for len in [8191, 8192, 8193, 16_384, 16_385, 524_288] {
        let v: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        applied(&*p, txn(vec![put("sized", &v)])).await;
        assert_eq!(value(&*p, "sized").await, Some(v));
    }
    applied(&*p, txn(vec![put("sized", b"short again")])).await;
    assert_eq!(value(&*p, "sized").await.as_deref(), Some(&b"short again"[..]));
    p.close().await.unwrap();
}

pub(super) async fn expectations(f: &dyn Fixture) {
    let p = f.open().await;
    let expect = |facts: Vec<(&str, Option<Seq>)>, ops: Vec<Op>| Txn {
        expect: facts.into_iter().map(|(k, r)| (key(k), r)).collect(),
        ops,
        rider: None,
    };
    let s1 = applied(&*p, expect(vec![("a", None)], vec![put("a", b"1")])).await;
    let refused = expect(vec![("a", Some(s1)), ("a", None)], vec![put("a", b"bad"), put("b", b"bad")]);
    assert_eq!(one(&*p, refused).await, Outcome::Conflict { index: 1 });
    assert_eq!(value(&*p, "a").await.as_deref(), Some(&b"1"[..]));
    assert_eq!(value(&*p, "b").await, None, "a refused transaction writes nothing");
    assert_eq!(p.seq(), s1, "a refused transaction takes no sequence");
    let s2 = applied(&*p, expect(vec![("a", Some(s1)), ("b", None)], vec![put("b", b"1")])).await;
    assert_eq!(one(&*p, expect(vec![("b", Some(s1))], vec![])).await, Outcome::Conflict { index: 0 });
    let only_reads = one(&*p, expect(vec![("a", Some(s1)), ("b", Some(s2))], vec![])).await;
    assert!(matches!(only_reads, Outcome::Applied { .. }));
    assert_eq!(p.seq(), s2, "a transaction without writes takes no sequence");
    // Deleting and writing anew gives another revision: no key returns to an old state unseen.
    applied(&*p, txn(vec![delete("a")])).await;
    assert_eq!(one(&*p, expect(vec![("a", Some(s1))], vec![])).await, Outcome::Conflict { index: 0 });
    applied(&*p, txn(vec![put("a", b"1")])).await;
    assert_eq!(one(&*p, expect(vec![("a", Some(s1))], vec![])).await, Outcome::Conflict { index: 0 });
    p.close().await.unwrap();
}

/// Transactions of one call are judged in order, each also against those accepted before it.
pub(super) async fn batches(f: &dyn Fixture) {
    let p = f.open().await;
    let take = |by: &str| Txn {
        expect: vec![(key("slot"), None)],
        ops: vec![put("slot", by.as_bytes())],
        rider: None,
    };
    let out = p.apply(FENCE, vec![take("first"), take("second"), txn(vec![put("x", b"1")])]).await.unwrap();
    assert!(matches!(out[0], Outcome::Applied { .. }));
    assert_eq!(out[1], Outcome::Conflict { index: 0 });
    assert!(matches!(out[2], Outcome::Applied { .. }), "one refusal does not touch the others");
    assert_eq!(value(&*p, "slot").await.as_deref(), Some(&b"first"[..]));
    let rev = p.get(&key("slot")).await.unwrap().unwrap().rev;
    let free = Txn { expect: vec![(key("slot"), Some(rev))], ops: vec![delete("slot")], rider: None };
    let out = p.apply(FENCE, vec![free.clone(), take("third"), free]).await.unwrap();
    assert!(matches!(out[1], Outcome::Applied { .. }), "sees the deletion before it");
    assert_eq!(out[2], Outcome::Conflict { index: 0 }, "and is seen by the one after it");
    assert_eq!(value(&*p, "slot").await.as_deref(), Some(&b"third"[..]));
    assert_eq!(p.apply(FENCE, vec![]).await.unwrap(), vec![]);
    p.close().await.unwrap();
}

pub(super) async fn bounds(f: &dyn Fixture) {
    let p = f.open().await;
    let many = |n: usize| txn((0..n).map(|i| put(&format!("n/{i}"), b"")).collect());
    assert_eq!(one(&*p, many(MAX_TXN_OPS + 1)).await, Outcome::TooLarge);
    applied(&*p, many(MAX_TXN_OPS)).await;
    let bytes = key("big").as_bytes().len();
    let big = |n: usize| txn(vec![put("big", &vec![1; n])]);
    assert_eq!(one(&*p, big(MAX_TXN_BYTES - bytes + 1)).await, Outcome::TooLarge);
    assert_eq!(value(&*p, "big").await, None);
    applied(&*p, big(MAX_TXN_BYTES - bytes)).await;
    assert_eq!(value(&*p, "big").await.map(|v| v.len()), Some(MAX_TXN_BYTES - bytes));
    p.close().await.unwrap();
}

pub(super) async fn scans(f: &dyn Fixture) {
    let p = f.open().await;
    let paths = ["a", "a/b", "a/c", "aa", "b", "b/a/a"];
    let mut keys: Vec<Key> = paths.iter().map(|s| key(s)).collect();
    applied(&*p, txn(paths.iter().map(|s| put(s, s.as_bytes())).collect())).await;
    keys.sort();
    let all = p.scan(&[], None, 100).await.unwrap();
    assert_eq!(all.iter().map(|(k, _)| k.clone()).collect::<Vec<_>>(), keys, "key order");
    assert_eq!(p.scan(&[], None, 0).await.unwrap(), vec![]);
    let below_a = p.scan(key("a").as_bytes(), None, 100).await.unwrap();
    assert_eq!(
        below_a.iter().map(|(k, _)| k.clone()).collect::<Vec<_>>(),
        [key("a"), key("a/b"), key("a/c")]
    );
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map(|(k, _): &(Key, Record)| k.as_bytes().to_vec());
        let page = p.scan(&[], after.as_deref(), 2).await.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all, "pages join to the whole");
    // `after` need not exist, and may lie before the prefix.
    let from_mid = p.scan(&[], Some(key("a/bb").as_bytes()), 100).await.unwrap();
    assert!(from_mid.iter().all(|(k, _)| *k > key("a/bb")));
    assert_eq!(p.scan(key("b").as_bytes(), Some(&[0]), 100).await.unwrap().len(), 2);
    assert_eq!(p.scan(key("a").as_bytes(), Some(key("b").as_bytes()), 100).await.unwrap(), vec![]);
    p.close().await.unwrap();
}

pub(super) async fn folders(f: &dyn Fixture) {
    let p = f.open().await;
    let paths = ["f", "f/only-record", "f/only-folder/x/y", "f/both", "f/both/z", "g", "f2/no"];
    applied(&*p, txn(paths.iter().map(|s| put(s, b"")).collect())).await;
    for chunk in 0..20 {
        let ops = (0..100).map(|i| put(&format!("f/deep/{chunk}/{i}"), b"")).collect();
        applied(&*p, txn(ops)).await;
    }
    let child = |s: &str, record, folder| Child { segment: s.as_bytes().to_vec(), record, folder };
    let mut want = vec![
        child("only-record", true, false),
        child("only-folder", false, true),
        child("both", true, true),
        child("deep", false, true),
    ];
    want.sort_by_key(|c| Key::root().join(&c.segment));
    assert_eq!(p.children(&key("f"), None, 100).await.unwrap(), want, "the folder's own record is no child");
    for (i, c) in want.iter().enumerate() {
        let page = p.children(&key("f"), Some(&c.segment), 1).await.unwrap();
        assert_eq!(page.first(), want.get(i + 1));
    }
    assert_eq!(p.children(&key("f"), None, 2).await.unwrap(), want[..2]);
    assert_eq!(p.children(&key("f"), None, 0).await.unwrap(), vec![]);
    assert_eq!(p.children(&key("f/only-record"), None, 9).await.unwrap(), vec![]);
    assert_eq!(p.children(&key("absent"), None, 9).await.unwrap(), vec![]);
    assert_eq!(p.children(&key("f/deep"), None, 1000).await.unwrap().len(), 20);
    let roots = p.children(&Key::root(), None, 9).await.unwrap();
    assert_eq!(roots, [child("f", true, true), child("g", true, false), child("f2", false, true)]);
    applied(&*p, txn(vec![delete("f/both/z"), delete("f/only-record")])).await;
    let left = p.children(&key("f"), None, 9).await.unwrap();
    assert!(left.contains(&child("both", true, false)) && left.len() == 3);
    p.close().await.unwrap();
}

pub(super) async fn riders(f: &dyn Fixture) {
    let p = f.open().await;
    let ride = |n: u8| Txn { ops: vec![put("r", &[n])], rider: Some(vec![n; 3]), expect: vec![] };
    let s1 = applied(&*p, ride(1)).await;
    let refused = Txn { expect: vec![(key("r"), None)], rider: Some(vec![66]), ops: vec![] };
    assert_eq!(one(&*p, refused).await, Outcome::Conflict { index: 0 });
    let s2 = applied(&*p, Txn { rider: Some(vec![2; 3]), ..Txn::default() }).await;
    assert!(s2 > s1, "a rider alone is a write");
    let out = p.apply(FENCE, vec![ride(3), ride(4)]).await.unwrap();
    let seqs: Vec<Seq> = out
        .iter()
        .map(|o| match o {
            Outcome::Applied { seq } => *seq,
            _ => 0,
        })
        .collect();
    let want = [(s1, vec![1; 3]), (s2, vec![2; 3]), (seqs[0], vec![3; 3]), (seqs[1], vec![4; 3])];
    assert_eq!(p.riders().await.unwrap(), want, "in order, only of accepted transactions");
    p.release_riders(s1).await.unwrap();
    assert_eq!(p.riders().await.unwrap(), want[1..]);
    let p = reopen(f, p).await;
    if f.persistent() {
        assert_eq!(p.riders().await.unwrap(), want[1..], "riders outlive the process");
        p.release_riders(p.seq()).await.unwrap();
        assert_eq!(p.riders().await.unwrap(), vec![]);
    }
    p.close().await.unwrap();
}

/// Closes and opens again where that makes sense.
async fn reopen(f: &dyn Fixture, p: Arc<dyn Physical>) -> Arc<dyn Physical> {
    if !f.persistent() {
        return p;
    }
    p.close().await.unwrap();
    drop(p);
    f.open().await
}

#[derive(Default)]
struct Seen(Mutex<Vec<(Seq, Vec<Key>)>>);

impl WatchSink for Seen {
    fn applied(&self, seq: Seq, keys: &[Key]) {
        let mut keys = keys.to_vec();
        keys.sort();
        self.0.lock().push((seq, keys));
    }
}

pub(super) async fn watching(f: &dyn Fixture) {
    let p = f.open().await;
    let s1 = applied(&*p, txn(vec![put("a", b"1")])).await;
    let s2 = applied(&*p, txn(vec![put("b", b"1")])).await;
    let seen = Arc::new(Seen::default());
    p.watch(s1, seen.clone()).unwrap();
    assert_eq!(*seen.0.lock(), [(s2, vec![key("b")])], "what came before is replayed");
    let s3 = applied(&*p, txn(vec![put("c", b"1"), delete("a"), put("c", b"2")])).await;
    assert_eq!(seen.0.lock().last(), Some(&(s3, vec![key("a"), key("c")])), "told before apply returns");
    let refused = Txn { expect: vec![(key("c"), None)], ops: vec![put("d", b"")], rider: None };
    assert_eq!(one(&*p, refused).await, Outcome::Conflict { index: 0 });
    assert_eq!(seen.0.lock().len(), 2);
    let p = reopen(f, p).await;
    if f.persistent() {
        let compacted = p.watch(0, Arc::new(Seen::default()));
        assert!(matches!(compacted, Err(Error::Compacted)), "changes of an earlier process are gone");
        p.watch(p.seq(), Arc::new(Seen::default())).unwrap();
    }
    p.close().await.unwrap();
}

pub(super) async fn snapshots(f: &dyn Fixture) {
    let p = f.open().await;
    let paths: Vec<String> = (0..40).map(|i| format!("s/{i:02}")).collect();
    applied(&*p, txn(paths.iter().map(|s| put(s, b"old")).collect())).await;
    let before = p.scan(&[], None, 1000).await.unwrap();
    let snap = p.snapshot().await.unwrap();
    assert_eq!(snap.seq(), p.seq());
    let mut seen = Vec::new();
    for i in 0..50 {
        let after = seen.last().map(|(k, _): &(Key, Record)| k.as_bytes().to_vec());
        let page = snap.scan(&[], after.as_deref(), 3).await.unwrap();
        seen.extend(page);
        // Before, at and behind the reader's place: overwritten, deleted and new.
        let ops = vec![
            put(&format!("s/{:02}", (i * 7) % 40), &[9; 20_000]),
            delete(&format!("s/{:02}", (i * 11) % 40)),
            put(&format!("s/{i:02}x"), b"new"),
        ];
        applied(&*p, txn(ops)).await;
    }
    assert!(seen == before, "a snapshot shows the moment it was taken");
    assert!(snap.scan(key("s").as_bytes(), None, 1000).await.unwrap() == before);
    let later = p.snapshot().await.unwrap();
    assert!(later.scan(&[], None, 1000).await.unwrap() == p.scan(&[], None, 1000).await.unwrap());
    drop((snap, later));
    p.close().await.unwrap();
}

pub(super) async fn closing(f: &dyn Fixture) {
    let p = f.open().await;
    let seq = applied(&*p, txn(vec![put("a", b"1"), put("big", &[3; 300_000])])).await;
    p.close().await.unwrap();
    assert!(matches!(p.get(&key("a")).await, Err(Error::Poisoned(_))));
    assert!(matches!(p.apply(FENCE, vec![txn(vec![put("b", b"")])]).await, Err(Error::Poisoned(_))));
    assert!(matches!(p.scan(&[], None, 1).await, Err(Error::Poisoned(_))));
    assert!(matches!(p.children(&Key::root(), None, 1).await, Err(Error::Poisoned(_))));
    assert!(matches!(p.riders().await, Err(Error::Poisoned(_))));
    if !f.persistent() {
        return;
    }
    let again = f.open().await;
    assert_eq!(again.seq(), seq);
    assert_eq!(again.get(&key("a")).await.unwrap(), Some(Record { rev: seq, value: b"1".to_vec() }));
    assert_eq!(value(&*again, "big").await, Some(vec![3; 300_000]));
    assert!(applied(&*again, txn(vec![put("a", b"2")])).await > seq, "sequences go on");
    again.close().await.unwrap();
}

/// Sixteen writers raise one counter by compare and set: no rise may be lost or doubled.
pub(super) async fn concurrency(f: &dyn Fixture) {
    let p = f.open().await;
    applied(&*p, txn(vec![put("n", &0u64.to_be_bytes())])).await;
    let mut writers = Vec::new();
    for w in 0..16u64 {
        let p = p.clone();
        writers.push(tokio::spawn(async move {
            let mut done = 0;
            while done < 10 {
                let r = p.get(&key("n")).await.unwrap().unwrap();
                let n = u64::from_be_bytes(r.value.as_slice().try_into().unwrap());
                let ops = vec![put("n", &(n + 1).to_be_bytes()), put(&format!("w/{w}/{done}"), b"")];
                let t = Txn { expect: vec![(key("n"), Some(r.rev))], ops, rider: None };
                if let Outcome::Applied { seq } = one(&*p, t).await {
                    done += 1;
                    assert!(
                        p.get(&key("n")).await.unwrap().unwrap().rev >= seq,
                        "readable once acknowledged"
                    );
                }
            }
        }));
    }
    for w in writers {
        w.await.unwrap();
    }
    assert_eq!(value(&*p, "n").await, Some(160u64.to_be_bytes().to_vec()));
    assert_eq!(p.scan(key("w").as_bytes(), None, 1000).await.unwrap().len(), 160);
    p.close().await.unwrap();
}
