//! Random work on a backend beside the same work on a plain map.

use super::Fixture;
use crate::physical::{Child, Fence, Key, Op, Outcome, Physical, Record, Seq, Txn};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One step of random work; numbers pick from a small key space.
#[derive(Clone, Debug)]
pub enum Action {
    /// Transactions in one call: (key, `Some(length)` to put or `None` to delete).
    Apply(Vec<Change>),
    Scan {
        prefix: u32,
        after: Option<u32>,
        limit: usize,
    },
    Children {
        folder: u32,
        page: usize,
    },
    Reopen,
}

/// One transaction of an [`Action::Apply`].
#[derive(Clone, Debug)]
pub struct Change {
    pub ops: Vec<(u32, Option<u32>)>,
    /// A key expected as it is (`true`) or otherwise (`false`).
    pub expect: Option<(u32, bool)>,
    pub rider: bool,
}

/// Key number `n`: up to four segments of a handful of names, so that records, folders and both
/// at once come up often.
pub fn key(n: u32) -> Key {
    const NAMES: [&str; 5] = ["a", "b", "aa", "ab", "a-much-longer-segment-name"];
    let depth = 1 + n % 4;
    let mut rest = n / 4;
    (0..depth).fold(Key::root(), |k, _| {
        let name = NAMES[rest as usize % NAMES.len()];
        rest /= NAMES.len() as u32;
        k.join(name.as_bytes())
    })
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u32) -> u32 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % u64::from(n)) as u32
    }
}

/// A reproducible run of `count` actions.
pub(super) fn actions(seed: u64, count: usize) -> Vec<Action> {
    let mut r = Rng(seed);
    (0..count).map(|_| action(&mut r)).collect()
}

fn action(r: &mut Rng) -> Action {
    match r.below(20) {
        0 => Action::Reopen,
        1..=3 => Action::Scan {
            prefix: r.below(600),
            after: (r.below(2) == 0).then(|| r.below(600)),
            limit: r.below(20) as usize,
        },
        4..=6 => Action::Children { folder: r.below(600), page: 1 + r.below(4) as usize },
        _ => Action::Apply((0..1 + r.below(3)).map(|_| change(r)).collect()),
    }
}

fn change(r: &mut Rng) -> Change {
    let ops = (0..r.below(6)).map(|_| {
        let length = match r.below(10) {
            0..=3 => None,
            4 => Some(r.below(30_000)),
            _ => Some(r.below(40)),
        };
        (r.below(600), length)
    });
    let ops = ops.collect();
    Change { ops, expect: (r.below(2) == 0).then(|| (r.below(600), r.below(3) > 0)), rider: r.below(5) == 0 }
}

#[derive(Default)]
struct Model {
    map: BTreeMap<Key, Record>,
    riders: Vec<Vec<u8>>,
    stamp: u32,
}

/// Does the actions on the store and on a map and compares after each.
pub async fn replay(f: &dyn Fixture, actions: &[Action]) {
    let mut p = f.open().await;
    let mut m = Model::default();
    for a in actions {
        match a {
            Action::Apply(changes) => m.apply(&*p, changes).await,
            Action::Scan { prefix, after, limit } => m.scan(&*p, *prefix, *after, *limit).await,
            Action::Children { folder, page } => m.children(&*p, *folder, *page).await,
            Action::Reopen if f.persistent() => {
                p.close().await.unwrap();
                drop(p);
                p = f.open().await;
            }
            Action::Reopen => {}
        }
    }
    m.compare(&p).await;
    p.close().await.unwrap();
}

impl Model {
    async fn apply(&mut self, p: &dyn Physical, changes: &[Change]) {
        let mut txns = Vec::new();
        let mut want = Vec::new();
        let seq = p.seq() + 1;
        let before = self.map.clone();
        for c in changes {
            // Expectations are formed on what was there before the call, as a client would.
            let expect = c.expect.map(|(k, holds)| {
                let have = before.get(&key(k)).map(|r| r.rev);
                (key(k), if holds { have } else { Some(seq + 100) })
            });
            let ops = c.ops.iter().map(|(k, len)| match len {
                Some(n) => Op::Put { key: key(*k), value: self.fresh(*n) },
                None => Op::Delete { key: key(*k) },
            });
            let ops: Vec<Op> = ops.collect();
            let rider = c.rider.then(|| self.fresh(9));
            let ok = expect.as_ref().is_none_or(|(k, rev)| self.map.get(k).map(|r| r.rev) == *rev);
            if ok {
                self.write(&ops, seq);
                self.riders.extend(rider.clone());
            }
            want.push(ok);
            txns.push(Txn { expect: expect.into_iter().collect(), ops, rider });
        }
        let wrote = txns.iter().zip(&want).any(|(t, ok)| *ok && (!t.ops.is_empty() || t.rider.is_some()));
        let out = p.apply(Fence(1), txns).await.unwrap();
        let got: Vec<bool> = out.iter().map(|o| matches!(o, Outcome::Applied { .. })).collect();
        assert_eq!(got, want);
        assert_eq!(p.seq(), if wrote { seq } else { seq - 1 });
        for c in changes {
            for (k, _) in &c.ops {
                assert_eq!(p.get(&key(*k)).await.unwrap().as_ref(), self.map.get(&key(*k)));
            }
        }
    }

    fn fresh(&mut self, len: u32) -> Vec<u8> {
        self.stamp += 1;
        self.stamp.to_be_bytes().into_iter().cycle().take(len as usize).collect()
    }

    fn write(&mut self, ops: &[Op], rev: Seq) {
        for op in ops {
            match op {
                Op::Put { key, value } => self.map.insert(key.clone(), Record { rev, value: value.clone() }),
                Op::Delete { key } => self.map.remove(key),
            };
        }
    }

    async fn scan(&self, p: &dyn Physical, prefix: u32, after: Option<u32>, limit: usize) {
        let prefix = key(prefix);
        let after = after.map(key);
        let want: Vec<_> = self
            .map
            .iter()
            .filter(|(k, _)| k.as_bytes().starts_with(prefix.as_bytes()))
            .filter(|(k, _)| after.as_ref().is_none_or(|a| *k > a))
            .take(limit)
            .map(|(k, r)| (k.clone(), r.clone()))
            .collect();
        let got = p.scan(prefix.as_bytes(), after.as_ref().map(Key::as_bytes), limit).await.unwrap();
        assert!(got == want, "a scan differs");
    }

    async fn children(&self, p: &dyn Physical, folder: u32, page: usize) {
        let folder = if folder < 60 { Key::root() } else { key(folder) };
        let mut want: BTreeMap<Key, Child> = BTreeMap::new();
        for k in self.map.keys() {
            let Some(below) = k.as_bytes().strip_prefix(folder.as_bytes()) else { continue };
            let below = Key::from_bytes(below.to_vec()).unwrap();
            let mut segments = below.segments();
            let Some(first) = segments.next() else { continue };
            let child = want.entry(Key::root().join(first)).or_insert(Child {
                segment: first.to_vec(),
                record: false,
                folder: false,
            });
            match segments.next() {
                None => child.record = true,
                Some(_) => child.folder = true,
            }
        }
        let mut got: Vec<Child> = Vec::new();
        loop {
            let after = got.last().map(|c| c.segment.clone());
            let next = p.children(&folder, after.as_deref(), page).await.unwrap();
            assert!(next.len() <= page);
            if next.is_empty() {
                break;
            }
            got.extend(next);
        }
        assert_eq!(got, want.into_values().collect::<Vec<_>>());
    }

    async fn compare(&self, p: &Arc<dyn Physical>) {
        let got: BTreeMap<Key, Record> = p.scan(&[], None, usize::MAX).await.unwrap().into_iter().collect();
        assert!(got == self.map, "the records differ");
        let riders: Vec<Vec<u8>> = p.riders().await.unwrap().into_iter().map(|(_, r)| r).collect();
        assert_eq!(riders, self.riders);
        let names: BTreeSet<Key> = got.into_keys().collect();
        assert_eq!(names.len(), self.map.len());
    }
}
