//! Rounds: many writers, feedback before acknowledgement, failures.

use crate::fixture::{Fault, Faulty, Rig, bytes, get, put};
use crate::limits::{MAX_WRITE_BYTES, MAX_WRITES};
use crate::physical::memory::Memory;
use crate::{CommitError, Error, Space, Store};
use parking_lot::Mutex;
use secmem::Zeroizing;
use std::sync::Arc;
use uuid::Uuid;

fn space() -> Space {
    Space::mount(Uuid::from_u128(3))
}

/// Adds one to the counter, again after each conflict.
async fn increment(store: &Store) -> u64 {
    loop {
        let mut txn = store.begin();
        let old = txn.get(space(), "counter").await.unwrap();
        let n: u64 = old.map_or(0, |v| std::str::from_utf8(&v).unwrap().parse().unwrap());
        txn.put(space(), "counter", bytes(&(n + 1).to_string())).unwrap();
        match txn.commit().await {
            Ok(seq) => return seq,
            Err(CommitError::Conflict) => continue,
            Err(e) => panic!("{e}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_increment_is_lost_among_sixteen_writers() {
    let rig = Rig::new();
    let (store, shares) = rig.vault().await;
    let writers: Vec<_> = (0..16)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    increment(&store).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(get(&store, space(), "counter").await.as_deref(), Some("400"));
    store.seal().await;
    let store = rig.open().await.unseal(&shares[..2], false).await.unwrap();
    assert_eq!(get(&store, space(), "counter").await.as_deref(), Some("400"));
    store.seal().await;
}

#[test]
fn many_runtimes_of_one_thread_share_a_store() {
    let rig = Rig::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (store, _) = runtime().block_on(rig.vault());
    std::thread::scope(|scope| {
        for t in 0..8 {
            let store = store.clone();
            scope.spawn(move || {
                runtime().block_on(async {
                    for i in 0..50 {
                        increment(&store).await;
                        put(&store, space(), &format!("of/{t}/{i}"), "x").await;
                    }
                });
            });
        }
    });
    runtime().block_on(async {
        assert_eq!(get(&store, space(), "counter").await.as_deref(), Some("400"));
        assert_eq!(store.list(space(), "of/5", None, 99).await.unwrap().len(), 50);
        store.seal().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_told_before_the_acknowledgement_and_in_order() {
    let rig = Rig::new();
    let (store, _) = rig.vault().await;
    let seen: Arc<Mutex<Vec<(u64, String)>>> = Arc::default();
    let (log, reader) = (seen.clone(), store.clone());
    store.on_change(Arc::new(move |seq, changes| {
        assert!(reader.seq() >= seq, "readable when told");
        log.lock().extend(changes.iter().map(|c| (seq, c.path.clone())));
    }));
    let writers: Vec<_> = (0..8)
        .map(|t| {
            let (store, seen) = (store.clone(), seen.clone());
            tokio::spawn(async move {
                for i in 0..20 {
                    let path = format!("{t}/{i}");
                    let seq = put(&store, space(), &path, "x").await;
                    assert!(seen.lock().contains(&(seq, path)), "told before it is acknowledged");
                    assert_eq!(store.get(space(), &format!("{t}/{i}")).await.unwrap().unwrap().rev, seq);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let seen = seen.lock();
    assert_eq!(seen.len(), 160);
    assert!(seen.is_sorted_by_key(|(seq, _)| *seq));
}

#[tokio::test]
async fn bounds_of_a_transaction() {
    let rig = Rig::new();
    let (store, shares) = rig.vault().await;
    let mut txn = store.begin();
    for i in 0..MAX_WRITES {
        txn.put(space(), &format!("{i}"), bytes("x")).unwrap();
    }
    txn.commit().await.unwrap();
    let mut txn = store.begin();
    for i in 0..=MAX_WRITES {
        txn.put(space(), &format!("{i}"), bytes("x")).unwrap();
    }
    assert!(matches!(txn.commit().await, Err(CommitError::TooLarge)));
    // So many partitions that their index records would not fit.
    let mut txn = store.begin();
    for i in 0..50 {
        txn.put(Space::mount(Uuid::from_u128(i)), "x", bytes("x")).unwrap();
    }
    assert!(matches!(txn.commit().await, Err(CommitError::TooLarge)));

    let big = |n: usize| Zeroizing::new(vec![7u8; n]);
    let mut txn = store.begin();
    txn.put(space(), "big", big(MAX_WRITE_BYTES - 300)).unwrap();
    txn.commit().await.unwrap();
    let mut txn = store.begin();
    txn.put(space(), "big", big(MAX_WRITE_BYTES)).unwrap();
    assert!(matches!(txn.commit().await, Err(CommitError::TooLarge)));
    let mut txn = store.begin();
    assert!(matches!(txn.put(space(), "big", big(MAX_WRITE_BYTES + 1)), Err(Error::TooLarge(_))));
    txn.rider(big(MAX_WRITE_BYTES));
    assert!(matches!(txn.commit().await, Err(CommitError::TooLarge)));
    store.seal().await;
    let store = rig.open().await.unseal(&shares[..2], false).await.unwrap();
    assert_eq!(store.get(space(), "big").await.unwrap().unwrap().value.len(), MAX_WRITE_BYTES - 300);
    store.seal().await;
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() {
    let faulty = Arc::new(Faulty::new(Arc::new(Memory::new())));
    let rig = Rig::over(faulty.clone());
    let (store, shares) = rig.vault().await;
    put(&store, space(), "a", "1").await;
    for skip in 0..3 {
        faulty.plan(skip, Fault::Full);
        let mut refused = 0;
        for i in 0..4 {
            let mut txn = store.begin();
            txn.put(space(), &format!("b/{skip}/{i}"), bytes("x")).unwrap();
            match txn.commit().await {
                Ok(_) => {}
                Err(CommitError::Full) => refused += 1,
                Err(e) => panic!("{e}"),
            }
            let expected = if i < skip { i + 1 } else { i };
            assert_eq!(store.list(space(), &format!("b/{skip}"), None, 9).await.unwrap().len(), expected);
        }
        assert_eq!(refused, 1);
    }
    faulty.plan(0, Fault::Full);
    let e = store.rotate().await.unwrap_err();
    assert_eq!(e.kind(), crate::ErrorKind::Full);
    assert_eq!(store.rotate().await.unwrap().term, 2);
    store.seal().await;
    let store = rig.open().await.unseal(&shares[..2], false).await.unwrap();
    assert_eq!(get(&store, space(), "a").await.as_deref(), Some("1"));
    store.seal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_full_round_each_is_refused_alone() {
    let faulty = Arc::new(Faulty::new(Arc::new(Memory::new())));
    let rig = Rig::over(faulty.clone());
    let (store, shares) = rig.vault().await;
    for _ in 0..20 {
        faulty.plan(0, Fault::Full);
        let writers: Vec<_> = (0..8)
            .map(|i| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut txn = store.begin();
                    txn.put(space(), &i.to_string(), bytes("x")).unwrap();
                    txn.commit().await
                })
            })
            .collect();
        let mut full = 0;
        for writer in writers {
            full += usize::from(matches!(writer.await.unwrap(), Err(CommitError::Full)));
        }
        assert!(full <= 1, "{full} refused for one");
    }
    store.seal().await;
    rig.open().await.unseal(&shares[..2], false).await.unwrap().seal().await;
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_acknowledged_ever_again() {
    for fault in [Fault::Before, Fault::After] {
        let memory = Arc::new(Memory::new());
        let faulty = Arc::new(Faulty::new(memory.clone()));
        let rig = Rig::over(faulty.clone());
        let (store, shares) = rig.vault().await;
        put(&store, space(), "a", "1").await;
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = told.clone();
        store.on_fatal(Arc::new(move |why| log.lock().push(why.to_owned())));
        faulty.plan(0, fault);
        for i in 0..5 {
            let mut txn = store.begin();
            txn.put(space(), "b", bytes(&i.to_string())).unwrap();
            assert!(matches!(txn.commit().await, Err(CommitError::Failed(Error::Failed(_)))));
        }
        assert!(matches!(store.rotate().await, Err(Error::Failed(_))));
        assert_eq!(told.lock().len(), 1, "told once");
        assert_eq!(get(&store, space(), "a").await.as_deref(), Some("1"), "reading goes on until the seal");
        store.seal().await;

        let after = Rig { physical: memory, state: rig.state };
        let store = after.open().await.unseal(&shares[..2], false).await.unwrap();
        let b = get(&store, space(), "b").await;
        assert_eq!(b.as_deref(), (fault == Fault::After).then_some("0"));
        store.seal().await;
    }
}

#[tokio::test]
async fn purge_empties_one_partition() {
    let rig = Rig::new();
    let (store, shares) = rig.vault().await;
    let other = Space::mount(Uuid::from_u128(4));
    for i in 0..150 {
        put(&store, space(), &format!("a/{i}"), "x").await;
    }
    let mut txn = store.begin();
    txn.fence(space(), "a").await.unwrap();
    txn.put(other, "kept", bytes("y")).unwrap();
    txn.commit().await.unwrap();
    assert!(store.purge(Space::core(), 9).await.is_err());
    assert_eq!(store.purge(space(), 100).await.unwrap(), 100);
    assert_eq!(store.purge(space(), 100).await.unwrap(), 51);
    assert_eq!(store.purge(space(), 100).await.unwrap(), 0);
    assert!(store.list(space(), "", None, 9).await.unwrap().is_empty());
    store.seal().await;
    let store = rig.open().await.unseal(&shares[..2], false).await.unwrap();
    assert_eq!(get(&store, other, "kept").await.as_deref(), Some("y"));
    // Nothing is left of the partition, not even its index record.
    assert_eq!(crate::fixture::records(&*rig.physical).await.len(), 4 + 2);
    store.seal().await;
}

#[tokio::test]
async fn riders_stay_until_they_are_released() {
    let rig = Rig::new();
    let (store, shares) = rig.vault().await;
    let mut seqs = Vec::new();
    for i in 0..4 {
        let mut txn = store.begin();
        txn.put(space(), "a", bytes("x")).unwrap();
        txn.rider(bytes(&format!("{i}")));
        txn.rider(bytes(&format!("{i}'")));
        seqs.push(txn.commit().await.unwrap());
    }
    // A rider alone is written too.
    let mut txn = store.begin();
    assert!(txn.is_empty());
    txn.rider(bytes("alone"));
    assert!(!txn.is_empty());
    seqs.push(txn.commit().await.unwrap());
    store.release_riders(seqs[1]).await.unwrap();
    store.seal().await;
    let store = rig.open().await.unseal(&shares[..2], false).await.unwrap();
    let riders: Vec<(u64, String)> = store
        .riders()
        .await
        .unwrap()
        .into_iter()
        .map(|(s, r)| (s, String::from_utf8(r.to_vec()).unwrap()))
        .collect();
    let expected = [(seqs[2], "2"), (seqs[2], "2'"), (seqs[3], "3"), (seqs[3], "3'"), (seqs[4], "alone")];
    assert_eq!(riders, expected.map(|(s, r)| (s, r.to_owned())));
    store.seal().await;
}
