//! Saving under load, and restoring over whatever is there.

use super::file::{Reader, Writer};
use super::*;
use crate::fixture::{TWO_OF_THREE, arena, bytes, clock, get, put};
use crate::physical::{Fence, Key, Op, Txn};
use crate::{Backend, Error, SealedStore, Space, Store, StoreConfig, UnsealError};
use secmem::SecretBytes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

const BACKENDS: [Backend; 2] = [Backend::Sled, Backend::Redb];

fn space() -> Space {
    Space::mount(Uuid::from_u128(41))
}

fn config(dir: &Path, name: &str, backend: Backend) -> StoreConfig {
    let (path, state_dir) = (dir.join(name), dir.join(format!("{name}.state")));
    std::fs::create_dir_all(&state_dir).unwrap();
    StoreConfig { backend, path, state_dir, journal: Default::default() }
}

async fn open(cfg: &StoreConfig) -> SealedStore {
    SealedStore::open(cfg.clone(), arena(), clock()).await.unwrap()
}

/// A new vault at `cfg`, open.
async fn vault(cfg: &StoreConfig) -> (SealedStore, Store, Vec<SecretBytes>) {
    let sealed = open(cfg).await;
    let shares = sealed.begin_init(TWO_OF_THREE).await.unwrap().finish().await.unwrap();
    let store = sealed.unseal(&shares[..2], false).await.unwrap();
    (sealed, store, shares)
}

async fn end(sealed: SealedStore, store: Store) {
    store.seal().await;
    sealed.close().await.unwrap();
}

fn manifest() -> Manifest {
    Manifest {
        store_id: Uuid::nil().to_string(),
        sequence: 1,
        epoch: 1,
        created: 0,
        shares: 1,
        threshold: 1,
        backend: "redb".into(),
        version: "0".into(),
    }
}

#[test]
fn a_file_is_read_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.snap");
    let mut writer = Writer::create(&path, manifest()).unwrap();
    for i in 0..20u8 {
        writer.record(&Key::root().join(&[i]), &vec![i; usize::from(i)]).unwrap();
    }
    assert!(!path.exists(), "not before it is whole");
    let written = writer.finish().unwrap();
    assert_eq!(inspect(&path).unwrap(), written);
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(written.bytes, whole.len() as u64);
    let bad = dir.path().join("bad.snap");
    for at in 0..whole.len() {
        std::fs::write(&bad, &whole[..at]).unwrap();
        assert!(inspect(&bad).is_err(), "cut to {at}");
        let mut bent = whole.clone();
        bent[at] ^= 1;
        std::fs::write(&bad, &bent).unwrap();
        assert!(inspect(&bad).is_err(), "bent at {at}");
    }
    std::fs::write(&bad, [whole.as_slice(), b"x"].concat()).unwrap();
    assert!(inspect(&bad).is_err(), "longer");
    drop(Writer::create(&bad, manifest()).unwrap());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "an unfinished one leaves nothing");
}

/// More old values than were ever kept in memory, while a snapshot is open.
#[tokio::test]
async fn no_amount_of_writes_makes_a_snapshot_void() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let physical = crate::open_physical(&config(dir.path(), "data", backend)).await.unwrap();
        let key = |i: u32| Key::root().join(&i.to_be_bytes());
        let write = async |byte: u8, range: std::ops::Range<u32>| {
            for i in range {
                let op = Op::Put { key: key(i), value: vec![byte; 900 * 1024] };
                physical.apply(Fence(0), vec![Txn { ops: vec![op], ..Txn::default() }]).await.unwrap();
            }
        };
        write(1, 0..80).await;
        let snapshot = physical.snapshot().await.unwrap();
        write(2, 0..100).await;
        let gone =
            Txn { ops: vec![Op::Delete { key: key(7) }, Op::Delete { key: key(99) }], ..Txn::default() };
        physical.apply(Fence(0), vec![gone]).await.unwrap();
        let (mut after, mut seen) = (None::<Vec<u8>>, 0);
        loop {
            let page = snapshot.scan(&[], after.as_deref(), 3).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            after = Some(last.as_bytes().to_vec());
            for (k, record) in &page {
                assert_eq!(*k, key(seen));
                assert!(record.value.iter().all(|b| *b == 1), "{backend:?}: record {seen} is of later");
                seen += 1;
            }
        }
        assert_eq!(seen, 80, "{backend:?}");
        drop(snapshot);
        write(3, 0..1).await;
        let left = std::fs::read_dir(dir.path().join("data/journal")).unwrap();
        let left: Vec<_> = left.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!left.iter().any(|n| n.starts_with("snapshot-")), "{left:?}");
        physical.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_of_one_moment_and_opens_anywhere_with_the_old_shares() {
    for (from, to) in [(Backend::Sled, Backend::Redb), (Backend::Redb, Backend::Sled)] {
        let dir = tempfile::tempdir().unwrap();
        let (sealed, store, shares) = vault(&config(dir.path(), "data", from)).await;
        for i in 0..300 {
            put(&store, space(), &format!("fixed/{i}"), &i.to_string()).await;
        }
        // Two records that are always equal, written for as long as the snapshot is being saved.
        let stop = Arc::new(AtomicBool::new(false));
        let writer = tokio::spawn({
            let (store, stop) = (store.clone(), stop.clone());
            async move {
                let mut n = 0u64;
                while !stop.load(Ordering::SeqCst) {
                    n += 1;
                    let mut txn = store.begin();
                    for name in ["a", "fixed/z"] {
                        txn.put(space(), name, bytes(&n.to_string())).unwrap();
                    }
                    txn.put(Space::core(), &format!("new/{n}"), bytes("x")).unwrap();
                    txn.anchor_may_follow();
                    txn.commit().await.unwrap();
                }
                n
            }
        });
        let file = dir.path().join("s.snap");
        for _ in 0..3 {
            let saved = store.save_snapshot(&file).await.unwrap();
            assert_eq!(inspect(&file).unwrap(), saved.summary);
        }
        stop.store(true, Ordering::SeqCst);
        assert!(writer.await.unwrap() > 3);
        end(sealed, store).await;

        let target = config(dir.path(), "elsewhere", to);
        crate::stage_restore(&target, &file, true).await.unwrap();
        assert!(!target.path.join("restore.snapshot").exists(), "a dry run changes nothing");
        crate::stage_restore(&target, &file, false).await.unwrap();
        let sealed = open(&target).await;
        let status = sealed.status();
        assert!(status.initialized && status.restore_pending && status.rollback.is_some());
        assert_eq!((status.shares, status.threshold), (3, 2));
        let refused = sealed.unseal(&shares[..2], false).await;
        assert!(matches!(refused, Err(UnsealError::Storage(Error::Rollback(_)))), "only when it is accepted");
        assert!(matches!(sealed.unseal(&shares[..1], true).await, Err(UnsealError::WrongShares)));
        let store = sealed.unseal(&shares[1..], true).await.unwrap();
        assert!(store.epoch_raised(), "what must not go backwards is to be revoked");
        assert!(!sealed.status().restore_pending);
        for i in 0..300 {
            assert_eq!(get(&store, space(), &format!("fixed/{i}")).await, Some(i.to_string()));
        }
        let pair = (get(&store, space(), "a").await, get(&store, space(), "fixed/z").await);
        assert!(pair.0 == pair.1 && pair.0.is_some(), "{pair:?}");
        store.settle_epoch().await.unwrap();
        end(sealed, store).await;
        let sealed = open(&target).await;
        let store = sealed.unseal(&shares[..2], false).await.unwrap();
        assert!(!store.epoch_raised());
        end(sealed, store).await;
    }
}

/// A vault with "now" in it, a snapshot from when it said "then", all closed.
async fn aged(dir: &Path, backend: Backend) -> (StoreConfig, Vec<SecretBytes>, std::path::PathBuf) {
    let cfg = config(dir, "data", backend);
    let (sealed, store, shares) = vault(&cfg).await;
    put(&store, space(), "time", "then").await;
    let file = dir.join("then.snap");
    store.save_snapshot(&file).await.unwrap();
    put(&store, space(), "time", "now").await;
    end(sealed, store).await;
    (cfg, shares, file)
}

async fn says(cfg: &StoreConfig, shares: &[SecretBytes], accept: bool) -> Option<String> {
    let sealed = open(cfg).await;
    let store = sealed.unseal(&shares[..2], accept).await.unwrap();
    let said = get(&store, space(), "time").await;
    end(sealed, store).await;
    said
}

#[tokio::test]
async fn what_is_replaced_stays_until_the_restored_store_was_opened() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let (cfg, shares, file) = aged(dir.path(), backend).await;
        crate::stage_restore(&cfg, &file, false).await.unwrap();
        // Given up again: as it was.
        let sealed = open(&cfg).await;
        assert!(sealed.status().restore_pending);
        assert!(sealed.cancel_restore().await.unwrap());
        assert_eq!(sealed.status().rollback, None);
        sealed.close().await.unwrap();
        assert_eq!(says(&cfg, &shares, false).await.as_deref(), Some("now"));
        // Damaged after it was put up: refused and discarded, and as it was.
        let staged = cfg.path.join("restore.snapshot");
        let whole = std::fs::read(&file).unwrap();
        let config = whole.windows(12).position(|w| w == b"share_hashes").unwrap();
        for at in [0, config, whole.len() / 2, whole.len() - 1] {
            crate::stage_restore(&cfg, &file, false).await.unwrap();
            let mut content = whole.clone();
            content[at] ^= 1;
            std::fs::write(&staged, content).unwrap();
            let sealed = open(&cfg).await;
            // What can be seen without keys is seen at once, the rest by whoever has the shares.
            if sealed.status().restore_pending {
                let refused = sealed.unseal(&shares[..2], true).await.unwrap_err();
                assert!(matches!(refused, UnsealError::Storage(Error::Integrity(_))), "{at}: {refused}");
            }
            assert!(!sealed.status().restore_pending && !staged.exists(), "{at}");
            sealed.close().await.unwrap();
            assert_eq!(says(&cfg, &shares, false).await.as_deref(), Some("now"), "{at}");
        }
        // The restore itself, twice: the second replaces a restored store.
        for round in 0..2 {
            crate::stage_restore(&cfg, &file, false).await.unwrap();
            assert_eq!(says(&cfg, &shares, true).await.as_deref(), Some("then"), "{backend:?} {round}");
            assert!(
                !cfg.path.join("journal").exists(),
                "the replaced store is gone once the new one is proven"
            );
            assert_eq!(says(&cfg, &shares, false).await.as_deref(), Some("then"));
        }
        let stores = std::fs::read_dir(&cfg.path).unwrap();
        let stores =
            stores.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with("store-"));
        assert_eq!(stores.count(), 1);
    }
}

#[tokio::test]
async fn a_restore_that_is_cut_leaves_the_old_or_the_new_store() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let (cfg, shares, file) = aged(dir.path(), backend).await;
        crate::stage_restore(&cfg, &file, false).await.unwrap();
        // Cut while it was built: rubbish where the new store was to be.
        let half = cfg.path.join("store-1");
        std::fs::create_dir(&half).unwrap();
        std::fs::write(half.join("FORMAT"), "half").unwrap();
        let sealed = open(&cfg).await;
        assert!(sealed.status().restore_pending, "still to be done");
        sealed.close().await.unwrap();
        // Cut after it was put in force and before it was opened: it is there, and still wants its acceptance.
        let built = crate::physical::home::fresh(&cfg.path).unwrap();
        assert!(!half.exists());
        let target = StoreConfig { path: built.clone(), ..cfg.clone() };
        let physical = crate::open_physical(&target).await.unwrap();
        let mut reader = Reader::open(&file).unwrap();
        while let Some((key, value)) = reader.next().unwrap() {
            let txn = Txn { ops: vec![Op::Put { key, value }], ..Txn::default() };
            physical.apply(Fence(0), vec![txn]).await.unwrap();
        }
        physical.close().await.unwrap();
        crate::physical::home::switch(&cfg.path, &built).unwrap();
        std::fs::remove_file(cfg.path.join("restore.snapshot")).unwrap();
        let sealed = open(&cfg).await;
        assert!(sealed.status().rollback.is_some());
        assert!(sealed.unseal(&shares[..2], false).await.is_err());
        assert!(cfg.path.join("journal").exists(), "the replaced store is kept");
        let store = sealed.unseal(&shares[..2], true).await.unwrap();
        assert!(store.epoch_raised());
        assert_eq!(get(&store, space(), "time").await.as_deref(), Some("then"));
        end(sealed, store).await;
    }
}

#[tokio::test]
async fn a_foreign_snapshot_is_refused_wherever_a_vault_is_or_was() {
    let dir = tempfile::tempdir().unwrap();
    let (cfg, shares, _) = aged(dir.path(), Backend::Redb).await;
    let other = tempfile::tempdir().unwrap();
    let (_, _, foreign) = aged(other.path(), Backend::Redb).await;
    for gone in [false, true] {
        if gone {
            // Only the anchor is left.
            std::fs::remove_dir_all(&cfg.path).unwrap();
        }
        for dry_run in [true, false] {
            let refused = crate::stage_restore(&cfg, &foreign, dry_run).await.unwrap_err();
            assert!(matches!(refused, Error::Mismatch(_)), "{refused}");
        }
        if !gone {
            assert_eq!(says(&cfg, &shares, false).await.as_deref(), Some("now"));
        }
    }
}
