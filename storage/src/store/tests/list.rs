use crate::Space;
use crate::fixture::{Rig, bytes, put};
use std::collections::BTreeSet;
use uuid::Uuid;

fn space() -> Space {
    Space::mount(Uuid::from_u128(8))
}

#[tokio::test]
async fn a_large_folder_lists_in_order_and_in_pages() {
    let rig = Rig::new();
    let (store, _) = rig.vault().await;
    let mut expected = BTreeSet::new();
    for chunk in 0..30 {
        let mut txn = store.begin();
        for i in 0..90 {
            let n = chunk * 90 + i;
            let path = if n % 7 == 0 { format!("big/{n:x}/leaf") } else { format!("big/{n:x}") };
            expected.insert(if n % 7 == 0 { format!("{n:x}/") } else { format!("{n:x}") });
            txn.put(space(), &path, bytes("v")).unwrap();
        }
        txn.commit().await.unwrap();
    }
    let all: Vec<String> = expected.into_iter().collect();
    assert_eq!(store.list(space(), "big/", None, usize::MAX).await.unwrap(), all);
    let (mut paged, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = store.list(space(), "big", after.as_deref(), 331).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert!(store.list(space(), "big", None, 0).await.unwrap().is_empty());
    assert_eq!(store.list(space(), "", None, 5).await.unwrap(), ["big/"]);
    for (dir, most, count) in [("big", u64::MAX, 2700), ("big/", 10, 10), ("", 2701, 2700), ("none", 9, 0)] {
        assert_eq!(store.count(space(), dir, most).await.unwrap(), count, "{dir}");
    }
}

#[tokio::test]
async fn a_record_and_a_folder_may_share_a_name() {
    let rig = Rig::new();
    let (store, _) = rig.vault().await;
    for path in ["a", "a/b", "a/b/c", "z"] {
        put(&store, space(), path, "x").await;
    }
    assert_eq!(store.list(space(), "", None, 9).await.unwrap(), ["a", "a/", "z"]);
    assert_eq!(store.list(space(), "", Some("a"), 9).await.unwrap(), ["a/", "z"]);
    assert_eq!(store.count(space(), "", 9).await.unwrap(), 4);
    assert_eq!(store.list(space(), "a", None, 9).await.unwrap(), ["b", "b/"]);
    assert!(store.list(space(), "a/b/c", None, 9).await.unwrap().is_empty());
    assert!(store.list(space(), "nothing", None, 9).await.unwrap().is_empty());
    assert!(store.list(Space::core(), "", None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn fences_do_not_show() {
    let rig = Rig::new();
    let (store, _) = rig.vault().await;
    let mut txn = store.begin();
    txn.fence(space(), "a").await.unwrap();
    txn.fence(space(), "").await.unwrap();
    txn.put(space(), "x", bytes("1")).unwrap();
    txn.commit().await.unwrap();
    assert_eq!(store.list(space(), "", None, 9).await.unwrap(), ["x"]);
    assert!(store.list(space(), "a", None, 9).await.unwrap().is_empty());
}
