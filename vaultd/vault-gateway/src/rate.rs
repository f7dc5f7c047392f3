//! Rate limits per caller and service: the generic cell rate algorithm, in memory.
//!
//! Each caller has `requests` tokens that flow back evenly over `window`; so no window border
//! lets through twice the rate.

use crate::limits::{MAX_RATE_ENTRIES, RATE_SHARDS};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};
use vault_logical::RateLimit;

/// What the limiter says of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    pub limit: u64,
    /// Calls that would be allowed right now.
    pub remaining: u64,
    /// Until the whole limit is available again.
    pub reset: Duration,
    /// Until the next call would be allowed; zero when it would be now.
    pub retry: Duration,
}

pub struct Limiter {
    shards: Vec<Mutex<HashMap<(String, String), Instant>>>,
    hasher: RandomState,
}

impl Default for Limiter {
    fn default() -> Self {
        Limiter { shards: (0..RATE_SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl Limiter {
    /// Counts one call of `caller` to `service`. `None` when the table is full of active callers:
    /// the call must be refused, since it cannot be counted.
    pub fn count(&self, service: &str, caller: &str, rule: RateLimit, now: Instant) -> Option<Verdict> {
        let key = (service.to_string(), caller.to_string());
        let i = usize::try_from(self.hasher.hash_one(&key) % RATE_SHARDS as u64).unwrap_or(0);
        let mut shard = self.shards.get(i)?.lock();
        if shard.len() >= MAX_RATE_ENTRIES / RATE_SHARDS && !shard.contains_key(&key) {
            shard.retain(|_, full_at| *full_at > now);
            if shard.len() >= MAX_RATE_ENTRIES / RATE_SHARDS {
                return None;
            }
        }
        let full_at = shard.entry(key).or_insert(now);
        let (verdict, next) = step((*full_at).max(now), rule, now);
        *full_at = next;
        Some(verdict)
    }
}

/// `full_at` is when the caller would have its whole limit back.
fn step(full_at: Instant, rule: RateLimit, now: Instant) -> (Verdict, Instant) {
    let limit = rule.requests.max(1);
    let window = rule.window.max(Duration::from_millis(1));
    let cost = Duration::from_nanos(u64::try_from(window.as_nanos() / u128::from(limit)).unwrap_or(u64::MAX));
    let after = full_at + cost;
    let debt = after.saturating_duration_since(now);
    // Rounding of `cost` downwards must not refuse the last call of a whole limit.
    let allowed = debt <= window;
    let (debt, next) =
        if allowed { (debt, after) } else { (full_at.saturating_duration_since(now), full_at) };
    let left = window.saturating_sub(debt).as_nanos() / cost.as_nanos().max(1);
    let remaining = u64::try_from(left).unwrap_or(limit).min(limit);
    let retry = if remaining > 0 { Duration::ZERO } else { (debt + cost).saturating_sub(window) };
    (Verdict { allowed, limit, remaining, reset: debt, retry }, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULE: RateLimit = RateLimit { requests: 3, window: Duration::from_secs(60) };

    #[test]
    fn a_limit_is_used_up_and_flows_back() {
        let l = Limiter::default();
        let t = Instant::now();
        for left in [2, 1, 0] {
            let v = l.count("s", "c", RULE, t).unwrap();
            assert!(v.allowed);
            assert_eq!((v.limit, v.remaining), (3, left));
        }
        let v = l.count("s", "c", RULE, t).unwrap();
        assert!(!v.allowed);
        assert_eq!((v.remaining, v.retry), (0, Duration::from_secs(20)));
        // Others are not touched by it.
        assert!(l.count("s", "other", RULE, t).unwrap().allowed);
        assert!(l.count("other", "c", RULE, t).unwrap().allowed);
        assert!(!l.count("s", "c", RULE, t + Duration::from_secs(19)).unwrap().allowed);
        assert!(l.count("s", "c", RULE, t + Duration::from_secs(20)).unwrap().allowed);
    }

    proptest! {
        /// In any stretch of one window at most twice the limit passes, and never more than the
        /// limit at one instant.
        #[test]
        fn never_more_than_the_rule(requests in 1u64..50, gaps in prop::collection::vec(0u64..3000, 1..200)) {
            let rule = RateLimit { requests, window: Duration::from_secs(10) };
            let l = Limiter::default();
            let start = Instant::now();
            let mut at = Duration::ZERO;
            let mut passed: Vec<Duration> = Vec::new();
            for gap in gaps {
                at += Duration::from_millis(gap);
                if l.count("s", "c", rule, start + at).unwrap().allowed {
                    passed.push(at);
                }
            }
            for (i, from) in passed.iter().enumerate() {
                let same = passed[i..].iter().filter(|t| *t == from).count() as u64;
                prop_assert!(same <= requests);
                let within = passed[i..].iter().filter(|t| **t < *from + rule.window).count() as u64;
                prop_assert!(within <= 2 * requests);
            }
        }
    }
}
