//! Requests without a valid identity: one by one up to a rate, then counted, so that they can
//! never use up what authenticated requests need.

use super::limits::{
    ANONYMOUS_BURST, ANONYMOUS_RATE, MAX_SOURCES, MAX_SUMMARY_SOURCES, SOURCE_BURST, SOURCE_RATE,
};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use vault_logical::Timestamp;

/// An IPv4 address or the /64 of an IPv6 one; `None` is the local socket.
type Source = Option<IpAddr>;

/// A token bucket in thousandths of a record.
struct Bucket {
    level: u64,
    filled: Timestamp,
}

impl Bucket {
    fn full(burst: u32, now: Timestamp) -> Self {
        Bucket { level: u64::from(burst) * 1000, filled: now }
    }

    fn refill(&mut self, rate: u32, burst: u32, now: Timestamp) {
        let ms = u64::try_from(self.filled.until(now).as_millis()).unwrap_or(u64::MAX);
        // A clock set back must not stop the refill until it has caught up.
        if ms > 0 || now < self.filled {
            self.filled = now;
            let gain = ms.saturating_mul(u64::from(rate));
            self.level = self.level.saturating_add(gain).min(u64::from(burst) * 1000);
        }
    }

    fn take(&mut self) -> bool {
        match self.level.checked_sub(1000) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }
}

/// What one summary line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub since: Timestamp,
    pub total: u64,
    /// The busiest sources, most requests first.
    pub sources: Vec<(Source, u64)>,
    /// Requests from sources not named.
    pub other: u64,
}

struct Table {
    sources: HashMap<Source, (Bucket, u64)>,
    /// Sources beyond the bound, together.
    rest: Bucket,
    all: Bucket,
    other: u64,
    since: Option<Timestamp>,
}

/// The rate table.
pub(super) struct Sources(Mutex<Table>);

impl Sources {
    pub fn new(now: Timestamp) -> Self {
        Sources(Mutex::new(Table {
            sources: HashMap::new(),
            rest: Bucket::full(SOURCE_BURST, now),
            all: Bucket::full(ANONYMOUS_BURST, now),
            other: 0,
            since: None,
        }))
    }

    /// True: record it. False: it was counted for the next summary.
    pub fn admit(&self, remote: Option<SocketAddr>, now: Timestamp) -> bool {
        let source = source(remote);
        let mut guard = self.0.lock();
        let table = &mut *guard;
        table.all.refill(ANONYMOUS_RATE, ANONYMOUS_BURST, now);
        if !table.sources.contains_key(&source) && table.sources.len() >= MAX_SOURCES {
            table.rest.refill(SOURCE_RATE, SOURCE_BURST, now);
            let admitted = table.rest.take() && table.all.take();
            if !admitted {
                table.other += 1;
                table.since.get_or_insert(now);
            }
            return admitted;
        }
        let (bucket, count) =
            table.sources.entry(source).or_insert_with(|| (Bucket::full(SOURCE_BURST, now), 0));
        bucket.refill(SOURCE_RATE, SOURCE_BURST, now);
        let admitted = bucket.take() && table.all.take();
        if !admitted {
            *count += 1;
            table.since.get_or_insert(now);
        }
        admitted
    }

    /// The counts since the last summary, if there are any; forgets sources that went quiet.
    pub fn summary(&self, now: Timestamp) -> Option<Summary> {
        let mut table = self.0.lock();
        let mut sources: Vec<(Source, u64)> = Vec::new();
        table.sources.retain(|source, (bucket, count)| {
            if *count > 0 {
                sources.push((*source, std::mem::take(count)));
            }
            bucket.refill(SOURCE_RATE, SOURCE_BURST, now);
            bucket.level < u64::from(SOURCE_BURST) * 1000
        });
        let since = table.since.take()?;
        sources.sort_by_key(|(source, count)| (std::cmp::Reverse(*count), *source));
        let unnamed = sources.split_off(sources.len().min(MAX_SUMMARY_SOURCES));
        let other = std::mem::take(&mut table.other) + unnamed.iter().map(|(_, n)| n).sum::<u64>();
        let total = other + sources.iter().map(|(_, n)| n).sum::<u64>();
        Some(Summary { since, total, sources, other })
    }

    /// Puts a summary back that no device accepted; its sources are then no longer told apart.
    pub fn put_back(&self, summary: &Summary) {
        let mut table = self.0.lock();
        table.other = table.other.saturating_add(summary.total);
        table.since = Some(summary.since);
    }
}

fn source(remote: Option<SocketAddr>) -> Source {
    remote.map(|r| match r.ip().to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        /// Whatever the addresses and the times: every request is either admitted or counted, and
        /// no second admits more than burst and rate allow.
        #[test]
        fn every_request_is_admitted_or_counted(steps in prop::collection::vec((0u32..40, 0u64..300), 1..2000)) {
            let mut now = Timestamp::from_unix_secs(1_700_000_000);
            let start = now;
            let table = Sources::new(now);
            let (mut admitted, mut counted) = (0u64, 0u64);
            for (n, (host, ms)) in steps.iter().enumerate() {
                now = now.plus(Duration::from_millis(*ms));
                admitted += u64::from(table.admit(Some(SocketAddr::from((host.to_be_bytes(), 1))), now));
                if n % 97 == 0 {
                    counted += table.summary(now).map_or(0, |s| s.total);
                }
            }
            counted += table.summary(now).map_or(0, |s| s.total);
            prop_assert_eq!(admitted + counted, steps.len() as u64);
            let elapsed = start.until(now).as_millis() as u64;
            prop_assert!(admitted * 1000 <= u64::from(ANONYMOUS_BURST) * 1000 + elapsed * u64::from(ANONYMOUS_RATE));
        }
    }

    #[test]
    fn a_flood_from_everywhere_stays_bounded() {
        let now = Timestamp::from_unix_secs(1_700_000_000);
        let table = Sources::new(now);
        let admitted = (0..100_000u32)
            .filter(|n| table.admit(Some(SocketAddr::from((n.to_be_bytes(), 1))), now))
            .count();
        assert_eq!(admitted, ANONYMOUS_BURST as usize);
        assert_eq!(table.0.lock().sources.len(), MAX_SOURCES);
        let summary = table.summary(now).unwrap();
        assert_eq!(summary.total, 100_000 - u64::from(ANONYMOUS_BURST));
        assert_eq!(summary.sources.len(), MAX_SUMMARY_SOURCES);
        // A minute later the quiet ones are forgotten.
        assert!(table.summary(now.plus(Duration::from_secs(60))).is_none());
        assert_eq!(table.0.lock().sources.len(), 0);
    }

    #[test]
    fn an_ipv6_host_cannot_take_a_bucket_for_each_address() {
        let now = Timestamp::from_unix_secs(1_700_000_000);
        let table = Sources::new(now);
        let admitted = (0..200u16)
            .filter(|n| table.admit(Some(SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, *n], 1))), now))
            .count();
        assert_eq!(admitted, SOURCE_BURST as usize);
    }
}
