//! Changes that wait for the anchor: what is acknowledged cannot be undone unnoticed.

use crate::fixture::{Rig, clock, get, put};
use crate::journal::fs::RealDir;
use crate::journal::log::Journal;
use crate::journal::segment::segment_name;
use crate::{Backend, CommitError, Error, SealedStore, Space, Store, StoreConfig, UnsealError};
use secmem::SecretBytes;
use std::path::Path;
use std::time::{Duration, Instant};
use uuid::Uuid;

fn space() -> Space {
    Space::mount(Uuid::from_u128(21))
}

async fn remove(store: &Store, path: &str) -> Result<u64, CommitError> {
    let mut txn = store.begin();
    txn.delete(space(), path).unwrap();
    txn.commit().await
}

fn anchored_seq(rig: &Rig) -> u64 {
    let json: serde_json::Value = serde_json::from_slice(&rig.anchor().unwrap()).unwrap();
    json["seq"].as_u64().unwrap()
}

/// Polls, without a runtime's timers, until `done`.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// An open vault and the sealed store that it came from.
async fn opened(rig: &Rig) -> (SealedStore, Store, Vec<SecretBytes>) {
    let shares = rig.init().await;
    let sealed = rig.open().await;
    let store = sealed.unseal(&shares[..2], false).await.unwrap();
    (sealed, store, shares)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_change_has_its_anchor_and_one_write_serves_all_that_wait() {
    let rig = Rig::new();
    let (sealed, store, _) = opened(&rig).await;
    for i in 0..40 {
        put(&store, space(), &i.to_string(), "x").await;
        if i % 10 == 0 {
            let seq = remove(&store, &i.to_string()).await.unwrap();
            assert!(anchored_seq(&rig) >= seq, "acknowledged before the anchor was there");
        }
    }
    let before = store.anchor_figures();
    let file = sealed.anchor_file().clone();
    let disk = file.hang();
    let removals: Vec<_> = (0..40)
        .filter(|i| i % 10 != 0)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move { remove(&store, &i.to_string()).await })
        })
        .collect();
    // In force at once for everybody, and acknowledged to nobody; other writes go on.
    until("the removals are not seen", async || store.list(space(), "", None, 99).await.unwrap().is_empty())
        .await;
    put(&store, space(), "plain", "x").await;
    assert!(removals.iter().all(|r| !r.is_finished()));
    drop(disk);
    for removal in removals {
        let seq = removal.await.unwrap().unwrap();
        assert!(anchored_seq(&rig) >= seq);
    }
    let after = store.anchor_figures();
    assert_eq!((after.waited - before.waited, after.failed), (36, 0));
    assert!(after.written - before.written <= 4, "{} writes for 36", after.written - before.written);
    store.seal().await;
}

#[tokio::test]
async fn a_change_without_its_anchor_stays_in_force_and_says_so() {
    let rig = Rig::new();
    let (sealed, store, shares) = opened(&rig).await;
    put(&store, space(), "gone", "x").await;
    let block = rig.state.path().join("anchor.new");
    std::fs::create_dir_all(block.join("x")).unwrap();
    let e = remove(&store, "gone").await.unwrap_err();
    assert!(matches!(&e, CommitError::Unanchored(_)), "{e}");
    assert_eq!(get(&store, space(), "gone").await, None);
    let e = store.rotate().await.unwrap_err();
    assert!(matches!(&e, Error::Unanchored(_)), "{e}");
    assert_eq!(store.key_status().term, 2, "the rotation is in force");
    put(&store, space(), "plain", "needs no anchor").await;
    std::fs::remove_dir_all(block).unwrap();
    let seq = remove(&store, "plain").await.unwrap();
    assert!(anchored_seq(&rig) >= seq);
    store.seal().await;
    let store = sealed.unseal(&shares[..2], false).await.unwrap();
    assert_eq!((get(&store, space(), "gone").await, store.key_status().term), (None, 2));
    store.seal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anchor_that_hangs_keeps_neither_the_keys_nor_the_seal_and_never_goes_back() {
    let rig = Rig::new();
    let shares = rig.init().await;
    let arena = crate::fixture::arena();
    let sealed = SealedStore::over(rig.physical.clone(), None, rig.state.path(), arena.clone(), clock());
    let sealed = sealed.await.unwrap();
    let store = sealed.unseal(&shares[..2], false).await.unwrap();
    put(&store, space(), "gone", "x").await;
    let file = sealed.anchor_file().clone();
    let disk = file.hang();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { remove(&store, "gone").await }
    });
    until("the removal is not seen", async || get(&store, space(), "gone").await.is_none()).await;
    let seal = tokio::time::timeout(Duration::from_secs(60), store.seal());
    seal.await.expect("the seal waits for the anchor");
    assert_eq!(arena.used(), 0);
    assert!(matches!(waiting.await.unwrap(), Err(CommitError::Unanchored(_))));
    // The next period begins while the old write still hangs; then both come to their end, in whatever order.
    let again = tokio::spawn({
        let (sealed, shares) = (sealed.clone(), shares.clone());
        async move { sealed.unseal(&shares[..2], false).await }
    });
    until("the unseal does not come to its anchor", async || arena.used() > 0).await;
    drop(disk);
    let store = match again.await.unwrap() {
        Ok(store) => store,
        // The machine was too busy for one wait.
        Err(UnsealError::Storage(Error::Anchor { .. })) => sealed.unseal(&shares[..2], false).await.unwrap(),
        Err(e) => panic!("{e}"),
    };
    assert!(anchored_seq(&rig) >= store.seq(), "the older anchor was put back");
    assert_eq!(get(&store, space(), "gone").await, None);
    store.seal().await;
}

fn config(dir: &Path, backend: Backend) -> StoreConfig {
    StoreConfig { backend, path: dir.join("data"), state_dir: dir.join("state"), journal: Default::default() }
}

async fn open(config: &StoreConfig) -> Result<SealedStore, Error> {
    SealedStore::open(config.clone(), crate::fixture::arena(), clock()).await
}

pub(super) fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Points to cut at: each in the journal's last segment, as bytes that are left of it.
const CUTS: u64 = 60;

#[tokio::test]
async fn no_cut_of_the_journals_tail_brings_back_what_was_taken_away() {
    for backend in [Backend::Sled, Backend::Redb] {
        let dir = tempfile::tempdir().unwrap();
        let live = config(dir.path(), backend);
        std::fs::create_dir(&live.state_dir).unwrap();
        let sealed = open(&live).await.unwrap();
        let shares = sealed.begin_init(crate::fixture::TWO_OF_THREE).await.unwrap().finish().await.unwrap();
        let store = sealed.unseal(&shares[..2], false).await.unwrap();
        for i in 0..8 {
            put(&store, space(), &format!("gone/{i}"), &"x".repeat(100 * i)).await;
        }
        for i in 0..8 {
            remove(&store, &format!("gone/{i}")).await.unwrap();
            put(&store, space(), &format!("kept/{i}"), "x").await;
        }
        // The power goes: what is on the disk now, without the orderly close.
        let crash = dir.path().join("crash");
        copy_tree(&live.path, &crash.join("data"));
        copy_tree(&live.state_dir, &crash.join("state"));
        store.seal().await;
        drop((store, sealed));

        let journal = crash.join("data/journal");
        let end = Journal::read(&RealDir::open(&journal).unwrap()).unwrap().unwrap();
        let last = *end.segments.last().unwrap();
        let (mut opened, mut refused) = (0, 0);
        for cut in 0..=CUTS {
            let at = last.end * cut / CUTS;
            let tampered = dir.path().join("tampered");
            copy_tree(&crash, &tampered);
            let segment = tampered.join("data/journal").join(segment_name(last.number));
            let file = std::fs::OpenOptions::new().write(true).open(segment).unwrap();
            file.set_len(at).unwrap();
            let found = match open(&config(&tampered, backend)).await {
                Ok(sealed) => sealed.unseal(&shares[..2], false).await.map(|store| (sealed, store)).ok(),
                Err(_) => None,
            };
            match found {
                None => refused += 1,
                Some((sealed, store)) => {
                    opened += 1;
                    let back = store.list(space(), "gone", None, 99).await.unwrap();
                    assert!(back.is_empty(), "{backend:?} cut to {at} of {}: {back:?} came back", last.end);
                    store.seal().await;
                    sealed.close().await.unwrap();
                }
            }
            std::fs::remove_dir_all(tampered).unwrap();
        }
        assert!(opened > 0 && refused > CUTS / 2, "{backend:?}: {opened} opened, {refused} refused");
    }
}
