use super::*;
use crate::fixture::arena;
use crate::limits::MAX_CACHED_FOLDERS;
use proptest::prelude::*;

use uuid::Uuid;

fn names() -> Names {
    let arena = arena();
    Names::new(arena.from_slice(&[5; 64]).unwrap(), arena.from_slice(&[6; 32]).unwrap())
}

fn space() -> Space {
    Space::mount(Uuid::from_u128(42))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The format on disk, computed by another implementation: a change here makes every stored name unreadable.
#[test]
fn stored_names_are_golden() {
    let key = names().record(space(), "data/app").unwrap();
    let segments: Vec<String> = key.segments().map(hex).collect();
    assert_eq!(
        segments,
        [
            "751a153aec3da8193df0efd774c492b5",
            "0974caba7cdcd204badb8451ef65f97917aaf0ee1ca8617d388daa202e9e01b5",
            "2c7c84ed6e39893b441bbd98a6c25f9466fad116c8e0175dadf8c39afc3a61a7"
        ]
    );
}

#[test]
fn lengths_fall_into_classes() {
    let names = names();
    let sealed_len = |n: usize| {
        let key = names.record(space(), &"x".repeat(n)).unwrap();
        key.segments().nth(1).unwrap().len()
    };
    let seen: std::collections::BTreeSet<usize> = (1..=2030).map(sealed_len).collect();
    assert_eq!(Vec::from_iter(seen), [32, 48, 80, 144, 272, 528, 1040, 2048]);
    assert_eq!((sealed_len(1), sealed_len(14), sealed_len(15)), (32, 32, 48));
    assert!(matches!(names.record(space(), &"x".repeat(2031)), Err(Error::Path(_))));
}

#[test]
fn malformed_paths_are_refused() {
    let names = names();
    let long = ["x/".repeat(300), "y".into()].concat();
    let fat = vec!["x".repeat(1000); 5].join("/");
    for path in ["", "/", "a/", "/a", "a//b", "a/b/", long.as_str(), fat.as_str()] {
        assert!(matches!(names.record(space(), path), Err(Error::Path(_))), "{path}");
    }
    for dir in ["/", "//", "a//", "/a"] {
        let refused = names.folder(space(), dir).is_err();
        assert_eq!(refused, dir != "/", "{dir}");
    }
    assert_eq!(names.folder(space(), "a/b/").unwrap(), names.record(space(), "a/b").unwrap());
}

#[test]
fn the_cache_is_bounded_and_changes_nothing() {
    let cached = names();
    for i in 0..MAX_CACHED_FOLDERS + 5000 {
        cached.record(space(), &format!("dir{i}/x")).unwrap();
    }
    assert!(cached.cache.len() <= MAX_CACHED_FOLDERS, "{}", cached.cache.len());
    for i in [0, 1, 77, MAX_CACHED_FOLDERS + 4999] {
        let path = format!("dir{i}/x");
        assert_eq!(cached.record(space(), &path).unwrap(), names().record(space(), &path).unwrap());
    }
    cached.clear();
    assert_eq!(cached.cache.len(), 0);
}

fn segments() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[^/]{1,40}", 1..6)
}

proptest! {
    #[test]
    fn names_come_back_only_in_their_own_folder(path in segments(), other in segments()) {
        let names = names();
        let key = names.record(space(), &path.join("/")).unwrap();
        let mut folder = names.folder(space(), "").unwrap();
        for (segment, name) in key.segments().skip(1).zip(&path) {
            let child = Child { segment: segment.to_vec(), record: true, folder: false };
            let opened = names.open(space(), &folder, std::slice::from_ref(&child)).unwrap();
            prop_assert_eq!(&opened[0].name, name);
            let elsewhere = names.folder(space(), &other.join("/")).unwrap();
            if elsewhere != folder {
                prop_assert!(names.open(space(), &elsewhere, std::slice::from_ref(&child)).is_err());
            }
            prop_assert!(names.open(Space::core(), &folder, std::slice::from_ref(&child)).is_err());
            folder = folder.join(segment);
        }
        prop_assert_eq!(folder, key);
    }

    #[test]
    fn different_paths_have_different_keys(a in segments(), b in segments()) {
        let names = names();
        let (ka, kb) = (names.record(space(), &a.join("/")).unwrap(), names.record(space(), &b.join("/")).unwrap());
        prop_assert_eq!(a == b, ka == kb);
        prop_assert_ne!(names.record(Space::core(), &a.join("/")).unwrap(), ka);
    }
}
