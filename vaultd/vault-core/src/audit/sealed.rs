//! Attempts made while there is no audit to write to: unseal, init and the like.

use super::Recorded;
use super::limits::MAX_SEALED_ATTEMPTS;
use parking_lot::Mutex;
use std::net::{IpAddr, SocketAddr};
use vault_logical::Timestamp;

/// One attempt while sealed.
#[derive(Clone, Copy, Debug)]
pub struct SealedAttempt {
    pub time: Timestamp,
    /// `update`, `read`
    pub operation: &'static str,
    /// `sys/unseal`, `sys/init`: one of the core's own routes.
    pub path: &'static str,
    pub remote: Option<SocketAddr>,
    /// Why it failed; `None` when it was accepted.
    pub error: Option<&'static str>,
}

/// Attempts of one kind from one address.
#[derive(Clone, Debug)]
pub(super) struct Repeated {
    pub attempt: SealedAttempt,
    pub last: Timestamp,
    pub count: u64,
}

#[derive(Default)]
pub(super) struct Attempts {
    pub kinds: Vec<Repeated>,
    /// Attempts beyond the bound.
    pub dropped: u64,
}

/// What was tried while sealed, bounded: repeats are counted, so one address cannot push out the
/// others. Written as the first records after unseal.
#[derive(Default)]
pub struct SealedRing(Mutex<Attempts>);

impl SealedRing {
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers an attempt and releases its answer.
    pub fn record<T>(&self, attempt: SealedAttempt, outcome: T) -> Recorded<T> {
        let mut all = self.0.lock();
        let room = all.kinds.len() < MAX_SEALED_ATTEMPTS;
        match all.kinds.iter_mut().find(|k| same_kind(&k.attempt, &attempt)) {
            Some(k) => {
                k.count = k.count.saturating_add(1);
                k.last = attempt.time;
            }
            None if room => {
                all.kinds.push(Repeated { attempt, last: attempt.time, count: 1 });
            }
            None => all.dropped = all.dropped.saturating_add(1),
        }
        Recorded(outcome)
    }

    /// Takes everything out, oldest first.
    pub(super) fn take(&self) -> Attempts {
        std::mem::take(&mut *self.0.lock())
    }

    /// Puts back what could not be written.
    pub(super) fn put_back(&self, mut earlier: Attempts) {
        let mut all = self.0.lock();
        let room = MAX_SEALED_ATTEMPTS.saturating_sub(earlier.kinds.len());
        let later = std::mem::take(&mut *all);
        earlier.dropped = earlier.dropped.saturating_add(later.dropped);
        earlier.dropped += later.kinds.iter().skip(room).map(|k| k.count).sum::<u64>();
        earlier.kinds.extend(later.kinds.into_iter().take(room));
        *all = earlier;
    }
}

fn same_kind(a: &SealedAttempt, b: &SealedAttempt) -> bool {
    let ip = |s: &SealedAttempt| -> Option<IpAddr> { s.remote.map(|r| r.ip()) };
    a.operation == b.operation && a.path == b.path && a.error == b.error && ip(a) == ip(b)
}
