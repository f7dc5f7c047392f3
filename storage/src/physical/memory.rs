//! A store that lives in memory and is gone with the process: for `vaultd dev` and for tests.

use super::listing::{Listing, Step};
use super::round::{Round, writes};
use super::watch::Watch;
use super::{Child, Error, Fence, Key, Outcome, Physical, Record, Result, Seq, Snapshot, Txn, WatchSink};
use crate::limits::MAX_APPLY_TXNS;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

type Map = BTreeMap<Vec<u8>, Record>;

/// See the module. "Durable on return" means as long as the process lives.
pub struct Memory {
    /// One `apply` at a time, so that the feed sees rounds in order.
    commit: Mutex<()>,
    state: Mutex<State>,
    watch: Watch,
}

struct State {
    /// Shared with snapshots; copied by the first write after one was taken.
    map: Arc<Map>,
    seq: Seq,
    riders: VecDeque<(Seq, Vec<u8>)>,
    closed: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    pub fn new() -> Self {
        Memory {
            commit: Mutex::new(()),
            state: Mutex::new(State { map: Arc::default(), seq: 0, riders: VecDeque::new(), closed: false }),
            watch: Watch::new(0),
        }
    }

    fn map(&self) -> Result<Arc<Map>> {
        let s = self.state.lock();
        if s.closed { Err(closed()) } else { Ok(s.map.clone()) }
    }
}

fn closed() -> Error {
    Error::Poisoned("the store was closed".into())
}

#[async_trait]
impl Physical for Memory {
    fn backend(&self) -> &'static str {
        "memory"
    }

    fn seq(&self) -> Seq {
        self.state.lock().seq
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        let s = self.state.lock();
        if s.closed {
            return Err(closed());
        }
        Ok(s.map.get(key.as_bytes()).cloned())
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Key, Record)>> {
        let map = self.map()?;
        scan(&map, prefix, after, limit)
    }

    async fn children(&self, folder: &Key, after: Option<&[u8]>, limit: usize) -> Result<Vec<Child>> {
        let map = self.map()?;
        let mut listing = Listing::new(folder, limit);
        let mut from = listing.start(after);
        'seek: loop {
            for (key, _) in map.range::<[u8], _>((Bound::Included(from.as_slice()), Bound::Unbounded)) {
                match listing.visit(key) {
                    Step::Next => {}
                    Step::Seek(to) => {
                        from = to;
                        continue 'seek;
                    }
                    Step::Stop => break 'seek,
                }
            }
            break;
        }
        listing.finish()
    }

    async fn apply(&self, _fence: Fence, txns: Vec<Txn>) -> Result<Vec<Outcome>> {
        if txns.len() > MAX_APPLY_TXNS {
            return Err(Error::Backend("too many transactions in one call".into()));
        }
        let _one_at_a_time = self.commit.lock();
        let mut s = self.state.lock();
        if s.closed {
            return Err(closed());
        }
        let seq = s.seq + 1;
        let mut round = Round::new(seq);
        let mut outcomes = Vec::with_capacity(txns.len());
        let mut riders = Vec::new();
        let mut wrote = false;
        for txn in &txns {
            let map = &s.map;
            let outcome = round.judge(txn, |k| Ok(map.get(k.as_bytes()).map(|r| r.rev)))?;
            if matches!(outcome, Outcome::Applied { .. }) {
                wrote |= writes(txn);
                riders.extend(txn.rider.clone().map(|r| (seq, r)));
            }
            outcomes.push(outcome);
        }
        if !wrote {
            let seq = s.seq;
            for o in &mut outcomes {
                if let Outcome::Applied { seq: at } = o {
                    *at = seq;
                }
            }
            return Ok(outcomes);
        }
        let map = Arc::make_mut(&mut s.map);
        for (key, value) in round.finals() {
            match value {
                Some(v) => map.insert(key.as_bytes().to_vec(), Record { rev: seq, value: v.to_vec() }),
                None => map.remove(key.as_bytes()),
            };
        }
        s.seq = seq;
        s.riders.extend(riders);
        drop(s);
        self.watch.publish(seq, round.keys());
        Ok(outcomes)
    }

    fn watch(&self, after: Seq, sink: Arc<dyn WatchSink>) -> Result<()> {
        self.watch.subscribe(after, sink)
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        let s = self.state.lock();
        if s.closed {
            return Err(closed());
        }
        Ok(Arc::new(Frozen { map: s.map.clone(), seq: s.seq }))
    }

    async fn riders(&self) -> Result<Vec<(Seq, Vec<u8>)>> {
        let s = self.state.lock();
        if s.closed {
            return Err(closed());
        }
        Ok(s.riders.iter().cloned().collect())
    }

    async fn release_riders(&self, through: Seq) -> Result<()> {
        let mut s = self.state.lock();
        if s.closed {
            return Err(closed());
        }
        while s.riders.front().is_some_and(|(seq, _)| *seq <= through) {
            s.riders.pop_front();
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        let mut s = self.state.lock();
        s.closed = true;
        s.map = Arc::default();
        s.riders.clear();
        Ok(())
    }
}

struct Frozen {
    map: Arc<Map>,
    seq: Seq,
}

#[async_trait]
impl Snapshot for Frozen {
    fn seq(&self) -> Seq {
        self.seq
    }
    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Key, Record)>> {
        scan(&self.map, prefix, after, limit)
    }
}

fn scan(map: &Map, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Key, Record)>> {
    let from = match after {
        Some(a) if a >= prefix => Bound::Excluded(a),
        _ => Bound::Included(prefix),
    };
    map.range::<[u8], _>((from, Bound::Unbounded))
        .take_while(|(k, _)| k.starts_with(prefix))
        .take(limit)
        .map(|(k, r)| Ok((stored_key(k.clone())?, r.clone())))
        .collect()
}

/// A key as it came back from a store.
pub(crate) fn stored_key(bytes: Vec<u8>) -> Result<Key> {
    Key::from_bytes(bytes).ok_or_else(|| Error::Corrupt("a stored key is not made of whole segments".into()))
}
