//! Reads that are answered from memory while the server's answer is good.

use crate::client::Client;
use crate::error::Result;
use crate::limits::{DEFAULT_CACHE_AGE, DEFAULT_CACHE_ENTRIES};
use crate::secret::SecretMap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A bounded cache of reads. An answer is used again for the time of its lease, or for
/// [`Cache::max_age`] when it has none (KV version 2); then it is asked for anew. Concurrent reads
/// of one path ask once. "Nothing there" and errors are not kept.
///
/// What another client changes shows after that time: choose it accordingly.
pub struct Cache {
    client: Client,
    entries: Mutex<HashMap<String, Arc<Slot>>>,
    capacity: usize,
    max_age: Duration,
}

#[derive(Default)]
struct Slot {
    held: tokio::sync::Mutex<Option<Held>>,
    used: Mutex<Option<Instant>>,
}

struct Held {
    value: Arc<SecretMap>,
    until: Instant,
}

impl Cache {
    /// A cache over a client, with 1000 entries and an age of one minute.
    pub fn new(client: Client) -> Cache {
        Cache {
            client,
            entries: Mutex::default(),
            capacity: DEFAULT_CACHE_ENTRIES,
            max_age: DEFAULT_CACHE_AGE,
        }
    }

    /// Holds at most so many answers; the one longest unused goes first.
    #[must_use]
    pub fn capacity(mut self, entries: usize) -> Self {
        self.capacity = entries.max(1);
        self
    }

    /// How long an answer without a lease is used, and the longest for one with a lease.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Reads an API path such as `secret/data/app` (KV version 2, whose secret is below `data`) or
    /// `kv/app` (version 1). `None` when nothing is there.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub async fn get(&self, path: &str) -> Result<Option<Arc<SecretMap>>> {
        let slot = self.slot(path);
        let mut held = slot.held.lock().await;
        if let Some(h) = held.as_ref().filter(|h| Instant::now() < h.until) {
            return Ok(Some(h.value.clone()));
        }
        *held = None;
        // The age counts from before the question, never from after the answer.
        let asked = Instant::now();
        let (data, lease) = match self.client.read(path).await {
            Ok(Some(answer)) => (answer.data, answer.lease_duration),
            Ok(None) => (None, 0),
            Err(e) => {
                self.invalidate(path);
                return Err(e);
            }
        };
        let Some(data) = data else {
            self.invalidate(path);
            return Ok(None);
        };
        let age = match lease {
            0 => self.max_age,
            lease => self.max_age.min(Duration::from_secs(lease)),
        };
        let value = Arc::new(data);
        *held = Some(Held { value: value.clone(), until: asked + age });
        Ok(Some(value))
    }

    /// Forgets one path.
    pub fn invalidate(&self, path: &str) {
        self.lock().remove(path);
    }

    /// Forgets everything, after a change of token for example.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Number of paths held.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Slot>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, path: &str) -> Arc<Slot> {
        let mut entries = self.lock();
        if !entries.contains_key(path) && entries.len() >= self.capacity {
            let oldest = entries.iter().min_by_key(|(_, s)| s.last_used()).map(|(k, _)| k.clone());
            if let Some(key) = oldest {
                entries.remove(&key);
            }
        }
        let slot = entries.entry(path.to_owned()).or_default().clone();
        slot.touch();
        slot
    }
}

impl Slot {
    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn last_used(&self) -> Option<Instant> {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
