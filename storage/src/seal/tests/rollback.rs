use super::mount;
use crate::fixture::{Copy, Rig, get, put};
use crate::{Error, Space, UnsealError};
use secmem::SecretBytes;

/// Refused without acceptance, in status and at unseal; opened with it, and the epoch raised until it is settled.
async fn is_a_rollback(rig: &Rig, shares: &[SecretBytes], early: bool) {
    let sealed = rig.open().await;
    assert!(sealed.status().initialized);
    assert_eq!(sealed.status().rollback.is_some(), early);
    let e = sealed.unseal(&shares[..2], false).await.unwrap_err();
    assert!(matches!(&e, UnsealError::Storage(Error::Rollback(_))), "{e}");
    assert!(
        matches!(sealed.unseal(&shares[..1], true).await, Err(UnsealError::WrongShares)),
        "acceptance is no key"
    );

    let store = sealed.unseal(&shares[..2], true).await.unwrap();
    assert!(store.epoch_raised());
    assert_eq!(sealed.status().rollback, None);
    drop(store);
    sealed.released().await;
    // Not settled: still raised after a restart, and no longer a rollback.
    let store = rig.open().await.unseal(&shares[1..], false).await.unwrap();
    assert!(store.epoch_raised());
    store.settle_epoch().await.unwrap();
    assert!(!store.epoch_raised());
    store.seal().await;
    let store = rig.open().await.unseal(&shares[1..], false).await.unwrap();
    assert!(!store.epoch_raised());
    store.seal().await;
}

/// A vault, a copy of it, and 20 writes later.
async fn aged() -> (Rig, Vec<SecretBytes>, Copy) {
    let rig = Rig::new();
    let (store, shares) = rig.vault().await;
    put(&store, mount(), "counter", "0").await;
    store.seal().await;
    let old = rig.copy().await;
    let store = rig.open().await.unseal(&shares[..2], false).await.unwrap();
    for i in 1..=20 {
        put(&store, mount(), "counter", &i.to_string()).await;
    }
    store.seal().await;
    (rig, shares, old)
}

#[tokio::test]
async fn an_old_copy_of_the_whole_store_is_noticed() {
    let (rig, shares, old) = aged().await;
    let mixed = Copy { anchor: rig.anchor(), ..old }.restore().await;
    is_a_rollback(&mixed, &shares, true).await;
    let store = mixed.open().await.unseal(&shares[..2], false).await.unwrap();
    assert_eq!(get(&store, mount(), "counter").await.as_deref(), Some("0"));
    store.seal().await;
    // The newer history is now the foreign one.
    let newer = Copy { anchor: mixed.anchor(), ..rig.copy().await }.restore().await;
    is_a_rollback(&newer, &shares, true).await;
}

#[tokio::test]
async fn a_missing_damaged_or_forged_anchor_is_noticed() {
    let (rig, shares, _) = aged().await;
    let copy = rig.copy().await;
    let whole = copy.anchor.clone().unwrap();
    for anchor in [None, Some(Vec::new()), Some(whole[..30].to_vec())] {
        let rig = Copy { anchor, ..copy.clone() }.restore().await;
        is_a_rollback(&rig, &shares, true).await;
    }
    // An anchor made up to fit an old store: only the key shows that it is not ours.
    let text = String::from_utf8(whole).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["seq"] = 1.into();
    let forged = Copy { anchor: Some(json.to_string().into_bytes()), ..copy.clone() }.restore().await;
    is_a_rollback(&forged, &shares, false).await;
}

#[tokio::test]
async fn a_store_ahead_of_its_anchor_is_none() {
    let (rig, shares, old) = aged().await;
    let ahead = Copy { anchor: old.anchor, ..rig.copy().await }.restore().await;
    let store = ahead.open().await.unseal(&shares[..2], false).await.unwrap();
    assert!(!store.epoch_raised());
    assert_eq!(get(&store, mount(), "counter").await.as_deref(), Some("20"));
    store.seal().await;
}

#[tokio::test]
async fn the_anchor_follows_within_a_second_and_is_never_ahead() {
    let rig = Rig::new();
    let (store, _shares) = rig.vault().await;
    let seq = |rig: &Rig| -> u64 {
        let json: serde_json::Value = serde_json::from_slice(&rig.anchor().unwrap()).unwrap();
        json["seq"].as_u64().unwrap()
    };
    let opened = seq(&rig);
    assert_eq!(opened, store.seq(), "written at open");
    let mut last = 0;
    for i in 0..50 {
        last = put(&store, Space::core(), "a", &i.to_string()).await;
        assert!(seq(&rig) <= last);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while seq(&rig) < last {
        assert!(std::time::Instant::now() < deadline, "the anchor stays behind");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let last = put(&store, Space::core(), "a", "z").await;
    store.seal().await;
    assert_eq!(seq(&rig), last, "written at seal");
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_keeps_the_vault_sealed() {
    let (rig, shares, _) = aged().await;
    let sealed = rig.open().await;
    // A directory where the temporary file should be: no permission bits needed, so it holds for root too.
    let block = rig.state.path().join("anchor.new");
    std::fs::create_dir_all(block.join("x")).unwrap();
    let e = sealed.unseal(&shares[..2], false).await.unwrap_err();
    assert!(matches!(e, UnsealError::Storage(Error::Anchor { .. })), "{e}");
    std::fs::remove_dir_all(block).unwrap();
    sealed.unseal(&shares[..2], false).await.unwrap().seal().await;
}
