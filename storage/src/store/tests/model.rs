//! Transactions against a model: what two interleaved ones read, list and may commit is predicted exactly.

use crate::fixture::{Rig, bytes};
use crate::{CommitError, Space, Store, Transaction};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const PATHS: [&str; 8] = ["a", "a/b", "a/b/c", "a/c", "b", "b/c/d", "ab", "ab/x"];
const DIRS: [&str; 6] = ["", "a", "a/", "a/b", "b", "ab"];

fn space(second: bool) -> Space {
    if second { Space::core() } else { Space::mount(Uuid::from_u128(6)) }
}

#[derive(Clone, Debug)]
enum Step {
    Get { txn: usize, second: bool, path: usize },
    Put { txn: usize, second: bool, path: usize, value: u8 },
    Delete { txn: usize, second: bool, path: usize },
    List { txn: usize, second: bool, dir: usize, after: Option<usize>, limit: usize },
    Fence { txn: usize, dir: usize },
    Expect { txn: usize, path: usize, stale: bool },
    Commit { txn: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (txn, second, path) = (0..2usize, any::<bool>(), 0..PATHS.len());
    prop_oneof![
        4 => (txn.clone(), second, path.clone()).prop_map(|(txn, second, path)| Step::Get { txn, second, path }),
        5 => (txn.clone(), second, path.clone(), any::<u8>())
            .prop_map(|(txn, second, path, value)| Step::Put { txn, second, path, value }),
        3 => (txn.clone(), second, path.clone()).prop_map(|(txn, second, path)| Step::Delete { txn, second, path }),
        4 => (txn.clone(), second, 0..DIRS.len(), prop::option::of(0..PATHS.len()), 0..5usize)
            .prop_map(|(txn, second, dir, after, limit)| Step::List { txn, second, dir, after, limit }),
        1 => (txn.clone(), 0..DIRS.len()).prop_map(|(txn, dir)| Step::Fence { txn, dir }),
        1 => (txn.clone(), path, any::<bool>()).prop_map(|(txn, path, stale)| Step::Expect { txn, path, stale }),
        4 => txn.prop_map(|txn| Step::Commit { txn }),
    ]
}

type Place = (Space, String);

/// What is committed: value and the version that wrote it.
#[derive(Default)]
struct World {
    records: BTreeMap<Place, (Vec<u8>, u64)>,
    /// By folder without its trailing slash.
    fences: BTreeMap<String, u64>,
    version: u64,
}

#[derive(Default)]
struct ModelTxn {
    reads: BTreeMap<Place, Option<u64>>,
    fence_reads: BTreeMap<String, Option<u64>>,
    writes: BTreeMap<Place, Option<Vec<u8>>>,
    stale: bool,
}

impl ModelTxn {
    fn view(&self, world: &World) -> BTreeMap<Place, Vec<u8>> {
        let mut view: BTreeMap<Place, Vec<u8>> =
            world.records.iter().map(|(place, (value, _))| (place.clone(), value.clone())).collect();
        for (place, write) in &self.writes {
            match write {
                Some(value) => drop(view.insert(place.clone(), value.clone())),
                None => drop(view.remove(place)),
            }
        }
        view
    }

    fn list(&self, world: &World, space: Space, dir: &str, after: Option<&str>, limit: usize) -> Vec<String> {
        let dir = dir.trim_end_matches('/');
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let mut names = BTreeSet::new();
        for ((s, path), _) in self.view(world) {
            let Some(below) = path.strip_prefix(&prefix).filter(|_| s == space) else { continue };
            names.insert(below.split_once('/').map_or(below.to_owned(), |(folder, _)| format!("{folder}/")));
        }
        names.into_iter().filter(|n| after.is_none_or(|a| n.as_str() > a)).take(limit).collect()
    }

    fn writes_nothing(&self) -> bool {
        self.writes.is_empty() && self.fence_reads.is_empty()
    }

    /// Whether it commits, and the world after it.
    fn commit(self, world: &mut World) -> bool {
        let reads = self.reads.len() + self.fence_reads.len();
        let holds = !self.stale
            && self.reads.iter().all(|(place, rev)| world.records.get(place).map(|(_, v)| *v) == *rev)
            && self.fence_reads.iter().all(|(dir, rev)| world.fences.get(dir).copied() == *rev);
        if self.writes_nothing() {
            return holds || reads < 2;
        }
        if !holds {
            return false;
        }
        world.version += 1;
        for (place, write) in self.writes {
            match write {
                Some(value) => drop(world.records.insert(place, (value, world.version))),
                None => drop(world.records.remove(&place)),
            }
        }
        for dir in self.fence_reads.into_keys() {
            world.fences.insert(dir, world.version);
        }
        true
    }
}

struct Pair {
    real: Transaction,
    model: ModelTxn,
}

impl Pair {
    fn new(store: &Store) -> Pair {
        Pair { real: store.begin(), model: ModelTxn::default() }
    }
}

async fn run(store: &Store, steps: &[Step]) -> World {
    let mut world = World::default();
    let mut pairs = [Pair::new(store), Pair::new(store)];
    for step in steps {
        match step.clone() {
            Step::Get { txn, second, path } => {
                let Pair { real, model } = &mut pairs[txn];
                let place = (space(second), PATHS[path].to_owned());
                let got = real.get(place.0, &place.1).await.unwrap().map(|v| v.to_vec());
                assert_eq!(got, model.view(&world).get(&place).cloned());
                if !model.writes.contains_key(&place) {
                    let rev = world.records.get(&place).map(|(_, v)| *v);
                    model.reads.entry(place).or_insert(rev);
                }
            }
            Step::Put { txn, second, path, value } => {
                let Pair { real, model } = &mut pairs[txn];
                real.put(space(second), PATHS[path], secmem::Zeroizing::new(vec![value; 3])).unwrap();
                model.writes.insert((space(second), PATHS[path].to_owned()), Some(vec![value; 3]));
            }
            Step::Delete { txn, second, path } => {
                let Pair { real, model } = &mut pairs[txn];
                real.delete(space(second), PATHS[path]).unwrap();
                model.writes.insert((space(second), PATHS[path].to_owned()), None);
            }
            Step::List { txn, second, dir, after, limit } => {
                let Pair { real, model } = &mut pairs[txn];
                let after = after.map(|a| PATHS[a]);
                let got = real.list(space(second), DIRS[dir], after, limit).await.unwrap();
                assert_eq!(
                    got,
                    model.list(&world, space(second), DIRS[dir], after, limit),
                    "{:?}",
                    DIRS[dir]
                );
            }
            Step::Fence { txn, dir } => {
                let Pair { real, model } = &mut pairs[txn];
                real.fence(space(false), DIRS[dir]).await.unwrap();
                let dir = DIRS[dir].trim_end_matches('/').to_owned();
                let rev = world.fences.get(&dir).copied();
                model.fence_reads.entry(dir).or_insert(rev);
            }
            Step::Expect { txn, path, stale } => {
                expect(store, &mut pairs[txn], &world, PATHS[path], stale).await
            }
            Step::Commit { txn } => {
                let Pair { real, model } = std::mem::replace(&mut pairs[txn], Pair::new(store));
                assert_eq!(real.is_empty(), model.writes_nothing());
                let committed = real.commit().await;
                let expected = model.commit(&mut world);
                match committed {
                    Ok(_) => assert!(expected, "committed against the model"),
                    Err(CommitError::Conflict) => assert!(!expected, "refused against the model"),
                    Err(e) => panic!("{e}"),
                }
            }
        }
    }
    world
}

/// A fact from a cache: the present one, or one that never was.
async fn expect(store: &Store, pair: &mut Pair, world: &World, path: &str, stale: bool) {
    let place = (space(false), path.to_owned());
    let now = store.get(place.0, path).await.unwrap().map(|v| v.rev);
    pair.real.expect(place.0, path, if stale { Some(u64::MAX) } else { now });
    if !pair.model.reads.contains_key(&place) {
        pair.model.stale |= stale;
        pair.model.reads.insert(place.clone(), world.records.get(&place).map(|(_, v)| *v));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, ..ProptestConfig::default() })]
    #[test]
    fn transactions_do_what_the_model_says(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new();
            let (store, shares) = rig.vault().await;
            let world = run(&store, &steps).await;
            store.seal().await;
            // Counted, summed and read again from nothing.
            let store = rig.open().await.unseal(&shares[..2], false).await.unwrap();
            for second in [false, true] {
                for path in PATHS {
                    let got = store.get(space(second), path).await.unwrap().map(|v| v.value.to_vec());
                    let place = (space(second), path.to_owned());
                    assert_eq!(got.as_ref(), world.records.get(&place).map(|(value, _)| value));
                }
            }
            store.seal().await;
        });
    }
}

#[tokio::test]
async fn two_who_rest_on_each_others_reads_do_not_both_commit() {
    let rig = Rig::new();
    let (store, _) = rig.vault().await;
    let space = space(false);
    for path in ["x", "y"] {
        let mut txn = store.begin();
        txn.put(space, path, bytes("1")).unwrap();
        txn.commit().await.unwrap();
    }
    // Each may turn its own switch off only while the other is on.
    let (mut a, mut b) = (store.begin(), store.begin());
    for txn in [&mut a, &mut b] {
        assert!(txn.get(space, "x").await.unwrap().is_some() && txn.get(space, "y").await.unwrap().is_some());
    }
    a.delete(space, "x").unwrap();
    b.delete(space, "y").unwrap();
    let (a, b) = tokio::join!(a.commit(), b.commit());
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    // The same through a fence: an entry is added while the folder is taken for empty.
    let (mut a, mut b) = (store.begin(), store.begin());
    a.fence(space, "dir").await.unwrap();
    b.fence(space, "dir").await.unwrap();
    assert!(a.list(space, "dir", None, 1).await.unwrap().is_empty());
    a.put(space, "dir-is-empty", bytes("1")).unwrap();
    b.put(space, "dir/entry", bytes("1")).unwrap();
    let (a, b) = tokio::join!(a.commit(), b.commit());
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
}

#[tokio::test]
async fn a_stale_fact_is_noticed_by_a_transaction_that_only_reads() {
    let rig = Rig::new();
    let (store, _) = rig.vault().await;
    let place = space(false);
    let mut txn = store.begin();
    txn.put(place, "token", bytes("1")).unwrap();
    let rev = txn.commit().await.unwrap();
    for (fact, holds) in [(Some(rev), true), (Some(rev - 1), false), (None, false)] {
        let mut txn = store.begin();
        assert!(txn.get(place, "other").await.unwrap().is_none());
        txn.expect(place, "token", fact);
        let committed = txn.commit().await;
        assert_eq!(committed.is_ok(), holds, "{fact:?}: {committed:?}");
    }
    // A path that cannot be is not forgotten either.
    let mut txn = store.begin();
    txn.put(place, "x", bytes("1")).unwrap();
    txn.expect(place, "a//b", None);
    assert!(matches!(txn.commit().await, Err(CommitError::Failed(crate::Error::Path(_)))));
}
