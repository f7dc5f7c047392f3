//! Rounds cut in the middle, and seals that meet writes under way.

use crate::fixture::{Fault, Faulty, Rig, bytes, get, put};
use crate::physical::memory::Memory;
use crate::{CommitError, Error, ErrorKind, Partition, SealedStore, Space};
use secmem::Zeroizing;
use std::sync::Arc;
use uuid::Uuid;

fn space() -> Space {
    Space::mount(Uuid::from_u128(11))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_round_cut_between_its_transactions_leaves_a_whole_store() {
    let (mut several, mut lost) = (false, 0);
    for cut in 0..6 {
        let memory = Arc::new(Memory::new());
        let faulty = Arc::new(Faulty::new(memory.clone()));
        let rig = Rig::over(faulty.clone());
        let (store, shares) = rig.vault().await;
        faulty.plan(cut % 3, Fault::Torn);
        let writers: Vec<_> = (0..10)
            .map(|i| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut txn = store.begin();
                    txn.put(space(), &format!("{i}"), Zeroizing::new(vec![i; 400_000])).unwrap();
                    txn.put(Space::core(), &format!("{i}"), bytes("x")).unwrap();
                    txn.commit().await.is_ok()
                })
            })
            .collect();
        let mut acknowledged = Vec::new();
        for writer in writers {
            acknowledged.push(writer.await.unwrap());
        }
        several |= faulty.largest() > 1;
        store.seal().await;

        let after = Rig { physical: memory, state: rig.state };
        let store = after.open().await.unseal(&shares[..2], false).await.unwrap();
        for (i, acknowledged) in acknowledged.into_iter().enumerate() {
            let large = store.get(space(), &i.to_string()).await.unwrap();
            let small = store.get(Space::core(), &i.to_string()).await.unwrap();
            assert_eq!(large.is_some(), small.is_some(), "half a transaction");
            assert!(large.is_some() || !acknowledged, "acknowledged and lost");
            lost += usize::from(large.is_none());
        }
        store.seal().await;
    }
    assert!(several && lost > 0, "rounds of several transactions were cut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_before_a_seal_is_kept() {
    let rig = Rig::new();
    let (mut store, shares) = rig.vault().await;
    let sealed = rig.open().await;
    store.seal().await;
    for round in 0..10 {
        store = sealed.unseal(&shares[..2], false).await.unwrap();
        let writers: Vec<_> = (0..6)
            .map(|t| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut last = None;
                    for i in 0.. {
                        let mut txn = store.begin();
                        let path = format!("{round}/{t}/{i}");
                        let put = txn.put(space(), &path, bytes("x"));
                        match (put, txn.commit().await) {
                            (Ok(()), Ok(_)) => last = Some(i),
                            (Ok(()) | Err(Error::Sealed), Err(CommitError::Sealed)) => break,
                            (Err(Error::Sealed), Ok(_)) => break,
                            other => panic!("{other:?}"),
                        }
                    }
                    last
                })
            })
            .collect();
        while store.list(space(), &format!("{round}"), None, 9).await.unwrap().len() < 6 {
            tokio::task::yield_now().await;
        }
        tokio::join!(store.seal(), store.seal());
        let again = sealed.unseal(&shares[1..], false).await.unwrap();
        for (t, writer) in writers.into_iter().enumerate() {
            let last: u64 = writer.await.unwrap().unwrap();
            for i in 0..=last {
                assert!(get(&again, space(), &format!("{round}/{t}/{i}")).await.is_some());
            }
        }
        again.seal().await;
    }
}

#[tokio::test]
async fn a_write_that_hangs_cannot_keep_the_keys() {
    let faulty = Arc::new(Faulty::new(Arc::new(Memory::new())));
    let rig = Rig::over(faulty.clone());
    let shares = rig.init().await;
    let arena = crate::fixture::arena();
    let sealed =
        SealedStore::over(faulty.clone(), None, rig.state.path(), arena.clone(), crate::fixture::clock())
            .await;
    let store = sealed.unwrap().unseal(&shares[..2], false).await.unwrap();
    put(&store, space(), "a", "1").await;
    faulty.plan(0, Fault::Hang);
    let mut txn = store.begin();
    txn.put(space(), "a", bytes("2")).unwrap();
    let hanging = tokio::spawn(txn.commit());
    while !faulty.has_struck() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert!(arena.used() > 0);
    tokio::time::pause();
    store.seal().await;
    assert_eq!(arena.used(), 0);
    assert!(!hanging.is_finished());
    assert!(store.get(space(), "a").await.is_err_and(|e| e.kind() == ErrorKind::Sealed));
}

#[tokio::test]
async fn a_namespace_without_keys_is_refused_alone() {
    let rig = Rig::new();
    let (store, shares) = rig.vault().await;
    let foreign = Space { namespace: Uuid::from_u128(1), partition: Partition::Core };
    let writes: Vec<_> = [foreign, space(), foreign, Space::core()]
        .into_iter()
        .map(|space| {
            let mut txn = store.begin();
            txn.put(space, "a", bytes("1")).unwrap();
            txn.commit()
        })
        .collect();
    let mut done = Vec::new();
    for write in writes {
        done.push(write.await);
    }
    assert!(matches!(done[0], Err(CommitError::Failed(Error::NoKey(_)))));
    assert!(done[1].is_ok() && done[2].is_err() && done[3].is_ok());
    store.seal().await;
    rig.open().await.unseal(&shares[..2], false).await.unwrap().seal().await;
}
