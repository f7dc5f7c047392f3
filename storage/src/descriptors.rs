//! File descriptors held back for what must go on when there are none left: the journal, the
//! anchor, audit files, the operator's socket.
//!
//! The daemon divides its descriptors so that none of this should ever be needed. Where it is
//! (the whole system has none left, the limit was lowered while it ran), one is given up and the
//! call made again; several times, since another thread may be quicker.

use crate::limits::{RESERVE_DESCRIPTORS, RESERVE_TRIES};
use nix::errno::Errno;
use parking_lot::Mutex;
use std::fs::File;
use std::io;

static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// True for the errors of a process, or a system, without file descriptors.
pub fn exhausted(e: &io::Error) -> bool {
    e.raw_os_error().map(Errno::from_raw).is_some_and(|e| matches!(e, Errno::EMFILE | Errno::ENFILE))
}

/// Fills the reserve as far as that is possible now. Once at start; it is refilled by itself.
pub fn hold_back() {
    let mut held = HELD.lock();
    while held.len() < RESERVE_DESCRIPTORS {
        let Ok(file) = File::open("/dev/null") else { return };
        held.push(file);
    }
}

/// One descriptor fewer in the reserve, and so one to open for somebody else. The reserve is
/// refilled when this is dropped.
#[must_use]
pub struct Lent(());

/// Gives up one descriptor of the reserve, if it has one.
pub fn lend() -> Lent {
    drop(HELD.lock().pop());
    Lent(())
}

impl Drop for Lent {
    fn drop(&mut self) {
        hold_back();
    }
}

/// Makes a call that opens something; where there is no descriptor, with one of the reserve's.
///
/// # Errors
/// The call's own; [`exhausted`] when the reserve did not help either.
pub fn reserved<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut lent = Vec::new();
    loop {
        match open() {
            Err(e) if exhausted(&e) && lent.len() < RESERVE_TRIES => lent.push(lend()),
            done => return done,
        }
    }
}

/// A descriptor that can be opened while this is held, as far as one can be promised.
#[must_use]
pub struct Room {
    _lent: Vec<Lent>,
}

/// Sees to it that something can be opened next, for code that cannot use [`reserved`] itself.
///
/// # Errors
/// There is none, the reserve's included.
pub fn room() -> io::Result<Room> {
    let mut lent = Vec::new();
    loop {
        match File::open("/dev/null") {
            Err(e) if !exhausted(&e) => return Ok(Room { _lent: lent }),
            Ok(_) => return Ok(Room { _lent: lent }),
            Err(e) if lent.len() == RESERVE_TRIES => return Err(e),
            Err(_) => lent.push(lend()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lack_of_descriptors_takes_from_the_reserve() {
        let out = || io::Error::from(Errno::EMFILE);
        let mut tries = 0;
        let got = reserved(|| {
            tries += 1;
            if tries <= 2 { Err(out()) } else { Ok(tries) }
        });
        assert_eq!(got.expect("opened"), 3);
        tries = 0;
        let refused = reserved(|| {
            tries += 1;
            Err::<(), _>(io::Error::from(Errno::EACCES))
        });
        assert!(!exhausted(&refused.expect_err("refused")));
        assert_eq!(tries, 1);
        let still = reserved(|| Err::<(), _>(io::Error::from(Errno::ENFILE)));
        assert!(exhausted(&still.expect_err("exhausted")), "bounded");
    }
}
