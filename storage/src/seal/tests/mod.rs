mod mutants;
mod rollback;

use crate::anchor::{Anchor, AnchorFile};
use crate::fixture::{Rig, TWO_OF_THREE, bytes, files, get, put, records};
use crate::{
    Backend, Cipher, Error, ErrorKind, InitParams, KeyName, SealedStore, Space, StoreConfig, UnsealError,
};
use secmem::SecretBytes;
use uuid::Uuid;

fn mount() -> Space {
    Space::mount(Uuid::from_u128(77))
}

#[tokio::test]
async fn a_vault_is_made_opened_sealed_and_opened_again() {
    for (shares, threshold, cipher) in
        [(1, 1, Cipher::XAes256Gcm), (5, 3, Cipher::XAes256Gcm), (2, 2, Cipher::XChaCha20Poly1305)]
    {
        let rig = Rig::new();
        let sealed = rig.open().await;
        assert!(!sealed.status().initialized);
        let making = sealed.begin_init(InitParams { shares, threshold, cipher }).await.unwrap();
        put(making.store(), Space::core(), "first", "from init").await;
        let parts = making.finish().await.unwrap();
        let status = sealed.status();
        assert_eq!((status.initialized, status.shares, status.threshold), (true, shares, threshold));
        assert_eq!((status.backend, status.rollback), ("memory", None));

        let t = usize::from(threshold);
        for round in 0..3 {
            let store = sealed.unseal(&parts[parts.len() - t..], false).await.unwrap();
            assert_eq!(store.store_id(), status.store_id);
            assert_eq!(get(&store, Space::core(), "first").await.as_deref(), Some("from init"));
            put(&store, mount(), &format!("round/{round}"), "x").await;
            assert_eq!(store.list(mount(), "round", None, 9).await.unwrap().len(), round + 1);
            assert!(!store.epoch_raised());
            store.seal().await;
            assert!(matches!(store.get(Space::core(), "first").await, Err(Error::Sealed)));
            assert!(matches!(store.list(Space::core(), "", None, 1).await, Err(Error::Sealed)));
            assert!(store.key(&KeyName::Token).is_err_and(|e| e.kind() == ErrorKind::Sealed));
            assert!(store.rotate().await.is_err_and(|e| e.kind() == ErrorKind::Sealed));
            store.seal().await;
        }
        // A restart.
        let store = rig.open().await.unseal(&parts[..t], false).await.unwrap();
        assert_eq!(get(&store, mount(), "round/1").await.as_deref(), Some("x"));
        store.seal().await;
        assert_eq!(files(rig.state.path()), ["anchor"]);
    }
}

#[tokio::test]
async fn share_counts_out_of_range_make_nothing() {
    let rig = Rig::new();
    let sealed = rig.open().await;
    for (shares, threshold) in [(0, 0), (3, 0), (2, 3), (3, 1)] {
        let refused = sealed.begin_init(InitParams { shares, threshold, cipher: Cipher::XAes256Gcm }).await;
        assert!(matches!(refused, Err(Error::Shares(_))), "{threshold} of {shares}");
    }
    assert!(records(&*rig.physical).await.is_empty());
    assert_eq!(rig.anchor(), None);
}

#[tokio::test]
async fn wrong_shares_get_one_answer_and_leave_nothing() {
    let (rig, other) = (Rig::new(), Rig::new());
    let (shares, foreign) = (rig.init().await, other.init().await);
    let sealed = rig.open().await;
    let [a, b] = [&shares[0], &shares[1]].map(Clone::clone);
    let mut bent = a.as_slice().to_vec();
    bent[3] ^= 1;
    let bent = SecretBytes::from(bent);
    let short = SecretBytes::from(a.as_slice()[1..].to_vec());
    let before = records(&*rig.physical).await;
    let sets = [
        vec![],
        vec![a.clone()],
        vec![a.clone(), a.clone()],
        vec![bent, b.clone()],
        vec![short, b.clone()],
        foreign[..2].to_vec(),
        vec![a.clone(), foreign[1].clone()],
        vec![SecretBytes::default(), b.clone()],
    ];
    for set in sets {
        let e = sealed.unseal(&set, false).await.unwrap_err();
        assert!(matches!(e, UnsealError::WrongShares));
        assert_eq!(e.to_string(), "the shares do not open this vault");
    }
    assert!(records(&*rig.physical).await == before);
    for share in &shares {
        assert!(sealed.share_known(share.as_slice()));
    }
    assert!(!sealed.share_known(foreign[0].as_slice()) && !sealed.share_known(b""));
    // More than enough is fine too.
    sealed.unseal(&shares, false).await.unwrap().seal().await;
}

#[tokio::test]
async fn an_init_that_is_not_finished_never_was() {
    let rig = Rig::new();
    let sealed = rig.open().await;
    let making = sealed.begin_init(TWO_OF_THREE).await.unwrap();
    put(making.store(), mount(), "left/over", "x").await;
    let lost = making.shares().to_vec();
    drop(making);
    // In the same process, and after a restart.
    for sealed in [sealed, rig.open().await] {
        assert!(!sealed.status().initialized);
        assert!(!sealed.share_known(lost[0].as_slice()));
        let e = sealed.unseal(&lost[..2], false).await.unwrap_err();
        assert!(matches!(e, UnsealError::Storage(Error::NotInitialised)));
    }
    let sealed = rig.open().await;
    let shares = sealed.begin_init(TWO_OF_THREE).await.unwrap().finish().await.unwrap();
    assert!(matches!(sealed.unseal(&lost[..2], false).await, Err(UnsealError::WrongShares)));
    let store = sealed.unseal(&shares[..2], false).await.unwrap();
    assert_eq!(get(&store, mount(), "left/over").await, None);
    store.seal().await;
    assert!(matches!(sealed.begin_init(TWO_OF_THREE).await, Err(Error::AlreadyInitialised)));
}

#[tokio::test]
async fn one_store_at_a_time() {
    let rig = Rig::new();
    let shares = rig.init().await;
    let sealed = rig.open().await;
    let store = sealed.unseal(&shares[..2], false).await.unwrap();
    tokio::time::pause();
    let second = sealed.unseal(&shares[..2], false).await;
    tokio::time::resume();
    assert!(matches!(second, Err(UnsealError::Storage(Error::AlreadyOpen))));
    // A store that is dropped seals itself.
    put(&store, mount(), "a", "1").await;
    drop(store);
    let store = sealed.unseal(&shares[..2], false).await.unwrap();
    assert_eq!(get(&store, mount(), "a").await.as_deref(), Some("1"));
    store.seal().await;
}

#[tokio::test]
async fn keys_are_gone_from_the_arena_once_sealed() {
    let rig = Rig::new();
    let shares = rig.init().await;
    let arena = crate::fixture::arena();
    let sealed = SealedStore::over(
        rig.physical.clone(),
        None,
        rig.state.path(),
        arena.clone(),
        crate::fixture::clock(),
    );
    let sealed = sealed.await.unwrap();
    let mut unseal_key = [0; 32];
    crate::shamir::combine(&shares[..2], &mut unseal_key).unwrap();
    assert_eq!(arena.count(&unseal_key), 0);
    for _ in 0..3 {
        let store = sealed.unseal(&shares[1..], false).await.unwrap();
        assert_eq!(arena.count(&unseal_key), 1, "in one slot and on no stack");
        let key = store.ensure_key(&KeyName::AuditHmac("file".into())).await.unwrap();
        assert!(arena.used() > 0);
        store.seal().await;
        assert_eq!((arena.used(), arena.count(&unseal_key)), (0, 0));
        assert!(key.with(<[u8]>::len).is_err());
    }
    // Neither does a failed attempt leave any.
    assert!(sealed.unseal(&shares[..1], false).await.is_err());
    assert_eq!(arena.used(), 0);
}

#[tokio::test]
async fn nothing_stored_holds_a_name_or_a_value() {
    let rig = Rig::new();
    let (store, shares) = rig.vault().await;
    let canaries = ["zanzibar-path", "quixotic-name", "jabberwock-value", "rider-of-the-storm"];
    for i in 0..30 {
        let mut txn = store.begin();
        txn.put(mount(), &format!("zanzibar-path/{i}/quixotic-name"), bytes("jabberwock-value")).unwrap();
        txn.put(Space::core(), "quixotic-name", bytes("jabberwock-value")).unwrap();
        txn.fence(mount(), "zanzibar-path").await.unwrap();
        txn.rider(bytes("rider-of-the-storm"));
        txn.commit().await.unwrap();
    }
    store.rotate().await.unwrap();
    store.ensure_key(&KeyName::AuditHmac("quixotic-name".into())).await.unwrap();
    let riders = store.riders().await.unwrap();
    assert_eq!(riders.len(), 30);
    assert!(riders.iter().all(|(_, r)| **r == *b"rider-of-the-storm"));
    store.seal().await;

    let mut haystack = rig.anchor().unwrap();
    for (key, value) in records(&*rig.physical).await {
        haystack.extend_from_slice(key.as_bytes());
        haystack.extend_from_slice(&value);
    }
    for (_, rider) in rig.physical.riders().await.unwrap() {
        haystack.extend_from_slice(&rider);
    }
    let found = |needle: &[u8]| haystack.windows(needle.len()).any(|w| w == needle);
    for canary in canaries {
        assert!(!found(canary.as_bytes()), "{canary} is readable");
        assert!(!found(&canary.as_bytes()[..8]), "{canary} is readable in part");
    }
    assert!(!found(mount().to_bytes().as_slice()), "the mount's uuid is readable");
    for share in shares {
        assert!(!found(&share.as_slice()[..32]), "a share is readable");
    }
    assert!(found(b"share_hashes"), "the search finds what is there");
}

#[tokio::test]
async fn store_and_anchor_must_belong_together() {
    let (a, b) = (Rig::new(), Rig::new());
    let shares = a.init().await;
    b.init().await;
    let (anchor_a, anchor_b) = (a.anchor().unwrap(), b.anchor().unwrap());

    a.set_anchor(Some(&anchor_b));
    let e = a.try_open().await.unwrap_err();
    assert!(matches!(&e, Error::Mismatch(_)), "a foreign anchor: {e}");

    let empty = Rig::new();
    for anchor in [anchor_a.as_slice(), b"", b"{}", &anchor_a[..40]] {
        empty.set_anchor(Some(anchor));
        let e = empty.try_open().await.unwrap_err();
        assert!(matches!(&e, Error::Mismatch(_)), "an anchor without its store: {e}");
    }

    // An anchor from before init ended does not make a used vault a new one.
    let id = a_status(&a, &anchor_a).await;
    let store = a.open().await.unseal(&shares[..2], false).await.unwrap();
    put(&store, mount(), "a", "1").await;
    store.seal().await;
    AnchorFile::in_dir(a.state.path()).write(&Anchor::begun(id)).unwrap();
    let sealed = a.open().await;
    assert!(sealed.status().initialized && sealed.status().rollback.is_some());
    assert!(matches!(sealed.begin_init(TWO_OF_THREE).await, Err(Error::AlreadyInitialised)));
    let store = sealed.unseal(&shares[..2], true).await.unwrap();
    assert_eq!(get(&store, mount(), "a").await.as_deref(), Some("1"));
    store.seal().await;
}

async fn a_status(rig: &Rig, anchor: &[u8]) -> Uuid {
    rig.set_anchor(Some(anchor));
    let status = rig.open().await.status();
    assert_eq!(status.rollback, None);
    status.store_id
}

#[tokio::test]
async fn on_every_backend_a_restart_finds_everything_and_the_files_nothing_readable() {
    for backend in [Backend::Sled, Backend::Redb] {
        let dir = tempfile::tempdir().unwrap();
        let cfg = StoreConfig {
            backend,
            path: dir.path().join("data"),
            state_dir: dir.path().to_owned(),
            journal: Default::default(),
        };
        let open = || SealedStore::open(cfg.clone(), crate::fixture::arena(), crate::fixture::clock());
        let sealed = open().await.unwrap();
        let shares = sealed.begin_init(TWO_OF_THREE).await.unwrap().finish().await.unwrap();
        for round in 0..3 {
            let store = sealed.unseal(&shares[..2], false).await.unwrap();
            for size in [1, 300, 70_000] {
                let mut txn = store.begin();
                let value = b"jabberwock".repeat(size);
                txn.put(mount(), &format!("zanzibar/{round}/{size}"), value.into()).unwrap();
                txn.commit().await.unwrap();
            }
            store.rotate().await.unwrap();
            store.seal().await;
        }
        sealed.close().await.unwrap();
        for file in tree(dir.path()) {
            let bytes = std::fs::read(&file).unwrap();
            for canary in [b"jabberwock".as_slice(), b"zanzibar"] {
                assert!(!bytes.windows(canary.len()).any(|w| w == canary), "{}", file.display());
            }
        }
        let sealed = open().await.unwrap();
        assert_eq!(sealed.status().backend, backend.name());
        assert_eq!(sealed.status().rollback, None);
        let store = sealed.unseal(&shares[1..], false).await.unwrap();
        for round in 0..3 {
            assert_eq!(store.list(mount(), &format!("zanzibar/{round}"), None, 9).await.unwrap().len(), 3);
            let large = store.get(mount(), &format!("zanzibar/{round}/70000")).await.unwrap().unwrap();
            assert!(*large.value == b"jabberwock".repeat(70_000));
        }
        store.seal().await;
        sealed.close().await.unwrap();
        // The whole store gone, the anchor left: not a new vault.
        std::fs::remove_dir_all(&cfg.path).unwrap();
        assert!(matches!(open().await, Err(Error::Mismatch(_))));
    }
}

/// Every file below a directory.
fn tree(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(tree(&path)) } else { files.push(path) }
    }
    files
}
