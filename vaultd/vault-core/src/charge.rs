//! Turns for charges: attempts and use counts with one key are counted one at a time, so
//! that two hundred parallel wrong codes count two hundred.

use crate::limits::{CHARGE_LOCKS, CHARGE_WAIT};
use std::hash::{BuildHasher, RandomState};
use tokio::sync::{Mutex, MutexGuard};
use vault_logical::{Error, ErrorKind, Result};

pub struct ChargeLocks {
    locks: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for ChargeLocks {
    fn default() -> Self {
        ChargeLocks { locks: (0..CHARGE_LOCKS).map(|_| Mutex::new(())).collect(), hasher: RandomState::new() }
    }
}

impl ChargeLocks {
    /// Waits for the turn of `key`, for a bounded time.
    pub async fn turn(&self, key: (&str, &str)) -> Result<MutexGuard<'_, ()>> {
        let busy = || Error::new(ErrorKind::Unavailable, "too many parallel attempts, try again");
        let i = usize::try_from(self.hasher.hash_one(key) % CHARGE_LOCKS as u64).unwrap_or(0);
        let lock = self.locks.get(i).ok_or_else(busy)?;
        tokio::time::timeout(CHARGE_WAIT, lock.lock()).await.map_err(|_| busy())
    }
}
