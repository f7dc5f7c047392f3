//! The audit's one background thread: sleeps until there is something to sync or sign.

use super::broker::Inner;
use super::limits::{IDLE_CHECK, TICK};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// How writers wake the thread: one notification per tick at most.
#[derive(Default)]
pub(super) struct Wake {
    pending: AtomicBool,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    work: bool,
    stop: bool,
}

impl Wake {
    /// Something was written or counted.
    pub fn work(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            self.state.0.lock().work = true;
            self.state.1.notify_one();
        }
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.state.0.lock().stop = true;
        self.state.1.notify_one();
    }
}

/// Starts the thread; it ends with `stop` or when the audit is dropped.
pub(super) fn start(inner: &Arc<Inner>) -> io::Result<()> {
    let weak = Arc::downgrade(inner);
    let state = inner.wake.state.clone();
    let run = move || {
        let (lock, bell) = &*state;
        let mut more = false;
        loop {
            let mut s = lock.lock();
            if !s.work && !s.stop && !more {
                let _ = bell.wait_for(&mut s, IDLE_CHECK);
            }
            if !s.stop {
                // Gathers what is written meanwhile under one sync. Only `stop` cuts it short.
                let _ = bell.wait_for(&mut s, TICK);
            }
            if s.stop {
                return;
            }
            s.work = false;
            drop(s);
            let Some(inner) = weak.upgrade() else { return };
            // Cleared before the work: a write from here on asks for another tick.
            inner.wake.pending.store(false, Ordering::Release);
            more = inner.tick();
        }
    };
    thread::Builder::new().name("audit".into()).spawn(run).map(drop)
}
