//! Who is connected: the caps on it, and the way to close everybody.

use crate::limits::{MAX_CONNECTIONS, MAX_UNIX_CONNECTIONS};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Most connections through one kind of listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    pub total: usize,
    pub per_source: usize,
}

/// Most connections at once. No kind of listener takes the places of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    pub api: Cap,
    pub gateway: Cap,
    pub unix: usize,
}

/// Through which kind of listener a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    Api,
    Gateway,
    /// The operator's.
    Unix,
}

impl Default for Caps {
    fn default() -> Self {
        let half = Cap { total: MAX_CONNECTIONS / 2, per_source: MAX_CONNECTIONS / 4 };
        Caps { api: half, gateway: half, unix: MAX_UNIX_CONNECTIONS }
    }
}

/// Open connections by kind of listener, and those refused since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    pub api: usize,
    pub gateway: usize,
    pub unix: usize,
    pub refused: u64,
}

/// Raised by every [`Registry::close_all`]; connections older than it close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Epoch {
    pub generation: u64,
    pub stopping: bool,
}

/// All open connections of the daemon. Cheap to share.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    caps: Caps,
    open: Mutex<Open>,
    epoch: watch::Sender<Epoch>,
    changed: Notify,
}

#[derive(Default)]
struct Open {
    next_id: u64,
    /// By door; a door or a source without any is not kept.
    doors: HashMap<Door, usize>,
    refused: u64,
    sources: HashMap<(Door, IpAddr), usize>,
    connections: HashMap<u64, Arc<Activity>>,
}

impl Registry {
    pub fn new(caps: Caps) -> Self {
        let (epoch, _) = watch::channel(Epoch::default());
        Registry { inner: Arc::new(Inner { caps, open: Mutex::default(), epoch, changed: Notify::new() }) }
    }

    /// A place for a new connection; `None` at a cap. `source` is `None` on unix sockets.
    pub(super) fn admit(&self, door: Door, source: Option<IpAddr>) -> Option<Admitted> {
        let source = source.map(|s| (door, group(s)));
        let epoch = self.inner.epoch.subscribe();
        let caps = self.inner.caps;
        let cap = match door {
            Door::Api => caps.api,
            Door::Gateway => caps.gateway,
            Door::Unix => Cap { total: caps.unix, per_source: caps.unix },
        };
        let mut guard = self.inner.open.lock();
        let open = &mut *guard;
        let room = count(&open.doors, &door) < cap.total
            && source.is_none_or(|s| count(&open.sources, &s) < cap.per_source);
        if !room {
            open.refused += 1;
            return None;
        }
        *open.doors.entry(door).or_insert(0) += 1;
        if let Some(s) = source {
            *open.sources.entry(s).or_insert(0) += 1;
        }
        open.next_id += 1;
        let activity = Arc::new(Activity::new(epoch.borrow().generation));
        open.connections.insert(open.next_id, Arc::clone(&activity));
        Some(Admitted { registry: self.clone(), id: open.next_id, door, source, activity, epoch })
    }

    /// Closes every connection: idle ones now, the others after the answer they are waiting for.
    /// New ones are accepted.
    pub fn close_all(&self) {
        self.inner.epoch.send_modify(|e| e.generation += 1);
    }

    /// Waits until no connection older than the last [`Registry::close_all`] is idle, at most
    /// `bound`. `true` when that is so.
    pub async fn idle_closed(&self, bound: Duration) -> bool {
        let generation = self.inner.epoch.borrow().generation;
        self.until(bound, move |open| {
            open.connections.values().all(|a| a.generation >= generation || a.in_flight() > 0)
        })
        .await
    }

    /// Closes every connection and accepts no more.
    pub(super) fn stop(&self) {
        self.inner.epoch.send_modify(|e| {
            e.generation += 1;
            e.stopping = true;
        });
    }

    /// Waits until no connection is left, at most `bound`. `true` when that is so.
    pub(super) async fn drained(&self, bound: Duration) -> bool {
        self.until(bound, |open| open.connections.is_empty()).await
    }

    pub(super) fn epoch(&self) -> watch::Receiver<Epoch> {
        self.inner.epoch.subscribe()
    }

    /// Open connections now.
    pub fn count(&self) -> usize {
        self.inner.open.lock().connections.len()
    }

    /// Connections turned away at a cap since the start.
    pub fn refused(&self) -> u64 {
        self.inner.open.lock().refused
    }

    /// Who is connected now, and how many were turned away.
    pub fn figures(&self) -> Connected {
        let open = self.inner.open.lock();
        let of = |door| count(&open.doors, &door);
        let (api, gateway, unix) = (of(Door::Api), of(Door::Gateway), of(Door::Unix));
        Connected { api, gateway, unix, refused: open.refused }
    }

    async fn until(&self, bound: Duration, done: impl Fn(&Open) -> bool) -> bool {
        let wait = async {
            loop {
                let changed = self.inner.changed.notified();
                if done(&self.inner.open.lock()) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(bound, wait).await.is_ok()
    }
}

fn count<K: Eq + Hash>(counts: &HashMap<K, usize>, of: &K) -> usize {
    counts.get(of).copied().unwrap_or(0)
}

fn uncount<K: Eq + Hash>(counts: &mut HashMap<K, usize>, of: K) {
    match counts.get_mut(&of) {
        Some(n) if *n > 1 => *n -= 1,
        _ => drop(counts.remove(&of)),
    }
}

/// The unit of the per-source cap: an IPv4 address, or an IPv6 /64, which one customer holds.
fn group(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// A connection's place; given back when dropped.
pub(super) struct Admitted {
    registry: Registry,
    id: u64,
    door: Door,
    source: Option<(Door, IpAddr)>,
    pub activity: Arc<Activity>,
    pub epoch: watch::Receiver<Epoch>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.registry.inner.open.lock();
        open.connections.remove(&self.id);
        uncount(&mut open.doors, self.door);
        if let Some(s) = self.source {
            uncount(&mut open.sources, s);
        }
        drop(open);
        self.registry.inner.changed.notify_waiters();
    }
}

/// What happens on one connection.
pub(super) struct Activity {
    pub generation: u64,
    in_flight: AtomicUsize,
    times: Mutex<Times>,
    /// Woken when an answer asks for the connection to close.
    pub close: Notify,
}

struct Times {
    next_answer: u64,
    /// When the last request ended, or the connection began.
    idle_since: Instant,
    /// Answers whose last piece was handed out and of which the peer has not asked for more.
    owed: HashMap<u64, Instant>,
}

impl Activity {
    fn new(generation: u64) -> Self {
        let times = Times { next_answer: 0, idle_since: Instant::now(), owed: HashMap::new() };
        Activity {
            generation,
            in_flight: AtomicUsize::new(0),
            times: Mutex::new(times),
            close: Notify::new(),
        }
    }

    /// Requests begun and not yet answered to the end.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Since when nothing is in flight; `None` while something is.
    pub fn idle_since(&self) -> Option<Instant> {
        (self.in_flight() == 0).then(|| self.times.lock().idle_since)
    }

    /// Since when the peer takes nothing of an answer that it could have.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.times.lock().owed.values().min().copied()
    }

    /// Counts one request until the returned guard is dropped.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        let mut times = self.times.lock();
        times.next_answer += 1;
        InFlight { activity: Arc::clone(self), answer: times.next_answer }
    }
}

/// One request in flight.
pub(super) struct InFlight {
    activity: Arc<Activity>,
    answer: u64,
}

impl InFlight {
    /// A piece of the answer was handed to the connection.
    pub fn handed_out(&self) {
        self.activity.times.lock().owed.insert(self.answer, Instant::now());
    }
    /// The connection asks for the next piece.
    pub fn asked(&self) {
        self.activity.times.lock().owed.remove(&self.answer);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut times = self.activity.times.lock();
        times.owed.remove(&self.answer);
        times.idle_since = Instant::now();
        drop(times);
        self.activity.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn caps_count_sources_and_give_places_back() {
        let r = Registry::new(Caps {
            api: Cap { total: 3, per_source: 2 },
            gateway: Cap { total: 1, per_source: 1 },
            unix: 1,
        });
        let ip = |s: &str| Some(s.parse::<IpAddr>().expect(s));
        let a = r.admit(Door::Api, ip("10.0.0.1")).expect("first");
        let _b = r.admit(Door::Api, ip("::ffff:10.0.0.1")).expect("mapped address is the same source");
        assert!(r.admit(Door::Api, ip("10.0.0.1")).is_none());
        let c = r.admit(Door::Api, ip("2001:db8::1")).expect("another source");
        assert!(r.admit(Door::Api, ip("10.0.0.9")).is_none(), "total cap");
        let _g = r.admit(Door::Gateway, ip("10.0.0.1")).expect("the gateway's places are its own");
        assert!(r.admit(Door::Gateway, ip("10.0.0.2")).is_none());
        assert!(r.admit(Door::Unix, None).is_some(), "the unix reserve is separate");
        drop(a);
        assert!(r.admit(Door::Api, ip("2001:db8::ffff")).is_some(), "a place came back");
        drop(c);
        assert_eq!(r.refused(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_closed_waits_for_idle_connections_only() {
        let r = Registry::new(Caps::default());
        let idle = r.admit(Door::Unix, None).expect("place");
        let busy = r.admit(Door::Unix, None).expect("place");
        let work = busy.activity.begin();
        r.close_all();
        assert!(!r.idle_closed(Duration::from_secs(1)).await);
        drop(idle);
        assert!(r.idle_closed(Duration::from_secs(1)).await);
        assert!(!r.drained(Duration::from_secs(1)).await);
        drop((work, busy));
        assert!(r.drained(Duration::from_secs(1)).await);
        let young = r.admit(Door::Unix, None).expect("place");
        assert!(r.idle_closed(Duration::from_secs(1)).await, "younger than the close");
        drop(young);
    }
}
