use super::*;
use crate::fixture::arena;
use crate::journal::sim::{Image, SimDisk};
use std::fs;

fn key(byte: u8) -> Key {
    arena().from_slice(&[byte; 32]).unwrap()
}

fn sample(seq: u64) -> Anchor {
    Anchor::of(Phase::Initialised, Uuid::from_u128(5), 2, seq, [seq.to_be_bytes()[7]; 32], &key(1)).unwrap()
}

fn head(epoch: u64, seq: u64) -> ClearHead {
    ClearHead { opened: true, epoch, seq, digest: [seq.to_be_bytes()[7]; 32] }
}

#[test]
fn the_file_comes_back_and_only_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = AnchorFile::in_dir(dir.path());
    assert_eq!(file.read().unwrap(), Found::Nothing);
    for seq in [1, 2, 3] {
        file.write(&sample(seq)).unwrap();
        assert_eq!(file.read().unwrap(), Found::Anchor(sample(seq)));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the anchor");
    let whole = fs::read(file.path()).unwrap();
    for len in 0..whole.len() - 1 {
        fs::write(file.path(), &whole[..len]).unwrap();
        assert_eq!(file.read().unwrap(), Found::Damaged, "cut to {len} bytes");
    }
}

#[test]
fn a_left_over_temporary_file_or_link_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, b"keep").unwrap();
    std::os::unix::fs::symlink(&victim, dir.path().join("anchor.new")).unwrap();
    AnchorFile::in_dir(dir.path()).write(&sample(1)).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"keep");
}

/// The power fails at each call of a write: there is the anchor before it or the new one, never half
/// of one, and the new one once the write has returned.
#[test]
fn a_power_cut_leaves_the_old_anchor_or_the_new_one() {
    let images = |seed| (0..40).map(move |n| Image::Part(seed + n)).chain([Image::Synced, Image::Killed]);
    let found = |disk: &SimDisk| {
        let file = Dir::open(disk, NAME).ok()?;
        let mut bytes = vec![0; 4096];
        let n = file.read_at(0, &mut bytes).unwrap();
        Some(Anchor::decode(&bytes[..n]).expect("half an anchor").seq)
    };
    let (old, new) = (sample(1).encode().unwrap(), sample(2).encode().unwrap());
    let mut cuts = 0;
    loop {
        let disk = SimDisk::new();
        anchor_in(&disk, &old).unwrap();
        disk.cut_after(cuts);
        let done = anchor_in(&disk, &new).is_ok();
        for image in images(cuts as u64 * 1000) {
            let after = disk.image(image);
            let seq = found(&after).expect("no anchor at all");
            assert!(seq == 2 || (seq == 1 && !done), "{seq} after a cut at call {cuts}, {image:?}");
            // What is left of it is in nobody's way.
            anchor_in(&after, &new).unwrap();
            assert_eq!(found(&after.image(Image::Synced)), Some(2));
        }
        if done {
            break;
        }
        cuts += 1;
    }
    assert_eq!(cuts, 6, "remove, create, write, sync, rename, sync");
}

#[test]
fn the_mac_covers_every_field() {
    let genuine = sample(3);
    assert!(genuine.is_genuine(&key(1)).unwrap());
    assert!(!genuine.is_genuine(&key(2)).unwrap());
    let others = [
        Anchor { phase: Phase::Initialising, ..genuine.clone() },
        Anchor { store_id: Uuid::from_u128(6), ..genuine.clone() },
        Anchor { epoch: 3, ..genuine.clone() },
        Anchor { seq: 2, ..genuine.clone() },
        Anchor { head: [9; 32], ..genuine.clone() },
    ];
    for other in others {
        assert!(!other.is_genuine(&key(1)).unwrap(), "{other:?}");
    }
}

#[test]
fn only_the_anchored_store_or_a_later_one_passes() {
    let anchor = sample(10);
    for (epoch, seq, passes) in
        [(2, 10, true), (2, 11, true), (3, 1, true), (2, 9, false), (1, 99, false), (0, 0, false)]
    {
        assert_eq!(anchor.rollback(&head(epoch, seq)).is_none(), passes, "epoch {epoch}, sequence {seq}");
    }
    let other = ClearHead { digest: [0; 32], ..head(2, 10) };
    assert!(anchor.rollback(&other).is_some(), "another store at the same sequence");
}
