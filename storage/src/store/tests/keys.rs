//! Keys of the keyring file: made once, kept, told apart.

use crate::fixture::{Rig, get, put};
use crate::{Error, KeyName, Space};
use secmem::Key;

fn bytes(key: &Key) -> Vec<u8> {
    key.with(<[u8]>::to_vec).unwrap()
}

#[tokio::test]
async fn named_keys_are_made_once_and_come_back() {
    let rig = Rig::new();
    let (store, shares) = rig.vault().await;
    let names = [
        KeyName::Token,
        KeyName::BatchToken,
        KeyName::AuditSigning,
        KeyName::AuditHmac("file".into()),
        KeyName::AuditHmac("other".into()),
    ];
    let mut all = Vec::new();
    for name in &names {
        assert!(matches!(store.key(name), Err(Error::NoKey(_))));
        let key = bytes(&store.ensure_key(name).await.unwrap());
        assert_eq!(key.len(), 32);
        assert_eq!(bytes(&store.ensure_key(name).await.unwrap()), key);
        all.push(key);
    }
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), names.len());
    store.seal().await;
    let store = rig.open().await.unseal(&shares[..2], false).await.unwrap();
    for (name, key) in names.iter().zip(&all) {
        assert_eq!(&bytes(&store.key(name).unwrap()), key);
    }
    assert!(store.ensure_key(&KeyName::AuditHmac("x".repeat(300))).await.is_err());
    store.seal().await;
}

#[tokio::test]
async fn two_who_ensure_one_key_get_the_same() {
    let rig = Rig::new();
    let (store, _) = rig.vault().await;
    let (a, b) = tokio::join!(store.ensure_key(&KeyName::Token), store.ensure_key(&KeyName::Token));
    assert_eq!(bytes(&a.unwrap()), bytes(&b.unwrap()));
}

#[tokio::test]
async fn rotation_numbers_terms_and_counts_writes() {
    let rig = Rig::new();
    let (store, shares) = rig.vault().await;
    assert_eq!(store.key_status().term, 1);
    put(&store, Space::core(), "old", "1").await;
    let before = store.key_status().writes_this_term;
    put(&store, Space::core(), "old", "2").await;
    // The record, its index record and the head.
    assert_eq!(store.key_status().writes_this_term, before + 3);
    let status = store.rotate().await.unwrap();
    assert_eq!((status.term, status.installed), (2, (crate::fixture::clock())()));
    assert_eq!(status.writes_this_term, 1);
    put(&store, Space::core(), "new", "3").await;
    store.rotate_root().await.unwrap();
    let status = store.key_status();
    store.seal().await;
    let store = rig.open().await.unseal(&shares[..2], false).await.unwrap();
    assert_eq!(store.key_status().term, 2);
    assert!(store.key_status().writes_this_term > status.writes_this_term);
    assert_eq!(get(&store, Space::core(), "old").await.as_deref(), Some("2"));
    assert_eq!(get(&store, Space::core(), "new").await.as_deref(), Some("3"));
    store.seal().await;
}

#[tokio::test]
async fn a_rekey_changes_who_can_open_the_vault() {
    let rig = Rig::new();
    let (store, old) = rig.vault().await;
    put(&store, Space::core(), "a", "1").await;
    let dropped = store.propose_rekey(4, 2).unwrap();
    let lost = dropped.shares().to_vec();
    drop(dropped);
    assert!(store.propose_rekey(2, 3).is_err());
    let proposal = store.propose_rekey(5, 3).unwrap();
    let new = proposal.shares().to_vec();
    assert!(proposal.check_shares(&store, &new[1..4]));
    assert!(!proposal.check_shares(&store, &new[..2]) && !proposal.check_shares(&store, &old));
    assert!(store.check_shares(&old[..2]) && !store.check_shares(&new[..3]), "not in force yet");
    store.commit_rekey(proposal).await.unwrap();
    assert!(!store.check_shares(&old[..2]) && store.check_shares(&new[..3]));
    assert!(!store.check_shares(&new[..2]) && !store.check_shares(&[]) && !store.check_shares(&lost[..3]));
    store.seal().await;

    let sealed = rig.open().await;
    assert_eq!((sealed.status().shares, sealed.status().threshold), (5, 3));
    assert!(sealed.share_known(new[4].as_slice()) && !sealed.share_known(old[0].as_slice()));
    for wrong in [&old[..2], &old[..], &lost[..3], &new[..2]] {
        assert!(matches!(sealed.unseal(wrong, false).await, Err(crate::UnsealError::WrongShares)));
    }
    let store = sealed.unseal(&new[2..], false).await.unwrap();
    assert_eq!(get(&store, Space::core(), "a").await.as_deref(), Some("1"));
    // While open, the sealed store answers for the shares in force.
    let proposal = store.propose_rekey(1, 1).unwrap();
    let last = proposal.shares().to_vec();
    store.commit_rekey(proposal).await.unwrap();
    assert!(sealed.share_known(last[0].as_slice()) && !sealed.share_known(new[0].as_slice()));
    assert_eq!(sealed.status().shares, 1);
    store.seal().await;
    sealed.unseal(&last, false).await.unwrap().seal().await;
}
