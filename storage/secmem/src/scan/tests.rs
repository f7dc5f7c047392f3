use std::hint::black_box;

use super::*;
use crate::error::Protection;
use crate::limits::{MAX_PATTERN_BYTES, SCAN_CHUNK_BYTES};
use crate::{Arena, random, region};

/// A secret that exists masked only, until it is put somewhere.
struct Planted {
    masked: Vec<u8>,
    mask: Vec<u8>,
}

impl Planted {
    fn new(len: usize) -> Self {
        let arena = Arena::open(None).unwrap();
        let mut mask = vec![0; len];
        random::fill(&mut mask).unwrap();
        let masked =
            arena.random(len).unwrap().with(|k| k.iter().zip(&mask).map(|(a, b)| a ^ b).collect()).unwrap();
        Self { masked, mask }
    }

    fn byte(&self, i: usize) -> u8 {
        self.masked[i] ^ self.mask[i]
    }

    fn len(&self) -> usize {
        self.mask.len()
    }

    /// Writes it as `place(i)` of the plain bytes.
    fn write(&self, to: &mut [u8]) {
        for (i, byte) in to.iter_mut().enumerate().take(self.len()) {
            *byte = self.byte(i);
        }
    }

    fn scanner(&self, arena: &Arena) -> Scanner {
        let mut scanner = Scanner::new();
        let key = arena.insert(self.len(), |slot| self.write(slot)).unwrap();
        key.with(|k| scanner.add("it", k)).unwrap();
        scanner
    }
}

/// The scanner sees heap, locked and inaccessible pages, and knows what it could not see.
#[test]
fn sees_what_there_is_to_see() {
    let arena = Arena::open(Some(Protection::MemfdSecret)).unwrap();
    let it = Planted::new(32);
    let scanner = it.scanner(&arena);
    assert_eq!(scanner.scan_self().unwrap().count("it"), 0, "nothing planted yet");

    let mut heap = vec![0; 32];
    it.write(&mut heap);
    assert_eq!(scanner.scan_self().unwrap().count("it"), 1, "heap");

    let mut locked = region::map(Protection::Mlock, &[4096]).unwrap().remove(0);
    it.write(locked.as_mut_slice());
    assert_eq!(scanner.scan_self().unwrap().count("it"), 2, "locked");

    let mut closed = region::map(Protection::Unlocked, &[4096]).unwrap().remove(0);
    it.write(closed.as_mut_slice());
    closed.protect_for_test(libc::PROT_NONE);
    let report = scanner.scan_self().unwrap();
    // Only root (and not every kernel setting) lets inaccessible pages be read.
    if nix::unistd::geteuid().is_root() {
        assert_eq!(report.count_as("it", Encoding::Raw), 3, "inaccessible");
    }

    let key = arena.insert(32, |slot| it.write(slot)).unwrap();
    let with_key = scanner.scan_self().unwrap();
    assert_eq!(with_key.count("it"), report.count("it"), "the arena");
    let secret: u64 =
        with_key.unreadable_in.iter().filter(|(m, _)| m.contains("/secretmem")).map(|(_, n)| n).sum();
    assert!(secret >= 1024 * 1024, "{:?}", with_key.unreadable_in);
    assert!(with_key.unreadable >= secret && with_key.readable > 1024 * 1024);
    drop(key);
    black_box((&heap, &locked));
    drop(locked);
    drop(closed);
    drop(heap);
    assert_eq!(scanner.scan_self().unwrap().count("it"), 0, "after release");
}

/// Each spelling, written by other code than the scanner's, is found as what it is.
#[test]
fn finds_every_spelling() {
    let arena = Arena::open(None).unwrap();
    let it = Planted::new(40);
    let scanner = it.scanner(&arena);
    let secret = arena.insert(40, |slot| it.write(slot)).unwrap();
    let spell = |f: &dyn Fn(&[u8]) -> Vec<u8>| secret.with(f).unwrap();
    let words = |k: &[u8], n: usize| k.chunks(n).flat_map(|w| w.iter().rev().copied()).collect::<Vec<_>>();
    let cases: Vec<(Encoding, Vec<u8>)> = vec![
        (Encoding::Raw, spell(&|k| k.to_vec())),
        (Encoding::HexLower, spell(&|k| k.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect())),
        (Encoding::HexUpper, spell(&|k| k.iter().flat_map(|b| format!("{b:02X}").into_bytes()).collect())),
        (Encoding::Base64(0), spell(&|k| base64(k, 0))),
        (Encoding::Base64(1), spell(&|k| base64(k, 1))),
        (Encoding::Base64(2), spell(&|k| base64(k, 2))),
        (Encoding::Utf16, spell(&|k| k.iter().flat_map(|&b| [b, 0]).collect())),
        (Encoding::Limbs, spell(&|k| k.iter().rev().copied().collect())),
        (Encoding::Words64, spell(&|k| words(k, 8))),
        (Encoding::Words32, spell(&|k| words(k, 4))),
        (Encoding::WordOrder, spell(&|k| k.chunks(8).rev().flatten().copied().collect())),
    ];
    let report = scanner.scan_self().unwrap();
    for (encoding, text) in &cases {
        assert_eq!(report.count_as("it", *encoding), 1, "{encoding:?}");
        let address = text.as_ptr().addr() as u64;
        let within = report.hits.iter().any(|hit| {
            hit.encoding == *encoding && (address..address + text.len() as u64).contains(&hit.address)
        });
        assert!(within, "{encoding:?} was found elsewhere");
    }
}

/// Plain base64 of `before` unknown bytes, the secret and one more byte: an implementation over bits.
fn base64(secret: &[u8], before: usize) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let all = std::iter::repeat_n(0xb7, before).chain(secret.iter().copied()).chain([0x5d]);
    let (mut text, mut acc, mut bits) = (Vec::with_capacity(2 * secret.len()), 0_u32, 0);
    for byte in all {
        acc = (acc << 8 | u32::from(byte)) & 0xffff;
        bits += 8;
        while bits >= 6 {
            bits -= 6;
            text.push(alphabet[(acc >> bits & 63) as usize]);
        }
    }
    text
}

/// A match across the border of two chunks, or of two adjacent mappings, counts once.
#[test]
fn chunk_borders_hide_nothing() {
    let arena = Arena::open(None).unwrap();
    let it = Planted::new(32);
    let scanner = it.scanner(&arena);
    let chunk = SCAN_CHUNK_BYTES;
    for shift in [0, 1, 16, 31, 32] {
        let mut pages = region::map(Protection::Unlocked, &[2 * chunk]).unwrap().remove(0);
        it.write(&mut pages.as_mut_slice()[chunk - shift..]);
        assert_eq!(scanner.scan_self().unwrap().count("it"), 1, "{shift} before the border");
    }
    let mut pages = region::map(Protection::Unlocked, &[8192]).unwrap().remove(0);
    it.write(&mut pages.as_mut_slice()[4096 - 10..]);
    pages.split_for_test(4096);
    assert_eq!(scanner.scan_self().unwrap().count("it"), 1, "across two mappings");
}

/// What the scanner has just read is not found again in its own buffer. The buffer is made to lie right above the page
/// with the secret, so that it is read next; other tests may take that place, hence the repetition.
#[test]
fn does_not_find_its_own_buffer() {
    let arena = Arena::open(None).unwrap();
    let it = Planted::new(32);
    let scanner = it.scanner(&arena);
    for _ in 0..20 {
        let place = region::map(Protection::Unlocked, &[SCAN_CHUNK_BYTES + MAX_PATTERN_BYTES]).unwrap();
        let mut below = region::map(Protection::Unlocked, &[SCAN_CHUNK_BYTES]).unwrap().remove(0);
        it.write(&mut below.as_mut_slice()[SCAN_CHUNK_BYTES / 2..]);
        drop(place);
        assert_eq!(scanner.scan_self().unwrap().count("it"), 1);
    }
}

/// Another process is scanned by number.
#[test]
fn scans_a_child() {
    let mut child = std::process::Command::new("sleep").arg("30").env_clear().spawn().unwrap();
    let mut scanner = Scanner::new();
    scanner.add("argument", b"sleep\x0030\0");
    let report = scanner.scan(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    let report = report.unwrap();
    assert!(report.count_as("argument", Encoding::Raw) >= 1, "{report:?}");
}
