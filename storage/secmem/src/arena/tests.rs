//! The promises of the arena, in every mode that this system has.

use std::hint::black_box;
use std::sync::atomic::AtomicU64;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};

use super::*;
use crate::limits::{MAX_KEY_BYTES, MAX_NESTING};
use crate::scan::{Encoding, Scanner};

/// Longer than a busy machine takes for anything here.
const SOON: Duration = Duration::from_secs(60);
const MODES: [Protection; 3] = [Protection::MemfdSecret, Protection::Mlock, Protection::Unlocked];

fn pattern() -> [u8; 32] {
    crate::random::array().unwrap()
}

/// One real encryption, built in the caller's frame.
#[inline(never)]
fn encrypt(key: &[u8], data: &mut [u8]) -> [u8; 16] {
    let cipher = Aes256Gcm::new_from_slice(key).unwrap();
    let nonce = Nonce::try_from(&[7_u8; 12][..]).unwrap();
    cipher.encrypt_inout_detached(&nonce, b"", data.into()).unwrap().into()
}

/// In a process of its own: other tests leave AES state of theirs.
#[test]
fn encrypting_leaves_no_copy_of_the_key_to_read() {
    crate::process::tests::in_child("arena::tests::child_encrypts");
}

#[test]
#[ignore = "needs a process of its own; run by encrypting_leaves_no_copy_of_the_key_to_read"]
fn child_encrypts() {
    let arena = Arena::open(Some(Protection::MemfdSecret)).unwrap();
    let key = arena.random(32).unwrap();
    let mut scanner = Scanner::new();
    scanner.find_aes_schedules();
    key.with(|k| scanner.add("key", k)).unwrap();
    let expected = key.with(|k| encrypt(k, &mut [1; 100])).unwrap();
    for round in 0..10_000 {
        let mut data = [1; 100];
        assert_eq!(key.with(|k| encrypt(k, &mut data)).unwrap(), expected, "round {round}");
    }
    let report = scanner.scan_self().unwrap();
    assert_eq!(report.hits, [], "copies of the key");
    assert_eq!(report.schedules, [0_u64; 0], "expanded keys");
    let copy = key.with(<[u8]>::to_vec).unwrap();
    assert_eq!(arena.count(&copy), 1, "exactly one in the arena");
}

/// A copy in a frame that has ended, far below the frames of what runs next: a scan that has to wait
/// for a lock, or a function that is linked late, does not write over it.
#[inline(never)]
fn leave_on_the_stack(key: &[u8]) {
    let between = black_box([0_u8; 256 * 1024]);
    leave_a_frame(key);
    black_box(&between);
}

#[inline(never)]
fn leave_a_frame(key: &[u8]) {
    let copy: [u8; 32] = key.try_into().unwrap();
    black_box(&copy);
}

/// The same key used in ordinary memory is what the scanner must find, or the test above proves
/// nothing. It plants what it looks for: what a real encryption leaves in a dead frame depends on
/// which functions were linked before, and on who waited for which lock.
#[test]
fn encrypting_outside_the_arena_is_found() {
    crate::process::tests::in_child("arena::tests::child_encrypts_outside");
}

#[test]
#[ignore = "needs a process of its own; run by encrypting_outside_the_arena_is_found"]
fn child_encrypts_outside() {
    let arena = Arena::open(None).unwrap();
    let key = arena.random(32).unwrap();
    let mut scanner = Scanner::new();
    scanner.find_aes_schedules();
    key.with(|k| scanner.add("key", k)).unwrap();
    let raw = || scanner.scan_self().unwrap().count_as("key", Encoding::Raw);
    let heap = key.with(<[u8]>::to_vec).unwrap();
    let before = raw();
    assert!(before >= 1, "on the heap");
    leave_on_the_stack(&heap);
    assert!(raw() > before, "in a frame that has ended");
    let cipher = black_box(Box::new(Aes256Gcm::new_from_slice(&heap).unwrap()));
    drop(heap);
    let report = scanner.scan_self().unwrap();
    let at = std::ptr::from_ref(&*cipher).addr() as u64;
    let inside = at..at + size_of::<Aes256Gcm>() as u64;
    assert!(report.schedules.iter().any(|schedule| inside.contains(schedule)), "the expanded key");
}

#[test]
fn wiping_ends_every_key_of_the_scope_in_place() {
    for mode in MODES {
        let arena = Arena::open(Some(mode)).unwrap();
        assert_eq!(arena.protection(), mode);
        let (a, b, inner) = (arena.scope(), arena.scope(), arena.scope());
        let child = a.scope();
        let bytes = [pattern(), pattern(), pattern(), pattern()];
        let scopes = [&a, &b, &inner, &child];
        let keys: Vec<Key> =
            scopes.iter().zip(&bytes).map(|(scope, bytes)| scope.from_slice(bytes).unwrap()).collect();
        for (key, bytes) in keys.iter().zip(&bytes) {
            assert_eq!(key.with(|k| k == bytes), Ok(true));
            assert_eq!(arena.count(bytes), 1, "{mode}: one copy after use");
        }
        a.wipe();
        for (n, gone) in [(0, true), (1, false), (2, false), (3, true)] {
            assert_eq!(keys[n].is_wiped(), gone);
            assert_eq!(arena.count(&bytes[n]), usize::from(!gone));
            assert_eq!(keys[n].with(|k| k == bytes[n]), if gone { Err(Wiped) } else { Ok(true) });
        }
        assert_eq!((a.used(), b.used(), arena.used()), (0, 32, 64));
        // A wiped scope can start again, and old handles do not reach the new key in the old place.
        let again = a.from_slice(&bytes[0]).unwrap();
        assert_eq!(keys[0].with(|_| ()), Err(Wiped));
        drop(keys);
        assert_eq!(again.with(|k| k == bytes[0]), Ok(true));
        arena.wipe();
        assert_eq!((arena.used(), bytes.iter().map(|p| arena.count(p)).sum::<usize>()), (0, 0), "{mode}");
    }
}

#[test]
fn a_closed_scope_takes_no_more_keys() {
    let arena = Arena::open(None).unwrap();
    let scope = arena.scope();
    let child = scope.scope();
    let key = child.random(32).unwrap();
    scope.close();
    assert!(key.is_wiped());
    assert_eq!(scope.random(32).unwrap_err(), ArenaError::Wiped(Wiped));
    assert_eq!(child.random(32).unwrap_err(), ArenaError::Wiped(Wiped));
    arena.random(32).unwrap();
}

#[test]
fn the_last_handle_wipes() {
    for mode in MODES {
        let arena = Arena::open(Some(mode)).unwrap();
        for len in [1, 31, 32, 33, 256, 257, 5000, MAX_KEY_BYTES] {
            let bytes: Vec<u8> = (0..len).map(|_| crate::random::array::<1>().unwrap()[0] | 1).collect();
            let key = arena.from_slice(&bytes).unwrap();
            assert_eq!(key.len(), len);
            assert!(arena.used() >= len);
            let other = key.clone();
            drop(key);
            assert_eq!(other.with(|k| k == bytes), Ok(true));
            drop(other);
            assert_eq!(arena.used(), 0);
            if len > 16 {
                assert_eq!(arena.count(&bytes), 0, "{len} bytes in {mode}");
            }
        }
    }
}

/// Random inserts and drops against a plain map: no key changes, no two share bytes, all memory comes back.
#[test]
fn slots_never_overlap() {
    let arena = Arena::open(Some(Protection::Unlocked)).unwrap();
    let mut model: Vec<(Key, u8)> = Vec::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).unwrap() % bound
    };
    let mut full = 0;
    for step in 0..3000 {
        let len = [1, 32, 60, 200, 900, 4000, 16_000][next(7)];
        let mark = u8::try_from(step % 251).unwrap();
        match arena.insert(len, |slot| slot.fill(mark)) {
            Ok(key) => model.push((key, mark)),
            Err(error) => {
                assert_eq!(error, ArenaError::Full);
                full += 1;
                for _ in 0..20 {
                    model.swap_remove(next(model.len()));
                }
            }
        }
        if next(3) == 0 {
            model.swap_remove(next(model.len()));
        }
        if step % 100 == 0 {
            for (key, mark) in &model {
                assert_eq!(key.with(|k| k.iter().all(|b| b == mark)), Ok(true));
            }
        }
    }
    assert!(full > 0, "the arena must have been full");
    model.clear();
    assert_eq!(arena.used(), 0);
    // Every span is free for any class again.
    let big: Vec<_> = std::iter::from_fn(|| arena.random(MAX_KEY_BYTES).ok()).collect();
    assert_eq!(big.len(), SLAB_BYTES / MAX_KEY_BYTES);
}

#[test]
fn impossible_lengths_are_refused() {
    let arena = Arena::open(None).unwrap();
    for len in [0, MAX_KEY_BYTES + 1, usize::MAX] {
        assert_eq!(arena.insert(len, |_| ()).unwrap_err(), ArenaError::Length(len));
    }
}

#[test]
fn a_panic_ends_inside() {
    let arena = Arena::open(None).unwrap();
    let bytes = pattern();
    let key = arena.from_slice(&bytes).unwrap();
    let stacks = arena.memory.stacks.idle();
    assert_eq!(key.attempt(|_| panic!("on purpose")).map(|(): ()| ()), Err(ArenaError::Panicked));
    assert_eq!(key.with(|_| panic!("on purpose")).map(|(): ()| ()), Err(Wiped));
    assert_eq!(arena.insert(32, |_| panic!("on purpose")).unwrap_err(), ArenaError::Panicked);
    assert_eq!(key.derive(32, |_, _| panic!("on purpose")).unwrap_err(), ArenaError::Panicked);
    assert_eq!(arena.memory.stacks.idle(), stacks, "every stack came back");
    assert_eq!((arena.used(), arena.count(&bytes)), (32, 1), "the stack was wiped, the slots freed");
    assert_eq!(key.with(|k| k == bytes), Ok(true));
}

#[test]
fn keys_derive_and_nest_within_the_arena() {
    let arena = Arena::open(None).unwrap();
    let scope = arena.scope();
    let bytes = pattern();
    let key = scope.from_slice(&bytes).unwrap();
    let child = key.derive(64, |k, new| {
        for (i, byte) in new.iter_mut().enumerate() {
            *byte = k[i % 32] ^ 0x55;
        }
    });
    let child = child.unwrap();
    assert_eq!(key.with(|k| child.with(|c| c[..32].iter().zip(k).all(|(a, b)| a ^ b == 0x55))), Ok(Ok(true)));
    let expected: Vec<u8> = bytes.iter().map(|b| b ^ 0x55).collect();
    assert_eq!(arena.count(&expected), 2, "twice in the key, nowhere else");
    assert_eq!(nest(&key, MAX_NESTING), Ok(()));
    assert_eq!(nest(&key, MAX_NESTING + 1), Err(ArenaError::Busy));
    scope.wipe();
    assert!(child.is_wiped(), "a derived key is of the same scope");
    assert_eq!(key.derive(32, |_, _| ()).unwrap_err(), ArenaError::Wiped(Wiped));
}

fn nest(key: &Key, depth: usize) -> Result<(), ArenaError> {
    if depth == 0 { Ok(()) } else { key.attempt(|_| nest(key, depth - 1))? }
}

/// Threads use keys while the scope is wiped: each call sees the whole key or `Wiped`, and after the wipe none runs.
#[test]
fn wiping_under_use() {
    let arena = Arena::open(None).unwrap();
    for _ in 0..30 {
        let scope = arena.scope();
        let bytes = pattern();
        let key = scope.from_slice(&bytes).unwrap();
        let (uses, done) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    while let Ok((whole, late)) = key.with(|k| (k == bytes, done.load(Ordering::SeqCst))) {
                        assert!(whole && !late, "whole {whole}, late {late}");
                        uses.fetch_add(1, Ordering::Relaxed);
                        // Inserts race with the wipe too: what comes through is wiped or whole.
                        if let Ok(other) = scope.from_slice(&bytes) {
                            assert_ne!(other.with(|k| k == bytes), Ok(false));
                        }
                    }
                });
            }
            while uses.load(Ordering::Relaxed) < 200 {
                std::thread::yield_now();
            }
            scope.close();
            done.store(true, Ordering::SeqCst);
            assert_eq!(arena.count(&bytes), 0);
        });
        assert_eq!((arena.used(), arena.count(&bytes)), (0, 0));
    }
}

/// A wipe waits for a running closure, and that closure's result is discarded.
#[test]
fn a_wipe_waits_for_what_runs() {
    let arena = Arena::open(None).unwrap();
    let key = arena.random(32).unwrap();
    let (inside, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|threads| {
        let user = threads.spawn(|| {
            key.with(|_| {
                inside.store(true, Ordering::SeqCst);
                while !key.is_wiped() {
                    std::thread::yield_now();
                }
                // The wipe has passed the slots; give it every chance to return too early.
                for _ in 0..50 {
                    std::thread::yield_now();
                }
                ended.store(true, Ordering::SeqCst);
            })
        });
        while !inside.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        // However busy the machine is, the wait is not over before the closure.
        arena.wipe_within(10 * SOON);
        assert!(ended.load(Ordering::SeqCst), "wipe returned before the closure");
        assert_eq!(user.join().unwrap(), Err(Wiped));
    });
}

/// A call that was let in before the wipe, but got its stack only after it, must not run: the slot is not its own.
#[test]
fn a_wipe_overtakes_what_has_not_begun() {
    let arena = Arena::open(None).unwrap();
    let (scope, other) = (arena.scope(), arena.scope());
    let (key, holder) = (scope.random(32).unwrap(), other.random(32).unwrap());
    let (held, release, ran) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let stacks = arena.memory.stacks.idle();
    std::thread::scope(|threads| {
        for _ in 0..stacks {
            threads.spawn(|| {
                holder.with(|_| {
                    held.fetch_add(1, Ordering::SeqCst);
                    while !release.load(Ordering::SeqCst) {
                        std::thread::yield_now();
                    }
                })
            });
        }
        while held.load(Ordering::SeqCst) < stacks {
            std::thread::yield_now();
        }
        let user = threads.spawn(|| key.attempt(|_| ran.store(true, Ordering::SeqCst)));
        while scope.scope.running.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        let wiper = threads.spawn(|| scope.wipe());
        while !key.is_wiped() {
            std::thread::yield_now();
        }
        release.store(true, Ordering::SeqCst);
        wiper.join().unwrap();
        assert_eq!(user.join().unwrap(), Err(ArenaError::Wiped(Wiped)));
        assert!(!ran.load(Ordering::SeqCst));
    });
}

#[test]
fn a_wipe_inside_a_closure_does_not_wait_for_itself() {
    let arena = Arena::open(None).unwrap();
    let key = arena.random(32).unwrap();
    let start = Instant::now();
    assert_eq!(key.with(|_| arena.wipe_within(2 * SOON)), Err(Wiped));
    // A wait for itself would take all of it.
    assert!(start.elapsed() < SOON);
}

/// More threads than stacks: all get their turn.
#[test]
fn stacks_are_shared() {
    let arena = Arena::open(None).unwrap();
    let bytes = pattern();
    let key = arena.from_slice(&bytes).unwrap();
    let threads = 4 * arena.memory.stacks.idle();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(key.with(|k| k == bytes), Ok(true));
                }
            });
        }
    });
    assert_eq!(arena.count(&bytes), 1);
}

/// A closure that uses most of a stack, in frames with holes, is wiped whole.
#[test]
fn deep_closures_are_wiped() {
    #[inline(never)]
    fn dig(key: &[u8], depth: usize) {
        let mut frame = [[0_u8; 32]; 16];
        frame[depth % 16].copy_from_slice(key);
        black_box(&mut frame);
        if depth > 0 {
            dig(key, depth - 1);
        }
    }
    let arena = Arena::open(None).unwrap();
    let bytes = pattern();
    let key = arena.from_slice(&bytes).unwrap();
    /// Frames of 20 KB that are never written to, and the key below them.
    #[inline(never)]
    fn leap(key: &[u8], depth: usize) {
        let mut hole = std::mem::MaybeUninit::<[u8; 20_000]>::uninit();
        black_box(hole.as_mut_ptr());
        if depth > 0 { leap(key, depth - 1) } else { dig(key, 0) }
    }
    key.with(|k| dig(k, 100)).unwrap();
    assert_eq!(arena.count(&bytes), 1);
    key.with(|k| leap(k, 4)).unwrap();
    assert_eq!(arena.count(&bytes), 1);
}

/// What lies below a hole that no compiled frame of ours makes is left for the arena wipe, which looks at nothing and
/// fills everything: stacks at rest at once, the others when they come back.
#[test]
fn an_arena_wipe_fills_whole_stacks() {
    #[allow(unsafe_code)]
    fn far_below(key: &[u8]) {
        let place = psm::stack_pointer().wrapping_sub(40 * 1024);
        for (i, &byte) in key.iter().enumerate() {
            // SAFETY: 40 KiB below this frame is still on the 128 KiB stack that this runs on, below all live frames.
            unsafe { place.add(i).write_volatile(byte) };
        }
    }
    let arena = Arena::open(None).unwrap();
    let scope = arena.scope();
    let bytes = pattern();
    let key = scope.from_slice(&bytes).unwrap();
    key.with(|_| ()).unwrap();
    key.with(far_below).unwrap();
    assert_eq!(arena.count(&bytes), 2, "the control");
    arena.scope().wipe();
    assert_eq!(arena.count(&bytes), 1);
    key.with(|k| {
        far_below(k);
        arena.scope().wipe();
    })
    .unwrap();
    assert_eq!(arena.count(&bytes), 1);
}

#[test]
fn guards_stand_at_both_ends_and_below_every_stack() {
    for mode in MODES {
        let arena = Arena::open(Some(mode)).unwrap();
        let here = arena.random(32).unwrap().with(|_| psm::stack_pointer().addr()).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let lines: Vec<(usize, usize, &str)> = maps
            .lines()
            .map(|line| {
                let (addresses, rest) = line.split_once(' ').unwrap();
                let (start, end) = addresses.split_once('-').unwrap();
                let parse = |hex| usize::from_str_radix(hex, 16).unwrap();
                (parse(start), parse(end), &rest[..4])
            })
            .collect();
        let at = lines.iter().position(|&(start, end, _)| (start..end).contains(&here)).unwrap();
        // Walk outwards over adjacent mappings: memory and guards take turns, and guards are last on both sides.
        let mut first = at;
        while first > 0 && lines[first - 1].1 == lines[first].0 && is_ours(lines[first - 1].2) {
            first -= 1;
        }
        let mut last = at;
        while last + 1 < lines.len() && lines[last].1 == lines[last + 1].0 && is_ours(lines[last + 1].2) {
            last += 1;
        }
        let run = &lines[first..=last];
        let shape: Vec<bool> = run.iter().map(|(_, _, perms)| perms.starts_with("---")).collect();
        let stack = at - first;
        assert!(shape[stack - 1], "{mode}: a guard below the stack in use: {run:?}");
        assert!(shape[stack + 1], "{mode}: a guard above it: {run:?}");
        assert!(run[stack].1 - run[stack].0 == STACK_BYTES, "{mode}: the stack stands alone: {run:?}");
        let guards = shape.iter().filter(|&&guard| guard).count();
        assert!(guards >= arena.memory.stacks.idle() + 2, "{mode}: {run:?}");
    }
}

fn is_ours(perms: &str) -> bool {
    matches!(perms, "---p" | "rw-p" | "rw-s")
}

/// What the kernel says of the arena's pages: locked, not dumped, not inherited; and no descriptor is left.
#[test]
fn the_kernel_agrees() {
    for mode in MODES {
        let arena = Arena::open(Some(mode)).unwrap();
        let here = arena.random(32).unwrap().with(|_| psm::stack_pointer().addr()).unwrap();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        let mut flags = "";
        for line in smaps.lines() {
            if let Some((start, end)) = line.split(' ').next().and_then(|range| range.split_once('-')) {
                let parse = |hex| usize::from_str_radix(hex, 16).unwrap_or(0);
                inside = (parse(start)..parse(end)).contains(&here);
            } else if inside && line.starts_with("VmFlags:") {
                flags = line;
            }
        }
        let has = |flag| flags.split(' ').any(|f| f == flag);
        assert!(has("dd") && has("dc"), "{mode}: not dumped, not inherited: {flags}");
        assert_eq!(has("lo"), mode != Protection::Unlocked, "{mode}: locked: {flags}");
    }
    // Other tests open arenas meanwhile, so a descriptor may be seen on its short way; none may stay.
    let open = || {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        let targets = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().contains("secretmem")).count()
    };
    let deadline = Instant::now() + std::time::Duration::from_secs(10);
    while open() > 0 {
        assert!(Instant::now() < deadline, "a descriptor of the secret memory is still open");
        std::thread::yield_now();
    }
}

#[test]
fn nothing_prints() {
    let arena = Arena::open(None).unwrap();
    let key = arena.from_slice(b"hunter2").unwrap();
    assert_eq!(format!("{key:?}"), "Key([redacted])");
    assert!(!format!("{arena:?}").contains("hunter2"));
    assert_eq!(MODES.map(|m| m.to_string()), ["memfd_secret", "mlock", "none"]);
}
