use super::record::{FORMAT, Sealing};
use super::*;
use crate::Space;
use crate::fixture::arena;
use proptest::prelude::*;
use secmem::Key;
use uuid::Uuid;

const NONCE: &[u8; 24] = b"ABCDEFGHIJKLMNOPQRSTUVWX";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The published vectors of C2SP: both branches of the doubling.
#[test]
fn xaes_agrees_with_the_published_vectors() {
    let vectors = [
        ([1u8; 32], "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        ([3u8; 32], "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ];
    for (key, ad, expected) in vectors {
        let mut data = b"XAES-256-GCM".to_vec();
        let tag = xaes::seal(&key, NONCE, ad.as_bytes(), &mut data).unwrap();
        assert_eq!(hex(&[data.as_slice(), &tag].concat()), expected);
        let mut back = data.clone();
        xaes::open(&key, NONCE, ad.as_bytes(), &mut back, &tag).unwrap();
        assert_eq!(back, b"XAES-256-GCM");
        assert_eq!(xaes::open(&key, NONCE, b"other", &mut data.clone(), &tag), Err(Forged));
    }
}

/// draft-irtf-cfrg-xchacha-03, A.3.1.
#[test]
fn xchacha_agrees_with_the_draft() {
    let key: Vec<u8> = (0x80..0xa0).collect();
    let nonce: Vec<u8> = (0x40..0x58).collect();
    let mut data = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.".to_vec();
    let ad = unhex("50515253c0c1c2c3c4c5c6c7");
    let cipher = Cipher::XChaCha20Poly1305;
    let tag = cipher.encrypt(&key, nonce.as_slice().try_into().unwrap(), &ad, &mut data).unwrap();
    assert_eq!(hex(&data[..16]), "bd6d179d3e83d43b9576579493c0e939");
    assert_eq!(hex(&tag), "c0875924c1c7987947deafd8780acf49");
}

fn subject(path: &[u8]) -> Subject<'_> {
    Subject {
        store: Uuid::from_u128(0x1111),
        label: Label::Record,
        space: Space { namespace: Uuid::from_u128(0x2222), ..Space::mount(Uuid::from_u128(0x3333)) },
        path,
    }
}

fn key() -> Key {
    arena().from_slice(&[7; 32]).unwrap()
}

fn place(cipher: Cipher) -> Place {
    Place { cipher, term: 0x0102_0304, seq: 0x0506_0708_090a_0b0c }
}

/// The format on disk, byte by byte, computed by another implementation: a change here breaks every store there is.
#[test]
fn stored_bytes_are_golden() {
    let vectors = [
        (
            Cipher::XAes256Gcm,
            "01010102030405060708090a0b0c4142434445464748494a4b4c4d4e4f505152535455565758ebe219fe60a62ace50490286f3736813afaa9cb6b46752",
        ),
        (
            Cipher::XChaCha20Poly1305,
            "01020102030405060708090a0b0c4142434445464748494a4b4c4d4e4f50515253545556575808354eb241e95c3affaa13714b3043b33dc005100fb93b",
        ),
    ];
    for (cipher, golden) in vectors {
        let (_, stored) = seal(&key(), place(cipher), *NONCE, &subject(b"data/app"), b"a value").unwrap();
        assert_eq!(hex(&stored), golden);
        let back = open(&key(), &subject(b"data/app"), unhex(golden)).unwrap().unwrap();
        assert_eq!(*back, b"a value");
    }
}

#[test]
fn every_authenticated_field_counts() {
    let key = key();
    for cipher in [Cipher::XAes256Gcm, Cipher::XChaCha20Poly1305] {
        let true_subject = subject(b"data/app");
        let (_, stored) = seal(&key, place(cipher), *NONCE, &true_subject, b"a value").unwrap();
        let opens = |s: &Subject<'_>, stored: &[u8]| open(&key, s, stored.to_vec()).unwrap().is_some();
        assert!(opens(&true_subject, &stored));
        let other = Uuid::from_u128(0x9999);
        let wrong = [
            Subject { store: other, ..true_subject },
            Subject { label: Label::Fence, ..true_subject },
            Subject { label: Label::Index, ..true_subject },
            Subject { space: Space { namespace: other, ..true_subject.space }, ..true_subject },
            Subject {
                space: Space { partition: crate::Partition::Core, ..true_subject.space },
                ..true_subject
            },
            Subject {
                space: Space { partition: crate::Partition::Mount(other), ..true_subject.space },
                ..true_subject
            },
            Subject { path: b"data/apq", ..true_subject },
            Subject { path: b"data/ap", ..true_subject },
            Subject { path: b"data/app/", ..true_subject },
            Subject { path: b"", ..true_subject },
        ];
        for (i, subject) in wrong.iter().enumerate() {
            assert!(!opens(subject, &stored), "wrong subject {i} opened");
        }
        // Format, cipher, term, sequence, nonce, tag and ciphertext: every bit of the stored form.
        for bit in 0..stored.len() * 8 {
            let mut bad = stored.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!opens(&true_subject, &bad), "bit {bit} flipped and opened");
        }
        for len in 0..stored.len() {
            assert!(!opens(&true_subject, &stored[..len]), "cut to {len} bytes and opened");
        }
    }
}

#[test]
fn fields_cannot_slide_into_each_other() {
    let a = Subject { path: b"x", ..subject(b"") };
    let b = Subject { path: b"xx", ..subject(b"") };
    let (_, stored) = seal(&key(), place(Cipher::XAes256Gcm), *NONCE, &a, b"v").unwrap();
    assert!(open(&key(), &b, stored).unwrap().is_none());
}

#[test]
fn opening_into_a_buffer_checks_too() {
    let (_, stored) = seal(&key(), place(Cipher::XAes256Gcm), *NONCE, &subject(b"p"), &[9; 32]).unwrap();
    let mut out = [1; 32];
    assert!(record::open_into(&[7; 32], &subject(b"p"), &stored, &mut out));
    assert_eq!(out, [9; 32]);
    assert!(!record::open_into(&[8; 32], &subject(b"p"), &stored, &mut out));
    assert_eq!(out, [0; 32]);
    assert!(!record::open_into(&[7; 32], &subject(b"p"), &stored, &mut [0; 31]));
}

proptest! {
    #[test]
    fn any_value_round_trips(value in prop::collection::vec(any::<u8>(), 0..300), path in ".{0,40}", many in 1usize..5) {
        let (arena, subject) = (arena(), subject(path.as_bytes()));
        let key = arena.random(32).unwrap();
        for cipher in [Cipher::XAes256Gcm, Cipher::XChaCha20Poly1305] {
            let items = (0..many).map(|i| {
                let nonce = [u8::try_from(i).unwrap(); 24];
                Sealing::new(place(cipher), nonce, &subject, &value)
            }).collect();
            for (i, (header, stored)) in seal_all(&key, items).unwrap().into_iter().enumerate() {
                prop_assert_eq!(stored.len(), HEADER_BYTES + value.len());
                prop_assert_eq!(stored[0], FORMAT);
                prop_assert_eq!(header.nonce, [u8::try_from(i).unwrap(); 24]);
                prop_assert_eq!(Header::parse(&stored).unwrap().0, header);
                prop_assert_eq!(&*open(&key, &subject, stored).unwrap().unwrap(), &value);
            }
        }
    }
}
