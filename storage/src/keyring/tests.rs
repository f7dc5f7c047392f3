use super::*;
use crate::fixture::arena;
use proptest::prelude::*;

fn sample(arena: &Arena, terms: usize, devices: &[String]) -> Keyring {
    let mut ring = Keyring::generate(arena, Cipher::XChaCha20Poly1305, 1).unwrap();
    for i in 0..terms {
        ring = ring.rotated(arena, Uuid::nil(), i64::try_from(i).unwrap()).unwrap();
    }
    for name in [KeyName::Token, KeyName::BatchToken, KeyName::AuditSigning] {
        ring = ring.with_named(arena, &name, -5).unwrap();
    }
    for device in devices {
        ring = ring.with_named(arena, &KeyName::AuditHmac(device.clone()), 9).unwrap();
    }
    ring
}

fn bytes(key: &Key) -> Vec<u8> {
    key.with(<[u8]>::to_vec).unwrap()
}

/// Everything in a keyring, keys in clear, to compare two of them.
fn dump(ring: &Keyring) -> String {
    let terms = ring
        .rings
        .iter()
        .map(|(ns, r)| (ns, r.iter().map(|t| (t.term, t.installed, bytes(&t.key))).collect::<Vec<_>>()));
    let named = ring.named.iter().map(|(n, k)| (n, k.generation, k.installed, bytes(&k.key)));
    let (terms, named) = (terms.collect::<Vec<_>>(), named.collect::<Vec<_>>());
    format!("{:?} {:?} {:?} {terms:?} {named:?}", ring.cipher, bytes(&ring.names), bytes(&ring.index))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn the_file_round_trips(terms in 0usize..5, devices in prop::collection::vec("[a-z]{1,9}", 0..4)) {
        let arena = arena();
        let ring = sample(&arena, terms, &devices);
        let file = encode(&ring).unwrap();
        prop_assert_eq!(dump(&decode(&arena, &file).unwrap()), dump(&ring));
        for cut in 0..file.len() {
            prop_assert!(decode(&arena, &file[..cut]).is_err(), "cut to {} bytes", cut);
        }
        prop_assert!(decode(&arena, &[file.as_slice(), &[0]].concat()).is_err());
    }
}

#[test]
fn terms_are_numbered_and_found_by_number() {
    let arena = arena();
    let ring = sample(&arena, 3, &[]);
    assert_eq!(ring.current(Uuid::nil()).unwrap().term, 4);
    assert_eq!(ring.current(Uuid::nil()).unwrap().installed, 2);
    for t in &ring.rings[&Uuid::nil()] {
        assert_eq!(bytes(ring.term(Uuid::nil(), t.term).unwrap()), bytes(&t.key));
    }
    assert!(ring.term(Uuid::nil(), 5).is_none());
    assert!(ring.term(Uuid::from_u128(1), 1).is_none());
    assert!(ring.current(Uuid::from_u128(1)).is_err());
}

#[test]
fn wrapped_keys_open_with_their_key_and_store_only() {
    let arena = arena();
    let (store, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let (unseal, root) = (arena.random(32).unwrap(), arena.random(32).unwrap());
    for cipher in [Cipher::XAes256Gcm, Cipher::XChaCha20Poly1305] {
        let wrapped = wrap_root(cipher, store, &unseal, &root).unwrap();
        assert_eq!(bytes(&unwrap_root(store, &unseal, &wrapped).unwrap().unwrap()), bytes(&root));
        assert!(unwrap_root(store, &root, &wrapped).unwrap().is_none());
        assert!(unwrap_root(other, &unseal, &wrapped).unwrap().is_none());
        let ring = sample(&arena, 1, &["file".into()]);
        let file = seal_file(store, &root, &ring).unwrap();
        assert_eq!(open_file(store, &root, file.clone()).unwrap(), Some(encode(&ring).unwrap()));
        assert_eq!(open_file(other, &root, file.clone()).unwrap(), None);
        assert_eq!(open_file(store, &unseal, file.clone()).unwrap(), None);
        // A wrapped root key cannot pass for a keyring file.
        assert_eq!(open_file(store, &unseal, wrapped).unwrap(), None);
    }
}

#[test]
fn bounds_hold() {
    let arena = arena();
    let ring = sample(&arena, 0, &[]);
    for device in [String::new(), "x".repeat(256)] {
        assert!(ring.with_named(&arena, &KeyName::AuditHmac(device), 0).is_err());
    }
    let same = ring.with_named(&arena, &KeyName::Token, 99).unwrap();
    assert_eq!(dump(&same), dump(&ring), "a key that is there stays");
}
