//! Bounds what strangers can make the log write.

use crate::limits::MAX_WARNINGS_PER_SECOND;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of the running second, and how many were held back before it.
struct Window {
    since: Instant,
    used: u32,
    withheld: u64,
}

/// Lets [`MAX_WARNINGS_PER_SECOND`] lines through and counts the rest.
pub struct LogGate(Mutex<Window>);

impl Default for LogGate {
    fn default() -> Self {
        LogGate(Mutex::new(Window { since: Instant::now(), used: 0, withheld: 0 }))
    }
}

impl LogGate {
    /// `Some(n)`: a line may be written at `now`, and `n` before it were not.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        let mut w = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(w.since) >= Duration::from_secs(1) {
            w.since = now;
            w.used = 0;
        }
        if w.used >= MAX_WARNINGS_PER_SECOND {
            w.withheld += 1;
            return None;
        }
        w.used += 1;
        Some(std::mem::take(&mut w.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_costs_a_bounded_number_of_lines_and_is_counted() {
        let gate = LogGate::default();
        let start = Instant::now();
        let passed = (0..1_000).filter(|_| gate.pass(start).is_some()).count();
        assert_eq!(passed, MAX_WARNINGS_PER_SECOND as usize);
        let next = gate.pass(start + Duration::from_secs(2));
        assert_eq!(next, Some(1_000 - u64::from(MAX_WARNINGS_PER_SECOND)));
    }
}
