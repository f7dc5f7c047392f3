//! A cut at every write of every ceremony: exactly the old or the new state is there, and nothing acknowledged is lost.

use crate::fixture::{Fault, Faulty, Rig, TWO_OF_THREE, bytes, get};
use crate::physical::memory::Memory;
use crate::{KeyName, SealedStore, Space, Store};
use secmem::SecretBytes;
use std::sync::Arc;
use uuid::Uuid;

const FAULTS: [Fault; 3] = [Fault::Before, Fault::After, Fault::Torn];

fn space() -> Space {
    Space::mount(Uuid::from_u128(5))
}

/// What the run was told before it was cut.
#[derive(Default)]
struct Told {
    /// Sets of shares, the last one being the newest, and whether it was acknowledged.
    shares: Vec<(Vec<SecretBytes>, bool)>,
    /// Values that were acknowledged and the one on its way.
    written: Vec<String>,
    pending: Option<String>,
    finished: bool,
}

async fn write(store: &Store, told: &mut Told, value: &str) -> Result<(), ()> {
    told.pending = Some(value.to_owned());
    let mut txn = store.begin();
    txn.put(space(), &format!("k/{value}"), bytes(value)).unwrap();
    txn.put(Space::core(), "latest", bytes(value)).unwrap();
    txn.commit().await.map_err(drop)?;
    told.pending = None;
    told.written.push(value.to_owned());
    Ok(())
}

/// Every ceremony once, with writes in between; stops where the storage does.
async fn ceremonies(rig: &Rig, told: &mut Told) -> Result<(), ()> {
    let sealed = rig.open().await;
    let done = of_a_life(&sealed, told).await;
    sealed.released().await;
    done
}

async fn of_a_life(sealed: &SealedStore, told: &mut Told) -> Result<(), ()> {
    let making = sealed.begin_init(TWO_OF_THREE).await.map_err(drop)?;
    write(making.store(), told, "init").await?;
    making.store().ensure_key(&KeyName::Token).await.map_err(drop)?;
    let shares = making.finish().await.map_err(drop)?;
    told.shares.push((shares.clone(), true));
    let store = sealed.unseal(&shares[..2], false).await.map_err(drop)?;
    let done = unsealed(&store, told).await;
    store.seal().await;
    done
}

async fn unsealed(store: &Store, told: &mut Told) -> Result<(), ()> {
    write(store, told, "one").await?;
    store.rotate().await.map_err(drop)?;
    write(store, told, "two").await?;
    store.ensure_key(&KeyName::AuditSigning).await.map_err(drop)?;
    store.rotate_root().await.map_err(drop)?;
    write(store, told, "three").await?;
    let proposal = store.propose_rekey(2, 2).map_err(drop)?;
    told.shares.push((proposal.shares().to_vec(), false));
    store.commit_rekey(proposal).await.map_err(drop)?;
    if let Some((_, acknowledged)) = told.shares.last_mut() {
        *acknowledged = true;
    }
    write(store, told, "four").await?;
    told.finished = true;
    Ok(())
}

/// After a restart.
async fn check(rig: &Rig, told: &Told, what: &str) {
    let sealed = rig.try_open().await.unwrap_or_else(|e| panic!("{what}: {e}"));
    if told.shares.is_empty() {
        // Init was not finished: it starts over.
        assert!(!sealed.status().initialized, "{what}");
        let shares = sealed.begin_init(TWO_OF_THREE).await.unwrap().finish().await.unwrap();
        let store = sealed.unseal(&shares[..2], false).await.unwrap();
        assert_eq!(get(&store, Space::core(), "latest").await, None, "{what}: left-overs");
        return store.seal().await;
    }
    assert!(sealed.status().initialized, "{what}");
    assert_eq!(sealed.status().rollback, None, "{what}");
    let mut opened = Vec::new();
    for (i, (shares, _)) in told.shares.iter().enumerate() {
        let Ok(store) = sealed.unseal(&shares[..2], false).await else { continue };
        opened.push(i);
        assert!(shares.iter().all(|s| sealed.share_known(s.as_slice())), "{what}");
        let latest = get(&store, Space::core(), "latest").await;
        let last = told.written.last().map(String::as_str);
        let pending = told.pending.as_deref().filter(|p| latest.as_deref() == Some(p));
        assert_eq!(latest.as_deref(), pending.or(last), "{what}");
        for value in &told.written {
            assert_eq!(get(&store, space(), &format!("k/{value}")).await.as_ref(), Some(value), "{what}");
        }
        if let Some(value) = &told.pending {
            // All of the transaction or nothing.
            let there = get(&store, space(), &format!("k/{value}")).await.is_some();
            assert_eq!(there, pending.is_some(), "{what}: {value}");
        }
        let mut txn = store.begin();
        txn.put(space(), "after", bytes("x")).unwrap();
        txn.commit().await.unwrap();
        store.seal().await;
    }
    let newest = told.shares.len() - 1;
    let (_, acknowledged) = told.shares[newest];
    assert!(
        opened == [newest] || (!acknowledged && opened == [newest - 1]),
        "{what}: sets {opened:?} open the vault"
    );
}

#[tokio::test]
async fn a_cut_at_any_write_leaves_the_old_or_the_new() {
    let (mut cuts, mut old, mut new) = (0, 0, 0);
    for fault in FAULTS {
        for skip in 0.. {
            let memory = Arc::new(Memory::new());
            let faulty = Arc::new(Faulty::new(memory.clone()));
            faulty.plan(skip, fault);
            let mut rig = Rig::over(faulty);
            let mut told = Told::default();
            let _ = ceremonies(&rig, &mut told).await;
            rig.physical = memory;
            check(&rig, &told, &format!("{fault:?} at write {skip}")).await;
            if told.shares.last().is_some_and(|(_, acknowledged)| !acknowledged) {
                if fault == Fault::Before { old += 1 } else { new += 1 }
            }
            if told.finished {
                break;
            }
            cuts += 1;
        }
    }
    assert!(cuts >= 3 * 12, "{cuts} cuts");
    assert_eq!((old, new), (1, 2), "the rekey is one write");
}

#[tokio::test]
async fn a_full_disk_at_any_write_is_survived() {
    for skip in 0.. {
        let memory = Arc::new(Memory::new());
        let faulty = Arc::new(Faulty::new(memory.clone()));
        faulty.plan(skip, Fault::Full);
        let mut rig = Rig::over(faulty);
        let mut told = Told::default();
        let _ = ceremonies(&rig, &mut told).await;
        rig.physical = memory;
        check(&rig, &told, &format!("full at write {skip}")).await;
        if told.finished {
            break;
        }
    }
}
