use super::*;

fn txn(ops: Vec<Op>) -> Vec<Txn> {
    vec![Txn { ops, ..Txn::default() }]
}

/// No new segment can be made: writes are refused, nothing of them is there, reads go on, and
/// with space the same process writes again.
#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let disk = SimDisk::new();
    let opener = SimOpener::<true>::new(&disk);
    let store = start(&opener).unwrap();
    store.apply(Fence(1), txn(vec![put(0, b"first")])).await.unwrap();
    disk.set_free(Some(0));
    let mut written = 0u64;
    let refused = loop {
        match store.apply(Fence(1), txn(vec![put(1, &[written as u8; 200])])).await {
            Ok(_) => written += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(refused, Error::Full), "{refused}");
    let seq = store.seq();
    for _ in 0..5 {
        assert!(matches!(store.apply(Fence(1), txn(vec![put(2, &[0; 700])])).await, Err(Error::Full)));
    }
    assert_eq!(store.seq(), seq);
    assert_eq!(store.get(&key(2)).await.unwrap(), None);
    assert_eq!(store.get(&key(0)).await.unwrap().unwrap().value, b"first");
    disk.set_free(Some(1 << 20));
    store.apply(Fence(1), txn(vec![put(2, b"room again")])).await.unwrap();
    assert_eq!(store.seq(), seq + 1);
    drop(store);
    let store = start(&opener.crashed(&disk.image(Image::Synced), Image::Synced, 0)).unwrap();
    assert_eq!(store.get(&key(2)).await.unwrap().unwrap().value, b"room again");
    assert_eq!(store.get(&key(1)).await.unwrap().unwrap().value, [written as u8 - 1; 200]);
}

/// A call for space that fails at any point is harmless, or poisons; it never loses.
#[tokio::test]
async fn running_out_of_space_at_any_call_is_clean() {
    for at in 0..60 {
        let disk = SimDisk::new();
        let opener = SimOpener::<true>::new(&disk);
        let store = start(&opener).unwrap();
        disk.fail_after(at, ErrorKind::StorageFull);
        let mut last = [0u8; 8];
        for n in 0..40u64 {
            match store.apply(Fence(1), txn(vec![put(1, &n.to_be_bytes()), put(2, &[1; 100])])).await {
                Ok(_) => last = n.to_be_bytes(),
                Err(Error::Full) => {
                    assert_eq!(store.get(&key(1)).await.unwrap().map_or([0; 8].to_vec(), |r| r.value), last);
                }
                Err(e) => {
                    assert!(matches!(e, Error::Poisoned(_)));
                    break;
                }
            }
        }
        drop(store);
        let store = start(&opener.crashed(&disk.image(Image::Synced), Image::Synced, 0)).unwrap();
        let there = store.get(&key(1)).await.unwrap().map_or(0, |r| number(&r.value));
        let last = number(&last);
        // What was on its way when a sync failed may be there.
        assert!(there == last || there == last + 1, "{last} acknowledged, {there} there");
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

/// Short of space the ballast is given up, and small deletions alone are accepted.
#[tokio::test]
async fn deletions_still_work_when_space_is_short() {
    let disk = SimDisk::new();
    let opener = SimOpener::<true>::new(&disk);
    let config =
        JournalConfig { reserve_bytes: 64_000, ballast_bytes: 32_000, segment_bytes: 4096, ..small() };
    let start = || open(Arc::new(disk.clone()), &opener, config.clone(), Threads::One, None).unwrap();
    disk.set_free(Some(1 << 20));
    let store = start();
    store.apply(Fence(1), txn((0..50).map(|n| put(n, b"x")).collect())).await.unwrap();
    disk.set_free(Some(0));
    assert!(matches!(store.apply(Fence(1), txn(vec![put(99, b"no")])).await, Err(Error::Full)));
    for n in 0..40 {
        let freeing = txn(vec![Op::Delete { key: key(n) }, put(100, &[n as u8; 60])]);
        store.apply(Fence(1), freeing).await.unwrap();
    }
    assert!(matches!(store.apply(Fence(1), txn(vec![put(99, b"no")])).await, Err(Error::Full)));
    let large = txn(vec![Op::Delete { key: key(49) }, put(100, &[1; 70_000])]);
    assert!(matches!(store.apply(Fence(1), large).await, Err(Error::Full)));
    store.close().await.unwrap();
    // It opens on the full disk, and what was deleted stays so.
    let store = start();
    assert_eq!(store.get(&key(0)).await.unwrap(), None);
    store.apply(Fence(1), txn(vec![Op::Delete { key: key(41) }])).await.unwrap();
    disk.set_free(Some(1 << 20));
    store.apply(Fence(1), txn(vec![put(99, b"yes")])).await.unwrap();
    store.close().await.unwrap();
}
