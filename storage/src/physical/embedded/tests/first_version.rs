//! Stores of the first version (`tests/fixtures/first-version`), and the power that goes while this one opens them.

use super::*;
use crate::fixture::Rig;
use crate::journal::fs::Dir;
use secmem::SecretBytes;
use std::path::Path;
use std::process::Command;

struct Fixture {
    /// The journal as it was left; the one segment without most of the zeros behind its last frame.
    segment: Vec<u8>,
    anchor: Vec<u8>,
    shares: Vec<SecretBytes>,
    records: BTreeMap<Vec<u8>, Record>,
}

const SEGMENT: &str = "00000001.seg";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// What the first version's journal holds; every store began with it, whatever its index.
async fn fixture(backend: &str) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/first-version");
    let archive = fixtures.join(format!("{backend}.tar.gz"));
    let done = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(dir.path()).status().unwrap();
    assert!(done.success(), "tar could not unpack the fixture");
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let mut segment = read(&format!("data/journal/{SEGMENT}"));
    let used = segment.iter().rposition(|b| *b != 0).unwrap() + 1;
    segment.truncate(used.next_multiple_of(4096) + 4096);
    let expected: serde_json::Value = serde_json::from_slice(&read("expected.json")).unwrap();
    let shares = expected["shares"].as_array().unwrap().iter().map(|s| s.as_str().unwrap());
    let shares = shares.map(|s| SecretBytes::from(hex(s))).collect();
    // As this version reads it with the real index.
    let kind = if backend == "sled" { crate::Backend::Sled } else { crate::Backend::Redb };
    let (path, state_dir) = (dir.path().join("data"), dir.path().join("data.state"));
    let cfg = crate::StoreConfig { backend: kind, path, state_dir, journal: Default::default() };
    let store = crate::open_physical(&cfg).await.unwrap();
    let records = contents(&*store).await;
    store.close().await.unwrap();
    Fixture { segment, anchor: read("data.state/anchor"), shares, records }
}

async fn contents(store: &dyn Physical) -> BTreeMap<Vec<u8>, Record> {
    let all = store.scan(&[], None, usize::MAX).await.unwrap();
    all.into_iter().map(|(k, r)| (k.as_bytes().to_vec(), r)).collect()
}

/// A disk with the fixture's journal on it, durably.
fn disk(fixture: &Fixture) -> SimDisk {
    let disk = SimDisk::new();
    let file = disk.create(SEGMENT).unwrap();
    file.write_at(0, &fixture.segment).unwrap();
    file.sync().unwrap();
    Dir::sync(&disk).unwrap();
    disk.image(Image::Synced)
}

const OURS: u64 = 1 << 60;

/// Opens it, writes to it and closes it, until the power goes; how many writes were acknowledged.
async fn live<const SAFE: bool>(opener: &SimOpener<SAFE>) -> u64 {
    let Ok(store) = start(opener) else { return 0 };
    for n in 0..6 {
        let txn = Txn { ops: vec![put(OURS + n, &[7; 600])], ..Txn::default() };
        if store.apply(Fence(1), vec![txn]).await.is_err() {
            return n;
        }
    }
    let _ = store.close().await;
    6
}

async fn cut_at_every_call<const SAFE: bool>(fixture: &Fixture) {
    for at in 0.. {
        let power = disk(fixture);
        power.cut_after(at);
        let opener = SimOpener::<SAFE>::new(&power);
        let acknowledged = live(&opener).await;
        for image in [Image::Synced, Image::Killed, Image::Part(at as u64), Image::Part(at as u64 + 1)] {
            let left = power.image(image);
            let crashed = opener.crashed(&left, image, at as u64);
            let store = start(&crashed).unwrap_or_else(|e| panic!("cut at call {at}, {image:?}: {e}"));
            let mut found = contents(&store).await;
            let ours: Vec<u64> =
                (0..6).filter(|n| found.remove(key(OURS + n).as_bytes()).is_some()).collect();
            assert_eq!(found, fixture.records, "cut at call {at}, {image:?}");
            assert!(ours.len() as u64 >= acknowledged, "cut at call {at}, {image:?}: {ours:?}");
            store.close().await.unwrap();
        }
        if power.struck().is_none() {
            assert_eq!(acknowledged, 6);
            assert!(at > 15, "it was opened, written to and closed: {at} calls");
            return;
        }
    }
}

#[tokio::test]
async fn a_store_of_the_first_version_survives_a_power_cut_at_every_call() {
    for backend in ["sled", "redb"] {
        let fixture = fixture(backend).await;
        assert!(fixture.records.len() > 60, "{}", fixture.records.len());
        cut_at_every_call::<true>(&fixture).await;
        cut_at_every_call::<false>(&fixture).await;
        // What is in it is what the anchor and the shares of then vouch for.
        let power = disk(&fixture);
        let rig = Rig::over(Arc::new(start(&SimOpener::<true>::new(&power)).unwrap()));
        rig.set_anchor(Some(&fixture.anchor));
        let sealed = rig.open().await;
        assert_eq!(sealed.status().rollback, None);
        let store = sealed.unseal(&fixture.shares[..2], false).await.unwrap();
        assert!(!store.epoch_raised());
        store.seal().await;
    }
}
