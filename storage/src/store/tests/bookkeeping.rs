//! A plan that contradicts itself is never written in part, and nothing is written after it.

use crate::fixture::{Rig, bytes, get, put};
use crate::head::boot;
use crate::store::request::{Batch, Title, Write};
use crate::{CommitError, Error, Space};
use parking_lot::Mutex;
use std::sync::Arc;
use uuid::Uuid;

fn space() -> Space {
    Space::mount(Uuid::from_u128(31))
}

#[tokio::test]
async fn a_write_outside_every_partition_ends_all_writing() {
    let rig = Rig::new();
    let (store, shares) = rig.vault().await;
    put(&store, space(), "a", "1").await;
    let fatal: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = fatal.clone();
    store.on_fatal(Arc::new(move |why| told.lock().push(why.to_owned())));
    let write = Write { space: space(), title: Title::Unknown, value: Some(bytes("x")) };
    let batch = Batch { writes: vec![(boot::root(), write)], ..Batch::default() };
    assert!(store.submit(batch).await.is_err());
    assert_eq!(fatal.lock().len(), 1, "the vault is told to seal");
    let mut txn = store.begin();
    txn.put(space(), "a", bytes("2")).unwrap();
    assert!(matches!(txn.commit().await, Err(CommitError::Failed(Error::Failed(_)))));
    assert_eq!(get(&store, space(), "a").await.as_deref(), Some("1"));
    store.seal().await;
    let store = rig.open().await.unseal(&shares[..2], false).await.unwrap();
    assert_eq!(get(&store, space(), "a").await.as_deref(), Some("1"));
    store.seal().await;
}
