//! Somebody with the disk in hand: whatever is done to the stored records, no wrong answer is ever given.

use super::mount;
use crate::fixture::{Copy, Rig, bytes, put};
use crate::physical::Key;
use crate::{Error, ErrorKind, Space, UnsealError};
use secmem::SecretBytes;
use std::collections::BTreeMap;
use uuid::Uuid;

type Contents = BTreeMap<(Space, String), Vec<u8>>;

/// A vault with history, an older copy of it, and what it holds.
struct Subject {
    now: Copy,
    old: Copy,
    shares: Vec<SecretBytes>,
    contents: Contents,
}

async fn subject() -> Subject {
    let rig = Rig::new();
    let (store, shares) = rig.vault().await;
    let spaces = [Space::core(), mount(), Space::mount(Uuid::from_u128(78))];
    let mut contents = Contents::new();
    let mut old = None;
    for version in 0..2 {
        for (i, space) in spaces.into_iter().enumerate() {
            for name in 0..4 - i {
                let path = format!("dir{}/name{name}", name % 2);
                let value = format!("value {version} of {name} in {i}");
                put(&store, space, &path, &value).await;
                contents.insert((space, path), value.into_bytes());
            }
        }
        let mut txn = store.begin();
        txn.fence(mount(), "dir0").await.unwrap();
        txn.put(mount(), "gone", bytes("x")).unwrap();
        txn.commit().await.unwrap();
        if version == 0 {
            old = Some(rig.copy().await);
            store.rotate().await.unwrap();
        }
    }
    let mut txn = store.begin();
    txn.delete(mount(), "gone").unwrap();
    txn.commit().await.unwrap();
    store.seal().await;
    Subject { now: rig.copy().await, old: old.unwrap(), shares, contents }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Refused when opening or unsealing.
    Refused,
    /// Opened, and a read said `integrity`.
    FoundOnRead,
    /// Opened, and every answer was right.
    Harmless,
}

impl Subject {
    async fn verdict(&self, records: Vec<(Key, Vec<u8>)>) -> Verdict {
        let rig = Copy { records, anchor: self.now.anchor.clone() }.restore().await;
        let sealed = match rig.try_open().await {
            Ok(sealed) => sealed,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Integrity, "{e}");
                return Verdict::Refused;
            }
        };
        assert!(sealed.status().initialized, "a mutant must never look like a new vault");
        let store = match sealed.unseal(&self.shares[..2], false).await {
            Ok(store) => store,
            Err(
                UnsealError::Storage(Error::Integrity(_) | Error::Rollback(_)) | UnsealError::WrongShares,
            ) => {
                return Verdict::Refused;
            }
            Err(e) => panic!("unexpected refusal: {e}"),
        };
        let mut verdict = Verdict::Harmless;
        for ((space, path), value) in &self.contents {
            match store.get(*space, path).await {
                Ok(read) => assert_eq!(read.as_ref().map(|r| r.value.as_slice()), Some(value.as_slice())),
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Integrity, "{e}");
                    verdict = Verdict::FoundOnRead;
                }
            }
        }
        assert!(
            store.get(mount(), "gone").await.is_ok_and(|r| r.is_none()) || verdict == Verdict::FoundOnRead
        );
        store.seal().await;
        verdict
    }
}

#[tokio::test]
async fn a_missing_record_is_noticed() {
    let subject = subject().await;
    assert_eq!(subject.verdict(subject.now.records.clone()).await, Verdict::Harmless);
    for at in 0..subject.now.records.len() {
        let mut records = subject.now.records.clone();
        let (key, _) = records.remove(at);
        assert_eq!(subject.verdict(records).await, Verdict::Refused, "without {key:?}");
    }
}

#[tokio::test]
async fn a_replayed_record_is_noticed() {
    let subject = subject().await;
    let mut replayed = 0;
    for (key, old) in &subject.old.records {
        let mut records = subject.now.records.clone();
        match records.iter_mut().find(|(k, _)| k == key) {
            Some((_, value)) if value == old => continue,
            Some((_, value)) => *value = old.clone(),
            // Deleted since: comes back.
            None => records.push((key.clone(), old.clone())),
        }
        replayed += 1;
        assert_eq!(subject.verdict(records).await, Verdict::Refused, "with the old {key:?}");
    }
    assert!(replayed > 12, "{replayed}");
}

#[tokio::test]
async fn swapped_and_copied_records_are_noticed() {
    let subject = subject().await;
    let count = subject.now.records.len();
    for a in 0..count {
        for b in 0..a {
            let mut records = subject.now.records.clone();
            let values = (records[a].1.clone(), records[b].1.clone());
            (records[b].1, records[a].1) = values;
            assert_eq!(subject.verdict(records).await, Verdict::Refused, "{a} and {b} swapped");
        }
        // One record more, under a key that nobody wrote, in each kind of place.
        let (key, value) = subject.now.records[a].clone();
        for key in
            [key.join(b"more"), Key::root().join(b"seal").join(&[7]), Key::root().join(&[9; 16]).join(b"x")]
        {
            let mut records = subject.now.records.clone();
            records.push((key, value.clone()));
            assert_eq!(subject.verdict(records).await, Verdict::Refused, "{a} copied");
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_never_gives_a_wrong_answer() {
    let subject = subject().await;
    let (mut refused, mut on_read, mut tried) = (0, 0, 0);
    for (at, (key, value)) in subject.now.records.iter().enumerate() {
        for byte in (0..value.len()).step_by(value.len() / 40 + 1).chain([value.len() - 1]) {
            let mut records = subject.now.records.clone();
            records[at].1[byte] ^= 1 << (byte % 8);
            tried += 1;
            match subject.verdict(records).await {
                Verdict::Refused => refused += 1,
                Verdict::FoundOnRead => on_read += 1,
                // A fence has no content, and the wrong name of a deleted record nobody asks for.
                Verdict::Harmless => panic!("byte {byte} of {key:?} does not matter"),
            }
        }
        for len in [0, 1, value.len() / 2, value.len() - 1] {
            let mut records = subject.now.records.clone();
            records[at].1.truncate(len);
            assert_ne!(subject.verdict(records).await, Verdict::Harmless, "{key:?} cut to {len}");
        }
    }
    assert!(refused > 100 && on_read > 10, "{refused} refused and {on_read} found on reading, of {tried}");
}

#[tokio::test]
async fn a_store_put_together_from_two_times_is_noticed() {
    let subject = subject().await;
    let partition = |key: &Key| key.segments().next().map(<[u8]>::to_vec);
    let mut kinds: Vec<_> = subject.now.records.iter().map(|(key, _)| partition(key)).collect();
    kinds.dedup();
    assert!(kinds.len() >= 6, "seal, head, index and three partitions");
    for kind in kinds {
        // Everything is new but one kind of record, then the other way round.
        for (base, graft) in [(&subject.now, &subject.old), (&subject.old, &subject.now)] {
            let mut records: Vec<_> =
                base.records.iter().filter(|(key, _)| partition(key) != kind).cloned().collect();
            records.extend(graft.records.iter().filter(|(key, _)| partition(key) == kind).cloned());
            assert_eq!(subject.verdict(records).await, Verdict::Refused);
        }
    }
}
