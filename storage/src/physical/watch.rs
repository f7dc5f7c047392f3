//! The feed of changes: a bounded history and at most one listener.

use super::{Error, Key, Result, Seq, WatchSink};
use crate::limits::{WATCH_HISTORY_KEYS, WATCH_HISTORY_ROUNDS};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

pub(crate) struct Watch {
    state: Mutex<State>,
}

struct State {
    sink: Option<Arc<dyn WatchSink>>,
    rounds: VecDeque<(Seq, Vec<Key>)>,
    keys: usize,
    /// Changes after this sequence are all in `rounds`.
    since: Seq,
    last: Seq,
}

impl Watch {
    /// `opened_at`: the sequence the store was opened with; earlier changes are not kept.
    pub(crate) fn new(opened_at: Seq) -> Self {
        Watch {
            state: Mutex::new(State {
                sink: None,
                rounds: VecDeque::new(),
                keys: 0,
                since: opened_at,
                last: opened_at,
            }),
        }
    }

    /// Called once per round, in order, after it is durable and readable.
    pub(crate) fn publish(&self, seq: Seq, keys: Vec<Key>) {
        let mut s = self.state.lock();
        if let Some(sink) = &s.sink {
            sink.applied(seq, &keys);
        }
        s.last = seq;
        s.keys += keys.len();
        s.rounds.push_back((seq, keys));
        while s.rounds.len() > WATCH_HISTORY_ROUNDS || s.keys > WATCH_HISTORY_KEYS {
            let Some((gone, keys)) = s.rounds.pop_front() else { break };
            s.keys -= keys.len();
            s.since = gone;
        }
    }

    pub(crate) fn subscribe(&self, after: Seq, sink: Arc<dyn WatchSink>) -> Result<()> {
        // Held while replaying, so that no round slips between the replay and the feed.
        let mut s = self.state.lock();
        if after < s.since {
            return Err(Error::Compacted);
        }
        for (seq, keys) in s.rounds.iter().filter(|(seq, _)| *seq > after) {
            sink.applied(*seq, keys);
        }
        s.sink = Some(sink);
        Ok(())
    }

    /// Lets go of the listener, which may hold the store itself.
    pub(crate) fn close(&self) {
        self.state.lock().sink = None;
    }
}
