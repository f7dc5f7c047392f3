use super::conformance::{self, Action, Change, Fixture};
use super::memory::Memory;
use super::*;
use crate::config::{Backend, JournalConfig, StoreConfig};
use proptest::prelude::*;
use std::future::{Future, ready};
use std::pin::Pin;

type Opening<'a> = Pin<Box<dyn Future<Output = Arc<dyn Physical>> + Send + 'a>>;

struct InMemory(Arc<Memory>);

impl Fixture for InMemory {
    fn open(&self) -> Opening<'_> {
        Box::pin(ready(self.0.clone() as Arc<dyn Physical>))
    }
    fn persistent(&self) -> bool {
        false
    }
}

/// A store in a directory of its own.
struct OnDisk {
    _dir: tempfile::TempDir,
    config: StoreConfig,
}

impl OnDisk {
    /// Small segments and checkpoints, so that the suite crosses many of them.
    fn new(backend: Backend) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = JournalConfig {
            segment_bytes: 64 * 1024,
            checkpoint_bytes: 128 * 1024,
            ballast_bytes: 64 * 1024,
            ..JournalConfig::default()
        };
        let path = dir.path().join("store");
        let config = StoreConfig { backend, state_dir: path.clone(), path, journal };
        OnDisk { _dir: dir, config }
    }
}

impl Fixture for OnDisk {
    fn open(&self) -> Opening<'_> {
        Box::pin(async { open_physical(&self.config).await.unwrap() })
    }
    fn persistent(&self) -> bool {
        true
    }
}

fn change() -> impl Strategy<Value = Change> {
    let length = prop_oneof![Just(None), (0u32..40).prop_map(Some), (8_000u32..30_000).prop_map(Some)];
    let ops = prop::collection::vec((0u32..600, length), 0..6);
    (ops, prop::option::of((0u32..600, any::<bool>())), any::<bool>())
        .prop_map(|(ops, expect, rider)| Change { ops, expect, rider })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => prop::collection::vec(change(), 1..4).prop_map(Action::Apply),
        2 => (0u32..600, prop::option::of(0u32..600), 0usize..20)
            .prop_map(|(prefix, after, limit)| Action::Scan { prefix, after, limit }),
        2 => (0u32..600, 1usize..5).prop_map(|(folder, page)| Action::Children { folder, page }),
        1 => Just(Action::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn random_work_agrees_with_a_map(actions in prop::collection::vec(action(), 1..40)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(conformance::replay(&InMemory(Arc::new(Memory::new())), &actions));
        runtime.block_on(conformance::replay(&OnDisk::new(Backend::Sled), &actions));
        runtime.block_on(conformance::replay(&OnDisk::new(Backend::Redb), &actions));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conformance::run(|| Box::new(InMemory(Arc::new(Memory::new())))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sled_conforms() {
    conformance::run(|| Box::new(OnDisk::new(Backend::Sled))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redb_conforms() {
    conformance::run(|| Box::new(OnDisk::new(Backend::Redb))).await;
}

fn key(n: u64) -> Key {
    Key::root().join(b"folder").join(&n.to_be_bytes())
}

fn write(n: u64, len: usize, rider: bool) -> Txn {
    let ops = vec![Op::Put { key: key(n), value: vec![n as u8; len] }];
    Txn { ops, rider: rider.then(|| n.to_be_bytes().to_vec()), expect: vec![] }
}

/// Some hundred records of all sizes, rewritten and deleted ones, and two riders left.
async fn fill(p: &dyn Physical) {
    for n in 0..600 {
        let txns = vec![write(n, (n as usize * 37) % 20_000, n % 100 == 7), write(n / 2, 10, false)];
        p.apply(Fence(1), txns).await.unwrap();
        if n % 9 == 0 {
            let gone = Txn { ops: vec![Op::Delete { key: key(n / 3) }], ..Txn::default() };
            p.apply(Fence(1), vec![gone]).await.unwrap();
        }
    }
    let riders = p.riders().await.unwrap();
    p.release_riders(riders[riders.len() - 3].0).await.unwrap();
}

type All = (Seq, Vec<(Key, Record)>, Vec<(Seq, Vec<u8>)>);

async fn all(p: &dyn Physical) -> All {
    (p.seq(), p.scan(&[], None, usize::MAX).await.unwrap(), p.riders().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_with_its_history() {
    use Backend::{Redb, Sled};
    for (a, b) in [(Sled, Redb), (Redb, Sled), (Sled, Sled)] {
        let (from, to) = (OnDisk::new(a), OnDisk::new(b));
        let p = from.open().await;
        fill(&*p).await;
        let before = all(&*p).await;
        assert_eq!(before.2.len(), 2);
        assert!(matches!(migrate(&from.config, &to.config, |_| true).await, Err(Error::Locked)));
        drop(p);
        // Stopped twice, it goes on where it was.
        for stop in [1, 300] {
            let stopped = migrate(&from.config, &to.config, move |n| n < stop).await;
            assert!(matches!(stopped, Err(Error::Backend(_))), "{stopped:?}");
            assert!(open_physical(&from.config).await.is_err(), "two stores would take writes");
            assert!(open_physical(&to.config).await.is_err(), "half a store would be served");
        }
        let moved = migrate(&from.config, &to.config, |_| true).await.unwrap();
        assert_eq!((moved.seq, moved.records), (before.0, before.1.len() as u64));
        assert!(open_physical(&from.config).await.is_err());
        let checked = check(&to.config).await.unwrap();
        assert_eq!((checked.index, checked.records, checked.riders), (IndexState::Current, moved.records, 2));
        assert_eq!((checked.bytes, checked.strays), (moved.bytes, 0));
        let p = to.open().await;
        assert!(all(&*p).await == before, "{a:?} to {b:?}");
        p.apply(Fence(1), vec![write(1, 3, false)]).await.unwrap();
        p.close().await.unwrap();
        drop(p);
        let p = to.open().await;
        assert_eq!(p.seq(), before.0 + 1);
        drop(p);
        assert!(migrate(&from.config, &to.config, |_| true).await.is_err(), "done is done");
    }
}

/// A damaged copy is noticed by the comparison, and the next run starts over.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_differs_is_refused() {
    let (from, to) = (OnDisk::new(Backend::Redb), OnDisk::new(Backend::Redb));
    let p = from.open().await;
    fill(&*p).await;
    let before = all(&*p).await;
    drop(p);
    let stopped = migrate(&from.config, &to.config, |n| n < 300).await;
    assert!(stopped.is_err());
    let db = ::redb::Database::create(to.config.path.join("index.redb")).unwrap();
    let txn = db.begin_write().unwrap();
    let table: ::redb::TableDefinition<'_, &[u8], &[u8]> = ::redb::TableDefinition::new("records");
    txn.open_table(table).unwrap().insert(key(7).as_bytes(), &[9u8; 30][..]).unwrap();
    txn.commit().unwrap();
    drop(db);
    let differs = migrate(&from.config, &to.config, |_| true).await;
    assert!(matches!(differs, Err(Error::Corrupt(_))), "{differs:?}");
    assert!(open_physical(&to.config).await.is_err());
    migrate(&from.config, &to.config, |_| true).await.unwrap();
    assert!(all(&*to.open().await).await == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_damage() {
    for backend in [Backend::Sled, Backend::Redb] {
        let s = OnDisk::new(backend);
        assert!(matches!(check(&s.config).await, Err(Error::Backend(_))), "nothing is created by a check");
        assert!(!s.config.path.exists());
        let p = s.open().await;
        fill(&*p).await;
        assert!(matches!(check(&s.config).await, Err(Error::Locked)));
        let records = all(&*p).await.1.len() as u64;
        p.close().await.unwrap();
        drop(p);
        let checked = check(&s.config).await.unwrap();
        assert_eq!((checked.index, checked.records), (IndexState::Current, records));
        assert_eq!((checked.strays, checked.riders), (0, 2));
        assert_eq!(check(&s.config).await.unwrap(), checked);
        drop(s.open().await);
        let journal = s.config.path.join("journal");
        let newest = std::fs::read_dir(&journal).unwrap().map(|e| e.unwrap().path());
        let newest = newest.filter(|p| p.extension().is_some_and(|e| e == "seg")).max().unwrap();
        let mut bytes = std::fs::read(&newest).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&newest, &bytes).unwrap();
        assert!(matches!(check(&s.config).await, Err(Error::Corrupt(_))));
        assert!(matches!(open_physical(&s.config).await, Err(Error::Corrupt(_))), "nor is it served");
    }
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// A copy taken of a running store is no closed one: it is as sound as what the next open makes of it, and the check
/// says just that, whatever befell the copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_a_live_copy_says_what_recovery_does() {
    for backend in [Backend::Sled, Backend::Redb] {
        let s = OnDisk::new(backend);
        let p = s.open().await;
        fill(&*p).await;
        let live = tempfile::tempdir().unwrap();
        copy_tree(&s.config.path, &live.path().join("live"));
        let records = all(&*p).await.1.len() as u64;
        p.close().await.unwrap();
        let (mut sound, mut broken) = (0, 0);
        for case in 0..16u64 {
            let path = live.path().join(format!("case-{case}"));
            copy_tree(&live.path().join("live"), &path);
            let mut files: Vec<_> =
                ["journal", ""].iter().flat_map(|d| std::fs::read_dir(path.join(d)).unwrap()).collect();
            files.retain(|e| e.as_ref().unwrap().file_type().unwrap().is_file());
            let mut files: Vec<_> = files.into_iter().map(|e| e.unwrap().path()).collect();
            files.retain(|p| p.extension().is_some_and(|e| e == "seg" || e == "base" || e == "redb"));
            files.sort();
            if case > 0 {
                // One file damaged, cut or gone.
                let file = &files[case as usize % files.len()];
                let mut bytes = std::fs::read(file).unwrap();
                match case % 3 {
                    0 => bytes.truncate(bytes.len() / 2),
                    1 => {
                        let at = bytes.len() / 4;
                        bytes.iter_mut().skip(at).take(64).for_each(|b| *b ^= 0xa5);
                    }
                    _ => bytes.clear(),
                }
                std::fs::write(file, bytes).unwrap();
            }
            let config = StoreConfig { path, ..s.config.clone() };
            let said = check(&config).await;
            let opened = match open_physical(&config).await {
                Ok(p) => p.scan(&[], None, usize::MAX).await.map(|found| found.len() as u64),
                Err(e) => Err(e),
            };
            match (&said, &opened) {
                (Ok(checked), Ok(found)) => {
                    sound += 1;
                    assert_eq!(checked.records, *found, "{backend:?} case {case}");
                    assert!(case > 0 || *found == records);
                }
                (Err(_), Err(_)) => broken += 1,
                _ => panic!("{backend:?} case {case}: the check says {said:?}, opening {opened:?}"),
            }
        }
        assert!(sound > 0 && broken > 0, "{backend:?}: {sound} sound, {broken} broken");
    }
}

/// Whatever happens to sled's own files, the store is built again from base and journal.
#[tokio::test(flavor = "multi_thread")]
async fn a_ruined_sled_is_built_again() {
    let s = OnDisk::new(Backend::Sled);
    let p = s.open().await;
    fill(&*p).await;
    let before = all(&*p).await;
    drop(p);
    let index = s.config.path.join("index.sled");
    for ruin in 0..4 {
        match ruin {
            0 => std::fs::remove_dir_all(&index).unwrap(),
            1 => std::fs::write(index.join("db"), vec![0x5a; 1 << 20]).unwrap(),
            2 => std::fs::write(index.join("conf"), b"").unwrap(),
            _ => {
                let db = index.join("db");
                let mut bytes = std::fs::read(&db).unwrap();
                bytes.truncate(bytes.len() / 3);
                std::fs::write(&db, bytes).unwrap();
            }
        }
        // As after a kill: no mark of an orderly close.
        if ruin > 0 {
            std::fs::remove_file(s.config.path.join("journal/CLEAN")).unwrap();
        }
        let after = all(&*s.open().await).await;
        assert!((after.0, after.1) == (before.0, before.1.clone()), "ruin {ruin}");
        // The release was told to CLEAN alone; what was released may come back, nothing else.
        assert!(after.2.ends_with(&before.2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_kind_is_refused() {
    let s = OnDisk::new(Backend::Sled);
    drop(s.open().await);
    let other = StoreConfig { backend: Backend::Redb, ..s.config.clone() };
    let refused = open_physical(&other).await.err().map(|e| e.to_string());
    assert!(refused.is_some_and(|e| e.contains("sled") && e.contains("redb")));
    let held = s.open().await;
    assert!(matches!(open_physical(&s.config).await, Err(Error::Locked)));
    drop(held);
    std::fs::remove_file(s.config.path.join("FORMAT")).unwrap();
    assert!(matches!(open_physical(&s.config).await, Err(Error::Corrupt(_))));
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&s.config.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
