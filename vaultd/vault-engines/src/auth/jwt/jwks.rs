//! Keys fetched from a JWKS URL: one fetch at a time, at most one an interval, whoever asks and
//! whatever came of the last one.
//!
//! The next fetch is claimed before this one starts, so neither an empty set, an error nor a
//! caller that hangs up makes the next request fetch again. A miss evicts nothing.

use super::keys::KeySet;
use super::token::Alg;
use crate::limits::{JWKS_FETCH_TIMEOUT, JWKS_FRESH, JWKS_MAX_STALE, JWKS_MAX_WAITERS, JWKS_MIN_INTERVAL};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;
use tokio::time::Instant;
use vault_logical::{Egress, EgressRequest, chain};

pub(super) struct Jwks {
    url: String,
    ca_pem: Option<String>,
    egress: Arc<dyn Egress>,
    /// Raised when a key is gone from the set.
    epoch: Arc<AtomicU64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<(Arc<KeySet>, Instant)>,
    /// No fetch before this.
    next: Option<Instant>,
    /// Ends when the fetch under way does.
    running: Option<watch::Receiver<()>>,
    waiting: usize,
}

/// Counts itself out when its request ends, or is dropped.
struct Waiting<'a>(&'a Jwks);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut s = self.0.state.lock();
        s.waiting = s.waiting.saturating_sub(1);
    }
}

impl Jwks {
    pub fn new(
        url: String,
        ca_pem: Option<String>,
        egress: Arc<dyn Egress>,
        epoch: Arc<AtomicU64>,
    ) -> Arc<Self> {
        Arc::new(Jwks { url, ca_pem, egress, epoch, state: Mutex::default() })
    }

    /// The set, unless it could not be renewed for too long.
    pub fn keys(&self) -> Option<Arc<KeySet>> {
        let s = self.state.lock();
        s.keys.as_ref().filter(|(_, at)| at.elapsed() < JWKS_MAX_STALE).map(|(k, _)| k.clone())
    }

    /// Fetches if this key is not known or the set is old. Waits for the fetch only where there is
    /// nothing to answer from.
    pub async fn prepare(self: &Arc<Self>, alg: Alg, kid: Option<&str>) {
        let Some((mut done, _counted)) = self.start(alg, kid) else { return };
        // An error means that the fetch is over.
        _ = tokio::time::timeout(JWKS_FETCH_TIMEOUT, done.changed()).await;
    }

    /// What to wait for, if anything.
    fn start(self: &Arc<Self>, alg: Alg, kid: Option<&str>) -> Option<(watch::Receiver<()>, Waiting<'_>)> {
        let now = Instant::now();
        let mut s = self.state.lock();
        let (known, fresh) = match &s.keys {
            None => (false, false),
            Some((k, at)) => {
                let age = now.saturating_duration_since(*at);
                (age < JWKS_MAX_STALE && k.knows(alg, kid), age < JWKS_FRESH)
            }
        };
        if known && fresh {
            return None;
        }
        // A fetch that died has dropped its sender.
        let running = s.running.clone().filter(|r| r.has_changed().is_ok());
        let done = match running {
            Some(done) => done,
            None if s.next.is_some_and(|next| now < next) => return None,
            None => {
                s.next = Some(now + JWKS_MIN_INTERVAL);
                let (sender, done) = watch::channel(());
                s.running = Some(done.clone());
                // A task of its own: the caller that asked first may go away.
                tokio::spawn(self.clone().fetch(sender));
                done
            }
        };
        if known || s.waiting >= JWKS_MAX_WAITERS {
            return None;
        }
        s.waiting += 1;
        Some((done, Waiting(self)))
    }

    async fn fetch(self: Arc<Self>, _done: watch::Sender<()>) {
        let request = EgressRequest { url: self.url.clone(), ca_pem: self.ca_pem.clone() };
        let answer = tokio::time::timeout(JWKS_FETCH_TIMEOUT, self.egress.get(request)).await;
        let keys = match answer {
            Ok(Ok(r)) if r.status == 200 => {
                KeySet::from_jwks(&r.body).ok_or_else(|| "the answer is not a set of usable keys".to_string())
            }
            Ok(Ok(r)) => Err(format!("the server answered {}", r.status)),
            Ok(Err(e)) => Err(chain(&e)),
            Err(_) => Err("the server did not answer in time".to_string()),
        };
        let mut s = self.state.lock();
        s.running = None;
        match keys {
            Ok(k) => {
                let gone = s.keys.as_ref().is_some_and(|(older, _)| !k.keeps(older));
                s.keys = Some((Arc::new(k), Instant::now()));
                if gone {
                    // After the new set is in place: whoever reads the new number verifies with it.
                    self.epoch.fetch_add(1, Ordering::AcqRel);
                }
            }
            Err(why) => {
                tracing::warn!(url = %self.url, why, "JWKS could not be fetched; the keys in use stay")
            }
        }
    }
}
