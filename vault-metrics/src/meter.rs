//! What is counted with.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Upper bounds of a histogram's buckets, in nanoseconds: from a read out of memory to the longest
/// call of the gateway. What is longer is in one more bucket.
pub const BOUNDS: [u64; 18] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Only ever grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }
    /// So many more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// One more, until the guard is dropped.
    pub fn hold(&self) -> Held<'_> {
        self.0.fetch_add(1, Relaxed);
        Held(self)
    }
    /// What it is now.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }
    /// What it is now.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// One of those that a [`Gauge`] counts.
#[must_use]
#[derive(Debug)]
pub struct Held<'a>(&'a Gauge);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Times {
    buckets: [AtomicU64; BOUNDS.len()],
    /// Longer than the last bound.
    over: AtomicU64,
    nanos: AtomicU64,
}

/// What a [`Times`] held when it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// How many were within each bound, and not within the one before it.
    pub buckets: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// How long they took together.
    pub nanos: u64,
}

impl Times {
    /// One took so long.
    pub fn took(&self, time: Duration) {
        self.took_each(1, time);
    }

    /// Each of `n` took so long.
    pub fn took_each(&self, n: u64, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < nanos);
        self.buckets.get(at).unwrap_or(&self.over).fetch_add(n, Relaxed);
        self.nanos.fetch_add(nanos.saturating_mul(n), Relaxed);
    }

    /// One took since then.
    pub fn since(&self, start: Instant) {
        self.took(start.elapsed());
    }

    /// What it holds now. The sum may be of a moment later than the counts.
    pub fn read(&self) -> Reading {
        let mut r = Reading { nanos: self.nanos.load(Relaxed), ..Reading::default() };
        for (to, from) in r.buckets.iter_mut().zip(&self.buckets) {
            *to = from.load(Relaxed);
        }
        r.count = r.buckets.iter().sum::<u64>() + self.over.load(Relaxed);
        r
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_bucket_of_its_bound() {
        let t = Times::default();
        for bound in BOUNDS {
            t.took(Duration::from_nanos(bound));
            t.took(Duration::from_nanos(bound + 1));
        }
        t.took(Duration::ZERO);
        t.took(Duration::from_secs(3600));
        let r = t.read();
        // The bound itself is within, a nanosecond more is in the next.
        assert_eq!(r.buckets, [2; BOUNDS.len()].map(|n: u64| n));
        assert_eq!(r.count, 2 * BOUNDS.len() as u64 + 2);
        let sum: u64 = BOUNDS.iter().map(|b| 2 * b + 1).sum();
        assert_eq!(r.nanos, sum + 3_600_000_000_000);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let (c, g, t) = (Counter::default(), Gauge::default(), Times::default());
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for n in 0..10_000 {
                        let _held = g.hold();
                        c.one();
                        t.took(Duration::from_micros(n));
                    }
                });
            }
        });
        assert_eq!((c.get(), g.get(), t.read().count), (40_000, 0, 40_000));
    }
}
